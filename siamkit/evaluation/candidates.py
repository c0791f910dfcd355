"""The nearest of many points by candidates: quick products find them, exact scores rank them.

A product in float32 finds more candidates than needed, and exact scores in float64 rank them. A bound on the
rounding of float32 shows whether a point that is not a candidate could be among the nearest; then more are
compared.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from siamkit.backend.select import backend_module, float32_required

Indices = NDArray[np.int64]
Vectors = NDArray[np.float32]
Each = Callable[[Callable[[tuple[int, int]], None], Iterable[tuple[int, int]]], Iterable[None]]

Pairs = Callable[[slice, slice, Vectors], None]
"""A function of the rows, the columns, and the values of their pairs."""

QUERIES = 256
"""The number of queries that a thread searches for at a time."""

DEVICE_QUERIES = 2048
"""The number of queries that an accelerator searches for at a time."""

SEGMENT = 2**15
"""The number of items of the gallery that queries are compared with at a time."""

SCORED = 2**20
"""The number of coordinates of candidates that a thread converts to float64 at a time."""

TILE = 2048
"""The number of points that are compared with as many others at a time, if each is compared with all."""

KEPT = 2**25
"""The most candidates of all points that are kept at once, if each point is compared with all others."""

_MAGNITUDE = np.int32(0x7FFFFFFF)
_LAST = np.iinfo(np.int64).max


# ------------------------------------------------------------------ among distances


def nearest_first(distances: Vectors, k: int, exclude: Indices | None = None) -> tuple[Indices, Vectors]:
    """Return indices and values `(n, k)` of the k smallest of each row `(n, m)`, equal values by index.

    Args:
        distances: `(n, m)`.
        k: number of values.
        exclude: `(n,)`, the column to exclude in each row, -1 for none.
    """
    count = min(k + 1, distances.shape[1])  # one may be excluded
    return ranked(*below(distances, limit_of_smallest(distances, count)), k, exclude)


def candidates_for(k: int) -> int:
    """Return how many candidates to take for the k nearest, one of which may be excluded."""
    return k + 1 + max(7, k // 4)


def limit_of_smallest(values: Vectors, count: int) -> Vectors:
    """Return a limit for each row `(n, m)` that at least `count` of its values are below, and few more.

    Columns are divided into groups, and the limit is just above the `count`-th smallest of their minima,
    which are much quicker to compute than a partition. All values that equal the `count`-th smallest are
    below it, too.
    """
    rows, width = values.shape
    if count >= width:
        return np.full(rows, np.inf, np.float32)
    size = min(64, math.isqrt(width // count))
    groups = width // size  # a group has every `groups`-th column
    minima = values[:, : size * groups].reshape(rows, size, groups).min(axis=1)
    return np.nextafter(np.partition(minima, count - 1, axis=1)[:, count - 1], np.float32(np.inf))


def below(values: Vectors, limits: Vectors, of_columns: bool = False) -> tuple[Vectors, Indices]:
    """Return the values of each row `(n, m)` that are below its limit `(n,)`, and their columns.

    Rows that have fewer of them than others are filled with infinity.

    Args:
        values: `(n, m)`, or `(m, n)` with `of_columns`.
        limits: `(n,)`.
        of_columns: whether the rows are the columns of `values`.
    """
    flat = np.flatnonzero(values < (limits if of_columns else limits[:, None]))
    row, column = np.divmod(flat, values.shape[1])
    if of_columns:
        order = np.argsort(column, kind="stable")
        flat, row, column = flat[order], column[order], row[order]
    counts = np.bincount(row, minlength=len(limits))
    cells = row, np.arange(len(flat)) - (np.cumsum(counts) - counts)[row]
    shape = len(limits), int(counts.max())
    found, columns = np.full(shape, np.inf, np.float32), np.zeros(shape, np.int64)
    found[cells], columns[cells] = values.ravel()[flat], column
    return found, columns


def least(values: Vectors, columns: NDArray[Any], count: int) -> tuple[Vectors, NDArray[Any]]:
    """Return the `count` smallest values of each row and their columns, in any order, or all of them."""
    if values.shape[1] <= count:
        return values, columns
    kept = values.argpartition(count - 1, axis=1)[:, :count]
    return np.take_along_axis(values, kept, axis=1), np.take_along_axis(columns, kept, axis=1)


def ranked(values: Vectors, columns: Indices, k: int, exclude: Indices | None) -> tuple[Indices, Vectors]:
    """Return columns and values `(n, k)` of the k smallest values of each row, equal values by column.

    The bits of a float, read as an integer, have the order of the float (mirrored for negative ones). With
    the column in the lower bits all integers are distinct, so a plain sort is exact about ties.
    """
    bits = values.view(np.int32)
    keys = np.where(bits < 0, bits ^ _MAGNITUDE, bits).astype(np.int64)
    keys <<= 32
    keys |= columns
    if exclude is not None:
        keys[columns == exclude[:, None]] = _LAST
    if k < keys.shape[1]:
        keys.partition(k - 1, axis=1)
        keys = keys[:, :k].copy()
    keys.sort(axis=1)
    near = (keys >> 32).astype(np.int32)
    return keys & 0xFFFFFFFF, np.where(near < 0, near ^ _MAGNITUDE, near).view(np.float32)


# ------------------------------------------------------------------ by candidates


class Index:
    """The points of a gallery, ready for a search for the k nearest of them.

    Args:
        points: `(m, dim)`, of coordinates up to 1.
        by: whether a high product or a low distance is near.
        k: number of nearest points.
    """

    @property
    def at_once(self) -> int:
        """The number of queries that it is made for at a time."""
        return QUERIES

    def __init__(self, points: Vectors, by: Literal["product", "distance"], k: int) -> None:
        self._points, self._by, self._k = points, by, k
        self._center = points.mean(axis=0, dtype=np.float64) if by == "distance" else np.float64(0)
        blocks = (self._centered(slice(start, start + SEGMENT)) for start in range(0, len(points), SEGMENT))
        self._squares = np.concatenate([np.einsum("nd,nd->n", block, block) for block in blocks])
        self._longest = math.sqrt(self._squares.max())
        self._thread = threading.local()

    def _centered(self, rows: slice) -> NDArray[np.float64]:
        return np.asarray(self._points[rows] - self._center, np.float64)

    def _halves(self, rows: slice | Indices) -> NDArray[np.float64]:
        """Return |b|² / 2 of points b; 0 if products order them."""
        return self._squares[rows] / 2 if self._by == "distance" else 0 * self._squares[rows]

    @cached_property
    def _segments(self) -> list[Any]:
        # |b|² / 2 - a·b orders points b as their distance from a does: [-a, 1] · [b, |b|² / 2].
        parts = [slice(start, start + SEGMENT) for start in range(0, len(self._points), SEGMENT)]
        return [
            np.concatenate([self._centered(rows).T, self._halves(rows)[None]]).astype(np.float32)
            for rows in parts
        ]

    def _product(self, left: Vectors, right: Vectors) -> Vectors:
        """Return a product in memory that the thread uses again: new pages would cost half as much time."""
        shape = len(left), right.shape[1]
        if getattr(self._thread, "memory", np.empty(0)).size < math.prod(shape):
            self._thread.memory = np.empty(math.prod(shape), np.float32)
        memory: Vectors = self._thread.memory[: math.prod(shape)].reshape(shape)
        return np.matmul(left, right, out=memory)

    def nearest(self, queries: Vectors, exclude: Indices | None = None) -> tuple[Indices, NDArray[np.bool_]]:
        """Return the k nearest points of each query, nearest first, ties in order of index; whether proven.

        Args:
            queries: `(n, dim)`, scaled as the points are.
            exclude: `(n,)`, the index of the point to exclude for each query, -1 for none.

        Returns:
            Indices `(n, k)`; and `(n,)`, False if other points could be as near.
        """
        nearest = np.empty((len(queries), self._k), np.int64)
        rows, few = np.arange(len(queries)), candidates_for(self._k)
        for count in (few, 4 * few):
            left_out = None if exclude is None else exclude[rows]
            bound, columns = self._candidates(queries[rows], min(count, len(self._points)), left_out)
            nearest[rows], scores = ranked(self._scores(queries[rows], columns), columns, self._k, left_out)
            rows = rows[(scores[:, -1] >= bound) & (count < len(self._points))]
            if not rows.size:
                break
        proven = np.ones(len(queries), bool)
        proven[rows] = False
        return nearest, proven

    def _candidates(
        self, queries: Vectors, count: int, exclude: Indices | None
    ) -> tuple[NDArray[np.float64], Indices]:
        """Return candidates `(n, count)`, and a lower bound `(n,)` on the scores of all other points."""
        centered = queries - self._center
        ones = np.ones((len(queries), 1))
        extended = np.concatenate([-centered, ones], axis=1).astype(np.float32)
        values, columns = self._smallest(extended, count, exclude)
        lengths = np.sqrt((centered**2).sum(axis=1))
        # A sum of dim products of float32 is wrong by at most dim units in the last place of its terms; twice
        # that, since the points were rounded, too. 2⁻¹⁰⁰, since an accelerator may round the smallest to 0.
        sizes = lengths * self._longest + 2.0**-100
        if self._by == "distance":
            sizes += (lengths**2 + self._longest**2) / 2
        bound = values.max(axis=1) - 2 * (extended.shape[1] + 1) * 2.0**-24 * sizes
        if self._by == "distance":
            bound = lengths**2 + 2 * bound
        return bound - 2.0**-23 * np.abs(bound), columns

    def _smallest(
        self, queries: Vectors, count: int, exclude: Indices | None
    ) -> tuple[NDArray[np.floating], Indices]:
        """Return the smallest products `(n, count)` of queries with all points, and their columns."""
        values, columns = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        for number, segment in enumerate(self._segments):
            products = self._product(queries, segment)
            known = values.shape[1] == count
            found, at = below(products, values.max(axis=1) if known else limit_of_smallest(products, count))
            values = np.concatenate([values, found], axis=1)
            columns = np.concatenate([columns, at + number * SEGMENT], axis=1)
            values, columns = least(values, columns, count)
        return values, columns

    def _scores(self, queries: Vectors, columns: Indices) -> Vectors:
        """Return the exact scores `(n, count)` of candidates, rounded to float32: low is near."""
        scores = np.empty(columns.shape, np.float32)
        size = max(1, SCORED // (columns.shape[1] * queries.shape[1]))
        for start in range(0, len(queries), size):
            rows = slice(start, start + size)
            wide = queries[rows, None].astype(np.float64)
            candidates = self._points[columns[rows]].astype(np.float64)
            if self._by == "distance":
                candidates -= wide
                scores[rows] = np.einsum("qcd,qcd->qc", candidates, candidates)
            else:
                scores[rows] = -np.matmul(candidates, wide.swapaxes(1, 2))[:, :, 0]
        return scores + np.float32(0)  # no negative zeros: their bits rank before zero


class OwnIndex(Index):
    """An index of points that are also the queries, each excluded by its own index: half of the products.

    Only tiles of products on one side of the diagonal are computed. Each has candidates for the points of
    its rows, and for those of its columns.

    Args:
        points, by, k: as for `Index`.
        each: function that applies another to all elements, perhaps in several threads: `map`, for example.
        also: function that is called with the rows, the columns and the negated products of each tile, in
            the threads; it may change the products. Only by products.
    """

    @staticmethod
    def pays(points: int, k: int) -> bool:
        """Return whether it is quicker than an `Index`, and its candidates take little memory."""
        return points > 4 * TILE and points * candidates_for(k) <= KEPT

    def __init__(
        self,
        points: Vectors,
        by: Literal["product", "distance"],
        k: int,
        each: Each,
        also: Pairs | None = None,
    ) -> None:
        super().__init__(points, by, k)
        parts = [slice(start, min(start + TILE, len(points))) for start in range(0, len(points), TILE)]
        # [-a, |a|² / 2, 1] · [b, 1, |b|² / 2] is the same for b and a.
        rights = [
            np.column_stack([self._centered(rows), np.ones(len(points[rows])), self._halves(rows)]).astype(
                np.float32
            )
            for rows in parts
        ]
        shortlists = [Shortlist(len(right), min(candidates_for(k), len(points))) for right in rights]

        def compare(tile: tuple[int, int]) -> None:
            top, left = tile
            mirrored = np.concatenate([-rights[top][:, :-2], rights[top][:, :-3:-1]], axis=1)
            products = self._product(mirrored, rights[left].T)
            shortlists[top].add(products, parts[left].start)
            if top != left:
                shortlists[left].add(products, parts[top].start, of_columns=True)
            if also is not None:
                also(parts[top], parts[left], products)

        # Tiles on the diagonal come first: what is near there limits what is near elsewhere.
        numbers = range(len(parts))
        for tiles in (zip(numbers, numbers, strict=True), itertools.combinations(numbers, 2)):
            for _ in each(compare, tiles):
                pass
        kept = [shortlist.kept() for shortlist in shortlists]
        self._values, self._columns = (np.concatenate(arrays) for arrays in zip(*kept, strict=True))

    def _smallest(
        self, queries: Vectors, count: int, exclude: Indices | None
    ) -> tuple[NDArray[np.floating], Indices]:
        assert exclude is not None
        if count != self._values.shape[1]:
            return super()._smallest(queries, count, exclude)
        # Without |a|² / 2, as in the products of a query with a segment.
        values = self._values[exclude] - self._halves(exclude)[:, None]
        return values, self._columns[exclude].astype(np.int64)


class Shortlist:
    """The smallest values so far of each of a few rows, and their columns.

    Args:
        rows: number of rows.
        count: number of values.
    """

    def __init__(self, rows: int, count: int) -> None:
        self._count, self._one_thread = count, threading.Lock()
        self._values: Vectors = np.empty((rows, 0), np.float32)
        self._columns: NDArray[np.int32] = np.empty((rows, 0), np.int32)
        self._limits: Vectors | None = None  # known as soon as there are `count` values

    def add(self, values: Vectors, first: int, of_columns: bool = False) -> None:
        """Add the values `(rows, m)`, or `(m, rows)` with `of_columns`, of the columns from `first` on."""
        limits = self._limits
        if limits is None:
            limits = limit_of_smallest(values.T if of_columns else values, self._count)
        found, columns = below(values, limits, of_columns)
        with self._one_thread:
            self._values = np.concatenate([self._values, found], axis=1)
            self._columns = np.concatenate([self._columns, (columns + first).astype(np.int32)], axis=1)
            if self._limits is None or self._values.shape[1] > 4 * self._count:
                self._trim()

    def _trim(self) -> None:
        self._values, self._columns = least(self._values, self._columns, self._count)
        if self._values.shape[1] == self._count:
            self._limits = self._values.max(axis=1)

    def kept(self) -> tuple[Vectors, NDArray[np.int32]]:
        """Return the values `(rows, count)`, and their columns."""
        self._trim()
        return self._values, self._columns


class DeviceIndex(Index):
    """An index that finds candidates on an accelerator, in blocks of one shape, one block at a time."""

    @property
    def at_once(self) -> int:
        return DEVICE_QUERIES

    def __init__(self, points: Vectors, by: Literal["product", "distance"], k: int) -> None:
        from keras import ops

        super().__init__(points, by, k)
        self._on_device = [ops.convert_to_tensor(segment) for segment in self._segments]
        del self._segments  # the host needs no copy
        self._step = backend_module().compiled(_with_smallest_products)
        self._one_block = threading.Lock()

    def _smallest(
        self, queries: Vectors, count: int, exclude: Indices | None
    ) -> tuple[NDArray[np.floating], Indices]:
        from keras import ops

        block = np.zeros((DEVICE_QUERIES, queries.shape[1]), np.float32)
        block[: len(queries)] = queries
        with self._one_block, float32_required():
            on_device = ops.convert_to_tensor(block)
            found = ops.full((DEVICE_QUERIES, count), np.inf), ops.zeros((DEVICE_QUERIES, count), "int32")
            for number, segment in enumerate(self._on_device):
                found = self._step(on_device, segment, np.int32(number * SEGMENT), *found)
            values, columns = (ops.convert_to_numpy(each)[: len(queries)] for each in found)
        return values, columns.astype(np.int64)


def _with_smallest_products(queries: Any, segment: Any, first: Any, values: Any, columns: Any) -> Any:
    """Return the smallest of some values and of products with a segment, and their columns.

    Args:
        queries: `(n, dim)`.
        segment: `(dim, m)`, points from the column `first` on.
        first: the number of columns before the segment.
        values: `(n, count)`, the smallest values so far.
        columns: `(n, count)`, their columns.
    """
    from keras import ops

    count = values.shape[1]
    found, at = _smallest_of_tensor(ops.matmul(queries, segment), count)
    values = ops.concatenate([values, found], axis=1)
    columns = ops.concatenate([columns, ops.cast(at, "int32") + first], axis=1)
    largest, kept = ops.top_k(-values, count)
    return -largest, ops.take_along_axis(columns, kept, axis=1)


def _smallest_of_tensor(values: Any, count: int) -> tuple[Any, Any]:
    """Return the smallest values of each row, and their columns: a top-k takes far longer than minima."""
    from keras import ops

    rows, width = values.shape
    size = min(64, math.isqrt(width // count)) if count < width else 0
    if size < 4:
        largest, columns = ops.top_k(-values, min(count, width))
        return -largest, columns
    groups = width // size
    minima = ops.min(ops.reshape(values[:, : size * groups], (rows, size, groups)), axis=1)
    _, lowest = _smallest_of_tensor(minima, count)
    columns = ops.reshape(lowest[:, :, None] + ops.cast(ops.arange(size) * groups, lowest.dtype), (rows, -1))
    if rest := width - size * groups:
        others = ops.cast(ops.arange(width - rest, width), columns.dtype)
        columns = ops.concatenate([columns, ops.broadcast_to(others, (rows, rest))], axis=1)
    found, kept = _smallest_of_tensor(ops.take_along_axis(values, columns, axis=1), count)
    return found, ops.take_along_axis(columns, kept, axis=1)
