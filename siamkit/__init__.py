"""siamkit: which encoder, metric, loss and how many dimensions suit your data, found by experiment.

The public names are loaded when they are first used; importing siamkit imports no backend.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from siamkit.comparison import compare
    from siamkit.data.dataset import Dataset
    from siamkit.errors import SiamkitError
    from siamkit.evaluation import evaluate
    from siamkit.losses.base import Loss
    from siamkit.metrics.base import Metric
    from siamkit.model._build import build
    from siamkit.model.load import load_model
    from siamkit.model.siamese import Siamese
    from siamkit.registry.hookspecs import hookimpl
    from siamkit.registry.lookup import get_encoder, get_loss, get_metric
    from siamkit.registry.registry import components, register
    from siamkit.registry.specs import (
        Bool,
        Choice,
        Component,
        DatasetSpec,
        EncoderSpec,
        Float,
        Int,
        Ints,
        LossSpec,
        MetricSpec,
        Text,
    )
    from siamkit.study import reality_check, tune

_HOME = {
    "Bool": "siamkit.registry.specs",
    "Choice": "siamkit.registry.specs",
    "Component": "siamkit.registry.specs",
    "Dataset": "siamkit.data.dataset",
    "DatasetSpec": "siamkit.registry.specs",
    "EncoderSpec": "siamkit.registry.specs",
    "Float": "siamkit.registry.specs",
    "Int": "siamkit.registry.specs",
    "Ints": "siamkit.registry.specs",
    "Loss": "siamkit.losses.base",
    "LossSpec": "siamkit.registry.specs",
    "Metric": "siamkit.metrics.base",
    "MetricSpec": "siamkit.registry.specs",
    "Siamese": "siamkit.model.siamese",
    "SiamkitError": "siamkit.errors",
    "Text": "siamkit.registry.specs",
    "build": "siamkit.model._build",
    "compare": "siamkit.comparison",
    "components": "siamkit.registry.registry",
    "evaluate": "siamkit.evaluation",
    "get_encoder": "siamkit.registry.lookup",
    "get_loss": "siamkit.registry.lookup",
    "get_metric": "siamkit.registry.lookup",
    "hookimpl": "siamkit.registry.hookspecs",
    "load_model": "siamkit.model.load",
    "reality_check": "siamkit.study",
    "register": "siamkit.registry.registry",
    "tune": "siamkit.study",
}

__all__ = [
    "Bool",
    "Choice",
    "Component",
    "Dataset",
    "DatasetSpec",
    "EncoderSpec",
    "Float",
    "Int",
    "Ints",
    "Loss",
    "LossSpec",
    "Metric",
    "MetricSpec",
    "Siamese",
    "SiamkitError",
    "Text",
    "build",
    "compare",
    "components",
    "evaluate",
    "get_encoder",
    "get_loss",
    "get_metric",
    "hookimpl",
    "load_model",
    "reality_check",
    "register",
    "tune",
]


_NEED_KERAS = {"Loss", "Metric", "Siamese", "build", "get_encoder", "get_loss", "get_metric", "load_model"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'siamkit' has no attribute {name!r}")
    if name in _NEED_KERAS:
        importlib.import_module("siamkit.backend.select").prepare()
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
