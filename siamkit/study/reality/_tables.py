"""A reality check as tables: for the terminal, and as Markdown to keep."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from siamkit.study.reality.result import LossResult, RealityCheck

CHOSEN = ("encoder", "metric", "embedding_dim", "learning_rate")
HEAD = ("loss", "trials", "search", "valid", "test", "95 % interval", "seeds")


def table(check: RealityCheck) -> Table:
    """The losses, the best on test first."""
    shown = Table(box=None, pad_edge=False, title=check.measure, title_justify="left")
    for number, column in enumerate(HEAD):
        shown.add_column(column, justify="right" if number else "left")
    for each in check.losses:
        shown.add_row(*(escape(cell) for cell in _cells(each)))
    return shown


def markdown(check: RealityCheck) -> str:
    """The whole of it on a page."""
    over = next((each.interval.over for each in check.losses if each.interval is not None), "")
    factors = list(dict.fromkeys(name for name in CHOSEN if any(name in e.factors for e in check.losses)))
    chosen = [[each.loss, *(_value(each.factors.get(name)) for name in factors)] for each in check.losses]
    parts = [
        f"# {_plain(check.name)}: losses under one budget",
        check.verdict(),
        "Each loss was given the same number of trials; its best configuration on validation was trained "
        f"afresh with each seed and scored on the test part, once. {check.measure}"
        + (f", with intervals of 95 % over {over}" if over else "")
        + ":",
        _table([*HEAD], [_cells(each) for each in check.losses]),
        "What was chosen for each:",
        _table(["loss", *factors], chosen),
        f"Differences, with p after Holm for all {len(check.pairs)} together:",
        "\n".join(f"- {each}" for each in check.verdicts()) or "- none could be told",
        *(["Before quoting:", "\n".join(f"- {each}" for each in check.notes)] if check.notes else []),
        'After Musgrave, Belongie and Lim, "A Metric Learning Reality Check", ECCV 2020.',
    ]
    return "\n\n".join(parts) + "\n"


def _cells(each: LossResult) -> list[str]:
    ends = "–" if each.interval is None else f"[{each.interval.low:.4f}, {each.interval.high:.4f}]"
    values = (each.search, each.valid, each.test)
    return [each.loss, str(each.trials), *map(_value, values), ends, str(each.seeds)]


def _value(value: object) -> str:
    if value is None:
        return "–"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4f}" if abs(value) >= 0.1 else f"{value:.4g}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_plain, line)) + " |" for line in lines)


def _plain(text: str) -> str:
    return text.replace("|", r"\|").replace("_", r"\_")
