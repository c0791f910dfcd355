"""CMA-ES that computes its state from the finished trials: sampler `cmaes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from siamkit.study.sampling._cube import CubeSampler, to_unit

MAX_TRIALS = 2000  # it learns from the latest ones: about 200 generations, in a tenth of a second


class CmaSampler(CubeSampler):
    """Samples from the normal distribution that CMA-ES has reached (Hansen 2016, arXiv:1604.00772).

    Optuna's own keeps the pickled optimizer in the storage, and unpickles it from there: a user who can write
    to the storage can run code. Here each trial has a new optimizer, which reads the complete trials in the
    order of their numbers, one generation at a time. Nothing is stored, every process computes the same, and
    trials that were not sampled (enqueued, from an earlier study) count like any others.

    Args:
        distributions: all parameters: numbers, none of them conditional.
        seed: the trial's seed.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], seed: int) -> None:
        super().__init__(distributions, seed)
        self._seed = seed

    def point(
        self, study: optuna.Study, trial: FrozenTrial, space: Mapping[str, BaseDistribution]
    ) -> Sequence[float]:
        from cmaes import CMA  # an extra that only this sampler needs

        size = len(space)
        optimizer = CMA(
            mean=np.full(size, 0.5),
            sigma=1 / 6,
            bounds=np.tile([0.0, 1.0], (size, 1)),
            seed=self._seed,
            n_max_resampling=10 * size,
        )
        solutions = self._solutions(study, space)
        generation = optimizer.population_size
        for start in range(0, len(solutions) - generation + 1, generation):
            if optimizer.should_stop():
                break  # it has converged; more generations would only add rounding errors
            optimizer.tell(solutions[start : start + generation])
        point: Sequence[float] = optimizer.ask()
        return point

    def _solutions(
        self, study: optuna.Study, space: Mapping[str, BaseDistribution]
    ) -> list[tuple[np.ndarray, float]]:
        sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))[-MAX_TRIALS:]
        return [
            (
                np.array([to_unit(kind, trial.params[name]) for name, kind in space.items()]),
                sign * float(trial.values[0]),
            )
            for trial in trials
            # A duplicate repeats the values of another trial, which would count twice.
            if trial.user_attrs.get("outcome") != "duplicate" and space.keys() <= trial.params.keys()
        ]
