"""The metrics without weights."""

from __future__ import annotations

import keras
from keras import ops

from siamkit.metrics.base import Metric, Tensor
from siamkit.metrics.functions import absolute, safe_sqrt, squared_distances, unit


@keras.saving.register_keras_serializable("siamkit")
class SquaredEuclidean(Metric):
    """Squared Euclidean distance, d(a, b) = Σ (a - b)²; in [0, ∞).

    Example:
        >>> import numpy as np, siamkit
        >>> float(siamkit.get_metric("squared_euclidean")(np.zeros((1, 2)), np.array([[3.0, 4.0]]))[0])
        25.0
    """

    def rows(self, a: Tensor, b: Tensor) -> Tensor:
        return ops.sum(ops.square(a - b), axis=-1)

    def all_pairs(self, a: Tensor, b: Tensor) -> Tensor:
        return squared_distances(a, b)


@keras.saving.register_keras_serializable("siamkit")
class Euclidean(Metric):
    """Euclidean distance, d(a, b) = √Σ (a - b)²; in [0, ∞). Its gradient at a = b is 0.

    Example:
        >>> import numpy as np, siamkit
        >>> float(siamkit.get_metric("euclidean")(np.zeros((1, 2)), np.array([[3.0, 4.0]]))[0])
        5.0
    """

    def rows(self, a: Tensor, b: Tensor) -> Tensor:
        return safe_sqrt(ops.sum(ops.square(a - b), axis=-1))

    def all_pairs(self, a: Tensor, b: Tensor) -> Tensor:
        return safe_sqrt(squared_distances(a, b))


@keras.saving.register_keras_serializable("siamkit")
class Manhattan(Metric):
    """Manhattan distance, d(a, b) = Σ |a - b|; in [0, ∞).

    Example:
        >>> import numpy as np, siamkit
        >>> float(siamkit.get_metric("manhattan")(np.zeros((1, 2)), np.array([[3.0, -4.0]]))[0])
        7.0
    """

    def rows(self, a: Tensor, b: Tensor) -> Tensor:
        return ops.sum(absolute(a - b), axis=-1)


@keras.saving.register_keras_serializable("siamkit")
class Cosine(Metric):
    """Cosine similarity, s(a, b) = a·b / (|a| |b|); in [-1, 1], and 0 where a vector is zero.

    Read as a distance (margins of contrastive, say) it is 1 - s.

    Example:
        >>> import numpy as np, siamkit
        >>> float(siamkit.get_metric("cosine")(np.array([[2.0, 0.0]]), np.array([[0.0, 3.0]]))[0])
        0.0
    """

    orientation = "similarity"
    range = (-1.0, 1.0)

    def rows(self, a: Tensor, b: Tensor) -> Tensor:
        return ops.sum(unit(a) * unit(b), axis=-1)

    def all_pairs(self, a: Tensor, b: Tensor) -> Tensor:
        return unit(a) @ ops.transpose(unit(b))
