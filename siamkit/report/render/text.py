"""A document as text: Markdown, and the terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table as RichTable
from rich.text import Text

from siamkit.report.model import (
    CHECK_MARKS,
    Block,
    Chart,
    Check,
    Document,
    Gallery,
    Listing,
    Source,
    Table,
    cell_text,
    shorten,
)

MAX_ROWS = 30
"""The maximum number of rows of a table; the page and the JSON have all rows."""


def render_markdown(document: Document) -> str:
    """Return the text and the tables of a report, and the data of charts with few rows."""
    parts = [f"# {escape(document.title)}", *map(escape, document.lead)]
    for section in document.filled():
        parts += [f"## {escape(section.title)}", *map(escape, section.paragraphs)]
        if section.checks:
            lines = [f"- {CHECK_MARKS[check.status]} {escape(check.sentence)}" for check in section.checks]
            parts.append("\n".join(lines))
        for block in section.blocks:
            parts += _block(block, document)
    return "\n\n".join(parts) + "\n"


def _block(block: Block, document: Document) -> list[str]:
    title = f"### {escape(block.title)}"
    caption = [escape(block.caption)] if block.caption else []
    if isinstance(block, Listing) or (isinstance(block, Chart) and len(block.table.rows) <= MAX_ROWS):
        return [title, *caption, table(block.table)]
    if isinstance(block, Chart):
        return [title, *caption, f"*{len(block.table.rows):,} rows, in the CSV of the page.*"]
    if isinstance(block, Gallery):
        rows = [
            (reason, document.items.ids[query], ", ".join(document.items.labels[row] for row in neighbors))
            for reason, query, neighbors in block.queries
        ]
        return [title, table(Table.of(("why", "query", "nearest items, the nearest first"), rows))]
    if isinstance(block, Source):
        return [title, f"```json\n{block.text.replace('```', '` ` `')}\n```"]
    return []  # an explorer and a picture need a page


def table(rows: Table) -> str:
    """Return a table in Markdown, cut after `MAX_ROWS` rows."""
    lines = [
        "| " + " | ".join(map(escape, rows.columns)) + " |",
        "|" + "|".join(" ---: " if is_numeric else " --- " for is_numeric in rows.numeric) + "|",
        *("| " + " | ".join(escape(cell_text(cell)) for cell in row) + " |" for row in rows.rows[:MAX_ROWS]),
    ]
    if len(rows.rows) > MAX_ROWS:
        lines.append(f"\n*The first {MAX_ROWS} of {len(rows.rows):,} rows.*")
    return "\n".join(lines)


def escape(text: str) -> str:
    """Return a text in one line, without any Markdown markup."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", shorten(" ".join(str(text).split()), 400))


GAP = 2
"""The number of spaces between columns."""

MIN_TEXT_WIDTH = 8
"""The width in characters to which text columns are shortened before columns are left out."""

STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}


def render_console(document: Document) -> Group:
    """Return a document for `rich`: its lead, then of each section the text, the tables and the checks.

    Example:
        >>> from rich.console import Console
        >>> from siamkit.report import Document, Listing, Section, Table, render_console
        >>> table = Table(("encoder", "map_at_r"), [("mlp", 0.5), ("cnn", 0.75)])
        >>> section = Section("trials", "", blocks=[Listing("trials", "", table)])
        >>> Console(width=80).print(render_console(Document("", ["cnn is the best."], [section])))
        cnn is the best.
        <BLANKLINE>
        encoder  map_at_r
        mlp        0.5000
        cnn        0.7500
    """
    parts: list[RenderableType] = []
    if document.title:
        parts.append(Text(one_line(document.title), style="bold"))
    parts += [Text(one_line(sentence)) for sentence in document.lead]
    for section in document.filled():
        parts.append(Text())
        if section.title:
            parts.append(Text(one_line(section.title), style="bold"))
        parts += [Text(one_line(paragraph)) for paragraph in section.paragraphs]
        parts += [check_line(check) for check in section.checks]
        for block in section.blocks:
            if isinstance(block, (Chart, Listing)):
                parts.append(FittedTable(block.table, block.title))
                parts += [Text(one_line(block.caption), style="dim")] if block.caption else []
            elif isinstance(block, Gallery):
                parts.append(FittedTable(_queries(block, document), block.title))
            elif isinstance(block, Source):
                parts.append(Text(block.text, no_wrap=True, overflow="ignore"))
    return Group(*parts)


def check_line(check: Check) -> RenderableType:
    """Return a check with its mark; further lines are indented."""
    line = RichTable.grid(padding=(0, 1))
    line.add_column(width=1)
    line.add_column()
    line.add_row(Text(CHECK_MARKS[check.status], STYLES[check.status]), Text(one_line(check.sentence)))
    return line


def one_line(text: str) -> str:
    """Return a text in one line, without characters that a terminal would obey."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


class FittedTable:
    """A table that fits the width of the terminal, each row in one line.

    Numbers are never cut. Text columns are shortened, the longest first; if that is not enough, the last
    columns are left out.

    Args:
        table: the table to show.
        title: the title above the table.
        head: whether to show the names of the columns.
    """

    def __init__(self, table: Table, title: str = "", *, head: bool = True) -> None:
        self.table, self.title, self.head = table, title, head

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the table out in the width that `rich` gives."""
        cells = [[one_line(cell_text(cell)) for cell in row] for row in self.table.rows]
        names = [one_line(name) for name in self.table.columns]
        content = [*([names] if self.head else []), *cells]
        natural = [max((cell_len(row[column]) for row in content), default=0) for column in range(len(names))]
        widths = fitted_widths(natural, self.table.numeric, options.max_width)
        if self.title:
            yield Text(one_line(self.title), style="bold")
        for number, row in enumerate(content):
            line = Text(style="dim" if self.head and number == 0 else "")
            for column, width in enumerate(widths):
                text = Text(row[column])
                text.truncate(width, overflow="ellipsis")
                text.align("right" if self.table.numeric[column] else "left", width)
                line.append_text(text)
                line.append(" " * GAP)
            line.rstrip()
            yield line
        if len(widths) < len(names):
            yield Text(f"not shown: {', '.join(names[len(widths) :])}", style="dim")


def fitted_widths(natural: Sequence[int], numeric: Sequence[bool], width: int) -> list[int]:
    """Return the widths of the first columns, as many as fit.

    Args:
        natural: the width of each column's longest cell.
        numeric: whether each column holds numbers, which must not be cut.
        width: the width of the terminal, in characters.
    """
    widths = list(natural)
    while widths:
        excess = sum(widths) + GAP * (len(widths) - 1) - width
        if excess <= 0:
            break
        longest = max(
            (column for column in range(len(widths)) if not numeric[column]),
            key=lambda column: widths[column],
            default=None,
        )
        if longest is not None and widths[longest] > MIN_TEXT_WIDTH:
            widths[longest] = max(MIN_TEXT_WIDTH, widths[longest] - excess)
        else:
            widths.pop()
    return widths


def _queries(gallery: Gallery, document: Document) -> Table:
    """Return each query with its nearest items, marked by whether they have its label."""
    items = document.items

    def found(query: int, row: int) -> str:
        mark = "✓" if items.labels[row] == items.labels[query] else "✗"
        return f"{mark} {items.text(row)}"

    rows = [
        (items.text(query), items.labels[query], reason, *(found(query, row) for row in neighbors))
        for query, reason, neighbors in ((query, reason, rows) for reason, query, rows in gallery.queries)
    ]
    most = max((len(neighbors) for _, _, neighbors in gallery.queries), default=0)
    nearest = tuple(f"nearest {number + 1}" for number in range(most))
    padded = [row + ("",) * (3 + most - len(row)) for row in rows]
    return Table.of(("query", "label", "why", *nearest), padded)
