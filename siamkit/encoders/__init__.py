"""Encoders: Keras models from one input to one embedding. Loaded when first used, since they need Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports
from siamkit.backend.select import prepare

if TYPE_CHECKING:
    from siamkit.encoders.base import (
        RealMean,
        RealTokens,
        UnitNormalization,
        as_items,
        attention_layer,
        finish,
        get_encoder,
    )
    from siamkit.encoders.profiling import Cost, cost, ms_per_item

__all__ = [
    "Cost",
    "RealMean",
    "RealTokens",
    "UnitNormalization",
    "as_items",
    "attention_layer",
    "cost",
    "finish",
    "get_encoder",
    "ms_per_item",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Cost": "profiling",
        "RealMean": "base",
        "RealTokens": "base",
        "UnitNormalization": "base",
        "as_items": "base",
        "attention_layer": "base",
        "cost": "profiling",
        "finish": "base",
        "get_encoder": "base",
        "ms_per_item": "profiling",
    },
    before=prepare,
)
