"""The manifold loss: similarity by random walks over the batch and learned proxies."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamkit.errors import ComponentError
from siamkit.losses.batch import BatchLoss, Pairs, positions
from siamkit.losses.proxies import Proxies
from siamkit.metrics.base import Tensor
from siamkit.metrics.functions import unit

TEMPERATURE = 0.5  # of the affinities, as in the reference


@keras.saving.register_keras_serializable("siamkit")
class Manifold(BatchLoss):
    """Manifold loss: embeddings near the proxy of their meta-class, along the manifold of the batch.

    With affinities S = e^{[s]₊ / 0.5} (0 on the diagonal) between embeddings and K proxies, and the random
    walk F = (1 - α)(I - α D^-½ S D^-½)⁻¹:

    L = mean of log(1 + Σ e^x over x = F(e, q) - F(e, p) + m ≥ 0)
      + λ mean of log(1 + Σ e^x over x = cos(Fₑ, F_q) - cos(Fₑ, Fₚ) + m ≥ 0)

    p is the item's own proxy, q the others. The proxy of class c is number c mod K: with K at least the
    number of classes every class has its own. The reference draws meta-classes anew for each batch unless
    they are given. s is the metric, a similarity.

    Args:
        K: how many proxies.
        lambdaC: λ, at least 0; infinite for the context term alone.
        alpha: α, from 0 to 1: how much is passed on to neighbours.
        margin: m.

    Reference: Aziere, Todorovic 2019, "Ensemble Deep Manifold Similarity Learning Using Hard Proxies"; PML
    ManifoldLoss given these meta-classes.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("manifold", metric="cosine", K=2)
        >>> loss(np.array([0, 0, 1, 1]), np.eye(4)).shape == ()
        True
    """

    takes_references = False

    def __init__(
        self,
        K: int = 50,
        lambdaC: float = 1.0,
        alpha: float = 0.8,
        margin: float = 5e-4,
        **kwargs: Any,
    ) -> None:
        if not K >= 1:
            raise ComponentError(f"K should be at least 1, got {K!r}")
        if not lambdaC >= 0:
            raise ComponentError(f"lambdaC should be at least 0, got {lambdaC!r}")
        if not 0 < alpha < 1:
            raise ComponentError(f"alpha should be between 0 and 1, got {alpha!r}")
        super().__init__(**kwargs)
        self.K = K
        self.lambdaC = lambdaC
        self.alpha = alpha
        self.margin = margin
        self.head = Proxies(K, start="normal")

    def compare(self, pairs: Pairs) -> Tensor:
        assert self.head is not None
        points = ops.concatenate([pairs.queries, self.head(pairs.queries)], axis=0)
        rows = positions(points)
        itself = rows[:, None] == rows[None, :]
        affinity = ops.exp(ops.relu(self.all_similarities(points, points)) / TEMPERATURE)
        affinity = ops.where(itself, 0.0, affinity)
        root = ops.rsqrt(ops.sum(affinity, axis=1))
        step = self.alpha * affinity * root[:, None] * root[None, :]
        # TensorFlow raises on the inverse of NaN; it should reach the loss and be noticed there.
        spoilt = ops.isnan(step)
        walk = (1.0 - self.alpha) * ops.inv(ops.cast(itself, "float32") - ops.where(spoilt, 0.0, step))
        walk = ops.where(ops.any(spoilt), float("nan"), walk)
        of_items, of_proxies = walk[: -self.K], walk[-self.K :]
        own = (pairs.labels % self.K)[:, None] == ops.arange(self.K, dtype="int32")[None, :]
        context = self._penalty(unit(of_items) @ ops.transpose(unit(of_proxies)), own)
        if self.lambdaC == float("inf"):
            return context
        return self._penalty(of_items[:, -self.K :], own) + self.lambdaC * context

    def _penalty(self, values: Tensor, own: Tensor) -> Tensor:
        """The soft count of proxies that are at least as near, up to the margin, as an item's own."""
        excess = values - ops.sum(ops.where(own, values, 0.0), axis=1, keepdims=True) + self.margin
        out = ops.logical_or(own, excess < 0)
        return ops.mean(ops.log1p(ops.sum(ops.where(out, 0.0, ops.exp(excess)), axis=1)))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "K": self.K,
            "lambdaC": self.lambdaC,
            "alpha": self.alpha,
            "margin": self.margin,
        }
