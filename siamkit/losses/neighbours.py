"""The soft nearest neighbour loss."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamkit.losses.arguments import above_0
from siamkit.losses.base import masked_mean
from siamkit.losses.batch import BatchLoss, Pairs, log_sum_exp
from siamkit.metrics.base import Tensor


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
        logits = -self.distances(pairs) / self.temperature
        alike = log_sum_exp(logits, pairs.positive, axis=1)
        other = log_sum_exp(logits, pairs.negative, axis=1)
        # -log(P / (P + N)) = softplus(log N - log P)
        return masked_mean(ops.softplus(other - alike), ops.cast(ops.any(pairs.positive, axis=1), "float32"))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature}
