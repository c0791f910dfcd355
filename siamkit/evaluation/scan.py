"""One pass over all queries, a few at a time: their nearest items or all distances; accumulators, counts.

Distances are counted on the host, or on an accelerator if it computes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamkit.backend.select import backend_module
from siamkit.evaluation.candidates import nearest_first
from siamkit.evaluation.distances import Metric, check_finite, distance_chunks
from siamkit.evaluation.neighbors import is_shallow, search


@dataclass(frozen=True)
class Queries:
    """Queries, and the gallery that they search.

    Args:
        metric: the metric.
        vectors, ids: the queries `(n, dim)`, and their class ids `(n,)`.
        gallery, gallery_ids: the items `(m, dim)`, and their class ids `(m,)`.
        within: whether the gallery is the queries, each excluded by its index.
        relevant: `(n,)`, number of items of the gallery with the class of each query.
        rows: `(n,)`, the index of each query in the gallery if they are some of its items, each excluded.
    """

    metric: Metric
    vectors: NDArray[np.float32]
    ids: NDArray[np.int64]
    gallery: NDArray[np.float32]
    gallery_ids: NDArray[np.int64]
    within: bool
    relevant: NDArray[np.int64]
    rows: NDArray[np.int64] | None = None

    @property
    def findable(self) -> int:
        """The number of items that a query can find."""
        return len(self.gallery) - (self.itself is not None)

    @property
    def itself(self) -> NDArray[np.int64] | None:
        """`(n,)`, the index of each query in the gallery; None if it is not there."""
        return np.arange(len(self.vectors)) if self.within else self.rows


@dataclass(frozen=True)
class Chunk:
    """A few queries and their nearest items.

    Args:
        queries: all queries.
        start: the index of the first query.
        order: `(q, depth)`, indices of the nearest items, nearest first, without the query itself.
        distances: `(q, m)` to all items if the search computes them; else None.
    """

    queries: Queries
    start: int
    order: NDArray[np.int64]
    distances: NDArray[np.float32] | None = None

    @property
    def rows(self) -> slice:
        """The indices of these queries."""
        return slice(self.start, self.start + len(self.order))

    @property
    def relevant(self) -> NDArray[np.int64]:
        """`(q,)`, number of items with the class of the query."""
        return self.queries.relevant[self.rows]

    @cached_property
    def hits(self) -> NDArray[np.bool_]:
        """`(q, depth)`, whether the nearest items have the class of the query."""
        return np.asarray(self.queries.gallery_ids[self.order] == self.queries.ids[self.rows, None])


class Accumulator:
    """An object that collects results during the pass."""

    takes_pairs = False
    """Whether `add_pairs` does something."""

    def depth(self, relevant: int, findable: int) -> int:
        """Return the number of nearest items that the accumulator needs.

        Args:
            relevant: the maximum number of relevant items of a query in the chunk.
            findable: number of items that can be found.
        """
        raise NotImplementedError

    def add(self, chunk: Chunk) -> None:
        """Add a chunk; keep none of its arrays, nor views of them."""
        raise NotImplementedError

    def add_pairs(
        self, queries: Queries, rows: slice, columns: slice, distances: NDArray[np.float32]
    ) -> None:
        """Add the distances of pairs within one set, if the search computes those of all: in several threads.

        Each pair is given once, but twice in tiles on the diagonal.
        """

    def finish(self, queries: Queries) -> None:
        """Compute what needs distances that the search did not compute."""


def scan(queries: Queries, accumulators: Iterable[Accumulator]) -> None:
    """Pass each chunk of queries to each accumulator once."""
    accumulators = tuple(accumulators)

    def depth(rows: slice) -> int:
        most = int(queries.relevant[rows].max())
        wanted = max(accumulator.depth(most, queries.findable) for accumulator in accumulators)
        return min(queries.findable, wanted)

    metric, vectors, gallery, itself = queries.metric, queries.vectors, queries.gallery, queries.itself
    deepest = depth(slice(None))
    chunks: Iterator[Chunk]

    takers = [accumulator for accumulator in accumulators if accumulator.takes_pairs]

    def pairs(rows: slice, columns: slice, distances: NDArray[np.float32]) -> None:
        for accumulator in takers:
            accumulator.add_pairs(queries, rows, columns, distances)

    if is_shallow(metric, deepest, len(gallery)):
        given = pairs if takers else None
        searched = search(metric, vectors, gallery, deepest, itself, given) if deepest else iter(())
        chunks = (Chunk(queries, start, order) for start, order in searched)
    else:
        chunks = _compared(queries, depth)
    for chunk in chunks:
        for accumulator in accumulators:
            accumulator.add(chunk)
    for accumulator in accumulators:
        accumulator.finish(queries)


def _compared(queries: Queries, depth: Callable[[slice], int]) -> Iterator[Chunk]:
    """Yield chunks with all distances."""
    itself = queries.itself
    for start, distances in distance_chunks(queries.metric, queries.vectors, queries.gallery):
        rows = slice(start, start + len(distances))
        exclude = None if itself is None else itself[rows]
        order, _ = nearest_first(distances, max(1, depth(rows)), exclude)
        yield Chunk(queries, start, order, distances)


BINS = 2**20
"""The number of bins of a histogram."""

CACHED = 2**15
"""The number of distances that are converted to bins at a time."""

COUNTED = 2**21
"""The number of distances that are counted at a time, in 8 bytes each for their bins."""

FEW = 2**14
"""Below how many distances a histogram is not worth a new table of all bins."""

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
        self._counts = np.zeros((2, BINS), np.int64)  # all, alike
        self._range: tuple[float, float] | None = None

    def add(self, distances: NDArray[np.float32], alike: NDArray[np.bool_]) -> None:
        """Count distances (of any shape), given whether each belongs to a matching pair."""
        if not distances.size:
            return
        self._widen(float(distances.min()), float(distances.max()))
        # Scaled by a power of two each quotient is exact, unless it underflows: in float64 nothing does.
        precise = np.float32 if -126 <= self._exponent <= 0 else np.float64
        factor = precise(2.0**-self._exponent)
        flat, matching = distances.ravel(), alike.ravel()
        cells = np.empty(min(len(flat), COUNTED), np.int64)
        for first in range(0, len(flat), COUNTED):
            last = min(first + COUNTED, len(flat))
            for start in range(first, last, CACHED):
                part = slice(start, min(start + CACHED, last))
                scaled = np.multiply(flat[part], factor, dtype=precise)
                np.ceil(scaled, out=scaled)
                np.subtract(scaled, precise(self._first), out=scaled)  # exact: both are whole
                cells[start - first : part.stop - first] = scaled
            counted = cells[: last - first]
            of_alike = counted[np.flatnonzero(matching[first:last])]
            for counts, some in zip(self._counts, (counted, of_alike), strict=True):
                if len(some) < FEW:
                    np.add.at(counts, some, 1)
                else:  # np.add.at would stop all other threads
                    counts += np.bincount(some, minlength=BINS)

    @property
    def width(self) -> float:
        """The width w of a bin."""
        return float(2.0**self._exponent)

    def counts(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the centers of the filled bins, ascending, and their matching and non-matching pairs."""
        filled = np.flatnonzero(self._counts[0])
        centers = np.asarray((filled + self._first - 0.5) * 2.0**self._exponent, np.float64)
        every, alike = self._counts[:, filled]
        return centers, alike, every - alike

    def open(self, low: float, high: float) -> tuple[np.float32, np.float32, np.float32]:
        """Make bins for a range of distances that are counted elsewhere, for `add_counts`.

        Returns:
            Two powers of two, whose product may be outside float32, and a number: bin k, from 0, holds the
            distances d with ceil(d · power · other power) - number = k.
        """
        self._widen(low, high)
        half = self._exponent // 2
        powers = np.float32(2.0**-half), np.float32(2.0 ** -(self._exponent - half))
        return *powers, np.float32(self._first)

    def add_counts(self, counts: NDArray[np.int32]) -> None:
        """Add the counts `(2, BINS)` of all and of matching pairs in the bins of `open`."""
        self._counts += counts

    def merge(self, other: Histogram) -> None:
        """Add the counts of another histogram, which changes its bins."""
        if other._range is None:
            return
        self._widen(*other._range)
        other._widen(*self._range)  # type: ignore[misc]
        self._counts += other._counts

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
        filled = np.flatnonzero(self._counts[0])
        first = _bin(low, exponent)
        moved = -(-(filled + self._first) >> (exponent - self._exponent)) - first  # rounds up, as bins do
        counts = np.zeros_like(self._counts)
        for old, new in zip(self._counts, counts, strict=True):
            np.add.at(new, moved, old[filled])
        self._exponent, self._first, self._counts, self._range = exponent, first, counts, (low, high)


def _bin(value: float, exponent: int) -> int:
    return math.ceil(value * 2.0**-exponent)


# ------------------------------------------------------------------ counts on an accelerator

MOST_COUNTED = 2**31 - 1
"""The most pairs that are counted in 32 bits, before their counts are added up on the host."""


@dataclass(frozen=True)
class DeviceTile:
    """Tensors of distances, and which of them count.

    Args:
        distances: `(q, m)`; all tiles have one shape.
        rows, columns: `(q,)` and `(m,)`, int32; a pair counts if its column is greater than its row.
        row_ids, column_ids: `(q,)` and `(m,)`, int32; a pair matches if they are equal.
    """

    distances: Any
    rows: Any
    columns: Any
    row_ids: Any
    column_ids: Any


def counted_on_device(metric: Metric, tiles: Callable[[], Iterable[DeviceTile]]) -> Histogram:
    """Return the histogram of distances that never reach the host.

    The tiles are computed twice: their range decides the bins, then they are counted.

    Args:
        metric: the metric, which an error names.
        tiles: function that yields the tiles.

    Raises:
        DataError: a distance is NaN or infinite.
    """
    from keras import ops

    with_range, with_counts = backend_module().compiled(_with_range), backend_module().compiled(_with_counts)
    ends = ops.full((), np.inf), ops.full((), -np.inf)
    for tile in tiles():
        ends = with_range(tile.distances, tile.rows, tile.columns, *ends)
    low, high = (float(ops.convert_to_numpy(end)) for end in ends)
    histogram = Histogram()
    if (low, high) == (np.inf, -np.inf):
        return histogram  # no pair counts
    check_finite(metric, np.array([low, high], np.float32))
    bins = histogram.open(low, high)
    counts, counted = ops.zeros((2, BINS + 1), "int32"), 0
    for tile in tiles():
        pairs = len(tile.rows) * len(tile.columns)
        if counted + pairs > MOST_COUNTED:
            histogram.add_counts(ops.convert_to_numpy(counts)[:, :BINS])
            counts, counted = ops.zeros((2, BINS + 1), "int32"), 0
        ids = tile.row_ids, tile.column_ids
        counts = with_counts(tile.distances, tile.rows, tile.columns, *ids, *bins, counts)
        counted += pairs
    histogram.add_counts(ops.convert_to_numpy(counts)[:, :BINS])
    return histogram


def _with_range(distances: Any, rows: Any, columns: Any, low: Any, high: Any) -> Any:
    """Return the range of a tile's distances and of those before; -inf if any is NaN or infinite."""
    from keras import ops

    counts = columns[None, :] > rows[:, None]
    is_finite = ops.all(ops.isfinite(ops.where(counts, distances, 0.0)))
    low = ops.minimum(low, ops.where(is_finite, ops.min(ops.where(counts, distances, np.inf)), -np.inf))
    return low, ops.maximum(high, ops.max(ops.where(counts, distances, -np.inf)))


def _with_counts(
    distances: Any,
    rows: Any,
    columns: Any,
    row_ids: Any,
    column_ids: Any,
    power: Any,
    other_power: Any,
    first: Any,
    before: Any,
) -> Any:
    """Return the counts of a tile, of all pairs and of those that match, added to those before."""
    from keras import ops

    cells = ops.cast(ops.ceil(distances * power * other_power) - first, "int32")
    cells = ops.reshape(ops.where(columns[None, :] > rows[:, None], cells, BINS), (-1,))
    alike = ops.reshape(ops.cast(row_ids[:, None] == column_ids[None, :], "int32"), (-1,))
    every = ops.segment_sum(ops.ones_like(cells), cells, BINS + 1)
    return before + ops.stack([every, ops.segment_sum(alike, cells, BINS + 1)])
