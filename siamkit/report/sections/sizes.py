"""Quality against size: trained at several, and the best embedding made smaller."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from siamkit.comparison.pareto import front
from siamkit.drawing import colour, dressed, symbol
from siamkit.report.parts import Chart, Section, Table
from siamkit.report.read import Stored
from siamkit.report.sections.naming import label, words

WAYS = {
    "retrained": "trained at that size, the best trial of each",
    "whole": "the best finalist as it is",
    "truncated": "its first numbers",
    "pca": "turned to its main directions, then cut",
    "float16": "in half precision",
    "int8": "in a byte a number",
    "binary": "in a bit a number",
}
LINES = ("retrained", "truncated", "pca")  # ways with more than one size

Point = tuple[str, int, float, float, str]  # way, dimensions, bytes, worth, of which configuration


def sizes(stored: Stored) -> Section:
    """The dimension curve and its Pareto front."""
    points = [*_retrained(stored), *_made_smaller(stored)]
    if len({point[2] for point in points}) < 2:
        return Section("sizes", "Quality against size")
    figure = go.Figure()
    for number, way in enumerate(WAYS):
        mine = sorted((each for each in points if each[0] == way), key=lambda each: each[2])
        if mine:
            figure.add_trace(_trace(mine, way, number))
    best = front(
        [[each[3], each[2]] for each in points], ["maximize" if stored.maximize else "minimize", "minimize"]
    )
    ends = sorted((points[row] for row in best), key=lambda each: each[2])
    figure.add_trace(
        go.Scatter(
            x=[each[2] for each in ends],
            y=[each[3] for each in ends],
            mode="lines",
            name="Pareto front",
            line={"color": "#7F7F7F", "width": 7, "shape": "hv"},
            opacity=0.35,
            hoverinfo="skip",
        )
    )
    dressed(figure, "bytes a vector", stored.objective, height=440)
    figure.update_xaxes(type="log", dtick="D2")
    columns = ("way", "dimensions", "bytes a vector", stored.objective, "configuration", "on the front")
    rows = [(*point, "yes" if row in best else "no") for row, point in enumerate(points)]
    told = "; ".join(f"{way}: {what}" for way, what in WAYS.items() if any(p[0] == way for p in points))
    chart = Chart(
        "sizes", "Dimension curve", figure, Table.of(columns, rows), told[0].upper() + told[1:] + "."
    )
    return Section("sizes", "Quality against size", _words(stored, points), [chart])


def _words(stored: Stored, points: list[Point]) -> list[str]:
    if not any(each[0] == "whole" for each in points):
        return [
            "Only sizes that were trained. What is left of one embedding when it is cut or rounded is "
            "tried of "
            "finalists, of labelled items, with a metric that takes vectors of any length."
        ]
    return [
        "What is cut or rounded learnt its directions and steps from training items, and was judged on the "
        "validation items shown below."
    ]


def _retrained(stored: Stored) -> list[Point]:
    """Of each embedding size that was searched, the best trial."""
    best: dict[int, Point] = {}
    for trial in stored.completed:  # the best first
        dim = trial["factors"]["embedding_dim"]
        value = trial["figures"][stored.objective]
        best.setdefault(dim, ("retrained", dim, 4.0 * dim, value, words(trial)))
    return [best[dim] for dim in sorted(best)]


def _made_smaller(stored: Stored) -> list[Point]:
    for row in stored.finalists:
        found = stored.exhibit(row)
        if "size_how" in found:
            columns: list[Any] = [found[f"size_{name}"].tolist() for name in ("how", "dim", "bytes", "worth")]
            return [
                (how, dim, size, worth, words(row)) for how, dim, size, worth in zip(*columns, strict=True)
            ]
    return []


def _trace(mine: list[Point], way: str, number: int) -> go.Scatter:
    return go.Scatter(
        x=[each[2] for each in mine],
        y=[each[3] for each in mine],
        mode="lines+markers" if way in LINES else "markers",
        name=way,
        line={"color": colour(number), "width": 1.5},
        marker={"color": colour(number), "symbol": symbol(number), "size": 10},
        text=[f"{each[1]} dimensions, {label(each[4])}" for each in mine],
        hovertemplate="%{text}<br>%{y:.4f} in %{x} bytes<extra>" + way + "</extra>",
    )
