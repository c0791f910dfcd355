"""Grids and factorial designs: what is tried where the question is of factors rather than of the best."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from siamkit.study.config.fingerprint import key_of
from siamkit.study.config.search_space import Configuration, Space, Values
from siamkit.study.sampling._levels import every, levels, usual
from siamkit.study.sampling.enumerate import Scripted, points

Offer = Callable[[str, Values], Sequence[Any]]
Cell = tuple[dict[str, Any], Configuration]

AGAIN = 50  # draws in a row that were there already: then few are left, and they are listed


def grid(space: Space) -> Iterator[Cell]:
    """Every point of a space without real numbers, in order."""
    for trial, configuration in points(space, lambda name, values: every(values)):
        yield trial.params, configuration


def factorial(space: Space, seed: int) -> Iterator[Cell]:
    """The cells of encoder x metric x loss x the factors that the file names, each once, until all are there.

    A range is cut to three levels; what a component brings along by itself stays at its default. The order
    is by chance but balanced: of the first cells, however many, each level of a factor has its equal share,
    and each pair of levels as nearly as may be. So a budget that ends early leaves a fair part, and a larger
    one later goes on from there.
    """
    parts = dict(space.parts())

    def offer(name: str, values: Values) -> Sequence[Any]:
        what = parts[name.partition("[")[0]]
        if not isinstance(what, Values):
            return values.options
        return levels(what) if what.named else (usual(what),)

    return balanced(space, offer, np.random.default_rng(seed))


def balanced(space: Space, offer: Offer, rng: np.random.Generator) -> Iterator[Cell]:
    """Each cell of what is offered once, the levels seldom taken so far before the others."""
    seen: set[str] = set()
    counts: Counter[Any] = Counter()
    repeated = 0
    while repeated < AGAIN:
        script = _Balance(offer, rng, counts, repeated / AGAIN)
        trial = Scripted(script.answer)
        configuration = space.draw(trial)
        key = key_of(configuration)
        if key in seen:
            repeated += 1
            continue
        repeated = 0
        seen.add(key)
        counts.update(script.taken)
        counts.update(itertools.combinations(script.taken, 2))
        yield trial.params, configuration
    left = [(t.params, found) for t, found in points(space, offer) if key_of(found) not in seen]
    for row in rng.permutation(len(left)):
        yield left[row]


@dataclass
class _Balance:
    """Answers with a level taken least often so far, and of these one least often beside those before it.

    Args:
        offer: the levels.
        rng: decides between equals.
        counts: of levels, each a name and a place, and of pairs of them.
        slack: how often any level will do: the more, the longer all that is balanced was there already.
    """

    offer: Offer
    rng: np.random.Generator
    counts: Counter[Any]
    slack: float
    taken: list[tuple[str, int]] = field(default_factory=list)

    def answer(self, name: str, values: Values) -> Any:
        offered = self.offer(name, values)
        places = [int(place) for place in self.rng.permutation(len(offered))]
        if self.rng.random() < self.slack:
            place = places[0]
        else:
            place = min(places, key=lambda each: self._taken_before((name, each)))
        self.taken.append((name, place))
        return offered[place]

    def _taken_before(self, level: tuple[str, int]) -> tuple[int, int]:
        return self.counts[level], sum(self.counts[other, level] for other in self.taken)
