"""Studies: one comparison each, from a study file to its results."""

from __future__ import annotations

from siamkit.study.runner import join, tune

__all__ = ["join", "tune"]
