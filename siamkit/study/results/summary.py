"""A study's results in a few lines for the terminal."""

from __future__ import annotations

from typing import cast

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from siamkit.runs.configuration import Configuration
from siamkit.stats.results import Difference
from siamkit.study.monitoring.progress import describe
from siamkit.study.results.results import Results

SHOWN = 5
FRONT = 20


def summary(results: Results) -> RenderableType:
    """The best configuration, its figures, and the trials next to it."""
    if results.winner is None:
        causes = sorted({trial.cause for trial in results.trials if trial.cause})
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
    measures = Table(box=None, pad_edge=False)
    parts = list(results.measures)
    for column in ("", *parts):
        measures.add_column(column, justify="left" if not column else "right")
    names = [
        *results.objectives,
        *(
            name
            for name in ("recall_at_1", "roc_auc", "eer")
            if name in results.measures["valid"] and name not in results.objectives
        ),
    ]
    interval, lead = results.test_interval, results.lead
    ends = {}
    if interval is not None:
        measures.add_column(f"95% over {interval.over}")
        ends[interval.measure] = Text(f"[{interval.low:.4f}, {interval.high:.4f}]")
    for name in names:
        cells = (f"{results.measures[part][name]:.4f}" for part in parts)
        measures.add_row(name, *cells, *([ends[name]] if name in ends else []))
    parts_shown: list[RenderableType] = [Text(), best, Text(), measures, Text()]
    if lead is not None:
        parts_shown += [Text(beside_second(lead)), Text()]
    if len(results.objectives) > 1:
        parts_shown += [_front(results), Text()]
    return Group(*parts_shown)


def beside_second(lead: Difference) -> str:
    """What the winner has over the second finalist on the test part, in a sentence."""
    ends = f"{lead.difference:+.4f} [{lead.low:+.4f}, {lead.high:+.4f}]"
    shown = "" if lead.significant else ", no difference shown"
    return f"beside the second, on test: {lead.measure} {ends}{shown}"


def _front(results: Results) -> Table:
    """What no other trial beats in every objective."""
    table = Table(box=None, title="Pareto front", title_justify="left", pad_edge=False)
    for column in ("trial", "configuration", *results.objectives):
        table.add_column(column, justify="left" if column == "configuration" else "right")
    for trial in results.front[:FRONT]:
        values = [f"{trial.measures[name]:.4g}" for name in results.objectives]
        table.add_row(str(trial.trial), escape(describe(cast(Configuration, trial.configuration))), *values)
    if len(results.front) > FRONT:
        table.caption = f"and {len(results.front) - FRONT} more"
    return table
