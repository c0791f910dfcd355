"""What losses ask of their numbers."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from siamkit.errors import ComponentError


def above_0(**values: float) -> None:
    """Raises ComponentError for the first value that is not above 0."""
    for name, value in values.items():
        if not value > 0:
            raise ComponentError(f"{name} should be above 0, got {value!r}")


def at_least_0(**values: float) -> None:
    """Raises ComponentError for the first value that is below 0."""
    for name, value in values.items():
        if not value >= 0:
            raise ComponentError(f"{name} should be at least 0, got {value!r}")


def whole(**values: Any) -> None:
    """Raises ComponentError for the first value that is not a whole number of at least 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise ComponentError(f"{name} should be a whole number of at least 1, got {value!r}")
