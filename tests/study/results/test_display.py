"""Results in a notebook: words, figures, tables."""

from __future__ import annotations

from pathlib import Path

import plotly.graph_objects as go
import pytest
from run_folders import EVIL, Folder, frozen, result

from siamkit.study.results.results import Results


@pytest.fixture
def results(tmp_path: Path) -> Results:
    folder = Folder(tmp_path).study(name=EVIL)
    for number in range(12):
        factors = {**result(0, 1)["factors"], "loss": [EVIL, "triplet"][number % 2]}
        folder.trial(number, number / 20, factors=factors)
    return Results(tmp_path, frozen()["objectives"], [], None, {})


def test_they_are_shown_in_words_and_their_best_rows_with_names_inert(results: Results) -> None:
    html = results._repr_html_()
    assert "Best so far, not confirmed: mlp · cosine · triplet · 8-d." in html
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
