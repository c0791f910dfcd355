"""The figures of a report, with Plotly."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from html import escape
from typing import Any

import optuna
import plotly.graph_objects as go
from optuna.distributions import CategoricalDistribution, FloatDistribution

from siamkit.comparison.factors import Trials
from siamkit.comparison.pareto import front
from siamkit.drawing import COLOURS, dressed
from siamkit.report.read import Row, Stored

ENOUGH = 8  # completed trials below which importances say nothing


def leaderboard(stored: Stored, most: int = 30) -> go.Figure:
    """The objective of the best trials, a bar each."""
    best = stored.completed[:most][::-1]
    losses = list(dict.fromkeys(trial["factors"]["loss"] for trial in stored.completed))
    figure = go.Figure(
        go.Bar(
            x=[trial["figures"][stored.objective] for trial in best],
            y=[f"#{trial['trial']}  {escape(words(trial))}" for trial in best],
            orientation="h",
            marker_color=[COLOURS[losses.index(trial["factors"]["loss"]) % len(COLOURS)] for trial in best],
            hovertemplate="%{y}<br>%{x:.4f}<extra></extra>",
        )
    )
    return dressed(figure, stored.objective, "", height=120 + 24 * len(best))


def trade_off(stored: Stored) -> go.Figure | None:
    """The first two of several objectives against each other, and the Pareto front; None with one."""
    names = list(stored.frozen["objectives"])[:2]
    if len(names) < 2 or not stored.completed:
        return None
    directions = [stored.frozen["objectives"][name] for name in names]
    rows = [[trial["figures"][name] for name in names] for trial in stored.completed]
    best = sorted(front(rows, directions), key=lambda row: rows[row][1])
    labels = [f"#{trial['trial']} {escape(words(trial))}" for trial in stored.completed]

    def points(chosen: Sequence[int], name: str, colour: str, mode: str) -> go.Scatter:
        return go.Scatter(
            x=[rows[row][1] for row in chosen],
            y=[rows[row][0] for row in chosen],
            text=[labels[row] for row in chosen],
            mode=mode,
            name=name,
            line={"shape": "hv", "color": colour},
            marker={"color": colour, "size": 9},
            hovertemplate="%{text}<br>%{y:.4g} at %{x:.4g}<extra></extra>",
        )

    beaten = [row for row in range(len(rows)) if row not in set(best)]
    figure = go.Figure(
        [
            points(beaten, "beaten in both", COLOURS[5], "markers"),
            points(best, "Pareto front", COLOURS[0], "lines+markers"),
        ]
    )
    return dressed(figure, names[1], names[0], height=420)


def importances(stored: Stored) -> go.Figure | None:
    """The share of each factor in reaching the better trials (PED-ANOVA); None with too few trials."""
    shares = shares_of(stored)
    if not shares:
        return None
    names = sorted(shares, key=lambda name: shares[name])
    figure = go.Figure(
        go.Bar(
            x=[shares[name] for name in names],
            y=[escape(name) for name in names],
            orientation="h",
            marker_color=COLOURS[0],
            hovertemplate="%{y}: %{x:.1%}<extra></extra>",
        )
    )
    return dressed(figure, "share", "", height=120 + 28 * len(names), tickformat=".0%")


def shares_of(stored: Stored) -> dict[str, float]:
    """PED-ANOVA over the factors that all trials have, through an Optuna study in memory."""
    names = stored.varied()
    if len(stored.completed) < ENOUGH or len(names) < 2:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize" if stored.maximize else "minimize")
    spaces: dict[str, Any] = {}
    for name in names:
        values = [trial["factors"].get(name) for trial in stored.completed]
        if all(_is_number(value) for value in values):
            spaces[name] = FloatDistribution(min(values), max(values)) if min(values) < max(values) else None
        else:
            spaces[name] = CategoricalDistribution(sorted({str(value) for value in values}))
    spaces = {name: space for name, space in spaces.items() if space is not None}
    for trial in stored.completed:
        params = {
            name: trial["factors"][name]
            if isinstance(space, FloatDistribution)
            else str(trial["factors"].get(name))
            for name, space in spaces.items()
        }
        study.add_trial(
            optuna.create_trial(params=params, distributions=spaces, value=trial["figures"][stored.objective])
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's notes on what is experimental
        return dict(
            optuna.importance.get_param_importances(
                study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
            )
        )


def levels(stored: Stored) -> list[tuple[str, go.Figure]]:
    """For each factor the objective of every completed trial by its level, and the levels' means."""
    figures, trials = [], stored.table()
    for name in stored.varied():
        points = [
            (trial["factors"].get(name), trial["figures"][stored.objective], trial)
            for trial in stored.completed
        ]
        numeric = all(_is_number(level) for level, _, _ in points)
        figure = go.Figure(
            go.Scatter(
                x=[level if numeric else escape(str(level)) for level, _, _ in points],
                y=[value for _, value, _ in points],
                mode="markers",
                marker={"color": COLOURS[0], "size": 9, "opacity": 0.6},
                text=[f"#{trial['trial']} {escape(words(trial))}" for _, _, trial in points],
                hovertemplate="%{text}<br>%{y:.4f}<extra></extra>",
            )
        )
        if not numeric:
            figure.add_trace(_means(trials, name))
            figure.update_layout(showlegend=False)
        dressed(figure, name, stored.objective, height=320)
        wide = numeric and min(level for level, _, _ in points) > 0
        if wide and max(level for level, _, _ in points) >= 8 * min(level for level, _, _ in points):
            figure.update_xaxes(type="log")
        figures.append((name, figure))
    return figures


def _means(trials: Trials, factor: str) -> go.Scatter:
    """The mean of each level, with its interval where the design has one."""
    found = trials.levels(factor)
    known = all(each.low is not None for each in found)
    halves = [each.mean - each.low for each in found if each.low is not None]
    return go.Scatter(
        x=[escape(str(each.level)) for each in found],
        y=[each.mean for each in found],
        mode="markers",
        marker={"symbol": "diamond", "size": 13, "color": COLOURS[3]},
        error_y={"type": "data", "array": halves, "width": 8, "thickness": 2} if known else None,
        text=[
            f"{each.trials} trials; the best of {each.equal} would be {each.best_of_equal:.4f}"
            for each in found
        ],
        hovertemplate="mean of %{x}: %{y:.4f}<br>%{text}<extra></extra>",
    )


def interactions(stored: Stored) -> list[tuple[str, go.Figure]]:
    """Metric and encoder against loss: the mean of each cell, and in words how many trials it has."""
    trials, names = stored.table(), stored.varied()
    figures = []
    for first in ("metric", "encoder"):
        if first not in names or "loss" not in names:
            continue
        found = trials.interaction(first, "loss")
        cells = [
            [
                f"{count} trials<br>{surplus:+.4f} beyond what both alone give" if count else "no trial"
                for count, surplus in zip(counts, row, strict=True)
            ]
            for counts, row in zip(found.counts, found.surplus, strict=True)
        ]
        figure = go.Figure(
            go.Heatmap(
                x=[escape(str(each)) for each in found.columns],
                y=[escape(str(each)) for each in found.rows],
                z=found.means.tolist(),
                text=cells,
                texttemplate="%{z:.3f}",
                colorscale="Cividis",
                reversescale=not stored.maximize,
                hovertemplate="%{y} · %{x}<br>mean %{z:.4f}<br>%{text}<extra></extra>",
                hoverongaps=False,
            )
        )
        dressed(figure, "", "", height=160 + 44 * len(found.rows))
        figures.append((f"{first} × loss", figure))
    return figures


def curves(stored: Stored) -> go.Figure:
    """The first objective by epoch, a line a trial, coloured by loss."""
    figure = go.Figure()
    losses = list(dict.fromkeys(trial["factors"]["loss"] for trial, _, _ in stored.curves))
    shown = set()
    for trial, epochs, values in stored.curves:
        loss = trial["factors"]["loss"]
        figure.add_trace(
            go.Scatter(
                x=epochs,
                y=values,
                mode="lines+markers",
                name=escape(loss),
                legendgroup=escape(loss),
                showlegend=loss not in shown,
                line={"color": COLOURS[losses.index(loss) % len(COLOURS)], "width": 1.5},
                marker={"size": 4},
                text=[f"#{trial['trial']} {escape(words(trial))}"] * len(epochs),
                hovertemplate="%{text}<br>epoch %{x}: %{y:.4f}<extra></extra>",
            )
        )
        shown.add(loss)
    dressed(figure, "epoch", stored.objective, height=420)
    if max((len(epochs) for _, epochs, _ in stored.curves), default=0) <= 20:
        figure.update_xaxes(dtick=1)  # else Plotly marks half epochs
    return figure


def words(trial: Row) -> str:
    """A trial in a few words."""
    factors = trial["factors"]
    return f"{factors['encoder']} · {factors['metric']} · {factors['loss']} · {factors['embedding_dim']}-d"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
