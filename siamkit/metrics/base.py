"""What all metrics share: one entry that builds and casts, and computes in full float32."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import keras
from keras import ops

from siamkit.backend.precision import float32_scope

Tensor = Any  # a tensor of the backend that runs


class Metric(keras.layers.Layer):
    """How two embeddings are compared.

    A metric computes in full float32 whatever the dtype policy. It never normalises its inputs behind the
    caller's back. A subclass states its `orientation` and `range` and implements `paired`; where a matrix
    product computes all pairs it implements `pairwise` too.

    Args:
        **kwargs: those of a `keras.layers.Layer`.

    Example:
        >>> import numpy as np, siamkit
        >>> metric = siamkit.get_metric("euclidean")
        >>> a, b = np.zeros((2, 3)), np.ones((4, 3))
        >>> metric(a, b[:2]).shape == (2,) and metric.matrix(a, b).shape == (2, 4)
        True
    """

    orientation: ClassVar[Literal["distance", "similarity"]] = "distance"
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        """Compare along the last axis; the other axes broadcast. `(..., dim)`, `(..., dim)` -> `(...)`."""
        raise NotImplementedError

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        """Compare all with all, `(n, dim)`, `(m, dim)` -> `(n, m)`; by default through `(n, m, dim)`."""
        return self.paired(ops.expand_dims(a, 1), ops.expand_dims(b, 0))

    def call(self, a: Tensor, b: Tensor, pairwise: bool = False) -> Tensor:
        a, b = ops.cast(a, "float32"), ops.cast(b, "float32")
        with float32_scope():
            return self.pairwise(a, b) if pairwise else self.paired(a, b)

    def matrix(self, a: Tensor, b: Tensor) -> Tensor:
        """Compare all with all: `(n, dim)`, `(m, dim)` -> `(n, m)`, in the metric's orientation."""
        return self(a, b, pairwise=True)

    @property
    def sign(self) -> int:
        """+1 for a distance, -1 for a similarity: `sign * value` grows as embeddings differ."""
        return 1 if self.orientation == "distance" else -1

    def as_distance(self, values: Tensor) -> Tensor:
        """Return values for which low means alike: d, or for a similarity s its bound minus s (or -s)."""
        if self.orientation == "distance":
            return values
        high = self.range[1]
        return high - values if math.isfinite(high) else -values
