"""Compare embeddings: differences with intervals, similarity, and the items on which they disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports

if TYPE_CHECKING:
    from siamkit.comparison._compare import compare
    from siamkit.comparison.embedding_set import EmbeddingSet
    from siamkit.comparison.inputs import read_embeddings
    from siamkit.comparison.result import Comparison, Disagreement
    from siamkit.comparison.similarity import (
        RepresentationSimilarity,
        distance_rank_correlation,
        linear_cka,
        neighbor_overlap,
        procrustes_distance,
    )
    from siamkit.comparison.single import retrained_sizes

__all__ = [
    "Comparison",
    "Disagreement",
    "EmbeddingSet",
    "RepresentationSimilarity",
    "compare",
    "distance_rank_correlation",
    "linear_cka",
    "neighbor_overlap",
    "procrustes_distance",
    "read_embeddings",
    "retrained_sizes",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Comparison": "result",
        "Disagreement": "result",
        "EmbeddingSet": "embedding_set",
        "RepresentationSimilarity": "similarity",
        "compare": "_compare",
        "distance_rank_correlation": "similarity",
        "linear_cka": "similarity",
        "neighbor_overlap": "similarity",
        "procrustes_distance": "similarity",
        "read_embeddings": "inputs",
        "retrained_sizes": "single",
    },
)
