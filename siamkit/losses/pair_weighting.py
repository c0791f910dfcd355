"""Losses that weight the pairs of each anchor by how hard they are: by exponentials of their similarity."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from siamkit.errors import ComponentError
from siamkit.losses._batch import BatchLoss, Pairs, active_mean, among_references, check_positive, log_sum_exp
from siamkit.losses._mining import PairLoss, TripletSumLoss, over_triplets
from siamkit.losses.base import masked_mean
from siamkit.metrics.base import Tensor


@keras.saving.register_keras_serializable("siamkit")
class MultiSimilarity(PairLoss):
    """Multi-Similarity loss: soft weights for hard positives and hard negatives of each anchor.

    L = mean over anchors of  1/α log(1 + Σₚ e^{-α(s(a,p) - λ)}) + 1/β log(1 + Σₙ e^{β(s(a,n) - λ)})

    λ is `base`, a value on the metric's own axis; for a distance d the signs are reversed (s = -d). Anchors
    without any pair count as 0. The paper mines its pairs (`mining="multi_similarity"`); as in PML, mining is
    not the default.

    Args:
        alpha: sharpness for positives, above 0.
        beta: sharpness for negatives, above 0.
        base: λ, the similarity between positives and negatives.
        mining: the rule that selects pairs, one of `siamkit.losses.MINING`.

    Reference: Wang et al. 2019, "Multi-Similarity Loss with General Pair Weighting"; PML
    MultiSimilarityLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("multi_similarity", metric="cosine", alpha=2.0)
        >>> float(loss(np.array([0, 1]), np.array([[1.0, 0.0], [-1.0, 0.0]]))) < 1e-6
        True
    """

    params = ("alpha", "beta", "base", "mining")
    numbers = ("alpha", "beta", "base")

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 0.5,
        mining: str = "all",
        **kwargs: Any,
    ) -> None:
        check_positive(alpha=alpha, beta=beta)
        super().__init__(mining, **kwargs)
        self.alpha = alpha
        self.beta = beta
        self.base = base

    def compare_mined(self, pairs: Pairs, positive: Tensor, negative: Tensor) -> Tensor:
        excess = self.metric.sign * (self.metric.matrix(pairs.queries, pairs.references) - self.base)
        pull = log_sum_exp(self.alpha * excess, positive > 0, axis=1, plus_one=True) / self.alpha
        push = log_sum_exp(-self.beta * excess, negative > 0, axis=1, plus_one=True) / self.beta
        return ops.mean(pull + push)


@keras.saving.register_keras_serializable("siamkit")
class Circle(PairLoss):
    """Circle loss: each similarity is pulled to its optimum with a weight that grows with the difference.

    L = mean over anchors of  log(1 + Σₚ e^{-γ αₚ (s(a,p) - (1 - m))} · Σₙ e^{γ αₙ (s(a,n) - m)})

    with αₚ = [1 + m - s(a,p)]₊ and αₙ = [s(a,n) + m]₊, both without gradient; s is the metric, a
    similarity in [-1, 1]. The mean is over those anchors that have a positive
    pair, a negative pair and a loss above 0.

    Args:
        m: the margin.
        gamma: the scale γ, above 0.
        mining: the rule that selects pairs, one of `siamkit.losses.MINING`.

    Reference: Sun et al. 2020, "Circle Loss: A Unified Perspective of Pair Similarity Optimization"; PML
    CircleLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("circle", metric="cosine", gamma=1.0)
        >>> one, two = [1.0, 0.0], [0.0, 1.0]
        >>> x = np.array([one, one, two, two])
        >>> round(float(loss(np.array([0, 0, 1, 1]), x)), 4)    # log(1 + e^-0.16 · 2 e^-0.16)
        0.897
    """

    params = ("m", "gamma", "mining")
    numbers = ("m", "gamma")

    def __init__(self, m: float = 0.4, gamma: float = 80.0, mining: str = "all", **kwargs: Any) -> None:
        check_positive(gamma=gamma)
        super().__init__(mining, **kwargs)
        self.m = m
        self.gamma = gamma

    def compare_mined(self, pairs: Pairs, positive: Tensor, negative: Tensor) -> Tensor:
        values = self.similarities(pairs)
        frozen = ops.stop_gradient(values)
        pull = -self.gamma * ops.relu(1.0 + self.m - frozen) * (values - (1.0 - self.m))
        push = self.gamma * ops.relu(frozen + self.m) * (values - self.m)
        both = ops.logical_and(ops.any(positive > 0, axis=1), ops.any(negative > 0, axis=1))
        rows = ops.softplus(
            log_sum_exp(pull, positive > 0, axis=1, empty=0.0)
            + log_sum_exp(push, negative > 0, axis=1, empty=0.0)
        )
        return active_mean(rows, both)


@keras.saving.register_keras_serializable("siamkit")
class Angular(TripletSumLoss):
    """Angular loss: in the triangle of a triplet, the angle at the negative is kept below α.

    L = mean over positive pairs (a, p) of  log(1 + Σₙ e^{4 tan²α (s(a,n) + s(p,n)) - 2 (1 + tan²α) s(a,p)})

    s is the metric, a similarity; the paper's is the inner product of unit vectors, which is cosine.

    Args:
        alpha: α, in degrees.

    Reference: Wang et al. 2017, "Deep Metric Learning with Angular Loss"; PML AngularLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("angular", metric="cosine", alpha=45)
        >>> one, two = [1.0, 0.0], [0.0, 1.0]
        >>> x = np.array([one, one, two, two])
        >>> round(float(loss(np.array([0, 0, 1, 1]), x)), 4)      # log(1 + 2 e^-4)
        0.036
    """

    params = ("alpha",)

    def __init__(self, alpha: float = 40.0, **kwargs: Any) -> None:
        if not 0 < alpha < 90:
            raise ComponentError(f"alpha should be between 0 and 90 degrees, got {alpha!r}")
        super().__init__(**kwargs)
        self.alpha = alpha

    def compare(self, pairs: Pairs) -> Tensor:
        square = math.tan(math.radians(self.alpha)) ** 2
        values = 4.0 * square * self.similarities(pairs)
        among = among_references(pairs, values, lambda a, b: 4.0 * square * self.pairwise_similarities(a, b))
        positive = ops.cast(pairs.positive, "float32")

        def term(weight: Tensor, near: Tensor, far: Tensor, between: Tensor) -> tuple[Tensor, Tensor]:
            of_negatives = log_sum_exp(far + between, pairs.negative[:, None, :], axis=2)[:, :, None]
            losses = ops.softplus(of_negatives - (1.0 + square) / (2.0 * square) * near)
            return ops.sum(ops.where(weight > 0, losses, 0.0)), ops.sum(weight)

        total, count = over_triplets(term, positive, values, among, most=pairs.most_positives)
        return total / ops.where(count > 0, count, 1.0)


@keras.saving.register_keras_serializable("siamkit")
class GeneralizedLiftedStructure(PairLoss):
    """Generalized lifted structure loss: the soft hardest positive against the soft hardest negative.

    L = mean over anchors of  [ log Σₚ e^{d(a,p) - m₊} + log Σₙ e^{m₋ - d(a,n)} ]₊

    d is the metric read as a distance (1 - s for cosine). As in PML, the log of an empty sum is 0, so that an
    anchor with only one kind of pairs also has a loss.

    Args:
        neg_margin: m₋, the margin of negatives.
        pos_margin: m₊, the margin of positives.
        mining: the rule that selects pairs, one of `siamkit.losses.MINING`.

    Reference: Hermans et al. 2017, "In Defense of the Triplet Loss for Person Re-Identification"; PML
    GeneralizedLiftedStructureLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("generalized_lifted_structure", metric="euclidean", neg_margin=2.0)
        >>> round(float(loss(np.array([0, 0, 1]), np.array([[0.0], [0.0], [1.0]]))), 4)  # (3 + log 2)/3
        1.231
    """

    params = ("neg_margin", "pos_margin", "mining")
    numbers = ("neg_margin", "pos_margin")

    def __init__(
        self, neg_margin: float = 1.0, pos_margin: float = 0.0, mining: str = "all", **kwargs: Any
    ) -> None:
        super().__init__(mining, **kwargs)
        self.neg_margin = neg_margin
        self.pos_margin = pos_margin

    def compare_mined(self, pairs: Pairs, positive: Tensor, negative: Tensor) -> Tensor:
        distances = self.distances(pairs)
        pull = log_sum_exp(distances - self.pos_margin, positive > 0, axis=1, empty=0.0)
        push = log_sum_exp(self.neg_margin - distances, negative > 0, axis=1, empty=0.0)
        return ops.mean(ops.relu(pull + push))


@keras.saving.register_keras_serializable("siamkit")
class LiftedStructure(BatchLoss):
    """Lifted structure loss: each positive pair against the negatives of both its items.

    L = mean over positive pairs (a, p) of  ½ [ log(Σₙ e^{m₋ - d(a,n)} + Σₙ e^{m₋ - d(p,n)}) + d(a,p) - m₊ ]₊²

    d is the metric read as a distance (1 - s for cosine). Both orders of a pair count, so the factor is ½.

    Args:
        neg_margin: m₋, the margin of negatives.
        pos_margin: m₊, the margin of positives.

    Reference: Oh Song et al. 2016, "Deep Metric Learning via Lifted Structured Feature Embedding"; PML
    LiftedStructureLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("lifted_structure", metric="euclidean", neg_margin=2.0)
        >>> round(float(loss(np.array([0, 0, 1]), np.array([[0.0], [0.0], [1.0]]))), 4)    # ½ (log 2e)²
        1.4334
    """

    params = ("neg_margin", "pos_margin")
    numbers = ("neg_margin", "pos_margin")
    takes_references = False

    def __init__(self, neg_margin: float = 1.0, pos_margin: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.neg_margin = neg_margin
        self.pos_margin = pos_margin

    def compare(self, pairs: Pairs) -> Tensor:
        distances = self.distances(pairs)
        # The items of a positive pair are of one class, so both have negatives or neither has.
        push = log_sum_exp(self.neg_margin - distances, pairs.negative, axis=1, empty=-math.log(2.0))
        either = ops.logaddexp(push[:, None], push[None, :])
        rows = ops.square(ops.relu(either + distances - self.pos_margin)) / 2.0
        return masked_mean(rows, pairs.positive) * ops.cast(ops.any(pairs.negative), "float32")
