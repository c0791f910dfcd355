"""Losses over pairs, similar or not: contrastive, online contrastive, logistic, binary cross entropy."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from siamkit.errors import ComponentError
from siamkit.losses._batch import Pairs, active_mean
from siamkit.losses._inputs import above_0, required, views_of
from siamkit.losses._mining import PairLoss
from siamkit.losses.base import Loss, masked_mean
from siamkit.metrics.base import Tensor

ROUNDING = 1e-6  # 1 - s of equal vectors is 0 on one backend and 6e-8 on another; neither is an active pair


@keras.saving.register_keras_serializable("siamkit")
class Contrastive(PairLoss):
    """Contrastive loss: alike pairs are drawn within `pos_margin`, others pushed beyond `neg_margin`.

    L = y · [d - pos_margin]₊ᵖ + (1 - y) · [neg_margin - d]₊ᵖ

    d is the metric read as a distance (1 - s for cosine), p is `power`. Without the factor ½ of the
    paper. Over pairs `(batch, 2, dim)` with 1/0 it is the mean over the batch; over labels the mean over
    the active alike pairs plus the mean over the active other pairs, as PML's ContrastiveLoss has it.

    Args:
        neg_margin: the distance beyond which unlike pairs cost nothing.
        pos_margin: the distance within which alike pairs cost nothing.
        power: 2 as in the paper, 1 for the linear form (PML's).
        mining: which pairs of a labelled batch, see `siamkit.losses._mining`.

    Reference: Hadsell, Chopra, LeCun 2006, "Dimensionality Reduction by Learning an Invariant Mapping";
    PML ContrastiveLoss with power 1.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("contrastive", metric="euclidean", neg_margin=1.0)
        >>> pairs = np.array([[[0.0, 0.0], [0.3, 0.4]], [[0.0, 0.0], [0.3, 0.4]]])
        >>> round(float(loss(np.array([1, 0]), pairs)), 6)      # (0.5² + (1 - 0.5)²) / 2
        0.25
    """

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

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        if len(y_pred.shape) != 3:
            return super().call(y_true, y_pred)
        a, b = views_of(y_pred, 2, self.name)
        alike = ops.cast(required(y_true, self.name, "1 for alike and 0 for not"), "float32")
        pull, push = self._hinges(self.row_distances(a, b))
        return alike * pull + (1.0 - alike) * push

    def of_pairs(self, pairs: Pairs, positive: Tensor, negative: Tensor) -> Tensor:
        pull, push = self._hinges(self.distances(pairs))
        least = ROUNDING**self.power
        return active_mean(pull, positive, least) + active_mean(push, negative, least)

    def _hinges(self, distances: Tensor) -> tuple[Tensor, Tensor]:
        pull, push = ops.relu(distances - self.pos_margin), ops.relu(self.neg_margin - distances)
        if self.power == 1:
            return pull, push
        if self.power == 2:
            return ops.square(pull), ops.square(push)
        return _safe_power(pull, self.power), _safe_power(push, self.power)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "neg_margin": self.neg_margin,
            "pos_margin": self.pos_margin,
            "power": self.power,
        }


def snr_contrastive(neg_margin: float = 1.0, pos_margin: float = 0.0, mining: str = "all") -> Contrastive:
    """The contrastive loss in its linear form, over the signal-to-noise ratio: for the metric `snr` alone.

    L = y · [d - pos_margin]₊ + (1 - y) · [neg_margin - d]₊,  d(a, b) = var(a - b) / var(a)

    Without the paper's regulariser, which keeps the mean of each embedding near 0.

    Args:
        neg_margin, pos_margin, mining: as for `contrastive`.

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
    zero = x <= 0  # NaN is not
    return ops.where(zero, 0.0, ops.power(ops.where(zero, 1.0, x), power))


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
