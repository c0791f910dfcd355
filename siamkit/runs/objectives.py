"""Objectives: a measure with the direction in which it is better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Objective:
    """A measure to optimize.

    Args:
        name: of the measure.
        direction: `maximize` or `minimize`.

    Example:
        >>> from siamkit.runs import Objective
        >>> Objective("eer", "minimize").better(0.1, 0.2)
        True
    """

    name: str
    direction: Direction = "maximize"

    @classmethod
    def first(cls, objectives: Mapping[str, Direction]) -> Objective:
        """Return the first of a study's objectives, the one that names the best."""
        name, direction = next(iter(objectives.items()))
        return cls(name, direction)

    @property
    def maximize(self) -> bool:
        """Whether higher values are better."""
        return self.direction == "maximize"

    def worth(self, value: float | None) -> float:
        """Return a value such that higher is better; -inf where it is missing or NaN."""
        if value is None or math.isnan(value):
            return -math.inf
        return value if self.maximize else -value

    def better(self, a: float | None, b: float | None) -> bool:
        """Return whether `a` is better than `b`."""
        return self.worth(a) > self.worth(b)
