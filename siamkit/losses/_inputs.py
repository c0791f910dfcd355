"""Check what losses are given: their parameters, the views and the target of each row."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from siamkit.errors import ComponentError, ModelError
from siamkit.metrics.base import Tensor


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


def views_of(embeddings: Tensor, count: int, loss: str) -> list[Tensor]:
    """The views of `(batch, count, dim)` embeddings, each `(batch, dim)`."""
    if len(embeddings.shape) != 3 or embeddings.shape[1] != count:
        raise ModelError(
            f"{loss} takes embeddings of {count} views, (batch, {count}, dim), "
            f"got shape {tuple(embeddings.shape)}"
        )
    return [embeddings[:, i] for i in range(count)]


def required(y_true: Tensor | None, loss: str, meaning: str) -> Tensor:
    """The target `(batch,)`; raises where there is none."""
    if y_true is None or len(y_true.shape) != 1:
        got = "none" if y_true is None else f"shape {tuple(y_true.shape)}"
        raise ModelError(f"{loss} wants one target a pair ({meaning}), (batch,), got {got}")
    return y_true
