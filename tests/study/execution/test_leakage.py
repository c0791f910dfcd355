"""A study says what its parts have in common, before its first trial, and goes on all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from formula_training import stand_in
from tiny_study import HEAD, write_items

import siamkit.study.worker.prepared_data as making
from siamkit.study import tune
from siamkit.study.config.load import load_study
from siamkit.study.worker.prepared_data import prepare_data

STUDY = f"{HEAD}confirm: null\nengine: inline\n"


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its items are 48, of which one in test is one of training once more."""
    stand_in(monkeypatch)
    write_items(tmp_path / "items.npz")
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    with np.load(tmp_path / "items.npz") as items:
        x, y = items["x"], items["y"]
    train, test = (
        getattr(making._split(load_study(path), load_study(path).load_data(), {}), part)
        for part in ("train", "test")
    )
    twin = next(row for row in test if y[row] == y[train[0]])
    x[twin] = x[train[0]]
    np.savez(tmp_path / "items.npz", x=x, y=y)
    return path


def frozen(study: Path) -> Any:
    return json.loads((study.parent / "runs/tiny/study.json").read_text())


def test_what_is_in_two_parts_is_told_before_the_first_trial_and_recorded(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tune(study, progress="plain")
    lines = capsys.readouterr().out.splitlines()
    (told,) = [number for number, line in enumerate(lines) if "1 of 12 test items are also in train" in line]
    assert told < next(number for number, line in enumerate(lines) if "trial 0" in line)
    between = {tuple(each["parts"]): each for each in frozen(study)["overlap"]["between"]}
    assert between["train", "test"]["exact"] == 1
    assert between["train", "valid"] == {
        "parts": ["train", "valid"],
        "exact": 0,
        "near": 0,
        "examples": [],
        "items": [],
    }
    assert "overlap" not in frozen(study)["data"]  # nothing that other studies are compared by


def test_nothing_is_told_where_nothing_is_in_two_parts(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_items(study.parent / "items.npz")
    tune(study, progress="plain")
    assert "too" not in capsys.readouterr().out
    assert all(not each["exact"] for each in frozen(study)["overlap"]["between"])


def test_a_study_that_goes_on_is_not_looked_through_again(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(study, progress="none")
    before = frozen(study)["overlap"]

    def never(*given: Any) -> Any:
        raise AssertionError("looked for again")

    monkeypatch.setattr(making, "find_overlap", never)
    study.write_text(study.read_text().replace("trials: 4", "trials: 5"))
    assert len(tune(study, progress="none").trials) == 5
    assert frozen(study)["overlap"] == before


def test_a_study_begun_before_there_was_a_record_goes_on_and_gets_one(study: Path) -> None:
    tune(study, progress="none")
    folder = study.parent / "runs/tiny"
    old = {name: value for name, value in frozen(study).items() if name != "overlap"}
    (folder / "study.json").write_text(json.dumps(old))
    optuna.load_study(study_name="tiny", storage=f"sqlite:///{folder / 'study.db'}").set_user_attr(
        "frozen", old
    )
    study.write_text(study.read_text().replace("trials: 4", "trials: 5"))
    assert len(tune(study, progress="none").trials) == 5
    assert frozen(study)["overlap"]["classes"] == {"train": 4, "valid": 4, "test": 4}


def test_who_only_reads_the_data_does_not_look(study: Path) -> None:
    assert prepare_data(load_study(study))[0].overlap is None
    assert prepare_data(load_study(study), overlap=True)[0].overlap is not None
