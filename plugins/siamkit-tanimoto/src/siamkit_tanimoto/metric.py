"""The metric itself, imported only once somebody uses it."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

import siamkit


@keras.saving.register_keras_serializable("siamkit_tanimoto")
class Tanimoto(siamkit.Metric):
    """Continuous Tanimoto similarity, s(a, b) = a·b / (|a|² + |b|² - a·b); in [-1/3, 1].

    On vectors of 0 and 1 it is the Jaccard index of the two sets. It is 1 where a = b, and -1/3 where
    a = -b. Two zero vectors have s = 0, with gradient 0, as scikit-learn has it for empty sets.

    Example:
        >>> import numpy as np, siamkit
        >>> a, b = np.array([[1.0, 1.0, 0.0]]), np.array([[0.0, 1.0, 1.0]])
        >>> round(float(siamkit.get_metric("tanimoto")(a, b)[0]), 4)      # one in common of three
        0.3333
    """

    orientation = "similarity"
    range = (-1 / 3, 1.0)

    def paired(self, a: Any, b: Any) -> Any:
        return _ratio(ops.sum(a * b, axis=-1), ops.sum(a * a, axis=-1), ops.sum(b * b, axis=-1))

    def pairwise(self, a: Any, b: Any) -> Any:
        squares_a, squares_b = ops.sum(a * a, axis=-1), ops.sum(b * b, axis=-1)
        return _ratio(a @ ops.transpose(b), squares_a[:, None], squares_b[None, :])


def _ratio(product: Any, squares_a: Any, squares_b: Any) -> Any:
    union = squares_a + squares_b - product  # at least half of |a|² + |b|²
    none = union <= 0  # asked this way round, so that NaN stays NaN and is noticed
    # The inner `where` keeps 0/0 out of the gradient, the outer one out of the value.
    return ops.where(none, 0.0, product / ops.where(none, 1.0, union))
