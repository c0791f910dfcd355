"""The Siamese model: built from names, trained, saved and loaded. Loaded when first used: it needs Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports
from siamkit.backend.select import prepare

if TYPE_CHECKING:
    from siamkit.model.factory import build, load_model
    from siamkit.model.keras_metrics import metrics_for
    from siamkit.model.siamese import Siamese

__all__ = ["Siamese", "build", "load_model", "metrics_for"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Siamese": "siamese",
        "build": "factory",
        "load_model": "factory",
        "metrics_for": "keras_metrics",
    },
    before=prepare,
)
