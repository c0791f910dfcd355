"""siamkit: which encoder, metric, loss and how many dimensions suit your data, found by experiment.

The public names are loaded when they are first used; importing siamkit imports no backend.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from siamkit.building import build
    from siamkit.comparing import compare
    from siamkit.data.dataset import Dataset
    from siamkit.errors import SiamkitError
    from siamkit.evaluation import evaluate
    from siamkit.hookspecs import hookimpl
    from siamkit.losses.base import Loss
    from siamkit.metrics.base import Metric
    from siamkit.model import Siamese
    from siamkit.registry import components, register
    from siamkit.resolve import get_encoder, get_loss, get_metric
    from siamkit.saving import load_model
    from siamkit.specs import (
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
    "Bool": "siamkit.specs",
    "Choice": "siamkit.specs",
    "Component": "siamkit.specs",
    "Dataset": "siamkit.data.dataset",
    "DatasetSpec": "siamkit.specs",
    "EncoderSpec": "siamkit.specs",
    "Float": "siamkit.specs",
    "Int": "siamkit.specs",
    "Ints": "siamkit.specs",
    "Loss": "siamkit.losses.base",
    "LossSpec": "siamkit.specs",
    "Metric": "siamkit.metrics.base",
    "MetricSpec": "siamkit.specs",
    "Siamese": "siamkit.model",
    "SiamkitError": "siamkit.errors",
    "Text": "siamkit.specs",
    "build": "siamkit.building",
    "compare": "siamkit.comparing",
    "components": "siamkit.registry",
    "evaluate": "siamkit.evaluation",
    "get_encoder": "siamkit.resolve",
    "get_loss": "siamkit.resolve",
    "get_metric": "siamkit.resolve",
    "hookimpl": "siamkit.hookspecs",
    "load_model": "siamkit.saving",
    "reality_check": "siamkit.study",
    "register": "siamkit.registry",
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
        importlib.import_module("siamkit.backends").prepare()
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
