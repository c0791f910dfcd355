"""A report as Markdown: for a repository, a ticket, a mail."""

from __future__ import annotations

import re

from siamkit.report.model import Chart, Document, Gallery, Listing, Section, Source, Table
from siamkit.report.render.html import MARKS, cell, cut

ROWS = 30  # of a table; all are in the page and in the JSON


def markdown(document: Document) -> str:
    """The words and tables of a report; of figures their data, where these are few."""
    parts = [f"# {plain(document.title)}", *map(plain, document.lead)]
    for section in document.filled():
        parts += [f"## {plain(section.title)}", *map(plain, section.words)]
        if section.findings:
            parts.append("\n".join(f"- {MARKS[f.kind][0]} {plain(f.sentence)}" for f in section.findings))
        parts += _parts(section, document)
    return "\n\n".join(parts) + "\n"


def _parts(section: Section, document: Document) -> list[str]:
    said = []
    for part in section.parts:
        if isinstance(part, (Chart, Listing)):
            few = isinstance(part, Listing) or len(part.table.rows) <= ROWS
            said += [f"### {plain(part.title)}", *([plain(part.words)] if part.words else [])]
            said += [table(part.table)] if few else [f"*{len(part.table.rows):,} rows, in the page's CSV.*"]
        elif isinstance(part, Gallery):
            rows = [
                (why, document.items.ids[query], ", ".join(document.items.labels[each] for each in found))
                for why, query, found in part.queries
            ]
            said += [
                f"### {plain(part.title)}",
                table(Table.of(("why", "query", "found, the nearest first"), rows)),
            ]
        elif isinstance(part, Source):
            said += [f"### {plain(part.title)}", f"```json\n{part.text.replace('```', '` ` `')}\n```"]
    return said


def table(rows: Table) -> str:
    """A table, cut where it is long."""
    lines = [
        "| " + " | ".join(plain(each) for each in rows.columns) + " |",
        "|"
        + "|".join(" ---: " if rows.numeric(place) else " --- " for place in range(len(rows.columns)))
        + "|",
        *("| " + " | ".join(plain(cell(each)) for each in row) + " |" for row in rows.rows[:ROWS]),
    ]
    if len(rows.rows) > ROWS:
        lines.append(f"\n*The first {ROWS} of {len(rows.rows):,} rows.*")
    return "\n".join(lines)


def plain(text: str) -> str:
    """A text that Markdown takes for nothing but text, in one line."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", cut(" ".join(str(text).split()), 400))
