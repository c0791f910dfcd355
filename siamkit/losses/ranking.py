"""Losses that pick each embedding's partner out of the batch, by a cross entropy."""

from __future__ import annotations

import itertools
from typing import Any

import keras
from keras import ops

from siamkit.errors import ModelError
from siamkit.losses.arguments import above_0
from siamkit.losses.base import Loss, masked_mean
from siamkit.losses.batch import log_sum_exp, positions
from siamkit.losses.rows import views_of
from siamkit.metrics.base import Tensor


@keras.saving.register_keras_serializable("siamkit")
class MultipleNegativesRanking(Loss):
    """Multiple negatives ranking: each anchor finds its positive among those of the whole batch.

    L = mean over anchors i of  -log( e^{scale · s(aᵢ, pᵢ)} / Σ꜀ e^{scale · s(aᵢ, c)} )

    s is the metric turned so that high means alike. The candidates c are the positives of all rows and,
    over triplets, the negatives of all rows too. Over pairs with 1/0 a row of 0 has no term of its own;
    its second item is a negative of the others. A target of zeros alone says nothing, as that of views:
    then every row is a pair. Items that occur twice in a batch count as each other's negatives.

    Args:
        scale: the inverse temperature, above 0; 20 suits cosine.
        symmetric: also let each positive find its anchor among all anchors, and take the mean of both.

    Reference: Henderson et al. 2017, "Efficient Natural Language Response Suggestion for Smart Reply";
    sentence-transformers' MultipleNegativesRankingLoss and MultipleNegativesSymmetricRankingLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("multiple_negatives_ranking", metric="cosine", scale=1.0)
        >>> one, two = [1.0, 0.0], [0.0, 1.0]
        >>> round(float(loss(None, np.array([[one, one], [two, two]]))), 4)     # log(1 + 1/e)
        0.3133
    """

    couples = True

    def __init__(self, scale: float = 20.0, symmetric: bool = False, **kwargs: Any) -> None:
        above_0(scale=scale)
        super().__init__(**kwargs)
        self.scale = scale
        self.symmetric = symmetric

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        triplets = len(y_pred.shape) == 3 and y_pred.shape[1] == 3
        anchors, positives, *negatives = views_of(y_pred, 3 if triplets else 2, self.name)
        own = self.scale * self.all_similarities(anchors, positives)
        more = [self.scale * self.all_similarities(anchors, each) for each in negatives]
        terms = of_partners(ops.concatenate([own, *more], axis=1))
        if self.symmetric:
            terms = (terms + of_partners(ops.transpose(own))) / 2.0
        if y_true is None or triplets:
            return ops.mean(terms)
        alike = ops.cast(y_true, "float32")
        return masked_mean(terms, ops.where(ops.any(alike > 0), alike, 1.0))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale, "symmetric": self.symmetric}


@keras.saving.register_keras_serializable("siamkit")
class InfoNCE(Loss):
    """InfoNCE: each item finds itself in another view among all items of that view.

    L = mean over ordered pairs of views k ≠ l and items i of
        -log( e^{s(xᵢᵏ, xᵢˡ)/t} / Σⱼ e^{s(xᵢᵏ, xⱼˡ)/t} )

    s is the metric turned so that high means alike. Any number of views from 2; with 2 it is the mean of
    both directions (as in CLIP). Unlike in `nt_xent`, the items of the same view are no negatives.

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

    couples = True

    def __init__(self, temperature: float = 0.07, **kwargs: Any) -> None:
        above_0(temperature=temperature)
        super().__init__(**kwargs)
        self.temperature = temperature

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        if len(y_pred.shape) != 3 or y_pred.shape[1] < 2:
            raise ModelError(
                "info_nce takes embeddings of 2 views or more, (batch, views, dim), "
                f"got shape {tuple(y_pred.shape)}"
            )
        views = views_of(y_pred, y_pred.shape[1], self.name)
        ordered = list(itertools.permutations(views, 2))
        terms = [of_partners(self.all_similarities(a, b) / self.temperature) for a, b in ordered]
        return ops.mean(sum(terms[1:], terms[0])) / len(ordered)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature}


def of_partners(logits: Tensor) -> Tensor:
    """-log softmax of `(n, m)` logits at the partner of each row i, which is column i; `(n,)`."""
    partner = positions(logits[:, 0])[:, None] == positions(logits[0])[None, :]
    own = ops.sum(ops.where(partner, logits, 0.0), axis=1)
    # -log(e^x / (e^x + e^m)) = softplus(m - x); exactly 0 where there is nobody else
    return ops.softplus(log_sum_exp(logits, ops.logical_not(partner), axis=1) - own)
