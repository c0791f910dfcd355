"""Metrics: how two embeddings are compared. Loaded when first used, since they need Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports
from siamkit.backend.select import prepare

if TYPE_CHECKING:
    from siamkit.metrics.base import (
        Metric,
        absolute,
        centred,
        euclidean_distances,
        get_metric,
        is_zero,
        norm,
        quotient,
        safe_sqrt,
        squared_distances,
        unit,
    )

__all__ = [
    "Metric",
    "absolute",
    "centred",
    "euclidean_distances",
    "get_metric",
    "is_zero",
    "norm",
    "quotient",
    "safe_sqrt",
    "squared_distances",
    "unit",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Metric": "base",
        "absolute": "base",
        "centred": "base",
        "euclidean_distances": "base",
        "get_metric": "base",
        "is_zero": "base",
        "norm": "base",
        "quotient": "base",
        "safe_sqrt": "base",
        "squared_distances": "base",
        "unit": "base",
    },
    before=prepare,
)
