"""Checks of a loss's parameters, of its views, and of the target of each row."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from siamkit.errors import ComponentError, ModelError
from siamkit.metrics.base import Tensor


def check_positive(**values: float) -> None:
    """Raise ComponentError for the first value that is not above 0."""
    for name, value in values.items():
        if not value > 0:
            raise ComponentError(f"{name} should be above 0, got {value!r}")


def check_not_negative(**values: float) -> None:
    """Raise ComponentError for the first value that is below 0."""
    for name, value in values.items():
        if not value >= 0:
            raise ComponentError(f"{name} should be at least 0, got {value!r}")


def check_count(**values: Any) -> None:
    """Raise ComponentError for the first value that is not a whole number of at least 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise ComponentError(f"{name} should be a whole number of at least 1, got {value!r}")


def split_views(embeddings: Tensor, count: int, loss: str) -> list[Tensor]:
    """Return the views of embeddings `(batch, count, dim)`, each `(batch, dim)`."""
    if len(embeddings.shape) != 3 or embeddings.shape[1] != count:
        raise ModelError(
            f"{loss} takes embeddings of {count} views, (batch, {count}, dim), "
            f"got shape {tuple(embeddings.shape)}"
        )
    return [embeddings[:, i] for i in range(count)]


def checked_target(y_true: Tensor | None, loss: str, meaning: str) -> Tensor:
    """Return the target `(batch,)`; raise ModelError where there is none.

    Args:
        y_true: the target.
        loss: the name of the loss.
        meaning: of a target's values, for the message.
    """
    if y_true is None or len(y_true.shape) != 1:
        got = "none" if y_true is None else f"shape {tuple(y_true.shape)}"
        raise ModelError(f"{loss} needs one target per pair ({meaning}), (batch,), got {got}")
    return y_true
