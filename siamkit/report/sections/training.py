"""How training went: the objective by epoch."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from siamkit.plotting.palette import color, dressed
from siamkit.report.load import StoredStudy
from siamkit.report.model import Chart, Section, Table
from siamkit.report.sections._naming import called, label, words

LINES = 40  # of trials; the others are a band


def curves(stored: StoredStudy) -> Section:
    """A line a trial of the best, and a band for all the others."""
    rank = {trial.trial: place for place, trial in enumerate(stored.trials)}
    found = [
        (curve.trial, curve.epochs, curve.values)
        for curve in sorted(stored.curves, key=lambda curve: rank[curve.trial.trial])
    ]
    if not found:
        return Section("curves", "Training curves")
    figure = go.Figure()
    others = found[LINES:]
    if others:
        for trace in _band([(epochs, values) for _, epochs, values in others]):
            figure.add_trace(trace)
    losses = list(dict.fromkeys(str(trial.factors["loss"]) for trial, _, _ in found))
    shown: set[str] = set()
    for trial, epochs, values in found[:LINES]:
        loss = str(trial.factors["loss"])
        figure.add_trace(
            go.Scatter(
                x=epochs,
                y=values,
                mode="lines+markers",
                name=label(loss),
                legendgroup=label(loss),
                showlegend=loss not in shown,
                line={"color": color(losses.index(loss)), "width": 1.5},
                marker={"size": 4},
                text=[called(trial)] * len(epochs),
                hovertemplate="%{text}<br>epoch %{x}: %{y:.4f}<extra></extra>",
            )
        )
        shown.add(loss)
    dressed(figure, "epoch", stored.objective.name, height=440)
    if max(len(epochs) for _, epochs, _ in found) <= 20:
        figure.update_xaxes(dtick=1)  # else Plotly marks half epochs
    rows = [
        (t.trial, words(t), epoch, value)
        for t, epochs, values in found[:LINES]
        for epoch, value in zip(epochs, values, strict=True)
    ]
    table = Table.of(("trial", "configuration", "epoch", stored.objective.name), rows)
    said = (
        f"{stored.objective.name} on the validation part after each epoch of the first seed, a line a trial"
    )
    said += (
        f": the best {LINES}, and of the other {len(others)} the middle and where 8 of 10 lie."
        if others
        else "."
    )
    return Section("curves", "Training curves", [], [Chart("curves", "By epoch", figure, table, said)])


def _band(several: list[tuple[list[float], list[float | None]]]) -> list[go.Scatter]:
    """Quantiles by epoch."""
    by_epoch: dict[float, list[float]] = {}
    for epochs, values in several:
        for epoch, value in zip(epochs, values, strict=True):
            if value is not None and np.isfinite(value):
                by_epoch.setdefault(epoch, []).append(value)
    epochs = sorted(by_epoch)
    low, middle, high = (
        [float(np.quantile(by_epoch[epoch], share)) for epoch in epochs] for share in (0.1, 0.5, 0.9)
    )
    quiet = {"color": "#7F7F7F", "width": 0}
    return [
        go.Scatter(x=epochs, y=low, mode="lines", line=quiet, showlegend=False, hoverinfo="skip"),
        go.Scatter(
            x=epochs, y=high, mode="lines", line=quiet, fill="tonexty", fillcolor="rgba(127,127,127,.2)",
            name="8 of 10 others", hoverinfo="skip",
        ),
        go.Scatter(
            x=epochs, y=middle, mode="lines", name="the middle of the others",
            line={"color": "#7F7F7F", "dash": "dash"}, hovertemplate="epoch %{x}: %{y:.4f}<extra></extra>",
        ),
    ]  # fmt: skip
