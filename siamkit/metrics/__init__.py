"""Metrics: how two embeddings are compared. Loaded when first used, since they need Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports
from siamkit.backend.select import prepare

if TYPE_CHECKING:
    from siamkit.metrics.base import Metric, get_metric

__all__ = ["Metric", "get_metric"]

__getattr__, __dir__ = lazy_exports(__name__, {"Metric": "base", "get_metric": "base"}, before=prepare)
