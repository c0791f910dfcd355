"""Enumerate a search space by sampling from it, so that the space is described only once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from siamkit.runs.configuration import Configuration, Factor
from siamkit.study.config.search_space import SearchSpace, Values


@dataclass
class ScriptedTrial:
    """A trial whose suggestions follow a rule; it records them in order.

    Args:
        suggest: returns the value of a parameter, given its name and the values it can have.

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


def enumerate_space(
    space: SearchSpace, levels: Callable[[str, Values], Sequence[Any]]
) -> Iterator[tuple[ScriptedTrial, Configuration]]:
    """Yield every configuration of a space lazily; the last parameter varies fastest.

    Each configuration is sampled by one trial. The next trial repeats the levels up to the last parameter
    that has a level left, takes that level, and restarts all later parameters: another loss has others.

    Args:
        space: the search space.
        levels: returns the levels of a parameter, at least one, given its name and values.
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
    """The parameters of a search space.

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
