"""The metrics without weights: norms of differences, angles, relative differences, hyperbolic distance."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from siamkit.metrics.base import (
    Metric,
    Tensor,
    absolute,
    both,
    centred,
    euclidean_distances,
    in_range,
    is_zero,
    norm,
    quotient,
    safe_sqrt,
    squared_distances,
    unit,
)


@keras.saving.register_keras_serializable("siamkit")
class SquaredEuclidean(Metric):
    """Squared Euclidean distance, d(a, b) = Σ (a - b)²; in [0, ∞).

    Example:
        >>> import numpy as np, siamkit
        >>> float(siamkit.get_metric("squared_euclidean")(np.zeros((1, 2)), np.array([[3.0, 4.0]]))[0])
        25.0
    """

    ordered_by = "distance"

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

    ordered_by = "distance"

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        return norm(a - b)

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        return euclidean_distances(a, b)


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
        p: the exponent, at least 1; 1 is Manhattan, 2 Euclidean, ∞ would be Chebyshev.
        **kwargs: arguments of `keras.layers.Layer`.

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
        # Divided by the largest coordinate: powers of tiny and huge values leave float32's range.
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

    The gradient is nonzero for the largest coordinate only; among equal coordinates, for the first.

    Example:
        >>> import numpy as np, siamkit
        >>> float(siamkit.get_metric("chebyshev")(np.zeros((1, 2)), np.array([[3.0, -4.0]]))[0])
        4.0
    """

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        difference = absolute(a - b)
        # NaN counts as the largest; TensorFlow's argmax would ignore it.
        index = ops.argmax(ops.where(ops.isnan(difference), float("inf"), difference), axis=-1)
        return ops.take_along_axis(difference, index[..., None], axis=-1)[..., 0]


@keras.saving.register_keras_serializable("siamkit")
class SNR(Metric):
    """Signal-to-noise distance, d(a, b) = var(a - b) / var(a), over the coordinates; in [0, ∞).

    The noise in b divided by the signal in a, so d is not symmetric: a is the anchor. If var(a) is at most
    1e-12 of the mean of a², a rounding error, then d(a, b) = var(a - b).

    Reference:
        Yuan et al., "Signal-to-noise ratio: a robust distance metric for deep metric learning", CVPR 2019.

    Example:
        >>> import numpy as np, siamkit
        >>> float(siamkit.get_metric("snr")(np.array([[1.0, 3.0]]), np.array([[0.0, 4.0]]))[0])
        1.0
    """

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        factor = in_range(a, b, axis=-1)
        a, b = a * factor, b * factor
        noise = ops.mean(ops.square(centred(a) - centred(b)), axis=-1)
        return _noise_to_signal(noise, a, factor[..., 0])

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        factor = in_range(a, b)
        a, b = both(lambda x: x * factor, a, b)
        noise = squared_distances(*both(centred, a, b)) / a.shape[-1]
        return _noise_to_signal(noise, a[:, None], factor)


def _noise_to_signal(noise: Tensor, a: Tensor, factor: Tensor) -> Tensor:
    """Return noise / var(a) of points multiplied by a factor; their own noise if var(a) is rounding."""
    signal = ops.mean(ops.square(centred(a)), axis=-1)
    none = signal <= 1e-12 * ops.mean(ops.square(a), axis=-1)
    return ops.where(none, noise / factor / factor, noise / ops.where(none, 1.0, signal))


@keras.saving.register_keras_serializable("siamkit")
class Canberra(Metric):
    """Canberra distance, d(a, b) = Σ |a - b| / (|a| + |b|), a term 0/0 counting 0; in [0, ∞).

    Each term is at most 1, so d is at most the number of dimensions.

    Reference:
        Lance and Williams, "Mixed-data classificatory programs", Australian Computer Journal, 1967.

    Example:
        >>> import numpy as np, siamkit
        >>> metric = siamkit.get_metric("canberra")
        >>> float(metric(np.array([[1.0, 0.0, 2.0]]), np.array([[3.0, 0.0, -2.0]]))[0])
        1.5
    """

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        return ops.sum(quotient(absolute(a - b), absolute(a) + absolute(b)), axis=-1)


@keras.saving.register_keras_serializable("siamkit")
class BrayCurtis(Metric):
    """Bray-Curtis distance, d(a, b) = Σ |a - b| / Σ |a + b|; in [0, 1e6].

    If no coordinate is negative, it is in [0, 1]. It is 0 for two zero vectors, and capped at 1e6 with
    gradient 0 (near a = -b, where the formula gives ∞).

    Reference:
        Bray and Curtis, "An ordination of the upland forest communities of southern Wisconsin", 1957.

    Example:
        >>> import numpy as np, siamkit
        >>> float(siamkit.get_metric("braycurtis")(np.array([[1.0, 2.0]]), np.array([[3.0, 2.0]]))[0])
        0.25
    """

    range = (0.0, 1e6)

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        apart = ops.sum(absolute(a - b), axis=-1)
        together = ops.sum(absolute(a + b), axis=-1)
        cap = self.range[1]
        capped = together * cap < apart  # NaN is not
        return ops.where(capped, cap, quotient(apart, ops.where(capped, 1.0, together)))


@keras.saving.register_keras_serializable("siamkit")
class Poincare(Metric):
    """Distance in the Poincaré ball, d(a, b) = arcosh(1 + 2 |a - b|² / ((1 - |a|²)(1 - |b|²))); in [0, ∞).

    Points of length above 1 - eps are first brought to that length. If the encoder normalises, all embeddings
    lie on that sphere, and d is a monotonic function of their Euclidean distance; build the encoder with
    `normalize=False` to use the whole ball. Its gradient at a = b is 0.

    Args:
        eps: the margin between the points and the ball's surface, where distances become infinite.
        **kwargs: arguments of `keras.layers.Layer`.

    Reference:
        Nickel and Kiela, "Poincaré embeddings for learning hierarchical representations", NeurIPS 2017,
        https://arxiv.org/abs/1705.08039. Computed as 2 arsinh(|a - b| / √((1 - |a|²)(1 - |b|²))), which is
        equal because arcosh(1 + 2z²) = 2 arsinh z, and accurate for small distances.

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
        return _poincare_distance(norm(a - b), room_a * room_b)

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        (a, room_a), (b, room_b) = both(self._inside, a, b)
        return _poincare_distance(euclidean_distances(a, b), room_a[:, None] * room_b[None, :])

    def _inside(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the points at length 1 - eps or below, and their 1 - |x|²."""
        radius = 1 - self.eps
        squares = ops.sum(ops.square(x), axis=-1)
        outside = squares > radius**2
        points = ops.where(outside[..., None], radius * unit(x), x)
        return points, ops.where(outside, 1 - radius**2, 1 - squares)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "eps": self.eps}


def _poincare_distance(distances: Tensor, room: Tensor) -> Tensor:
    return 2 * ops.arcsinh(distances * ops.rsqrt(room))


# ------------------------------------------------------------------ angles and products


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

    ordered_by = "product"

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

    ordered_by = "product"

    def points(self, x: Tensor) -> Tensor:
        return unit(ops.cast(x, "float32"))

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        return ops.sum(unit(a) * unit(b), axis=-1)

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        u, v = both(unit, a, b)
        return u @ ops.transpose(v)


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
        u, v = both(unit, a, b)
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
        u, v = both(lambda x: unit(centred(x)), a, b)
        return (squared_distances(u, v) + _missing(u)[:, None] + _missing(v)[None, :]) / 2


def _missing(u: Tensor) -> Tensor:
    """Return 1 - |u|² of unit vectors: 1 for a zero vector, 0 for any other."""
    return ops.cast(is_zero(u), "float32")
