"""What all losses share: one entry that casts, asks for a metric and reduces."""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np
from keras import ops

from siamkit.backend.precision import float32_scope
from siamkit.errors import ComponentError, ModelError
from siamkit.metrics.base import Metric, Tensor
from siamkit.registry.provenance import family


class Loss(keras.losses.Loss):
    """A loss on `(y_true, embeddings)` that compares embeddings through a metric.

    The embeddings are `(batch, dim)` under labels and `(batch, views, dim)` otherwise; `y_true` is
    class ids, 1/0, graded similarities, or nothing at all (see the table of shapes in the docs).
    Everything is computed in full float32.

    A subclass implements `call`. A scalar is taken as it is: such a loss couples the batch and refuses
    a sample weight. Values `(batch,)` are averaged, by sample weight if there is one.

    The metric is lent: `siamkit.get_loss(..., metric=...)` or `Siamese.compile` sets the attribute
    `metric`; it is no part of the config. A loss with weights makes a Keras layer `head` in its
    constructor; `Siamese.compile` adopts it, so that it is trained and saved with the model. In a plain
    Keras model nobody does, and they stay as they are.

    Args:
        name: as in `keras.losses.Loss`.
        reduction, dtype: accepted for Keras's sake; only their defaults are.
    """

    head: keras.layers.Layer | None = None
    metric: Metric | None = None
    uses_metric: bool = True  # whether it asks the metric at all
    couples: bool = False  # whether it compares given pairs, scores or triplets with one another
    num_classes: int | None = None  # class ids are numbers below it, each with weights of its own
    remembers: bool = False  # whether it keeps embeddings and labels from batch to batch
    owner: Any = None  # the model that the loss is lent to
    wrapped: tuple[Loss, ...] = ()  # the losses that it is made of
    training: bool = True  # whether state (a memory, a histogram) moves on; the model sets it

    def __init__(
        self, name: str | None = None, reduction: str = "sum_over_batch_size", dtype: Any = None
    ) -> None:
        if reduction != "sum_over_batch_size":
            raise ComponentError(
                f"{type(self).__name__} reduces by itself, so reduction={reduction!r} "
                "has no meaning; leave it out"
            )
        super().__init__(name=name or _snake(type(self).__name__), dtype="float32")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        """The loss, a scalar.

        Args:
            y_true: what the supervision gives, `(batch,)` or `(batch, 1)`; None where it gives nothing.
            y_pred: the embeddings.
            sample_weight: `(batch,)`, for losses that do not couple the batch.
        """
        if self.metric is None and self.uses_metric:
            raise ModelError(
                f"{type(self).__name__} has no metric to compare by; "
                "give get_loss(..., metric=...) or compile it in a Siamese"
            )
        for each in family(self)[1:]:
            each.metric, each.training = self.metric, self.training
        with keras.name_scope(self.name), float32_scope():
            embeddings = ops.convert_to_tensor(y_pred)
            embeddings = ops.cast(embeddings, "float32")
            values = self.call(self._target(y_true), embeddings)
            if len(values.shape) == 0:
                if sample_weight is not None:
                    raise ModelError(
                        f"{type(self).__name__} couples the items of a batch, so a sample "
                        "weight has no meaning; leave it out"
                    )
                return values
            if sample_weight is None:
                return ops.mean(values)
            weight = ops.reshape(ops.cast(ops.convert_to_tensor(sample_weight), "float32"), (-1,))
            return masked_mean(values, weight)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        raise NotImplementedError

    def on_host(self, y_true: np.ndarray) -> np.ndarray:
        """A whole target as a backend can hold it: labels that no int32 holds are renumbered.

        Raises:
            ModelError: ids that a loss with class proxies has no proxies for.
        """
        return _renumbered(y_true) if _beyond_int32(self._checked(y_true)) else y_true

    def _target(self, y_true: Any) -> Tensor | None:
        """`y_true` of a batch as a tensor `(batch,)`: class ids as int32 (a float dtype would merge them)."""
        if y_true is None:
            return None
        if isinstance(y_true, (list, tuple, np.ndarray)):
            y_true = self._checked(np.asarray(y_true))
            if _beyond_int32(y_true) and any(each.remembers for each in family(self)):
                raise ModelError(
                    f"{self.name} remembers labels from batch to batch, so it wants whole numbers of "
                    f"32 bits, got labels of type {y_true.dtype}; number the classes first"
                )
            y_true = _renumbered(y_true) if _beyond_int32(y_true) else y_true
        tensor = ops.convert_to_tensor(y_true)
        if len(tensor.shape) == 2 and tensor.shape[1] == 1:
            tensor = ops.squeeze(tensor, axis=1)
        kind = keras.backend.standardize_dtype(tensor.dtype)
        return ops.cast(tensor, "float32" if kind.startswith(("float", "bfloat")) else "int32")

    def _checked(self, labels: np.ndarray) -> np.ndarray:
        """Class ids that are the numbers of proxies, checked while they are still on the host."""
        proxies = next(filter(None, (each.num_classes for each in family(self))), None)
        numeric = labels.dtype.kind in "iufb" and labels.size > 0
        if proxies is not None and not (numeric and labels.min() >= 0 and labels.max() < proxies):
            got = (
                f"ids from {labels.min()} to {labels.max()}" if numeric else f"labels of type {labels.dtype}"
            )
            raise ModelError(
                f"a loss with {proxies} class proxies wants class ids from 0 to {proxies - 1}, got {got}"
            )
        return labels

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}

    # The forms in which a loss asks its metric, row by row and all pairs: low = alike, or high = alike.

    def row_distances(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances row by row, `(n, dim)`, `(n, dim)` -> `(n,)`, whatever the metric's orientation."""
        assert self.metric is not None
        return self.metric.as_distance(self.metric(a, b))

    def all_distances(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances of all pairs, `(n, dim)`, `(m, dim)` -> `(n, m)`, whatever the orientation."""
        assert self.metric is not None
        return self.metric.as_distance(self.metric.matrix(a, b))

    def row_similarities(self, a: Tensor, b: Tensor) -> Tensor:
        """Row by row, `(n,)`: the similarity itself, or minus the distance."""
        assert self.metric is not None
        return -self.metric.sign * self.metric(a, b)

    def all_similarities(self, a: Tensor, b: Tensor) -> Tensor:
        """All pairs, `(n, m)`: the similarity itself, or minus the distance."""
        assert self.metric is not None
        return -self.metric.sign * self.metric.matrix(a, b)


def masked_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Σ weight · values / Σ weight, and 0 with zero gradient where all weights are 0."""
    total = ops.sum(weight)
    # Values under weight 0 may be infinite; 0 · ∞ would spoil both the sum and its gradient.
    kept = ops.where(weight > 0, values, 0.0)
    return ops.sum(kept * weight) / ops.where(total > 0, total, 1.0)


def _snake(name: str) -> str:
    """MultiSimilarity as multi_similarity: a name that is the same whenever the loss is made."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _beyond_int32(labels: np.ndarray) -> bool:
    """Whether labels are names, or ids that 32 bits would merge."""
    if labels.size == 0 or labels.dtype.kind in "fb":
        return False
    return labels.dtype.kind not in "iu" or bool(labels.max() >= 2**31 or labels.min() < -(2**31))


def _renumbered(labels: np.ndarray) -> np.ndarray:
    """0, 1, … for the distinct labels in order: only their equality matters."""
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
