"""Walks a search space by drawing from it, so that nothing describes the space a second time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from siamkit.study.config.search_space import Configuration, Space, Values


@dataclass
class Scripted:
    """A trial that answers by a rule, and keeps what it was asked and what it answered, in order.

    Args:
        answer: the answer to a name and what may be answered.
    """

    answer: Callable[[str, Values], Any]
    asked: dict[str, Values] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._take(name, Values(tuple(choices)))

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return float(self._take(name, Values(low=low, high=high, log=log)))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return int(self._take(name, Values(low=low, high=high, log=log, whole=True)))

    def _take(self, name: str, values: Values) -> Any:
        self.asked[name] = values
        self.params[name] = self.answer(name, values)
        return self.params[name]


def points(
    space: Space, levels: Callable[[str, Values], Sequence[Any]]
) -> Iterator[tuple[Scripted, Configuration]]:
    """Every point of the space, the last choice turning fastest; lazily, so the space may be large.

    Each point is one drawing. The next repeats its answers up to the last choice that has a level left,
    takes that, and lets what comes after it begin anew: with another loss other questions come.

    Args:
        space: the space.
        levels: the levels of what is asked, at least one.
    """
    path: list[int] = []  # of each question, the place of its answer among its levels
    while True:
        left: list[bool] = []

        def answer(name: str, values: Values, left: list[bool] = left) -> Any:
            offered = levels(name, values)
            if len(left) == len(path):
                path.append(0)
            place = path[len(left)]
            left.append(place + 1 < len(offered))
            return offered[place]

        trial = Scripted(answer)
        configuration = space.draw(trial)
        yield trial, configuration
        while path and not left[len(path) - 1]:
            path.pop()
        if not path:
            return
        path[-1] += 1


def parameters(space: Space) -> tuple[dict[str, Values], set[str]]:
    """All that drawing may ask, by name, and which of it is asked only after certain answers.

    Every option of every choice is taken once, beside the answers under which the choice was first asked:
    as many drawings as there are options, where all combinations would be their product.
    """
    found: dict[str, Values] = {}
    always: set[str] | None = None
    todo: list[dict[str, Any]] = [{}]
    while todo:
        forced = todo.pop(0)

        def answer(name: str, values: Values, forced: dict[str, Any] = forced) -> Any:
            return forced.get(name, values.options[0] if values.options else values.low)

        trial = Scripted(answer)
        space.draw(trial)
        always = set(trial.asked) if always is None else always & set(trial.asked)
        for name, values in trial.asked.items():
            if name not in found:
                found[name] = values
                todo += [{**forced, name: option} for option in values.options[1:]]
    return found, set(found) - (always or set())
