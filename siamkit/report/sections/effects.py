"""What mattered: the share of each factor, its levels, pairs of factors, learning curves over the data."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from siamkit.plotting.palette import COLORS, color, dressed, logarithmic, symbol
from siamkit.report.check import caution
from siamkit.report.load import StoredStudy
from siamkit.report.model import Chart, Part, Section, Table
from siamkit.report.sections._naming import bars, called, label, words
from siamkit.runs.results import TrialResult
from siamkit.stats.anova import Share
from siamkit.stats.effects import Level, is_number
from siamkit.stats.importance import METHODS, Importances, Method


def mattered(stored: StoredStudy, shares: dict[Method, Importances], variance: list[Share]) -> Section:
    """Importances, levels, interactions, learning curves over the data, and warnings."""
    if not stored.completed:
        return Section("mattered", "What mattered")
    varied = [name for name in stored.varied if any(name in t.factors for t in stored.completed)]
    parts: list[Part] = [*_variance(variance), *_importances(shares)]
    parts += [_level(stored, name) for name in varied]
    parts += [*_interactions(stored), *_data(stored)]
    said = (
        []
        if any(part.name == "importances" for part in parts)
        else ["Too few completed trials to share out importance."]
    )
    if varied:
        said.append(
            "Each dot is a trial, each diamond the mean of a level"
            + (
                ", with its 95% interval."
                if stored.balanced
                else ". The search looks where it hopes, so its trials are no fair sample: this describes "
                "what was seen, and proves nothing about a factor alone."
            )
        )
    warnings = [caution("design", each) for each in stored.table.warnings(varied, stored.seeds)]
    return Section("mattered", "What mattered", said, parts, warnings)


def _variance(found: list[Share]) -> list[Chart]:
    """The analysis of variance of a crossed design."""
    if not found:
        return []
    ranks = [f"{place + 1}." for place in range(len(found))]
    figure = bars(ranks, [each.share for each in found], [f"{each}, {each.share:.1%}" for each in found])
    dressed(figure, "share of the variance", height=120 + 26 * len(found), tickformat=".0%")
    table = Table.of(("term", "share of the variance"), [(str(each), each.share) for each in found])
    told = (
        "Analysis of variance: as every level met every other equally often, this is counted and not "
        "guessed. a × b is what two do together beyond what each does alone; the rest is three and more "
        "together, and chance."
    )
    return [Chart("variance", "What accounts for how much trials differ", figure, table, told)]


def _importances(shares: dict[Method, Importances]) -> list[Chart]:
    names = sorted(shares["fANOVA"], key=lambda name: shares["fANOVA"][name])
    if not names:
        return []
    figure = go.Figure(
        [
            go.Bar(
                x=[found.get(name, 0) for name in names],
                y=[label(name) for name in names],
                orientation="h",
                name=method,
                marker={"color": color(number), "pattern": {"shape": ("", "/")[number]}},
                hovertemplate="%{y}: %{x:.1%}<extra>" + method + "</extra>",
            )
            for number, (method, found) in enumerate(shares.items())
        ]
    )
    figure.update_layout(barmode="group")
    dressed(figure, "share", height=140 + 44 * len(names), tickformat=".0%")
    table = Table.of(("factor", *METHODS), [(n, *(shares[m].get(n) for m in METHODS)) for n in names[::-1]])
    return [
        Chart(
            "importances",
            "The share of each factor",
            figure,
            table,
            "fANOVA: of how much trials differ, what the factor alone accounts for, as a forest sees it. "
            "PED-ANOVA: what tells the better trials from the rest, all factors together making 100%. "
            "Neither tells cause from chance.",
        )
    ]


def _level(stored: StoredStudy, name: str) -> Chart:
    """The objective of every completed trial by the level of a factor, and the levels' means."""
    points: list[tuple[Any, float, TrialResult]] = [
        (trial.factors.get(name), trial.measures[stored.objective.name], trial) for trial in stored.completed
    ]
    numeric = all(is_number(level) for level, _, _ in points)
    figure = go.Figure(
        go.Scatter(
            x=[level if numeric else label(level) for level, _, _ in points],
            y=[value for _, value, _ in points],
            mode="markers",
            marker={"color": COLORS[0], "size": 8, "opacity": 0.5},
            text=[called(trial) for _, _, trial in points],
            hovertemplate="%{text}<br>%{y:.4f}<extra></extra>",
        )
    )
    distinct = len({str(level) for level, _, _ in points})
    few = distinct <= 12 and (not numeric or len(points) >= 2 * distinct)  # else a mean is of one trial
    found = stored.table.levels(name) if few else []
    if found:
        figure.add_trace(_means(found, numeric))
    figure.update_layout(showlegend=False)
    dressed(figure, name, stored.objective.name, height=340)
    if not numeric:
        figure.update_xaxes(type="category")  # else Plotly drops a word among numbers
    lowest = min(level for level, _, _ in points) if numeric else 0
    if numeric and lowest > 0 and max(level for level, _, _ in points) >= 8 * lowest:
        logarithmic(figure, [level for level, _, _ in points])
    rows: list[tuple[Any, ...]] = [
        (str(level), t.trial, words(t), value, None, None) for level, value, t in points
    ]
    means: list[tuple[Any, ...]] = [
        (str(e.level), None, f"mean of {e.trials}; of {e.budget} the best would be {e.expected_best:.4f}",
         e.mean, e.low, e.high)
        for e in found
    ]  # fmt: skip
    table = Table.of((name, "trial", "what", stored.objective.name, "low", "high"), means + rows)
    first = found[0].level if found else ""
    shown = f"{first:.4g}" if is_number(first) else str(first)
    best = f" Best on average: {shown} ({found[0].mean:.4f})." if found else ""
    return Chart(
        f"level-{name}", name, figure, table, f"{stored.objective.name} by {name}.{best}", small=True
    )


def _means(found: list[Level], numeric: bool) -> go.Scatter:
    """The mean of each level, with its interval where the design has one."""
    known = all(each.low is not None for each in found)
    halves = [each.mean - each.low for each in found if each.low is not None]
    return go.Scatter(
        x=[each.level if numeric else label(each.level) for each in found],
        y=[each.mean for each in found],
        mode="markers",
        marker={"symbol": "diamond", "size": 13, "color": COLORS[1]},
        error_y={"type": "data", "array": halves, "width": 8, "thickness": 2} if known else None,
        text=[
            f"{each.trials} trials; the best of {each.budget} would be {each.expected_best:.4f}"
            for each in found
        ],
        hovertemplate="mean of %{x}: %{y:.4f}<br>%{text}<extra></extra>",
    )


def _interactions(stored: StoredStudy) -> list[Chart]:
    """Metric and encoder against loss: the mean of each cell, and how far from what both alone give."""
    charts = []
    for first in ("metric", "encoder"):
        if first not in stored.varied or "loss" not in stored.varied:
            continue
        found = stored.table.interaction(first, "loss")
        cells = [
            [
                f"{count} trials<br>{surplus:+.4f} beyond what both alone give" if count else "no trial"
                for count, surplus in zip(counts, row, strict=True)
            ]
            for counts, row in zip(found.counts, found.residuals, strict=True)
        ]
        figure = go.Figure(
            go.Heatmap(
                x=[label(each) for each in found.columns],
                y=[label(each) for each in found.rows],
                z=found.means.tolist(),
                text=cells,
                texttemplate="%{z:.3f}",
                colorscale="Cividis",
                reversescale=not stored.objective.maximize,
                hovertemplate="%{y} · %{x}<br>mean %{z:.4f}<br>%{text}<extra></extra>",
                hoverongaps=False,
            )
        )
        dressed(figure, height=170 + 44 * len(found.rows))
        rows = [
            (str(row), str(column), int(found.counts[i, j]), found.means[i, j], found.residuals[i, j])
            for i, row in enumerate(found.rows)
            for j, column in enumerate(found.columns)
        ]
        columns = (first, "loss", "trials", f"mean {stored.objective.name}", "beyond both alone")
        charts.append(
            Chart(
                f"interaction-{first}",
                f"{first} × loss",
                figure,
                Table.of(columns, rows),
                f"The mean {stored.objective.name} of each pair; point at a cell for how many trials it has, "
                f"and how "
                "far it is from what the two alone make one expect.",
            )
        )
    return charts


def _data(stored: StoredStudy) -> list[Chart]:
    """Learning curves over what was varied about the training data: a line a loss."""
    charts = []
    for name in (each for each in stored.varied if each.startswith("data.")):
        levels: list[Any] = [trial.factors.get(name) for trial in stored.completed]
        numbers = sorted({level for level in levels if is_number(level)})
        if len(numbers) < 2:
            continue
        figure, told = go.Figure(), []
        for number, loss in enumerate(dict.fromkeys(str(t.factors["loss"]) for t in stored.completed)):
            means = []
            for level in numbers:
                values = [
                    t.measures[stored.objective.name]
                    for t in stored.completed
                    if t.factors.get(name) == level and str(t.factors["loss"]) == loss
                ]
                means.append(sum(values) / len(values) if values else None)
                told.append((loss, level, len(values), means[-1]))
            figure.add_trace(_curve(numbers, means, loss, number))
        dressed(figure, name, stored.objective.name, height=360)
        table = Table.of(("loss", name, "trials", f"mean {stored.objective.name}"), told)
        charts.append(
            Chart(
                f"data-{name}",
                f"Learning curve over {name}",
                figure,
                table,
                f"The mean {stored.objective.name} of each loss as {name} changes.",
            )
        )
    return charts


def _curve(x: list[Any], y: list[Any], name: str, number: int) -> go.Scatter:
    return go.Scatter(
        x=x,
        y=y,
        mode="lines+markers",
        name=label(name),
        line={"color": color(number)},
        marker={"symbol": symbol(number), "size": 9},
        connectgaps=True,
    )
