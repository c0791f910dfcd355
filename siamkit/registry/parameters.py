"""Parameters of components: default, valid values, the range that a study searches, and meaning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal

Kind = Literal["encoder", "metric", "loss", "dataset"]
LARGEST_INT = 2**31 - 1
LARGEST_FLOAT = 3.4e38
UNITS = ("", "typical_distance", "typical_value")


@dataclass(frozen=True)
class _Number:
    """A number; `low` and `high` bound the search, `minimum` and `maximum` the valid values."""

    default: float | None
    low: float | None = field(default=None, kw_only=True)
    high: float | None = field(default=None, kw_only=True)
    log: bool = field(default=False, kw_only=True)
    minimum: float = field(default=-math.inf, kw_only=True)
    maximum: float = field(default=math.inf, kw_only=True)
    help: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise ValueError("give both low and high, or neither")
        if self.low is not None and self.high is not None:
            if not self.minimum <= self._number(self.low) <= self._number(self.high) <= self.maximum:
                raise ValueError(f"low={self.low!r} to high={self.high!r} is not a range")
            if self.log and self.low <= 0:
                raise ValueError(f"a log range starts above 0, got low={self.low!r}")
        if self.default is not None:
            self.validate(self.default)

    def validate(self, value: object) -> float | None:
        """Return the value in the parameter's type; raise ValueError, which says what would be valid."""
        if value is None and self.default is None:
            return None
        number = self._number(value)
        if not self.minimum <= number <= self.maximum:
            raise ValueError(f"should be {self._bounds()}, got {value!r}")
        return number

    def _number(self, value: object) -> float:
        raise NotImplementedError

    def _bounds(self) -> str:
        if math.isinf(self.maximum):
            return f"at least {self.minimum:g}"
        if math.isinf(self.minimum):
            return f"at most {self.maximum:g}"
        return f"from {self.minimum:g} to {self.maximum:g}"


@dataclass(frozen=True)
class Float(_Number):
    """A real parameter.

    Args:
        default: the default value; `None` if the factory decides.
        low, high: the range that a study searches by default, in `unit`s.
        log: whether to search it on a logarithmic scale.
        minimum, maximum: the bounds of valid values.
        unit: unit of `low` and `high`: `""` for none; `"typical_distance"` if a searched value u means a
            difference of u typical distances of the metric (a margin); `"typical_value"` if it means the
            point u typical distances away from identity on the metric's own axis (a threshold).
        help: the meaning, in a few words.
    """

    unit: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unit not in UNITS:
            raise ValueError(f"unit should be one of {UNITS}, got {self.unit!r}")

    def _number(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            raise ValueError(f"should be a finite number, got {value!r}")
        if abs(float(value)) > LARGEST_FLOAT:
            raise ValueError(f"should be within float32, at most {LARGEST_FLOAT:g}, got {value!r}")
        return float(value)


@dataclass(frozen=True)
class Int(_Number):
    """A whole-number parameter; arguments as for `Float`, without units."""

    def _number(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise ValueError(f"should be a whole number, got {value!r}")
        if abs(int(value)) > LARGEST_INT:
            raise ValueError(f"should be at most {LARGEST_INT}, got {value!r}")
        return int(value)


@dataclass(frozen=True)
class Choice:
    """One of a few strings, numbers or None.

    Args:
        default: the default value.
        options: the valid values.
        search: the values that a study searches by default; all if not given.
        help: the meaning, in a few words.
    """

    default: Any
    options: Sequence[Any] = field(kw_only=True)
    search: Sequence[Any] = field(default=(), kw_only=True)
    help: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(self.options))
        object.__setattr__(self, "search", tuple(self.search) or self.options)
        for option in (self.default, *self.search):
            self.validate(option)

    def validate(self, value: object) -> Any:
        for option in self.options:
            if type(option) is type(value) and option == value:
                return option
        raise ValueError(f"should be one of {', '.join(map(str, self.options))}, got {value!r}")


@dataclass(frozen=True)
class Bool:
    """True or false; both are searched unless `search` is False."""

    default: bool
    search: bool = field(default=True, kw_only=True)
    help: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        self.validate(self.default)

    def validate(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError(f"should be true or false, got {value!r}")
        return value


@dataclass(frozen=True)
class Text:
    """A string, or None if that is the default; for example a column's name. Never searched."""

    default: str | None = None
    help: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        self.validate(self.default)

    def validate(self, value: object) -> str | None:
        if isinstance(value, str) or (value is None and self.default is None):
            return value
        raise ValueError(f"should be a text, got {value!r}")


@dataclass(frozen=True)
class Ints:
    """Several whole numbers, or None if the factory decides. Never searched."""

    default: Sequence[int] | None = None
    minimum: int = field(default=1, kw_only=True)
    help: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        self.validate(self.default)

    def validate(self, value: object) -> list[int] | None:
        if value is None and self.default is None:
            return None
        one = Int(None, minimum=self.minimum)
        if not isinstance(value, (list, tuple)) or not value or None in value:
            raise ValueError(f"should be a list of whole numbers, got {value!r}")
        return [int(one.validate(number) or 0) for number in value]


@dataclass(frozen=True)
class Component:
    """A component inside a component (a loss around a loss, for example), given by name or object."""

    default: str
    kind: Kind = field(default="loss", kw_only=True)
    help: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        self.validate(self.default)

    def validate(self, value: object) -> object:
        if isinstance(value, (bool, int, float)) or value is None:
            raise ValueError(f"should name a {self.kind}, got {value!r}")
        return value


Param = Float | Int | Choice | Bool | Text | Ints | Component
