"""A study's report, from its run folder: as a page, as Markdown, as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from siamkit.io.files import write_text
from siamkit.report.load import StoredStudy, load_study_results
from siamkit.report.model import Document
from siamkit.report.render._plain import plainly
from siamkit.report.render.html import render
from siamkit.report.render.markdown import markdown
from siamkit.report.sections.effects import mattered
from siamkit.report.sections.embedding import embedding
from siamkit.report.sections.failures import failures, reproduce
from siamkit.report.sections.ranking import finalists, leaderboard, trade_off
from siamkit.report.sections.sizes import sizes
from siamkit.report.sections.summary import about, lead, trust
from siamkit.report.sections.training import curves
from siamkit.report.sections.verification import verification
from siamkit.stats.anova import variance_shares
from siamkit.stats.importance import METHODS, importances

Form = Literal["html", "markdown", "json"]

FORMS: dict[Form, tuple[str, Callable[[Document], str]]] = {
    "html": ("report.html", render),
    "markdown": ("report.md", markdown),
    "json": (
        "report.json",
        lambda document: json.dumps(plainly(document), indent=1, ensure_ascii=False) + "\n",
    ),
}
"""Of each form the name of its file, and what makes it."""


def document(stored: StoredStudy) -> Document:
    """The report of a study, in no form yet."""
    shown, items = embedding(stored)
    shares = {method: importances(stored.table, method) for method in METHODS}
    variance = variance_shares(stored.table) if stored.completed else []
    sections = [
        about(stored),
        trust(stored),
        finalists(stored),
        leaderboard(stored),
        trade_off(stored),
        mattered(stored, shares, variance),
        sizes(stored),
        verification(stored),
        curves(stored),
        shown,
        failures(stored),
        reproduce(stored),
    ]
    return Document(stored.snapshot.name, lead(stored, shares["fANOVA"], variance), sections, items)


def write_report(folder: Path, form: Form = "html") -> Path:
    """Makes the report of a study in its run folder from its stored results; no Keras is needed.

    Args:
        folder: the run folder of a study.
        form: `html`, one page that needs nothing but itself; `markdown`; or `json`, for machines.

    Returns:
        The path of the report.

    Raises:
        StudyError: there is no study in the folder.
    """
    name, made = FORMS[form]
    text = made(document(load_study_results(folder)))
    target = folder / name
    write_text(target, text)
    return target
