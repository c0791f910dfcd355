"""Nearest neighbors: the accuracy of their vote, and hubness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from siamkit.evaluation._scan import DistanceChunk

VOTERS = 5
"""How many of the nearest items vote for a class."""

HUB_DEPTH = 10
"""Within how many of the nearest items an item is counted for hubness."""


class KnnVotes:
    """Counts how often the nearest items vote for the class of the query; in a tie the nearer class wins."""

    def __init__(self) -> None:
        self._right = self._queries = 0

    def depth(self, relevant: int, findable: int) -> int:
        return VOTERS

    def add(self, chunk: DistanceChunk) -> None:
        voters = chunk.ids[chunk.order[:, :VOTERS]]
        votes = (voters[:, :, None] == voters[:, None, :]).sum(axis=2)
        winners = votes.argmax(axis=1)  # the first with the most votes is the nearest of them
        right = chunk.hits[np.arange(len(winners)), winners]
        counted = chunk.relevant > 0
        self._right += int(right[counted].sum())
        self._queries += int(counted.sum())

    def measures(self) -> dict[str, float | int]:
        """Return `knn_accuracy`, and its 95 % interval after Wilson (1927)."""
        from scipy.stats import binomtest  # late: slow to import

        interval = binomtest(self._right, self._queries).proportion_ci(0.95, method="wilson")
        return {
            "knn_accuracy": self._right / self._queries,
            "knn_accuracy_low": float(interval.low),
            "knn_accuracy_high": float(interval.high),
        }


class Occurrences:
    """Counts how often each item of a gallery is among the nearest of a query."""

    def __init__(self, gallery: int) -> None:
        self._counts = np.zeros(gallery, np.int64)

    def depth(self, relevant: int, findable: int) -> int:
        return HUB_DEPTH

    def add(self, chunk: DistanceChunk) -> None:
        self._counts += np.bincount(chunk.order[:, :HUB_DEPTH].ravel(), minlength=len(self._counts))

    def measures(self) -> dict[str, float]:
        """Return `hubness`, the skewness of the counts (Radovanović, Nanopoulos and Ivanović 2010)."""
        return {"hubness": _skewness(self._counts)}


def _skewness(counts: NDArray[np.int64]) -> float:
    deviations = counts - counts.mean()
    variance = float((deviations**2).mean())
    return float((deviations**3).mean() / variance**1.5) if variance else 0.0
