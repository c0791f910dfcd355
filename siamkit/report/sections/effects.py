"""The effect of each factor: its share of the variance, its levels, pairs of factors, data curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from siamkit.plotting import COLORS, color, dressed, logarithmic, symbol
from siamkit.report.load import StoredStudy
from siamkit.report.model import Block, Chart, Check, Section, Table
from siamkit.report.sections import bars, label, measured, numbered, reference_lines
from siamkit.runs.results import TrialResult
from siamkit.stats.effects import Level, is_number
from siamkit.stats.importance import METHODS, Importances, Method, Share

MAX_LEVELS = 12
"""The maximum number of levels of a factor for which means are shown."""


def effects(stored: StoredStudy, shares: dict[Method, Importances], variance: Sequence[Share]) -> Section:
    """Return importances, levels, interactions, learning curves over the data, and warnings.

    Args:
        stored: the results.
        shares: the importance of each factor, by method.
        variance: the analysis of variance of a crossed design; empty for other designs.
    """
    title = "Effect of each factor"
    if not stored.completed:
        return Section("effects", title)
    varied = [name for name in stored.varied if any(name in trial.factors for trial in stored.completed)]
    importances = _importances(shares)
    blocks: list[Block] = [*_variance(variance), *importances]
    blocks += [_level(stored, name) for name in varied]
    blocks += [*_interactions(stored), *_data_curves(stored)]
    paragraphs = [] if importances else ["Too few completed trials to estimate the importance of factors."]
    if varied:
        paragraphs.append(
            "Each dot is a trial, each diamond the mean of a level"
            + (
                ", with its 95% interval."
                if stored.balanced
                else ". The search prefers good regions, so its trials are not a fair sample: this describes "
                "the search and does not prove the effect of a single factor."
            )
        )
    warnings = [
        Check("warning", "design", text)
        for text in stored.table.warnings(varied, stored.seeds * stored.snapshot.folds)
    ]
    return Section("effects", title, paragraphs, blocks, warnings)


# ------------------------------------------------------------------ shares


def _variance(shares: Sequence[Share]) -> list[Chart]:
    """Return the analysis of variance of a crossed design."""
    if not shares:
        return []
    ranks = [f"{rank}." for rank in range(1, len(shares) + 1)]
    figure = bars(ranks, [term.share for term in shares], [f"{term}, {term.share:.1%}" for term in shares])
    dressed(figure, "share of the variance", height=120 + 26 * len(shares), tickformat=".0%")
    table = Table.of(("term", "share of the variance"), [(str(term), term.share) for term in shares])
    caption = (
        "Analysis of variance. Every level met every other equally often, so these shares are computed, not "
        "estimated. a × b is the interaction of two factors; the rest is higher interactions and chance."
    )
    return [Chart("variance", "What explains the variance between trials", figure, table, caption)]


def _importances(shares: dict[Method, Importances]) -> list[Chart]:
    names = sorted(shares["fANOVA"], key=lambda name: shares["fANOVA"][name])
    if not names:
        return []
    figure = go.Figure(
        [
            go.Bar(
                x=[by_factor.get(name, 0) for name in names],
                y=[label(name) for name in names],
                orientation="h",
                name=method,
                marker={"color": color(number), "pattern": {"shape": ("", "/")[number]}},
                hovertemplate="%{y}: %{x:.1%}<extra>" + method + "</extra>",
            )
            for number, (method, by_factor) in enumerate(shares.items())
        ]
    )
    figure.update_layout(barmode="group")
    dressed(figure, "share", height=140 + 44 * len(names), tickformat=".0%")
    table = Table.of(
        ("factor", *METHODS), [(name, *(shares[m].get(name) for m in METHODS)) for name in names[::-1]]
    )
    return [
        Chart(
            "importances",
            "The importance of each factor",
            figure,
            table,
            "fANOVA: the share of the variance between trials that the factor alone explains, as estimated "
            "by a random forest. PED-ANOVA: how much the factor separates the better trials from the rest, "
            "relative to the other factors. If the two disagree, or trials are few, rely on neither. Neither "
            "proves a cause.",
        )
    ]


# ------------------------------------------------------------------ levels of one factor


def _level(stored: StoredStudy, name: str) -> Chart:
    """Return the objective of every completed trial by the level of a factor, and the means."""
    measure = stored.objective.name
    points: list[tuple[Any, float, TrialResult]] = [
        (trial.factors.get(name), trial.measures[measure], trial) for trial in stored.completed
    ]
    numeric = all(is_number(level) for level, _, _ in points)
    figure = go.Figure(
        go.Scatter(
            x=[level if numeric else label(level) for level, _, _ in points],
            y=[value for _, value, _ in points],
            mode="markers",
            marker={"color": COLORS[0], "size": 8, "opacity": 0.5},
            text=[numbered(trial) for _, _, trial in points],
            hovertemplate="%{text}<br>%{y:.4f}<extra></extra>",
        )
    )
    distinct = len({str(level) for level, _, _ in points})
    # With fewer trials, the mean at a number would be the value of a single trial.
    few = distinct <= MAX_LEVELS and (not numeric or len(points) >= 2 * distinct)
    levels = stored.table.levels(name) if few else []
    if levels:
        figure.add_trace(_means(levels, numeric))
    figure.update_layout(showlegend=False)
    dressed(figure, name, measure, height=340)
    if not numeric:
        figure.update_xaxes(type="category")  # else Plotly drops a word among numbers
    numbers = [level for level, _, _ in points] if numeric else []
    if numbers and min(numbers) > 0 and max(numbers) >= 8 * min(numbers):
        logarithmic(figure, numbers)
    means: list[tuple[Any, ...]] = [
        (_text(level.level), None, f"mean of {level.trials}{_expected_best(level)}",
         level.mean, level.low, level.high)
        for level in levels
    ]  # fmt: skip
    rows: list[tuple[Any, ...]] = [
        (_text(level), trial.trial, trial.description, value, None, None) for level, value, trial in points
    ]
    width = 6 if any(row[4] is not None for row in means) else 4
    columns = (name, "trial", "configuration", measure, "low", "high")[:width]
    table = Table.of(columns, [row[:width] for row in means + rows])
    best = ""
    if levels:
        first = levels[0].level
        best = f" Best mean: {f'{first:.4g}' if is_number(first) else first} ({levels[0].mean:.4f})."
    lines = measured(figure, "y", measure, reference_lines(stored, measure))
    return Chart(f"level-{name}", name, figure, table, f"{measure} by {name}.{best}{lines}", small=True)


def _means(levels: Sequence[Level], numeric: bool) -> go.Scatter:
    """Return the mean of each level, with its interval if the design has one."""
    halves = [level.mean - level.low for level in levels if level.low is not None]
    has_intervals = len(halves) == len(levels)
    return go.Scatter(
        x=[level.level if numeric else label(level.level) for level in levels],
        y=[level.mean for level in levels],
        mode="markers",
        marker={"symbol": "diamond", "size": 13, "color": COLORS[1]},
        error_y={"type": "data", "array": halves, "width": 8, "thickness": 2} if has_intervals else None,
        text=[f"{level.trials} trials{_expected_best(level)}" for level in levels],
        hovertemplate="mean of %{x}: %{y:.4f}<br>%{text}<extra></extra>",
    )


def _expected_best(level: Level) -> str:
    """Return the mean of the best of a few trials, which compares levels with different numbers of trials."""
    if level.budget == 1:  # the mean
        return ""
    return f"; best of any {level.budget}, on average: {level.expected_best:.4f}"


def _text(level: object) -> str:
    return f"{level:.4g}" if isinstance(level, float) else str(level)


# ------------------------------------------------------------------ pairs of factors


def _interactions(stored: StoredStudy) -> list[Chart]:
    """Return charts of metric and encoder against loss: the mean of each cell, and its residual."""
    measure, charts = stored.objective.name, []
    for first in ("metric", "encoder"):
        if first not in stored.varied or "loss" not in stored.varied:
            continue
        interaction = stored.table.interaction(first, "loss")
        texts = [
            [
                f"{count} trials<br>{residual:+.4f} from the sum of both effects" if count else "no trial"
                for count, residual in zip(counts, residuals, strict=True)
            ]
            for counts, residuals in zip(interaction.counts, interaction.residuals, strict=True)
        ]
        figure = go.Figure(
            go.Heatmap(
                x=[label(level) for level in interaction.columns],
                y=[label(level) for level in interaction.rows],
                z=interaction.means.tolist(),
                text=texts,
                texttemplate="%{z:.3f}",
                colorscale="Cividis",
                reversescale=not stored.objective.maximize,
                hovertemplate="%{y} · %{x}<br>mean %{z:.4f}<br>%{text}<extra></extra>",
                hoverongaps=False,
            )
        )
        dressed(figure, height=170 + 44 * len(interaction.rows))
        rows = [
            (
                str(row),
                str(column),
                int(interaction.counts[i, j]),
                interaction.means[i, j],
                round(float(interaction.residuals[i, j]), 6),
            )
            for i, row in enumerate(interaction.rows)
            for j, column in enumerate(interaction.columns)
        ]
        columns = (first, "loss", "trials", f"mean {measure}", "interaction")
        caption = (
            f"The mean {measure} of each pair. interaction: the distance of "
            "a cell's mean from the sum of both effects, near 0 if the two factors act independently."
        )
        charts.append(
            Chart(f"interaction-{first}", f"{first} × loss", figure, Table.of(columns, rows), caption)
        )
    return charts


# ------------------------------------------------------------------ the training data


def _data_curves(stored: StoredStudy) -> list[Chart]:
    """Return learning curves over each factor of the training data, a line for each loss."""
    measure, charts = stored.objective.name, []
    for name in (name for name in stored.varied if name.startswith("data.")):
        levels: list[Any] = [trial.factors.get(name) for trial in stored.completed]
        numbers = sorted({level for level in levels if is_number(level)})
        if len(numbers) < 2:
            continue
        figure, rows = go.Figure(), []
        losses = dict.fromkeys(str(trial.factors["loss"]) for trial in stored.completed)
        for number, loss in enumerate(losses):
            means = []
            for level in numbers:
                values = [
                    trial.measures[measure]
                    for trial in stored.completed
                    if trial.factors.get(name) == level and str(trial.factors["loss"]) == loss
                ]
                means.append(sum(values) / len(values) if values else None)
                rows.append((loss, level, len(values), means[-1]))
            figure.add_trace(
                go.Scatter(
                    x=numbers,
                    y=means,
                    mode="lines+markers",
                    name=label(loss),
                    line={"color": color(number)},
                    marker={"symbol": symbol(number), "size": 9},
                    connectgaps=True,
                )
            )
        dressed(figure, name, measure, height=360)
        table = Table.of(("loss", name, "trials", f"mean {measure}"), rows)
        lines = measured(figure, "y", measure, reference_lines(stored, measure))
        caption = f"The mean {measure} of each loss by {name}.{lines}"
        charts.append(Chart(f"data-{name}", f"Learning curve over {name}", figure, table, caption))
    return charts
