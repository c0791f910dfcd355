"""siamkit: which encoder, metric, loss and how many dimensions suit your data, found by experiment.

The public names are loaded when they are first used; importing siamkit imports no backend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports
from siamkit._version import __version__ as __version__

if TYPE_CHECKING:
    from siamkit.comparison import compare
    from siamkit.data.dataset import Dataset
    from siamkit.encoders.get import get_encoder
    from siamkit.errors import SiamkitError
    from siamkit.evaluation import evaluate
    from siamkit.losses.base import Loss
    from siamkit.losses.get import get_loss
    from siamkit.metrics.base import Metric
    from siamkit.metrics.get import get_metric
    from siamkit.model._build import build
    from siamkit.model.load import load_model
    from siamkit.model.siamese import Siamese
    from siamkit.registry.hookspecs import hookimpl
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


def _choose_backend(name: str) -> None:
    if name in _NEED_KERAS:
        from siamkit.backend.select import prepare

        prepare()


__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Bool": "registry.specs",
        "Choice": "registry.specs",
        "Component": "registry.specs",
        "Dataset": "data.dataset",
        "DatasetSpec": "registry.specs",
        "EncoderSpec": "registry.specs",
        "Float": "registry.specs",
        "Int": "registry.specs",
        "Ints": "registry.specs",
        "Loss": "losses.base",
        "LossSpec": "registry.specs",
        "Metric": "metrics.base",
        "MetricSpec": "registry.specs",
        "Siamese": "model.siamese",
        "SiamkitError": "errors",
        "Text": "registry.specs",
        "build": "model._build",
        "compare": "comparison",
        "components": "registry.registry",
        "evaluate": "evaluation",
        "get_encoder": "encoders.get",
        "get_loss": "losses.get",
        "get_metric": "metrics.get",
        "hookimpl": "registry.hookspecs",
        "load_model": "model.load",
        "reality_check": "study",
        "register": "registry.registry",
        "tune": "study",
    },
    before=_choose_backend,
)
