"""Losses that compare items with learned proxies other than by a softmax over the classes."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamkit.errors import ComponentError
from siamkit.losses._batch import (
    BatchLoss,
    Pairs,
    by_rows,
    check_count,
    check_not_negative,
    check_positive,
    count_up,
    log_sum_exp,
)
from siamkit.losses._proxies import Proxies, ProxyLoss
from siamkit.losses.base import masked_mean
from siamkit.metrics.base import Tensor, unit

AFFINITY_TEMPERATURE = 0.5  # of the manifold loss, as in the reference


@keras.saving.register_keras_serializable("siamkit")
class ProxyAnchor(ProxyLoss):
    """Proxy-Anchor loss: each class proxy is an anchor against all embeddings of the batch.

    L = mean over proxies with positives of log(1 + Σₓ₊ e^{-α(s(x,p) - δ)})
      + mean over all proxies of            log(1 + Σₓ₋ e^{α(s(x,p) + δ)})

    s is the metric read as a similarity (the similarity itself, or minus the distance). The initial
    proxies are normal with standard deviation √(2 / num_classes).

    Args:
        num_classes: number of classes, each with one proxy; labels run from 0 to num_classes - 1.
        margin: δ.
        alpha: α, above 0.
        learning_rate_multiplier: factor on the learning rate of the proxies.
        chunk_size: how many classes are compared with the batch at once, for the memory of these alone; None
            for all, or few enough if there are more than 8.4 million scores.

    Reference: Kim et al. 2020, "Proxy Anchor Loss for Deep Metric Learning"; PML ProxyAnchorLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("proxy_anchor", metric="cosine", num_classes=3)
        >>> loss(np.array([0, 2]), np.eye(2, 8)).shape == ()
        True
    """

    params = ("num_classes", "margin", "alpha", "learning_rate_multiplier", "chunk_size")
    numbers = ("margin", "alpha")

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.1,
        alpha: float = 32.0,
        learning_rate_multiplier: float = 100.0,
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_positive(alpha=alpha)
        super().__init__(
            num_classes, learning_rate_multiplier, initializer="kaiming", chunk_size=chunk_size, **kwargs
        )
        self.margin = margin
        self.alpha = alpha

    def compare_with_proxies(self, labels: Tensor, embeddings: Tensor, proxies: Tensor) -> Tensor:
        def terms(rows: Tensor, proxies: Tensor, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
            similarities = self.pairwise_similarities(embeddings, proxies)
            positive = labels[:, None] == rows[None, :] - 1
            pull = log_sum_exp(-self.alpha * (similarities - self.margin), positive, axis=0, plus_one=True)
            push = log_sum_exp(
                self.alpha * (similarities + self.margin), ops.logical_not(positive), axis=0, plus_one=True
            )
            return pull, push, ops.cast(ops.any(positive, axis=0), "float32")

        size = self.classes_at_once(embeddings)
        self.build_metric(embeddings.shape[-1])
        pull, push, present = by_rows(terms, [proxies], [embeddings, labels], size, self.metric)
        return masked_mean(pull, present) + ops.mean(push)


@keras.saving.register_keras_serializable("siamkit")
class Manifold(BatchLoss):
    """Manifold loss: pulls embeddings to the proxy of their meta-class, along the manifold of the batch.

    With affinities S = e^{[s]₊ / 0.5} (0 on the diagonal) between embeddings and K proxies, and the random
    walk F = (1 - α)(I - α D^-½ S D^-½)⁻¹:

    L = mean of log(1 + Σ e^x over x = F(e, q) - F(e, p) + m ≥ 0)
      + λ mean of log(1 + Σ e^x over x = cos(Fₑ, F_q) - cos(Fₑ, Fₚ) + m ≥ 0)

    p is the item's own proxy, q the others. The proxy of class c is number c mod K: with K at least the
    number of classes every class has its own. The reference draws new meta-classes for each batch unless
    they are given. s is the metric, a similarity.

    Args:
        K: number of proxies.
        lambdaC: λ, at least 0; infinite for the context term only.
        alpha: α, the weight of neighbors in the random walk, between 0 and 1.
        margin: m.

    Reference: Aziere, Todorovic 2019, "Ensemble Deep Manifold Similarity Learning Using Hard Proxies"; PML
    ManifoldLoss given these meta-classes.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("manifold", metric="cosine", K=2)
        >>> loss(np.array([0, 0, 1, 1]), np.eye(4)).shape == ()
        True
    """

    params = ("K", "lambdaC", "alpha", "margin")
    state: Proxies
    takes_references = False

    def __init__(
        self,
        K: int = 50,
        lambdaC: float = 1.0,
        alpha: float = 0.8,
        margin: float = 5e-4,
        **kwargs: Any,
    ) -> None:
        check_count(K=K)
        check_not_negative(lambdaC=lambdaC)
        if not 0 < alpha < 1:
            raise ComponentError(f"alpha should be between 0 and 1, got {alpha!r}")
        super().__init__(**kwargs)
        self.K = K
        self.lambdaC = lambdaC
        self.alpha = alpha
        self.margin = margin
        self.state = Proxies(K, initializer="normal")

    def compare(self, pairs: Pairs) -> Tensor:
        points = ops.concatenate([pairs.queries, self.state(pairs.queries)], axis=0)
        rows = count_up(points)
        itself = rows[:, None] == rows[None, :]
        affinity = ops.exp(ops.relu(self.pairwise_similarities(points, points)) / AFFINITY_TEMPERATURE)
        affinity = ops.where(itself, 0.0, affinity)
        root = ops.rsqrt(ops.sum(affinity, axis=1))
        step = self.alpha * affinity * root[:, None] * root[None, :]
        # TensorFlow raises on the inverse of NaN, which should reach the loss instead.
        is_nan = ops.isnan(step)
        walk = (1.0 - self.alpha) * ops.inv(ops.cast(itself, "float32") - ops.where(is_nan, 0.0, step))
        walk = ops.where(ops.any(is_nan), float("nan"), walk)
        of_items, of_proxies = walk[: -self.K], walk[-self.K :]
        own = (pairs.labels % self.K)[:, None] == ops.arange(self.K, dtype="int32")[None, :]
        context = self._penalty(unit(of_items) @ ops.transpose(unit(of_proxies)), own)
        if self.lambdaC == float("inf"):
            return context
        return self._penalty(of_items[:, -self.K :], own) + self.lambdaC * context

    def _penalty(self, values: Tensor, own: Tensor) -> Tensor:
        """Return the soft count of proxies that are as near as the item's own proxy, up to the margin."""
        excess = values - ops.sum(ops.where(own, values, 0.0), axis=1, keepdims=True) + self.margin
        out = ops.logical_or(own, excess < 0)
        return ops.mean(ops.log1p(ops.sum(ops.where(out, 0.0, ops.exp(excess)), axis=1)))


@keras.saving.register_keras_serializable("siamkit")
class Center(ProxyLoss):
    """Center loss: half the distance of each item to the center of its class.

    L = ½ d(x, c_y)

    d is the metric read as a distance (1 - s for cosine); with `squared_euclidean` it is the paper's loss,
    but with the mean over the batch in place of the sum (as in the authors' code). The centers are weights
    moved by the optimizer; the paper moves each center by a fraction α of the way to the mean of its items in
    the batch, (c + Σ x) / (1 + n), without the optimizer. The initial centers are uniform within ±√(3 / dim),
    of length about 1, as in the authors' code. The loss is 0 if all items are at one point: add it to a
    loss that spreads the classes, `{"weighted_sum": {"first": "normalized_softmax", "second": "center"}}`.

    Args:
        num_classes: number of classes; labels run from 0 to num_classes - 1.
        learning_rate_multiplier: factor on the learning rate of the centers.

    Reference: Wen et al. 2016, "A Discriminative Feature Learning Approach for Deep Face Recognition".

    Example:
        >>> import keras, numpy as np, siamkit
        >>> loss = siamkit.get_loss("center", metric="cosine", num_classes=2)
        >>> float(keras.ops.convert_to_numpy(loss(np.array([0, 1]), np.zeros((2, 4)))))      # d = 1 - 0
        0.5
    """

    params = ("num_classes", "learning_rate_multiplier")

    def __init__(self, num_classes: int, learning_rate_multiplier: float = 100.0, **kwargs: Any) -> None:
        super().__init__(num_classes, learning_rate_multiplier, initializer="xavier", **kwargs)

    def compare_with_proxies(self, labels: Tensor, embeddings: Tensor, proxies: Tensor) -> Tensor:
        # Row by row: most of the matrix of all items and all centers would be unused.
        centers = ops.take(proxies, ops.clip(labels, 0, self.state.num_classes - 1), axis=0)
        return self.paired_distances(embeddings, centers) / 2.0


@keras.saving.register_keras_serializable("siamkit")
class P2SGrad(ProxyLoss):
    """P2SGrad: squared errors of the cosines, which should be 1 to the own class's proxy and 0 to all others.

    L = mean over j of (cos θⱼ - [j = y])²

    cos θⱼ is the metric, a similarity in [-1, 1]; there is nothing to tune. The paper gives gradients only;
    the gradients of this loss equal them up to a factor. The reference scales its proxies to unit length
    before each step and computes their gradient as if they were not scaled; here, as in the paper, the
    gradient is at right angles to the proxy, and the proxy's length is not normalized. The initial proxies
    have coordinates uniform in [-1, 1], scaled to unit length.

    Args:
        num_classes: number of classes; labels run from 0 to num_classes - 1.
        learning_rate_multiplier: factor on the learning rate of the proxies.

    Reference: Zhang et al. 2019, "P2SGrad: Refined Gradients for Optimizing Deep Face Models"; PML
    P2SGradLoss.

    Example:
        >>> import keras, numpy as np, siamkit
        >>> loss = siamkit.get_loss("p2s_grad", metric="cosine", num_classes=2)
        >>> float(keras.ops.convert_to_numpy(loss(np.array([0, 1]), np.zeros((2, 4)))))  # (1² + 0²) / 2
        0.5
    """

    params = ("num_classes", "learning_rate_multiplier")

    def __init__(self, num_classes: int, learning_rate_multiplier: float = 100.0, **kwargs: Any) -> None:
        super().__init__(num_classes, learning_rate_multiplier, initializer="sphere", **kwargs)

    def compare_with_proxies(self, labels: Tensor, embeddings: Tensor, proxies: Tensor) -> Tensor:
        target = ops.cast(self.class_mask(labels), "float32")
        return ops.mean(ops.square(self.pairwise_similarities(embeddings, proxies) - target), axis=1)
