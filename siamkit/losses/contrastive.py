"""Losses over positive and negative pairs: contrastive, online contrastive, binary cross entropy."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from siamkit.errors import ComponentError
from siamkit.losses._batch import Pairs, active_mean, check_positive, checked_target, split_views
from siamkit.losses._mining import PairLoss
from siamkit.losses.base import Loss, masked_mean
from siamkit.metrics.base import Tensor

ROUNDING = 1e-6  # 1 - s of equal vectors is 0 on one backend and 6e-8 on another; neither pair is active
LARGE = 3e38
MEANING = "1 for positive and 0 for negative"


@keras.saving.register_keras_serializable("siamkit")
class Contrastive(PairLoss):
    """Contrastive loss: positive pairs are pulled within `pos_margin`, others pushed beyond `neg_margin`.

    L = y · [d - pos_margin]₊ᵖ + (1 - y) · [neg_margin - d]₊ᵖ

    d is the metric read as a distance (1 - s for cosine), p is `power`. The paper's factor ½ is left out.
    Over pairs `(batch, 2, dim)` with 1/0 it is the mean over the batch; over labels the mean over the active
    positive pairs plus the mean over the active negative pairs, as in PML's ContrastiveLoss.

    Args:
        neg_margin: the distance beyond which a negative pair costs nothing.
        pos_margin: the distance within which a positive pair costs nothing.
        power: the exponent: 2 as in the paper, 1 for the linear form (PML's).
        mining: the rule that selects pairs of a labels_and_items batch, one of `siamkit.losses.MINING`.

    Reference: Hadsell, Chopra, LeCun 2006, "Dimensionality Reduction by Learning an Invariant Mapping";
    PML ContrastiveLoss with power 1.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("contrastive", metric="euclidean", neg_margin=1.0)
        >>> pairs = np.array([[[0.0, 0.0], [0.3, 0.4]], [[0.0, 0.0], [0.3, 0.4]]])
        >>> round(float(loss(np.array([1, 0]), pairs)), 6)      # (0.5² + (1 - 0.5)²) / 2
        0.25
    """

    params = ("neg_margin", "pos_margin", "power", "mining")
    numbers = ("neg_margin", "pos_margin")
    pair_target = "binary"

    def __init__(
        self,
        neg_margin: float = 1.0,
        pos_margin: float = 0.0,
        power: float = 2.0,
        mining: str = "all",
        **kwargs: Any,
    ) -> None:
        if not power >= 1:
            raise ComponentError(f"power should be at least 1, got {power!r}")
        super().__init__(mining, **kwargs)
        self.neg_margin = neg_margin
        self.pos_margin = pos_margin
        self.power = power

    def call(self, y_true: Tensor, y_pred: Tensor, training: bool = True) -> Tensor:
        if len(y_pred.shape) != 3:
            return super().call(y_true, y_pred, training)
        a, b = split_views(y_pred, 2, self.name)
        positive = ops.cast(checked_target(y_true, self.name, MEANING), "float32")
        pull, push = self._hinges(self.paired_distances(a, b))
        return positive * pull + (1.0 - positive) * push

    def compare_mined(self, pairs: Pairs, positive: Tensor, negative: Tensor) -> Tensor:
        pull, push = self._hinges(self.distances(pairs))
        threshold = ROUNDING**self.power
        return active_mean(pull, positive, threshold) + active_mean(push, negative, threshold)

    def _hinges(self, distances: Tensor) -> tuple[Tensor, Tensor]:
        pull, push = ops.relu(distances - self.pos_margin), ops.relu(self.neg_margin - distances)
        if self.power == 1:
            return pull, push
        if self.power == 2:
            return ops.square(pull), ops.square(push)
        return _safe_power(pull, self.power), _safe_power(push, self.power)


def snr_contrastive(neg_margin: float = 1.0, pos_margin: float = 0.0, mining: str = "all") -> Contrastive:
    """Return the contrastive loss in its linear form over the signal-to-noise ratio, the metric `snr`.

    L = y · [d - pos_margin]₊ + (1 - y) · [neg_margin - d]₊,  d(a, b) = var(a - b) / var(a)

    The paper's regularizer, which keeps the mean of each embedding near 0, is left out.

    Args:
        neg_margin, pos_margin, mining: parameters as for `contrastive`.

    Returns:
        A `Contrastive` loss.

    Reference: Yuan et al. 2019, "Signal-to-Noise Ratio: A Robust Distance Metric for Deep Metric Learning";
    PML SignalToNoiseRatioContrastiveLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("snr_contrastive", metric="snr")
        >>> float(loss(np.array([0, 0]), np.array([[1.0, -1.0], [1.0, -1.0]])))
        0.0
    """
    return Contrastive(neg_margin, pos_margin, power=1.0, mining=mining, name="snr_contrastive")


def _safe_power(x: Tensor, power: float) -> Tensor:
    """Return x to a power, with gradient 0 where x is 0."""
    is_zero = x <= 0  # false for NaN
    return ops.where(is_zero, 0.0, ops.power(ops.where(is_zero, 1.0, x), power))


@keras.saving.register_keras_serializable("siamkit")
class OnlineContrastive(Loss):
    """Online contrastive loss: the contrastive loss over the hard pairs of a batch only, as a sum.

    L = Σ d²  over positive pairs farther than the nearest negative pair
      + Σ [margin - d]₊²  over negative pairs nearer than the farthest positive pair

    d is the metric read as a distance (1 - s for cosine). As in the reference it is a sum, not a mean;
    without negative pairs the nearest one is replaced by the mean distance of the positive pairs, and the
    other way round. The loss is 0 if no pair is hard.

    Args:
        margin: the distance beyond which a negative pair costs nothing.

    Reference: sentence-transformers' OnlineContrastiveLoss; Hadsell, Chopra, LeCun 2006 for the terms.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("online_contrastive", metric="euclidean", margin=2.0)
        >>> pairs = np.array([[[0.0], [1.0]], [[0.0], [4.0]], [[0.0], [3.0]], [[0.0], [5.0]]])
        >>> float(loss(np.array([1, 1, 0, 0]), pairs))      # 4 is farther than 3; 3 and 5 are beyond 2
        16.0
    """

    params = ("margin",)
    numbers = ("margin",)
    pair_target = "binary"
    batch_coupled = True

    def __init__(self, margin: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.margin = margin

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        a, b = split_views(y_pred, 2, self.name)
        target = ops.cast(checked_target(y_true, self.name, MEANING), "float32")
        distances = self.paired_distances(a, b)
        positive, negative = target == 1.0, target == 0.0
        frozen = ops.stop_gradient(distances)
        nearest = _bound(ops.min(ops.where(negative, frozen, LARGE)), negative, frozen, positive)
        farthest = _bound(ops.max(ops.where(positive, frozen, -LARGE)), positive, frozen, negative)
        # Not "hard" but "not easy": a comparison with NaN is false, so that NaN stays in.
        pull = ops.logical_and(positive, ops.logical_not(frozen <= nearest))
        push = ops.logical_and(negative, ops.logical_not(frozen >= farthest))
        return ops.sum(ops.where(pull, ops.square(distances), 0.0)) + ops.sum(
            ops.where(push, ops.square(ops.relu(self.margin - distances)), 0.0)
        )


def _bound(extreme: Tensor, pairs: Tensor, distances: Tensor, others: Tensor) -> Tensor:
    """Return the extreme distance of these pairs, or the mean of the others if there are none."""
    return ops.where(ops.any(pairs), extreme, masked_mean(distances, others))


@keras.saving.register_keras_serializable("siamkit")
class Logistic(keras.layers.Layer):
    """Distances as log odds, bias - scale · d, with a learned scale above 0 and a learned bias.

    Args:
        scale: the initial scale.
        bias: the initial bias.
        learning_rate_multiplier: factor on the learning rate of scale and bias.
    """

    def __init__(
        self,
        scale: float = 1.0,
        bias: float = 1.0,
        learning_rate_multiplier: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.scale = scale
        self.bias = bias
        self.learning_rate_multiplier = learning_rate_multiplier

    def build(self, input_shape: Any) -> None:
        # scale = softplus(raw_scale) stays above 0 after any step.
        raw = self.scale + math.log(-math.expm1(-self.scale))
        constant = keras.initializers.Constant
        self.raw_scale = self.add_weight(name="raw_scale", shape=(), initializer=constant(raw))
        self.offset = self.add_weight(name="offset", shape=(), initializer=constant(self.bias))

    def call(self, distances: Tensor) -> Tensor:
        return self.offset - ops.softplus(self.raw_scale) * distances

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "scale": self.scale,
            "bias": self.bias,
            "learning_rate_multiplier": self.learning_rate_multiplier,
        }


@keras.saving.register_keras_serializable("siamkit")
class BinaryCrossEntropy(Loss):
    """Binary cross entropy of each pair, whose odds of being positive fall with its distance.

    L = -y log p - (1 - y) log(1 - p),  p = σ(bias - scale · d(a, b))

    d is the metric read as a distance. Scale and bias are learned together with the encoder, in the
    loss's state. With the metric `weighted_manhattan` it is the network of Koch et al., except that the
    weights are constrained to be positive. Targets may be between 0 and 1.

    Args:
        scale: the initial scale, above 0.
        bias: the initial bias; at the distance bias / scale the odds are even.
        learning_rate_multiplier: factor on the learning rate of scale and bias, which change more than the
            encoder's weights.

    Reference: Koch, Zemel, Salakhutdinov 2015, "Siamese Neural Networks for One-shot Image Recognition".

    Example:
        >>> import keras, numpy as np, siamkit
        >>> loss = siamkit.get_loss("binary_cross_entropy", metric="manhattan", scale=1.0, bias=1.0)
        >>> value = loss(np.array([1]), np.array([[[0.0, 0.0], [0.5, 0.5]]]))
        >>> round(float(keras.ops.convert_to_numpy(value)), 4)      # log 2: even odds
        0.6931
    """

    params = ("scale", "bias", "learning_rate_multiplier")
    pair_target = "probability"
    state: Logistic

    def __init__(
        self,
        scale: float = 1.0,
        bias: float = 1.0,
        learning_rate_multiplier: float = 10.0,
        **kwargs: Any,
    ) -> None:
        check_positive(scale=scale)
        super().__init__(**kwargs)
        self.scale = scale
        self.bias = bias
        self.learning_rate_multiplier = learning_rate_multiplier
        self.state = Logistic(scale, bias, learning_rate_multiplier)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        a, b = split_views(y_pred, 2, self.name)
        target = ops.cast(checked_target(y_true, self.name, MEANING), "float32")
        odds = self.state(self.paired_distances(a, b))
        # -log σ(x) = softplus(-x), without a σ that could round to 0 or 1
        return target * ops.softplus(-odds) + (1.0 - target) * ops.softplus(odds)
