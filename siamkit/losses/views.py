"""Losses over two or more views of each item: in-batch negatives, and redundancy reduction."""

from __future__ import annotations

import itertools
import math
from typing import Any

import keras
from keras import ops

from siamkit.errors import ModelError
from siamkit.losses._batch import (
    by_rows,
    check_chunk_size,
    check_not_negative,
    check_positive,
    count_up,
    log_sum_exp,
    rows_of_tile,
    split_views,
)
from siamkit.losses.base import Loss, masked_mean
from siamkit.metrics.base import Tensor, centred


@keras.saving.register_keras_serializable("siamkit")
class MultipleNegativesRanking(Loss):
    """Multiple negatives ranking: each anchor finds its positive among those of the whole batch.

    L = mean over anchors i of  -log( e^{scale · s(aᵢ, pᵢ)} / Σ꜀ e^{scale · s(aᵢ, c)} )

    s is the metric read as a similarity. The candidates c are the positives of all rows and, over triplets,
    also the negatives of all rows. Over pairs with 1/0 a row of 0 has no term; its second item is a negative
    of the others. If all targets of a batch are 0, as for views, they have no meaning: then every row
    is a positive pair, so batches of pairs should be large enough to have some. Items that occur twice in a
    batch count as each other's negatives.

    Args:
        scale: the inverse temperature, above 0; 20 is usual for cosine.
        symmetric: whether each positive must also find its anchor among all anchors; the loss is then the
            mean of both directions.
        chunk_size: how many anchors are compared with all candidates at once, for the memory of these alone;
            None for all, or few enough if a batch has more than 2,900 rows (11,600 on an accelerator).

    Reference: Henderson et al. 2017, "Efficient Natural Language Response Suggestion for Smart Reply";
    sentence-transformers' MultipleNegativesRankingLoss and MultipleNegativesSymmetricRankingLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("multiple_negatives_ranking", metric="cosine", scale=1.0)
        >>> one, two = [1.0, 0.0], [0.0, 1.0]
        >>> round(float(loss(None, np.array([[one, one], [two, two]]))), 4)     # log(1 + 1/e)
        0.3133
    """

    params = ("scale", "symmetric", "chunk_size")
    numbers = ("scale",)
    pair_target = "binary"
    batch_coupled = True

    def __init__(
        self, scale: float = 20.0, symmetric: bool = False, chunk_size: int | None = None, **kwargs: Any
    ) -> None:
        check_positive(scale=scale)
        check_chunk_size(chunk_size)
        super().__init__(**kwargs)
        self.scale = scale
        self.symmetric = symmetric
        self.chunk_size = chunk_size

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        anchors, positives, candidates = candidates_of(y_pred, self.name)
        self.build_metric(y_pred.shape[-1])
        size = rows_of_tile(self.chunk_size, anchors.shape[0], candidates.shape[0])

        def finding_positives(rows: Tensor, anchors: Tensor, candidates: Tensor) -> tuple[Tensor, ...]:
            logits = self.scale * self.pairwise_similarities(anchors, candidates)
            terms = partner_entropy(logits, rows)
            if self.symmetric and size is None:
                terms = (terms + partner_entropy(ops.transpose(logits[:, : logits.shape[0]]), rows)) / 2.0
            return (terms,)

        def finding_anchors(rows: Tensor, positives: Tensor, anchors: Tensor) -> tuple[Tensor, ...]:
            logits = self.scale * self.pairwise_similarities(anchors, positives)
            return (partner_entropy(ops.transpose(logits), rows),)

        (terms,) = by_rows(finding_positives, [anchors], [candidates], size, self.metric)
        if self.symmetric and size is not None:
            (others,) = by_rows(finding_anchors, [positives], [anchors], size, self.metric)
            terms = (terms + others) / 2.0
        if y_true is None or y_pred.shape[1] == 3:
            return ops.mean(terms)
        return masked_mean(terms, positive_rows(y_true))


def candidates_of(views: Tensor, loss: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return anchors and positives of pairs or triplets, and as candidates all positives and negatives."""
    triplets = len(views.shape) == 3 and views.shape[1] == 3
    anchors, positives, *negatives = split_views(views, 3 if triplets else 2, loss)
    candidates = ops.concatenate([positives, *negatives], axis=0) if negatives else positives
    return anchors, positives, candidates


def positive_rows(target: Tensor) -> Tensor:
    """Return 1 for the pairs that are positive, else 0; a target of zeros alone has no meaning: all are."""
    positive = ops.cast(target, "float32")
    return ops.where(ops.any(positive > 0), positive, 1.0)


@keras.saving.register_keras_serializable("siamkit")
class ScaleAndBias(keras.layers.Layer):
    """A learned factor above 0, stored as its logarithm, and a learned summand; called, it returns both.

    Args:
        scale: the factor at the start, above 0.
        bias: the summand at the start.
        learning_rate_multiplier: factor on the learning rate of both.
    """

    def __init__(
        self, scale: float, bias: float, learning_rate_multiplier: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.scale = scale
        self.bias = bias
        self.learning_rate_multiplier = learning_rate_multiplier

    def build(self, input_shape: tuple[int, ...]) -> None:
        def number(name: str, start: float) -> Any:
            return self.add_weight(name=name, shape=(), initializer=keras.initializers.Constant(start))

        self.log_scale = number("log_scale", math.log(self.scale))
        self.offset = number("offset", self.bias)

    def call(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        return ops.exp(self.log_scale), ops.convert_to_tensor(self.offset)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "scale": self.scale,
            "bias": self.bias,
            "learning_rate_multiplier": self.learning_rate_multiplier,
        }


@keras.saving.register_keras_serializable("siamkit")
class SigLIP(Loss):
    """SigLIP: each anchor says of every candidate of the batch, by itself, whether it is its own positive.

    L = mean over anchors i of  Σⱼ -log σ( zᵢⱼ (t s(aᵢ, cⱼ) + b) ),  zᵢⱼ = 1 for the own positive, else -1

    s is the metric read as a similarity; t and b are weights of the loss, stored as log t and b. The
    candidates are those of `multiple_negatives_ranking`: the positives of all rows and, over triplets, also
    the negatives of all rows. Over pairs with 1/0 the second item of a row of 0 is a negative of its own
    anchor too; if all targets of a batch are 0, they have no meaning, and every row is a positive pair. Each
    pair counts by itself, without a softmax, so small batches work too.

    Args:
        scale: t at the start, above 0.
        bias: b at the start; far below 0, since nearly all pairs of a batch are negative.
        learning_rate_multiplier: factor on the learning rate of log t and b, at least 0; 0 keeps them fixed.
        chunk_size: how many anchors are compared with all candidates at once, for the memory of these alone;
            None for all, or few enough if a batch has more than 2,900 rows (11,600 on an accelerator).

    Reference: Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training".

    Example:
        >>> import keras, numpy as np, siamkit
        >>> loss = siamkit.get_loss("siglip", metric="cosine", scale=1.0, bias=0.0)
        >>> one, two = [1.0, 0.0], [0.0, 1.0]
        >>> value = loss(None, np.array([[one, one], [two, two]]))
        >>> round(float(keras.ops.convert_to_numpy(value)), 4)      # log(1 + 1/e) + log 2
        1.0064
    """

    params = ("scale", "bias", "learning_rate_multiplier", "chunk_size")
    pair_target = "binary"
    batch_coupled = True
    state: ScaleAndBias

    def __init__(
        self,
        scale: float = 10.0,
        bias: float = -10.0,
        learning_rate_multiplier: float = 1.0,
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_positive(scale=scale)
        check_not_negative(learning_rate_multiplier=learning_rate_multiplier)
        check_chunk_size(chunk_size)
        super().__init__(**kwargs)
        self.scale = scale
        self.bias = bias
        self.learning_rate_multiplier = learning_rate_multiplier
        self.chunk_size = chunk_size
        self.state = ScaleAndBias(scale, bias, learning_rate_multiplier)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        anchors, _, candidates = candidates_of(y_pred, self.name)
        has_target = y_true is not None and y_pred.shape[1] == 2
        positive = positive_rows(y_true) if has_target else ops.ones_like(anchors[:, 0])
        self.build_metric(y_pred.shape[-1])
        size = rows_of_tile(self.chunk_size, anchors.shape[0], candidates.shape[0])

        def terms(rows: Tensor, anchors: Tensor, positive: Tensor, *shared: Tensor) -> tuple[Tensor, ...]:
            candidates, scale, bias = shared
            logits = scale * self.pairwise_similarities(anchors, candidates) + bias
            own = ops.logical_and(rows[:, None] == count_up(candidates)[None, :], positive[:, None] > 0)
            return (ops.sum(ops.softplus(ops.where(own, -logits, logits)), axis=1),)

        shared = [candidates, *self.state(y_pred)]
        (losses,) = by_rows(terms, [anchors, positive], shared, size, self.metric)
        return ops.mean(losses)


@keras.saving.register_keras_serializable("siamkit")
class InfoNCE(Loss):
    """InfoNCE: each item finds itself in another view among all items of that view.

    L = mean over ordered pairs of views k ≠ l and items i of
        -log( e^{s(xᵢᵏ, xᵢˡ)/t} / Σⱼ e^{s(xᵢᵏ, xⱼˡ)/t} )

    s is the metric read as a similarity. Any number of views from 2; with 2 views the loss is the mean of
    both directions (as in CLIP). Unlike in `nt_xent`, other items of the same view are not negatives.

    Args:
        temperature: t, above 0.
        chunk_size: how many items are compared with a view at once, for the memory of these alone; None for
            all, or few enough if a batch has more than 2,900 rows (11,600 on an accelerator).

    Reference: van den Oord, Li, Vinyals 2018, "Representation Learning with Contrastive Predictive Coding";
    Radford et al. 2021, "CLIP", for the symmetric form.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("info_nce", metric="cosine", temperature=1.0)
        >>> one, two = [1.0, 0.0], [0.0, 1.0]
        >>> round(float(loss(None, np.array([[one, one], [two, two]]))), 4)     # log(1 + 1/e)
        0.3133
    """

    pair_target = "none"
    params = ("temperature", "chunk_size")
    numbers = ("temperature",)
    batch_coupled = True

    def __init__(self, temperature: float = 0.07, chunk_size: int | None = None, **kwargs: Any) -> None:
        check_positive(temperature=temperature)
        check_chunk_size(chunk_size)
        super().__init__(**kwargs)
        self.temperature = temperature
        self.chunk_size = chunk_size

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        if len(y_pred.shape) != 3 or y_pred.shape[1] < 2:
            raise ModelError(
                "info_nce takes embeddings of 2 or more views, (batch, views, dim), "
                f"got shape {tuple(y_pred.shape)}"
            )
        views = split_views(y_pred, y_pred.shape[1], self.name)
        self.build_metric(y_pred.shape[-1])
        size = rows_of_tile(self.chunk_size, y_pred.shape[0], y_pred.shape[0])

        def finding(rows: Tensor, items: Tensor, others: Tensor) -> tuple[Tensor, ...]:
            return (partner_entropy(self.pairwise_similarities(items, others) / self.temperature, rows),)

        ordered = list(itertools.permutations(views, 2))
        terms = [by_rows(finding, [a], [b], size, self.metric)[0] for a, b in ordered]
        return ops.mean(sum(terms[1:], terms[0])) / len(ordered)


def partner_entropy(logits: Tensor, rows: Tensor) -> Tensor:
    """Return -log softmax of `(n, m)` logits at each row's partner, which is the column of its number."""
    partner = rows[:, None] == count_up(logits[0])[None, :]
    own = ops.sum(ops.where(partner, logits, 0.0), axis=1)
    # -log(e^x / (e^x + e^m)) = softplus(m - x); exactly 0 for a batch of 1
    return ops.softplus(log_sum_exp(logits, ops.logical_not(partner), axis=1) - own)


@keras.saving.register_keras_serializable("siamkit")
class BarlowTwins(Loss):
    """Barlow Twins: each dimension correlates with itself across the views, and not with others.

    L = Σᵢ (1 - cᵢᵢ)² + λ Σᵢ≠ⱼ cᵢⱼ²

    c is the correlation over the batch of dimension i in the first view with dimension j in the second; it is
    0 if a dimension is constant over the batch. It does not compare through the metric, and is meant for
    embeddings that are not normalized (in the paper they come from a projector). The loss is 0 for a batch of
    1.

    Args:
        off_diagonal: λ, the weight of the off-diagonal term, at least 0.
        eps: constant added to the variances, above 0.

    Reference: Zbontar et al. 2021, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction".

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("barlow_twins", metric="cosine", off_diagonal=0.5)
        >>> a, b = [1.0, 1.0], [-1.0, -1.0]      # both dimensions are equal: λ (1 + 1)
        >>> round(float(loss(None, np.array([[a, a], [b, b]]))), 3)
        1.0
    """

    pair_target = "none"
    params = ("off_diagonal", "eps")
    uses_metric = False

    def __init__(self, off_diagonal: float = 5e-3, eps: float = 1e-5, **kwargs: Any) -> None:
        check_not_negative(off_diagonal=off_diagonal)
        check_positive(eps=eps)
        super().__init__(**kwargs)
        self.off_diagonal = off_diagonal
        self.eps = eps

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        a, b = (self._standardized(view) for view in split_views(y_pred, 2, self.name))
        same = ops.eye(y_pred.shape[-1], dtype="float32")
        items = count(y_pred)
        correlations = a @ ops.transpose(b) / items
        weights = same + self.off_diagonal * (1.0 - same)
        return is_several(items) * ops.sum(weights * ops.square(same - correlations))

    def _standardized(self, view: Tensor) -> Tensor:
        """Return `(dim, batch)`, each dimension with mean 0 and standard deviation 1."""
        x = centred(ops.transpose(view))
        return x * ops.rsqrt(ops.mean(ops.square(x), axis=1, keepdims=True) + self.eps)


@keras.saving.register_keras_serializable("siamkit")
class VICReg(Loss):
    """VICReg: similar views, every dimension spread over the batch, and no two dimensions correlated.

    L = λ mean (a - b)² + Σ over both views z of ( μ mean [1 - √(var(z) + ε)]₊ / 2 + ν Σᵢ≠ⱼ cov(z)ᵢⱼ² / dim )

    Variances and covariances are over the batch, with divisor batch - 1. It does not compare through the
    metric, and is meant for embeddings that are not normalized: on the unit sphere no dimension can reach a
    standard deviation of 1. A batch of 1 has only the first term.

    Args:
        invariance_lambda: λ, the weight of the invariance term, at least 0.
        variance_mu: μ, the weight of the variance term, at least 0.
        covariance_v: ν, the weight of the covariance term, at least 0.
        eps: ε, added to the variances, above 0.

    Reference: Bardes, Ponce, LeCun 2022, "VICReg"; PML VICRegLoss (the halved variance term is from there
    and from the authors' code).

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("vicreg", metric="cosine", invariance_lambda=1.0)
        >>> float(loss(None, np.array([[[1.0, 0.0], [0.0, 0.0]]])))     # (1² + 0²) / 2
        0.5
    """

    pair_target = "none"
    params = ("invariance_lambda", "variance_mu", "covariance_v", "eps")
    uses_metric = False

    def __init__(
        self,
        invariance_lambda: float = 25.0,
        variance_mu: float = 25.0,
        covariance_v: float = 1.0,
        eps: float = 1e-4,
        **kwargs: Any,
    ) -> None:
        check_not_negative(
            invariance_lambda=invariance_lambda, variance_mu=variance_mu, covariance_v=covariance_v
        )
        check_positive(eps=eps)
        super().__init__(**kwargs)
        self.invariance_lambda = invariance_lambda
        self.variance_mu = variance_mu
        self.covariance_v = covariance_v
        self.eps = eps

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        a, b = split_views(y_pred, 2, self.name)
        spread = is_several(count(y_pred)) * (self._spread(a) + self._spread(b))
        return self.invariance_lambda * ops.mean(ops.square(a - b)) + spread

    def _spread(self, view: Tensor) -> Tensor:
        """Return the terms of variance and covariance of a view."""
        x = centred(ops.transpose(view))
        items = count(view)
        covariances = x @ ops.transpose(x) / (items - is_several(items))  # not 0 / 0 for a batch of 1
        same = ops.eye(x.shape[0], dtype="float32")
        variances = ops.sum(same * covariances, axis=1)
        narrow = ops.mean(ops.relu(1.0 - ops.sqrt(variances + self.eps))) / 2.0
        redundant = ops.sum(ops.square((1.0 - same) * covariances)) / x.shape[0]
        return self.variance_mu * narrow + self.covariance_v * redundant


def count(items: Tensor) -> Tensor:
    """Return the number of items, float32; also if TensorFlow does not know it yet."""
    return ops.sum(ops.ones_like(items[(slice(None),) + (0,) * (len(items.shape) - 1)]))


def is_several(items: Tensor) -> Tensor:
    """Return 1 for 2 items or more, otherwise 0: a single item has no variance."""
    return ops.cast(items > 1, "float32")
