"""Exact nearest neighbors, in memory for the gallery and a few queries.

Metrics that order items as dot products or Euclidean distances do (`Metric.ordered_by`) are searched by
candidates. Under other metrics, and where too many items are equally near, all distances are computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.backend.select import on_accelerator
from siamkit.errors import DataError
from siamkit.evaluation.candidates import (
    DeviceIndex,
    Index,
    Indices,
    OwnIndex,
    Pairs,
    Vectors,
    nearest_first,
)
from siamkit.evaluation.distances import (
    Metric,
    by_products,
    check_size,
    distance_chunks,
    oriented,
    paired_distances,
    points_of,
    resolve_metric,
)
from siamkit.io.values import as_column, as_vectors, positive_int

SHALLOW = 1 / 32
"""The largest part of the gallery that is searched for by candidates."""


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


# ------------------------------------------------------------------ by candidates


def is_shallow(metric: Metric, k: int, gallery: int) -> bool:
    """Return whether the k nearest items of a gallery are searched for by candidates."""
    return getattr(metric, "ordered_by", None) is not None and k <= SHALLOW * gallery


def search(
    metric: Metric,
    queries: Vectors,
    gallery: Vectors,
    k: int,
    exclude: Indices | None = None,
    pairs: Pairs | None = None,
) -> Iterator[tuple[int, Indices]]:
    """Yield the index of the first of a few queries, and the k nearest items of each, nearest first.

    As many threads compute as the library of linear algebra would use.

    Args:
        metric: a metric that is ordered by products or by distances.
        queries: `(n, dim)`.
        gallery: `(m, dim)`.
        k: number of nearest items.
        exclude: `(n,)`, the index of the item to exclude for each query, -1 for none.
        pairs: function that is called with the rows, the columns and the distances of all pairs, before the
            first yield and in several threads, if the search computes them: within one set, of a metric whose
            values are products that float32 can hold. Each pair is given once, but twice in tiles on the
            diagonal.
    """
    from threadpoolctl import threadpool_info, threadpool_limits  # late: scikit-learn brings it

    check_size(metric, queries, gallery)
    paired_distances(metric, queries[:1], gallery[:1])  # a metric builds its weights when it is first called
    points = [points_of(metric, each) for each in ((gallery,) if queries is gallery else (queries, gallery))]
    largest = max(max(float(each.max()), -float(each.min())) for each in points)
    _, exponent = np.frexp(largest)
    for each in points:
        np.ldexp(each, -int(exponent), out=each)
    points_a, points_b = points[0], points[-1]
    within = queries is gallery and exclude is not None and (exclude == np.arange(len(exclude))).all()
    by: Literal["product", "distance"] = metric.ordered_by  # type: ignore[attr-defined]
    pools = [1, *(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")]
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(max(pools)) as pool:
        index: Index
        if on_accelerator():
            index = DeviceIndex(points_b, by, k)
        elif within and OwnIndex.pays(len(gallery), k):
            also = None
            fits = points_b.shape[1] * largest**2 < float(np.finfo(np.float32).max) and exponent < 64
            if pairs is not None and fits and by_products(metric, queries):
                also = partial(_passed_on, 2 * int(exponent), pairs)
            index = OwnIndex(points_b, by, k, pool.map, also)
        else:
            index = Index(points_b, by, k)

        def nearest(start: int) -> tuple[Indices, NDArray[np.bool_]]:
            rows = slice(start, start + index.at_once)
            return index.nearest(points_a[rows], None if exclude is None else exclude[rows])

        starts = range(0, len(queries), index.at_once)
        for start, (order, proven) in zip(starts, pool.map(nearest, starts), strict=True):
            rows = start + np.flatnonzero(~proven)
            for first, distances in distance_chunks(metric, queries[rows], gallery) if rows.size else ():
                some = rows[first : first + len(distances)]
                left_out = None if exclude is None else exclude[some]
                order[some - start] = nearest_first(distances, k, left_out)[0]
            yield start, order


def _passed_on(exponent: int, pairs: Pairs, rows: slice, columns: slice, products: Vectors) -> None:
    """Pass negated products of scaled points on as distances, times 2^exponent: at most 2^126."""
    products *= np.float32(2.0**exponent)
    pairs(rows, columns, products)
