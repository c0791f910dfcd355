"""Masks and reductions over all pairs of a batch: dense, of fixed shape, so that every backend can jit."""

from __future__ import annotations

from dataclasses import dataclass

from keras import ops

from siamkit.errors import ModelError
from siamkit.losses.base import Loss, masked_mean
from siamkit.metrics.base import Tensor


@dataclass(frozen=True)
class Pairs:
    """All pairs of n queries with m references, which are the batch itself or a memory of earlier ones.

    Args:
        queries: `(n, dim)`.
        references: `(m, dim)`.
        positive: `(n, m)` bool, which pairs are alike; never an item with itself.
        negative: `(n, m)` bool, which pairs are not.
        labels: `(n,)` int32, the class ids of the queries.
    """

    queries: Tensor
    references: Tensor
    positive: Tensor
    negative: Tensor
    labels: Tensor


class BatchLoss(Loss):
    """A loss over all pairs of a labelled batch; a subclass implements `compare`.

    `takes_references` tells whether the references may be others than the queries themselves, as a
    cross-batch memory wants it.
    """

    takes_references: bool = True

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        labels, embeddings = labelled(y_true, y_pred, self.name)
        return self.compare(Pairs(embeddings, embeddings, *pair_masks(labels), labels))

    def compare(self, pairs: Pairs) -> Tensor:
        """The loss over these pairs, a scalar."""
        raise NotImplementedError

    def distances(self, pairs: Pairs) -> Tensor:
        """`(n, m)`, low = alike, whatever the metric's orientation."""
        return self.all_distances(pairs.queries, pairs.references)

    def similarities(self, pairs: Pairs) -> Tensor:
        """`(n, m)`, high = alike: the similarity itself, or minus the distance."""
        return self.all_similarities(pairs.queries, pairs.references)


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


LOG_0 = -3e38


def log_sum_exp(
    values: Tensor, mask: Tensor, axis: int, plus_one: bool = False, empty: float = LOG_0
) -> Tensor:
    """log Σ exp(values) over the masked entries along an axis.

    Args:
        values: any shape.
        mask: bool, the same shape.
        axis: the axis to sum over.
        plus_one: add exp(0), which gives 0 where nothing is masked in.
        empty: what stands for log 0 where nothing is masked in, otherwise.
    """
    top = ops.max(ops.where(mask, values, LOG_0), axis=axis, keepdims=True)
    if plus_one:
        top = ops.maximum(top, 0.0)
    top = ops.stop_gradient(top)
    # Masked values are replaced before exp, not after: exp of a large one would be infinite.
    shifted = ops.where(mask, ops.where(mask, values, 0.0) - ops.where(mask, top, 0.0), LOG_0)
    total = ops.sum(ops.exp(shifted), axis=axis)
    top = ops.squeeze(top, axis=axis)
    if plus_one:
        total = total + ops.exp(-top)
    nothing = total <= 0  # NaN is not
    return ops.where(nothing, empty, top + ops.log(ops.where(nothing, 1.0, total)))


def active_mean(values: Tensor, weight: Tensor, least: float = 0.0) -> Tensor:
    """The mean over the entries of weight above 0 whose loss is above `least`; 0 where there are none.

    Args:
        values: any shape.
        weight: bool, or numbers at least 0 to weigh the entries by; the same shape.
        least: up to here an entry counts as inactive.
    """
    inactive = values <= least  # NaN is not: it should reach the loss and be noticed
    active = ops.cast(ops.logical_not(inactive), "float32") * ops.cast(weight, "float32")
    return masked_mean(values, ops.stop_gradient(active))
