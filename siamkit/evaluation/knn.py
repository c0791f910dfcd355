"""What an item's nearest say: of which class it is, and whether some items are near to everybody."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from siamkit.evaluation._scan import DistanceChunk

VOTERS = 5
"""How many of the nearest vote for a class."""

NEAREST = 10
"""How deep an item has to be in a ranking to occur in it, for hubness."""


class KnnVotes:
    """Whether the nearest items vote for a query's own class; of two with as many votes the nearer wins."""

    def __init__(self) -> None:
        self._right = self._asked = 0

    def depth(self, relevant: int, findable: int) -> int:
        return VOTERS

    def add(self, portion: DistanceChunk) -> None:
        voters = portion.ids[portion.order[:, :VOTERS]]
        votes = (voters[:, :, None] == voters[:, None, :]).sum(axis=2)
        chosen = votes.argmax(axis=1)  # the first of those with the most is the nearest of them
        right = portion.hits[np.arange(len(chosen)), chosen]
        asked = portion.relevant > 0
        self._right += int(right[asked].sum())
        self._asked += int(asked.sum())

    def measures(self) -> dict[str, float | int]:
        """`knn_accuracy`, and its interval of 95% after Wilson (1927)."""
        from scipy.stats import binomtest  # late: slow to import

        interval = binomtest(self._right, self._asked).proportion_ci(0.95, method="wilson")
        return {
            "knn_accuracy": self._right / self._asked,
            "knn_accuracy_low": float(interval.low),
            "knn_accuracy_high": float(interval.high),
        }


class Occurrences:
    """How often each item of a gallery is among the nearest of a query."""

    def __init__(self, gallery: int) -> None:
        self._counts = np.zeros(gallery, np.int64)

    def depth(self, relevant: int, findable: int) -> int:
        return NEAREST

    def add(self, portion: DistanceChunk) -> None:
        self._counts += np.bincount(portion.order[:, :NEAREST].ravel(), minlength=len(self._counts))

    def measures(self) -> dict[str, float]:
        """`hubness`, the skewness of the counts (Radovanović, Nanopoulos and Ivanović 2010)."""
        return {"hubness": _skewness(self._counts)}


def _skewness(counts: NDArray[np.int64]) -> float:
    away = counts - counts.mean()
    variance = float((away**2).mean())
    return float((away**3).mean() / variance**1.5) if variance else 0.0
