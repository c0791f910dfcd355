"""The contrastive loss: over given pairs, or over those of a batch."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamkit.errors import ComponentError
from siamkit.losses.batch import Pairs, active_mean
from siamkit.losses.mining import PairLoss
from siamkit.losses.rows import required, views_of
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
        mining: which pairs of a labelled batch, see `siamkit.losses.mining`.

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
