"""Losses over given pairs that are alike or not: online contrastive, and the logistic loss of a distance."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from siamkit.losses.arguments import above_0
from siamkit.losses.base import Loss, masked_mean
from siamkit.losses.rows import required, views_of
from siamkit.metrics.base import Tensor

FAR = 3e38
MEANING = "1 for alike and 0 for not"


@keras.saving.register_keras_serializable("siamkit")
class OnlineContrastive(Loss):
    """Online contrastive loss: the contrastive loss over the hard pairs of a batch alone, as a sum.

    L = Σ d²  over alike pairs farther than the nearest pair that is not alike
      + Σ [margin - d]₊²  over pairs not alike that are nearer than the farthest alike pair

    d is the metric read as a distance (1 - s for cosine). As in the reference it is a sum, not a mean; a
    nearest or farthest of fewer than 2 pairs is replaced by the mean distance of the other side (of the
    alike pairs for alike pairs); and targets other than 1 and 0 take no part. 0 where no pair is hard.

    Args:
        margin: the distance beyond which pairs not alike cost nothing.

    Reference: sentence-transformers' OnlineContrastiveLoss; Hadsell, Chopra, LeCun 2006 for the terms.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("online_contrastive", metric="euclidean", margin=2.0)
        >>> pairs = np.array([[[0.0], [1.0]], [[0.0], [4.0]], [[0.0], [3.0]], [[0.0], [5.0]]])
        >>> float(loss(np.array([1, 1, 0, 0]), pairs))      # 4 is farther than 3; 3 and 5 are beyond 2
        16.0
    """

    couples = True

    def __init__(self, margin: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.margin = margin

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        a, b = views_of(y_pred, 2, self.name)
        target = ops.cast(required(y_true, self.name, MEANING), "float32")
        distances = self.row_distances(a, b)
        alike, other = target == 1.0, target == 0.0
        frozen = ops.stop_gradient(distances)
        nearest = _bound(ops.min(ops.where(other, frozen, FAR)), other, frozen, alike)
        farthest = _bound(ops.max(ops.where(alike, frozen, -FAR)), alike, frozen, other)
        # Asked what is not hard, so that NaN stays in and is noticed.
        pull = ops.logical_and(alike, ops.logical_not(frozen <= nearest))
        push = ops.logical_and(other, ops.logical_not(frozen >= farthest))
        return ops.sum(ops.where(pull, ops.square(distances), 0.0)) + ops.sum(
            ops.where(push, ops.square(ops.relu(self.margin - distances)), 0.0)
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "margin": self.margin}


def _bound(extreme: Tensor, its: Tensor, distances: Tensor, others: Tensor) -> Tensor:
    """The extreme distance of some pairs, or the mean of the other ones where there are not 2 of them."""
    few = ops.sum(ops.cast(its, "float32")) <= 1
    return ops.where(few, masked_mean(distances, ops.cast(others, "float32")), extreme)


@keras.saving.register_keras_serializable("siamkit")
class Logistic(keras.layers.Layer):
    """Turns distances into log odds, bias - scale · d, with a learned scale above 0 and a learned bias.

    Args:
        scale: what it begins with.
        bias: what it begins with.
        learning_rate_multiplier: how many times the model's step its own is.
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
        # scale = softplus(raw_scale), which stays above 0 whatever the step.
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
    """Binary cross entropy of "these two are alike", whose odds fall with their distance; row by row.

    L = -y log p - (1 - y) log(1 - p),  p = σ(bias - scale · d(a, b))

    d is the metric read as a distance. Scale and bias are learned together with the encoder, in the
    loss's head. With the metric `weighted_manhattan` it is the network of Koch et al., but that the
    weights are kept positive. Targets may lie between 0 and 1.

    Args:
        scale: the scale to begin with, above 0.
        bias: the bias to begin with; pairs at the distance bias / scale are even odds.
        learning_rate_multiplier: of scale and bias, which have farther to go than the encoder's weights.

    Reference: Koch, Zemel, Salakhutdinov 2015, "Siamese Neural Networks for One-shot Image Recognition".

    Example:
        >>> import keras, numpy as np, siamkit
        >>> loss = siamkit.get_loss("binary_cross_entropy", metric="manhattan", scale=1.0, bias=1.0)
        >>> value = loss(np.array([1]), np.array([[[0.0, 0.0], [0.5, 0.5]]]))
        >>> round(float(keras.ops.convert_to_numpy(value)), 4)      # log 2: even odds
        0.6931
    """

    def __init__(
        self,
        scale: float = 1.0,
        bias: float = 1.0,
        learning_rate_multiplier: float = 10.0,
        **kwargs: Any,
    ) -> None:
        above_0(scale=scale)
        super().__init__(**kwargs)
        self.head = Logistic(scale, bias, learning_rate_multiplier)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        a, b = views_of(y_pred, 2, self.name)
        target = ops.cast(required(y_true, self.name, MEANING), "float32")
        assert self.head is not None
        odds = self.head(self.row_distances(a, b))
        # -log σ(x) = softplus(-x): no σ that could round to 0 or 1 first
        return target * ops.softplus(-odds) + (1.0 - target) * ops.softplus(odds)

    def get_config(self) -> dict[str, Any]:
        assert isinstance(self.head, Logistic)
        return {
            **super().get_config(),
            "scale": self.head.scale,
            "bias": self.head.bias,
            "learning_rate_multiplier": self.head.learning_rate_multiplier,
        }
