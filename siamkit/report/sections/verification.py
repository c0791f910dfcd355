"""Verification of pairs: ROC and DET curves of the finalists, and their threshold on the test split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from siamkit.plotting import GREY, color, dressed
from siamkit.report.load import Row, StoredStudy
from siamkit.report.model import Block, Chart, Listing, Section, Table
from siamkit.report.sections import SPLITS, numbered

MAX_CONFIGURATIONS = 5
DET_TICKS = (0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95)
MIN_DET_RATE = 5e-4
"""The lowest error rate that a DET curve shows, as its axes are infinite; lower rates are drawn here."""

Curves = list[tuple[Row, dict[str, np.ndarray]]]
Transform = Callable[[np.ndarray], np.ndarray]


def verification(stored: StoredStudy) -> Section:
    """Return ROC, DET, and the errors on the test split at the threshold of the validation split."""
    curves: Curves = [
        (row, arrays)
        for row in stored.finalists[:MAX_CONFIGURATIONS]
        if "valid_far" in (arrays := stored.report_data(row))
    ]
    if not curves and stored.illustrated and "valid_far" in stored.illustrated[1]:
        curves = [stored.illustrated]
    if not curves:
        return Section("verification", "Verification")
    measures = ("far", "frr", "false_accepts", "false_rejects")
    at_threshold = [
        (row.description, row.mean("valid", "eer"), *(row.test_measures.get(name) for name in measures))
        for row in stored.finalists
        if "far" in row.test_measures
    ]
    columns = (
        "configuration", "EER on validation", "false accept rate", "false reject rate", "false accepts",
        "false rejects",
    )  # fmt: skip
    listing = Listing(
        "carried",
        "The threshold of the validation split on the test split",
        Table.of(columns, at_threshold),
        "Means over the repeats, counts of pairs rounded. The threshold has the highest balanced accuracy on "
        "the validation split; there the mean of both rates is at most the EER. If it is much higher here, "
        "the threshold does not fit.",
    )
    paragraph = (
        "Are two items of one class? A pair is accepted up to a distance; a curve shows the errors at every "
        "distance."
    )
    if len(stored.finalists) > MAX_CONFIGURATIONS:
        paragraph += f" The first {MAX_CONFIGURATIONS} finalists, each with its best repeat."
    blocks: list[Block] = [_roc(curves), _det(curves), *([listing] if at_threshold else [])]
    return Section("verification", "Verification", [paragraph], blocks)


def _traces(curves: Curves, x: Transform, y: Transform) -> tuple[list[go.Scatter], list[tuple[Any, ...]]]:
    """Return a line for each configuration and split, and the rows of the table."""
    traces, rows = [], []
    for number, (row, arrays) in enumerate(curves):
        for split, name in SPLITS.items():
            if f"{split}_far" not in arrays:
                continue
            far, frr, thresholds = (arrays[f"{split}_{key}"].tolist() for key in ("far", "frr", "threshold"))
            points = list(zip(thresholds, far, frr, strict=True))
            rows += [(row.description, name, *point) for point in points]
            traces.append(
                go.Scatter(
                    x=x(np.array(far)),
                    y=y(np.array(frr)),
                    mode="lines",
                    name=f"#{row.trial} {name}",
                    line={"color": color(number), "dash": "solid" if split == "valid" else "dash"},
                    text=[
                        f"{numbered(row)}, {name}<br>false accepts {accepts:.3%}, false rejects "
                        f"{rejects:.3%}, at {threshold:.4g}"
                        for threshold, accepts, rejects in points
                    ],
                    hovertemplate="%{text}<extra></extra>",
                )
            )
    return traces, rows


def _roc(curves: Curves) -> Chart:
    traces, rows = _traces(curves, lambda far: far, lambda frr: 1 - frr)
    figure = dressed(
        go.Figure([*traces, _chance([0, 1], [0, 1])]), "false accept rate", "true accept rate", height=500
    )
    figure.update_layout(legend={"y": -0.24, "yanchor": "top"}, margin={"b": 130})
    caption = "The nearer to the upper left, the better. Solid: validation split; dashed: test split."
    return Chart("roc", "ROC", figure, _table(rows), caption, small=True)


def _chance(x: Sequence[float], y: Sequence[float]) -> go.Scatter:
    """Return the line of random decisions, which accept both kinds of pairs equally often."""
    line = {"color": GREY, "dash": "dot"}
    return go.Scatter(x=x, y=y, mode="lines", name="chance", line=line, hoverinfo="skip")


def _det(curves: Curves) -> Chart:
    from scipy.special import ndtri  # late: slow to import

    def probit(rates: np.ndarray) -> np.ndarray:
        return np.asarray(ndtri(np.clip(rates, MIN_DET_RATE, 1 - MIN_DET_RATE)))

    traces, rows = _traces(curves, probit, probit)
    rates = np.array([DET_TICKS[0], 1 - DET_TICKS[0]])
    chance = _chance(probit(rates).tolist(), probit(1 - rates).tolist())
    figure = dressed(go.Figure([*traces, chance]), "false accept rate", "false reject rate", height=500)
    ticks = {
        "tickvals": probit(np.array(DET_TICKS)).tolist(),
        "ticktext": [f"{100 * rate:g}%" for rate in DET_TICKS],
        "range": probit(np.array([DET_TICKS[0] * 0.8, DET_TICKS[-1]])).tolist(),
    }
    figure.update_xaxes(**ticks)
    figure.update_yaxes(**ticks)
    figure.update_layout(legend={"y": -0.24, "yanchor": "top"}, margin={"b": 130})
    caption = "Detection error trade-off, on a scale that spreads small rates. Lower left is better."
    return Chart("det", "DET", figure, _table(rows), caption, small=True)


def _table(rows: list[tuple[Any, ...]]) -> Table:
    return Table.of(("configuration", "split", "threshold", "false accept rate", "false reject rate"), rows)
