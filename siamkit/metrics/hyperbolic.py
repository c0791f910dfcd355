"""The distance of hyperbolic space."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamkit.metrics.base import Metric, Tensor
from siamkit.metrics.functions import safe_sqrt, squared_distances, unit


@keras.saving.register_keras_serializable("siamkit")
class Poincare(Metric):
    """Distance in the Poincaré ball, d(a, b) = arcosh(1 + 2 |a - b|² / ((1 - |a|²)(1 - |b|²))); in [0, ∞).

    Points of length above 1 - eps are first brought to that length. So under an encoder that normalises
    all embeddings lie on that sphere, and d only bends their Euclidean distance; build the encoder with
    `normalize=False` to use the whole ball. Its gradient at a = b is 0.

    Args:
        eps: the margin between the points and the ball's surface, where distances become infinite.
        **kwargs: those of a `keras.layers.Layer`.

    Reference:
        Nickel and Kiela, "Poincaré embeddings for learning hierarchical representations", NeurIPS 2017,
        https://arxiv.org/abs/1705.08039. Computed as 2 arsinh(|a - b| / √((1 - |a|²)(1 - |b|²))), the same
        by arcosh(1 + 2z²) = 2 arsinh z, which keeps small distances.

    Example:
        >>> import numpy as np, siamkit
        >>> metric = siamkit.get_metric("poincare")
        >>> round(float(metric(np.array([[0.0, 0.0]]), np.array([[0.6, 0.0]]))[0]), 4)  # ln 4
        1.3863
    """

    def __init__(self, eps: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.eps = eps

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        (a, room_a), (b, room_b) = self._inside(a), self._inside(b)
        return _distance(ops.sum(ops.square(a - b), axis=-1), room_a * room_b)

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        (a, room_a), (b, room_b) = self._inside(a), self._inside(b)
        return _distance(squared_distances(a, b), room_a[:, None] * room_b[None, :])

    def _inside(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Points no longer than 1 - eps, and their 1 - |x|²."""
        radius = 1 - self.eps
        squares = ops.sum(ops.square(x), axis=-1)
        outside = squares > radius**2
        points = ops.where(outside[..., None], radius * unit(x), x)
        return points, ops.where(outside, 1 - radius**2, 1 - squares)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "eps": self.eps}


def _distance(squares: Tensor, room: Tensor) -> Tensor:
    return 2 * ops.arcsinh(safe_sqrt(squares) * ops.rsqrt(room))
