"""The metrics that compare directions, and the plain dot product."""

from __future__ import annotations

import math

import keras
from keras import ops

from siamkit.metrics.base import Metric, Tensor, centred, is_zero, safe_sqrt, squared_distances, unit


@keras.saving.register_keras_serializable("siamkit")
class Dot(Metric):
    """Dot product, s(a, b) = a·b; a similarity in (-∞, ∞).

    Example:
        >>> import numpy as np, siamkit
        >>> float(siamkit.get_metric("dot")(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]))[0])
        11.0
    """

    orientation = "similarity"
    range = (-math.inf, math.inf)

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        return ops.sum(a * b, axis=-1)

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ ops.transpose(b)


@keras.saving.register_keras_serializable("siamkit")
class Cosine(Metric):
    """Cosine similarity, s(a, b) = a·b / (|a| |b|); in [-1, 1], and 0 if a vector is zero.

    Read as a distance (for the margins of `contrastive`, for example) it is 1 - s.

    Example:
        >>> import numpy as np, siamkit
        >>> float(siamkit.get_metric("cosine")(np.array([[2.0, 0.0]]), np.array([[0.0, 3.0]]))[0])
        0.0
    """

    orientation = "similarity"
    range = (-1.0, 1.0)

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        return ops.sum(unit(a) * unit(b), axis=-1)

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        return unit(a) @ ops.transpose(unit(b))


@keras.saving.register_keras_serializable("siamkit")
class AngularDistance(Metric):
    """Angular distance, d(a, b) = arccos(cos(a, b)) / π; in [0, 1].

    It is the angle as a fraction of the half circle: 0 for equal directions, ½ for right angles, 1 for
    opposite directions; ½ if a vector is zero, as its cosine is 0. Its gradient is 0 if the angle is 0 or π.

    Reference:
        Cer et al., "Universal Sentence Encoder", 2018, https://arxiv.org/abs/1803.11175. The angle is
        computed as 2 atan2(|u - v|, |u + v|) of unit vectors, which is accurate for small angles (Kahan, "How
        Futile are Mindless Assessments of Roundoff in Floating-Point Computation?", 2006).

    Example:
        >>> import numpy as np, siamkit
        >>> round(float(siamkit.get_metric("angular")(np.array([[1.0, 0.0]]), np.array([[2.0, 2.0]]))[0]), 6)
        0.25
    """

    range = (0.0, 1.0)

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        u, v = unit(a), unit(b)
        apart = ops.sum(ops.square(u - v), axis=-1)
        together = ops.sum(ops.square(u + v), axis=-1)
        return _half_circle(apart, together, ops.logical_and(is_zero(u), is_zero(v)))

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        u, v = unit(a), unit(b)
        neither = ops.logical_and(is_zero(u)[:, None], is_zero(v)[None, :])
        return _half_circle(squared_distances(u, v), squared_distances(u, -v), neither)


ROUNDING = 1e-13
"""|u - v|² below which two unit vectors in float32 count as equal: an angle of 3e-7."""


def _half_circle(apart: Tensor, together: Tensor, neither: Tensor) -> Tensor:
    """Return the angle of unit vectors divided by π, given |u - v|² and |u + v|²; ½ if both are zero."""
    apart, together = ops.where(neither, 1.0, apart), ops.where(neither, 1.0, together)
    # A compiler may round equal points differently: a difference of that size has no direction.
    apart, together = (ops.where(square < ROUNDING, 0.0, square) for square in (apart, together))
    return ops.arctan2(safe_sqrt(apart), safe_sqrt(together)) * (2 / math.pi)


@keras.saving.register_keras_serializable("siamkit")
class Correlation(Metric):
    """Correlation distance, d(a, b) = 1 - r, r Pearson's correlation of the coordinates; in [0, 2].

    r = (a - ā)·(b - b̄) / (|a - ā| |b - b̄|) with ā the mean of a's coordinates; r is 0 if all coordinates of
    a vector are equal. Computed as ½ |u - v|² of the centred unit vectors, which is accurate for small
    distances.

    Example:
        >>> import numpy as np, siamkit
        >>> metric = siamkit.get_metric("correlation")
        >>> round(float(metric(np.array([[1.0, 2.0, 3.0]]), np.array([[6.0, 4.0, 2.0]]))[0]), 6)
        2.0
    """

    range = (0.0, 2.0)

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        u, v = unit(centred(a)), unit(centred(b))
        return (ops.sum(ops.square(u - v), axis=-1) + _missing(u) + _missing(v)) / 2

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        u, v = unit(centred(a)), unit(centred(b))
        return (squared_distances(u, v) + _missing(u)[:, None] + _missing(v)[None, :]) / 2


def _missing(u: Tensor) -> Tensor:
    """Return 1 - |u|² of unit vectors: 1 for a zero vector, 0 for any other."""
    return ops.cast(is_zero(u), "float32")
