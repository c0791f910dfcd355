"""Engines: where the workers of a study run. Used by siamkit alone."""

from __future__ import annotations

__all__: list[str] = []
