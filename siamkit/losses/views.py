"""Losses over two or more views of each item: in-batch negatives, and redundancy reduction."""

from __future__ import annotations

import itertools
from typing import Any

import keras
from keras import ops

from siamkit.errors import ModelError
from siamkit.losses._batch import check_not_negative, check_positive, count_up, log_sum_exp, split_views
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

    Reference: Henderson et al. 2017, "Efficient Natural Language Response Suggestion for Smart Reply";
    sentence-transformers' MultipleNegativesRankingLoss and MultipleNegativesSymmetricRankingLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("multiple_negatives_ranking", metric="cosine", scale=1.0)
        >>> one, two = [1.0, 0.0], [0.0, 1.0]
        >>> round(float(loss(None, np.array([[one, one], [two, two]]))), 4)     # log(1 + 1/e)
        0.3133
    """

    params = ("scale", "symmetric")
    numbers = ("scale",)
    pair_target = "binary"
    batch_coupled = True

    def __init__(self, scale: float = 20.0, symmetric: bool = False, **kwargs: Any) -> None:
        check_positive(scale=scale)
        super().__init__(**kwargs)
        self.scale = scale
        self.symmetric = symmetric

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        triplets = len(y_pred.shape) == 3 and y_pred.shape[1] == 3
        anchors, positives, *negatives = split_views(y_pred, 3 if triplets else 2, self.name)
        logits = self.scale * self.pairwise_similarities(anchors, positives)
        others = [self.scale * self.pairwise_similarities(anchors, view) for view in negatives]
        terms = partner_entropy(ops.concatenate([logits, *others], axis=1))
        if self.symmetric:
            terms = (terms + partner_entropy(ops.transpose(logits))) / 2.0
        if y_true is None or triplets:
            return ops.mean(terms)
        positive = ops.cast(y_true, "float32")
        return masked_mean(terms, ops.where(ops.any(positive > 0), positive, 1.0))


@keras.saving.register_keras_serializable("siamkit")
class InfoNCE(Loss):
    """InfoNCE: each item finds itself in another view among all items of that view.

    L = mean over ordered pairs of views k ≠ l and items i of
        -log( e^{s(xᵢᵏ, xᵢˡ)/t} / Σⱼ e^{s(xᵢᵏ, xⱼˡ)/t} )

    s is the metric read as a similarity. Any number of views from 2; with 2 views the loss is the mean of
    both directions (as in CLIP). Unlike in `nt_xent`, other items of the same view are not negatives.

    Args:
        temperature: t, above 0.

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
    params = ("temperature",)
    numbers = ("temperature",)
    batch_coupled = True

    def __init__(self, temperature: float = 0.07, **kwargs: Any) -> None:
        check_positive(temperature=temperature)
        super().__init__(**kwargs)
        self.temperature = temperature

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        if len(y_pred.shape) != 3 or y_pred.shape[1] < 2:
            raise ModelError(
                "info_nce takes embeddings of 2 or more views, (batch, views, dim), "
                f"got shape {tuple(y_pred.shape)}"
            )
        views = split_views(y_pred, y_pred.shape[1], self.name)
        ordered = list(itertools.permutations(views, 2))
        terms = [partner_entropy(self.pairwise_similarities(a, b) / self.temperature) for a, b in ordered]
        return ops.mean(sum(terms[1:], terms[0])) / len(ordered)


def partner_entropy(logits: Tensor) -> Tensor:
    """Return -log softmax of `(n, m)` logits at the partner of each row i, which is column i; `(n,)`."""
    partner = count_up(logits[:, 0])[:, None] == count_up(logits[0])[None, :]
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
