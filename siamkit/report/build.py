"""The report of a study, from its run folder: as a page, as Markdown or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from siamkit.io.files import disk_full_as_error, write_text
from siamkit.report.load import StoredStudy, load_study_results
from siamkit.report.model import Document
from siamkit.report.render.html import render_html
from siamkit.report.render.text import render_markdown
from siamkit.report.sections.effects import effects
from siamkit.report.sections.embedding import embedding
from siamkit.report.sections.ranking import baselines, finalists, leaderboard, sizes, trade_off
from siamkit.report.sections.summary import about, lead, reliability, reproduction
from siamkit.report.sections.training import augmentation, failures, training_curves
from siamkit.report.sections.verification import verification
from siamkit.stats.importance import METHODS, importances, variance_shares

Format = Literal["html", "markdown", "json"]


def study_document(stored: StoredStudy) -> Document:
    """Return the report of a study as a document."""
    embedding_section, items = embedding(stored)
    shares = {method: importances(stored.table, method) for method in METHODS}
    variance = variance_shares(stored.table) if stored.completed else []
    sections = [
        about(stored),
        reliability(stored),
        baselines(stored),
        finalists(stored),
        leaderboard(stored),
        trade_off(stored),
        effects(stored, shares, variance),
        sizes(stored),
        verification(stored),
        training_curves(stored),
        augmentation(stored),
        embedding_section,
        failures(stored),
        reproduction(stored),
    ]
    return Document(stored.snapshot.name, lead(stored, shares["fANOVA"], variance), sections, items)


def write_report(folder: Path, form: Format = "html") -> Path:
    """Write the report of a study into its run folder, from its stored results; no Keras is needed.

    Args:
        folder: the run folder of a study.
        form: the format: `html`, a page that needs no other file; `markdown`; or `json`.

    Returns:
        The path of the report.

    Raises:
        StudyError: the folder has no study or cannot be written, or a file in it is damaged.
    """
    name, render = FORMATS[form]
    text = render(study_document(load_study_results(folder)))
    target = folder / name
    with disk_full_as_error(target):
        write_text(target, text)
    return target


def _render_json(document: Document) -> str:
    return json.dumps(document.to_json(), indent=1, ensure_ascii=False) + "\n"


FORMATS: dict[Format, tuple[str, Callable[[Document], str]]] = {
    "html": ("report.html", render_html),
    "markdown": ("report.md", render_markdown),
    "json": ("report.json", _render_json),
}
"""The file name and the renderer of each format."""
