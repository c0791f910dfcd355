"""Losses on `(y_true, embeddings)` that compare through a metric. Loaded when first used: they need Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports
from siamkit.backend.select import prepare

if TYPE_CHECKING:
    from siamkit.losses._batch import BatchLoss, Pairs, active_mean, log_sum_exp
    from siamkit.losses._mining import MINING, PairLoss
    from siamkit.losses._proxies import ClassSoftmax, ProxyLoss
    from siamkit.losses.base import Loss, get_loss, masked_mean
    from siamkit.losses.wrappers import WrapperLoss

__all__ = [
    "MINING",
    "BatchLoss",
    "ClassSoftmax",
    "Loss",
    "PairLoss",
    "Pairs",
    "ProxyLoss",
    "WrapperLoss",
    "active_mean",
    "get_loss",
    "log_sum_exp",
    "masked_mean",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "MINING": "_mining",
        "BatchLoss": "_batch",
        "ClassSoftmax": "_proxies",
        "Loss": "base",
        "PairLoss": "_mining",
        "Pairs": "_batch",
        "ProxyLoss": "_proxies",
        "WrapperLoss": "wrappers",
        "active_mean": "_batch",
        "get_loss": "base",
        "log_sum_exp": "_batch",
        "masked_mean": "base",
    },
    before=prepare,
)
