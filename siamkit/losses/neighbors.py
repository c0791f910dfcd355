"""Losses on the chance that a neighbour drawn by distance is of the same class."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamkit.losses.arguments import above_0
from siamkit.losses.base import masked_mean
from siamkit.losses.batch import BatchLoss, Pairs, log_sum_exp
from siamkit.metrics.base import Tensor


def of_strangers(logits: Tensor, pairs: Pairs) -> Tensor:
    """The mean over items with positives of -log(P / (P + N)), P and N summing e^logit over both kinds."""
    alike = log_sum_exp(logits, pairs.positive, axis=1)
    other = log_sum_exp(logits, pairs.negative, axis=1)
    # softplus(log N - log P): exactly 0 where there is no negative
    return masked_mean(ops.softplus(other - alike), ops.cast(ops.any(pairs.positive, axis=1), "float32"))


@keras.saving.register_keras_serializable("siamkit")
class NCA(BatchLoss):
    """Neighbourhood components analysis: the chance that an item picks a neighbour of its own class.

    L = mean over items of  -log( Σₚ e^{σ s(a,p)} / Σ_{i ≠ a} e^{σ s(a,i)} )

    s is the metric turned so that high means alike; minus the squared Euclidean distance in the paper.
    Items without a positive are left out; 0 where there are none.

    Args:
        softmax_scale: σ, above 0.

    Reference: Goldberger et al. 2004, "Neighbourhood Components Analysis" (the KL form); PML NCALoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("nca", metric="squared_euclidean")
        >>> x = np.array([[0.0], [0.0], [1.0], [1.0]])
        >>> round(float(loss(np.array([0, 0, 1, 1]), x)), 4)      # log(1 + 2/e)
        0.5514
    """

    def __init__(self, softmax_scale: float = 1.0, **kwargs: Any) -> None:
        above_0(softmax_scale=softmax_scale)
        super().__init__(**kwargs)
        self.softmax_scale = softmax_scale

    def compare(self, pairs: Pairs) -> Tensor:
        return of_strangers(self.softmax_scale * self.similarities(pairs), pairs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "softmax_scale": self.softmax_scale}


@keras.saving.register_keras_serializable("siamkit")
class SoftNearestNeighbor(BatchLoss):
    """Soft nearest neighbour loss: a neighbour drawn by distance should be of the same class.

    L = mean over items i with positives of  -log( Σₚ e^{-d(i,p)/T} / Σⱼ≠ᵢ e^{-d(i,j)/T} )

    d is the metric turned so that low means alike (the paper's is `squared_euclidean`), p runs over the
    other items of the class of i, j over all other items. Over views those of a row are a class. 0 where
    there are no positives. The paper divides by the size of the batch; here an item alone in its class
    does not count.

    Args:
        temperature: T, above 0, in the metric's own units. The paper learns it; here it is fixed.

    Reference: Frosst, Papernot, Hinton 2019, "Analyzing and Improving Representations with the Soft Nearest
    Neighbor Loss".

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("soft_nearest_neighbor", metric="euclidean")
        >>> points = np.array([[0.0], [1.0], [0.0], [1.0]])
        >>> round(float(loss(np.array([0, 0, 1, 1]), points)), 4)      # log((e⁰ + 2 / e) / (1 / e))
        1.5514
    """

    def __init__(self, temperature: float = 1.0, **kwargs: Any) -> None:
        above_0(temperature=temperature)
        super().__init__(**kwargs)
        self.temperature = temperature

    def compare(self, pairs: Pairs) -> Tensor:
        return of_strangers(-self.distances(pairs) / self.temperature, pairs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature}
