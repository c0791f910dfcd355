"""One winner, named alike by `best`, `status`, the report and `study.yaml#best`, with what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from click.testing import CliRunner
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from run_folders import Folder, frozen
from status_study import FROZEN, STUDY, configuration

from siamkit.cli import main
from siamkit.comparison import read_embeddings

pytestmark = pytest.mark.filterwarnings("ignore:.*is experimental")

SEARCH = {0: 0.5, 1: 0.9, 2: 0.8}
"""The search's value of each trial: trial 1 is its best."""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "tiny"
    folder.mkdir(parents=True)
    made = {**frozen(), **FROZEN, "data": frozen()["data"]}
    made["study"] = {"fixed": {"epochs": 3}, "data": {"source": "siamkit/digits"}}
    made["settings"] = {**FROZEN["settings"], "budget": {"trials": 3, "time": None}}
    (folder / "study.json").write_text(json.dumps(made))
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    stored = optuna.create_study(storage=storage, study_name="tiny", direction="maximize")
    for number, value in SEARCH.items():
        attrs = {"key": f"key{number}", "configuration": configuration(number + 4)}
        stored.add_trial(optuna.create_trial(state=TrialState.COMPLETE, value=value, user_attrs=attrs))
        Folder(folder).trial(number, value, configuration=configuration(number + 4))
        np.save(folder / "trials" / str(number) / "t" / "embeddings.npy", np.eye(6, 4, k=-number))
    Folder(folder).items(list("aabbcc"))
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path / "study.yaml"


def confirm(study: Path, number: int, repeat: int, value: float) -> None:
    more: dict[str, Any] = {"configuration": configuration(number + 4)}
    Folder(study.parent / "runs" / "tiny").confirmed(f"key{number}", repeat, value, value, **more)


def said(study: Path, *command: str) -> str:
    result = CliRunner().invoke(main, [command[0], str(study), *command[1:]])
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def check_all_name(study: Path, trial: int, kind: str, value: float) -> None:
    text = f"trial {trial}, {kind}"
    status = json.loads(said(study, "status", "--json"))["best"]
    assert (status["trial"], status["kind"]) == (trial, kind)
    assert status["values"]["map_at_r"] == pytest.approx(value)
    assert status["configuration"].endswith(f"{trial + 4}-d")
    assert text in said(study, "status")
    best = json.loads(said(study, "best", "--json"))
    assert (best["trial"], best["kind"]) == (trial, kind)
    assert f"The {kind} is trial {trial}, " in said(study, "best")
    said(study, "report", "--format", "markdown")
    report = (study.parent / "runs" / "tiny" / "report.md").read_text()
    assert f"The {kind} is trial {trial}, " in report
    named = read_embeddings(f"{study}#best")
    assert named.trial is not None
    assert named.trial.number == trial
    assert (
        f"study#best is trial {trial}, the {kind}, as trained in the search, on its validation split."
        in named.notes
    )
    np.testing.assert_array_equal(named.embeddings, np.eye(6, 4, k=-trial))


def test_before_the_confirmation_it_is_the_best_trial_of_the_search(study: Path) -> None:
    check_all_name(study, 1, "best trial of the search", 0.9)


def test_while_finalists_are_trained_it_is_the_best_finalist_so_far(study: Path) -> None:
    confirm(study, 2, 0, 0.7)
    check_all_name(study, 2, "best finalist so far", 0.7)


def test_afterwards_it_is_the_finalist_that_the_confirmation_chose(study: Path) -> None:
    for number, values in {1: (0.6, 0.5), 2: (0.7, 0.8)}.items():
        for repeat, value in enumerate(values):
            confirm(study, number, repeat, value)
    check_all_name(study, 2, "confirmed winner", 0.75)


def test_evaluate_says_which_trial_best_is(study: Path) -> None:
    confirm(study, 2, 0, 0.7)
    result = CliRunner().invoke(main, ["evaluate", f"{study}#best", "--group", "retrieval"])
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert (
        "study#best is trial 2, the best finalist so far, as trained in the search, on its validation split."
        in said
    )
