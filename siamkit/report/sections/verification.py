"""Telling pairs alike from pairs not alike: ROC and DET curves of the finalists."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from siamkit.plotting.palette import color, dressed
from siamkit.report.load import Row, StoredStudy
from siamkit.report.model import Chart, Listing, Section, Table
from siamkit.report.sections._naming import called, words

MOST = 5  # configurations in one chart
RATES = (0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95)  # marked on the axes of a DET curve
LOWEST = 5e-4  # rate of a DET curve, whose axes have no end
PARTS = {"valid": "validation", "test": "test"}

Curves = list[tuple[Row, dict[str, np.ndarray]]]


def verification(stored: StoredStudy) -> Section:
    """ROC, DET, and what the threshold of validation leads to on the test part."""
    curves: Curves = [
        (row, found) for row in stored.finalists[:MOST] if "valid_far" in (found := stored.report_data(row))
    ]
    if not curves and stored.illustrated and "valid_far" in stored.illustrated[1]:
        curves = [stored.illustrated]
    if not curves:
        return Section("verification", "Verification")
    carried = [
        (
            words(row),
            *(row.test_measures.get(name) for name in ("far", "frr", "false_accepts", "false_rejects")),
        )
        for row in stored.finalists
        if "far" in row.test_measures
    ]
    columns = ("configuration", "false accept rate", "false reject rate", "false accepts", "false rejects")
    listing = Listing(
        "carried",
        "What validation's threshold leads to on the test part",
        Table.of(columns, carried),
        "Means over the repeats. A threshold that suits other classes as well would leave both rates "
        "where they "
        "were on validation.",
    )
    said = (
        "Is a pair of one class? Accepted are pairs up to a distance; a curve is what every distance "
        "leads to."
    )
    if len(stored.finalists) > MOST:
        said += f" The first {MOST} finalists, each by its best repeat."
    return Section(
        "verification", "Verification", [said], [_roc(curves), _det(curves), *([listing] if carried else [])]
    )


def _traces(curves: Curves, x: Any, y: Any) -> tuple[list[go.Scatter], list[tuple[Any, ...]]]:
    traces, told = [], []
    for number, (row, found) in enumerate(curves):
        for part, name in PARTS.items():
            if f"{part}_far" not in found:
                continue
            far, frr, at = (found[f"{part}_{each}"].tolist() for each in ("far", "frr", "threshold"))
            told += [(words(row), name, *each) for each in zip(at, far, frr, strict=True)]
            traces.append(
                go.Scatter(
                    x=x(np.array(far)),
                    y=y(np.array(frr)),
                    mode="lines",
                    name=f"#{row.trial} {name}",
                    line={"color": color(number), "dash": "solid" if part == "valid" else "dash"},
                    text=[
                        f"{called(row)}, {name}<br>false accepts {a:.3%}, false rejects {r:.3%}, at {t:.4g}"
                        for a, r, t in zip(far, frr, at, strict=True)
                    ],
                    hovertemplate="%{text}<extra></extra>",
                )
            )
    return traces, told


def _roc(curves: Curves) -> Chart:
    traces, told = _traces(curves, lambda far: far, lambda frr: 1 - frr)
    chance = go.Scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        name="chance",
        line={"color": "#7F7F7F", "dash": "dot"},
        hoverinfo="skip",
    )
    figure = dressed(go.Figure([*traces, chance]), "false accept rate", "pairs alike accepted", height=500)
    figure.update_layout(legend={"y": -0.24, "yanchor": "top"}, margin={"b": 130})
    words_ = (
        "The nearer to the upper left, the better. Solid: validation; dashed: test, of classes or "
        "items kept apart."
    )
    return Chart("roc", "ROC", figure, _table(told), words_, small=True)


def _det(curves: Curves) -> Chart:
    from scipy.special import ndtri  # late: slow to import

    def probit(rates: np.ndarray) -> np.ndarray:
        return np.asarray(ndtri(np.clip(rates, LOWEST, 1 - LOWEST)))

    traces, told = _traces(curves, probit, probit)
    figure = dressed(go.Figure(traces), "false accept rate", "false reject rate", height=500)
    marks = {
        "tickvals": probit(np.array(RATES)).tolist(),
        "ticktext": [f"{100 * rate:g}%" for rate in RATES],
        "range": probit(np.array([RATES[0] * 0.8, RATES[-1]])).tolist(),
    }
    figure.update_xaxes(**marks)
    figure.update_yaxes(**marks)
    figure.update_layout(legend={"y": -0.24, "yanchor": "top"}, margin={"b": 130})
    words_ = (
        "Both rates of error on normal deviates: lower and further left is better, and rare errors have room."
    )
    return Chart("det", "DET", figure, _table(told), words_, small=True)


def _table(told: list[tuple[Any, ...]]) -> Table:
    return Table.of(("configuration", "part", "threshold", "false accept rate", "false reject rate"), told)
