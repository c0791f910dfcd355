"""Reports, made from stored results only; no Keras here."""

from __future__ import annotations

from siamkit.report.page import write_report

__all__ = ["write_report"]
