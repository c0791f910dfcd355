"""Losses on the statistics of two views over a batch, which need no negatives: Barlow Twins and VICReg."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamkit.losses.arguments import above_0, at_least_0
from siamkit.losses.base import Loss
from siamkit.losses.rows import views_of
from siamkit.metrics.base import Tensor
from siamkit.metrics.functions import centred


@keras.saving.register_keras_serializable("siamkit")
class BarlowTwins(Loss):
    """Barlow Twins: each dimension correlates with itself across the views, and with no other.

    L = Σᵢ (1 - cᵢᵢ)² + λ Σᵢ≠ⱼ cᵢⱼ²

    c is the correlation over the batch of dimension i in the first view with dimension j in the second;
    a dimension that is constant over the batch correlates with nothing. It does not compare by the
    metric, and wants embeddings that are not normalised (the paper's come out of a projector). A batch of
    one item gives 0.

    Args:
        off_diagonal: λ, at least 0.
        eps: added to the variances, above 0.

    Reference: Zbontar et al. 2021, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction".

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("barlow_twins", metric="cosine", off_diagonal=0.5)
        >>> a, b = [1.0, 1.0], [-1.0, -1.0]      # both dimensions say the same: λ (1 + 1)
        >>> round(float(loss(None, np.array([[a, a], [b, b]]))), 3)
        1.0
    """

    uses_metric = False

    def __init__(self, off_diagonal: float = 5e-3, eps: float = 1e-5, **kwargs: Any) -> None:
        at_least_0(off_diagonal=off_diagonal)
        above_0(eps=eps)
        super().__init__(**kwargs)
        self.off_diagonal = off_diagonal
        self.eps = eps

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        a, b = (self._standardised(each) for each in views_of(y_pred, 2, self.name))
        same = ops.eye(y_pred.shape[-1], dtype="float32")
        items = count(y_pred)
        correlations = a @ ops.transpose(b) / items
        weights = same + self.off_diagonal * (1.0 - same)
        return several(items) * ops.sum(weights * ops.square(same - correlations))

    def _standardised(self, view: Tensor) -> Tensor:
        """`(dim, batch)`, each dimension of mean 0 and standard deviation 1."""
        x = centred(ops.transpose(view))
        return x * ops.rsqrt(ops.mean(ops.square(x), axis=1, keepdims=True) + self.eps)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "off_diagonal": self.off_diagonal, "eps": self.eps}


@keras.saving.register_keras_serializable("siamkit")
class VICReg(Loss):
    """VICReg: views alike, every dimension spread over the batch, and no two dimensions alike.

    L = λ mean (a - b)² + Σ over both views z of ( μ mean [1 - √(var(z) + ε)]₊ / 2 + ν Σᵢ≠ⱼ cov(z)ᵢⱼ² / dim )

    Variances and covariances are over the batch, with divisor batch - 1. It does not compare by the
    metric, and wants embeddings that are not normalised: on the unit sphere no dimension can reach a
    standard deviation of 1. Of a batch of one item only the first term is left.

    Args:
        invariance_lambda: λ, at least 0.
        variance_mu: μ, at least 0.
        covariance_v: ν, at least 0.
        eps: ε, above 0.

    Reference: Bardes, Ponce, LeCun 2022, "VICReg"; PML VICRegLoss (the halved variance term is from there
    and from the authors' code).

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("vicreg", metric="cosine", invariance_lambda=1.0)
        >>> float(loss(None, np.array([[[1.0, 0.0], [0.0, 0.0]]])))     # (1² + 0²) / 2
        0.5
    """

    uses_metric = False

    def __init__(
        self,
        invariance_lambda: float = 25.0,
        variance_mu: float = 25.0,
        covariance_v: float = 1.0,
        eps: float = 1e-4,
        **kwargs: Any,
    ) -> None:
        at_least_0(invariance_lambda=invariance_lambda, variance_mu=variance_mu, covariance_v=covariance_v)
        above_0(eps=eps)
        super().__init__(**kwargs)
        self.invariance_lambda = invariance_lambda
        self.variance_mu = variance_mu
        self.covariance_v = covariance_v
        self.eps = eps

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        a, b = views_of(y_pred, 2, self.name)
        spread = several(count(y_pred)) * (self._spread(a) + self._spread(b))
        return self.invariance_lambda * ops.mean(ops.square(a - b)) + spread

    def _spread(self, view: Tensor) -> Tensor:
        """The terms of variance and covariance of a view."""
        x = centred(ops.transpose(view))
        items = count(view)
        covariances = x @ ops.transpose(x) / (items - several(items))  # of one item not 0 / 0
        same = ops.eye(x.shape[0], dtype="float32")
        variances = ops.sum(same * covariances, axis=1)
        narrow = ops.mean(ops.relu(1.0 - ops.sqrt(variances + self.eps))) / 2.0
        alike = ops.sum(ops.square((1.0 - same) * covariances)) / x.shape[0]
        return self.variance_mu * narrow + self.covariance_v * alike

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "invariance_lambda": self.invariance_lambda,
            "variance_mu": self.variance_mu,
            "covariance_v": self.covariance_v,
            "eps": self.eps,
        }


def count(items: Tensor) -> Tensor:
    """How many items there are, as a number of float32; also where TensorFlow does not know it yet."""
    return ops.sum(ops.ones_like(items[(slice(None),) + (0,) * (len(items.shape) - 1)]))


def several(items: Tensor) -> Tensor:
    """1 if there are 2 items or more, otherwise 0: one has no variance."""
    return ops.cast(items > 1, "float32")
