"""Which configurations are best: finalists, the leaderboard, what the best cost."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from siamkit.comparison.pareto import front
from siamkit.drawing import COLOURS, colour, dressed
from siamkit.report.parts import Chart, Listing, Part, Section, Table
from siamkit.report.read import Row, Stored
from siamkit.report.sections.naming import called, label, words

BARS = 30  # of the leaderboard's chart
SHOWN = ("recall_at_1", "map_at_r", "roc_auc", "eer", "spearman", "parameters")
"""Figures shown beside the objectives."""


def finalists(stored: Stored) -> Section:
    """The best configurations, trained afresh."""
    rows = stored.finalists
    if not rows:
        return Section("finalists", "Finalists")
    name = stored.objective
    columns = [
        "configuration",
        "trial",
        "seeds",
        f"{name} valid",
        "± sd",
        f"{name} test",
        "± sd ",
        "parameters",
    ]
    table = Table.of(
        columns,
        [
            [
                words(row), row["trial"], row["repeats"], row["valid"], row["valid_sd"], row["test"],
                row["test_sd"], row["parameters"],
            ]
            for row in rows
        ],
    )  # fmt: skip
    return Section(
        "finalists",
        "Finalists",
        [
            "The best configurations of the search, trained afresh, ordered by validation. The test part was "
            "scored here and nowhere else. ± is the standard deviation over seeds, not an interval."
        ],
        [Listing("finalists", "Trained afresh", table), _repeats(stored)],
    )


def _repeats(stored: Stored) -> Chart:
    """Every repeat of every finalist, on both parts."""
    places = [called(row) for row in stored.finalists][::-1]
    figure = go.Figure()
    told: list[tuple[Any, ...]] = []
    for number, part in enumerate(("valid", "test")):
        x, y = [], []
        for row, place in zip(stored.finalists[::-1], places, strict=True):
            for value in row["values"][part]:
                x.append(value)
                y.append(place)
                told.append((row["trial"], words(row), part, value))
        figure.add_trace(
            go.Scatter(
                x=x,
                y=y,
                mode="markers",
                name="validation" if part == "valid" else "test",
                marker={"color": colour(number), "symbol": ("circle", "diamond")[number], "size": 10},
                hovertemplate="%{y}<br>%{x:.4f}<extra></extra>",
            )
        )
    dressed(figure, stored.objective, height=150 + 42 * len(places))
    return Chart(
        "repeats",
        "Every repeat",
        figure,
        Table.of(("trial", "configuration", "part", stored.objective), told),
        "A mark is one training with a seed of its own: how far marks of one row lie apart is what "
        "chance does.",
    )


def leaderboard(stored: Stored) -> Section:
    """All completed trials."""
    if not stored.completed:
        return Section("leaderboard", "Leaderboard")
    return Section(
        "leaderboard",
        "Leaderboard",
        [f"{stored.objective} on the validation part, as the search saw it."],
        [_bars(stored), Listing("trials", "All completed trials", _trials(stored))],
    )


def _bars(stored: Stored) -> Chart:
    best = stored.completed[:BARS][::-1]
    figure = go.Figure(
        go.Bar(
            x=[trial["figures"][stored.objective] for trial in best],
            y=[f"#{trial['trial']}" for trial in best],
            text=[label(words(trial)) for trial in best],
            textposition="inside",
            insidetextanchor="start",
            textangle=0,
            constraintext="none",
            orientation="h",
            marker={"color": "rgba(0,114,178,.28)", "line": {"color": COLOURS[0], "width": 1}},
            textfont={"size": 12},
            cliponaxis=False,
            hovertemplate="%{y} %{text}<br>%{x:.4f}<extra></extra>",
        )
    )
    dressed(figure, stored.objective, height=110 + 25 * len(best))
    figure.update_yaxes(type="category")
    title = f"The best {len(best)} trials" if len(stored.completed) > BARS else "The trials"
    table = Table.of(
        ("trial", "configuration", stored.objective),
        [(t["trial"], words(t), t["figures"][stored.objective]) for t in best[::-1]],
    )
    return Chart("leaderboard", title, figure, table, f"A bar is a trial, as long as its {stored.objective}.")


def _trials(stored: Stored) -> Table:
    fixed = ("encoder", "metric", "loss", "embedding_dim")
    factors = [*fixed, *(name for name in stored.varied if name not in fixed)]
    have = {name for trial in stored.completed for name in trial["figures"]}
    names = [name for name in dict.fromkeys([*stored.frozen["objectives"], *SHOWN]) if name in have]
    rows = [
        [
            trial["trial"],
            *(trial["factors"].get(name) for name in factors),
            *(trial["figures"].get(name) for name in names),
            trial["seconds"],
        ]
        for trial in stored.completed
    ]
    return Table.of(("trial", *factors, *names, "seconds"), rows)


def trade_off(stored: Stored) -> Section:
    """Two figures against each other, and what no other trial beats in both."""
    names, directions = _two(stored)
    trials = [
        each for each in stored.completed if all(each["figures"].get(name) is not None for name in names)
    ]
    if not trials or len({each["figures"][names[1]] for each in trials}) < 2:
        return Section("trade-off", "Trade-off")
    rows = [[trial["figures"][name] for name in names] for trial in trials]
    best = sorted(front(rows, directions), key=lambda row: rows[row][1])
    beaten = [row for row in range(len(rows)) if row not in set(best)]
    figure = go.Figure(
        [
            _points(trials, rows, beaten, "beaten in both", COLOURS[6], "circle", "markers"),
            _points(trials, rows, best, "Pareto front", COLOURS[0], "diamond", "lines+markers"),
        ]
    )
    dressed(figure, names[1], names[0], height=420)
    if min(row[1] for row in rows) > 0 and max(row[1] for row in rows) >= 30 * min(row[1] for row in rows):
        figure.update_xaxes(type="log", dtick="D2")
    table = Table.of(
        ("trial", "configuration", *names, "on the front"),
        [
            (trial["trial"], words(trial), *row, "yes" if place in best else "no")
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


def _two(stored: Stored) -> tuple[list[str], list[str]]:
    """The first two objectives, or the only one and the size of the model."""
    names = list(stored.frozen["objectives"])[:2]
    directions = [stored.frozen["objectives"][name] for name in names]
    return (names, directions) if len(names) == 2 else ([*names, "parameters"], [*directions, "minimize"])


def _points(
    trials: list[Row],
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


def parts_of(*parts: Part | None) -> list[Part]:
    """Those that are there."""
    return [part for part in parts if part is not None]
