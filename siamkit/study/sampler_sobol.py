"""Sobol points: what the sampler `qmc` draws, one point a trial, whoever asks."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from siamkit.study.unit import from_unit


class SobolSampler(BaseSampler):
    """Draws the trial's number of a scrambled Sobol sequence over all that may be asked.

    Optuna's own keeps a counter in the study, which two processes may read alike, and draws by chance what
    the first trial was not asked. Here the trial's number is the counter, and every parameter has a
    coordinate of its own, asked or not: the points that fall to one loss are spread evenly over its
    parameters, too. Numbers that went to trials not drawn (enqueued ones) leave a gap.

    Args:
        distributions: of all parameters.
        sequence: the seed of the sequence, the same for all trials of a study.
        seed: of what the space asks beyond `distributions`.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], sequence: int, seed: int) -> None:
        self._distributions = dict(distributions)
        self._sequence = sequence
        self._chance = optuna.samplers.RandomSampler(seed=seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        from scipy.stats.qmc import Sobol

        engine = Sobol(len(search_space), scramble=True, rng=self._sequence)
        if trial.number:
            engine.fast_forward(trial.number)
        with warnings.catch_warnings():
            # One point at a time is no power of two; the sequence as a whole is what is balanced.
            warnings.simplefilter("ignore", UserWarning)
            point = engine.random(1)[0]
        return {
            name: from_unit(kind, place)
            for (name, kind), place in zip(search_space.items(), point, strict=True)
        }

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._chance.sample_independent(study, trial, param_name, param_distribution)
