"""The percentile pruner of ours answers as Optuna's."""

from __future__ import annotations

import random
from pathlib import Path

import optuna
import pytest
from optuna.pruners import PercentilePruner as OptunasPercentilePruner
from optuna.trial import TrialState

from siamkit.runs.run_folder import RunFolder
from siamkit.study.sampling.pruners import PercentilePruner
from siamkit.study.storage.open import open_storage


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize(
    ("where", "percentile"), [("sqlite", 50.0), ("journal", 50.0), ("journal", 33.0), ("journal", 67.0)]
)
def test_it_answers_as_optunas_does(direction: str, where: str, percentile: float, tmp_path: Path) -> None:
    storage = open_storage("s", RunFolder(tmp_path), where, [direction], {"layout": 1})  # type: ignore[list-item]
    study = storage.optuna_study
    ours, optunas = (
        kind(percentile, n_startup_trials=3, n_warmup_steps=2)
        for kind in (PercentilePruner, OptunasPercentilePruner)
    )
    rng, answers = random.Random(0), []
    for number in range(25):
        trial = study.ask()
        for step in range(1, 6):
            odd = {3: float("nan"), 7: float("inf")}.get(number) if step == 4 else None
            trial.report(rng.choice([0.1, 0.3, rng.random()]) if odd is None else odd, step)
            frozen = trial._get_latest_trial()
            answers.append(ours.prune(study, frozen))
            assert answers[-1] == optunas.prune(study, frozen), (number, step)
        state = rng.choice([TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
        study.tell(trial, 0.5 if state == TrialState.COMPLETE else None, state=state)
    assert True in answers
    assert False in answers
    storage.close()


def test_it_serves_a_study_that_was_not_begun_by_it(tmp_path: Path) -> None:
    storage = open_storage("s", RunFolder(tmp_path), "sqlite", ["maximize"], {"layout": 1})
    study = storage.optuna_study
    for value in (0.1, 0.2, 0.3):
        trial = study.ask()
        trial.report(value, 1)
        study.tell(trial, value)
    storage.close()
    storage = open_storage("s", RunFolder(tmp_path), "sqlite", None, {"layout": 1})
    study = storage.optuna_study
    study.pruner = PercentilePruner(50.0, n_startup_trials=3, n_warmup_steps=0)
    for value, pruned in ((0.15, True), (0.25, False)):
        trial: optuna.Trial = study.ask()
        trial.report(value, 1)
        assert trial.should_prune() == pruned
    storage.close()
