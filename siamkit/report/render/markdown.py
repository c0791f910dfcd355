"""A report as Markdown: for a repository, a ticket or an e-mail."""

from __future__ import annotations

import re

from siamkit.report.model import (
    CHECK_MARKS,
    Block,
    Chart,
    Document,
    Gallery,
    Listing,
    Source,
    Table,
    cell_text,
    shorten,
)

MAX_ROWS = 30
"""The most rows of a table; the page and the JSON have all."""


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
    return []  # an explorer needs a page


def table(rows: Table) -> str:
    """Return a table in Markdown, cut after `MAX_ROWS` rows."""
    columns = range(len(rows.columns))
    lines = [
        "| " + " | ".join(map(escape, rows.columns)) + " |",
        "|" + "|".join(" ---: " if rows.numeric(column) else " --- " for column in columns) + "|",
        *("| " + " | ".join(escape(cell_text(cell)) for cell in row) + " |" for row in rows.rows[:MAX_ROWS]),
    ]
    if len(rows.rows) > MAX_ROWS:
        lines.append(f"\n*The first {MAX_ROWS} of {len(rows.rows):,} rows.*")
    return "\n".join(lines)


def escape(text: str) -> str:
    """Return a text in one line, without any Markdown markup."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", shorten(" ".join(str(text).split()), 400))
