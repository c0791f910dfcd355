"""Trials in a few words."""

from __future__ import annotations

from html import escape
from typing import Any

from siamkit.report.page import cut

MOST = 90  # characters of a name in a figure

Row = dict[str, Any]


def words(row: Row) -> str:
    """The configuration of a trial or finalist in a few words."""
    factors = row["factors"]
    return f"{factors['encoder']} · {factors['metric']} · {factors['loss']} · {factors['embedding_dim']}-d"


def label(value: Any) -> str:
    """A text as a figure takes it: Plotly reads some tags, and a long one leaves no room for the figure."""
    return escape(cut(str(value), MOST))


def called(row: Row) -> str:
    """A trial with its number, as a figure takes it."""
    return f"#{row['trial']} {label(words(row))}"


def is_number(value: Any) -> bool:
    """Whether a level of a factor is a number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
