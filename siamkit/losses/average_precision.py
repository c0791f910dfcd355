"""Losses on the order of a batch: average precision, overlapping histograms, negatives before positives."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from siamkit.errors import ComponentError
from siamkit.losses._batch import BatchLoss, Pairs
from siamkit.losses._inputs import above_0
from siamkit.losses.base import masked_mean
from siamkit.metrics.base import Tensor
from siamkit.metrics.functions import absolute

VARIANTS = ("O", "Ds", "Dq", "Iu", "Ib")


def soft_histogram(values: Tensor, weight: Tensor, places: Tensor, width: float) -> Tensor:
    """Weights shared out between the two bins around each value.

    Args:
        values: `(n, m)`.
        weight: `(n, m)`.
        places: `(bins,)` the middles of the bins, `width` apart.
        width: from one bin to the next.

    Returns:
        `(n, bins)`, summed over each row.
    """
    share = ops.relu(1.0 - absolute(values[:, :, None] - places) / width)
    return ops.sum(share * weight[:, :, None], axis=1)


@keras.saving.register_keras_serializable("siamkit")
class FastAP(BatchLoss):
    """FastAP: one minus the average precision of each item's ranking, from histograms of distances.

    L = mean over anchors with positives of  1 - 1/|P| Σⱼ h⁺ⱼ H⁺ⱼ / Hⱼ

    h⁺ is the soft histogram of the distances to positives, H⁺ and H the cumulated ones of positives and of
    all. The distance is the metric's; the paper's is squared Euclidean between unit vectors, from 0 to 4.

    Args:
        num_bins: the bins of the histogram, at least 1.
        max_distance: where the last bin is; the metric's own bound unless given, or 4 where it has none.
            Farther pairs count as not retrieved at all.

    Reference: Cakir et al. 2019, "Deep Metric Learning to Rank"; PML FastAPLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("fast_ap", metric="squared_euclidean")
        >>> one, two = [1.0, 0.0], [-1.0, 0.0]
        >>> float(loss(np.array([0, 0, 1, 1]), np.array([one, one, two, two])))    # a perfect ranking
        0.0
    """

    def __init__(self, num_bins: int = 10, max_distance: float | None = None, **kwargs: Any) -> None:
        above_0(num_bins=num_bins, max_distance=1.0 if max_distance is None else max_distance)
        super().__init__(**kwargs)
        self.num_bins = num_bins
        self.max_distance = max_distance

    def compare(self, pairs: Pairs) -> Tensor:
        width = self._farthest() / self.num_bins
        places = ops.arange(self.num_bins + 1, dtype="float32") * width
        distances = self.distances(pairs)
        alike = ops.cast(pairs.positive, "float32")
        near = soft_histogram(distances, alike, places, width)
        every = near + soft_histogram(distances, ops.cast(pairs.negative, "float32"), places, width)
        near_so_far, so_far = ops.cumsum(near, axis=1), ops.cumsum(every, axis=1)
        nothing = so_far <= 0
        precision = ops.where(nothing, 0.0, near_so_far / ops.where(nothing, 1.0, so_far))
        number = ops.sum(alike, axis=1)
        some = number > 0
        average = ops.sum(near * precision, axis=1) / ops.where(some, number, 1.0)
        return masked_mean(1.0 - average, ops.cast(some, "float32"))

    def _farthest(self) -> float:
        if self.max_distance is not None:
            return self.max_distance
        assert self.metric is not None
        low, high = self.metric.range
        return high - low if math.isfinite(high - low) else 4.0

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_bins": self.num_bins, "max_distance": self.max_distance}


@keras.saving.register_keras_serializable("siamkit")
class Histogram(BatchLoss):
    """Histogram loss: the chance that a random negative pair is more alike than a random positive one.

    L = Σⱼ h⁻ⱼ Σ_{i ≤ j} h⁺ᵢ

    h⁺ and h⁻ are the soft histograms over [-1, 1] of the similarity of the positive and of the negative
    pairs, each summing to 1. The metric is a similarity in [-1, 1]. Negative pairs of two items without any
    positive are left out, as in PML. 0 where there are no triplets.

    Args:
        n_bins: the bins of the histograms; 100 unless `delta` is given.
        delta: from one bin to the next, 2 / n_bins.

    Reference: Ustinova, Lempitsky 2016, "Learning Deep Embeddings with Histogram Loss"; PML HistogramLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("histogram", metric="cosine")
        >>> one, two = [1.0, 0.0], [-1.0, 0.0]
        >>> float(loss(np.array([0, 0, 1, 1]), np.array([one, one, two, two])))    # no overlap
        0.0
    """

    takes_references = False

    def __init__(self, n_bins: int | None = None, delta: float | None = None, **kwargs: Any) -> None:
        if n_bins is not None and delta is not None and not math.isclose(delta, 2 / n_bins):
            raise ComponentError(
                f"delta should be 2 / n_bins = {2 / n_bins:g}, got {delta!r}; give one of them"
            )
        if n_bins is None:
            n_bins = 100 if delta is None else round(2 / delta)
        above_0(n_bins=n_bins)
        super().__init__(**kwargs)
        self.n_bins = n_bins

    def compare(self, pairs: Pairs) -> Tensor:
        values = self.similarities(pairs)
        width = 2.0 / self.n_bins
        places = ops.arange(self.n_bins + 1, dtype="float32") * width - 1.0
        some = ops.any(pairs.positive, axis=1)
        mined = ops.logical_and(pairs.negative, ops.logical_or(some[:, None], some[None, :]))

        def shares(chosen: Tensor) -> Tensor:
            chosen = ops.cast(chosen, "float32")
            counts = ops.sum(soft_histogram(values, chosen, places, width), axis=0)
            number = ops.sum(chosen)
            return counts / ops.where(number > 0, number, 1.0)

        return ops.sum(shares(mined) * ops.cumsum(shares(pairs.positive)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n_bins": self.n_bins}


@keras.saving.register_keras_serializable("siamkit")
class PNP(BatchLoss):
    """PNP loss: a penalty on the negatives that are ranked before each positive.

    L = mean over anchors with positives of  mean over positives p of  f(R),  R = Σₙ σ((s(a,n) - s(a,p)) / τ)

    with f by variant: O: R; Ds: log(1 + R); Dq: 1 - (1 + R)^-α; Iu: (1 + R) log(1 + R);
    Ib: (b R - log(1 + b R)) / b². σ is the sigmoid, s the metric turned so that high means alike. As PML has
    it, the anchor is among its own positives. Memory for `batch³` numbers.

    Args:
        b: of variant Ib, above 0.
        alpha: α of variant Dq.
        anneal: τ, above 0.
        variant: O, Ds, Dq, Iu or Ib.

    Reference: Li et al. 2022, "Rethinking the Optimization of Average Precision: Only Penalizing Negative
    Instances before Positive Ones is Enough"; PML PNPLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("pnp", metric="cosine")
        >>> one, two = [1.0, 0.0], [-1.0, 0.0]
        >>> float(loss(np.array([0, 0, 1, 1]), np.array([one, one, two, two]))) < 1e-6
        True
    """

    takes_references = False

    def __init__(
        self,
        b: float = 2.0,
        alpha: float = 1.0,
        anneal: float = 0.01,
        variant: str = "O",
        **kwargs: Any,
    ) -> None:
        above_0(b=b, anneal=anneal)
        if variant not in VARIANTS:
            raise ComponentError(f"variant should be one of {', '.join(VARIANTS)}, got {variant!r}")
        super().__init__(**kwargs)
        self.b = b
        self.alpha = alpha
        self.anneal = anneal
        self.variant = variant

    def compare(self, pairs: Pairs) -> Tensor:
        values = self.similarities(pairs)
        # `(anchor, positive, negative)`
        before = ops.sigmoid((values[:, None, :] - values[:, :, None]) / self.anneal)
        ranks = ops.sum(before * ops.cast(pairs.negative, "float32")[:, None, :], axis=2)
        alike = ops.cast(ops.logical_not(pairs.negative), "float32")
        rows = ops.sum(self._penalty(ranks) * alike, axis=1) / ops.sum(alike, axis=1)
        return masked_mean(rows, ops.cast(ops.any(pairs.positive, axis=1), "float32"))

    def _penalty(self, ranks: Tensor) -> Tensor:
        match self.variant:
            case "Ds":
                return ops.log1p(ranks)
            case "Dq":
                return 1.0 - ops.power(1.0 + ranks, -self.alpha)
            case "Iu":
                return (1.0 + ranks) * ops.log1p(ranks)
            case "Ib":
                return (self.b * ranks - ops.log1p(self.b * ranks)) / self.b**2
        return ranks

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "b": self.b,
            "alpha": self.alpha,
            "anneal": self.anneal,
            "variant": self.variant,
        }
