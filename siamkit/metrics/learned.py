"""The metrics with weights, learned together with the encoder."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamkit.metrics.base import Metric, Tensor
from siamkit.metrics.functions import safe_sqrt, squared_distances


@keras.saving.register_keras_serializable("siamkit")
class Mahalanobis(Metric):
    """Mahalanobis distance with a learned matrix, d(a, b) = √((a - b)ᵀ L Lᵀ (a - b)); in [0, ∞).

    L, `(dim, dim)`, starts as the identity, so training starts from the Euclidean distance; L Lᵀ keeps
    the matrix positive semi-definite whatever the weights (Xing et al. 2002).

    Example:
        >>> import keras, numpy as np, siamkit
        >>> distances = siamkit.get_metric("mahalanobis")(np.zeros((1, 2)), np.array([[3.0, 4.0]]))
        >>> float(keras.ops.convert_to_numpy(distances)[0])
        5.0
    """

    def build(self, a_shape: tuple[int, ...], b_shape: Any = None) -> None:
        dim = a_shape[-1]
        self.factor = self.add_weight(name="factor", shape=(dim, dim), initializer="identity")

    def rows(self, a: Tensor, b: Tensor) -> Tensor:
        return safe_sqrt(ops.sum(ops.square(ops.matmul(a - b, self.factor)), axis=-1))

    def all_pairs(self, a: Tensor, b: Tensor) -> Tensor:
        return safe_sqrt(squared_distances(ops.matmul(a, self.factor), ops.matmul(b, self.factor)))
