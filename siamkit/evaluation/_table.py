"""Figures as a table for a terminal, by what they speak of."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.table import Table

from siamkit.evaluation.measures import GROUPS, MEASURES


def table(title: str, measures: Mapping[str, float]) -> Table:
    """A row a figure, with its interval or its mean over classes, and what it says."""
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False)
    shown.add_column("")
    shown.add_column("", justify="right")
    shown.add_column("")
    shown.add_column("", style="dim")
    for group in GROUPS:
        names = [name for name in measures if name in MEASURES and MEASURES[name].group == group]
        for name in names:
            shown.add_row(name, spell(measures[name]), _beside(name, measures), MEASURES[name].summary)
        if names:
            shown.add_section()
    for name in ("threshold", "far", "frr", "false_accepts", "false_rejects", "balanced_accuracy"):
        if name in measures:
            shown.add_row(name, spell(measures[name]), "", "")
    for name in ("queries", "queries_excluded", "pairs_alike", "pairs_unlike", "pairs"):
        if name in measures:
            shown.add_row(name, spell(measures[name]), "", "")
    return shown


def spell(value: float) -> str:
    """A figure as text: whole numbers whole, others with four digits."""
    if math.isnan(value):
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _beside(name: str, measures: Mapping[str, float]) -> str:
    if f"{name}_low" in measures:
        return f"{spell(measures[f'{name}_low'])} to {spell(measures[f'{name}_high'])}"
    return f"by class {spell(measures[f'{name}_macro'])}" if f"{name}_macro" in measures else ""
