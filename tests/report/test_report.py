"""The report: made from stored results alone, self-contained, and deaf to what names would have it do."""

from __future__ import annotations

import io
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from run_folders import EVIL, Folder, frozen, result

from siamkit.errors import StudyError
from siamkit.plotting import ReferenceLine, dressed, measure_axis
from siamkit.report import write_report
from siamkit.report.build import study_document
from siamkit.report.load import load_study_results
from siamkit.report.sections.ranking import trade_off
from siamkit.stats import importances


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


class Page(HTMLParser):
    """The tags of a page, what they would fetch, and the visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [
            value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")
        ]

    def handle_data(self, data: str) -> None:
        inside = self.tags[-1] if self.tags else ""
        (self.scripts if self.cdata_elem == "script" else self.words).append(data if inside else "")

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_a_study_is_shown_best_first_with_its_figures(folder: Folder) -> None:
    folder.study().trial(0, 0.25, curve=[0.1, 0.25]).trial(1, 0.75, curve=[0.5, 0.75]).trial(
        2, None, "pruned"
    )
    folder.trial(3, None, "failed", cause="the loss of epoch 1 is nan")
    text = Page(folder.page()).text
    assert "2 trials complete, 1 pruned, 1 failed" in text
    assert (
        "The best trial of the search is trial 1, not confirmed: mlp · cosine · triplet · 8-d. "
        "map_at_r 0.7500 on the validation split" in text
    )
    assert text.index("0.7500") < text.index("0.2500")
    assert "the loss of epoch 1 is nan" in text
    assert "Seed 3, siamkit 0.1.0, keras 3.15, Python 3.11.7" in text


def test_finalists_are_means_over_seeds_with_their_deviation(folder: Folder) -> None:
    folder.study().trial(0, 0.9).trial(1, 0.8)
    folder.confirmed("key0", 0, 0.5, 0.4).confirmed("key0", 1, 0.7, 0.6)
    folder.confirmed("key1", 0, 0.8, 0.3).confirmed("key1", 1, 0.8, 0.5)
    text = Page(folder.page()).text
    # Worked out by hand: the mean of 0.3 and 0.5; their deviation 0.1·√2 and Student's 12.7 leave all open.
    assert "map_at_r 0.8000 on the validation split, 0.4000 on the test split" in text
    assert "(95% interval 0.0000 to 1.0000, over seeds)" in text
    assert "No significant difference in map_at_r" in text
    rows = study_document(load_study_results(folder.path)).tables()["finalists"].rows
    assert [row[3:6] for row in rows] == [
        (0.8, 0, pytest.approx(0.4)),
        (pytest.approx(0.6), pytest.approx(0.1414, abs=1e-4), 0.5),
    ]
    assert [row.trial for row in load_study_results(folder.path).finalists] == [1, 0]


def test_lower_is_better_where_the_study_says_so(folder: Folder) -> None:
    folder.study(objectives={"eer": "minimize"})
    for number, value in enumerate([0.3, 0.1, 0.2]):
        folder.trial(number, 0.5, figures={"eer": value, "map_at_r": 0.5})
    assert [trial.trial for trial in load_study_results(folder.path).completed] == [1, 2, 0]
    assert "eer 0.1000 on the validation split" in Page(folder.page()).text


def lines(figure: Any) -> list[tuple[str, str, str, float]]:
    """The lines across a figure: axis, name, dash, value."""
    return [
        (axis, line.name, line.line.dash, line[f"{axis}0"])
        for line in figure.layout.shapes
        for axis in "xy"
        if line[f"{axis}0"] == line[f"{axis}1"]
    ]


def test_each_figure_of_the_objective_has_chance_and_the_best_baseline(folder: Folder) -> None:
    objectives = {"map_at_r": "maximize", "eer": "minimize"}
    folder.study(objectives=objectives).items(["a", "b"] * 10)
    for number, value in enumerate([0.7, 0.5, 0.45, 0.6]):
        factors = {
            **result(0, 1)["factors"],
            "loss": ["triplet", "contrastive"][number % 2],
            "data.label_noise": 0.2 * (number // 2),
        }
        figures = {"map_at_r": value, "eer": 1 - value, "parameters": 7.0 + number}
        folder.trial(number, value, factors=factors, figures=figures, curve=[0.3, value])
    folder.confirmed("key0", 0, 0.7, 0.62).confirmed("key0", 1, 0.68, 0.6)
    folder.exhibit(
        "confirm/key0/0", rows=np.arange(20), embeddings=np.eye(20), size_how=np.array(["whole", "pca"]),
        size_dim=np.array([8, 4]), size_bytes=np.array([32.0, 16.0]), size_worth=np.array([0.7, 0.6]),
    )  # fmt: skip
    folder.baseline("chance", {"map_at_r": 0.1, "eer": 0.5}, {"map_at_r": 0.12, "eer": 0.48})
    folder.baseline("raw", {"map_at_r": 0.3, "eer": 0.4}, {"map_at_r": 0.66, "eer": 0.3})
    folder.baseline("pca", {"map_at_r": 0.5, "eer": 0.2}, {"map_at_r": 0.52, "eer": 0.25})
    stored = study_document(load_study_results(folder.path))
    charts = stored.charts()
    on_y = [("y", "chance", "dot", 0.1), ("y", "best baseline: pca", "dash", 0.5)]
    for name in ("level-loss", "level-data.label_noise", "data-data.label_noise", "sizes", "curves"):
        assert lines(charts[name]) == on_y, name
        assert charts[name].layout.yaxis.range[0] == 0, name
        assert charts[name].layout.showlegend
    assert lines(charts["leaderboard"]) == [("x", *line[1:]) for line in on_y]
    assert lines(charts["front"]) == [*on_y, ("x", "chance", "dot", 0.5), ("x", on_y[1][1], "dash", 0.2)]
    # Validation and test have baselines of their own.
    assert lines(charts["repeats"]) == [
        ("x", "chance, validation", "dot", 0.1),
        ("x", "best baseline: pca, validation", "dash", 0.5),
        ("x", "chance, test", "dot", 0.12),
        ("x", "best baseline: pca, test", "dash", 0.52),
    ]
    captions = [block.caption for section in stored.sections for block in section.blocks]
    told = "Dotted: chance (0.1000). Dashed: best baseline: pca (0.5000)."
    assert sum(told in caption for caption in captions) == 7


def test_without_baselines_no_lines_are_drawn_and_axes_begin_at_zero(folder: Folder) -> None:
    folder.study().trial(0, 0.7, curve=[0.6, 0.7]).trial(1, 0.4, curve=[0.5, 0.4])
    chart = study_document(load_study_results(folder.path)).charts()["curves"]
    assert lines(chart) == []
    assert chart.layout.yaxis.range == (0, pytest.approx(0.721))


def test_the_epoch_that_is_kept_is_marked_in_its_curve(folder: Folder) -> None:
    folder.study().trial(0, 0.7, curve=[0.6, 0.7, 0.65]).trial(1, 0.4, curve=[0.5, 0.4])
    file = next(folder.path.glob("trials/0/*/history.parquet"))
    table = pq.read_table(file)
    pq.write_table(table.append_column("is_best", pa.array([False, True, False])), file)
    document = study_document(load_study_results(folder.path))
    chart = document.charts()["curves"]
    assert [list(trace.marker.size) for trace in chart.data] == [[4, 9, 4], [4, 4]]
    assert [row[-1] for row in document.tables()["curves"].rows] == ["", "yes", "", "", ""]
    captions = [block.caption for section in document.sections for block in section.blocks]
    assert sum("A large mark is the epoch whose model is kept." in each for each in captions) == 1


def test_epochs_that_some_queries_judged_are_reported_with_their_error(folder: Folder) -> None:
    folder.study().trial(0, 0.7, curve=[0.6, 0.7, 0.65]).trial(1, 0.4, curve=[0.5, 0.4])
    file = next(folder.path.glob("trials/0/*/history.parquet"))
    table = pq.read_table(file)
    table = table.append_column("is_best", pa.array([False, True, False]))
    table = table.append_column("queries", pa.array([2000.0, 30000.0, 2000.0]))
    pq.write_table(table.append_column("standard_error", pa.array([0.0061, 0.007, 0.0058])), file)
    document = study_document(load_study_results(folder.path))
    captions = [block.caption for section in document.sections for block in section.blocks]
    text = "the other epochs on the same 2,000 random ones: their standard error is up to 0.0061."
    assert sum(text in each for each in captions) == 1


def test_chance_that_is_the_best_baseline_is_one_line(folder: Folder) -> None:
    folder.study().trial(0, 0.7).baseline("chance", {"map_at_r": 0.3}).baseline("raw", {"map_at_r": 0.2})
    chart = study_document(load_study_results(folder.path)).charts()["leaderboard"]
    assert lines(chart) == [("x", "chance", "dot", 0.3)]


def test_an_objective_without_a_zero_keeps_its_axis(folder: Folder) -> None:
    folder.study(objectives={"ms_per_item": "minimize"}).baseline("chance", {"ms_per_item": 5.0})
    for number, value in enumerate([3.0, 4.0]):
        folder.trial(number, 0.5, figures={"ms_per_item": value})
    chart = study_document(load_study_results(folder.path)).charts()["leaderboard"]
    assert (lines(chart), chart.layout.xaxis.range) == ([], None)


@pytest.mark.parametrize(
    ("values", "kind", "start", "note"),
    [
        ([0.90, 0.95], "markers", 0, ""),  # 0.05 of 0.95 is visible
        ([0.90, 0.94], "markers", 0.89, " (axis begins at 0.89)"),
        ([0.90, 0.94], "bars", 0, ""),  # the length of a bar is its value
        ([0.90, 0.90], "markers", 0, ""),
        ([-0.2, 0.3], "markers", -0.215, ""),
        ([0.001, 0.3], "markers", -0.009, ""),  # or the mark would be cut
    ],
)
def test_axes_begin_at_zero_unless_nothing_could_be_seen(
    values: list[float], kind: str, start: float, note: str
) -> None:
    trace = go.Bar(y=values) if kind == "bars" else go.Scatter(y=[*values, None])
    figure = dressed(go.Figure(trace), "x", "map_at_r")
    measure_axis(figure, "y", [ReferenceLine("<b>", 0.1, "dot")] if start in (0, 0.89) else [])
    assert figure.layout.yaxis.range[0] == pytest.approx(start)
    assert figure.layout.yaxis.title.text == f"map_at_r{note}"
    if note:
        assert figure.layout.shapes[0].name == "&lt;b&gt; (below the axis)"


def test_intervals_are_inside_the_axis() -> None:
    trace = go.Scatter(y=[0.5, 0.6], error_y={"type": "data", "array": [0.7, 0.1]})
    figure = dressed(go.Figure(trace), "x", "map_at_r")
    measure_axis(figure, "y")
    low, high = figure.layout.yaxis.range
    assert (low < -0.2, high > 1.2) == (True, True)


def test_several_objectives_are_shown_against_each_other(folder: Folder) -> None:
    folder.study(objectives={"map_at_r": "maximize", "parameters": "minimize"})
    for number, (value, size) in enumerate([(0.9, 900.0), (0.5, 100.0), (0.4, 200.0), (0.7, 300.0)]):
        folder.trial(number, value, figures={"map_at_r": value, "parameters": size})
    beaten, best = trade_off(load_study_results(folder.path)).blocks[0].figure.data  # type: ignore[union-attr]
    assert (list(beaten.x), list(beaten.y)) == ([200.0], [0.4])  # by the second, in both
    assert (list(best.x), list(best.y)) == ([100.0, 300.0, 900.0], [0.5, 0.7, 0.9])
    assert "A trial on the line is Pareto-optimal" in Page(folder.page()).text


def test_one_objective_is_shown_against_the_size_of_the_model(folder: Folder) -> None:
    folder.study()
    for number, (value, size) in enumerate([(0.9, 900.0), (0.5, 100.0), (0.4, 200.0)]):
        folder.trial(number, value, figures={"map_at_r": value, "parameters": size})
    _, best = trade_off(load_study_results(folder.path)).blocks[0].figure.data  # type: ignore[union-attr]
    assert list(best.x) == [100.0, 900.0]


@pytest.mark.parametrize(
    "trials",
    [[], [(0, 0.5)], [(0, None, "failed")], [(0, None, "pruned")], [(0, 0.5), (1, None, "failed")]],
    ids=["none", "one", "failed", "pruned", "mixed"],
)
def test_a_study_of_any_size_has_a_page(folder: Folder, trials: list[tuple[Any, ...]]) -> None:
    folder.study()
    for trial in trials:
        folder.trial(*trial)
    text = Page(folder.page()).text
    assert ("No trial has completed." in text) == (not any(len(trial) == 2 for trial in trials))


def test_figures_that_are_no_numbers_are_shown_as_a_dash(folder: Folder) -> None:
    folder.study().trial(
        0,
        0.5,
        figures={"map_at_r": 0.5, "eer": None, "roc_auc": None, "parameters": None},
        curve=[None, math.nan, 0.5],
    )
    folder.trial(1, 0.4, figures={"map_at_r": 0.4})  # another version wrote fewer figures
    folder.confirmed("key0", 0, 0.5, None)
    page = Page(folder.page())
    assert "–" in page.text
    assert "nan" not in page.text.lower()


def test_hostile_names_are_inert(folder: Folder) -> None:
    wicked = {
        "encoder": f"evil/{EVIL}",
        "metric": '"><img src=x onerror=alert(1)>',
        "loss": "</script><b>loud</b>",
        "embedding_dim": 8,
    }
    folder.study(name=EVIL)
    for number in range(10):
        folder.trial(
            number,
            number / 10,
            factors={
                **wicked,
                "metric": f"{wicked['metric']}{number % 2}",
                "embedding_dim": 8 + number,
                "loss": f"{wicked['loss']}{number % 2}",
            },
            curve=[0.1, 0.2],
        )
    folder.trial(10, None, "failed", cause=f"ValueError: {EVIL}<img src=x>", factors=wicked)
    folder.confirmed("key9", 0, 0.5, 0.5, factors=wicked)
    html = folder.page()
    page = Page(html)
    assert EVIL in page.text  # shown as text
    assert "<img src=x" not in html
    assert "<b>loud" not in html
    assert not {"img", "iframe", "object", "embed", "link", "form"} & set(page.tags)
    # Nothing of a name got into or ended a script: as many as a page without such names has.
    plain = Folder(folder.path / "plain")
    plain.path.mkdir()
    plain.study()
    for number in range(10):
        plain.trial(
            number,
            number / 10,
            curve=[0.1, 0.2],
            factors={
                "encoder": "a",
                "metric": f"m{number % 2}",
                "loss": f"l{number % 2}",
                "embedding_dim": 8 + number,
            },
        )
    plain.trial(
        10,
        None,
        "failed",
        cause="x",
        factors={"encoder": "a", "metric": "m", "loss": "l", "embedding_dim": 8},
    )
    plain.confirmed("key9", 0, 0.5, 0.5)
    assert page.tags.count("script") == Page(plain.page()).tags.count("script")
    # Plotly reads some tags in its texts: names in its figures have none left.
    told = re.findall(r'id="chart-[^"]+">(.*?)</script>', html)
    assert len(told) > 5
    for figure in told:
        without = re.sub(r"\\u003c(br|extra|/extra)\\?>", "", figure)
        assert not re.search(r"\\u003c(?!br>|extra>|/extra>)", without), without


def test_the_page_fetches_nothing(folder: Folder) -> None:
    folder.study().trial(0, 0.5, curve=[0.1, 0.5])
    html = folder.page()
    page = Page(html)
    assert all(each.startswith("#") for each in page.fetched)
    own = html.split('id="plotly"')[0]
    assert "@import" not in own
    assert "url(" not in own


def test_importances_are_shown_only_with_enough_trials(folder: Folder) -> None:
    folder.study()
    base = result(0, 1)["factors"]
    for number in range(12):
        folder.trial(
            number,
            0.9 if number % 2 else 0.1 + number / 1000,
            factors={
                **base,
                "metric": "cosine" if number % 2 else "euclidean",
                "embedding_dim": 8 + number % 3,
            },
        )
    shares = importances(load_study_results(folder.path).table)
    assert set(shares) == {"metric", "embedding_dim"}
    assert shares["metric"] > shares["embedding_dim"]
    assert sum(shares.values()) == pytest.approx(1)
    assert "PED-ANOVA" in Page(folder.page()).text


def test_shares_are_those_of_an_analysis_of_variance(folder: Folder) -> None:
    """Three crossed factors, of which the first moves the outcome three times as far as the second."""
    folder.study()
    rng = np.random.default_rng(0)
    number = 0
    for metric in ("cosine", "euclidean"):
        for loss in ("triplet", "contrastive"):
            for dim in (8, 32, 128):
                for _ in range(10):
                    chance = float(rng.normal(0, 1e-4))
                    value = 0.3 + 0.3 * (metric == "cosine") + 0.1 * (loss == "triplet") + chance
                    factors = {
                        **result(0, 1)["factors"],
                        "metric": metric,
                        "loss": loss,
                        "embedding_dim": dim,
                    }
                    folder.trial(number, value, factors=factors)
                    number += 1
    stored = load_study_results(folder.path)
    # By hand: variances 0.15² and 0.05², so nine parts to one, and nothing by the size.
    shares = importances(stored.table, "fANOVA")
    assert shares["metric"] == pytest.approx(0.9, abs=0.03)
    assert shares["loss"] == pytest.approx(0.1, abs=0.03)
    assert shares["embedding_dim"] < 0.02
    # The best trials are of one metric and one loss and of every size.
    told = importances(stored.table, "PED-ANOVA")
    assert told["embedding_dim"] < 0.2
    assert max(told, key=lambda name: told[name]) in ("metric", "loss")


def test_factors_of_the_data_are_shown_as_those_of_the_model_are(folder: Folder) -> None:
    folder.study()
    for number in range(4):
        factors = {**result(number, 0)["factors"], "loss.triplet.margin": number, "data.imbalance": 1}
        folder.trial(number, number / 4, factors={**factors, "data.items_per_class": [2, None][number % 2]})
    assert load_study_results(folder.path).varied == ["data.items_per_class"]
    assert "data.items_per_class" in folder.page()


def test_a_folder_without_a_study_and_a_damaged_one_are_refused_in_a_sentence(folder: Folder) -> None:
    with pytest.raises(StudyError, match="no study has started in"):
        write_report(folder.path)
    folder.study().trial(0, 0.5)
    (folder.path / "trials/0/t/result.json").write_text('{"trial": 0,')
    with pytest.raises(StudyError, match=r"result\.json' is damaged"):
        write_report(folder.path)
    assert not (folder.path / "report.html").exists()


def test_an_attempt_without_a_result_is_no_trial(folder: Folder) -> None:
    folder.study().trial(0, 0.5)
    (folder.path / "trials/1/dead").mkdir(parents=True)
    (folder.path / "trials/1/dead/.ab12.keras").write_text("half")
    assert len(load_study_results(folder.path).trials) == 1


def test_making_a_report_imports_no_backend(folder: Folder) -> None:
    folder.study().trial(0, 0.5, curve=[0.5])
    code = (
        f"import sys; from pathlib import Path; from siamkit.report import write_report; "
        f"write_report(Path({str(folder.path)!r})); "
        "print([m for m in ('keras', 'tensorflow', 'torch', 'jax') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


# ---------------------------------------------------------------- what mattered


def several(folder: Folder, design: dict[str, Any] | None = None) -> Folder:
    folder.study()
    written = frozen()
    written["study"] |= design or {}
    (folder.path / "study.json").write_text(json.dumps(written))
    number = 0
    for _ in range(4):
        for loss, worth in (("triplet", 0.5), (EVIL, 0.6)):
            for metric, more in (("cosine", 0.0), ("euclidean", 0.1)):
                factors = {**result(0, 1)["factors"], "loss": loss, "metric": metric}
                folder.trial(number, worth + more + number / 1000, factors=factors)
                number += 1
    return folder


def test_an_adaptive_search_gets_means_without_intervals_and_a_warning(folder: Folder) -> None:
    stored = load_study_results(several(folder).path)
    assert not stored.balanced
    assert study_document(stored).charts()["level-loss"].data[1].error_y.array is None
    page = folder.page()
    assert "do not estimate an effect" in page
    assert "Only 16 trials completed" in page
    assert "with its 95% interval" not in page


def test_a_factorial_design_gets_intervals_unless_trials_were_pruned(folder: Folder) -> None:
    stored = load_study_results(several(folder, {"design": "factorial", "seeds": 2}).path)
    assert stored.balanced
    means = study_document(stored).charts()["level-metric"].data[1]
    assert [*means.x] == ["euclidean", "cosine"]
    assert means.y[0] - means.y[1] == pytest.approx(0.101)
    assert len(means.error_y.array) == 2
    assert all(0 < half < 0.02 for half in means.error_y.array)
    page = folder.page()
    assert "with its 95% interval" in page
    assert "one seed" not in page
    folder.trial(99, None, outcome="pruned")
    assert not load_study_results(folder.path).balanced


def test_pairs_of_factors_are_mapped_and_names_stay_inert(folder: Folder) -> None:
    stored = load_study_results(several(folder).path)
    charts = study_document(stored).charts()
    assert "interaction-encoder" not in charts  # there is one only
    figure = charts["interaction-metric"]
    values = [each.measures["map_at_r"] for each in stored.completed if each.factors["metric"] == "cosine"]
    cells = dict(zip(figure.data[0].y, figure.data[0].z, strict=True))["cosine"]
    assert sum(cells) / 2 == pytest.approx(sum(values) / 8)
    assert "4 trials" in figure.data[0].text[0][0]
    page = folder.page()
    assert "metric × loss" in page
    assert EVIL not in page


# ---------------------------------------------------------------- what there is to see


def seen(folder: Folder, labels: list[str] | None = None) -> Folder:
    """Six items in two classes, five of which find one of their own first."""
    folder.study().trial(0, 0.5).items(labels or ["a", "a", "a", "b", "b", "b"])
    folder.exhibit(
        "trials/0/t",
        rows=np.arange(6),
        embeddings=np.array([[0, 0], [0, 1], [0, 2], [5, 0], [5, 1], [5, 2.0]]),
        neighbours=np.array([[1, 2], [0, 2], [3, 1], [4, 5], [3, 5], [4, 3]]),
    )
    return folder


def test_the_main_directions_of_a_map_are_those_of_most_variance(folder: Folder) -> None:
    table = study_document(load_study_results(seen(folder).path)).tables()["map-pca"]
    assert table.columns == ("id", "target", "x", "y")
    # By hand: along the first axis items lie 2.5 from the middle, along the second 1 or 0.
    assert [abs(row[2]) for row in table.rows] == pytest.approx([2.5] * 6)  # type: ignore[arg-type]
    assert [abs(row[3]) for row in table.rows] == pytest.approx([1, 0, 1] * 2, abs=1e-9)  # type: ignore[arg-type]
    assert [row[:2] for row in table.rows[:2]] == [("item 0", "a"), ("item 1", "a")]
    # And the variance: 2.5² against 2/3.
    shares = study_document(load_study_results(folder.path)).tables()["spectrum"].rows
    assert shares[0][1] == pytest.approx(6.25 / (6.25 + 2 / 3))


def test_confusions_go_by_the_item_found_first(folder: Folder) -> None:
    tables = study_document(load_study_results(seen(folder).path)).tables()
    assert tables["confusions"].rows == [("a", "b", 1, pytest.approx(1 / 3))]
    assert {row[:2]: row[2] for row in tables["confusion"].rows} == {
        ("a", "a"): pytest.approx(2 / 3),
        ("a", "b"): pytest.approx(1 / 3),
        ("b", "a"): 0,
        ("b", "b"): 1,
    }


STEPS = json.dumps({"crop": {"padding": 0.1}, "erase": {"probability": 0.5, "largest": 0.4}})


def augmented(folder: Folder, **arrays: Any) -> Any:
    """The section on augmentation of a study whose winner is trial 1."""
    ids = np.array(["item 3", "item 5"])
    folder.study().trial(0, 0.3).trial(1, 0.5)
    folder.exhibit("trials/1/t", augmented_ids=ids, augmented_steps=np.array(STEPS), **arrays)
    [section] = [
        each
        for each in study_document(load_study_results(folder.path)).sections
        if each.name == "augmentation"
    ]
    return section


def test_augmented_images_are_columns_of_one_picture(folder: Folder) -> None:
    images = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((3, 2, 1), np.uint8)
    section = augmented(folder, augmented_images=images.reshape(2, 3, 3, 2, 1))
    assert section.paragraphs == [
        "Each time that the winner (#1) is trained on an item, it sees the item changed at random by crop "
        "(padding 0.1), erase (probability 0.5, largest 0.4). Here are 2 training items as they are, and "
        "each changed 2 times. Validation and test items are never changed."
    ]
    [picture] = section.blocks
    pixels = np.asarray(Image.open(io.BytesIO(picture.png)))
    # By hand: 3 rows of 3 pixels and 2 columns of 2, each with 2 white pixels around it.
    assert pixels.shape == (3 * 7, 2 * 6)
    assert [[int(pixels[row, column]) for column in (2, 8)] for row in (2, 9, 16)] == [[0, 3], [1, 4], [2, 5]]
    assert (pixels[[0, 1, 5, 6]] == 255).all()
    page = folder.page()
    assert '<img class="picture" src="data:image/png;base64,' in page
    assert "Augmented items" in write_report(folder.path, "markdown").read_text()
    found = json.loads(write_report(folder.path, "json").read_text())
    [told] = [each for each in found["sections"] if each["name"] == "augmentation"]
    assert told["paragraphs"] == section.paragraphs


def test_augmented_series_are_lines_around_the_item_itself(folder: Folder) -> None:
    series = np.arange(24.0).reshape(2, 3, 4)
    [chart] = augmented(folder, augmented_series=series).blocks
    lines = [list(line.y) for line in chart.figure.data if line.name == "as it is"]
    assert lines == [[0, 1, 2, 3], [12, 13, 14, 15]]
    assert sum(bool(line.showlegend) for line in chart.figure.data) == 2
    assert chart.table.columns == ("item", "step", "as it is", "augmented 1", "augmented 2")
    assert chart.table.rows[5] == ("item 5", 1, 13, 17, 21)


def test_changes_of_augmented_texts_are_marked(folder: Folder) -> None:
    texts = np.array([["a red hat", "a hat", "a red cap"], ["shoe", "shoe", "sho"]])
    [listing] = augmented(folder, augmented_texts=texts).blocks
    assert listing.table.rows == [
        ("item 3", "a red hat", "a[- red-] hat", "a red [-h-]{+c+}a[-t-]{+p+}"),
        ("item 5", "shoe", "shoe", "sho[-e-]"),
    ]


def test_augmented_rows_follow_their_item(folder: Folder) -> None:
    cells = np.array([[["1", "red"], ["nan", "red"]], [["2", "blue"], ["2", ""]]])
    names = np.array([EVIL, "color"])
    section = augmented(folder, augmented_rows=cells, augmented_columns=names)
    [listing] = section.blocks
    assert listing.table.columns == ("item", "version", EVIL, "color")
    assert listing.table.rows[1] == ("item 3", "augmented 1", "nan", "red")
    assert EVIL not in folder.page()


def test_nothing_is_said_of_augmentation_without_any(folder: Folder) -> None:
    seen(folder)
    assert "Augmented items" not in folder.page()


def test_the_gallery_begins_with_the_worst_queries(folder: Folder) -> None:
    found = study_document(load_study_results(seen(folder).path))
    [section] = [each for each in found.sections if each.name == "embedding"]
    [gallery] = [each for each in section.blocks if each.kind == "gallery"]
    assert gallery.queries[0] == ("One of the worst: 1 of 2 neighbors are of its class (a).", 2, [3, 1])


def test_a_finalist_is_seen_rather_than_a_trial_and_by_its_best_repeat(folder: Folder) -> None:
    seen(folder).confirmed("key0", 0, 0.6, 0.4).confirmed("key0", 1, 0.8, 0.4)
    stored = load_study_results(folder.path)
    assert stored.illustrated is not None
    assert stored.illustrated[0].folder == "trials/0/t"  # the finalist stored nothing
    for repeat in (0, 1):
        folder.exhibit(f"confirm/key0/{repeat}", rows=np.arange(6), embeddings=np.eye(6))
    illustrated = load_study_results(folder.path).illustrated
    assert illustrated is not None
    assert illustrated[0].best.folder == "confirm/key0/1"


def test_sizes_that_were_trained_and_those_made_smaller_are_in_one_figure(folder: Folder) -> None:
    seen(folder)
    base = result(0, 1)["factors"]
    folder.trial(1, 0.7, factors={**base, "embedding_dim": 16}).trial(
        2, 0.6, factors={**base, "embedding_dim": 16}
    )
    folder.confirmed("key1", 0, 0.7, 0.4).exhibit(
        "confirm/key1/0",
        rows=np.arange(6),
        embeddings=np.eye(6),
        size_how=np.array(["whole", "pca", "binary"]),
        size_dim=np.array([16, 4, 16]),
        size_bytes=np.array([64.0, 16.0, 2.0]),
        size_worth=np.array([0.71, 0.55, 0.3]),
    )
    rows = study_document(load_study_results(folder.path)).tables()["sizes"].rows
    points = {(row[0], row[2]): (row[3], row[4]) for row in rows}
    assert points == {
        ("retrained", 32): (0.5, "no"),  # pca is better and smaller
        ("retrained", 64): (0.7, "no"),
        ("whole", 64): (0.71, "yes"),
        ("pca", 16): (0.55, "yes"),
        ("binary", 2): (0.3, "yes"),
    }


def test_learning_curves_are_drawn_over_what_was_varied_about_the_data(folder: Folder) -> None:
    folder.study()
    for number in range(8):
        noise, loss = [0.0, 0.4][number % 2], ["triplet", "contrastive"][number // 2 % 2]
        factors = {**result(0, 1)["factors"], "data.label_noise": noise, "loss": loss}
        folder.trial(number, number / 10, factors=factors)
    rows = study_document(load_study_results(folder.path)).tables()["data-data.label_noise"].rows
    means = {row[:2]: (row[2], pytest.approx(row[3])) for row in rows}
    assert means["triplet", 0.0] == (2, (0.0 + 0.4) / 2)
    assert means["contrastive", 0.4] == (2, (0.3 + 0.7) / 2)


# ---------------------------------------------------------------- other forms


def test_markdown_says_the_same_and_no_name_is_taken_for_markup(folder: Folder) -> None:
    folder.study(name="a|b").trial(0, 0.25).trial(1, 0.75, factors={**result(0, 1)["factors"], "loss": EVIL})
    text = write_report(folder.path, "markdown").read_text(encoding="utf-8")
    assert text.startswith("# a\\|b\n")
    assert "| 1 | mlp | cosine | \\<script\\>alert(1)\\</script\\> | 8 | 0.7500 |" in text
    assert "map\\_at\\_r 0.7500 on the validation split." in text
    assert (folder.path / "report.md").is_file()


def test_json_holds_every_table_whole(folder: Folder) -> None:
    folder.study()
    for number in range(120):
        folder.trial(number, number / 200)
    told = json.loads(write_report(folder.path, "json").read_text(encoding="utf-8"))
    board = next(each for each in told["sections"] if each["name"] == "leaderboard")["tables"]["trials"]
    assert len(board["rows"]) == 120
    assert board["rows"][0][board["columns"].index("map_at_r")] == 119 / 200


def test_a_study_of_many_trials_and_items_makes_a_page_of_a_few_megabytes(folder: Folder) -> None:
    folder.study()
    base = result(0, 1)["factors"]
    for number in range(600):
        factors = {**base, "loss": f"loss {number % 20}", "embedding_dim": 8 + number % 64}
        folder.trial(number, number / 1000, factors=factors, curve=[0.1] * 10)
    assert write_report(folder.path).stat().st_size < 8e6


def shown_of(folder: Folder) -> Folder:
    """A study of one finalist with something to see."""
    folder.study().trial(0, 0.5, curve=[0.1, 0.5]).trial(1, 0.4).confirmed("key0", 0, 0.5, 0.4)
    rows = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
    near = np.tile(np.arange(5), (12, 1))
    return folder.items(["a", "b"] * 6).exhibit(
        "confirm/key0/0", embeddings=rows, rows=np.arange(12), neighbours=near
    )


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("confirm/key0/0/exhibit.npz", b""),
        ("confirm/key0/0/exhibit.npz", b"PK\x03\x04"),
        ("items.parquet", b"x"),
        ("trials/0/t/history.parquet", b"x"),
        ("trials/0/t/result.json", b"{}"),
        ("trials/0/t/result.json", b'{"trial": 0, "outcome": "complete", "factors": {}, "figures": null}'),
        ("confirm/key0/0/result.json", b"{}"),
        ("confirm/key0/0/result.json", b'{"trial": 0, "key": "key0", "outcome": "complete"}'),
        ("study.json", b'{"name": "tiny"}'),
    ],
)
def test_a_damaged_file_is_named_in_a_sentence(folder: Folder, file: str, content: bytes) -> None:
    assert (folder.path / shown_of(folder).path / file).is_file()
    (folder.path / file).write_bytes(content)
    with pytest.raises(StudyError, match=f"{Path(file).name}' is damaged"):
        write_report(folder.path)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"rows": np.arange(12) - 1}, "'rows' should name some of the 20 validation items"),
        ({"rows": np.arange(12) + 9}, "'rows' should name some of the 20 validation items"),
        ({"rows": np.arange(11)}, "'rows' should name one item for each embedding"),
        ({"neighbours": np.full((12, 5), 12)}, "'neighbours' should name some of the 12 rows"),
        ({"neighbours": np.arange(5)}, "'neighbours' should have one row for each embedding"),
    ],
)
def test_arrays_that_do_not_fit_together_are_damage(
    folder: Folder, arrays: dict[str, Any], sentence: str
) -> None:
    shown_of(folder)
    path = folder.path / "confirm/key0/0/exhibit.npz"
    whole = dict(np.load(path))
    np.savez(path, **{**whole, **arrays})
    with pytest.raises(StudyError, match=rf"exhibit\.npz' is damaged: {sentence}"):
        write_report(folder.path)


def test_a_missing_column_is_damage(folder: Folder) -> None:
    shown_of(folder)
    pq.write_table(pa.table({"target": ["a"] * 20}), folder.path / "items.parquet")
    with pytest.raises(StudyError, match=r"items\.parquet' is damaged: it lacks the column 'id'"):
        write_report(folder.path)
    history = folder.path / "trials/0/t/history.parquet"
    pq.write_table(pa.table({"repeat": [0]}), history)
    with pytest.raises(StudyError, match=r"history\.parquet' is damaged: it lacks the column 'epoch'"):
        write_report(folder.path)


def test_of_items_cut_short_none_is_named(folder: Folder) -> None:
    shown_of(folder).items(["a"] * 5)
    assert study_document(load_study_results(folder.path)).items.ids == [str(row) for row in range(12)]


def test_items_without_classes_or_with_numbers_are_shown(folder: Folder) -> None:
    for targets in ([None] * 12, [0.5] * 12):
        pq.write_table(pa.table({"id": list(range(12)), "target": targets}), shown_items(folder))
        assert study_document(load_study_results(folder.path)).items.labels == [str(each) for each in targets]
        assert "item" in folder.page()


def shown_items(folder: Folder) -> Path:
    if not (folder.path / "study.json").is_file():
        shown_of(folder)
    return folder.path / "items.parquet"


def test_a_trial_without_the_objective_or_its_time_is_no_trial_to_rank(folder: Folder) -> None:
    folder.study().trial(0, 0.5, seconds=None).trial(1, 0.4).trial(2, None).trial(3, 1, figures={"eer": 0.1})
    assert [trial.trial for trial in load_study_results(folder.path).completed] == [0, 1]
    (folder.path / "trials/0/t/result.json").write_text(
        json.dumps({key: value for key, value in result(0, 0.5).items() if key != "seconds"})
    )
    for form in ("html", "markdown", "json"):
        write_report(folder.path, form)


def test_a_factor_that_only_failed_trials_have_mattered_nothing(folder: Folder) -> None:
    folder.study()
    for number in range(4):
        folder.trial(number, number / 10)
    factors = {**result(0, 0)["factors"], "data.noise": 0.5}
    folder.trial(4, None, "failed", factors=factors)
    [mattered] = [
        each for each in study_document(load_study_results(folder.path)).sections if each.name == "effects"
    ]
    assert not mattered.blocks


def test_levels_of_several_types_are_all_drawn(folder: Folder) -> None:
    folder.study()
    for number, level in enumerate([None, 1, 2.5, "all", True]):
        folder.trial(number, number / 10, factors={**result(0, 0)["factors"], "data.limit": level})
    chart = study_document(load_study_results(folder.path)).charts()["level-data.limit"]
    assert chart.layout.xaxis.type == "category"
    assert list(chart.data[0].x) == ["True", "all", "2.5", "1", "None"]
