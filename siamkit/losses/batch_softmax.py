"""Softmax losses over the pairs of a batch: each positive against the anchor's other pairs."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from siamkit.backend.beyond_keras import search_rows
from siamkit.losses._batch import (
    BatchLoss,
    Pairs,
    active_mean,
    by_rows,
    check_chunk_size,
    check_positive,
    count_up,
    labels_and_items,
    log_sum_exp,
    rows_of_tile,
)
from siamkit.losses._mining import PairLoss
from siamkit.losses.base import Loss, masked_mean, mean_of_sums
from siamkit.metrics.base import Tensor, safe_sqrt


class RowLoss(PairLoss):
    """A loss made of numbers of each query, so that a few queries can be compared at a time.

    A subclass implements `row_terms` and `total`.

    Args:
        mining: the rule that selects pairs, one of `MINING`.
        chunk_size: how many queries are compared with all references at once. By default all of them, or few
            enough for little memory if a batch has more than 2,900 items (11,600 on an accelerator).
    """

    def __init__(self, mining: str = "all", chunk_size: int | None = None, **kwargs: Any) -> None:
        check_chunk_size(chunk_size)
        super().__init__(mining, **kwargs)
        self.chunk_size = chunk_size

    def compare(self, pairs: Pairs) -> Tensor:
        size = rows_of_tile(self.chunk_size, pairs.queries.shape[0], pairs.references.shape[0])
        if size is None:
            return self.total(*self.row_terms(pairs, *self.mined(pairs)))

        def terms(_: Tensor, *fields: Tensor) -> tuple[Tensor, ...]:
            queries, labels, rows, references, reference_labels, reference_rows, *filled = fields
            some = Pairs(queries, references, labels, reference_labels, rows, reference_rows, *filled)
            return self.row_terms(some, *self.mined(some))

        queries = [pairs.queries, pairs.labels, pairs.rows]
        references = [pairs.references, pairs.reference_labels, pairs.reference_rows]
        references += [] if pairs.filled is None else [pairs.filled]
        self.build_metric(pairs.queries.shape[-1])
        return self.total(*by_rows(terms, queries, references, size, self.metric))

    def row_terms(self, pairs: Pairs, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        """Return numbers of each query, `(n,)` each, from the weights of its pairs, each `(n, m)` float32."""
        raise NotImplementedError

    def total(self, *terms: Tensor) -> Tensor:
        """Return the loss from these numbers of all queries."""
        raise NotImplementedError


@keras.saving.register_keras_serializable("siamkit")
class NTXent(RowLoss):
    """Normalized-temperature cross entropy: each positive pair against the anchor's negatives.

    L = mean over positive pairs (a, p) of  -log( e^{s(a,p)/t} / (e^{s(a,p)/t} + Σₙ e^{s(a,n)/t}) )

    s is the metric read as a similarity; n runs over the anchor's negatives. Over views `(batch, v, dim)` the
    views of a row are each other's positives (SimCLR); over labels, the items of a class are each other's
    positives. The loss is 0 for a batch without a positive pair.

    Args:
        temperature: t, above 0.
        mining: the rule that selects pairs, one of `siamkit.losses.MINING`.
        chunk_size: how many items are compared with the batch at once, for the memory of these alone; None
            for all, or few enough if a batch has more than 2,900 items (11,600 on an accelerator).

    Reference: Sohn 2016; Chen et al. 2020, "SimCLR"; PML NTXentLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("nt_xent", metric="cosine", temperature=1.0)
        >>> one, two = [1.0, 0.0], [0.0, 1.0]
        >>> round(float(loss(None, np.array([[one, one], [two, two]]))), 4)   # log(1 + 2/e)
        0.5514
    """

    params = ("temperature", "mining", "chunk_size")
    numbers = ("temperature",)

    def __init__(
        self,
        temperature: float = 0.07,
        mining: str = "all",
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_positive(temperature=temperature)
        super().__init__(mining, chunk_size, **kwargs)
        self.temperature = temperature

    def row_terms(self, pairs: Pairs, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        logits = -self.distances(pairs) / self.temperature
        others = log_sum_exp(logits, negative > 0, axis=1)[:, None]
        # -log(e^x / (e^x + e^m)) = softplus(m - x)
        losses = ops.where(positive > 0, ops.softplus(others - logits), 0.0) * positive
        return ops.sum(losses, axis=1), ops.sum(positive, axis=1)

    def total(self, losses: Tensor, weights: Tensor) -> Tensor:
        return mean_of_sums(losses, weights)


@keras.saving.register_keras_serializable("siamkit")
class SupCon(RowLoss):
    """Supervised contrastive loss: the positives of each anchor against all its other pairs.

    L = mean over anchors of  -1/|P(a)| Σₚ log( e^{s(a,p)/t} / Σ_{i ≠ a} e^{s(a,i)/t} )

    s is the metric read as a similarity. The mean is over the anchors whose loss is above 0. The loss is 0 if
    a batch has no positive or no negative pair.

    Args:
        temperature: t, above 0.
        mining: the rule that selects pairs, one of `siamkit.losses.MINING`.
        chunk_size: how many items are compared with the batch at once, for the memory of these alone; None
            for all, or few enough if a batch has more than 2,900 items (11,600 on an accelerator).

    Reference: Khosla et al. 2020, "Supervised Contrastive Learning" (L_out, without the factor t of the
    authors' code); PML SupConLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("sup_con", metric="cosine", temperature=1.0)
        >>> one, two = [1.0, 0.0], [0.0, 1.0]
        >>> round(float(loss(None, np.array([[one, one], [two, two]]))), 4)   # log(1 + 2/e)
        0.5514
    """

    params = ("temperature", "mining", "chunk_size")
    numbers = ("temperature",)

    def __init__(
        self,
        temperature: float = 0.1,
        mining: str = "all",
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_positive(temperature=temperature)
        super().__init__(mining, chunk_size, **kwargs)
        self.temperature = temperature

    def row_terms(self, pairs: Pairs, positive: Tensor, negative: Tensor) -> tuple[Tensor, ...]:
        logits = self.similarities(pairs) / self.temperature
        mined = ops.logical_or(positive > 0, negative > 0)
        terms = log_sum_exp(logits, mined, axis=1, empty=0.0)[:, None] - logits
        count = ops.sum(ops.cast(positive > 0, "float32"), axis=1)
        has_positives = count > 0
        rows = ops.sum(ops.where(positive > 0, terms, 0.0), axis=1) / ops.where(has_positives, count, 1.0)
        return rows, ops.cast(has_positives, "float32"), ops.max(negative, axis=1)

    def total(self, losses: Tensor, has_positives: Tensor, negatives: Tensor) -> Tensor:
        return active_mean(losses, has_positives * ops.cast(ops.any(negatives > 0), "float32"))


@keras.saving.register_keras_serializable("siamkit")
class NPairs(BatchLoss):
    """N-pairs loss: one pair of each class of the batch, each anchor against the other classes' positives.

    L = mean over pairs i of  log Σⱼ e^{s(aᵢ, pⱼ)} - s(aᵢ, pᵢ)

    s is the metric read as a similarity. The anchor of a class is its first item in the batch, the positive
    its second; classes with one item have no pair. The loss is 0 for a batch without a pair. The paper's
    penalty on the lengths of the embeddings is left out.

    Args:
        name: the loss's name, as in `keras.losses.Loss`.

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
        order = ops.argsort(pairs.labels)  # items of a class stay in their order
        first = _begins(ops.take(pairs.labels, order))
        # A class's first item has a partner if the next item does not begin a class.
        has_partner = ops.concatenate([ops.logical_not(first[1:]), ops.zeros_like(first[:1])], axis=0)
        is_pair = ops.logical_and(first, has_partner)
        # Half as many pairs as items at most; the places that have one come first.
        count = (ops.shape(order)[0] + 1) // 2
        chosen = ops.argsort(ops.cast(ops.logical_not(is_pair), "int32"))[:count]
        exists = ops.take(is_pair, chosen)
        anchors = ops.take(pairs.queries, ops.take(order, chosen), axis=0)
        after = ops.minimum(chosen + 1, ops.shape(order)[0] - 1)
        partners = ops.take(pairs.queries, ops.take(order, after), axis=0)
        scores = self.pairwise_similarities(anchors, partners)
        rows = count_up(scores)
        others = ops.logical_and(exists[None, :], rows[:, None] != rows[None, :])
        against = log_sum_exp(scores, others, axis=1)
        # log(e^x + e^m) - x = softplus(m - x), exactly 0 without another pair
        return masked_mean(ops.softplus(against - ops.diagonal(scores)), exists)


@keras.saving.register_keras_serializable("siamkit")
class TupletMargin(PairLoss):
    """Tuplet margin loss: each positive pair, its angle relaxed by a margin, against the anchor's negatives.

    L = mean over positive pairs (a, p) of  log(1 + Σₙ e^{σ (cos θ(a,n) - cos(θ(a,p) - β))})

    cos θ is the metric, a similarity in [-1, 1].

    Args:
        margin: β, in degrees.
        scale: σ, above 0.
        mining: the rule that selects pairs, one of `siamkit.losses.MINING`.

    Reference: Yu, Tao 2019, "Deep Metric Learning with Tuplet Margin Loss" (without its intra-pair variance
    term, which is the loss `intra_pair_variance`); PML TupletMarginLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("tuplet_margin", metric="cosine")
        >>> one, two = [1.0, 0.0], [0.0, 1.0]
        >>> float(loss(np.array([0, 0, 1, 1]), np.array([one, one, two, two]))) < 1e-6
        True
    """

    params = ("margin", "scale", "mining")
    numbers = ("scale",)

    def __init__(self, margin: float = 5.73, scale: float = 64.0, mining: str = "all", **kwargs: Any) -> None:
        check_positive(scale=scale)
        super().__init__(mining, **kwargs)
        self.margin = margin
        self.scale = scale

    def compare_mined(self, pairs: Pairs, positive: Tensor, negative: Tensor) -> Tensor:
        cosine = self.similarities(pairs)
        # Not through arccos, whose gradient is infinite where a = p.
        sine = safe_sqrt(ops.relu(1.0 - ops.square(cosine)))
        margin = math.radians(self.margin)
        relaxed = cosine * math.cos(margin) + sine * math.sin(margin)
        others = log_sum_exp(self.scale * cosine, negative > 0, axis=1)[:, None]
        return masked_mean(ops.softplus(others - self.scale * relaxed), positive)


@keras.saving.register_keras_serializable("siamkit")
class Instance(Loss):
    """Instance loss: a softmax over the items of the batch, each item being its own class.

    L = mean over items of  log Σⱼ e^{γ s(i,j)} - γ s(i, t(i))

    s is the metric read as a similarity; j runs over the whole batch, including the item itself. Over views
    `(batch, v, dim)` the target is the item's own row: e^{γ s} is summed over its views. Over labels t(i) is
    as in the reference: an item of the c-th class, in ascending order of the ids in the batch, has the
    batch's c-th item as its target. That is the item itself if every item is its own class in ascending
    order, as in the paper's batches; with classes of several items it is an arbitrary item: use `nt_xent` or
    `sup_con` in that case.

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

    params = ("gamma",)
    numbers = ("gamma",)

    def __init__(self, gamma: float = 64.0, **kwargs: Any) -> None:
        check_positive(gamma=gamma)
        super().__init__(**kwargs)
        self.gamma = gamma

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        labels, embeddings = labels_and_items(y_true, y_pred, self.name)
        logits = self.gamma * self.pairwise_similarities(embeddings, embeddings)
        if len(y_pred.shape) == 3:
            is_own = labels[:, None] == labels[None, :]
            own, others = (log_sum_exp(logits, each, axis=1) for each in (is_own, ops.logical_not(is_own)))
            return ops.mean(ops.softplus(others - own))  # no difference of two large, almost equal numbers
        own = ops.take_along_axis(logits, self._ranks(labels)[:, None] - 1, axis=1)[:, 0]
        return ops.mean(log_sum_exp(logits, None, axis=1) - own)

    def _ranks(self, labels: Tensor) -> Tensor:
        """Return the rank of each item's class among those of the batch, from 1, `(n,)` int32."""
        ascending = ops.sort(labels)
        ranks = ops.cumsum(ops.cast(_begins(ascending), "int32"))
        return ops.take(ranks, search_rows(ascending[None], labels[None])[0])


def _begins(ascending: Tensor) -> Tensor:
    """Return whether each of some numbers in ascending order is the first of its value, `(n,)` bool."""
    return ops.concatenate([ops.ones_like(ascending[:1]) > 0, ascending[1:] > ascending[:-1]], axis=0)


def neighbor_entropy(logits: Tensor, pairs: Pairs) -> Tensor:
    """Return the mean over items with positives of -log(P / (P + N)), sums of e^logit over either kind."""
    positive = log_sum_exp(logits, pairs.positive, axis=1)
    negative = log_sum_exp(logits, pairs.negative, axis=1)
    # softplus(log N - log P): exactly 0 without negatives
    return masked_mean(ops.softplus(negative - positive), ops.any(pairs.positive, axis=1))


@keras.saving.register_keras_serializable("siamkit")
class NCA(BatchLoss):
    """Neighborhood components analysis: the probability that an item picks a neighbor of its own class.

    L = mean over items of  -log( Σₚ e^{σ s(a,p)} / Σ_{i ≠ a} e^{σ s(a,i)} )

    s is the metric read as a similarity; minus the squared Euclidean distance in the paper. Items without a
    positive are left out; the loss is 0 if all items are.

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

    params = ("softmax_scale",)
    numbers = ("softmax_scale",)

    def __init__(self, softmax_scale: float = 1.0, **kwargs: Any) -> None:
        check_positive(softmax_scale=softmax_scale)
        super().__init__(**kwargs)
        self.softmax_scale = softmax_scale

    def compare(self, pairs: Pairs) -> Tensor:
        return neighbor_entropy(self.softmax_scale * self.similarities(pairs), pairs)


@keras.saving.register_keras_serializable("siamkit")
class SoftNearestNeighbor(BatchLoss):
    """Soft nearest neighbor loss: a neighbor drawn by distance should be of the same class.

    L = mean over items i with positives of  -log( Σₚ e^{-d(i,p)/T} / Σⱼ≠ᵢ e^{-d(i,j)/T} )

    d is the metric read as a distance (`squared_euclidean` in the paper), p runs over the other items of the
    class of i, j over all other items. Over views, the views of a row are one class. The loss is 0 for a
    batch without positives. The paper divides by the size of the batch; here an item that is alone in its
    class does not count.

    Args:
        temperature: T, above 0, in the metric's own units. It is learned in the paper and fixed here.

    Reference: Frosst, Papernot, Hinton 2019, "Analyzing and Improving Representations with the Soft Nearest
    Neighbor Loss".

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("soft_nearest_neighbor", metric="euclidean")
        >>> points = np.array([[0.0], [1.0], [0.0], [1.0]])
        >>> round(float(loss(np.array([0, 0, 1, 1]), points)), 4)      # log((e⁰ + 2 / e) / (1 / e))
        1.5514
    """

    params = ("temperature",)
    numbers = ("temperature",)

    def __init__(self, temperature: float = 1.0, **kwargs: Any) -> None:
        check_positive(temperature=temperature)
        super().__init__(**kwargs)
        self.temperature = temperature

    def compare(self, pairs: Pairs) -> Tensor:
        return neighbor_entropy(-self.distances(pairs) / self.temperature, pairs)
