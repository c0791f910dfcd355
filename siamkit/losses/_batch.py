"""Tools of all losses: checks of their arguments, and masks and reductions over a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import Any

from keras import ops

from siamkit.backend.beyond_keras import has_accelerator, in_tiles
from siamkit.errors import ComponentError, ModelError
from siamkit.io.targets import PairTarget
from siamkit.losses.base import Loss, masked_mean
from siamkit.metrics.base import Metric, Tensor


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
    """Return the target `(batch,)`; raise ModelError if there is none.

    Args:
        y_true: the target.
        loss: the name of the loss.
        meaning: the meaning of a target's values, for the message.
    """
    if y_true is None or len(y_true.shape) != 1:
        got = "none" if y_true is None else f"shape {tuple(y_true.shape)}"
        raise ModelError(f"{loss} needs one target per pair ({meaning}), (batch,), got {got}")
    return y_true


LOG_0 = -3e38  # stands for log 0, since -∞ would make NaN of a difference


@dataclass(frozen=True)
class Pairs:
    """All pairs of n queries and m references, which are the batch itself or a memory of earlier batches.

    Args:
        queries: `(n, dim)`.
        references: `(m, dim)`.
        labels: `(n,)` int32, the class ids of the queries.
        reference_labels: `(m,)` int32, those of the references.
        rows: `(n,)` int32, a number for each query.
        reference_rows: `(m,)` int32, a number for each reference: the same number is the same item.
        filled: `(m,)` bool, False where a place for a reference is empty; None if no place is.
        training: whether a loss may update its state.
        most_positives: no query has more positives; None if the host does not know it.
    """

    queries: Tensor
    references: Tensor
    labels: Tensor
    reference_labels: Tensor
    rows: Tensor
    reference_rows: Tensor
    filled: Tensor | None = None
    training: bool = True
    most_positives: int | None = None

    @classmethod
    def of_batch(
        cls, labels: Tensor, embeddings: Tensor, training: bool = True, most_positives: int | None = None
    ) -> Pairs:
        """Return the pairs of a batch with itself.

        Args:
            labels: `(n,)` int32, class ids.
            embeddings: `(n, dim)`.
            training: whether a loss may update its state.
            most_positives: no item has more positives; None if the host does not know it.
        """
        rows = count_up(embeddings)
        return cls(embeddings, embeddings, labels, labels, rows, rows, None, training, most_positives)

    def of(self, queries: Tensor, references: Tensor) -> Pairs:
        """Return the same pairs with other embeddings.

        Args:
            queries: `(n, dim)`.
            references: `(m, dim)`.
        """
        pairs = copy(self)  # with the masks that are computed already
        vars(pairs).update(queries=queries, references=references)
        return pairs

    @cached_property
    def positive(self) -> Tensor:
        """`(n, m)` bool, True where both have the same class, but False for an item with itself."""
        itself = self.rows[:, None] == self.reference_rows[None, :]
        return ops.logical_and(self._present(self._same), ops.logical_not(itself))

    @cached_property
    def negative(self) -> Tensor:
        """`(n, m)` bool, True where the classes differ."""
        return self._present(ops.logical_not(self._same))

    @cached_property
    def _same(self) -> Tensor:
        return self.labels[:, None] == self.reference_labels[None, :]

    def _present(self, mask: Tensor) -> Tensor:
        return mask if self.filled is None else ops.logical_and(mask, self.filled[None, :])


class BatchLoss(Loss):
    """A loss over all pairs of a labeled batch; a subclass implements `compare`."""

    pair_target: PairTarget = "none"
    takes_references: bool = True
    """Whether the references may differ from the queries, as a cross-batch memory requires."""

    def call(self, y_true: Tensor, y_pred: Tensor, training: bool = True) -> Tensor:
        labels, embeddings = labels_and_items(y_true, y_pred, self.name)
        return self.compare(Pairs.of_batch(labels, embeddings, training, self._size))

    def compare(self, pairs: Pairs) -> Tensor:
        """Return the loss over these pairs, a scalar."""
        raise NotImplementedError

    def distances(self, pairs: Pairs) -> Tensor:
        """Return the distances of all pairs, `(n, m)`, whatever the metric's orientation."""
        return self.pairwise_distances(pairs.queries, pairs.references)

    def similarities(self, pairs: Pairs) -> Tensor:
        """Return the similarities of all pairs, `(n, m)`: those of the metric, or minus its distances."""
        return self.pairwise_similarities(pairs.queries, pairs.references)


def among_references(pairs: Pairs, values: Tensor, compare: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return the values among the references, `(m, m)`: those of all pairs if these are the queries.

    Args:
        pairs: the pairs.
        values: their values, `(n, m)`.
        compare: the function that gave the values, of queries and references.
    """
    is_same_set = pairs.queries is pairs.references
    return values if is_same_set else compare(pairs.references, pairs.references)


def labels_and_items(labels: Tensor | None, embeddings: Tensor, loss: str) -> tuple[Tensor, Tensor]:
    """Return class ids `(n,)` int32 and embeddings `(n, dim)` of a batch.

    Views `(batch, v, dim)` are labeled by their row: the views of one row are positives of each other.
    """
    if len(embeddings.shape) == 3:
        _, views, dim = embeddings.shape
        return ops.repeat(count_up(embeddings), views), ops.reshape(embeddings, (-1, dim))
    if labels is None:
        raise ModelError(f"{loss} learns from class labels, but got none")
    if len(labels.shape) != 1:
        raise ModelError(f"{loss} takes one class id per item, (batch,), got labels of shape {labels.shape}")
    return ops.cast(labels, "int32"), embeddings


def count_up(items: Tensor) -> Tensor:
    """Return 1, 2, … along the first axis, int32; also if TensorFlow does not know its length yet."""
    if items.shape[0] is not None:
        return ops.arange(1, items.shape[0] + 1, dtype="int32")
    first = items[(slice(None),) + (0,) * (len(items.shape) - 1)]
    return ops.cumsum(ops.cast(ops.ones_like(first), "int32"))


def log_sum_exp(
    values: Tensor, mask: Tensor | None, axis: int, plus_one: bool = False, empty: float = LOG_0
) -> Tensor:
    """Return log Σ exp(values) over the masked entries along an axis.

    Args:
        values: numbers of any shape.
        mask: bool, of the same shape; None for all entries.
        axis: the axis to sum over.
        plus_one: whether to add exp(0) to the sum, so that an empty mask gives 0.
        empty: the result if the mask is empty, without `plus_one`.
    """
    kept = values if mask is None else ops.where(mask, values, LOG_0)
    top = ops.stop_gradient(ops.max(kept, axis=axis, keepdims=True))
    if plus_one:
        top = ops.maximum(top, 0.0)
    # Masked values are replaced before exp, not after: exp of a large one would be infinite. In a row without
    # any, each term is e^(LOG_0 - LOG_0) = 1, and the result LOG_0.
    total = ops.sum(ops.exp(kept - top), axis=axis)
    top = ops.squeeze(top, axis=axis)
    if plus_one:
        total = total + ops.exp(-top)
    result = top + ops.log(total)
    if plus_one or empty == LOG_0:
        return result
    return ops.where(top <= LOG_0, empty, result)  # false for NaN


def active_mean(values: Tensor, weight: Tensor, threshold: float = 0.0) -> Tensor:
    """Return the mean over the entries of weight above 0 whose value is above a threshold; 0 without any.

    Args:
        values: numbers of any shape.
        weight: weights of the entries, of the same shape: bool, or numbers of at least 0.
        threshold: an entry is active if its value is above this number.
    """
    active = ops.logical_not(values <= threshold)  # true for NaN, which should reach the loss
    active = ops.cast(active, "float32") * ops.cast(weight, "float32")
    return masked_mean(values, ops.stop_gradient(active))


def bin_below(values: Tensor, low: float, width: float, bins: int) -> Tensor:
    """Return the bin at or below each value, int32; values outside belong to the outermost bins.

    Args:
        values: numbers of any shape.
        low: the middle of the first bin.
        width: the distance between the middles of neighboring bins.
        bins: the number of bins.
    """
    return _bin_index(ops.floor((values - low) / width), bins)


def soft_histogram(
    values: Tensor,
    weight: Tensor,
    low: float,
    width: float,
    bins: int,
    group: Tensor | None = None,
    groups: Any = 1,
) -> Tensor:
    """Return the sums of weights `(groups · bins,)`, each divided between the two bins around its value.

    Args:
        values: numbers of any shape.
        weight: their weights, of the same shape.
        low, width, bins: as in `bin_below`.
        group: the histogram that each value counts in, int32 of the same shape; by default there is one.
        groups: the number of histograms.
    """
    position = (values - low) / width
    below = ops.stop_gradient(ops.floor(position))
    right = position - below
    right = ops.where(ops.equal(right, 0.0), 0.0, right)  # without gradient in the middle of a bin
    indices = [_bin_index(index, bins) for index in (below, below + 1.0)]
    if group is not None:
        indices = [index + bins * group for index in indices]
    indices = [ops.reshape(index, (-1,)) for index in indices]
    shares = [ops.reshape(share, (-1,)) for share in (weight * (1.0 - right), weight * right)]
    count = groups * bins
    left, right = (ops.segment_sum(share, index, count) for share, index in zip(shares, indices, strict=True))
    return left + right


def _bin_index(position: Tensor, bins: int) -> Tensor:
    inside = ops.minimum(position, bins - 1.0)
    return ops.cast(ops.where(position >= 0, inside, 0.0), "int32")  # NaN counts in the first bin


# ------------------------------------------------------------------ tiles: large batches, many classes

DENSE = 2**23  # scores that are compared at once; with the gradient, about forty bytes each
TILE = 2**22  # scores of a tile, if there are more
ON_ACCELERATOR = 16  # times as many: each operation has a cost of its own there


def check_chunk_size(chunk_size: Any) -> None:
    """Raise ComponentError if a chunk size is neither None nor a whole number of at least 1."""
    if chunk_size is not None:
        check_count(chunk_size=chunk_size)


def rows_of_tile(chunk_size: int | None, rows: int | None, columns: int | None) -> int | None:
    """Return how many rows of scores are computed at once, or None for all.

    Args:
        chunk_size: the most that the user chose; None for all rows, or few enough if there are many scores.
        rows, columns: how many there are; None if TensorFlow does not know it yet.
    """
    if chunk_size is None and rows is not None and columns is not None and rows * columns > DENSE:
        factor = ON_ACCELERATOR if has_accelerator() else 1
        if rows * columns > factor * DENSE:
            chunk_size = max(1, factor * TILE // columns)
    if chunk_size is None or rows is None:
        return chunk_size
    tiles = -(-rows // chunk_size)
    return -(-rows // tiles) if tiles > 1 else None  # as many rows in each tile: the last one is filled


def by_rows(
    terms: Callable[..., tuple[Tensor, ...]],
    tiled: Sequence[Tensor],
    shared: Sequence[Tensor],
    size: int | None,
    metric: Metric,
) -> tuple[Tensor, ...]:
    """Return numbers of each of n rows of scores, `(n,)` each, with the memory of one tile of rows.

    Args:
        terms: function of the rows' numbers from 1, of these rows of each array, and of what is shared; it
            returns one number or several for each row.
        tiled: arrays of n rows each.
        shared: tensors that each row is compared with.
        size: number of rows of a tile; None for all.
        metric: the metric that the function compares through.
    """
    if size is None:
        return terms(count_up(tiled[0]), *tiled, *shared)

    def of_tile(rows: Tensor, *given: Tensor) -> Tensor:
        return ops.stack(terms(rows + 1, *given), axis=1)

    found = in_tiles(of_tile, tiled, shared, size, metric.variables)
    found = ops.reshape(found, (-1, found.shape[-1]))[: ops.shape(tiled[0])[0]]
    return tuple(ops.unstack(found, axis=1))
