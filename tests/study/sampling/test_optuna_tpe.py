"""The parts of Optuna's TPE that a windowed study depends on; these tests fail when Optuna changes them."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import optuna

from siamkit.study.sampling._optuna_tpe import BEST, LATEST, TrialWindow, WindowedTPESampler

optuna.logging.set_verbosity(optuna.logging.ERROR)


def test_a_study_of_optuna_reads_trials_with_these_arguments() -> None:
    arguments = inspect.signature(optuna.Study._get_trials).parameters
    assert list(arguments) == ["self", "deepcopy", "states", "use_cache"]


class Guarded:
    """A study whose public ways to its trials are closed."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study

    def __getattr__(self, name: str) -> Any:
        assert name not in ("trials", "get_trials", "best_trial", "best_trials"), name
        return getattr(self._study, name)


def test_tpe_reads_trials_in_no_other_way() -> None:
    storage = optuna.create_study(direction="maximize")
    kind = {"x": optuna.distributions.FloatDistribution(0, 1)}
    for number in range(30):
        storage.add_trial(optuna.create_trial(params={"x": 0.5}, distributions=kind, value=float(number)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = WindowedTPESampler(seed=0, multivariate=True, group=True, constant_liar=True)
    study: Any = Guarded(storage)
    trial = storage.ask()
    frozen = storage.get_trials()[trial.number]
    space = sampler.infer_relative_search_space(study, frozen)
    assert "x" in space
    assert 0 <= sampler.sample_relative(study, frozen, space)["x"] <= 1
    assert 0 <= sampler.sample_independent(study, frozen, "x", kind["x"]) <= 1


def test_a_window_shows_the_best_and_the_latest_and_all_that_run() -> None:
    storage = optuna.create_study(direction="maximize")
    kind = {"x": optuna.distributions.FloatDistribution(0, 1)}
    running = storage.ask(kind)
    count = 3 * (BEST + LATEST)
    for number in range(count):
        value = float(count - number)  # the first is the best
        storage.add_trial(optuna.create_trial(params={"x": 0.5}, distributions=kind, value=value))
    seen = {trial.number for trial in TrialWindow(storage)._get_trials(deepcopy=False)}
    assert seen == {running.number, *range(1, BEST + 1), *range(count + 1 - LATEST, count + 1)}
    # What Optuna's TPE looks at goes through it.
    looked: list[int] = []

    class Spy(WindowedTPESampler):
        def _get_internal_repr(self, trials: Any, search_space: Any, study: Any) -> Any:
            looked.append(len(trials))
            return super()._get_internal_repr(trials, search_space, study)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        storage.sampler = Spy(seed=0, multivariate=True, group=True)
    storage.ask(kind)
    assert sum(looked) == BEST + LATEST + 1


def test_the_window_of_several_objectives_keeps_the_front() -> None:
    storage = optuna.create_study(directions=["maximize", "minimize"])
    kind = {"x": optuna.distributions.FloatDistribution(0, 1)}
    count = 2 * (BEST + LATEST)
    for number in range(count):
        values = [9.0, -9.0] if number == 5 else [number / count, 1.0]
        storage.add_trial(optuna.create_trial(params={"x": 0.5}, distributions=kind, values=values))
    seen = {trial.number for trial in TrialWindow(storage)._get_trials(deepcopy=False)}
    assert seen == {5, *range(count - LATEST, count)}
