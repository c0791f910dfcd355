"""A study's results in a few lines for the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from siamkit.study.results import Results

SHOWN = 5


def summary(results: Results) -> RenderableType:
    """The best configuration, its figures, and the trials next to it."""
    if results.winner is None:
        causes = sorted({trial["cause"] for trial in results.trials if trial["cause"]})
        lines = "".join(f"\n  {escape(cause)}" for cause in causes[:SHOWN])
        return Text.from_markup(f"[bold red]no trial completed[/]{lines}")
    best = Table(
        box=None, show_header=False, title="best configuration", title_justify="left", pad_edge=False
    )
    for name, value in results.factors.items():
        best.add_row(
            escape(name),
            f"[bold]{value:.4g}[/]" if isinstance(value, float) else f"[bold]{escape(str(value))}[/]",
        )
    figures = Table(box=None, pad_edge=False)
    parts = list(results.figures)
    for column in ("", *parts):
        figures.add_column(column, justify="left" if not column else "right")
    names = [
        *results.objectives,
        *(
            name
            for name in ("recall_at_1", "roc_auc", "eer")
            if name in results.figures["valid"] and name not in results.objectives
        ),
    ]
    for name in names:
        figures.add_row(name, *(f"{results.figures[part][name]:.4f}" for part in parts))
    return Group(Text(), best, Text(), figures, Text())
