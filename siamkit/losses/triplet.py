"""The losses over triplets: triplet and margin."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamkit.errors import ComponentError
from siamkit.losses._batch import BatchLoss, Pairs, active_mean
from siamkit.losses._inputs import views_of
from siamkit.losses._mining import checked, mined_pairs, mined_triplets, one_each, triplet_weights
from siamkit.metrics.base import Tensor


@keras.saving.register_keras_serializable("siamkit")
class Triplet(BatchLoss):
    """Triplet loss: the positive nearer to the anchor than the negative, by a margin.

    L = [d(a, p) - d(a, n) + margin]₊

    d is the metric turned so that low means alike. Over triplets `(batch, 3, dim)` it is the mean over
    the batch. Over labels it is the mean over the *active* mined triplets (loss above 0), as PML has it,
    and 0 where there are none. Mining looks at all triplets of the batch and takes memory for `batch³`
    numbers; `hard` and `easy_positive` for `batch²`.

    Args:
        margin: in the metric's own units.
        swap: compare with d(p, n) where that is smaller than d(a, n) (Balntas et al. 2016).
        smooth_loss: log(1 + e^x) in place of the hinge [x]₊.
        mining: which triplets of a labelled batch, see `siamkit.losses._mining`. With `semihard` the
            hinge leaves those within the margin.

    Reference: Schroff, Kalenichenko, Philbin 2015, "FaceNet"; PML TripletMarginLoss, with TripletMarginMiner
    or BatchHardMiner.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("triplet", metric="euclidean", margin=1.0)
        >>> float(loss(None, np.array([[[0.0], [1.0], [1.5]]])))      # 1 - 1.5 + 1
        0.5
    """

    def __init__(
        self,
        margin: float = 0.05,
        swap: bool = False,
        smooth_loss: bool = False,
        mining: str = "all",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.margin = margin
        self.swap = swap
        self.smooth_loss = smooth_loss
        self.mining = checked(mining)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        if len(y_pred.shape) != 3:
            return super().call(y_true, y_pred)
        anchor, positive, negative = views_of(y_pred, 3, self.name)
        far = self.row_distances(anchor, negative)
        if self.swap:
            far = _smaller(far, self.row_distances(positive, negative))
        return self._violation(self.row_distances(anchor, positive) - far)

    def compare(self, pairs: Pairs) -> Tensor:
        distances = self.distances(pairs)
        frozen = ops.stop_gradient(distances)
        if one_each(self.mining):
            positive, negative = mined_pairs(self.mining, frozen, pairs)
            weights = ops.sum(positive, axis=1)
            near = ops.sum(positive * distances, axis=1)
            far = ops.sum(negative * distances, axis=1)
            if self.swap:
                far = _smaller(far, ops.sum(positive @ self._others(pairs) * negative, axis=1))
        else:
            weights = mined_triplets(self.mining, frozen, pairs)
            # `(anchor, positive, negative)`
            near, far = distances[:, :, None], distances[:, None, :]
            if self.swap:
                far = _smaller(far, self._others(pairs)[None])
        return active_mean(self._violation(near - far), weights)

    def _others(self, pairs: Pairs) -> Tensor:
        """Distances `(m, m)` among the references: of positives to negatives."""
        return self.all_distances(pairs.references, pairs.references)

    def _violation(self, gap: Tensor) -> Tensor:
        return (ops.softplus if self.smooth_loss else ops.relu)(gap + self.margin)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "margin": self.margin,
            "swap": self.swap,
            "smooth_loss": self.smooth_loss,
            "mining": self.mining,
        }


@keras.saving.register_keras_serializable("siamkit")
class Boundary(keras.layers.Layer):
    """The learned boundary β of a margin loss: one for all classes, or one for each.

    Args:
        count: how many; more than one are looked up by class id.
        start: what each begins with.
        learning_rate_multiplier: how many times the model's step its own is.
    """

    def __init__(
        self, count: int, start: float, learning_rate_multiplier: float = 100.0, **kwargs: Any
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.count = count
        self.start = start
        self.learning_rate_multiplier = learning_rate_multiplier

    def build(self, input_shape: Any) -> None:
        start = keras.initializers.Constant(self.start)
        self.beta = self.add_weight(name="beta", shape=(self.count,), initializer=start)

    def call(self, embeddings: Tensor) -> Tensor:
        return ops.convert_to_tensor(self.beta)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "count": self.count,
            "start": self.start,
            "learning_rate_multiplier": self.learning_rate_multiplier,
        }


@keras.saving.register_keras_serializable("siamkit")
class Margin(BatchLoss):
    """Margin loss: positives within a boundary β, negatives beyond it, both by a margin α.

    L = Σ over triplets ([α + d(a, p) - β]₊ + [α + β - d(a, n)]₊) / number of active terms, + ν β

    d is the metric turned so that low means alike. A positive counts once for each negative that it is
    mined with, and the other way round, as PML has it. β is fixed, or learned: one for all, or one for
    each class.

    Args:
        margin: α.
        nu: ν, the price of a large learned β.
        beta: β, or what it starts from.
        learn_beta: learn β together with the encoder, in the loss's head.
        num_classes: with `learn_beta`, learn a β for each class, looked up by the anchor's class id.
        mining: which triplets of a batch, see `siamkit.losses._mining`; the paper's is
            `distance_weighted`.

    Reference: Wu et al. 2017, "Sampling Matters in Deep Embedding Learning"; PML MarginLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("margin", metric="euclidean", margin=0.5, beta=1.0)
        >>> round(float(loss(np.array([0, 0, 1]), np.array([[0.0], [1.0], [2.0]]))), 4)
        0.5
    """

    def __init__(
        self,
        margin: float = 0.2,
        nu: float = 0.0,
        beta: float = 1.2,
        learn_beta: bool = False,
        num_classes: int | None = None,
        mining: str = "all",
        **kwargs: Any,
    ) -> None:
        if num_classes is not None and not learn_beta:
            raise ComponentError("num_classes gives each class a β of its own, which wants learn_beta=True")
        super().__init__(**kwargs)
        self.margin = margin
        self.nu = nu
        self.beta = beta
        self.num_classes = num_classes
        self.mining = checked(mining)
        self.head = Boundary(num_classes or 1, beta) if learn_beta else None

    def compare(self, pairs: Pairs) -> Tensor:
        distances = self.distances(pairs)
        positive, negative = triplet_weights(self.mining, ops.stop_gradient(distances), pairs)
        beta = self.beta if self.head is None else self._learned(pairs)
        pull = ops.relu(distances - beta + self.margin)
        push = ops.relu(beta - distances + self.margin)
        active = _active(pull, positive) + _active(push, negative)
        total = ops.sum(positive * pull) + ops.sum(negative * push)
        some = active > 0
        divisor = ops.where(some, active, 1.0)
        if self.head is None:
            return total / divisor
        if self.num_classes is None:
            triplets = ops.sum(positive)
            return total / divisor + self.nu * ops.where(triplets > 0, ops.sum(beta), 0.0)
        return (total + self.nu * ops.sum(positive * beta) * ops.cast(some, "float32")) / divisor

    def _learned(self, pairs: Pairs) -> Tensor:
        assert self.head is not None
        beta = self.head(pairs.queries)
        return beta if self.num_classes is None else ops.take(beta, pairs.labels, axis=0)[:, None]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "margin": self.margin,
            "nu": self.nu,
            "beta": self.beta,
            "learn_beta": self.head is not None,
            "num_classes": self.num_classes,
            "mining": self.mining,
        }


def _active(values: Tensor, weight: Tensor) -> Tensor:
    """The weight of all entries above 0, without gradient."""
    return ops.sum(ops.stop_gradient(ops.where(values > 0, weight, 0.0)))


def _smaller(x: Tensor, y: Tensor) -> Tensor:
    """The smaller of two; written so that NaN stays NaN and equal ones have the same gradient everywhere."""
    return x - ops.relu(x - y)
