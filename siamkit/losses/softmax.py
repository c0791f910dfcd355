"""Losses that weigh all pairs of a batch by exponentials: NT-Xent and Multi-Similarity."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamkit.errors import ComponentError
from siamkit.losses.base import Loss, masked_mean
from siamkit.losses.batch import labelled, log_sum_exp, pair_masks
from siamkit.metrics.base import Tensor


@keras.saving.register_keras_serializable("siamkit")
class NTXent(Loss):
    """Normalised-temperature cross entropy: each positive pair against the anchor's negatives.

    L = mean over positive pairs (a, p) of  -log( e^{s(a,p)/t} / (e^{s(a,p)/t} + Σₙ e^{s(a,n)/t}) )

    s is the metric turned so that high means alike; n runs over the anchor's negatives. Over views
    `(batch, v, dim)` the views of a row are each other's positives (SimCLR); over labels all items of a
    class are. 0 where there is no positive pair.

    Args:
        temperature: t, above 0.

    Reference: Sohn 2016; Chen et al. 2020, "SimCLR"; PML NTXentLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("nt_xent", metric="cosine", temperature=1.0)
        >>> one, two = [1.0, 0.0], [0.0, 1.0]
        >>> round(float(loss(None, np.array([[one, one], [two, two]]))), 4)   # log(1 + 2/e)
        0.5514
    """

    def __init__(self, temperature: float = 0.07, **kwargs: Any) -> None:
        if not temperature > 0:
            raise ComponentError(f"temperature should be above 0, got {temperature!r}")
        super().__init__(**kwargs)
        self.temperature = temperature

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        labels, embeddings = labelled(y_true, y_pred, "nt_xent")
        positive, negative = pair_masks(labels)
        logits = -self.all_distances(embeddings, embeddings) / self.temperature
        others = log_sum_exp(logits, negative, axis=1)[:, None]
        # -log(e^x / (e^x + e^m)) = softplus(m - x)
        return masked_mean(ops.softplus(others - logits), ops.cast(positive, "float32"))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable("siamkit")
class MultiSimilarity(Loss):
    """Multi-Similarity loss: soft weights for hard positives and hard negatives of each anchor.

    L = mean over anchors of  1/α log(1 + Σₚ e^{-α(s(a,p) - λ)}) + 1/β log(1 + Σₙ e^{β(s(a,n) - λ)})

    λ is `base`, a value on the metric's own axis; for a distance d the signs turn (s = -d). Without the
    paper's pair mining, as PML's loss without a miner. Anchors without any pair count as 0.

    Args:
        alpha: sharpness for positives, above 0.
        beta: sharpness for negatives, above 0.
        base: λ.

    Reference: Wang et al. 2019, "Multi-Similarity Loss with General Pair Weighting"; PML
    MultiSimilarityLoss.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("multi_similarity", metric="cosine", alpha=2.0)
        >>> float(loss(np.array([0, 1]), np.array([[1.0, 0.0], [-1.0, 0.0]]))) < 1e-6
        True
    """

    def __init__(self, alpha: float = 2.0, beta: float = 50.0, base: float = 0.5, **kwargs: Any) -> None:
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not value > 0:
                raise ComponentError(f"{name} should be above 0, got {value!r}")
        super().__init__(**kwargs)
        self.alpha = alpha
        self.beta = beta
        self.base = base

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        assert self.metric is not None
        labels, embeddings = labelled(y_true, y_pred, "multi_similarity")
        positive, negative = pair_masks(labels)
        excess = self.metric.sign * (self.metric.matrix(embeddings, embeddings) - self.base)
        pull = log_sum_exp(self.alpha * excess, positive, axis=1, plus_one=True) / self.alpha
        push = log_sum_exp(-self.beta * excess, negative, axis=1, plus_one=True) / self.beta
        return ops.mean(pull + push)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha, "beta": self.beta, "base": self.base}
