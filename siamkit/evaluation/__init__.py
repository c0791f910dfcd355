"""Exact measures of embeddings for retrieval and verification, under any metric.

Importing this package imports neither Keras nor NumPy; its functions import them at first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports
from siamkit.evaluation.measures import (
    DEFAULT_OBJECTIVE,
    GROUPS,
    MEASURES,
    OBJECTIVES,
    Constraint,
    Measure,
    ThresholdRule,
)

if TYPE_CHECKING:
    from siamkit.evaluation._evaluate import (
        evaluate,
        evaluate_labels,
        evaluate_pairs,
        evaluate_scores,
        examine,
    )
    from siamkit.evaluation.geometry import effective_rank, spread
    from siamkit.evaluation.neighbors import nearest_neighbors
    from siamkit.evaluation.verification import Evaluation

__all__ = [
    "DEFAULT_OBJECTIVE",
    "GROUPS",
    "MEASURES",
    "OBJECTIVES",
    "Constraint",
    "Evaluation",
    "Measure",
    "ThresholdRule",
    "effective_rank",
    "evaluate",
    "evaluate_labels",
    "evaluate_pairs",
    "evaluate_scores",
    "examine",
    "nearest_neighbors",
    "spread",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "effective_rank": "geometry",
        "Evaluation": "verification",
        "evaluate": "_evaluate",
        "evaluate_labels": "_evaluate",
        "evaluate_pairs": "_evaluate",
        "evaluate_scores": "_evaluate",
        "examine": "_evaluate",
        "nearest_neighbors": "neighbors",
        "spread": "geometry",
    },
)
