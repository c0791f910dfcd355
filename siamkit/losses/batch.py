"""Masks and reductions over all pairs of a batch: dense, of fixed shape, so that every backend can jit."""

from __future__ import annotations

from keras import ops

from siamkit.errors import ModelError
from siamkit.metrics.base import Tensor


def labelled(labels: Tensor | None, embeddings: Tensor, loss: str) -> tuple[Tensor, Tensor]:
    """Class ids and embeddings of a batch, as `(n,)` int32 and `(n, dim)`.

    Views `(batch, v, dim)` are labelled by their row: the views of one row are alike, all else differs.
    """
    if len(embeddings.shape) == 3:
        _, views, dim = embeddings.shape
        return ops.repeat(positions(embeddings), views), ops.reshape(embeddings, (-1, dim))
    if labels is None:
        raise ModelError(f"{loss} learns from class labels, but got none")
    if len(labels.shape) != 1:
        raise ModelError(f"{loss} takes one class id an item, (batch,), got labels of shape {labels.shape}")
    return ops.cast(labels, "int32"), embeddings


def positions(items: Tensor) -> Tensor:
    """1, 2, … along the first axis, int32; also where TensorFlow does not know its length yet."""
    first = items[(slice(None),) + (0,) * (len(items.shape) - 1)]
    return ops.cumsum(ops.cast(ops.ones_like(first), "int32"))


def pair_masks(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Which pairs are positive (same class, not the item itself) and which negative; `(n, n)` bool."""
    same = labels[:, None] == labels[None, :]
    rows = positions(labels)
    itself = rows[:, None] == rows[None, :]
    return ops.logical_and(same, ops.logical_not(itself)), ops.logical_not(same)


def log_sum_exp(values: Tensor, mask: Tensor, axis: int, plus_one: bool = False) -> Tensor:
    """log Σ exp(values) over the masked entries along an axis.

    With `plus_one`, log(1 + Σ exp(values)): 0 where nothing is masked in. Without, the most negative
    finite number stands for log 0.

    Args:
        values: any shape.
        mask: bool, the same shape.
        axis: the axis to sum over.
        plus_one: add exp(0).
    """
    floor = -3e38
    top = ops.max(ops.where(mask, values, floor), axis=axis, keepdims=True)
    if plus_one:
        top = ops.maximum(top, 0.0)
    top = ops.stop_gradient(top)
    # Masked values are replaced before exp, not after: exp of a large one would be infinite.
    shifted = ops.where(mask, ops.where(mask, values, 0.0) - ops.where(mask, top, 0.0), floor)
    total = ops.sum(ops.exp(shifted), axis=axis)
    top = ops.squeeze(top, axis=axis)
    if plus_one:
        total = total + ops.exp(-top)
    nothing = total <= 0  # NaN is not
    return ops.where(nothing, floor, top + ops.log(ops.where(nothing, 1.0, total)))
