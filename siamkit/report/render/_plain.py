"""A report as plain data."""

from __future__ import annotations

from typing import Any

from siamkit.report.model import Chart, Document, Gallery, Listing


def plainly(document: Document) -> dict[str, Any]:
    """All that a report says and the data of all its figures; items without their pictures."""
    return {
        "title": document.title,
        "lead": list(document.lead),
        "sections": [
            {
                "name": section.name,
                "title": section.title,
                "words": list(section.words),
                "findings": [{"kind": each.kind, "sentence": each.sentence} for each in section.findings],
                "tables": {
                    part.name: {
                        "title": part.title,
                        "words": part.words,
                        "columns": list(part.table.columns),
                        "rows": [list(row) for row in part.table.rows],
                    }
                    for part in section.parts
                    if isinstance(part, (Chart, Listing))
                },
                "queries": [
                    {
                        "why": why,
                        "query": document.items.ids[query],
                        "found": [document.items.ids[each] for each in found],
                    }
                    for part in section.parts
                    if isinstance(part, Gallery)
                    for why, query, found in part.queries
                ],
            }
            for section in document.filled()
        ],
    }
