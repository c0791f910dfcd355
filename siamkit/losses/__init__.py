"""Losses on `(y_true, embeddings)` that compare through a metric. Loaded when first used: they need Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports
from siamkit.backend.select import prepare

if TYPE_CHECKING:
    from siamkit.losses._batch import BatchLoss
    from siamkit.losses._mining import PairLoss
    from siamkit.losses.base import Loss
    from siamkit.losses.get import get_loss

__all__ = ["BatchLoss", "Loss", "PairLoss", "get_loss"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {"BatchLoss": "_batch", "Loss": "base", "PairLoss": "_mining", "get_loss": "get"},
    before=prepare,
)
