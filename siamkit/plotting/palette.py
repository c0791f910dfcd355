"""The palette and the layout of all figures, in reports and in notebooks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import plotly.graph_objects as go

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
"""Okabe and Ito's colors, distinct for the color-blind, without the yellow, which is invisible on white."""

SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "star")
"""Markers, which go with the colors: no information is in the color alone."""


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
        figure: changed in place, and returned.
        x, y: titles of the axes; any text, it is escaped.
        height: in pixels.
        tickformat: of the numbers along x.
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
