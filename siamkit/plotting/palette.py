"""How figures look: one palette and one dress for all, whether in a report or in a notebook."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Okabe and Ito's colours without the yellow, which nobody sees on white: told apart by the colour-blind too.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")

SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "star")
"""Of markers, beside colours: what is told by colour alone is not told to everybody."""


def color(number: int) -> str:
    """The colour of the n-th thing; they begin again where there are more things than colours."""
    return COLORS[number % len(COLORS)]


def symbol(number: int) -> str:
    """The marker of the n-th thing: seven colours times seven markers are told apart."""
    return SYMBOLS[(number // len(COLORS) + number) % len(SYMBOLS)]


def dressed(
    figure: go.Figure, x: str = "", y: str = "", height: int = 400, tickformat: str | None = None
) -> go.Figure:
    """A figure in the common dress.

    Args:
        figure: changed in place, and returned.
        x, y: what the axes hold; any text, it is escaped.
        height: pixels.
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
    """Gives a figure a logarithmic x axis: marked at powers of two, or where it is long at powers of ten."""
    short = max(values) <= 500 * min(values)
    figure.update_xaxes(type="log", dtick=math.log10(2) if short and min(values) >= 1 else 1)
