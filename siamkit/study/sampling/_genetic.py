"""NSGA-II for search spaces with conditional parameters: sampler `nsgaii`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import NSGAIISampler
from optuna.trial import FrozenTrial

from siamkit.stats.pareto import front

CROSSOVER_PROBABILITY = 0.9  # as in Deb et al. 2002, and in Optuna


class GeneticSampler(NSGAIISampler):
    """NSGA-II (Deb et al. 2002) whose children inherit conditional parameters, too.

    Optuna's own crosses only the parameters that all trials have, and samples the others at random: a child
    of two triplet losses would have any margin. Generations and their parents are kept in the storage, where
    all processes find them.

    Args:
        distributions: all parameters.
        population: the size of a generation.
        seed: the trial's seed.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], population: int, seed: int) -> None:
        rng = np.random.default_rng(seed)

        def child(
            study: optuna.Study, space: dict[str, BaseDistribution], parents: list[FrozenTrial]
        ) -> dict[str, Any]:
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
) -> dict[str, Any]:
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
    """Return the better one of two random parents; either one if none dominates the other."""
    pair = [parents[int(row)] for row in rng.integers(len(parents), size=2)]
    return pair[front([parent.values for parent in pair], directions)[-1]]
