"""Reports of studies, made from stored results only: no Keras is needed. Public names are lazy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports

if TYPE_CHECKING:
    from siamkit.report.build import study_document, write_report
    from siamkit.report.checks import check_reliability, verdict
    from siamkit.report.load import StoredStudy, load_study_results
    from siamkit.report.model import (
        Chart,
        Check,
        Document,
        Explorer,
        Gallery,
        Items,
        Listing,
        Picture,
        Section,
        Source,
        Table,
    )
    from siamkit.report.render.html import render_html
    from siamkit.report.render.text import render_console, render_markdown

__all__ = [
    "Chart",
    "Check",
    "Document",
    "Explorer",
    "Gallery",
    "Items",
    "Listing",
    "Picture",
    "Section",
    "Source",
    "StoredStudy",
    "Table",
    "check_reliability",
    "load_study_results",
    "render_console",
    "render_html",
    "render_markdown",
    "study_document",
    "verdict",
    "write_report",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Chart": "model",
        "Check": "model",
        "Document": "model",
        "Explorer": "model",
        "Gallery": "model",
        "Items": "model",
        "Listing": "model",
        "Picture": "model",
        "Section": "model",
        "Source": "model",
        "StoredStudy": "load",
        "Table": "model",
        "check_reliability": "checks",
        "load_study_results": "load",
        "render_console": "render.text",
        "render_html": "render.html",
        "render_markdown": "render.text",
        "study_document": "build",
        "verdict": "checks",
        "write_report": "build",
    },
)
