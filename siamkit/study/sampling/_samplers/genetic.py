"""NSGA-II for spaces in which one choice decides what else there is to choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import NSGAIISampler
from optuna.trial import FrozenTrial

from siamkit.stats.pareto import front

CROSSOVER = 0.9  # Deb et al. 2002, and Optuna


class GeneticSampler(NSGAIISampler):
    """NSGA-II (Deb et al. 2002) whose children inherit conditional parameters, too.

    Optuna's own crosses only what every trial was asked, and draws the rest by chance: a child of two
    triplet losses would have any margin. Generations and their parents are kept in the storage, where all
    processes find them.

    Args:
        distributions: of all parameters.
        population: how many make a generation.
        seed: of the trial.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], population: int, seed: int) -> None:
        rng = np.random.default_rng(seed)

        def child(
            study: optuna.Study, space: dict[str, BaseDistribution], parents: list[FrozenTrial]
        ) -> dict[str, Any]:
            # They come in another order to whom chooses them than to those who find them chosen.
            parents = sorted(parents, key=lambda each: each.number)
            return inherit(parents, list(space), [each.name.lower() for each in study.directions], rng)

        super().__init__(population_size=population, seed=seed, child_generation_strategy=child)
        self._distributions = dict(distributions)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._distributions


def inherit(
    parents: Sequence[FrozenTrial], names: Sequence[str], directions: Sequence[str], rng: np.random.Generator
) -> dict[str, Any]:
    """A child's parameters, each from one of two parents; one of them on average is left to be drawn."""
    first = _winner(parents, directions, rng)
    second = _winner(parents, directions, rng) if rng.random() < CROSSOVER else first
    child = {}
    for name in names:
        donors = [each for each in (first, second) if name in each.params]
        if donors:
            child[name] = donors[rng.integers(len(donors))].params[name]
    kept = {name: value for name, value in child.items() if rng.random() >= 1 / len(child)}
    for parent in parents:
        if parent.params.items() <= kept.items():
            # Its parent's twin would teach nothing.
            del kept[list(parent.params)[rng.integers(len(parent.params))]]
    return kept


def _winner(
    parents: Sequence[FrozenTrial], directions: Sequence[str], rng: np.random.Generator
) -> FrozenTrial:
    """Of two drawn by lot the one that dominates, or either."""
    pair = [parents[int(row)] for row in rng.integers(len(parents), size=2)]
    return pair[front([each.values for each in pair], directions)[-1]]
