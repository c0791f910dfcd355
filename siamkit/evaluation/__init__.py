"""How good embeddings are: exact retrieval and verification figures, whatever the metric.

Importing this package imports neither Keras nor NumPy; the functions load theirs when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports
from siamkit.evaluation.measures import DEFAULT_OBJECTIVE, GROUPS, MEASURES, OBJECTIVES, Measure

if TYPE_CHECKING:
    from siamkit.evaluation._evaluate import evaluate, examine
    from siamkit.evaluation._labels import evaluate_labels
    from siamkit.evaluation._result import Evaluation
    from siamkit.evaluation.geometry import effective_rank, spread
    from siamkit.evaluation.pairs import evaluate_pairs, evaluate_scores

__all__ = [
    "DEFAULT_OBJECTIVE",
    "GROUPS",
    "MEASURES",
    "OBJECTIVES",
    "Evaluation",
    "Measure",
    "effective_rank",
    "evaluate",
    "evaluate_labels",
    "evaluate_pairs",
    "evaluate_scores",
    "examine",
    "spread",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Evaluation": "_result",
        "effective_rank": "geometry",
        "evaluate": "_evaluate",
        "evaluate_labels": "_labels",
        "evaluate_pairs": "pairs",
        "evaluate_scores": "pairs",
        "examine": "_evaluate",
        "spread": "geometry",
    },
)
