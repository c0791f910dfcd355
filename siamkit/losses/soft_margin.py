"""The dynamic soft margin: triplets weighted by a running histogram of how hard they are."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamkit.errors import ComponentError
from siamkit.losses.base import masked_mean
from siamkit.losses.batch import BatchLoss, Pairs
from siamkit.metrics.base import Tensor


@keras.saving.register_keras_serializable("siamkit")
class Histogram1D(keras.layers.Layer):
    """A running histogram of numbers, not trained: the state of a dynamic soft margin.

    Args:
        low: the place of the first bin.
        width: from one bin to the next.
        bins: how many.
        momentum: the share of what is new.
    """

    def __init__(self, low: float, width: float, bins: int, momentum: float, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.low, self.width, self.bins, self.momentum = low, width, bins, momentum

    def build(self, input_shape: Any) -> None:
        self.shares = self.add_weight(name="shares", shape=(self.bins,), initializer="zeros", trainable=False)

    def call(self, embeddings: Tensor) -> Tensor:
        return ops.convert_to_tensor(self.shares)

    def after(self, values: Tensor, weight: Tensor) -> Tensor:
        """The histogram `(bins,)` with these values in it, each shared out between its two bins."""
        place = (values - self.low) / self.width
        below = ops.floor(place)
        right = place - below
        fresh = self._sums(below, weight * (1.0 - right)) + self._sums(below + 1.0, weight * right)
        old = ops.convert_to_tensor(self.shares)
        momentum = ops.where(ops.sum(old) > 0, self.momentum, 1.0)
        mixed = (1.0 - momentum) * old + momentum * fresh
        total = ops.sum(mixed)
        return mixed / ops.where(total > 0, total, 1.0)

    def bin_of(self, values: Tensor) -> Tensor:
        """The bin below each value; those outside go to the outermost."""
        return self._index(ops.floor((values - self.low) / self.width))

    def _index(self, place: Tensor) -> Tensor:
        inside = ops.minimum(place, self.bins - 1.0)
        return ops.cast(ops.where(place >= 0, inside, 0.0), "int32")  # NaN has no bin; any will do

    def _sums(self, place: Tensor, weight: Tensor) -> Tensor:
        flat = ops.reshape(self._index(place), (-1,))
        return ops.segment_sum(ops.reshape(weight, (-1,)), flat, num_segments=self.bins)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "low": self.low,
            "width": self.width,
            "bins": self.bins,
            "momentum": self.momentum,
        }


@keras.saving.register_keras_serializable("siamkit")
class DynamicSoftMargin(BatchLoss):
    """Dynamic soft margin loss: triplets weighted by the share of all triplets that are easier than they are.

    L = mean over triplets of  CDF(x) · x,  x = d(a, p) - d(a, n)

    d is the metric read as a distance; CDF is the cumulated running histogram of x, kept in the head and
    taken without gradient, as the paper means it (in PML a gradient runs through the histogram's update,
    which is why a second step there fails). Values beyond the histogram count in its outermost bins. All
    triplets of the batch take part, which takes memory for `batch³` numbers; the paper looks at the
    hardest negative of each pair only.

    Args:
        min_val: where the histogram begins, below 0; it is as wide to the other side.
        num_bins: the bins of the histogram.
        momentum: the weight of the current batch in it.

    Reference: Zhang, Rusinkiewicz 2019, "Learning Local Descriptors with a CDF-Based Dynamic Soft Margin";
    PML DynamicSoftMarginLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("dynamic_soft_margin", metric="euclidean")
        >>> float(loss(np.array([0, 1, 2]), np.eye(3)))      # no triplet
        0.0
    """

    takes_references = False

    def __init__(
        self, min_val: float = -2.0, num_bins: int = 10, momentum: float = 0.01, **kwargs: Any
    ) -> None:
        if not min_val < 0:
            raise ComponentError(f"min_val should be below 0, got {min_val!r}")
        if not num_bins >= 2:
            raise ComponentError(f"num_bins should be at least 2, got {num_bins!r}")
        if not 0 < momentum <= 1:
            raise ComponentError(f"momentum should be above 0 and at most 1, got {momentum!r}")
        super().__init__(**kwargs)
        self.min_val = min_val
        self.num_bins = num_bins
        self.momentum = momentum
        self.head = Histogram1D(min_val, 2.0 * -min_val / num_bins, num_bins, momentum)

    def compare(self, pairs: Pairs) -> Tensor:
        assert isinstance(self.head, Histogram1D)
        self.head(pairs.queries)
        distances = self.distances(pairs)
        gaps = distances[:, :, None] - distances[:, None, :]
        triplets = ops.cast(
            ops.logical_and(pairs.positive[:, :, None], pairs.negative[:, None, :]), "float32"
        )
        frozen = ops.stop_gradient(gaps)
        shares = self.head.after(frozen, triplets)
        if self.training:
            self.head.shares.assign(shares)
        share_below = ops.take(ops.cumsum(shares), self.head.bin_of(frozen), axis=0)
        return masked_mean(share_below * gaps, triplets)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "min_val": self.min_val,
            "num_bins": self.num_bins,
            "momentum": self.momentum,
        }
