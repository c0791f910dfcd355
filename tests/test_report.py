"""The report: made from stored results alone, self-contained, and deaf to what names would have it do."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from run_folders import EVIL, Folder, frozen, result

from siamkit.errors import StudyError
from siamkit.report import write_report
from siamkit.report.document import document
from siamkit.report.read import read_stored
from siamkit.report.sections.ranking import trade_off
from siamkit.report.shares import shares_of


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
    assert "Best so far, not confirmed: mlp · cosine · triplet · 8-d. map_at_r 0.7500 on validation" in text
    assert text.index("0.7500") < text.index("0.2500")
    assert "the loss of epoch 1 is nan" in text
    assert "Seed 3, siamkit 0.1.0, keras 3.15, Python 3.11.7" in text


def test_finalists_are_means_over_seeds_with_their_deviation(folder: Folder) -> None:
    folder.study().trial(0, 0.9).trial(1, 0.8)
    folder.confirmed("key0", 0, 0.5, 0.4).confirmed("key0", 1, 0.7, 0.6)
    folder.confirmed("key1", 0, 0.8, 0.3).confirmed("key1", 1, 0.8, 0.5)
    text = Page(folder.page()).text
    # Worked out by hand: the mean of 0.3 and 0.5, and the deviation 0.1·√2.
    assert "map_at_r 0.8000 on validation, 0.4000 on test (± 0.1414 over seeds)" in text
    assert [row["trial"] for row in read_stored(folder.path).finalists] == [1, 0]


def test_lower_is_better_where_the_study_says_so(folder: Folder) -> None:
    folder.study(objectives={"eer": "minimize"})
    for number, value in enumerate([0.3, 0.1, 0.2]):
        folder.trial(number, 0.5, figures={"eer": value, "map_at_r": 0.5})
    assert [trial["trial"] for trial in read_stored(folder.path).completed] == [1, 2, 0]
    assert "eer 0.1000 on validation" in Page(folder.page()).text


def test_several_objectives_are_shown_against_each_other(folder: Folder) -> None:
    folder.study(objectives={"map_at_r": "maximize", "parameters": "minimize"})
    for number, (value, size) in enumerate([(0.9, 900.0), (0.5, 100.0), (0.4, 200.0), (0.7, 300.0)]):
        folder.trial(number, value, figures={"map_at_r": value, "parameters": size})
    beaten, best = trade_off(read_stored(folder.path)).parts[0].figure.data  # type: ignore[union-attr]
    assert (list(beaten.x), list(beaten.y)) == ([200.0], [0.4])  # by the second, in both
    assert (list(best.x), list(best.y)) == ([100.0, 300.0, 900.0], [0.5, 0.7, 0.9])
    assert "On the line are those that no other one beats" in Page(folder.page()).text


def test_one_objective_is_shown_against_the_size_of_the_model(folder: Folder) -> None:
    folder.study()
    for number, (value, size) in enumerate([(0.9, 900.0), (0.5, 100.0), (0.4, 200.0)]):
        folder.trial(number, value, figures={"map_at_r": value, "parameters": size})
    _, best = trade_off(read_stored(folder.path)).parts[0].figure.data  # type: ignore[union-attr]
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
    assert "@import" not in html.split("<script>")[0]
    assert "url(" not in html.split("<script>")[0]


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
    shares = shares_of(read_stored(folder.path))
    assert set(shares) == {"metric", "embedding_dim"}
    assert shares["metric"] > shares["embedding_dim"]
    assert sum(shares.values()) == pytest.approx(1)
    assert "PED-ANOVA" in Page(folder.page()).text


def test_factors_of_the_data_are_shown_as_those_of_the_model_are(folder: Folder) -> None:
    folder.study()
    for number in range(4):
        factors = {**result(number, 0)["factors"], "loss.triplet.margin": number, "data.imbalance": 1}
        folder.trial(number, number / 4, factors={**factors, "data.items_per_class": [2, None][number % 2]})
    assert read_stored(folder.path).varied == ["data.items_per_class"]
    assert "data.items_per_class" in folder.page()


def test_a_folder_without_a_study_and_a_damaged_one_are_refused_in_a_sentence(folder: Folder) -> None:
    with pytest.raises(StudyError, match="there is no study in"):
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
    assert len(read_stored(folder.path).trials) == 1


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
    stored = read_stored(several(folder).path)
    assert not stored.balanced
    assert document(stored).charts()["level-loss"].data[1].error_y.array is None
    page = folder.page()
    assert "are no estimate of an effect" in page
    assert "Only 16 trials completed" in page
    assert "with its 95% interval" not in page


def test_a_factorial_design_gets_intervals_unless_trials_were_pruned(folder: Folder) -> None:
    stored = read_stored(several(folder, {"design": "factorial", "seeds": 2}).path)
    assert stored.balanced
    means = document(stored).charts()["level-metric"].data[1]
    assert [*means.x] == ["euclidean", "cosine"]
    assert means.y[0] - means.y[1] == pytest.approx(0.101)
    assert len(means.error_y.array) == 2
    assert all(0 < half < 0.02 for half in means.error_y.array)
    page = folder.page()
    assert "with its 95% interval" in page
    assert "one seed" not in page
    folder.trial(99, None, outcome="pruned")
    assert not read_stored(folder.path).balanced


def test_pairs_of_factors_are_mapped_and_names_stay_inert(folder: Folder) -> None:
    stored = read_stored(several(folder).path)
    charts = document(stored).charts()
    assert "interaction-encoder" not in charts  # there is one only
    figure = charts["interaction-metric"]
    values = [
        each["figures"]["map_at_r"] for each in stored.completed if each["factors"]["metric"] == "cosine"
    ]
    cells = dict(zip(figure.data[0].y, figure.data[0].z, strict=True))["cosine"]
    assert sum(cells) / 2 == pytest.approx(sum(values) / 8)
    assert "4 trials" in figure.data[0].text[0][0]
    page = folder.page()
    assert "metric × loss" in page
    assert EVIL not in page
