"""Grids and factorial designs, for questions about factors rather than about the best configuration."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from siamkit.runs.configuration import Configuration, Factor
from siamkit.study.config.fingerprint import key_of
from siamkit.study.config.search_space import SearchSpace, Values
from siamkit.study.sampling._enumerate import ScriptedTrial, enumerate_space

LevelsOf: TypeAlias = Callable[[str, Values], Sequence[Any]]
"""Returns the levels of a parameter, given its name and the values it can have."""

Cell: TypeAlias = tuple[dict[str, Factor], Configuration]
"""The parameters of a configuration, and the configuration."""

MAX_REPEATED = 50
"""Known cells drawn in a row before the remaining cells are listed: few can be left then."""


def grid(space: SearchSpace) -> Iterator[Cell]:
    """Yield every configuration of a space without real numbers, in order."""
    for trial, configuration in enumerate_space(space, lambda name, values: values.all_values()):
        yield trial.params, configuration


def factorial(space: SearchSpace, seed: int) -> Iterator[Cell]:
    """Yield the cells of encoder x metric x loss x the factors that the study file lists, each once.

    A range has three levels; parameters that the file does not list stay at their defaults. The order is
    random but balanced: among the first cells, however many, each level of a factor is equally frequent, and
    each pair of levels as nearly as possible. So a budget that ends early leaves a fair sample, and a larger
    budget continues it.
    """
    spaces = dict(space.parameters())

    def levels_of(name: str, values: Values) -> Sequence[Any]:
        full = spaces[name.partition("[")[0]]
        if not isinstance(full, Values):
            return values.options
        return full.levels() if full.from_file else (full.default_value(),)

    return _balanced(space, levels_of, np.random.default_rng(seed))


def _balanced(space: SearchSpace, levels_of: LevelsOf, rng: np.random.Generator) -> Iterator[Cell]:
    """Yield each cell once; levels that were rare so far come first."""
    seen: set[str] = set()
    counts: Counter[Any] = Counter()
    repeated = 0
    while repeated < MAX_REPEATED:
        choice = _BalancedChoice(levels_of, rng, counts, repeated / MAX_REPEATED)
        trial = ScriptedTrial(choice.suggest)
        configuration = space.sample(trial)
        key = key_of(configuration)
        if key in seen:
            repeated += 1
            continue
        repeated = 0
        seen.add(key)
        counts.update(choice.taken)
        counts.update(itertools.combinations(choice.taken, 2))
        yield trial.params, configuration
    remaining = [
        (trial.params, configuration)
        for trial, configuration in enumerate_space(space, levels_of)
        if key_of(configuration) not in seen
    ]
    for row in rng.permutation(len(remaining)):
        yield remaining[row]


@dataclass
class _BalancedChoice:
    """Suggests the rarest level so far; among equals, the one that is rarest together with earlier levels.

    Args:
        levels_of: the levels of each parameter.
        rng: decides between equals.
        counts: how often each level, as (parameter, index), and each pair of levels was taken.
        slack: the probability of any level instead; it grows while the balanced cells are all known.
    """

    levels_of: LevelsOf
    rng: np.random.Generator
    counts: Counter[Any]
    slack: float
    taken: list[tuple[str, int]] = field(default_factory=list)

    def suggest(self, name: str, values: Values) -> Any:
        levels = self.levels_of(name, values)
        order = [int(index) for index in self.rng.permutation(len(levels))]
        if self.rng.random() < self.slack:
            index = order[0]
        else:
            index = min(order, key=lambda candidate: self._frequency((name, candidate)))
        self.taken.append((name, index))
        return levels[index]

    def _frequency(self, level: tuple[str, int]) -> tuple[int, int]:
        return self.counts[level], sum(self.counts[other, level] for other in self.taken)
