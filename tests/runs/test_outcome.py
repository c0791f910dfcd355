"""How a study stands, from run folders written by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click.testing
import pytest
from scipy import stats

from siamkit.cli import main
from siamkit.data.preprocessing import columns
from siamkit.errors import StudyError
from siamkit.runs.outcome import StudyOutcome, measures_by_split, read_outcome
from siamkit.runs.results import mean_measures
from siamkit.runs.run_folder import RunFolder
from siamkit.study.results import export
from siamkit.study.results.export import model_card
from siamkit.study.results.results import Results

CONFIGURATION = {
    "encoder": {"name": "siamkit/mlp", "params": {"width": 8}},
    "metric": {"name": "siamkit/cosine", "params": {}},
    "loss": {"name": "siamkit/triplet", "params": {"margin": {"typical_distance": 0.5}}},
    "embedding_dim": 4,
}
VERSIONS = {"python": "3.11", "backend": "jax", "packages": {"keras": "3.15"}, "plugins": {"acme": "2.0"}}
FROZEN = {
    "name": "by_hand",
    "objectives": {"eer": "minimize"},
    "study": {"data": {"source": "siamkit/digits"}, "fixed": {"epochs": 2, "precision": "float32"}},
    "data": {
        "fingerprint": "abc123",
        "items": 100,
        "input": "vector",
        "supervision": "labels",
        "split": {"by": "item", "counts": {"train": 60, "valid": 20, "test": 20}},
    },
    "versions": VERSIONS,
}
MODEL: dict[str, Any] = {
    "embedding_dim": 4,
    "metric": {"orientation": "similarity"},
    "threshold": 0.75,
    "same": "two items whose similarity is at least it",
    "preprocessing": None,
    "input": [{"name": "items", "shape": [None, 4], "dtype": "float32"}],
    "exports": {},
}


def store(folder: Path, place: str, **more: Any) -> None:
    path = folder / place / "result.json"
    path.parent.mkdir(parents=True)
    told = {"configuration": CONFIGURATION, "versions": VERSIONS, "outcome": "complete", "cause": ""}
    told["factors"] = {"encoder": "mlp", "metric": "cosine", "loss": "triplet", "embedding_dim": 8}
    path.write_text(json.dumps({**told, **more}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Trial 9 is the best: the lowest error, and found before trial 11, which is as good."""
    (tmp_path / "study.json").write_text(json.dumps(FROZEN))
    for trial, eer in ((2, 0.3), (11, 0.1), (9, 0.1), (3, None)):
        store(
            tmp_path, f"trials/{trial}/t", trial=trial, key=f"k{trial}", figures={"eer": eer, "roc_auc": 0.9}
        )
    store(tmp_path, "trials/4/t", trial=4, key="k4", figures={}, outcome="failed")
    return tmp_path


def confirm(folder: Path, key: str, repeat: int, eer: float, **more: Any) -> None:
    loss = {"margin": 0.1 * (repeat + 1)}
    measures = {"valid": {"eer": eer}, "test": {"eer": eer + 0.1}}
    told = {"trial": int(key[1:]), "key": key, "repeat": repeat, "literal": {"loss": loss}, **measures}
    store(folder, f"confirm/{key}/{repeat}", **{**told, **more})


def test_without_confirmation_the_best_trial_stands(folder: Path) -> None:
    standing = read_outcome(folder)
    assert (standing.trial, standing.confirmed) == (9, False)
    assert standing.measures == {"valid": {"eer": 0.1, "roc_auc": 0.9}}
    assert standing.model == folder / "trials/9/t/checkpoint.keras"


def test_the_mean_of_the_repeats_names_the_winner_and_the_best_repeat_is_its_model(folder: Path) -> None:
    for repeat, (steady, wild) in enumerate(((0.20, 0.05), (0.15, 0.50))):
        confirm(folder, "k11", repeat, wild)
        confirm(folder, "k2", repeat, steady)
    confirm(folder, "k2", 2, 0.0, outcome="failed")
    standing = read_outcome(folder)
    assert (standing.trial, standing.confirmed, len(standing.repeats)) == (2, True, 2)
    assert standing.measures["valid"]["eer"] == pytest.approx(0.175)
    assert standing.measures["test"]["eer"] == pytest.approx(0.275)
    assert standing.model == folder / "confirm/k2/1/checkpoint.keras"
    # What tune prints is of the first repeat, what the model was trained with of its own.
    assert standing.winner is not None
    assert standing.winner["loss"]["params"]["margin"] == pytest.approx(0.1)
    assert standing.configuration["loss"]["params"]["margin"] == pytest.approx(0.2)
    assert measures_by_split(standing.chosen)["test"]["eer"] == pytest.approx(0.25)


def test_figures_that_are_no_numbers_win_nothing(folder: Path) -> None:
    confirm(folder, "k3", 0, 0.4, valid={"eer": None}, test={"eer": None})
    confirm(folder, "k11", 0, 0.6)
    assert read_outcome(folder).trial == 11
    assert math.isnan(RunFolder(folder).repeats()[-1].measures_on("valid")["eer"])


def test_a_folder_without_a_study_or_a_completed_trial_is_told(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no study has started in"):
        read_outcome(tmp_path)
    (tmp_path / "study.json").write_text(json.dumps(FROZEN))
    store(tmp_path, "trials/0/t", trial=0, key="k", figures={}, outcome="failed")
    with pytest.raises(StudyError, match=r"no trial of the study in .* completed"):
        read_outcome(tmp_path)


def test_the_trials_that_there_are_are_named(folder: Path) -> None:
    assert RunFolder(folder).trial(11).key == "k11"
    with pytest.raises(StudyError, match="the study has no trial 5; choose from 2, 3, 4, 9, 11"):
        RunFolder(folder).trial(5)
    store(folder, "trials/2/second", trial=2, key="k2", figures={"eer": 0.3}, attempt=2, token="second")
    assert RunFolder(folder).trial(2).token == "second"


# --------------------------------------------------------------------- card


def card(standing: StudyOutcome, **changes: Any) -> str:
    return model_card(standing, {**MODEL, **changes})


def test_the_card_of_an_unconfirmed_model_promises_nothing(folder: Path) -> None:
    text = card(read_outcome(folder))
    assert "The test split was never scored" in text
    assert "| `eer` | 0.1000 |" in text
    assert "0.75: two items whose similarity is at least it are taken for the same" in text
    assert "of the same classes that it was trained on" in text
    assert "| plugin acme | 2.0 |" in text
    assert "load_preprocessor" not in text  # it has none


def test_the_card_of_a_confirmed_model_has_the_spread_of_its_repeats(folder: Path) -> None:
    confirm(folder, "k2", 0, 0.2)
    confirm(folder, "k2", 1, 0.4)
    text = card(read_outcome(folder))
    assert "Trained again with 2 seeds" in text
    assert "| `eer` | 0.3000 (0.2000 to 0.4000) | 0.4000 (0.3000 to 0.5000) |" in text


def test_the_card_and_the_results_say_how_sure_the_winner_is(folder: Path) -> None:
    for repeat, (first, second) in enumerate(zip((0.20, 0.22, 0.21), (0.30, 0.33, 0.31), strict=True)):
        confirm(folder, "k2", repeat, first)
        confirm(folder, "k11", repeat, second)
    standing = read_outcome(folder)
    found, lead = Results.of(standing).test_interval, Results.of(standing).lead
    assert found is not None
    assert lead is not None
    # By SciPy: Student's interval, and Welch's for two.
    low, high = stats.t.interval(0.95, 2, 0.31, stats.sem([0.30, 0.32, 0.31]))
    assert (found.measure, found.over) == ("eer", "seeds")
    assert (found.low, found.high) == pytest.approx((low, high))
    welch = stats.ttest_ind([0.30, 0.32, 0.31], [0.40, 0.43, 0.41], equal_var=False)
    assert (lead.difference, lead.p) == (pytest.approx(0.31 - 0.41333333), pytest.approx(welch.pvalue))
    assert f"`eer` is 0.3100, with a 95 % interval of [{low:.4f}, {high:.4f}] over 3 seeds." in card(standing)
    assert "Compared with the second finalist that is -0.1033 [" in card(standing)
    assert "- All classes of the test split are also in training" in card(standing)
    told = json.loads(json.dumps(export.describe_best(standing)))
    assert (told["test_interval"]["low"], told["lead"]["p"]) == (found.low, lead.p)
    assert {check["name"] for check in told["checks"]} >= {"split", "seeds", "lead"}
    shown = click.testing.CliRunner().invoke(main, ["best", write_study(folder)]).stdout
    assert f"[{low:.4f}, {high:.4f}]" in shown
    assert "the winner's eer minus that of the second finalist" in " ".join(shown.split())
    assert "-0.1033 [" in " ".join(shown.split())
    assert "Checks that failed" in shown


def write_study(folder: Path) -> str:
    """A study file whose run folder this is."""
    path = folder / "study.yaml"
    path.write_text(
        f"version: 1\nname: by_hand\ndata: {{source: digits}}\nartifacts: {folder}\n"
        "search: {encoder: mlp, metric: cosine, loss: triplet}\n"
    )
    return str(path)


def test_without_a_second_repeat_nothing_is_sure(folder: Path) -> None:
    results = Results.of(read_outcome(folder))
    assert (results.test_interval, results.lead) == (None, None)
    assert [check.name for check in results.checks if check.status == "error"] == ["confirmed"]
    confirm(folder, "k2", 0, 0.2)
    confirm(folder, "k11", 0, 0.3)
    results = Results.of(read_outcome(folder))
    assert (results.test_interval, results.lead) == (None, None)
    text = card(read_outcome(folder))
    assert "interval" not in text
    assert "- The winner was trained with one seed" in text


def test_the_card_without_a_threshold_has_no_same(folder: Path) -> None:
    text = card(read_outcome(folder), threshold=None)
    assert "model.same" not in text
    assert "no threshold can be calibrated" in text


@pytest.mark.keras
@pytest.mark.one_backend
def test_every_preprocessor_is_explained() -> None:
    from siamkit.export.formats import PREPARATION

    assert set(PREPARATION) == set(columns._KINDS)


def test_the_mean_of_a_count_is_a_whole_number():
    repeats = [{"false_accepts": 3.0, "far": 0.03}, {"false_accepts": 4.0, "far": 0.04}, {"false_accepts": 4.0, "far": 0.04}]
    means = mean_measures(repeats)
    assert means["far"] == pytest.approx(0.11 / 3)
    assert means["false_accepts"] == 4
    assert isinstance(means["false_accepts"], int)  # shown as 4, not as 4.0
    assert math.isnan(mean_measures([{"false_accepts": math.nan}])["false_accepts"])
