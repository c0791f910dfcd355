"""One pass over all distances, a chunk of queries at a time: nearest neighbors, accumulators, counts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError
from siamkit.evaluation.distances import Metric, distance_chunks, oriented, resolve_metric
from siamkit.io.values import as_column, as_vectors, positive_int

_MAGNITUDE = np.int32(0x7FFFFFFF)


def nearest_neighbors(
    queries: ArrayLike,
    gallery: ArrayLike,
    metric: str | Metric,
    k: int,
    exclude: ArrayLike | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the k nearest items of the gallery, nearest first; ties in order of index.

    Two items are equally near if the metric returns equal values; matrix products may round the values of
    identical items differently in the last bit. The search is exact. Memory grows with the gallery times a
    chunk of queries, not with queries times gallery.

    Args:
        queries: `(n, dim)`.
        gallery: `(m, dim)`.
        metric: a metric, or its name.
        k: number of nearest items, at most m (m - 1 if anything is excluded).
        exclude: `(n,)`, the gallery index to exclude for each query, -1 for none; `np.arange(n)`
            searches a set within itself.

    Returns:
        Indices `(n, k)` into the gallery, and the values of the metric `(n, k)`.

    Example:
        >>> from siamkit.evaluation import nearest_neighbors
        >>> line = [[0.0], [1.0], [3.0]]
        >>> indices, values = nearest_neighbors(line, line, "euclidean", 1, exclude=[0, 1, 2])
        >>> indices[:, 0].tolist()
        [1, 0, 1]
    """
    query_vectors = as_vectors(queries, 2, name="queries")
    gallery_vectors = as_vectors(gallery, 2, name="gallery")
    if query_vectors.shape[1] != gallery_vectors.shape[1]:
        raise DataError(
            "queries and gallery should have the same dim, got "
            f"{query_vectors.shape[1]} and {gallery_vectors.shape[1]}"
        )
    excluded = None if exclude is None else _excluded(exclude, len(query_vectors), len(gallery_vectors))
    most = len(gallery_vectors) - (excluded is not None and bool((excluded >= 0).any()))
    if positive_int(k) > most:
        raise DataError(f"k should be at most {most}, the number of items to search, got {k}")
    resolved = resolve_metric(metric)
    indices = np.empty((len(query_vectors), k), np.int64)
    values = np.empty((len(query_vectors), k), np.float32)
    for start, distances in distance_chunks(resolved, query_vectors, gallery_vectors):
        rows = slice(start, start + len(distances))
        indices[rows], near = nearest_first(distances, k, None if excluded is None else excluded[rows])
        values[rows] = oriented(near, resolved)
    return indices, values


def nearest_first(
    distances: NDArray[np.float32], k: int, exclude: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return indices and values `(n, k)` of the k smallest of each row `(n, m)`, equal values by index.

    The bits of a float, read as an integer, have the order of the float (mirrored for negative ones). With
    the index in the lower bits all integers are distinct, so a plain partition is exact about ties, and
    several times faster than a stable sort of the whole row.
    """
    bits = distances.view(np.int32)
    ordered = np.where(bits < 0, bits ^ _MAGNITUDE, bits)
    keys = ordered.astype(np.int64)
    keys <<= 32
    keys |= np.arange(distances.shape[1])
    if exclude is not None:
        rows = np.flatnonzero(exclude >= 0)
        keys[rows, exclude[rows]] = np.iinfo(np.int64).max
    if k < keys.shape[1]:
        keys.partition(k - 1, axis=1)
        keys = keys[:, :k].copy()
    keys.sort(axis=1)
    near = (keys >> 32).astype(np.int32)
    values = np.where(near < 0, near ^ _MAGNITUDE, near).view(np.float32)
    return keys & 0xFFFFFFFF, values


def _excluded(exclude: ArrayLike, queries: int, gallery: int) -> NDArray[np.int64]:
    array = as_column(exclude, queries, name="exclude")
    if array.dtype.kind not in "iu" or array.min() < -1 or array.max() >= gallery:
        raise DataError(f"exclude should be indices from -1 to {gallery - 1}, got {exclude!r}")
    return array.astype(np.int64)


@dataclass(frozen=True)
class DistanceChunk:
    """A few queries and their distances to the gallery.

    Args:
        start: the index of the first query.
        distances: `(q, gallery)`.
        alike: `(q, gallery)`, whether query and item have the same class.
        order: `(q, depth)`, indices of the nearest items, nearest first, without the query itself.
        hits: `(q, depth)`, whether these nearest items have the class of the query.
        relevant: `(q,)`, number of items of the gallery with the class of the query.
        ids: `(gallery,)`, the classes of the gallery.
        within: whether the queries are the gallery.
    """

    start: int
    distances: NDArray[np.float32]
    alike: NDArray[np.bool_]
    order: NDArray[np.int64]
    hits: NDArray[np.bool_]
    relevant: NDArray[np.int64]
    ids: NDArray[np.int64]
    within: bool

    def pairs(self) -> Iterable[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
        """Yield distances and `alike` of the pairs i < j, or of all pairs if there is a gallery."""
        if not self.within:
            yield self.distances, self.alike
            return
        # A triangle, and everything to its right.
        stop = self.start + len(self.distances)
        above = np.triu(np.ones((len(self.distances), len(self.distances)), bool), 1)
        yield self.distances[:, self.start : stop][above], self.alike[:, self.start : stop][above]
        yield self.distances[:, stop:], self.alike[:, stop:]


class Accumulator(Protocol):
    """An object that collects results during the pass."""

    def depth(self, relevant: int, findable: int) -> int:
        """Return the number of nearest items that the accumulator needs.

        Args:
            relevant: the maximum number of relevant items of a query in the chunk.
            findable: number of items that can be found.
        """

    def add(self, chunk: DistanceChunk) -> None:
        """Add a chunk; keep none of its arrays, nor views of them."""


def scan_distances(
    metric: Metric,
    queries: NDArray[np.float32],
    ids: NDArray[np.int64],
    gallery: tuple[NDArray[np.float32], NDArray[np.int64]] | None,
    relevant: NDArray[np.int64],
    accumulators: Iterable[Accumulator],
) -> None:
    """Pass each chunk of distances to each accumulator once.

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
    for start, distances in distance_chunks(metric, queries, pool):
        rows = slice(start, start + len(distances))
        alike = ids[rows, None] == pool_ids
        most = int(relevant[rows].max())
        depth = max((accumulator.depth(most, findable) for accumulator in accumulators), default=1)
        itself = np.arange(len(queries))[rows] if gallery is None else None
        order, _ = nearest_first(distances, min(depth, findable), itself)
        hits = np.take_along_axis(alike, order, axis=1)
        chunk = DistanceChunk(
            start, distances, alike, order, hits, relevant[rows], pool_ids, within=gallery is None
        )
        for accumulator in accumulators:
            accumulator.add(chunk)


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
