"""siamkit: which encoder, metric, loss and how many dimensions fit your data, found by experiment.

The public names are loaded when they are first used; importing siamkit imports no backend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports
from siamkit._version import __version__ as __version__

if TYPE_CHECKING:
    from siamkit.comparison import compare
    from siamkit.data import Dataset
    from siamkit.encoders import get_encoder
    from siamkit.errors import SiamkitError
    from siamkit.evaluation import evaluate
    from siamkit.losses import Loss, get_loss
    from siamkit.metrics import Metric, get_metric
    from siamkit.model import Siamese, build, load_model, metrics_for
    from siamkit.registry import components, hookimpl, register
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
    "metrics_for",
    "reality_check",
    "register",
    "tune",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Bool": "registry.specs",
        "Choice": "registry.specs",
        "Component": "registry.specs",
        "Dataset": "data",
        "DatasetSpec": "registry.specs",
        "EncoderSpec": "registry.specs",
        "Float": "registry.specs",
        "Int": "registry.specs",
        "Ints": "registry.specs",
        "Loss": "losses",
        "LossSpec": "registry.specs",
        "Metric": "metrics",
        "MetricSpec": "registry.specs",
        "Siamese": "model",
        "SiamkitError": "errors",
        "Text": "registry.specs",
        "build": "model",
        "compare": "comparison",
        "components": "registry",
        "evaluate": "evaluation",
        "get_encoder": "encoders",
        "get_loss": "losses",
        "get_metric": "metrics",
        "hookimpl": "registry",
        "load_model": "model",
        "metrics_for": "model",
        "reality_check": "study",
        "register": "registry",
        "tune": "study",
    },
)
