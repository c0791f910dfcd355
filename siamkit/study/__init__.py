"""Studies: one comparison each, from a study file to its results.

Loaded when first used: a worker of a study comes through here too, and needs neither storage nor report.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from siamkit.study.runner import join, tune

__all__ = ["join", "tune"]


def __getattr__(name: str) -> Any:
    # Not at once: workers import modules of this package too, and need neither Optuna nor the report.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("siamkit.study.runner"), name)
