"""Comparing embeddings so that people can believe it."""

from siamkit.comparing.run import compare

__all__ = ["compare"]
