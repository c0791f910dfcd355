"""Names, numbers and durations as a report writes them, and bars that have their names inside."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from siamkit.plotting.figures import COLORS
from siamkit.report.load import Row
from siamkit.report.model import shorten

MAX_LABEL = 90
"""The maximum number of characters of a name in a chart."""


def label(value: object) -> str:
    """Return a text for a chart: escaped, since Plotly reads some tags, and short enough to leave room."""
    return escape(shorten(str(value), MAX_LABEL))


def numbered(row: Row) -> str:
    """Return the number and the configuration of a trial, for a chart."""
    return f"#{row.trial} {label(row.description)}"


def bars(names: Sequence[str], values: Sequence[float], texts: Sequence[str]) -> go.Figure:
    """Return horizontal bars, the first on top, with texts inside, since texts outside do not fit a phone.

    Args:
        names: the categories of the axis; short, such as a rank.
        values: the lengths of the bars.
        texts: the text inside each bar.
    """
    figure = go.Figure(
        go.Bar(
            x=values[::-1],
            y=[label(name) for name in names[::-1]],
            text=[label(text) for text in texts[::-1]],
            textposition="inside",
            insidetextanchor="start",
            textangle=0,
            constraintext="none",
            orientation="h",
            marker={"color": "rgba(0,114,178,.28)", "line": {"color": COLORS[0], "width": 1}},
            textfont={"size": 12},
            cliponaxis=False,
            hovertemplate="%{y} %{text}<br>%{x:.4g}<extra></extra>",
        )
    )
    figure.update_yaxes(type="category")
    return figure


def number(value: float | None) -> str:
    """Return a measure as text; a dash if it is missing."""
    return "–" if value is None else f"{value:.4f}"


def duration(seconds: float) -> str:
    """Return seconds in a convenient unit."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
