"""A report in short, as a notebook shows it."""

from __future__ import annotations

from siamkit.report.model import Document
from siamkit.report.render.html import MARKS, environment

ROWS = 10  # of each table
TABLES = ("finalists", "trials")


def fragment(document: Document) -> str:
    """What a report says first, its findings, and the best rows of its first tables, as HTML.

    Every name in it is escaped; it brings no script.
    """
    tables = {name: table for name, table in document.tables().items() if name in TABLES and table.rows}
    findings = [each for section in document.sections if section.name == "trust" for each in section.findings]
    return (
        environment()
        .get_template("results.html")
        .render(document=document, tables=tables, findings=findings, marks=MARKS, most=ROWS)
    )
