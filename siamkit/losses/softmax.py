"""Softmax losses over the pairs of a batch: each positive against the anchor's other pairs."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from siamkit.losses._batch import BatchLoss, Pairs, active_mean, labelled, log_sum_exp, positions
from siamkit.losses._inputs import above_0
from siamkit.losses._mining import PairLoss
from siamkit.losses.base import Loss, masked_mean
from siamkit.metrics.base import Tensor
from siamkit.metrics.functions import safe_sqrt


@keras.saving.register_keras_serializable("siamkit")
class NTXent(PairLoss):
    """Normalised-temperature cross entropy: each positive pair against the anchor's negatives.

    L = mean over positive pairs (a, p) of  -log( e^{s(a,p)/t} / (e^{s(a,p)/t} + Σₙ e^{s(a,n)/t}) )

    s is the metric turned so that high means alike; n runs over the anchor's negatives. Over views
    `(batch, v, dim)` the views of a row are each other's positives (SimCLR); over labels all items of a
    class are. 0 where there is no positive pair.

    Args:
        temperature: t, above 0.
        mining: which pairs, see `siamkit.losses._mining`.

    Reference: Sohn 2016; Chen et al. 2020, "SimCLR"; PML NTXentLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("nt_xent", metric="cosine", temperature=1.0)
        >>> one, two = [1.0, 0.0], [0.0, 1.0]
        >>> round(float(loss(None, np.array([[one, one], [two, two]]))), 4)   # log(1 + 2/e)
        0.5514
    """

    def __init__(self, temperature: float = 0.07, mining: str = "all", **kwargs: Any) -> None:
        above_0(temperature=temperature)
        super().__init__(mining, **kwargs)
        self.temperature = temperature

    def of_pairs(self, pairs: Pairs, positive: Tensor, negative: Tensor) -> Tensor:
        logits = -self.distances(pairs) / self.temperature
        others = log_sum_exp(logits, negative > 0, axis=1)[:, None]
        # -log(e^x / (e^x + e^m)) = softplus(m - x)
        return masked_mean(ops.softplus(others - logits), positive)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable("siamkit")
class SupCon(PairLoss):
    """Supervised contrastive loss: the positives of each anchor against all its other pairs.

    L = mean over anchors of  -1/|P(a)| Σₚ log( e^{s(a,p)/t} / Σ_{i ≠ a} e^{s(a,i)/t} )

    s is the metric turned so that high means alike. The mean is over the anchors whose loss is above 0;
    0 where a batch has no positive or no negative pair.

    Args:
        temperature: t, above 0.
        mining: which pairs, see `siamkit.losses._mining`.

    Reference: Khosla et al. 2020, "Supervised Contrastive Learning" (L_out, without the factor t of the
    authors' code); PML SupConLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("sup_con", metric="cosine", temperature=1.0)
        >>> one, two = [1.0, 0.0], [0.0, 1.0]
        >>> round(float(loss(None, np.array([[one, one], [two, two]]))), 4)   # log(1 + 2/e)
        0.5514
    """

    def __init__(self, temperature: float = 0.1, mining: str = "all", **kwargs: Any) -> None:
        above_0(temperature=temperature)
        super().__init__(mining, **kwargs)
        self.temperature = temperature

    def of_pairs(self, pairs: Pairs, positive: Tensor, negative: Tensor) -> Tensor:
        logits = self.similarities(pairs) / self.temperature
        chosen = ops.logical_or(positive > 0, negative > 0)
        surprise = log_sum_exp(logits, chosen, axis=1, empty=0.0)[:, None] - logits
        counts = ops.cast(positive > 0, "float32")
        number = ops.sum(counts, axis=1)
        some = number > 0
        rows = ops.sum(ops.where(positive > 0, surprise, 0.0), axis=1) / ops.where(some, number, 1.0)
        comparable = ops.cast(ops.any(negative > 0), "float32")
        return active_mean(rows, ops.cast(some, "float32") * comparable)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable("siamkit")
class NPairs(BatchLoss):
    """N-pairs loss: one pair of each class of the batch, each anchor against the other classes' positives.

    L = mean over pairs i of  log Σⱼ e^{s(aᵢ, pⱼ)} - s(aᵢ, pᵢ)

    s is the metric turned so that high means alike. The anchor of a class is its first item in the batch,
    the positive its second; classes with one item have no pair. 0 where there is no pair. Without the
    paper's penalty on the lengths of the embeddings.

    Args:
        name: as in `keras.losses.Loss`.

    Reference: Sohn 2016, "Improved Deep Metric Learning with Multi-class N-pair Loss Objective"; PML
    NPairsLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("n_pairs", metric="cosine")
        >>> one, two = [1.0, 0.0], [0.0, 1.0]
        >>> round(float(loss(np.array([0, 0, 1, 1]), np.array([one, one, two, two]))), 4)   # log(1 + 1/e)
        0.3133
    """

    takes_references = False

    def compare(self, pairs: Pairs) -> Tensor:
        rows = positions(pairs.labels)
        earlier = ops.logical_and(pairs.positive, rows[None, :] < rows[:, None])
        first = ops.logical_and(ops.any(pairs.positive, axis=1), ops.logical_not(ops.any(earlier, axis=1)))
        # The first positive of a class's first item is its second item.
        partner = ops.cast(ops.argmax(ops.cast(pairs.positive, "int32"), axis=1), "int32")
        partners = ops.take(pairs.references, partner, axis=0)
        scores = self.all_similarities(pairs.queries, partners)
        others = ops.logical_and(first[None, :], rows[:, None] != rows[None, :])
        against = log_sum_exp(scores, others, axis=1)
        # log(e^x + e^m) - x = softplus(m - x), exactly 0 where there is no other pair
        return masked_mean(ops.softplus(against - ops.diagonal(scores)), ops.cast(first, "float32"))


@keras.saving.register_keras_serializable("siamkit")
class TupletMargin(PairLoss):
    """Tuplet margin loss: each positive pair, its angle relaxed by a margin, against the anchor's negatives.

    L = mean over positive pairs (a, p) of  log(1 + Σₙ e^{σ (cos θ(a,n) - cos(θ(a,p) - β))})

    cos θ is the metric, a similarity in [-1, 1].

    Args:
        margin: β, in degrees.
        scale: σ, above 0.
        mining: which pairs, see `siamkit.losses._mining`.

    Reference: Yu, Tao 2019, "Deep Metric Learning with Tuplet Margin Loss" (without its intra-pair variance
    term, which is the loss `intra_pair_variance`); PML TupletMarginLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("tuplet_margin", metric="cosine")
        >>> one, two = [1.0, 0.0], [0.0, 1.0]
        >>> float(loss(np.array([0, 0, 1, 1]), np.array([one, one, two, two]))) < 1e-6
        True
    """

    def __init__(self, margin: float = 5.73, scale: float = 64.0, mining: str = "all", **kwargs: Any) -> None:
        above_0(scale=scale)
        super().__init__(mining, **kwargs)
        self.margin = margin
        self.scale = scale

    def of_pairs(self, pairs: Pairs, positive: Tensor, negative: Tensor) -> Tensor:
        cosine = self.similarities(pairs)
        # Not through arccos, whose gradient is infinite where a = p.
        sine = safe_sqrt(ops.relu(1.0 - ops.square(cosine)))
        margin = math.radians(self.margin)
        relaxed = cosine * math.cos(margin) + sine * math.sin(margin)
        others = log_sum_exp(self.scale * cosine, negative > 0, axis=1)[:, None]
        return masked_mean(ops.softplus(others - self.scale * relaxed), positive)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "margin": self.margin, "scale": self.scale}


@keras.saving.register_keras_serializable("siamkit")
class Instance(Loss):
    """Instance loss: a softmax over the items of the batch, each item being a class of its own.

    L = mean over items of  log Σⱼ e^{γ s(i,j)} - γ s(i, t(i))

    s is the metric turned so that high means alike; j runs over the whole batch, the item among it. Over
    views `(batch, v, dim)` the target is the item's own row: e^{γ s} is summed over its views. Over
    labels t(i) is as the reference has it: an item of the c-th class, in ascending order of the ids in
    the batch, has the batch's c-th item for its target. That is the item itself where every item is its own
    class in ascending order, as in the paper's batches; with classes of several items it is an arbitrary
    one, and `nt_xent` or `sup_con` is what you want.

    Args:
        gamma: γ, above 0.

    Reference: Zheng et al. 2020, "Dual-Path Convolutional Image-Text Embeddings with Instance Loss"; PML
    InstanceLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("instance", metric="cosine", gamma=1.0)
        >>> round(float(loss(np.array([0, 1]), np.array([[1.0, 0.0], [0.0, 1.0]]))), 4)   # log(1 + 1/e)
        0.3133
    """

    def __init__(self, gamma: float = 64.0, **kwargs: Any) -> None:
        above_0(gamma=gamma)
        super().__init__(**kwargs)
        self.gamma = gamma

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        labels, embeddings = labelled(y_true, y_pred, self.name)
        logits = self.gamma * -self.all_distances(embeddings, embeddings)
        same = labels[:, None] == labels[None, :]
        target = same if len(y_pred.shape) == 3 else self._ranked(labels, same)
        whole = ops.ones_like(logits) > 0
        return ops.mean(log_sum_exp(logits, whole, axis=1) - log_sum_exp(logits, target, axis=1))

    def _ranked(self, labels: Tensor, same: Tensor) -> Tensor:
        """`(n, n)` bool: whether the rank of the row's class is the number of the column."""
        rows = positions(labels)
        repeated = ops.any(ops.logical_and(same, rows[None, :] < rows[:, None]), axis=1)
        lower = ops.logical_and(labels[None, :] < labels[:, None], ops.logical_not(repeated)[None, :])
        return ops.sum(ops.cast(lower, "int32"), axis=1)[:, None] == rows[None, :] - 1

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gamma": self.gamma}


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
