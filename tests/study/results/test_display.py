"""Results in a notebook: words, figures, tables."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from rich.console import Console
from run_folders import EVIL, Folder, frozen, result

from siamkit.report.model import Table
from siamkit.report.render.text import FittedTable, render_console
from siamkit.runs.outcome import read_outcome
from siamkit.study.results.results import Results, summary


@pytest.fixture
def results(tmp_path: Path) -> Results:
    folder = Folder(tmp_path).study(name=EVIL)
    for number in range(12):
        factors = {**result(0, 1)["factors"], "loss": [EVIL, "triplet"][number % 2]}
        folder.trial(number, number / 20, factors=factors)
    return Results(tmp_path, frozen()["objectives"], [], None, {})


def test_they_are_shown_in_words_and_their_best_rows_with_names_inert(results: Results) -> None:
    html = results._repr_html_()
    assert "not confirmed: mlp · cosine · triplet · 8-d." in html
    assert "trials: the first 10 of 12" in html
    assert html.index("0.5500") < html.index("0.1000")  # the best first
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_figures_are_plotly_objects_and_trials_a_frame(results: Results) -> None:
    charts = results.charts()
    assert {"leaderboard", "level-loss"} <= set(charts)
    assert all(isinstance(each, go.Figure) for each in charts.values())
    frame = results.to_frame()
    assert frame["map_at_r"].tolist() == [number / 20 for number in reversed(range(12))]
    assert frame.loc[0, ["trial", "loss"]].tolist() == [11, "triplet"]
    assert frame["map_at_r"].dtype == float


def test_a_study_without_a_completed_trial_is_shown_too(tmp_path: Path) -> None:
    Folder(tmp_path).study().trial(0, None, "failed", cause=EVIL)
    results = Results(tmp_path, frozen()["objectives"], [], None, {})
    assert "No trial has completed." in results._repr_html_()
    assert results.to_frame().empty


def test_the_terminal_has_the_answer_the_table_the_failed_checks_and_the_files(tmp_path: Path) -> None:
    folder = Folder(tmp_path).study()
    factors = {**result(0, 1)["factors"], "loss": f"acme/{'very_' * 30}long_loss"}
    configuration: dict[str, Any] = {
        "encoder": {"name": "siamkit/mlp", "params": {}},
        "metric": {"name": "siamkit/cosine", "params": {}},
        "loss": {"name": factors["loss"], "params": {"margin": 0.25}},
        "embedding_dim": 8,
    }
    more = {"factors": factors, "configuration": configuration}
    folder.trial(0, 0.25).trial(1, 0.75, **more)
    for key, values in (("key1", (0.8, 0.7, 0.75)), ("key0", (0.5, 0.6, 0.55))):
        for repeat, value in enumerate(values):
            folder.confirmed(key, repeat, value, value - 0.1, **more)
    results = Results.of(read_outcome(tmp_path))
    console = Console(width=80, file=io.StringIO(), highlight=False)
    console.print(render_console(summary(results, {"report": "runs/tiny/report.html"}, configuration=True)))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("The confirmed winner is trial ")
    order = ("0.7500  0.6500", "Checks that failed", "! ", "report  runs/tiny/report.html")
    places = [next(row for row, line in enumerate(lines) if text in line) for text in order]
    assert places == sorted(places)
    failed = [check.sentence for check in results.checks if check.status != "ok"]
    text = " ".join(" ".join(lines).split())
    assert all(sentence in text for sentence in failed)


def test_wide_tables_lose_columns_but_never_a_digit() -> None:
    table = Table(tuple(f"measure {number}" for number in range(12)), [tuple(1000.5 + n for n in range(12))])
    console = Console(width=80, file=io.StringIO(), highlight=False)
    console.print(FittedTable(table))
    head, row, note = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, (head, row, note))) <= 80
    assert row.split() == ["1000"] + [str(round(1000.5 + n)) for n in range(1, len(row.split()))]
    assert note.startswith("not shown: measure")
