"""Names in figures: trials in a few words, and bars with theirs on them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from siamkit.plotting.palette import COLORS
from siamkit.report.load import Row
from siamkit.report.render.html import cut

MOST = 90  # characters of a name in a figure


def words(row: Row) -> str:
    """The configuration of a trial or finalist in a few words."""
    factors = row.factors
    return f"{factors['encoder']} · {factors['metric']} · {factors['loss']} · {factors['embedding_dim']}-d"


def label(value: Any) -> str:
    """A text as a figure takes it: Plotly reads some tags, and a long one leaves no room for the figure."""
    return escape(cut(str(value), MOST))


def called(row: Row) -> str:
    """A trial with its number, as a figure takes it."""
    return f"#{row.trial} {label(words(row))}"


def bars(names: Sequence[str], values: Sequence[float], told: Sequence[str]) -> go.Figure:
    """Bars from the top down, with a text on each: names beside them would take a phone's whole width."""
    figure = go.Figure(
        go.Bar(
            x=values[::-1],
            y=[label(each) for each in names[::-1]],
            text=[label(each) for each in told[::-1]],
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
