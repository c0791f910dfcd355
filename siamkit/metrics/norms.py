"""The metrics that measure the difference of two vectors: Euclidean, Manhattan and their kin."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamkit.metrics.base import Metric, Tensor
from siamkit.metrics.functions import absolute, safe_sqrt, squared_distances


@keras.saving.register_keras_serializable("siamkit")
class SquaredEuclidean(Metric):
    """Squared Euclidean distance, d(a, b) = Σ (a - b)²; in [0, ∞).

    Example:
        >>> import numpy as np, siamkit
        >>> float(siamkit.get_metric("squared_euclidean")(np.zeros((1, 2)), np.array([[3.0, 4.0]]))[0])
        25.0
    """

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        return ops.sum(ops.square(a - b), axis=-1)

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        return squared_distances(a, b)


@keras.saving.register_keras_serializable("siamkit")
class Euclidean(Metric):
    """Euclidean distance, d(a, b) = √Σ (a - b)²; in [0, ∞). Its gradient at a = b is 0.

    Example:
        >>> import numpy as np, siamkit
        >>> float(siamkit.get_metric("euclidean")(np.zeros((1, 2)), np.array([[3.0, 4.0]]))[0])
        5.0
    """

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        return safe_sqrt(ops.sum(ops.square(a - b), axis=-1))

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        return safe_sqrt(squared_distances(a, b))


@keras.saving.register_keras_serializable("siamkit")
class Manhattan(Metric):
    """Manhattan distance, d(a, b) = Σ |a - b|; in [0, ∞).

    Example:
        >>> import numpy as np, siamkit
        >>> float(siamkit.get_metric("manhattan")(np.zeros((1, 2)), np.array([[3.0, -4.0]]))[0])
        7.0
    """

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        return ops.sum(absolute(a - b), axis=-1)


@keras.saving.register_keras_serializable("siamkit")
class Minkowski(Metric):
    """Minkowski distance, d(a, b) = (Σ |a - b|ᵖ)^(1/p); in [0, ∞). Its gradient at a = b is 0.

    Args:
        p: at least 1, below which it is no distance; 1 is Manhattan, 2 Euclidean, ∞ would be Chebyshev.
        **kwargs: those of a `keras.layers.Layer`.

    Example:
        >>> import numpy as np, siamkit
        >>> metric = siamkit.get_metric("minkowski", p=3)
        >>> round(float(metric(np.zeros((1, 3)), np.array([[3.0, -4.0, 5.0]]))[0]), 4)
        6.0
    """

    def __init__(self, p: float = 3.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.p = p

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        difference = absolute(a - b)
        # In units of the largest coordinate: powers of tiny and of huge values leave float32's range.
        largest = ops.stop_gradient(ops.max(difference, axis=-1))
        scale = ops.where(largest <= 0, 1.0, largest)
        powers = ops.sum(ops.power(difference / scale[..., None], self.p), axis=-1)
        zero = powers <= 0
        return scale * ops.where(zero, 0.0, ops.power(ops.where(zero, 1.0, powers), 1 / self.p))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "p": self.p}


@keras.saving.register_keras_serializable("siamkit")
class Chebyshev(Metric):
    """Chebyshev distance, d(a, b) = max |a - b|; in [0, ∞).

    The gradient goes to the largest coordinate alone, among equal ones to the first.

    Example:
        >>> import numpy as np, siamkit
        >>> float(siamkit.get_metric("chebyshev")(np.zeros((1, 2)), np.array([[3.0, -4.0]]))[0])
        4.0
    """

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        difference = absolute(a - b)
        # NaN counts as the largest, which TensorFlow's argmax would pass over.
        place = ops.argmax(ops.where(ops.isnan(difference), float("inf"), difference), axis=-1)
        return ops.take_along_axis(difference, place[..., None], axis=-1)[..., 0]
