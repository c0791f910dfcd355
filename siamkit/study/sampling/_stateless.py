"""Samplers whose only memory is the finished trials in the storage: Sobol points, CMA-ES and NSGA-II.

Optuna's own keep counters or pickled optimizers, or sample conditional parameters at random.
"""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, NSGAIISampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from siamkit.evaluation.measures import total_excess
from siamkit.runs.configuration import Factor
from siamkit.stats.results import front
from siamkit.study.config.search_space import Values

MAX_TRIALS = 2000  # the latest trials that CMA-ES learns from: about 200 generations, in a tenth of a second
CROSSOVER_PROBABILITY = 0.9  # as in Deb et al. 2002, and in Optuna

# ------------------------------------------------------------------ parameters on the unit interval


def distribution(values: Values) -> BaseDistribution:
    """Return the distribution that Optuna stores for these values.

    It compares equal to the distribution that Optuna itself makes, so Optuna treats both as one parameter.
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


# ------------------------------------------------------------------ points of the unit cube


class CubeSampler(BaseSampler):
    """Base of samplers of all parameters of a trial at once; any other parameter is sampled at random.

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
    ) -> dict[str, Factor]:
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

    Optuna's own sampler keeps a counter in the study, which two processes can read at the same time, and
    samples at random the parameters that the first trial did not have. Here the trial's number is the
    counter, and every parameter has its own dimension, whether the trial has it or not, so that the points of
    one loss are also spread evenly over its parameters. Trials that were not sampled (enqueued ones) leave a
    gap.

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


class CmaSampler(CubeSampler):
    """Sampler `cmaes`: the current normal distribution of CMA-ES (Hansen 2016, arXiv:1604.00772).

    Optuna's own sampler keeps the pickled optimizer in the storage, and unpickles it from there: a user who
    can write to the storage can run code. Here each trial has a new optimizer, which reads the complete
    trials in the order of their numbers, one generation at a time. Nothing is stored, every process computes
    the same, and trials that were not sampled (enqueued, from an earlier study) count like any others.

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


# ------------------------------------------------------------------ generations


class GeneticSampler(NSGAIISampler):
    """Sampler `nsgaii`: NSGA-II (Deb et al. 2002) whose children also inherit conditional parameters.

    Optuna's own sampler crosses only the parameters that all trials have, and samples the others at random: a
    child of two triplet losses would have any margin. Generations and their parents are saved in the storage,
    in which all processes find them.

    Args:
        distributions: all parameters.
        population: the size of a generation.
        seed: the trial's seed.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], population: int, seed: int) -> None:
        rng = np.random.default_rng(seed)

        def child(
            study: optuna.Study, space: dict[str, BaseDistribution], parents: list[FrozenTrial]
        ) -> dict[str, Factor]:
            # The process that selects the parents has them in another order than those that read them later.
            parents = sorted(parents, key=lambda parent: parent.number)
            directions = [direction.name.lower() for direction in study.directions]
            return inherit(parents, list(space), directions, rng)

        super().__init__(population_size=population, seed=seed, child_generation_strategy=child)
        self._distributions = dict(distributions)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._distributions


def inherit(
    parents: Sequence[FrozenTrial], names: Sequence[str], directions: Sequence[str], rng: np.random.Generator
) -> dict[str, Factor]:
    """Return a child's parameters, each from one of two parents.

    On average one parameter is missing; it mutates, because the sampler chooses it at random.
    """
    first = _tournament(parents, directions, rng)
    second = _tournament(parents, directions, rng) if rng.random() < CROSSOVER_PROBABILITY else first
    child = {}
    for name in names:
        donors = [parent for parent in (first, second) if name in parent.params]
        if donors:
            child[name] = donors[rng.integers(len(donors))].params[name]
    kept = {name: value for name, value in child.items() if rng.random() >= 1 / len(child)}
    for parent in parents:
        if parent.params.items() <= kept.items():
            # A copy of a parent would give no new information, so one parameter mutates.
            del kept[list(parent.params)[rng.integers(len(parent.params))]]
    return kept


def _tournament(
    parents: Sequence[FrozenTrial], directions: Sequence[str], rng: np.random.Generator
) -> FrozenTrial:
    """Return the better one of two random parents; either one if none dominates the other.

    One that breaks constraints by less is better, whatever its values are (Deb et al. 2002, section VI).
    """
    pair = [parents[int(row)] for row in rng.integers(len(parents), size=2)]
    excess = [total_excess(parent.constraints) for parent in pair]
    if excess[0] != excess[1]:
        return pair[excess.index(min(excess))]
    return pair[front([parent.values for parent in pair], directions)[-1]]
