"""What losses over given pairs and triplets share: the views and the target of each row."""

from __future__ import annotations

from siamkit.errors import ModelError
from siamkit.metrics.base import Tensor


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
