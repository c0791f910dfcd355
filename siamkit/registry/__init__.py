"""Components by name: their specs, the plugins that provide them, and which are compatible. No Keras here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports

if TYPE_CHECKING:
    from siamkit.registry.catalog import CORE, Catalog, Origin, Problem, Registered
    from siamkit.registry.lookup import create
    from siamkit.registry.registry import Registry, components, record_of, register
    from siamkit.registry.specs import (
        DatasetSpec,
        EncoderSpec,
        Kind,
        LossSpec,
        MetricSpec,
        Param,
        Spec,
        hookimpl,
    )

__all__ = [
    "CORE",
    "Catalog",
    "DatasetSpec",
    "EncoderSpec",
    "Kind",
    "LossSpec",
    "MetricSpec",
    "Origin",
    "Param",
    "Problem",
    "Registered",
    "Registry",
    "Spec",
    "components",
    "create",
    "hookimpl",
    "record_of",
    "register",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "CORE": "catalog",
        "Catalog": "catalog",
        "DatasetSpec": "specs",
        "EncoderSpec": "specs",
        "Kind": "specs",
        "LossSpec": "specs",
        "MetricSpec": "specs",
        "Origin": "catalog",
        "Param": "specs",
        "Problem": "catalog",
        "Registered": "catalog",
        "Registry": "registry",
        "Spec": "specs",
        "components": "registry",
        "create": "lookup",
        "hookimpl": "specs",
        "record_of": "registry",
        "register": "registry",
    },
)
