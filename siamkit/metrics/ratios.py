"""The metrics that weigh a difference by the size of what differs."""

from __future__ import annotations

import keras
from keras import ops

from siamkit.metrics.base import Metric, Tensor
from siamkit.metrics.functions import absolute, centred, quotient, squared_distances


@keras.saving.register_keras_serializable("siamkit")
class SNR(Metric):
    """Signal-to-noise distance, d(a, b) = var(a - b) / var(a), over the coordinates; in [0, ∞).

    The noise in b over the signal in a: not symmetric, a is the anchor. An anchor whose variance is at
    most 1e-12, which is rounding, has no signal to compare with; then d is var(a - b) itself.

    Reference:
        Yuan et al., "Signal-to-noise ratio: a robust distance metric for deep metric learning", CVPR 2019.

    Example:
        >>> import numpy as np, siamkit
        >>> float(siamkit.get_metric("snr")(np.array([[1.0, 3.0]]), np.array([[0.0, 4.0]]))[0])
        1.0
    """

    def paired(self, a: Tensor, b: Tensor) -> Tensor:
        a, b = centred(a), centred(b)
        return ops.mean(ops.square(a - b), axis=-1) / _signal(a)

    def pairwise(self, a: Tensor, b: Tensor) -> Tensor:
        a, b = centred(a), centred(b)
        return squared_distances(a, b) / (a.shape[-1] * _signal(a)[:, None])


def _signal(a: Tensor) -> Tensor:
    """The variance of centred vectors, and 1 where there is none."""
    variance = ops.mean(ops.square(a), axis=-1)
    return ops.where(variance <= 1e-12, 1.0, variance)


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

    Where no coordinate is negative it lies in [0, 1]. It is 0 for two zero vectors, and capped at 1e6
    with gradient 0 (near a = -b, where the formula gives ∞).

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
