"""Hinge losses over the pairs of a batch: variance, consistent thresholds, ranked lists, soft margin."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamkit.errors import ComponentError
from siamkit.losses._batch import BatchLoss, Pairs, bin_below, check_not_negative, soft_histogram
from siamkit.losses._mining import PairLoss, TripletSumLoss, over_triplets
from siamkit.losses.base import masked_mean
from siamkit.metrics.base import Tensor


@keras.saving.register_keras_serializable("siamkit")
class IntraPairVariance(PairLoss):
    """Intra-pair variance loss: similarities vary little among positives, and little among negatives.

    L = meanₚ [(1 - ε₊) μ₊ - s]₊² + meanₙ [s - (1 + ε₋) μ₋]₊²

    s is the metric, μ₊ and μ₋ its means over the positive and over the negative pairs; for a distance d it is
    [d - (1 + ε₊) μ₊]₊² and [(1 - ε₋) μ₋ - d]₊². Add it to another loss (`weighted_sum`).

    Args:
        pos_eps: ε₊, the tolerance of positives.
        neg_eps: ε₋, the tolerance of negatives.
        mining: the rule that selects pairs, one of `siamkit.losses.MINING`.

    Reference: Yu, Tao 2019, "Deep Metric Learning with Tuplet Margin Loss"; PML IntraPairVarianceLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("intra_pair_variance", metric="euclidean", pos_eps=0.5)
        >>> x = np.array([[0.0], [1.0], [0.0], [3.0]])          # distances 1 and 3, their mean 2
        >>> float(loss(np.array([0, 0, 1, 1]), x)) > 0
        True
    """

    params = ("pos_eps", "neg_eps", "mining")

    def __init__(
        self, pos_eps: float = 0.01, neg_eps: float = 0.01, mining: str = "all", **kwargs: Any
    ) -> None:
        super().__init__(mining, **kwargs)
        self.pos_eps = pos_eps
        self.neg_eps = neg_eps

    def compare_mined(self, pairs: Pairs, positive: Tensor, negative: Tensor) -> Tensor:
        sign = self.metric.sign
        values = self.metric.matrix(pairs.queries, pairs.references)
        of_positives, of_negatives = masked_mean(values, positive), masked_mean(values, negative)
        pull = ops.square(ops.relu(sign * (values - (1.0 + sign * self.pos_eps) * of_positives)))
        push = ops.square(ops.relu(sign * ((1.0 - sign * self.neg_eps) * of_negatives - values)))
        return masked_mean(pull, positive) + masked_mean(push, negative)


@keras.saving.register_keras_serializable("siamkit")
class ThresholdConsistentMargin(PairLoss):
    """Threshold-consistent margin loss: the same two thresholds for all classes.

    L = λ₊ mean_{p: s ≤ m₊} (m₊ - s) + λ₋ mean_{n: s ≥ m₋} (s - m₋)

    s is the metric, a similarity. The means are over the pairs past their threshold. Add it to another
    loss (`weighted_sum`).

    Args:
        lambda_plus: λ₊, the weight of positives.
        lambda_minus: λ₋, the weight of negatives.
        margin_plus: m₊, on the metric's own axis.
        margin_minus: m₋, on the metric's own axis.
        mining: the rule that selects pairs, one of `siamkit.losses.MINING`.

    Reference: Zhang et al. 2024, "Threshold-Consistent Margin Loss for Open-World Deep Metric Learning";
    PML ThresholdConsistentMarginLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("threshold_consistent_margin", metric="cosine")
        >>> round(float(loss(np.array([0, 0, 1]), np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))), 4)
        1.4
    """

    params = ("lambda_plus", "lambda_minus", "margin_plus", "margin_minus", "mining")

    def __init__(
        self,
        lambda_plus: float = 1.0,
        lambda_minus: float = 1.0,
        margin_plus: float = 0.9,
        margin_minus: float = 0.5,
        mining: str = "all",
        **kwargs: Any,
    ) -> None:
        super().__init__(mining, **kwargs)
        self.lambda_plus = lambda_plus
        self.lambda_minus = lambda_minus
        self.margin_plus = margin_plus
        self.margin_minus = margin_minus

    def compare_mined(self, pairs: Pairs, positive: Tensor, negative: Tensor) -> Tensor:
        values = self.similarities(pairs)
        above = ops.cast(values > self.margin_plus, "float32")
        below = ops.cast(values < self.margin_minus, "float32")
        return self.lambda_plus * masked_mean(
            self.margin_plus - values, positive * (1.0 - above)
        ) + self.lambda_minus * masked_mean(values - self.margin_minus, negative * (1.0 - below))


@keras.saving.register_keras_serializable("siamkit")
class RankedList(BatchLoss):
    """Ranked list loss: positives within α - m, negatives beyond α, each weighted by its violation.

    L = mean over anchors of  (1 - λ) Σₚ wₚ (d - (α - m)) / Σₚ wₚ + λ Σₙ wₙ (α - d) / Σₙ wₙ

    over the pairs on the wrong side, with wₚ = e^{Tₚ (d - (α - m))} and wₙ = e^{Tₙ (α - d)}; d is the metric
    read as a distance (1 - s for cosine). As in PML the weights have a gradient, and 1e-5 per item of
    the batch is added to the denominators.

    Args:
        margin: m, the gap between the two bounds.
        Tn: Tₙ, at least 0.
        imbalance: λ, the weight of the negatives' term, from 0 to 1.
        alpha: α; by default 1 + m/2.
        Tp: Tₚ, at least 0.

    Reference: Wang et al. 2019, "Ranked List Loss for Deep Metric Learning"; PML RankedListLoss, which has
    no defaults for margin and Tn: these are from the paper.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("ranked_list", metric="euclidean", margin=0.4, Tn=10.0)
        >>> round(float(loss(np.array([0, 0, 1]), np.array([[0.0], [0.0], [5.0]]))), 4)
        0.0
    """

    params = ("margin", "Tn", "imbalance", "alpha", "Tp")

    def __init__(
        self,
        margin: float = 0.4,
        Tn: float = 10.0,
        imbalance: float = 0.5,
        alpha: float | None = None,
        Tp: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if not 0 <= imbalance <= 1:
            raise ComponentError(f"imbalance should be from 0 to 1, got {imbalance!r}")
        check_not_negative(Tn=Tn, Tp=Tp)
        super().__init__(**kwargs)
        self.margin = margin
        self.Tn = Tn
        self.imbalance = imbalance
        self.alpha = alpha
        self.Tp = Tp

    def compare(self, pairs: Pairs) -> Tensor:
        alpha = 1.0 + self.margin / 2.0 if self.alpha is None else self.alpha
        distances = self.distances(pairs)
        # Pairs at distance 0 are left out, as in the reference.
        apart = ops.logical_not(distances <= 0)
        pull = self._weighted(distances - (alpha - self.margin), self.Tp, pairs.positive, apart)
        push = self._weighted(alpha - distances, self.Tn, pairs.negative, apart)
        return ops.mean((1.0 - self.imbalance) * pull + self.imbalance * push)

    def _weighted(self, excess: Tensor, temperature: float, pairs: Tensor, apart: Tensor) -> Tensor:
        """Return the weighted mean over the pairs on the wrong side, for each anchor `(n,)`."""
        wrong = ops.logical_and(ops.logical_and(pairs, apart), ops.logical_not(excess <= 0))
        kept = ops.where(wrong, excess, 0.0)
        weights = ops.where(wrong, ops.exp(temperature * kept), 0.0)
        return ops.sum(weights * kept, axis=1) / ops.sum(weights + 1e-5, axis=1)


@keras.saving.register_keras_serializable("siamkit")
class RunningHistogram(keras.layers.Layer):
    """A running histogram of numbers, an exponential moving average over batches; not trained.

    Args:
        low: the middle of the first bin.
        width: width of a bin.
        bins: number of bins.
        momentum: the weight of the new values in the average, from 0 to 1.
    """

    def __init__(self, low: float, width: float, bins: int, momentum: float, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.low, self.width, self.bins, self.momentum = low, width, bins, momentum

    def build(self, input_shape: Any) -> None:
        self.shares = self.add_weight(name="shares", shape=(self.bins,), initializer="zeros", trainable=False)

    def call(self, embeddings: Tensor) -> Tensor:
        return ops.convert_to_tensor(self.shares)

    def updated(self, new: Tensor) -> Tensor:
        """Return the running histogram with the histogram of the current batch."""
        old = ops.convert_to_tensor(self.shares)
        momentum = ops.where(ops.sum(old) > 0, self.momentum, 1.0)
        mixed = (1.0 - momentum) * old + momentum * new
        total = ops.sum(mixed)
        return mixed / ops.where(total > 0, total, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "low": self.low,
            "width": self.width,
            "bins": self.bins,
            "momentum": self.momentum,
        }


@keras.saving.register_keras_serializable("siamkit")
class DynamicSoftMargin(TripletSumLoss):
    """Dynamic soft margin loss: triplets weighted by the fraction of all triplets that are easier.

    L = mean over triplets of  CDF(x) · x,  x = d(a, p) - d(a, n)

    d is the metric read as a distance; CDF is the cumulative running histogram of x, stored in the state and
    used without gradient, as in the paper (in PML a gradient flows through the histogram's update, so that a
    second step fails). Values beyond the histogram count in its outermost bins. All triplets of the batch
    count; the paper uses only the hardest negative of each pair.

    Args:
        min_val: the low end of the histogram, below 0; the high end is -min_val.
        num_bins: number of bins of the histogram.
        momentum: the weight of the current batch in the histogram.

    Reference: Zhang, Rusinkiewicz 2019, "Learning Local Descriptors with a CDF-Based Dynamic Soft Margin";
    PML DynamicSoftMarginLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("dynamic_soft_margin", metric="euclidean")
        >>> float(loss(np.array([0, 1, 2]), np.eye(3)))      # no triplet
        0.0
    """

    params = ("min_val", "num_bins", "momentum")
    state: RunningHistogram
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
        self.state = RunningHistogram(min_val, 2.0 * -min_val / num_bins, num_bins, momentum)

    def compare(self, pairs: Pairs) -> Tensor:
        self.state(pairs.queries)
        bins = self.state.low, self.state.width, self.state.bins
        distances = self.distances(pairs)
        positive, negative = (ops.cast(mask, "float32") for mask in (pairs.positive, pairs.negative))

        def tally(weight: Tensor, near: Tensor, far: Tensor, _: None) -> tuple[Tensor, Tensor]:
            return ops.zeros(()), soft_histogram(near - far, weight * negative[:, None, :], *bins)

        frozen, most = ops.stop_gradient(distances), pairs.most_positives
        _, new = over_triplets(tally, positive, frozen, tally=ops.zeros(self.num_bins), most=most)
        shares = self.state.updated(new)
        if pairs.training:
            self.state.shares.assign(shares)
        share_up_to = ops.cumsum(shares)

        def term(weight: Tensor, near: Tensor, far: Tensor, _: None) -> tuple[Tensor, Tensor]:
            gaps, weight = near - far, weight * negative[:, None, :]
            share_below = ops.take(share_up_to, bin_below(ops.stop_gradient(gaps), *bins), axis=0)
            return ops.sum(ops.where(weight > 0, share_below * gaps, 0.0)), ops.sum(weight)

        total, count = over_triplets(term, positive, distances, most=most)
        return total / ops.where(count > 0, count, 1.0)
