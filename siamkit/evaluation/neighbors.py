"""Exact nearest neighbors, in memory for the gallery and a few queries.

Metrics that order items as dot products or Euclidean distances do (`Metric.ordered_by`) are searched in two
steps: a product in float32 finds more candidates than needed, and exact scores in float64 rank them. A bound
on the rounding of float32 shows whether an item that is not a candidate could be among the nearest; then more
are compared. Under other metrics, and where too many items are equally near, all distances are computed.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.backend.select import backend_module, float32_required, on_accelerator
from siamkit.errors import DataError
from siamkit.evaluation.distances import (
    Metric,
    check_size,
    distance_chunks,
    oriented,
    paired_distances,
    points_of,
    resolve_metric,
)
from siamkit.io.values import as_column, as_vectors, positive_int

Indices = NDArray[np.int64]
Vectors = NDArray[np.float32]

QUERIES = 256
"""The number of queries that a thread searches for at a time."""

DEVICE_QUERIES = 2048
"""The number of queries that an accelerator searches for at a time."""

SEGMENT = 2**15
"""The number of items of the gallery that they are compared with at a time."""

SCORED = 2**20
"""The number of coordinates of candidates that a thread converts to float64 at a time."""

SHALLOW = 1 / 32
"""The largest part of the gallery that is searched for by candidates."""

_MAGNITUDE = np.int32(0x7FFFFFFF)
_LAST = np.iinfo(np.int64).max


def nearest_neighbors(
    queries: ArrayLike,
    gallery: ArrayLike,
    metric: str | Metric,
    k: int,
    exclude: ArrayLike | None = None,
) -> tuple[Indices, Vectors]:
    """Return the k nearest items of the gallery, nearest first; ties in order of index.

    Two items are equally near if their exact scores are equal when rounded to float32, or under a metric that
    is neither ordered by products nor by distances, if the metric returns equal values. The search is exact.
    Memory grows with the gallery times a chunk of queries, not with queries times gallery.

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
    if is_shallow(resolved, k, len(gallery_vectors)):
        for start, order in search(resolved, query_vectors, gallery_vectors, k, excluded):
            rows = slice(start, start + len(order))
            indices[rows] = order
            near = np.repeat(query_vectors[rows], k, axis=0)
            found = paired_distances(resolved, near, gallery_vectors[order.ravel()])
            values[rows] = oriented(found, resolved).reshape(order.shape)
        return indices, values
    for start, distances in distance_chunks(resolved, query_vectors, gallery_vectors):
        rows = slice(start, start + len(distances))
        indices[rows], near = nearest_first(distances, k, None if excluded is None else excluded[rows])
        values[rows] = oriented(near, resolved)
    return indices, values


def _excluded(exclude: ArrayLike, queries: int, gallery: int) -> Indices:
    array = as_column(exclude, queries, name="exclude")
    if array.dtype.kind not in "iu" or array.min() < -1 or array.max() >= gallery:
        raise DataError(f"exclude should be indices from -1 to {gallery - 1}, got {exclude!r}")
    return array.astype(np.int64)


# ------------------------------------------------------------------ among distances


def nearest_first(distances: Vectors, k: int, exclude: Indices | None = None) -> tuple[Indices, Vectors]:
    """Return indices and values `(n, k)` of the k smallest of each row `(n, m)`, equal values by index.

    Args:
        distances: `(n, m)`.
        k: number of values.
        exclude: `(n,)`, the column to exclude in each row, -1 for none.
    """
    count = min(k + 1, distances.shape[1])  # one may be excluded
    return _ranked(*below(distances, limit_of_smallest(distances, count)), k, exclude)


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


def below(values: Vectors, limits: Vectors) -> tuple[Vectors, Indices]:
    """Return the values of each row `(n, m)` that are below its limit `(n,)`, and their columns.

    Rows that have fewer of them than others are filled with infinity.
    """
    rows, width = values.shape
    flat = np.flatnonzero(values < limits[:, None])
    row, column = np.divmod(flat, width)
    counts = np.bincount(row, minlength=rows)
    cells = row, np.arange(len(flat)) - (np.cumsum(counts) - counts)[row]
    shape = rows, int(counts.max())
    found, columns = np.full(shape, np.inf, np.float32), np.zeros(shape, np.int64)
    found[cells], columns[cells] = values.ravel()[flat], column
    return found, columns


def _ranked(values: Vectors, columns: Indices, k: int, exclude: Indices | None) -> tuple[Indices, Vectors]:
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


def is_shallow(metric: Metric, k: int, gallery: int) -> bool:
    """Return whether the k nearest items of a gallery are searched for by candidates."""
    return getattr(metric, "ordered_by", None) is not None and k <= SHALLOW * gallery


def search(
    metric: Metric, queries: Vectors, gallery: Vectors, k: int, exclude: Indices | None = None
) -> Iterator[tuple[int, Indices]]:
    """Yield the index of the first of a few queries, and the k nearest items of each, nearest first.

    As many threads compute as the library of linear algebra would use.

    Args:
        metric: a metric that is ordered by products or by distances.
        queries: `(n, dim)`.
        gallery: `(m, dim)`.
        k: number of nearest items.
        exclude: `(n,)`, the index of the item to exclude for each query, -1 for none.
    """
    from threadpoolctl import threadpool_info, threadpool_limits  # late: scikit-learn brings it

    check_size(metric, queries, gallery)
    paired_distances(metric, queries[:1], gallery[:1])  # a metric builds its weights when it is first called
    points_a, points_b = points_of(metric, queries), points_of(metric, gallery)
    _, exponent = np.frexp(max(max(float(each.max()), -float(each.min())) for each in (points_a, points_b)))
    for each in (points_a, points_b):
        np.ldexp(each, -int(exponent), out=each)
    on_device = on_accelerator()
    index = (DeviceIndex if on_device else Index)(points_b, metric.ordered_by, k)  # type: ignore[attr-defined]
    size = DEVICE_QUERIES if on_device else QUERIES

    def nearest(start: int) -> tuple[Indices, NDArray[np.bool_]]:
        rows = slice(start, start + size)
        return index.nearest(points_a[rows], None if exclude is None else exclude[rows])

    starts = range(0, len(queries), size)
    pools = [1, *(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")]
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(max(pools)) as pool:
        for start, (order, proven) in zip(starts, pool.map(nearest, starts), strict=True):
            rows = start + np.flatnonzero(~proven)
            for first, distances in distance_chunks(metric, queries[rows], gallery) if rows.size else ():
                some = rows[first : first + len(distances)]
                left_out = None if exclude is None else exclude[some]
                order[some - start] = nearest_first(distances, k, left_out)[0]
            yield start, order


class Index:
    """The points of a gallery, ready for a search for the k nearest of them.

    Args:
        points: `(m, dim)`, of coordinates up to 1.
        by: whether a high product or a low distance is near.
        k: number of nearest points.
    """

    def __init__(self, points: Vectors, by: Literal["product", "distance"], k: int) -> None:
        self._points, self._by, self._k = points, by, k
        self._center = points.mean(axis=0, dtype=np.float64) if by == "distance" else np.float64(0)
        self._segments, squares = [], [0.0]
        for start in range(0, len(points), SEGMENT):
            centered = points[start : start + SEGMENT] - self._center
            square = np.einsum("nd,nd->n", centered, centered)
            # |b|² / 2 - a·b orders points b as their distance from a does: [-a, 1] · [b, |b|² / 2].
            segment = np.empty((points.shape[1] + 1, len(centered)), np.float32)
            segment[:-1] = centered.T
            segment[-1] = square / 2 if by == "distance" else 0
            self._segments.append(segment)
            squares.append(float(square.max()))
        self._longest = math.sqrt(max(squares))
        self._thread = threading.local()

    def nearest(self, queries: Vectors, exclude: Indices | None = None) -> tuple[Indices, NDArray[np.bool_]]:
        """Return the k nearest points of each query, nearest first, ties in order of index; whether proven.

        Returns:
            Indices `(n, k)`; and `(n,)`, False if other points could be as near.
        """
        nearest = np.empty((len(queries), self._k), np.int64)
        rows, few = np.arange(len(queries)), candidates_for(self._k)
        for count in (few, 4 * few):
            bound, columns = self._candidates(queries[rows], min(count, len(self._points)))
            left_out = None if exclude is None else exclude[rows]
            nearest[rows], scores = _ranked(self._scores(queries[rows], columns), columns, self._k, left_out)
            rows = rows[(scores[:, -1] >= bound) & (count < len(self._points))]
            if not rows.size:
                break
        proven = np.ones(len(queries), bool)
        proven[rows] = False
        return nearest, proven

    def _candidates(self, queries: Vectors, count: int) -> tuple[NDArray[np.float64], Indices]:
        """Return candidates `(n, count)`, and a lower bound `(n,)` on the scores of all other points."""
        centered = queries - self._center
        ones = np.ones((len(queries), 1))
        extended = np.concatenate([-centered, ones], axis=1).astype(np.float32)
        values, columns = self._smallest(extended, count)
        lengths = np.sqrt((centered**2).sum(axis=1))
        # A sum of dim products of float32 is wrong by at most dim units in the last place of its terms; twice
        # that, since the points were rounded, too.
        # 2⁻¹⁰⁰, since an accelerator may round the smallest numbers to 0.
        sizes = lengths * self._longest + (self._longest**2 / 2 if self._by == "distance" else 0) + 2.0**-100
        bound = values.max(axis=1) - 2 * extended.shape[1] * 2.0**-24 * sizes
        if self._by == "distance":
            bound = lengths**2 + 2 * bound
        return bound - 2.0**-23 * np.abs(bound), columns

    def _smallest(self, queries: Vectors, count: int) -> tuple[Vectors, Indices]:
        """Return the smallest products `(n, count)` of queries with all points, and their columns."""
        # In memory that the thread uses again: new pages would cost half as much time as the product.
        if not hasattr(self._thread, "memory"):
            self._thread.memory = np.empty(QUERIES * self._segments[0].shape[1], np.float32)
        values, columns = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        for number, segment in enumerate(self._segments):
            shape = len(queries), segment.shape[1]
            memory: Vectors = self._thread.memory[: math.prod(shape)].reshape(shape)
            products = np.matmul(queries, segment, out=memory)
            known = values.shape[1] == count
            limits = values.max(axis=1) if known else limit_of_smallest(products, count)
            found, at = below(products, limits)
            values = np.concatenate([values, found], axis=1)
            columns = np.concatenate([columns, at + number * SEGMENT], axis=1)
            if values.shape[1] > count:
                kept = values.argpartition(count - 1, axis=1)[:, :count]
                values = np.take_along_axis(values, kept, axis=1)
                columns = np.take_along_axis(columns, kept, axis=1)
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


class DeviceIndex(Index):
    """An index that finds candidates on an accelerator, in blocks of one shape, one block at a time."""

    def __init__(self, points: Vectors, by: Literal["product", "distance"], k: int) -> None:
        from keras import ops

        super().__init__(points, by, k)
        self._segments = [ops.convert_to_tensor(segment) for segment in self._segments]
        self._step = backend_module().compiled(_with_smallest_products)
        self._one_block = threading.Lock()

    def _smallest(self, queries: Vectors, count: int) -> tuple[Vectors, Indices]:
        from keras import ops

        block = np.zeros((DEVICE_QUERIES, queries.shape[1]), np.float32)
        block[: len(queries)] = queries
        with self._one_block, float32_required():
            on_device = ops.convert_to_tensor(block)
            found = ops.full((DEVICE_QUERIES, count), np.inf), ops.zeros((DEVICE_QUERIES, count), "int32")
            for number, segment in enumerate(self._segments):
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
