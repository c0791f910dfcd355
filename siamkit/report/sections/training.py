"""How training went: the objective by epoch, and the trials that failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from siamkit.plotting.figures import color, dressed
from siamkit.report.load import Curve, StoredStudy
from siamkit.report.model import Chart, Listing, Section, Table
from siamkit.report.sections._marks import bars, label, numbered

MAX_LINES = 40
"""The number of best trials with a line of their own; the others are a band."""

MAX_CAUSES = 12


def training_curves(stored: StoredStudy) -> Section:
    """Return a line for each of the best trials, and a band for all others."""
    rank = {trial.trial: place for place, trial in enumerate(stored.trials)}
    curves = sorted(stored.curves, key=lambda curve: rank[curve.trial.trial])
    if not curves:
        return Section("curves", "Training curves")
    name = stored.objective.name
    best, others = curves[:MAX_LINES], curves[MAX_LINES:]
    figure = go.Figure(_band(others) if others else [])
    losses = list(dict.fromkeys(str(curve.trial.factors.get("loss")) for curve in curves))
    in_legend: set[str] = set()
    for curve in best:
        loss = str(curve.trial.factors.get("loss"))
        figure.add_trace(
            go.Scatter(
                x=curve.epochs,
                y=curve.values,
                mode="lines+markers",
                name=label(loss),
                legendgroup=label(loss),
                showlegend=loss not in in_legend,
                line={"color": color(losses.index(loss)), "width": 1.5},
                marker={"size": 4},
                text=[numbered(curve.trial)] * len(curve.epochs),
                hovertemplate="%{text}<br>epoch %{x}: %{y:.4f}<extra></extra>",
            )
        )
        in_legend.add(loss)
    dressed(figure, "epoch", name, height=440)
    if max(len(curve.epochs) for curve in curves) <= 20:
        figure.update_xaxes(dtick=1)  # else Plotly marks half epochs
    rows = [
        (curve.trial.trial, curve.trial.description, epoch, value)
        for curve in best
        for epoch, value in zip(curve.epochs, curve.values, strict=True)
    ]
    table = Table.of(("trial", "configuration", "epoch", name), rows)
    caption = f"{name} on the validation split after each epoch of the first seed, a line for each trial"
    caption += (
        f": the best {MAX_LINES}; of the other {len(others)} the median and the range of the middle 80%."
        if others
        else "."
    )
    return Section("curves", "Training curves", [], [Chart("curves", "By epoch", figure, table, caption)])


def _band(curves: Sequence[Curve]) -> list[go.Scatter]:
    """Return quantiles by epoch."""
    by_epoch: dict[float, list[float]] = {}
    for curve in curves:
        for epoch, value in zip(curve.epochs, curve.values, strict=True):
            if value is not None and np.isfinite(value):
                by_epoch.setdefault(epoch, []).append(value)
    epochs = sorted(by_epoch)
    low, median, high = (
        [float(np.quantile(by_epoch[epoch], share)) for epoch in epochs] for share in (0.1, 0.5, 0.9)
    )
    invisible = {"color": "#7F7F7F", "width": 0}
    return [
        go.Scatter(x=epochs, y=low, mode="lines", line=invisible, showlegend=False, hoverinfo="skip"),
        go.Scatter(
            x=epochs, y=high, mode="lines", line=invisible, fill="tonexty", fillcolor="rgba(127,127,127,.2)",
            name="80% of the others", hoverinfo="skip",
        ),
        go.Scatter(
            x=epochs, y=median, mode="lines", name="median of the others",
            line={"color": "#7F7F7F", "dash": "dash"}, hovertemplate="epoch %{x}: %{y:.4f}<extra></extra>",
        ),
    ]  # fmt: skip


def failures(stored: StoredStudy) -> Section:
    """Return the failed trials and their causes."""
    failed = [trial for trial in stored.trials if trial.outcome == "failed"]
    if not failed:
        return Section("failures", "Failures")
    causes = Counter(trial.cause for trial in failed).most_common()
    shown = causes[:MAX_CAUSES]
    ranks = [f"{rank}." for rank in range(1, len(shown) + 1)]
    figure = bars(ranks, [count for _, count in shown], [cause for cause, _ in shown])
    dressed(figure, "trials", height=130 + 30 * len(shown))
    caption = (
        f"{len(failed)} of {len(stored.trials)} trials failed, with {len(causes)} different "
        f"cause{'s' * (len(causes) > 1)}. They count towards the budget."
    )
    chart = Chart("causes", "Causes", figure, Table.of(("cause", "trials"), causes), caption)
    rows = [(trial.trial, trial.description, trial.cause, trial.seconds) for trial in failed]
    columns = ("trial", "configuration", "cause", "seconds")
    return Section(
        "failures", "Failures", [], [chart, Listing("failed", "Failed trials", Table.of(columns, rows))]
    )
