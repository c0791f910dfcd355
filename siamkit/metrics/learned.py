"""The metrics with weights, learned together with the encoder.

Each also compares embeddings of fewer dimensions than it was built for (a Matryoshka loss truncates
embeddings), with the weights of the leading dimensions: as if the missing coordinates were 0.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import keras
from keras import ops

from siamkit.errors import ModelError
from siamkit.metrics.base import Metric, Tensor, absolute, both, euclidean_distances, norm

Shape = tuple[int, ...]


@keras.saving.register_keras_serializable("siamkit")
class Mahalanobis(Metric):
    """Mahalanobis distance with a learned matrix, d(a, b) = √((a - b)ᵀ L Lᵀ (a - b)); in [0, ∞).

    L Lᵀ is positive semi-definite for any weights. L starts as the identity, so training starts from the
    Euclidean distance; a low-rank L starts as √(dim / rank) times a random orthonormal projection, which
    preserves squared distances on average. Embeddings of fewer dimensions use L's leading rows.

    Args:
        form: the shape of L: `full`, `(dim, dim)`; `diagonal`, one weight per dimension; `low_rank`,
            `(dim, rank)`.
        rank: rank of L in the form `low_rank`; dim is used if it is larger than dim.
        **kwargs: arguments of `keras.layers.Layer`.

    Reference:
        Xing et al., "Distance metric learning with application to clustering with side-information",
        NeurIPS 2002.

    Example:
        >>> import keras, numpy as np, siamkit
        >>> distances = siamkit.get_metric("mahalanobis")(np.zeros((1, 2)), np.array([[3.0, 4.0]]))
        >>> float(keras.ops.convert_to_numpy(distances)[0])
        5.0
    """

    ordered_by = "distance"

    def __init__(
        self, form: Literal["full", "diagonal", "low_rank"] = "full", rank: int = 16, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.form = form
        self.rank = rank

    def build(self, a_shape: Shape, b_shape: Any = None) -> None:
        dim = a_shape[-1]
        rank = min(self.rank, dim)
        shape, initializer = {
            "full": ((dim, dim), "identity"),
            "diagonal": ((dim,), "ones"),
            "low_rank": ((dim, rank), keras.initializers.Orthogonal(gain=math.sqrt(dim / rank))),
        }[self.form]
        self.factor = self.add_weight(name="factor", shape=shape, initializer=initializer)

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        return norm(self._mapped(a - b))

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        return euclidean_distances(*both(self._mapped, a, b))

    def points(self, x: Tensor) -> Tensor:
        return self._mapped(ops.cast(x, "float32"))

    def _mapped(self, x: Tensor) -> Tensor:
        """Return Lᵀ x."""
        factor = _leading(self.factor, x)
        return x * factor if self.form == "diagonal" else ops.matmul(x, factor)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "form": self.form, "rank": self.rank}


@keras.saving.register_keras_serializable("siamkit")
class Bilinear(Metric):
    """Bilinear similarity with a learned matrix, s(a, b) = aᵀ W b; in (-∞, ∞).

    W, `(dim, dim)`, starts as the identity, so training starts from the dot product; it need not be
    symmetric. Embeddings of d < dim dimensions use its leading d rows and columns.

    Reference:
        Chechik et al., "Large scale online learning of image similarity through ranking", JMLR 2010.

    Example:
        >>> import keras, numpy as np, siamkit
        >>> values = siamkit.get_metric("bilinear")(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]))
        >>> float(keras.ops.convert_to_numpy(values)[0])
        11.0
    """

    orientation = "similarity"
    range = (-math.inf, math.inf)

    def build(self, a_shape: Shape, b_shape: Any = None) -> None:
        dim = a_shape[-1]
        self.kernel = self.add_weight(name="kernel", shape=(dim, dim), initializer="identity")

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        return ops.sum(self._mapped(a) * b, axis=-1)

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        return self._mapped(a) @ ops.transpose(b)

    def _mapped(self, a: Tensor) -> Tensor:
        """Return Wᵀ a."""
        return ops.matmul(a, _leading(self.kernel, a)[:, : a.shape[-1]])


@keras.saving.register_keras_serializable("siamkit")
class WeightedManhattan(Metric):
    """Manhattan distance with learned weights, d(a, b) = Σ w |a - b|; in [0, ∞).

    w = softplus(v) is positive for any weights v, `(dim,)`, and starts at 1, so training starts from
    the Manhattan distance. Embeddings of fewer dimensions use the leading weights.

    Reference:
        Koch, Zemel and Salakhutdinov, "Siamese neural networks for one-shot image recognition", 2015; the
        sigmoid that follows there belongs to their loss, and their weights may be negative.

    Example:
        >>> import keras, numpy as np, siamkit
        >>> values = siamkit.get_metric("weighted_manhattan")(np.zeros((1, 2)), np.array([[3.0, -4.0]]))
        >>> round(float(keras.ops.convert_to_numpy(values)[0]), 5)
        7.0
    """

    def build(self, a_shape: Shape, b_shape: Any = None) -> None:
        one = keras.initializers.Constant(math.log(math.e - 1))  # softplus of it is 1
        self.raw_weights = self.add_weight(name="raw_weights", shape=(a_shape[-1],), initializer=one)

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        return ops.sum(ops.softplus(_leading(self.raw_weights, a)) * absolute(a - b), axis=-1)


def _leading(weights: Any, x: Tensor) -> Tensor:
    """Return the rows of the weights for the dimensions of x."""
    dim, built = x.shape[-1], weights.shape[0]
    if dim > built:
        raise ModelError(f"the metric has weights for embeddings of up to {built} dimensions, got {dim}")
    return weights[:dim]
