"""Losses over triplets of anchor, positive and negative."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamkit.errors import ComponentError
from siamkit.losses._batch import BatchLoss, Pairs, active_mean, among_references, split_views
from siamkit.losses._mining import (
    TripletSumLoss,
    checked_mining,
    hinge_over_triplets,
    mined_pairs,
    mined_products,
    mines_one_triplet,
    over_triplets,
    triplet_weights,
)
from siamkit.metrics.base import Tensor


@keras.saving.register_keras_serializable("siamkit")
class Triplet(TripletSumLoss):
    """Triplet loss: the positive is nearer to the anchor than the negative, by a margin.

    L = [d(a, p) - d(a, n) + margin]₊

    d is the metric read as a distance. Over triplets `(batch, 3, dim)` it is the mean over the batch. Over
    labels it is the mean over the *active* mined triplets (loss above 0), as in PML, and 0 if there are none.
    Memory grows with `batch²`. So does time, except with `swap` or `smooth_loss`: these compute each triplet.

    Args:
        margin: the margin, in the metric's own units.
        swap: whether to use d(p, n) if it is smaller than d(a, n) (Balntas et al. 2016).
        smooth_loss: whether to use log(1 + e^x) in place of the hinge [x]₊.
        mining: the rule that selects triplets of a labels_and_items batch, one of `siamkit.losses.MINING`.
            With `semihard`, only the triplets within the margin have a loss above 0.

    Reference: Schroff, Kalenichenko, Philbin 2015, "FaceNet"; PML TripletMarginLoss, with TripletMarginMiner
    or BatchHardMiner.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("triplet", metric="euclidean", margin=1.0)
        >>> float(loss(None, np.array([[[0.0], [1.0], [1.5]]])))      # 1 - 1.5 + 1
        0.5
    """

    params = ("margin", "swap", "smooth_loss", "mining")
    numbers = ("margin",)

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
        self.mining = checked_mining(mining)

    def size_of(self, y_true: Tensor | None) -> int | None:
        return None if mines_one_triplet(self.mining) else super().size_of(y_true)

    def call(self, y_true: Tensor, y_pred: Tensor, training: bool = True) -> Tensor:
        if len(y_pred.shape) != 3:
            return super().call(y_true, y_pred, training)
        anchor, positive, negative = split_views(y_pred, 3, self.name)
        far = self.paired_distances(anchor, negative)
        if self.swap:
            far = _smaller(far, self.paired_distances(positive, negative))
        return self._violation(self.paired_distances(anchor, positive) - far)

    def compare(self, pairs: Pairs) -> Tensor:
        distances = self.distances(pairs)
        frozen = ops.stop_gradient(distances)
        if mines_one_triplet(self.mining):
            positive, negative = mined_pairs(self.mining, frozen, pairs)
            weights = ops.sum(positive, axis=1)
            near = ops.sum(positive * distances, axis=1)
            far = ops.sum(negative * distances, axis=1)
            if self.swap:
                among = self._among_references(pairs, distances)
                far = _smaller(far, ops.sum(positive @ among * negative, axis=1))
            return active_mean(self._violation(near - far), weights)
        semihard = self.mining == "semihard"
        positive, negative = mined_products(self.mining, frozen, pairs)
        if not (self.swap or self.smooth_loss):
            most = pairs.most_positives
            return hinge_over_triplets(distances, positive, negative, self.margin, semihard, most)

        def term(weight: Tensor, near: Tensor, far: Tensor, between: Tensor | None) -> tuple[Tensor, Tensor]:
            weight = weight * negative[:, None, :]
            if semihard:
                weight = ops.where(far <= near, 0.0, weight)
            violation = self._violation(near - (far if between is None else _smaller(far, between)))
            active = ops.logical_not(violation <= 0)  # true for NaN, which should reach the loss
            weight = ops.stop_gradient(ops.where(active, weight, 0.0))
            return ops.sum(ops.where(weight > 0, violation, 0.0) * weight), ops.sum(weight)

        among = self._among_references(pairs, distances) if self.swap else None
        total, count = over_triplets(term, positive, distances, among, most=pairs.most_positives)
        return total / ops.where(count > 0, count, 1.0)

    def _among_references(self, pairs: Pairs, distances: Tensor) -> Tensor:
        """Return distances `(m, m)` among the references: of positives to negatives."""
        return among_references(pairs, distances, self.pairwise_distances)

    def _violation(self, gap: Tensor) -> Tensor:
        return (ops.softplus if self.smooth_loss else ops.relu)(gap + self.margin)


@keras.saving.register_keras_serializable("siamkit")
class Boundary(keras.layers.Layer):
    """The learned boundary β of a margin loss: one for all classes, or one for each class.

    Args:
        count: number of boundaries; if there are several, the class id is the index.
        initial: the initial boundary.
        learning_rate_multiplier: factor on the learning rate of the boundary.
    """

    def __init__(
        self, count: int, initial: float, learning_rate_multiplier: float = 100.0, **kwargs: Any
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.count = count
        self.initial = initial
        self.learning_rate_multiplier = learning_rate_multiplier

    def build(self, input_shape: Any) -> None:
        initializer = keras.initializers.Constant(self.initial)
        self.beta = self.add_weight(name="beta", shape=(self.count,), initializer=initializer)

    def call(self, embeddings: Tensor) -> Tensor:
        return ops.convert_to_tensor(self.beta)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "count": self.count,
            "initial": self.initial,
            "learning_rate_multiplier": self.learning_rate_multiplier,
        }


@keras.saving.register_keras_serializable("siamkit")
class Margin(BatchLoss):
    """Margin loss: positives are within a boundary β by a margin α, negatives beyond it by α.

    L = Σ over triplets ([α + d(a, p) - β]₊ + [α + β - d(a, n)]₊) / number of active terms, + ν β

    d is the metric read as a distance. A positive counts once for each negative that it is mined with, and a
    negative once for each positive, as in PML. β is fixed, or learned: one for all classes, or one for each
    class.

    Args:
        margin: α.
        nu: ν, the weight of the penalty on a large learned β.
        beta: β, or its initial value.
        learn_beta: whether to learn β together with the encoder, in the loss's state.
        num_classes: number of classes, if `learn_beta` is to learn a β for each class; the anchor's class id
            selects it.
        mining: the rule that selects triplets of a batch, one of `siamkit.losses.MINING`; the paper's is
            `distance_weighted`.

    Reference: Wu et al. 2017, "Sampling Matters in Deep Embedding Learning"; PML MarginLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("margin", metric="euclidean", margin=0.5, beta=1.0)
        >>> round(float(loss(np.array([0, 0, 1]), np.array([[0.0], [1.0], [2.0]]))), 4)
        0.5
    """

    params = ("margin", "nu", "beta", "learn_beta", "num_classes", "mining")
    numbers = ("margin",)

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
            raise ComponentError("num_classes gives each class a learned β, so it needs learn_beta=True")
        super().__init__(**kwargs)
        self.margin = margin
        self.nu = nu
        self.beta = beta
        self.learn_beta = learn_beta
        self.num_classes = num_classes
        self.mining = checked_mining(mining)
        self.state = Boundary(num_classes or 1, beta) if learn_beta else None

    def compare(self, pairs: Pairs) -> Tensor:
        distances = self.distances(pairs)
        positive, negative = triplet_weights(self.mining, ops.stop_gradient(distances), pairs)
        beta = self._boundary(pairs)
        pull = ops.relu(distances - beta + self.margin)
        push = ops.relu(beta - distances + self.margin)
        active = _active(pull, positive) + _active(push, negative)
        total = ops.sum(positive * pull) + ops.sum(negative * push)
        any_active = active > 0
        divisor = ops.where(any_active, active, 1.0)
        if self.state is None:
            return total / divisor
        if self.num_classes is None:
            triplets = ops.sum(positive)
            return total / divisor + self.nu * ops.where(triplets > 0, ops.sum(beta), 0.0)
        return (total + self.nu * ops.sum(positive * beta) * ops.cast(any_active, "float32")) / divisor

    def _boundary(self, pairs: Pairs) -> Tensor:
        """Return β: one value, or `(n, 1)` if each class has its own."""
        if self.state is None:
            return self.beta
        beta = self.state(pairs.queries)
        return beta if self.num_classes is None else ops.take(beta, pairs.labels, axis=0)[:, None]


def _active(values: Tensor, weight: Tensor) -> Tensor:
    """Return the sum of the weights of all entries above 0, without gradient."""
    return ops.sum(ops.stop_gradient(ops.where(values > 0, weight, 0.0)))


def _smaller(x: Tensor, y: Tensor) -> Tensor:
    """Return the smaller of two values, with one gradient at equal values on every backend; NaN stays NaN."""
    return x - ops.relu(x - y)
