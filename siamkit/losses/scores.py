"""Losses over pairs with a graded similarity: on its values, or on the order of the pairs by similarity."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamkit.errors import ModelError
from siamkit.losses._batch import check_positive, checked_target, log_sum_exp, split_views
from siamkit.losses.base import Loss
from siamkit.metrics.base import Tensor, absolute, unit


@keras.saving.register_keras_serializable("siamkit")
class CosineMSE(Loss):
    """Squared error between the similarity of two embeddings and a graded target, row by row.

    L = (s(a, b) - y)²

    Args:
        name: the loss's name, as in `keras.losses.Loss`.

    Reference: Reimers, Gurevych 2019, "Sentence-BERT" (the regression objective; sentence-transformers'
    CosineSimilarityLoss).

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("cosine_mse", metric="cosine")
        >>> float(loss(np.array([0.5]), np.array([[[1.0, 0.0], [0.0, 1.0]]])))
        0.25
    """

    scores_like_metric = True

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        a, b = split_views(y_pred, 2, self.name)
        target = ops.cast(checked_target(y_true, self.name, "a graded similarity"), "float32")
        return ops.square(self.metric(a, b) - target)


class OrderLoss(Loss):
    """A loss on the order of pairs by their similarity; a subclass implements `similarity`.

    Args:
        scale: the inverse temperature, above 0; 20 is usual for cosine.
    """

    params = ("scale",)
    numbers = ("scale",)
    batch_coupled = True

    def __init__(self, scale: float = 20.0, **kwargs: Any) -> None:
        check_positive(scale=scale)
        super().__init__(**kwargs)
        self.scale = scale

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        """Return similarities row by row, `(batch, dim)`, `(batch, dim)` -> `(batch,)`."""
        raise NotImplementedError

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        a, b = split_views(y_pred, 2, self.name)
        target = ops.cast(checked_target(y_true, self.name, "a graded similarity"), "float32")
        values = self.scale * self.similarity(a, b)
        # Entry (i, j): by how much row j is more similar than row i, which should be below 0 where yᵢ > yⱼ.
        excess = values[None, :] - values[:, None]
        wrong = target[:, None] > target[None, :]
        # log(1 + e^x) of x = log Σ; exactly 0 if all targets are equal
        return ops.softplus(log_sum_exp(ops.reshape(excess, (-1,)), ops.reshape(wrong, (-1,)), axis=0))


@keras.saving.register_keras_serializable("siamkit")
class CoSENT(OrderLoss):
    """CoSENT: pairs with a higher target are more similar than pairs with a lower one.

    L = log(1 + Σ e^{scale · (sⱼ - sᵢ)}),  over rows i, j of the batch with yᵢ > yⱼ

    s is the metric read as a similarity. Only the order of the targets matters. The loss is 0 if all targets
    are equal.

    Args:
        scale: the inverse temperature, above 0; 20 is usual for cosine.

    Reference: Su 2022, "CoSENT" (kexue.fm/archives/8847); sentence-transformers' CoSENTLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("cosent", metric="cosine", scale=1.0)
        >>> same, other = [[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]
        >>> round(float(loss(np.array([0.9, 0.2]), np.array([same, other]))), 4)     # log(1 + 1/e)
        0.3133
    """

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return self.paired_similarities(a, b)


@keras.saving.register_keras_serializable("siamkit")
class Angle(OrderLoss):
    """AnglE: CoSENT by a difference of angles in complex space; it does not compare through the metric.

    L = log(1 + Σ e^{scale · (sⱼ - sᵢ)}),  over rows i, j of the batch with yᵢ > yⱼ
    s(a, b) = |Σ Re(u v̄) + Σ Im(u v̄)|,  u and v being a and b at unit length, read as complex numbers

    The first half of an embedding holds the real parts, the second the imaginary ones. This is
    sentence-transformers' form; the paper adds it to two other terms.

    Args:
        scale: the inverse temperature, above 0.

    Raises:
        ModelError: embeddings of an odd dimension.

    Reference: Li, Li 2023, "AnglE-optimized Text Embeddings"; sentence-transformers' AnglELoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("angle", metric="cosine", scale=1.0)
        >>> same, other = [[1.0, 0.0], [1.0, 0.0]], [[1.0, 1.0], [1.0, -1.0]]
        >>> round(float(loss(np.array([0.2, 0.9]), np.array([same, other]))), 4)     # log(1 + e⁰)
        0.6931
    """

    uses_metric = False

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        dim = a.shape[-1]
        if dim % 2:
            raise ModelError(
                f"angle reads embeddings as complex numbers, so it needs an even embedding_dim, got {dim}"
            )
        u, v = unit(a), unit(b)
        half = dim // 2
        real = ops.sum(u * v, axis=-1)
        imaginary = ops.sum(u[:, half:] * v[:, :half] - u[:, :half] * v[:, half:], axis=-1)
        return absolute(real + imaginary)
