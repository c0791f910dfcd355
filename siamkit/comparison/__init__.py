"""Compare embeddings: effects with intervals, similarity, and where they disagree."""

from siamkit.comparison._compare import compare

__all__ = ["compare"]
