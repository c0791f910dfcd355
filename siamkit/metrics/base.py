"""The base of all metrics, which builds them, casts inputs and computes in full float32; metrics by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import keras
from keras import ops

from siamkit.backend.beyond_keras import with_gradient_of
from siamkit.backend.select import float32_scope
from siamkit.registry.lookup import get_component

Tensor = Any  # a tensor of the backend that runs


class Metric(keras.layers.Layer):
    """A metric, which compares two embeddings; the base of all metrics.

    A metric computes in full float32 whatever the dtype policy. It never normalises its inputs unless its
    formula says so. A subclass states its `orientation` and `range` and implements `paired`; if a matrix
    product can compute all pairs, it also implements `pairwise`.

    Args:
        **kwargs: arguments of `keras.layers.Layer`.

    Example:
        >>> import numpy as np, siamkit
        >>> metric = siamkit.get_metric("euclidean")
        >>> a, b = np.zeros((2, 3)), np.ones((4, 3))
        >>> metric(a, b[:2]).shape == (2,) and metric.matrix(a, b).shape == (2, 4)
        True
    """

    orientation: ClassVar[Literal["distance", "similarity"]] = "distance"
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)
    ordered_by: ClassVar[Literal["product", "distance"] | None] = None
    """Whether a high product of `points`, or a low Euclidean distance of them, is near; None: neither.

    Nearest neighbors are found much sooner then.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        """Compare along the last axis; the other axes broadcast. `(..., dim)`, `(..., dim)` -> `(...)`."""
        raise NotImplementedError

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        """Compare all with all, `(n, dim)`, `(m, dim)` -> `(n, m)`; by default by broadcasting `paired`."""
        return self.paired(ops.expand_dims(a, 1), ops.expand_dims(b, 0))

    def points(self, x: Tensor) -> Tensor:
        """Return the points whose products or distances order items as the metric does, `(n, dim)`."""
        return x

    def call(self, a: Tensor, b: Tensor, pairwise: bool = False) -> Tensor:
        a, b = both(lambda x: ops.cast(x, "float32"), a, b)
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


def both(function: Callable[[Tensor], Tensor], a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return a function of two tensors, computed once if they are one: a batch compared with itself."""
    first = function(a)
    return first, first if a is b else function(b)


def safe_sqrt(x: Tensor) -> Tensor:
    """Return sqrt(x) with gradient 0, not infinite, where x is 0."""
    zero = x <= 0  # not `x > 0`: NaN should stay NaN
    return ops.where(zero, 0.0, ops.sqrt(ops.where(zero, 1.0, x)))


LARGE, SMALL = 2.0**50, 2.0**-30
"""Largest coordinates at which squares, and sums of squares of close points, stay in float32's range."""


def in_range(*points: Tensor, axis: int | None = None) -> Tensor:
    """Return a factor that brings coordinates to a size that can be squared: 2⁻⁷⁰, 1 or 2⁶⁰.

    float32 ends at 2¹²⁸ and at 2⁻¹²⁶, so squares are infinite above 2⁶⁴ and 0 below 2⁻⁶³. A power of two
    changes no digit, and at usual sizes the factor is 1 (Blue 1978 does the same for norms). Gradients pass
    through its inverse, so it is as near to 1 as it may be.

    Args:
        *points: tensors whose largest coordinate counts.
        axis: the axis of the coordinates, for a factor for each vector, `(..., 1)`; by default one factor.
    """
    first, *others = points
    largest = ops.max(ops.abs(first), axis=axis, keepdims=axis is not None)
    for x in others:
        if x is not first:
            largest = ops.maximum(largest, ops.max(ops.abs(x), axis=axis, keepdims=axis is not None))
    one = ops.ones_like(largest)
    return ops.where(largest > LARGE, 2.0**-70 * one, ops.where(largest < SMALL, 2.0**60 * one, one))


def norm(x: Tensor) -> Tensor:
    """Return the length √Σ x² along the last axis at any scale of float32; its gradient at 0 is 0.

    Args:
        x: vectors `(..., dim)`.

    Returns:
        `(...)`.

    Example:
        >>> import numpy as np
        >>> from siamkit.metrics import norm
        >>> bool(abs(norm(np.array([[3e-30, 4e-30]], "float32"))[0] / 5e-30 - 1) < 1e-6)
        True
    """
    x = ops.convert_to_tensor(x)
    factor = in_range(x, axis=-1)
    return safe_sqrt(ops.sum(ops.square(x * factor), axis=-1)) / factor[..., 0]


def euclidean_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return Euclidean distances, `(n, dim)`, `(m, dim)` -> `(n, m)`, by matrix products, at any scale."""
    a, b = both(ops.convert_to_tensor, a, b)
    factor = in_range(a, b)
    return safe_sqrt(_squared_or_below_0(*both(lambda x: x * factor, a, b))) / factor


def absolute(x: Tensor) -> Tensor:
    """Return |x| with gradient 0 at 0 (JAX's own gives 1 there)."""
    return ops.relu(x) + ops.relu(-x)


def unit(x: Tensor) -> Tensor:
    """Return vectors of length 1 along the last axis; a zero vector stays zero, with gradient 0."""
    # Divided by the largest coordinate before squaring: tiny and huge squares leave float32's range.
    largest = ops.stop_gradient(ops.max(ops.abs(x), axis=-1, keepdims=True))
    x = x / ops.where(largest > 0, largest, math.inf)
    squares = ops.sum(ops.square(x), axis=-1, keepdims=True)  # at least 1, but 0 for a zero vector
    return x * ops.rsqrt(squares + 1e-8)  # 1 and more stay as they are


def is_zero(x: Tensor) -> Tensor:
    """Return whether each vector is zero in every coordinate, `(..., dim)` -> `(...)` bool; False for NaN."""
    return ops.sum(ops.abs(x), axis=-1) <= 0


def centred(x: Tensor) -> Tensor:
    """Return each vector minus the mean of its coordinates; exactly zero if all are equal."""
    # Minus the first coordinate before the mean: the rounded mean of equal numbers may differ from them.
    x = x - ops.stop_gradient(x[..., :1])
    return x - ops.mean(x, axis=-1, keepdims=True)


def quotient(x: Tensor, y: Tensor) -> Tensor:
    """Return x / y for y ≥ 0, and 0 with gradient 0 where y is 0 (or too small for a reciprocal)."""
    zero = y < 1.2e-38  # float32's smallest normal number; NaN is not below it
    y = ops.where(zero, 1.0, y)
    reciprocal = ops.stop_gradient(1.0 / y)
    # A Newton step: the value is x / y, the gradient by y is -x / y², and no y² leaves float32's range.
    return ops.where(zero, 0.0, x * reciprocal * (2.0 - y * reciprocal))


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return squared Euclidean distances, `(n, dim)`, `(m, dim)` -> `(n, m)`, by matrix products.

    |a|² + |b|² - 2ab loses close points far from the origin to cancellation. So the coordinates are
    centred and split, x = h + l, h on a grid so coarse that sums of products of h are exact in float32
    (the splitting of Ozaki et al. 2012); cancellation then affects only the small rest. The gradient is
    that of |a|² + |b|² - 2ab, which is 2(a - b).
    """
    return ops.relu(_squared_or_below_0(a, b))


def _squared_or_below_0(a: Tensor, b: Tensor) -> Tensor:
    """Return squared distances; by rounding, those of close points may be slightly below 0."""
    centre = ops.stop_gradient(ops.mean(b, axis=0, keepdims=True))
    # The gradient needs shorter products than the value.
    return with_gradient_of(_plain_squares, _split_squares)(*both(lambda x: x - centre, a, b))


def _plain_squares(a: Tensor, b: Tensor) -> Tensor:
    square_a, square_b = both(lambda x: _dot(x, x), a, b)
    return square_a + ops.transpose(square_b) + (-2.0 * a) @ ops.transpose(b)


def _split_squares(a: Tensor, b: Tensor) -> Tensor:
    """Return squared distances of centred points, by products of their parts."""
    sizes = both(lambda x: ops.max(ops.abs(x)), a, b)
    largest = sizes[0] if a is b else ops.maximum(*sizes)
    # |h_a|² + |h_b|² - 2 h_a h_b is exact while dim * (2 * 2^bits)² stays below 2^24.
    bits = max(1, int((24 - 2 - math.log2(max(1, a.shape[-1]))) // 2))
    exponent = ops.ceil(ops.log2(ops.where(largest > 0, largest, 1.0)))
    grid = ops.exp2(exponent - bits)
    high_a, high_b = both(lambda x: ops.round(x / grid) * grid, a, b)
    low_a = a - high_a
    low_b = low_a if a is b else b - high_b
    square_a, square_b = both(lambda x: _dot(x, x), high_a, high_b)
    one_a, one_b = both(ops.ones_like, square_a, square_b)
    exact = _product((high_a, square_a, one_a), (-2.0 * high_b, one_b, square_b))
    rest_a = _dot(low_a, high_a + a)
    rest_b = rest_a if a is b else _dot(low_b, high_b + b)
    # h_a l_b + l_a b in one product of twice the length.
    cross = _product((high_a, low_a), (2.0 * low_b, 2.0 * b))
    return exact + (rest_a + ops.transpose(rest_b) - cross)


def _dot(x: Tensor, y: Tensor) -> Tensor:
    return ops.sum(x * y, axis=-1, keepdims=True)


def _product(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> Tensor:
    return ops.concatenate(a, axis=-1) @ ops.transpose(ops.concatenate(b, axis=-1))


def get_metric(metric: Any, /, **params: Any) -> Metric:
    """Return a metric by name, or the given metric itself.

    Args:
        metric: a name, a mapping `{name: parameters}`, or a `siamkit.Metric` (returned as it is).
        **params: the metric's parameters.

    Raises:
        ComponentError: no such metric or parameter, or a value that is not valid.

    Example:
        >>> import siamkit
        >>> siamkit.get_metric("cosine").orientation
        'similarity'
    """
    return get_component("metric", metric, params, Metric)
