"""TPE that stays quick: it looks at the best and the latest trials of a long study, not at all of them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from siamkit.stats.pareto import front

BEST, LATEST = 100, 400


class Window:
    """A study of which a sampler sees the best and the latest finished trials; all else is the study's.

    TPE takes the best tenth, at most 25, for good, and weights the others by age, so those it misses are
    those that it would hardly heed. What it does on n trials takes time in proportion to n: with 13
    parameters 0.25 s on 1,000 trials, 1.7 s on 10,000.
    """

    def __init__(self, study: optuna.Study, best: int = BEST, latest: int = LATEST) -> None:
        self._study, self._best, self._latest = study, best, latest
        self._seen: dict[Any, list[FrozenTrial]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    # The one gate through which Optuna's samplers look at trials; Hyperband narrows a study by it, too.
    def _get_trials(
        self, deepcopy: bool = True, states: Iterable[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        asked = None if states is None else frozenset(states)
        if asked not in self._seen:
            trials = self._study._get_trials(deepcopy=deepcopy, states=asked, use_cache=use_cache)
            if len(trials) > self._best + self._latest:
                # Those not finished are few, and say what other processes are about to try.
                trials = [t for t in trials if t.number in self._kept or not t.state.is_finished()]
            self._seen[asked] = trials
        return self._seen[asked]

    @cached_property
    def _kept(self) -> set[int]:
        states = (TrialState.COMPLETE, TrialState.PRUNED)
        finished = self._study._get_trials(deepcopy=False, states=states, use_cache=False)
        complete = [trial for trial in finished if trial.state == TrialState.COMPLETE]
        maximize = [direction == StudyDirection.MAXIMIZE for direction in self._study.directions]
        if len(maximize) == 1:
            best = sorted(complete, key=lambda trial: trial.values[0], reverse=maximize[0])[: self._best]
        else:
            directions = ["maximize" if each else "minimize" for each in maximize]
            best = [complete[row] for row in front([t.values for t in complete], directions)][-self._best :]
        return {trial.number for trial in (*best, *finished[-self._latest :])}


class BoundedTPE(optuna.samplers.TPESampler):
    """TPE that sees a study through a `Window`; arguments as Optuna's has them."""

    _window: Window | None = None

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        self._window = None  # a trial begins: what it will look at is chosen once
        return super().infer_relative_search_space(self._seen(study), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return super().sample_relative(self._seen(study), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return super().sample_independent(self._seen(study), trial, param_name, param_distribution)

    def _seen(self, study: optuna.Study) -> Any:
        self._window = self._window or Window(study)
        return self._window
