"""Search spaces as unit cubes: parameters on [0, 1), and samplers that choose a point of the cube."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from siamkit.study.config.search_space import Values

# ------------------------------------------------------------------ parameters


def distribution(values: Values) -> BaseDistribution:
    """Return the distribution that Optuna stores for these values.

    It equals Optuna's own, so that Optuna takes both for one parameter.
    """
    if values.options:
        return CategoricalDistribution(values.options)
    if values.integer:
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def from_unit(kind: BaseDistribution, position: float) -> Any:
    """Return the value at a position in [0, 1); options and whole numbers have intervals of equal length."""
    if isinstance(kind, CategoricalDistribution):
        return kind.choices[min(int(position * len(kind.choices)), len(kind.choices) - 1)]
    low, high = _bounds(kind)
    value = low + position * (high - low)
    value = math.exp(value) if kind.log else value  # type: ignore[attr-defined]
    if isinstance(kind, IntDistribution):
        return min(max(round(value), kind.low), kind.high)
    assert isinstance(kind, FloatDistribution)
    return min(max(value, kind.low), kind.high)


def to_unit(kind: BaseDistribution, value: Any) -> float:
    """Return the position of a value, in the middle of its interval if it has one."""
    if isinstance(kind, CategoricalDistribution):
        return (kind.choices.index(value) + 0.5) / len(kind.choices)
    low, high = _bounds(kind)
    return ((math.log(value) if kind.log else value) - low) / (high - low)  # type: ignore[attr-defined]


def _bounds(kind: BaseDistribution) -> tuple[float, float]:
    assert isinstance(kind, (FloatDistribution, IntDistribution))
    half = 0.5 if isinstance(kind, IntDistribution) else 0.0
    low, high = kind.low - half, kind.high + half
    return (math.log(low), math.log(high)) if kind.log else (low, high)


# ------------------------------------------------------------------ samplers


class CubeSampler(BaseSampler):
    """Samples all parameters of a trial at once; any other parameter is sampled at random.

    Args:
        distributions: all parameters.
        seed: the trial's seed.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], seed: int) -> None:
        self._distributions = dict(distributions)
        self._random = optuna.samplers.RandomSampler(seed=seed)

    @abstractmethod
    def point(
        self, study: optuna.Study, trial: FrozenTrial, space: Mapping[str, BaseDistribution]
    ) -> Sequence[float]:
        """Return the point: for each parameter a position in [0, 1)."""

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        point = self.point(study, trial, search_space)
        return {
            name: from_unit(kind, float(position))
            for (name, kind), position in zip(search_space.items(), point, strict=True)
        }

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)


class SobolSampler(CubeSampler):
    """Sampler `qmc`: trial n has the n-th point of a scrambled Sobol sequence.

    Optuna's own keeps a counter in the study, which two processes can read at the same time, and samples at
    random the parameters that the first trial did not have. Here the trial's number is the counter, and every
    parameter has its own dimension, whether the trial has it or not: the points of one loss are spread evenly
    over its parameters, too. Trials that were not sampled (enqueued ones) leave a gap.

    Args:
        distributions: all parameters.
        sequence_seed: the seed of the sequence, the same for all trials of a study.
        seed: the trial's seed, for parameters outside `distributions`.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], sequence_seed: int, seed: int) -> None:
        super().__init__(distributions, seed)
        self._sequence_seed = sequence_seed

    def point(
        self, study: optuna.Study, trial: FrozenTrial, space: Mapping[str, BaseDistribution]
    ) -> Sequence[float]:
        from scipy.stats.qmc import Sobol

        engine = Sobol(len(space), scramble=True, rng=self._sequence_seed)
        if trial.number:
            engine.fast_forward(trial.number)
        with warnings.catch_warnings():
            # SciPy warns because one point is not a power of two; the sequence as a whole is balanced.
            warnings.simplefilter("ignore", UserWarning)
            point: Sequence[float] = engine.random(1)[0]
        return point
