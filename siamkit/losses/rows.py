"""Contrastive, triplet and cosine losses: over given pairs and triplets, or over those of a batch."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamkit.errors import ComponentError, ModelError
from siamkit.losses.base import Loss, masked_mean
from siamkit.losses.batch import labelled, pair_masks
from siamkit.metrics.base import Tensor

MINING = ("all", "hard", "semihard")
ROUNDING = 1e-6  # 1 - s of equal vectors is 0 on one backend and 6e-8 on another; neither is an active pair


@keras.saving.register_keras_serializable("siamkit")
class Contrastive(Loss):
    """Contrastive loss: alike pairs are drawn within `pos_margin`, others pushed beyond `neg_margin`.

    L = y · [d - pos_margin]₊ᵖ + (1 - y) · [neg_margin - d]₊ᵖ

    d is the metric read as a distance (1 - s for cosine), p is `power`. Without the factor ½ of the
    paper. Over pairs `(batch, 2, dim)` with 1/0 it is the mean over the batch; over labels the mean over
    the active alike pairs plus the mean over the active other pairs, as PML's ContrastiveLoss has it.

    Args:
        neg_margin: the distance beyond which unlike pairs cost nothing.
        pos_margin: the distance within which alike pairs cost nothing.
        power: 2 as in the paper, 1 for the linear form (PML's).

    Reference: Hadsell, Chopra, LeCun 2006, "Dimensionality Reduction by Learning an Invariant Mapping".

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("contrastive", metric="euclidean", neg_margin=1.0)
        >>> pairs = np.array([[[0.0, 0.0], [0.3, 0.4]], [[0.0, 0.0], [0.3, 0.4]]])
        >>> round(float(loss(np.array([1, 0]), pairs)), 6)      # (0.5² + (1 - 0.5)²) / 2
        0.25
    """

    def __init__(
        self, neg_margin: float = 1.0, pos_margin: float = 0.0, power: float = 2.0, **kwargs: Any
    ) -> None:
        if not power >= 1:
            raise ComponentError(f"power should be at least 1, got {power!r}")
        super().__init__(**kwargs)
        self.neg_margin = neg_margin
        self.pos_margin = pos_margin
        self.power = power

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        if len(y_pred.shape) == 3:
            a, b = views_of(y_pred, 2, "contrastive")
            alike = ops.cast(required(y_true, "contrastive", "1 for alike and 0 for not"), "float32")
            pull, push = self._hinges(self.row_distances(a, b))
            return alike * pull + (1.0 - alike) * push
        labels, embeddings = labelled(y_true, y_pred, "contrastive")
        positive, negative = pair_masks(labels)
        pull, push = self._hinges(self.all_distances(embeddings, embeddings))
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


@keras.saving.register_keras_serializable("siamkit")
class Triplet(Loss):
    """Triplet loss: the positive nearer to the anchor than the negative, by a margin.

    L = [d(a, p) - d(a, n) + margin]₊

    d is the metric turned so that low means alike. Over triplets `(batch, 3, dim)` it is the mean over
    the batch. Over labels it is the mean over the *active* mined triplets (loss above 0), as PML has it,
    and 0 where there are none. Mining looks at all triplets of the batch; `all` and `semihard` take
    memory for `batch³` numbers.

    Args:
        margin: in the metric's own units.
        mining: `all`; `hard`, for each anchor its farthest positive and nearest negative (Hermans et al.
            2017); `semihard`, negatives farther than the positive but within the margin (Schroff et al.
            2015).

    Reference: Schroff, Kalenichenko, Philbin 2015, "FaceNet"; PML TripletMarginLoss with TripletMarginMiner
    or BatchHardMiner.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("triplet", metric="euclidean", margin=1.0)
        >>> float(loss(None, np.array([[[0.0], [1.0], [1.5]]])))      # 1 - 1.5 + 1
        0.5
    """

    def __init__(self, margin: float = 0.05, mining: str = "all", **kwargs: Any) -> None:
        if mining not in MINING:
            raise ComponentError(f"mining should be one of {', '.join(MINING)}, got {mining!r}")
        super().__init__(**kwargs)
        self.margin = margin
        self.mining = mining

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        if len(y_pred.shape) == 3:
            anchor, positive, negative = views_of(y_pred, 3, "triplet")
            return ops.relu(
                self.row_distances(anchor, positive) - self.row_distances(anchor, negative) + self.margin
            )
        labels, embeddings = labelled(y_true, y_pred, "triplet")
        positive, negative = pair_masks(labels)
        distances = self.all_distances(embeddings, embeddings)
        if self.mining == "hard":
            return self._hardest(distances, positive, negative)
        # `(anchor, positive, negative)`
        gap = distances[:, :, None] - distances[:, None, :]
        chosen = ops.logical_and(positive[:, :, None], negative[:, None, :])
        if self.mining == "semihard":
            chosen = ops.logical_and(chosen, gap < 0)
        return active_mean(ops.relu(gap + self.margin), chosen)

    def _hardest(self, distances: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        # Taken by index: the gradient of max and min is shared out differently between backends on ties.
        farthest = ops.argmax(ops.where(positive, distances, -3e38), axis=1)
        nearest = ops.argmin(ops.where(negative, distances, 3e38), axis=1)
        far = ops.squeeze(ops.take_along_axis(distances, farthest[:, None], axis=1), axis=1)
        near = ops.squeeze(ops.take_along_axis(distances, nearest[:, None], axis=1), axis=1)
        chosen = ops.logical_and(ops.any(positive, axis=1), ops.any(negative, axis=1))
        gap = ops.where(chosen, far, 0.0) - ops.where(chosen, near, 0.0)
        return active_mean(ops.relu(gap + self.margin), chosen)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "margin": self.margin, "mining": self.mining}


@keras.saving.register_keras_serializable("siamkit")
class CosineMse(Loss):
    """Squared error between the similarity of two embeddings and a graded target, row by row.

    L = (s(a, b) - y)²

    Args:
        name: as in `keras.losses.Loss`.

    Reference: Reimers, Gurevych 2019, "Sentence-BERT" (the regression objective; sentence-transformers'
    CosineSimilarityLoss).

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("cosine_mse", metric="cosine")
        >>> float(loss(np.array([0.5]), np.array([[[1.0, 0.0], [0.0, 1.0]]])))
        0.25
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        assert self.metric is not None
        a, b = views_of(y_pred, 2, "cosine_mse")
        target = ops.cast(required(y_true, "cosine_mse", "a graded similarity"), "float32")
        return ops.square(self.metric(a, b) - target)


def views_of(embeddings: Tensor, count: int, loss: str) -> list[Tensor]:
    """The views of `(batch, count, dim)` embeddings, each `(batch, dim)`."""
    if len(embeddings.shape) != 3 or embeddings.shape[1] != count:
        raise ModelError(
            f"{loss} takes embeddings of {count} views, (batch, {count}, dim), "
            f"got shape {tuple(embeddings.shape)}"
        )
    return [embeddings[:, i] for i in range(count)]


def required(y_true: Tensor | None, loss: str, meaning: str) -> Tensor:
    """The target `(batch,)`; raises where there is none."""
    if y_true is None or len(y_true.shape) != 1:
        got = "none" if y_true is None else f"shape {tuple(y_true.shape)}"
        raise ModelError(f"{loss} wants one target a pair ({meaning}), (batch,), got {got}")
    return y_true


def active_mean(values: Tensor, chosen: Tensor, least: float = 0.0) -> Tensor:
    """The mean over the chosen entries whose loss is above `least`; 0 where there are none."""
    inactive = values <= least  # NaN is not: it should reach the loss and be noticed
    active = ops.logical_and(chosen, ops.logical_not(inactive))
    return masked_mean(values, ops.stop_gradient(ops.cast(active, "float32")))


def _safe_power(x: Tensor, power: float) -> Tensor:
    zero = x <= 0  # NaN is not
    return ops.where(zero, 0.0, ops.power(ops.where(zero, 1.0, x), power))
