"""Enumerate a search space by sampling from it: all of it, a grid, or a balanced factorial design.

So the space is described only once, by the code that samples from it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from siamkit.runs.configuration import Configuration, Factor, key_of
from siamkit.study.config.search_space import SearchSpace, Values

LevelsOf: TypeAlias = Callable[[str, Values], Sequence[Any]]
"""Returns the levels of a parameter, given its name and the values it can have."""

Cell: TypeAlias = tuple[dict[str, Factor], Configuration]
"""The parameters of a configuration, and the configuration."""

MAX_REPEATED = 50
"""The number of consecutive known cells after which the remaining cells are listed, as few can be left."""


@dataclass
class ScriptedTrial:
    """A trial whose suggestions follow a rule; it records them in order.

    Args:
        suggest: function that returns the value of a parameter, given its name and the values it can have.

    Attributes:
        values: the values that each suggested parameter could have.
        params: the value of each suggested parameter.
    """

    suggest: Callable[[str, Values], Any]
    values: dict[str, Values] = field(default_factory=dict)
    params: dict[str, Factor] = field(default_factory=dict)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._record(name, Values(tuple(choices)))

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return float(self._record(name, Values(low=low, high=high, log=log)))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return int(self._record(name, Values(low=low, high=high, log=log, integer=True)))

    def _record(self, name: str, values: Values) -> Any:
        self.values[name] = values
        self.params[name] = value = self.suggest(name, values)
        return value


def enumerate_space(space: SearchSpace, levels: LevelsOf) -> Iterator[tuple[ScriptedTrial, Configuration]]:
    """Yield every configuration of a space lazily; the last parameter varies fastest.

    Each configuration is sampled by one trial. The next trial repeats the levels up to the last parameter
    that has a level left, takes that level, and restarts all later ones: another loss has other parameters.

    Args:
        space: the search space.
        levels: function that returns the levels of a parameter, at least one, given its name and values.
    """
    path: list[int] = []  # for each parameter, the index of its level
    while True:
        has_more: list[bool] = []  # for each parameter, whether a level is left

        def suggest(name: str, values: Values, has_more: list[bool] = has_more) -> Any:
            choices = levels(name, values)
            if len(has_more) == len(path):
                path.append(0)
            index = path[len(has_more)]
            has_more.append(index + 1 < len(choices))
            return choices[index]

        trial = ScriptedTrial(suggest)
        configuration = space.sample(trial)
        yield trial, configuration
        while path and not has_more[len(path) - 1]:
            path.pop()
        if not path:
            return
        path[-1] += 1


@dataclass(frozen=True)
class SuggestedParameters:
    """The parameters that sampling from a search space can suggest.

    Args:
        values: the values of each parameter, by its name in Optuna.
        conditional: the names of the parameters that only some configurations have.
    """

    values: dict[str, Values]
    conditional: set[str]


def suggested_parameters(space: SearchSpace) -> SuggestedParameters:
    """Return every parameter that sampling can suggest.

    Each option of each choice is taken once, together with the options under which the choice first appeared:
    this needs as many trials as there are options, not as many as there are combinations.
    """
    values: dict[str, Values] = {}
    always: set[str] | None = None
    todo: list[dict[str, Factor]] = [{}]
    while todo:
        fixed = todo.pop(0)

        def suggest(name: str, values: Values, fixed: dict[str, Factor] = fixed) -> Any:
            return fixed.get(name, values.options[0] if values.options else values.low)

        trial = ScriptedTrial(suggest)
        space.sample(trial)
        always = set(trial.values) if always is None else always & set(trial.values)
        for name, suggested in trial.values.items():
            if name not in values:
                values[name] = suggested
                todo += [{**fixed, name: option} for option in suggested.options[1:]]
    return SuggestedParameters(values, set(values) - (always or set()))


# ------------------------------------------------------------------ grids and factorial designs


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
    """A rule that suggests the rarest level so far; among equals, the rarest together with earlier levels.

    Args:
        levels_of: function that returns the levels of each parameter.
        rng: random generator that decides between equals.
        counts: the number of times that each level, as (parameter, index), and each pair of levels was taken.
        slack: probability of suggesting any level instead; it grows while the balanced cells are all known.
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
