"""What all metrics share: one entry that builds and casts, row form and matrix form."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import keras
from keras import ops

Tensor = Any  # a tensor of whichever backend runs


class Metric(keras.layers.Layer):
    """How two embeddings are compared.

    A metric computes in float32 whatever the dtype policy. It never normalises its inputs behind the
    caller's back. A subclass states its `orientation` and `range` and implements `rows`; where a matrix
    product does the job it implements `all_pairs` too.

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

    def rows(self, a: Tensor, b: Tensor) -> Tensor:
        """Compares along the last axis; the other axes broadcast. `(..., dim)`, `(..., dim)` -> `(...)`."""
        raise NotImplementedError

    def all_pairs(self, a: Tensor, b: Tensor) -> Tensor:
        """All against all, `(n, dim)`, `(m, dim)` -> `(n, m)`; by default through `(n, m, dim)`."""
        return self.rows(ops.expand_dims(a, 1), ops.expand_dims(b, 0))

    def call(self, a: Tensor, b: Tensor, pairwise: bool = False) -> Tensor:
        a, b = ops.cast(a, "float32"), ops.cast(b, "float32")
        return self.all_pairs(a, b) if pairwise else self.rows(a, b)

    def matrix(self, a: Tensor, b: Tensor) -> Tensor:
        """Compares all with all: `(n, dim)`, `(m, dim)` -> `(n, m)`, in the metric's orientation."""
        return self(a, b, pairwise=True)

    @property
    def sign(self) -> int:
        """+1 for a distance, -1 for a similarity: `sign * value` grows as embeddings differ."""
        return 1 if self.orientation == "distance" else -1

    def as_distance(self, values: Tensor) -> Tensor:
        """Values turned so that low means alike: d, or for a similarity s its bound minus s (or -s)."""
        if self.orientation == "distance":
            return values
        high = self.range[1]
        return high - values if math.isfinite(high) else -values
