"""Plotly figures of plain data, for notebooks and reports; Plotly is imported at first use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from plotly import graph_objects as go

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
"""Okabe and Ito's colors, distinct for the color-blind, without the yellow, which is invisible on white."""

SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "star")
"""Markers, combined with the colors so that no information is in the color alone."""


def color(number: int) -> str:
    """Return the n-th color; they repeat after the last one."""
    return COLORS[number % len(COLORS)]


def symbol(number: int) -> str:
    """Return the n-th marker; color and marker together are distinct for seven times seven series."""
    return SYMBOLS[(number // len(COLORS) + number) % len(SYMBOLS)]


def dressed(
    figure: go.Figure, x: str = "", y: str = "", height: int = 400, tickformat: str | None = None
) -> go.Figure:
    """Return the figure with the common layout.

    Args:
        figure: the figure, which is changed in place and returned.
        x, y: titles of the axes; any text, which is escaped.
        height: height in pixels.
        tickformat: format of the numbers on the x axis.
    """
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 10, "r": 10, "t": 36, "b": 40},
        font={"family": "system-ui, sans-serif", "size": 13},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"},
    )
    figure.update_xaxes(title=escape(x), automargin=True, tickformat=tickformat)
    figure.update_yaxes(title=escape(y), automargin=True)
    return figure


def logarithmic(figure: go.Figure, values: Sequence[float]) -> None:
    """Make the x axis logarithmic, with ticks at powers of two, or of ten if the range is long."""
    short = max(values) <= 500 * min(values)
    figure.update_xaxes(type="log", dtick=math.log10(2) if short and min(values) >= 1 else 1)


GREY = "#7F7F7F"

MIN_SPREAD = 0.05
"""The share of an axis below which differences cannot be seen."""


@dataclass(frozen=True)
class ReferenceLine:
    """A line across a figure, at a value that others are compared with.

    Args:
        name: its name in the legend; any text, which is escaped.
        value: its place on the axis.
        dash: `dot` or `dash`.
        color: its color.
    """

    name: str
    value: float
    dash: Literal["dot", "dash"]
    color: str = GREY


def measure_axis(figure: go.Figure, axis: Literal["x", "y"], lines: Sequence[ReferenceLine] = ()) -> None:
    """Let the axis of a measure begin at 0, so that it does not exaggerate, and draw lines for reference.

    If the values of the traces differ by less than `MIN_SPREAD` of such an axis, it begins near them instead,
    and its title says so. Bars always begin at 0.

    Args:
        figure: the figure, which is changed in place; its axis has a title.
        axis: the axis of the measure.
        lines: the lines.
    """
    values = _values_on(figure, axis)
    if not values:
        return
    low, high = min(0.0, *values), max(0.0, *values)
    first, last = min([low, *(line.value for line in lines)]), max([high, *(line.value for line in lines)])
    has_bars = any(trace.type == "bar" for trace in figure.data)
    spread = max(values) - min(values)
    title = figure.layout[f"{axis}axis"].title.text
    if 0 < spread < MIN_SPREAD * (last - first) and not has_bars:
        first, last = min(values) - spread / 4, max(values) + spread / 4
        title = f"{title} (axis begins at {first:.4g})"
    else:
        margin = 0.03 * (last - first)
        first -= margin if first < 0 or (min(values) < margin and not has_bars) else 0
        last += margin
    figure.update_layout({f"{axis}axis": {"range": [first, last], "title": {"text": title}}})
    for trace in figure.data if lines else ():
        if trace.name is None:
            trace.showlegend = False
    across = "y" if axis == "x" else "x"
    for line in lines:
        beyond = " (below the axis)" if line.value < first else " (above the axis)" * (line.value > last)
        figure.update_layout(showlegend=True)
        figure.add_shape(
            type="line",
            name=escape(line.name) + beyond,
            showlegend=True,
            layer="above",
            line={"dash": line.dash, "color": line.color, "width": 1.5},
            **{f"{axis}0": line.value, f"{axis}1": line.value},
            **{f"{across}ref": f"{across} domain", f"{across}0": 0, f"{across}1": 1},
        )


def _values_on(figure: go.Figure, axis: str) -> list[float]:
    """Return the numbers of all traces on an axis, and the ends of their intervals."""
    values: list[float] = []
    for trace in figure.data:
        numbers = [value for value in trace[axis] if value is not None]
        halves = trace[f"error_{axis}"].array
        for sign in (-1, 1) if halves is not None else ():
            values += [value + sign * half for value, half in zip(numbers, halves, strict=True)]
        values += numbers
    return [float(value) for value in values if math.isfinite(value)]


@dataclass(frozen=True)
class DifferenceRow:
    """One row of a forest plot.

    Args:
        name: the label on the axis.
        difference, low, high: a difference and the ends of its interval.
        significant: whether the difference is significant, shown by a filled marker.
        text: the text shown when the pointer is over the marker.
    """

    name: str
    difference: float
    low: float
    high: float
    significant: bool
    text: str


def forest_plot(rows: Sequence[DifferenceRow]) -> go.Figure:
    """Return a forest plot: each difference with its interval, and a line at zero."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for significant, name in ((True, "significant"), (False, "not significant")):
        shown = [row for row in rows if row.significant == significant]
        if not shown:
            continue
        figure.add_trace(
            go.Scatter(
                x=[row.difference for row in shown],
                y=[escape(row.name) for row in shown],
                mode="markers",
                name=name,
                marker={
                    "size": 11,
                    "color": color(0) if significant else GREY,
                    "symbol": "circle" if significant else "circle-open",
                },
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [row.high - row.difference for row in shown],
                    "arrayminus": [row.difference - row.low for row in shown],
                },
                text=[escape(row.text) for row in shown],
                hovertemplate="%{text}<extra></extra>",
            )
        )
    figure.add_vline(x=0, line_width=1, line_dash="dash", line_color=GREY)
    names = [escape(row.name) for row in rows]
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1])
    return dressed(figure, "difference, with its interval", "", height=140 + 40 * len(rows))


@dataclass(frozen=True)
class SizePoint:
    """One point of a plot of quality against size.

    Args:
        series: the name of the series that the point belongs to, which has one marker and color.
        size: bytes per vector.
        value: the value of the measure.
        optimal: whether the point is on the Pareto front.
        text: the text shown when the pointer is over the marker.
    """

    series: str
    size: float
    value: float
    optimal: bool
    text: str


def size_plot(points: Sequence[SizePoint], y: str) -> go.Figure:
    """Return a plot of quality against size: one marker for each series, and the Pareto front as steps."""
    import plotly.graph_objects as go

    names = list(dict.fromkeys(point.series for point in points))
    points = sorted(points, key=lambda point: point.size)
    front = [point for point in points if point.optimal]
    figure = go.Figure()
    # Steps: between two sizes the quality is that of the smaller one.
    figure.add_trace(
        go.Scatter(
            x=[point.size for point in front],
            y=[point.value for point in front],
            mode="lines",
            line={"shape": "hv", "color": GREY, "dash": "dash"},
            name="Pareto front",
            hoverinfo="skip",
        )
    )
    for number, name in enumerate(names):
        series = [point for point in points if point.series == name]
        figure.add_trace(
            go.Scatter(
                x=[point.size for point in series],
                y=[point.value for point in series],
                mode="lines+markers" if len(series) > 1 else "markers",
                name=escape(name),
                line={"color": color(number), "width": 1},
                marker={"color": color(number), "symbol": symbol(number), "size": 10},
                text=[escape(point.text) for point in series],
                hovertemplate="%{text}<br>%{y:.4f} in %{x:g} bytes<extra></extra>",
            )
        )
    logarithmic(figure, [point.size for point in points])
    return dressed(figure, "bytes per vector", y, height=460)
