"""The sections of a report, made from stored results alone; here, the words and bars that they share."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Literal

import plotly.graph_objects as go

from siamkit.evaluation.baselines import CHANCE
from siamkit.evaluation.measures import MEASURES
from siamkit.plotting import COLORS, ReferenceLine, measure_axis
from siamkit.report.load import Row, StoredStudy
from siamkit.report.model import shorten
from siamkit.runs.results import BaselineResult

SPLITS = {"valid": "validation", "test": "test"}
"""The names of the splits that are evaluated."""

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


def measured(figure: go.Figure, axis: Literal["x", "y"], name: str, lines: Sequence[ReferenceLine]) -> str:
    """Draw the axis of a measure with lines for reference; return the end of the caption, which names them.

    Args:
        figure: the figure, which is changed in place.
        axis: the axis of the measure.
        name: the name of the measure; the axis of a scale without a zero, such as seconds, stays as it is.
        lines: the lines.
    """
    if _has_zero(name):
        measure_axis(figure, axis, lines)
    return legend(lines)


def _has_zero(name: str) -> bool:
    return name in MEASURES and MEASURES[name].has_zero


def reference_lines(
    stored: StoredStudy, name: str, split: str = "valid", on_first_fold: bool = False
) -> list[ReferenceLine]:
    """Return chance and the best baseline on a split, for a scale with a zero, as far as they are known."""

    def value_of(result: BaselineResult) -> float | None:
        return result.on_first_fold(name) if on_first_fold else result.value(name, split)

    if not _has_zero(name):
        return []
    chance = next((each for each in stored.baselines if each.result.name == CHANCE), None)
    best = stored.baseline if stored.baseline is not chance else None
    lines = []
    if chance is not None and (value := value_of(chance.result)) is not None:
        lines.append(ReferenceLine("chance", value, "dot"))
    if best is not None and (value := value_of(best.result)) is not None:
        title = f"best baseline: {shorten(best.result.name, 40)}"
        lines.append(ReferenceLine(title, value, "dash", COLORS[1]))
    return lines


def legend(lines: Sequence[ReferenceLine]) -> str:
    """Return the end of a caption that names lines."""
    dashes = {"dot": "Dotted", "dash": "Dashed"}
    return "".join(f" {dashes[line.dash]}: {line.name} ({number(line.value)})." for line in lines)


def number(value: float | None) -> str:
    """Return a measure as text; a dash if it is missing."""
    return "–" if value is None else f"{value:.4f}"


def duration(seconds: float) -> str:
    """Return seconds in a convenient unit."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
