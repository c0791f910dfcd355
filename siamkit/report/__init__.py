"""Reports, made from stored results only; no Keras here. Loaded when first used: it brings Plotly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports

if TYPE_CHECKING:
    from siamkit.report.build import write_report

__all__ = ["write_report"]

__getattr__, __dir__ = lazy_exports(__name__, {"write_report": "build"})
