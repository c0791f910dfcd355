"""Learned proxies of the classes, and the bases of the losses that compare embeddings with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from siamkit.backend.beyond_keras import in_tiles
from siamkit.errors import ComponentError, ModelError
from siamkit.losses._batch import (
    check_chunk_size,
    check_count,
    check_not_negative,
    labels_and_items,
    log_sum_exp,
    rows_of_tile,
)
from siamkit.losses.base import Loss
from siamkit.metrics.base import Tensor, unit

_SCALED = keras.initializers.VarianceScaling

# The initial proxies by name. Over (count, dim), Keras's fan_in is the count and its fan_out dim.
INITIALIZERS: dict[str, Callable[[], Any]] = {
    "normal": lambda: keras.initializers.RandomNormal(stddev=1.0),
    "kaiming": lambda: _SCALED(2.0, "fan_in", "untruncated_normal"),  # normal, std √(2 / count)
    "uniform": lambda: _SCALED(1 / 3, "fan_in", "uniform"),  # within ±1 / √count
    "xavier": lambda: _SCALED(1.0, "fan_out", "uniform"),  # within ±√(3 / dim): lengths about 1
    "sphere": lambda: _on_sphere,
}


def _on_sphere(shape: tuple[int, ...], dtype: Any = None) -> Tensor:
    """Return coordinates uniform in [-1, 1], scaled to unit length."""
    return unit(keras.random.uniform(shape, -1.0, 1.0, dtype=dtype))


@keras.saving.register_keras_serializable("siamkit")
class Proxies(keras.layers.Layer):
    """Learned embeddings of each class; called with embeddings, it returns `(num_classes · per_class, dim)`.

    The proxies of a class are consecutive rows. If embeddings are truncated (Matryoshka), the proxies are
    truncated in the same way.

    Args:
        num_classes: number of classes.
        learning_rate_multiplier: factor on the learning rate of the proxies. Each proxy has a gradient in few
            batches, so about 100 is usual.
        per_class: number of proxies per class.
        initializer: initializer of the proxies, a name in `INITIALIZERS`.
    """

    def __init__(
        self,
        num_classes: int,
        learning_rate_multiplier: float = 100.0,
        per_class: int = 1,
        initializer: str = "kaiming",
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.num_classes = num_classes
        self.learning_rate_multiplier = learning_rate_multiplier
        self.per_class = per_class
        self.initializer = initializer

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.proxies = self.add_weight(
            name="proxies",
            shape=(self.num_classes * self.per_class, input_shape[-1]),
            initializer=INITIALIZERS[self.initializer](),
        )

    def call(self, embeddings: Tensor) -> Tensor:
        return ops.convert_to_tensor(self.proxies)[:, : embeddings.shape[-1]]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "learning_rate_multiplier": self.learning_rate_multiplier,
            "per_class": self.per_class,
            "initializer": self.initializer,
        }


class ProxyLoss(Loss):
    """A loss of items against the proxies of classes; a subclass implements `compare_with_proxies`.

    Inside a compiled step a class id without a proxy cannot raise an error: it makes the loss NaN, and its
    item has no gradient.

    Args:
        num_classes: number of classes; class ids run from 0 to num_classes - 1.
        learning_rate_multiplier: factor on the learning rate of the proxies, at least 0.
        per_class: number of proxies per class.
        initializer: initializer of the proxies, a name in `INITIALIZERS`.
        chunk_size: how many classes are compared with the batch at once, if the subclass can; None for all,
            or few enough if there are very many.
    """

    state: Proxies

    def __init__(
        self,
        num_classes: int,
        learning_rate_multiplier: float,
        per_class: int = 1,
        initializer: str = "normal",
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_count(num_classes=num_classes)
        check_chunk_size(chunk_size)
        check_not_negative(learning_rate_multiplier=learning_rate_multiplier)
        super().__init__(**kwargs)
        self.num_classes = int(num_classes)
        self.learning_rate_multiplier = learning_rate_multiplier
        self.chunk_size = chunk_size
        self.state = Proxies(self.num_classes, learning_rate_multiplier, per_class, initializer)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        if len(y_pred.shape) != 2:
            raise ModelError(
                f"{self.name} takes one embedding per item, (batch, dim), got shape {tuple(y_pred.shape)}"
            )
        labels, embeddings = labels_and_items(y_true, y_pred, self.name)
        values = self.compare_with_proxies(labels, embeddings, self.state(embeddings))
        known = ops.logical_and(labels >= 0, labels < self.state.num_classes)
        return ops.where(known if len(values.shape) == 1 else ops.all(known), values, math.nan)

    def compare_with_proxies(self, labels: Tensor, embeddings: Tensor, proxies: Tensor) -> Tensor:
        """Return the loss of these items against these proxies, `(batch,)` or a scalar.

        Args:
            labels: `(batch,)` int32.
            embeddings: `(batch, dim)`.
            proxies: `(num_classes · per_class, dim)`.
        """
        raise NotImplementedError

    def classes_at_once(self, embeddings: Tensor) -> int | None:
        """Return how many classes are compared with the batch at once, or None for all."""
        batch = embeddings.shape[0]
        columns = None if batch is None else batch * self.state.per_class
        return rows_of_tile(self.chunk_size, self.state.num_classes, columns)

    def class_mask(self, labels: Tensor) -> Tensor:
        """Return the class of each item, `(batch, num_classes)` bool; all False for an unknown id."""
        return labels[:, None] == ops.arange(self.state.num_classes, dtype="int32")[None, :]

    def similarities_by_class(self, embeddings: Tensor, proxies: Tensor) -> Tensor:
        """Return similarities with each proxy, `(batch, per_class, classes)`.

        So arranged, a sum or maximum over the proxies of a class takes less than half the time on torch: the
        classes are next to each other in memory, and a CPU computes several at a time.

        Args:
            embeddings: `(batch, dim)`.
            proxies: `(classes · per_class, dim)`, those of a class one after the other.
        """
        per_class, dim = self.state.per_class, proxies.shape[-1]
        by_center = ops.transpose(ops.reshape(proxies, (-1, per_class, dim)), (1, 0, 2))
        values = self.pairwise_similarities(embeddings, ops.reshape(by_center, (-1, dim)))
        return ops.reshape(values, (-1, per_class, values.shape[1] // per_class))


def at_own(values: Tensor, own: Tensor) -> Tensor:
    """Return the values at each item's own class, `(batch, 1)`; 0 for an unknown id.

    Args:
        values: `(batch, num_classes)`.
        own: bool, of the same shape, the class of each item.
    """
    return ops.sum(ops.where(own, values, 0.0), axis=1, keepdims=True)


class ClassSoftmax(ProxyLoss):
    """Cross entropy of each item's class among all; a subclass implements `logits`.

    L = -Σⱼ qⱼ log( e^lⱼ / Σₖ e^lₖ ),  qⱼ = (1 - ε)[j = y] + ε / C

    Args:
        num_classes: C, the number of classes; class ids run from 0 to C - 1.
        learning_rate_multiplier, per_class, initializer: as in `ProxyLoss`.
        label_smoothing: ε, from 0 to below 1 (Szegedy et al. 2016).
        chunk_size: how many classes are compared with the batch at once; None for all, or few enough if there
            are very many.
    """

    def __init__(
        self,
        num_classes: int,
        learning_rate_multiplier: float,
        per_class: int = 1,
        initializer: str = "normal",
        label_smoothing: float = 0.0,
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        if not 0 <= label_smoothing < 1:
            raise ComponentError(f"label_smoothing should be from 0 to below 1, got {label_smoothing!r}")
        super().__init__(num_classes, learning_rate_multiplier, per_class, initializer, chunk_size, **kwargs)
        self.label_smoothing = label_smoothing

    def compare_with_proxies(self, labels: Tensor, embeddings: Tensor, proxies: Tensor) -> Tensor:
        size = self.classes_at_once(embeddings)
        if size is not None:
            return self._in_tiles(labels, embeddings, proxies, size)
        own = self.class_mask(labels)
        logits = self.logits(embeddings, proxies, own)
        # log Σ e^(l - l_own), not log Σ e^l less l_own: the difference of two large numbers loses digits.
        index = ops.clip(labels, 0, self.state.num_classes - 1)  # of an unknown class, the loss is NaN
        # Plus minus one column, whose gradient is a sum: minus a column needs that of minus the matrix.
        above = logits + -ops.take_along_axis(logits, index[:, None], axis=1)
        value = log_sum_exp(above, None, axis=1)
        if not self.label_smoothing:
            return value
        # Σⱼ qⱼ (log Σ e^l - lⱼ) is the value without smoothing, less ε times the mean of l - l_own.
        return value - self.label_smoothing * ops.mean(above, axis=1)

    def _in_tiles(self, labels: Tensor, embeddings: Tensor, proxies: Tensor, size: int) -> Tensor:
        """Return the same values from the sums over some classes at a time."""

        def of_tile(classes: Tensor, proxies: Tensor, labels: Tensor, embeddings: Tensor) -> Tensor:
            exists = classes[None, :] < self.state.num_classes
            own = ops.logical_and(labels[:, None] == classes[None, :], exists)
            others = ops.logical_and(ops.logical_not(own), exists)
            logits = self.logits(embeddings, ops.reshape(proxies, (-1, embeddings.shape[-1])), own)
            return ops.stack(
                [
                    log_sum_exp(logits, others, axis=1),
                    ops.sum(ops.where(own, logits, 0.0), axis=1),
                    ops.sum(ops.where(others, logits, 0.0), axis=1),
                ]
            )

        by_class = ops.reshape(proxies, (-1, self.state.per_class, proxies.shape[-1]))
        self.build_metric(embeddings.shape[-1])
        found = in_tiles(of_tile, [by_class], [labels, embeddings], size, self.metric.variables)
        others, own = ops.logsumexp(found[:, 0], axis=0), ops.sum(found[:, 1], axis=0)
        # log Σ e^l - l_own, whose own term is 0: exact however small it is
        value = ops.softplus(others - own)
        if not self.label_smoothing:
            return value
        mean = (ops.sum(found[:, 2], axis=0) + own) / self.state.num_classes
        return value - self.label_smoothing * (mean - own)

    def logits(self, embeddings: Tensor, proxies: Tensor, own: Tensor) -> Tensor:
        """Return the logits, `(batch, classes)`, of all classes or of some.

        Args:
            embeddings: `(batch, dim)`.
            proxies: `(classes · per_class, dim)`.
            own: `(batch, classes)` bool, the class of each item.
        """
        raise NotImplementedError
