"""The report: one self-contained HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import plotly.graph_objects as go
import plotly.io
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from siamkit.files import write_text
from siamkit.report import figures
from siamkit.report.read import Stored, read_stored

COUNTS = ("parameters", "flops", "bytes_per_vector")
SHOWN = 100  # rows of the leaderboard; a longer one says so


def write_report(folder: Path) -> Path:
    """Makes `report.html` in a run folder from its stored results.

    Args:
        folder: the run folder of a study.

    Returns:
        The path of the report.

    Raises:
        StudyError: there is no study in the folder.
    """
    page = render(read_stored(folder))
    target = folder / "report.html"
    write_text(target, page)
    return target


def render(stored: Stored) -> str:
    """The page as text; every name in it is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("siamkit", "report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["figure"] = _figure
    completed = stored.completed
    return environment.get_template("page.html").render(
        stored=stored,
        frozen=stored.frozen,
        objective=stored.objective,
        shown=SHOWN,
        words=figures.words,
        others=_others(stored),
        counts=_counts(stored),
        plotly=Markup(get_plotlyjs()),
        leaderboard=_html(figures.leaderboard(stored)) if completed else "",
        importances=_html(shares) if (shares := figures.importances(stored)) else "",
        levels=[(name, _html(figure)) for name, figure in figures.levels(stored)] if completed else [],
        interactions=[(name, _html(figure)) for name, figure in figures.interactions(stored)]
        if completed
        else [],
        warnings=stored.table().warnings(stored.varied(), stored.seeds) if completed else [],
        curves=_html(figures.curves(stored)) if stored.curves else "",
        front=_html(trade) if (trade := figures.trade_off(stored)) else "",
    )


def _figure(value: float | None, name: str = "") -> str:
    """A figure as text; counts are whole numbers, and what is missing is a dash."""
    if value is None:
        return "–"
    return f"{value:.0f}" if name in COUNTS else f"{value:.4f}"


def _others(stored: Stored) -> list[str]:
    """The figures shown beside the objective."""
    wanted = (
        *stored.frozen["objectives"],
        "recall_at_1",
        "map_at_r",
        "roc_auc",
        "eer",
        "spearman",
        "parameters",
    )
    have = stored.completed[0]["figures"] if stored.completed else {}
    return [name for name in dict.fromkeys(wanted) if name in have and name != stored.objective]


def _counts(stored: Stored) -> dict[str, int]:
    outcomes = [trial["outcome"] for trial in stored.trials]
    return {name: outcomes.count(name) for name in ("complete", "pruned", "failed")}


def _html(figure: go.Figure) -> Any:
    return Markup(
        plotly.io.to_html(
            figure,
            full_html=False,
            include_plotlyjs=False,
            config={"displayModeBar": False, "responsive": True},
        )
    )
