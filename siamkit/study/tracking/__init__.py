"""Trackers: TensorBoard and MLflow, to follow the trainings of a study there. Used by siamkit alone."""

from __future__ import annotations

__all__: list[str] = []
