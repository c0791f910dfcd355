"""The values of one parameter: its usual one, a few levels, all of them, and whether one is among them."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from siamkit.study.config.search_space import Values

LEVELS = 3  # that a range is cut to


def usual(values: Values) -> Any:
    """The default, or what is nearest to it inside: the end of a range, or its middle where there is none."""
    if values.options:
        return next((each for each in values.options if _same(each, values.default)), values.options[0])
    if not _number(values.default):
        return _at(values, 0.5)
    nearest = min(max(values.default, values.low), values.high)
    return int(nearest) if values.whole else float(nearest)


def levels(values: Values, count: int = LEVELS) -> tuple[Any, ...]:
    """The options, or so many points of a range from end to end, evenly on its own scale."""
    if values.options:
        return values.options
    return tuple(dict.fromkeys(_at(values, step / (count - 1)) for step in range(count)))


def every(values: Values) -> Any:
    """All options, or all whole numbers of a range."""
    return values.options or range(int(values.low), int(values.high) + 1)


def inside(values: Values, given: Any) -> Any:
    """A given value as drawing would give it.

    Raises:
        ValueError: it lies outside; the message says what lies inside.
    """
    if values.options:
        for each in values.options:
            if _same(each, given):
                return each
        if len(values.options) == 1:
            raise ValueError(f"is fixed at {values.options[0]!r} in this study, got {given!r:.60}")
        raise ValueError(f"should be one of {', '.join(map(str, values.options))}, got {given!r:.60}")
    if not _number(given) or (values.whole and not isinstance(given, Integral)):
        raise ValueError(f"should be a {'whole ' if values.whole else ''}number, got {given!r:.60}")
    if not values.low <= given <= values.high:
        unit = f" {values.unit.replace('_', ' ')}s" if values.unit else ""
        raise ValueError(f"should be from {values.low:g} to {values.high:g}{unit}, got {given!r}")
    return int(given) if values.whole else float(given)


def _same(one: Any, other: Any) -> bool:
    return one == other and (type(one) is type(other) or (_number(one) and _number(other)))


def _number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _at(values: Values, place: float) -> Any:
    if place in (0, 1):
        found = values.high if place else values.low  # not what exp(log(x)) makes of it
    elif values.log:
        found = math.exp(math.log(values.low) + place * math.log(values.high / values.low))
    else:
        found = values.low + place * (values.high - values.low)
    return round(found) if values.whole else float(found)
