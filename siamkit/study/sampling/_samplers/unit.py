"""Optuna's parameters on the unit interval, for samplers that see the space as a cube."""

from __future__ import annotations

import math
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from siamkit.study.config.search_space import Values


def distribution(values: Values) -> BaseDistribution:
    """What Optuna makes of a suggestion; equal to it, so that the two are one parameter."""
    if values.options:
        return CategoricalDistribution(values.options)
    if values.whole:
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def from_unit(kind: BaseDistribution, place: float) -> Any:
    """The value at a place in [0, 1); choices and whole numbers have a share of equal length each."""
    if isinstance(kind, CategoricalDistribution):
        return kind.choices[min(int(place * len(kind.choices)), len(kind.choices) - 1)]
    low, high = _bounds(kind)
    value = low + place * (high - low)
    value = math.exp(value) if kind.log else value  # type: ignore[attr-defined]
    if isinstance(kind, IntDistribution):
        return min(max(round(value), kind.low), kind.high)
    assert isinstance(kind, FloatDistribution)
    return min(max(value, kind.low), kind.high)


def to_unit(kind: BaseDistribution, value: Any) -> float:
    """The place of a value, the middle of its share where it has one."""
    if isinstance(kind, CategoricalDistribution):
        return (kind.choices.index(value) + 0.5) / len(kind.choices)
    low, high = _bounds(kind)
    return ((math.log(value) if kind.log else value) - low) / (high - low)  # type: ignore[attr-defined]


def _bounds(kind: BaseDistribution) -> tuple[float, float]:
    assert isinstance(kind, (FloatDistribution, IntDistribution))
    half = 0.5 if isinstance(kind, IntDistribution) else 0.0
    low, high = kind.low - half, kind.high + half
    return (math.log(low), math.log(high)) if kind.log else (low, high)
