"""Which configurations are best: finalists, the leaderboard, what the best cost."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from siamkit.plotting.palette import COLORS, color, dressed, logarithmic
from siamkit.report.load import FinalistSummary, StoredStudy
from siamkit.report.model import Chart, Listing, Section, Table
from siamkit.report.sections._naming import bars, called, label, words
from siamkit.runs.results import TrialResult
from siamkit.stats.pareto import front

BARS = 30  # of the leaderboard's chart
SHOWN = ("recall_at_1", "map_at_r", "roc_auc", "eer", "spearman", "parameters")
"""Figures shown beside the objectives."""


def finalists(stored: StoredStudy) -> Section:
    """The best configurations, trained afresh."""
    rows = stored.finalists
    if not rows:
        return Section("finalists", "Finalists")
    name = stored.objective.name
    columns = (
        "configuration",
        "trial",
        "seeds",
        f"{name} valid",
        "± sd",
        f"{name} test",
        "low",
        "high",
        "parameters",
    )
    told = [_finalist(row) for row in rows]
    words_ = "low and high: the 95% interval over seeds and queries." if any(each[6] for each in told) else ""
    return Section(
        "finalists",
        "Finalists",
        [
            "The best configurations of the search, trained afresh, ordered by validation. The test part was "
            "scored here and nowhere else. ± is the standard deviation over seeds, not an interval."
        ],
        [Listing("finalists", "Trained afresh", Table.of(columns, told), words_), _repeats(stored)],
    )


def _finalist(row: FinalistSummary) -> tuple[Any, ...]:
    found = row.interval
    ends = (None, None) if found is None else (found.low, found.high)
    return (
        words(row),
        row.trial,
        row.repeats,
        row.mean("valid"),
        row.sd("valid"),
        row.mean("test"),
        *ends,
        row.parameters,
    )


def _repeats(stored: StoredStudy) -> Chart:
    """Every repeat of every finalist, on both parts."""
    figure = go.Figure()
    told: list[tuple[Any, ...]] = []
    for number, part in enumerate(("valid", "test")):
        mine = [(row, value) for row in stored.finalists[::-1] for value in row.values(part)]
        told += [(row.trial, words(row), part, value) for row, value in mine]
        figure.add_trace(
            go.Scatter(
                x=[value for _, value in mine],
                y=[f"#{row.trial}" for row, _ in mine],
                text=[label(words(row)) for row, _ in mine],
                mode="markers",
                name="validation" if part == "valid" else "test",
                marker={"color": color(number), "symbol": ("circle", "diamond")[number], "size": 10},
                hovertemplate="%{y} %{text}<br>%{x:.4f}<extra></extra>",
            )
        )
    figure.update_yaxes(type="category")
    dressed(figure, stored.objective.name, height=150 + 34 * len(stored.finalists))
    return Chart(
        "repeats",
        "Every repeat",
        figure,
        Table.of(("trial", "configuration", "split", stored.objective.name), told),
        "A mark is one training with a seed of its own: how far marks of one row lie apart is what "
        "chance does.",
    )


def leaderboard(stored: StoredStudy) -> Section:
    """All completed trials."""
    if not stored.completed:
        return Section("leaderboard", "Leaderboard")
    return Section(
        "leaderboard",
        "Leaderboard",
        [f"{stored.objective.name} on the validation part, as the search saw it."],
        [_bars(stored), Listing("trials", "All completed trials", _trials(stored))],
    )


def _bars(stored: StoredStudy) -> Chart:
    best = stored.completed[:BARS]
    values = [trial.measures[stored.objective.name] for trial in best]
    figure = bars([f"#{trial.trial}" for trial in best], values, [words(trial) for trial in best])
    dressed(figure, stored.objective.name, height=110 + 25 * len(best))
    title = f"The best {len(best)} trials" if len(stored.completed) > BARS else "The trials"
    rows = [(trial.trial, words(trial), value) for trial, value in zip(best, values, strict=True)]
    table = Table.of(("trial", "configuration", stored.objective.name), rows)
    return Chart(
        "leaderboard", title, figure, table, f"A bar is a trial, as long as its {stored.objective.name}."
    )


def _trials(stored: StoredStudy) -> Table:
    fixed = ("encoder", "metric", "loss", "embedding_dim")
    factors = [*fixed, *(name for name in stored.varied if name not in fixed)]
    have = {name for trial in stored.completed for name in trial.measures}
    names = [name for name in dict.fromkeys([*stored.snapshot.objectives, *SHOWN]) if name in have]
    rows = [
        [
            trial.trial,
            *(trial.factors.get(name) for name in factors),
            *(trial.value(name) for name in names),
            trial.seconds,
        ]
        for trial in stored.completed
    ]
    return Table.of(("trial", *factors, *names, "seconds"), rows)


def trade_off(stored: StoredStudy) -> Section:
    """Two figures against each other, and what no other trial beats in both."""
    names, directions = _two(stored)
    trials = [trial for trial in stored.completed if all(trial.value(name) is not None for name in names)]
    if not trials or len({trial.measures[names[1]] for trial in trials}) < 2:
        return Section("trade-off", "Trade-off")
    rows = [[trial.measures[name] for name in names] for trial in trials]
    best = sorted(front(rows, directions), key=lambda row: rows[row][1])
    beaten = [row for row in range(len(rows)) if row not in set(best)]
    figure = go.Figure(
        [
            _points(trials, rows, beaten, "beaten in both", COLORS[6], "circle", "markers"),
            _points(trials, rows, best, "Pareto front", COLORS[0], "diamond", "lines+markers"),
        ]
    )
    dressed(figure, names[1], names[0], height=420)
    if min(row[1] for row in rows) > 0 and max(row[1] for row in rows) >= 30 * min(row[1] for row in rows):
        logarithmic(figure, [row[1] for row in rows])
    table = Table.of(
        ("trial", "configuration", *names, "on the front"),
        [
            (trial.trial, words(trial), *row, "yes" if place in best else "no")
            for place, (trial, row) in enumerate(zip(trials, rows, strict=True))
        ],
    )
    chart = Chart(
        "front",
        f"{names[0]} against {names[1]}",
        figure,
        table,
        "Every completed trial. On the line are those that no other one beats in both.",
    )
    return Section("trade-off", "Trade-off", [], [chart])


def _two(stored: StoredStudy) -> tuple[list[str], list[str]]:
    """The first two objectives, or the only one and the size of the model."""
    names = list(stored.snapshot.objectives)[:2]
    directions: list[str] = [stored.snapshot.objectives[name] for name in names]
    return (names, directions) if len(names) == 2 else ([*names, "parameters"], [*directions, "minimize"])


def _points(
    trials: list[TrialResult],
    rows: list[list[float]],
    chosen: list[int],
    name: str,
    shade: str,
    symbol: str,
    mode: str,
) -> go.Scatter:
    return go.Scatter(
        x=[rows[row][1] for row in chosen],
        y=[rows[row][0] for row in chosen],
        text=[called(trials[row]) for row in chosen],
        mode=mode,
        name=name,
        line={"shape": "hv", "color": shade},
        marker={"color": shade, "size": 9, "symbol": symbol},
        hovertemplate="%{text}<br>%{y:.4g} at %{x:.4g}<extra></extra>",
    )
