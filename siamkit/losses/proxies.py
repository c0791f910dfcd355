"""Learned proxies of the classes, and the losses that compare embeddings with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from siamkit.errors import ComponentError, ModelError
from siamkit.losses._batch import BatchLoss, Pairs, labelled, log_sum_exp, positions
from siamkit.losses._inputs import above_0, at_least_0, whole
from siamkit.losses.base import Loss, masked_mean
from siamkit.metrics.base import Tensor
from siamkit.metrics.functions import unit

_SCALED = keras.initializers.VarianceScaling

# What proxies begin with, by name; over (count, dim), Keras's fan_in is the count and its fan_out dim.
STARTS: dict[str, Callable[[], Any]] = {
    "normal": lambda: keras.initializers.RandomNormal(stddev=1.0),
    "kaiming": lambda: _SCALED(2.0, "fan_in", "untruncated_normal"),  # normal, std √(2 / count)
    "uniform": lambda: _SCALED(1 / 3, "fan_in", "uniform"),  # within ±1 / √count
    "xavier": lambda: _SCALED(1.0, "fan_out", "uniform"),  # within ±√(3 / dim): lengths about 1
    "sphere": lambda: _on_sphere,
}


def _on_sphere(shape: tuple[int, ...], dtype: Any = None) -> Tensor:
    """Coordinates uniform in [-1, 1], scaled to unit length."""
    return unit(keras.random.uniform(shape, -1.0, 1.0, dtype=dtype))


@keras.saving.register_keras_serializable("siamkit")
class Proxies(keras.layers.Layer):
    """Learned embeddings for each class; called with embeddings, it gives `(num_classes · per_class, dim)`.

    Those of a class lie next to each other. Embeddings cut short get the leading part of the proxies.

    Args:
        num_classes: how many classes.
        learning_rate_multiplier: how many times the model's step its own is. Proxies see few gradients
            and want about 100.
        per_class: how many for each class.
        start: what they begin with, a name in `STARTS`.
    """

    def __init__(
        self,
        num_classes: int,
        learning_rate_multiplier: float = 100.0,
        per_class: int = 1,
        start: str = "kaiming",
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.num_classes = num_classes
        self.learning_rate_multiplier = learning_rate_multiplier
        self.per_class = per_class
        self.start = start

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.proxies = self.add_weight(
            name="proxies",
            shape=(self.num_classes * self.per_class, input_shape[-1]),
            initializer=STARTS[self.start](),
        )

    def call(self, embeddings: Tensor) -> Tensor:
        return ops.convert_to_tensor(self.proxies)[:, : embeddings.shape[-1]]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "learning_rate_multiplier": self.learning_rate_multiplier,
            "per_class": self.per_class,
            "start": self.start,
        }


class ProxyLoss(Loss):
    """A loss of items against the proxies of classes; a subclass implements `against`.

    An item whose class id has no proxy makes the loss NaN, where the id cannot be refused (inside a
    compiled step); the item itself has no gradient.

    Args:
        num_classes: how many classes; class ids run from 0 to num_classes - 1.
        learning_rate_multiplier: of the proxies, at least 0.
        per_class: how many proxies a class has.
        start: what they begin with, see `Proxies`.
    """

    head: Proxies

    def __init__(
        self,
        num_classes: int,
        learning_rate_multiplier: float,
        per_class: int = 1,
        start: str = "normal",
        **kwargs: Any,
    ) -> None:
        whole(num_classes=num_classes)
        at_least_0(learning_rate_multiplier=learning_rate_multiplier)
        super().__init__(**kwargs)
        self.num_classes = int(num_classes)
        self.head = Proxies(self.num_classes, learning_rate_multiplier, per_class, start)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        if len(y_pred.shape) != 2:
            raise ModelError(
                f"{self.name} takes one embedding an item, (batch, dim), got shape {tuple(y_pred.shape)}"
            )
        labels, embeddings = labelled(y_true, y_pred, self.name)
        values = self.against(labels, embeddings, self.head(embeddings))
        known = ops.logical_and(labels >= 0, labels < self.head.num_classes)
        return ops.where(known if len(values.shape) == 1 else ops.all(known), values, math.nan)

    def against(self, labels: Tensor, embeddings: Tensor, proxies: Tensor) -> Tensor:
        """The loss of these items against these proxies, `(batch,)` or a scalar."""
        raise NotImplementedError

    def own(self, labels: Tensor) -> Tensor:
        """Which class is each item's, `(batch, num_classes)` bool; none where the id has no proxy."""
        return labels[:, None] == ops.arange(self.head.num_classes, dtype="int32")[None, :]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.head.num_classes,
            "learning_rate_multiplier": self.head.learning_rate_multiplier,
        }


@keras.saving.register_keras_serializable("siamkit")
class ProxyAnchor(ProxyLoss):
    """Proxy-Anchor loss: each class proxy is an anchor against all embeddings of the batch.

    L = mean over proxies with positives of log(1 + Σₓ₊ e^{-α(s(x,p) - δ)})
      + mean over all proxies of            log(1 + Σₓ₋ e^{α(s(x,p) + δ)})

    s is the metric turned so that high means alike (the similarity itself, or minus the distance). The
    proxies begin normal with standard deviation √(2 / num_classes).

    Args:
        num_classes: how many proxies; labels run from 0 to num_classes - 1.
        margin: δ.
        alpha: α, above 0.
        learning_rate_multiplier: of the proxies.

    Reference: Kim et al. 2020, "Proxy Anchor Loss for Deep Metric Learning"; PML ProxyAnchorLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("proxy_anchor", metric="cosine", num_classes=3)
        >>> loss(np.array([0, 2]), np.eye(2, 8)).shape == ()
        True
    """

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.1,
        alpha: float = 32.0,
        learning_rate_multiplier: float = 100.0,
        **kwargs: Any,
    ) -> None:
        above_0(alpha=alpha)
        super().__init__(num_classes, learning_rate_multiplier, start="kaiming", **kwargs)
        self.margin = margin
        self.alpha = alpha

    def against(self, labels: Tensor, embeddings: Tensor, proxies: Tensor) -> Tensor:
        similarities = self.all_similarities(embeddings, proxies)
        positive = self.own(labels)
        pull = log_sum_exp(-self.alpha * (similarities - self.margin), positive, axis=0, plus_one=True)
        push = log_sum_exp(
            self.alpha * (similarities + self.margin), ops.logical_not(positive), axis=0, plus_one=True
        )
        present = ops.cast(ops.any(positive, axis=0), "float32")
        return masked_mean(pull, present) + ops.mean(push)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "margin": self.margin, "alpha": self.alpha}


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
