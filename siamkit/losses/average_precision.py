"""Losses on the ranking of a batch: average precision, overlapping histograms, negatives before positives."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from siamkit.errors import ComponentError
from siamkit.losses._batch import BatchLoss, Pairs, check_positive, count_up, soft_histogram
from siamkit.losses._mining import TripletSumLoss, over_triplets
from siamkit.losses.base import masked_mean
from siamkit.metrics.base import Tensor

VARIANTS = ("O", "Ds", "Dq", "Iu", "Ib")


@keras.saving.register_keras_serializable("siamkit")
class FastAP(BatchLoss):
    """FastAP: one minus the average precision of each item's ranking, from histograms of distances.

    L = mean over anchors with positives of  1 - 1/|P| Σⱼ h⁺ⱼ H⁺ⱼ / Hⱼ

    h⁺ is the soft histogram of the distances to positives, H⁺ and H are the cumulative histograms of the
    positives and of all items. The distance is the metric's; the paper's is squared Euclidean between unit
    vectors, from 0 to 4.

    Args:
        num_bins: number of bins of the histogram, at least 1.
        max_distance: the distance at the last bin; by default the bound of the metric's range, or 4 if it has
            none. Farther pairs count as not retrieved.

    Reference: Cakir et al. 2019, "Deep Metric Learning to Rank"; PML FastAPLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("fast_ap", metric="squared_euclidean")
        >>> one, two = [1.0, 0.0], [-1.0, 0.0]
        >>> float(loss(np.array([0, 0, 1, 1]), np.array([one, one, two, two])))    # a perfect ranking
        0.0
    """

    params = ("num_bins", "max_distance")

    def __init__(self, num_bins: int = 10, max_distance: float | None = None, **kwargs: Any) -> None:
        check_positive(num_bins=num_bins, max_distance=1.0 if max_distance is None else max_distance)
        super().__init__(**kwargs)
        self.num_bins = num_bins
        self.max_distance = max_distance

    def compare(self, pairs: Pairs) -> Tensor:
        positives, negatives = self._histograms(pairs)
        items = positives + negatives
        retrieved_positives, retrieved = ops.cumsum(positives, axis=1), ops.cumsum(items, axis=1)
        none = retrieved <= 0
        precision = ops.where(none, 0.0, retrieved_positives / ops.where(none, 1.0, retrieved))
        count = ops.sum(ops.cast(pairs.positive, "float32"), axis=1)
        has_positives = count > 0
        average = ops.sum(positives * precision, axis=1) / ops.where(has_positives, count, 1.0)
        return masked_mean(1.0 - average, has_positives)

    def _histograms(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Return the histograms of each anchor's positives and of its negatives, each `(n, num_bins + 1)`."""
        width = self._last_bin() / self.num_bins
        counted = ops.cast(ops.logical_or(pairs.positive, pairs.negative), "float32")
        rows = count_up(pairs.queries)[:, None] - 1
        group = 2 * rows + ops.cast(pairs.negative, "int32")
        # A bin more at both ends, for what is below the first bin and beyond the last one.
        bins = self.num_bins + 3
        groups = 2 * ops.shape(pairs.queries)[0]
        counts = soft_histogram(self.distances(pairs), counted, -width, width, bins, group, groups)
        counts = ops.reshape(counts, (-1, 2, bins))
        unknown = 0.0 * counts[:, :, :1]  # NaN counts in the first bin
        counts = counts[:, :, 1:-1] + unknown
        return counts[:, 0], counts[:, 1]

    def _last_bin(self) -> float:
        if self.max_distance is not None:
            return self.max_distance
        low, high = self.metric.range
        return high - low if math.isfinite(high - low) else 4.0


@keras.saving.register_keras_serializable("siamkit")
class Histogram(BatchLoss):
    """Histogram loss: the probability that a random negative pair is more similar than a random positive one.

    L = Σⱼ h⁻ⱼ Σ_{i ≤ j} h⁺ᵢ

    h⁺ and h⁻ are the soft histograms over [-1, 1] of the similarity of the positive and of the negative
    pairs, each summing to 1. The metric is a similarity in [-1, 1]. Negative pairs of two items without any
    positive are left out, as in PML. The loss is 0 if a batch has no triplets.

    Args:
        n_bins: number of bins of the histograms; 100 unless `delta` is given.
        delta: the width of a bin, 2 / n_bins.

    Reference: Ustinova, Lempitsky 2016, "Learning Deep Embeddings with Histogram Loss"; PML HistogramLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("histogram", metric="cosine")
        >>> one, two = [1.0, 0.0], [-1.0, 0.0]
        >>> float(loss(np.array([0, 0, 1, 1]), np.array([one, one, two, two])))    # no overlap
        0.0
    """

    params = ("n_bins",)  # delta follows from it
    takes_references = False

    def __init__(self, n_bins: int | None = None, delta: float | None = None, **kwargs: Any) -> None:
        if n_bins is not None and delta is not None and not math.isclose(delta, 2 / n_bins):
            raise ComponentError(
                f"delta should be 2 / n_bins = {2 / n_bins:g}, got {delta!r}; give only one of the two"
            )
        if n_bins is None:
            n_bins = 100 if delta is None else round(2 / delta)
        check_positive(n_bins=n_bins)
        super().__init__(**kwargs)
        self.n_bins = n_bins

    def compare(self, pairs: Pairs) -> Tensor:
        values = self.similarities(pairs)
        width = 2.0 / self.n_bins
        has_positives = ops.any(pairs.positive, axis=1)
        in_triplets = ops.logical_or(has_positives[:, None], has_positives[None, :])
        negative = ops.logical_and(pairs.negative, in_triplets)

        def histogram(mask: Tensor) -> Tensor:
            weight = ops.cast(mask, "float32")
            counts = soft_histogram(values, weight, -1.0, width, self.n_bins + 1)
            total = ops.sum(weight)
            return counts / ops.where(total > 0, total, 1.0)

        return ops.sum(histogram(negative) * ops.cumsum(histogram(pairs.positive)))


@keras.saving.register_keras_serializable("siamkit")
class PNP(TripletSumLoss):
    """PNP loss: a penalty on the negatives that are ranked before each positive.

    L = mean over anchors with positives of  mean over positives p of  f(R),  R = Σₙ σ((s(a,n) - s(a,p)) / τ)

    with f by variant: O: R; Ds: log(1 + R); Dq: 1 - (1 + R)^-α; Iu: (1 + R) log(1 + R);
    Ib: (b R - log(1 + b R)) / b². σ is the sigmoid, s the metric read as a similarity. As in PML, the anchor
    is among its own positives.

    Args:
        b: b of variant Ib, above 0.
        alpha: α of variant Dq.
        anneal: τ, above 0.
        variant: the penalty f: O, Ds, Dq, Iu or Ib.

    Reference: Li et al. 2022, "Rethinking the Optimization of Average Precision: Only Penalizing Negative
    Instances before Positive Ones is Enough"; PML PNPLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("pnp", metric="cosine")
        >>> one, two = [1.0, 0.0], [-1.0, 0.0]
        >>> float(loss(np.array([0, 0, 1, 1]), np.array([one, one, two, two]))) < 1e-6
        True
    """

    params = ("b", "alpha", "anneal", "variant")
    takes_references = False

    def __init__(
        self,
        b: float = 2.0,
        alpha: float = 1.0,
        anneal: float = 0.01,
        variant: str = "O",
        **kwargs: Any,
    ) -> None:
        check_positive(b=b, anneal=anneal)
        if variant not in VARIANTS:
            raise ComponentError(f"variant should be one of {', '.join(VARIANTS)}, got {variant!r}")
        super().__init__(**kwargs)
        self.b = b
        self.alpha = alpha
        self.anneal = anneal
        self.variant = variant

    def compare(self, pairs: Pairs) -> Tensor:
        values = self.similarities(pairs)
        negative = ops.cast(pairs.negative, "float32")[:, None, :]
        anchors = ops.cast(ops.any(pairs.positive, axis=1, keepdims=True), "float32")
        same = ops.cast(ops.logical_not(pairs.negative), "float32")
        shares = anchors * same / ops.sum(same, axis=1, keepdims=True)

        def term(weight: Tensor, near: Tensor, far: Tensor, _: None) -> tuple[Tensor, Tensor]:
            ranks = ops.sum(ops.sigmoid((far - near) / self.anneal) * negative, axis=2, keepdims=True)
            return ops.sum(ops.where(weight > 0, self._penalty(ranks), 0.0) * weight), ops.sum(weight)

        most = None if pairs.most_positives is None else pairs.most_positives + 1  # and the anchor
        total, count = over_triplets(term, shares, values, most=most)
        return total / ops.where(count > 0, count, 1.0)

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
