"""A histogram of any number of distances, whose bin width adapts to their range."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

BINS = 2**20
"""The number of bins."""

_FINEST = -149  # as a power of two: the smallest positive float32


class Histogram:
    """Counts of any number of distances in 2**20 bins, whose width adapts to their range.

    Bin k holds the distances in ((k - 1)·w, k·w], where w is a power of two. When the range exceeds the bins,
    w doubles and every two bins are merged: counts stay exact and depend on the distances only, not on their
    order or on how they were chunked. Bins are closed above, so that a threshold at the edge of a bin accepts
    exactly the bins below it.

    In the end w is less than 2**-18 of the range of the distances, or one step of float32 at the largest of
    them. Distances in one bin count as equal, which changes the AUC by at most half the share of
    (matching, non-matching) couples that meet in one bin. A few distances thousands of times larger than all
    others reduce the resolution of the others.
    """

    def __init__(self) -> None:
        self._exponent = _FINEST  # of w
        self._first = 0  # the lowest k
        self._counts = np.zeros((BINS, 2), np.int64)  # not alike, alike
        self._range: tuple[float, float] | None = None

    def add(self, distances: NDArray[np.float32], alike: NDArray[np.bool_]) -> None:
        """Count distances (of any shape), given whether each belongs to a matching pair."""
        if not distances.size:
            return
        self._widen(float(distances.min()), float(distances.max()))
        # Scaled by a power of two in float64, where nothing underflows, so that each quotient is exact.
        scaled = np.multiply(distances, 2.0**-self._exponent, dtype=np.float64)
        cells = np.ceil(scaled, out=scaled).astype(np.int32)
        cells -= self._first
        cells <<= 1
        cells |= alike
        self._counts += np.bincount(cells.ravel(), minlength=2 * BINS).reshape(BINS, 2)

    def counts(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the centers of the filled bins, ascending, and their matching and non-matching pairs."""
        filled = np.flatnonzero(self._counts.any(axis=1))
        centers = np.asarray((filled + self._first - 0.5) * 2.0**self._exponent, np.float64)
        return centers, self._counts[filled, 1], self._counts[filled, 0]

    def _widen(self, low: float, high: float) -> None:
        if self._range is not None:
            low, high = min(low, self._range[0]), max(high, self._range[1])
        if (low, high) == self._range:
            return
        largest = max(abs(low), abs(high))
        step = math.frexp(largest)[1] - 24 if largest else _FINEST  # finer than float32 adds nothing
        exponent = max(self._exponent, step)
        while _bin(high, exponent) - _bin(low, exponent) >= BINS:
            exponent += 1
        filled = np.flatnonzero(self._counts.any(axis=1))
        first = _bin(low, exponent)
        moved = -(-(filled + self._first) >> (exponent - self._exponent)) - first  # rounds up, as bins do
        counts = np.zeros_like(self._counts)
        np.add.at(counts, moved, self._counts[filled])
        self._exponent, self._first, self._counts, self._range = exponent, first, counts, (low, high)


def _bin(value: float, exponent: int) -> int:
    return math.ceil(value * 2.0**-exponent)
