"""One pass over all queries, a few at a time: their nearest items or all distances; accumulators, counts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from siamkit.evaluation.distances import Metric, distance_chunks
from siamkit.evaluation.neighbors import is_shallow, nearest_first, search


@dataclass(frozen=True)
class Chunk:
    """A few queries, their nearest items, and their distances if an accumulator needs them.

    Args:
        start: the index of the first query.
        order: `(q, depth)`, indices of the nearest items, nearest first, without the query itself.
        hits: `(q, depth)`, whether these nearest items have the class of the query.
        relevant: `(q,)`, number of items of the gallery with the class of the query.
        query_ids: `(q,)`, the classes of the queries.
        ids: `(gallery,)`, the classes of the gallery.
        within: whether the queries are the gallery.
        distances: `(q, gallery)`; None if no accumulator needs them.
    """

    start: int
    order: NDArray[np.int64]
    hits: NDArray[np.bool_]
    relevant: NDArray[np.int64]
    query_ids: NDArray[np.int64]
    ids: NDArray[np.int64]
    within: bool
    distances: NDArray[np.float32] | None = None

    def pairs(self) -> Iterable[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
        """Yield distances, and whether classes are equal, of the pairs i < j, or of all with a gallery."""
        assert self.distances is not None
        if not self.within:
            yield self.distances, self.query_ids[:, None] == self.ids
            return
        # A triangle, and everything to its right.
        stop = self.start + len(self.distances)
        right = self.distances[:, self.start :]
        alike = self.query_ids[:, None] == self.ids[self.start :]
        above = np.triu(np.ones((len(right), stop - self.start), bool), 1)
        yield right[:, : len(right)][above], alike[:, : len(right)][above]
        yield right[:, len(right) :], alike[:, len(right) :]


class Accumulator(Protocol):
    """An object that collects results during the pass; `needs_distances` if its chunks must have them."""

    needs_distances: bool

    def depth(self, relevant: int, findable: int) -> int:
        """Return the number of nearest items that the accumulator needs.

        Args:
            relevant: the maximum number of relevant items of a query in the chunk.
            findable: number of items that can be found.
        """

    def add(self, chunk: Chunk) -> None:
        """Add a chunk; keep none of its arrays, nor views of them."""


def scan(
    metric: Metric,
    queries: NDArray[np.float32],
    ids: NDArray[np.int64],
    gallery: tuple[NDArray[np.float32], NDArray[np.int64]] | None,
    relevant: NDArray[np.int64],
    accumulators: Iterable[Accumulator],
) -> None:
    """Pass each chunk of queries to each accumulator once.

    Args:
        metric: the metric.
        queries, ids: the queries `(n, dim)`, and their class ids `(n,)`.
        gallery: items and their classes; None for the queries themselves, each excluded by its index.
        relevant: `(n,)`, number of relevant items of each query.
        accumulators: objects that collect results.
    """
    pool, pool_ids = (queries, ids) if gallery is None else gallery
    findable = len(pool) - (gallery is None)
    accumulators = tuple(accumulators)
    itself = np.arange(len(queries)) if gallery is None else None

    def depth(rows: slice) -> int:
        most = int(relevant[rows].max())
        return min(findable, max(accumulator.depth(most, findable) for accumulator in accumulators))

    def add(start: int, order: NDArray[np.int64], distances: NDArray[np.float32] | None = None) -> None:
        rows = slice(start, start + len(order))
        hits = pool_ids[order] == ids[rows, None]
        chunk = Chunk(start, order, hits, relevant[rows], ids[rows], pool_ids, gallery is None, distances)
        for accumulator in accumulators:
            accumulator.add(chunk)

    deepest = depth(slice(None))
    if is_shallow(metric, deepest, len(pool)) and not any(each.needs_distances for each in accumulators):
        for start, order in search(metric, queries, pool, deepest, itself):
            add(start, order)
        return
    for start, distances in distance_chunks(metric, queries, pool):
        rows = slice(start, start + len(distances))
        order, _ = nearest_first(distances, depth(rows), None if itself is None else itself[rows])
        add(start, order, distances)


BINS = 2**20
"""The number of bins of a histogram."""

_FINEST = -149  # as a power of two: the smallest positive float32


class Histogram:
    """Counts of any number of distances in 2**20 bins, whose width adapts to their range.

    Bin k holds the distances in ((k - 1)·w, k·w], where w is a power of two. When a distance is outside
    all bins, w doubles and neighboring bins are merged in pairs. The counts stay exact; they do not depend on
    the order of the distances or on the size of the chunks. Bins are closed above, so that a threshold at the
    edge of a bin accepts exactly the bins below it.

    After the last distance, w is less than 2**-18 of their range, or one unit in the last place of float32 at
    the largest distance if that is more. Distances in one bin count as equal, which changes the AUC by at
    most half the fraction of all (matching pair, non-matching pair) combinations that fall into one bin. A
    few distances thousands of times larger than all others reduce the resolution of the others.
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

    @property
    def width(self) -> float:
        """The width w of a bin."""
        return float(2.0**self._exponent)

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
