"""What losses ask of their numbers."""

from __future__ import annotations

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
