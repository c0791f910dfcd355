"""CMA-ES whose state is the history: what the sampler `cmaes` draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from siamkit.study.sampling._samplers.cube import CubeSampler
from siamkit.study.sampling._samplers.unit import to_unit

LATEST = 2000  # trials that it learns from: some 200 generations, and a tenth of a second


class CmaSampler(CubeSampler):
    """Draws from the normal distribution that CMA-ES (Hansen 2016, arXiv:1604.00772) has come to.

    Optuna's own keeps the pickled optimizer in the storage, and unpickles what it finds there: whoever can
    write to the storage can run code. Here the optimizer is made anew for each trial and told the
    completed ones in the order of their numbers, a generation at a time: nothing is kept, every process
    comes to the same, and trials of other origin (enqueued, warm) teach like any.

    Args:
        distributions: of all parameters; numbers, none of them conditional.
        seed: of the trial.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], seed: int) -> None:
        super().__init__(distributions, seed)
        self._seed = seed

    def point(
        self, study: optuna.Study, trial: FrozenTrial, space: Mapping[str, BaseDistribution]
    ) -> Sequence[float]:
        from cmaes import CMA  # an extra: only who asks for this sampler needs it

        size = len(space)
        optimizer = CMA(
            mean=np.full(size, 0.5),
            sigma=1 / 6,
            bounds=np.tile([0.0, 1.0], (size, 1)),
            seed=self._seed,
            n_max_resampling=10 * size,
        )
        told = self._solutions(study, space)
        step = optimizer.population_size
        for start in range(0, len(told) - step + 1, step):
            if optimizer.should_stop():
                break  # it has come to a point; more would only be rounding
            optimizer.tell(told[start : start + step])
        point: Sequence[float] = optimizer.ask()
        return point

    def _solutions(
        self, study: optuna.Study, space: Mapping[str, BaseDistribution]
    ) -> list[tuple[np.ndarray, float]]:
        sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))[-LATEST:]
        return [
            (
                np.array([to_unit(kind, trial.params[name]) for name, kind in space.items()]),
                sign * float(trial.values[0]),
            )
            for trial in trials
            # One that is answered from another would count twice.
            if trial.user_attrs.get("outcome") != "duplicate" and space.keys() <= trial.params.keys()
        ]
