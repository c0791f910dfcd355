"""Distances under any metric as NumPy arrays, block by block; cosine and Euclidean also without a backend.

Everything else compares *distances*, low for similar items: a similarity is negated here, which is exact, so
ranking, the ROC curve and the threshold are implemented once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from siamkit.backend.select import float32_required
from siamkit.errors import DataError, nearest

BLOCK = 2**24
"""The most numbers that a metric may hold at once: rows by columns by dim, which Manhattan needs."""

CHUNK = 2**22
"""The most distances in memory at once: rows by gallery."""


class Metric(Protocol):
    """A metric, which compares two embeddings; see `siamkit.metrics`.

    It may also have `ordered_by` and `points`, as `siamkit.metrics.Metric` does.
    """

    orientation: Any

    def __call__(self, a: Any, b: Any, /) -> Any: ...

    def matrix(self, a: Any, b: Any, /) -> Any: ...


def resolve_metric(metric: str | Metric) -> Metric:
    """Return the metric with this name, or the object itself."""
    if isinstance(metric, str):
        from siamkit.metrics import get_metric  # late: it chooses and imports the backend

        named: Metric = get_metric(metric)
        return named
    if getattr(metric, "orientation", None) not in ("distance", "similarity"):
        raise DataError(
            f"metric should be a name or have the orientation 'distance' or 'similarity', got {metric!r}"
        )
    return metric


def oriented(values: Any, metric: Metric) -> Any:
    """Convert the values of a metric to distances, or distances to its values: the same step both ways."""
    return 0 - values if metric.orientation == "similarity" else values


def points_of(metric: Metric, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return points `(n, dim)`, a new array, whose products or distances order items as the metric does."""
    size = max(1, CHUNK // vectors.shape[1])
    points: NDArray[np.float32] | None = None
    for start in range(0, len(vectors), size):
        with float32_required():
            some = _as_numpy(metric.points(vectors[start : start + size]))  # type: ignore[attr-defined]
        if points is None:
            points = np.empty((len(vectors), some.shape[1]), np.float32)
        points[start : start + size] = some
    assert points is not None
    return points


def ignores_length(metric: Metric, vectors: NDArray[np.float32]) -> bool:
    """Return whether a metric ignores the length of a vector, as angles do; tried on a few vectors."""
    some = sized(_some_rows(vectors))
    some = some[some.any(axis=1)]
    if not some.size:  # the length of zero vectors shows nothing
        return False
    first = np.broadcast_to(some[:1], some.shape)
    original, doubled = (
        paired_distances(metric, factor * some, first) for factor in (np.float32(1), np.float32(2))
    )
    return bool(np.allclose(original, doubled, rtol=1e-4, atol=1e-5))


def by_products(metric: Metric, vectors: NDArray[np.float32]) -> bool:
    """Return whether a metric's values are the products of its points, as cosines are; tried on a few."""
    if getattr(metric, "ordered_by", None) != "product":
        return False
    some = _some_rows(vectors)
    points = points_of(metric, some).astype(np.float64)
    products = np.einsum("nd,nd->n", points, np.roll(points, 1, axis=0))
    distances = paired_distances(metric, some, np.roll(some, 1, axis=0))
    size = float(np.square(points).sum(axis=1).max())
    # Zero vectors show nothing: 0 is also the cube of their product.
    return size > 0 and bool(np.allclose(-distances, products, rtol=1e-5, atol=1e-6 * size))


def is_cosine(metric: Metric, vectors: NDArray[np.float32]) -> bool:
    """Return whether a metric's values are cosines; tried on a few vectors."""
    if not by_products(metric, vectors):
        return False
    lengths = np.linalg.norm(points_of(metric, _some_rows(vectors)), axis=1)
    return bool(np.allclose(lengths[lengths > 0], 1, rtol=1e-5)) and ignores_length(metric, vectors)


def is_euclidean(metric: Metric, vectors: NDArray[np.float32]) -> bool:
    """Return whether a metric orders items as the Euclidean distance does; tried on a few vectors."""
    some = _some_rows(vectors)
    if getattr(metric, "ordered_by", None) != "distance" or not some.any():
        return False
    return bool((points_of(metric, some) == some).all())


def sized(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors divided by a power of two, so that the largest coordinate is from ½ to 1."""
    _, exponent = np.frexp(np.abs(vectors).max())
    return np.asarray(np.ldexp(vectors, -exponent), np.float32)


def distance_chunks(
    metric: Metric, queries: NDArray[np.float32], gallery: NDArray[np.float32]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the distances from a few queries at a time to the whole gallery.

    All blocks have the same shape, so that a backend compiles once: the last ones are padded with repeated
    rows, whose distances are dropped.

    Args:
        metric: the metric.
        queries: `(n, dim)`.
        gallery: `(m, dim)`.

    Yields:
        The index of the first query of the chunk, and the distances `(chunk, m)`.
    """
    check_size(metric, queries, gallery)
    # By products, a few numbers a pair; by differences, as many as there are dimensions.
    width = 4 if getattr(metric, "ordered_by", None) else gallery.shape[1]
    rows, columns = _block_shape(len(queries), len(gallery), width)
    padded_queries, padded_gallery = _padded(queries, rows), _padded(gallery, columns)
    for start in range(0, len(queries), rows):
        block = padded_queries[start : start + rows]
        kept = min(rows, len(queries) - start)
        values = np.empty((kept, len(gallery)), np.float32)
        for left in range(0, len(gallery), columns):
            with float32_required():
                tile = _as_numpy(metric.matrix(block, padded_gallery[left : left + columns]))
            values[:, left : left + columns] = tile[:kept, : len(gallery) - left]
        yield start, _as_distances(values, metric)


def distance_tiles(
    metric: Metric, queries: NDArray[np.float32], gallery: NDArray[np.float32] | None
) -> Iterator[tuple[slice, slice, NDArray[np.float32]]]:
    """Yield the distances of all pairs tile by tile; without a gallery each pair of queries at least once.

    Without a gallery the tiles on the diagonal have their pairs twice, and each query with itself. Metrics
    that are ordered by products or by distances need the least memory for square tiles.

    Args:
        metric: the metric, which is ordered by products or by distances.
        queries: `(n, dim)`.
        gallery: `(m, dim)`; None for the queries themselves.

    Yields:
        The rows, the columns, and their distances.
    """
    for rows, columns, tile in value_tiles(metric, queries, gallery):
        kept = _as_numpy(tile)[: rows.stop - rows.start, : columns.stop - columns.start]
        yield rows, columns, _as_distances(kept, metric)


def value_tiles(
    metric: Metric, queries: NDArray[np.float32], gallery: NDArray[np.float32] | None
) -> Iterator[tuple[slice, slice, Any]]:
    """Yield the tiles of `distance_tiles` as the metric returns them: its values, where it computes them.

    All tiles have one shape; the last rows and columns may be padding.
    """
    pool = queries if gallery is None else gallery
    check_size(metric, queries, pool)
    side = math.isqrt(CHUNK)
    height = _even_size(len(queries), side)
    width = height if gallery is None else _even_size(len(pool), side)
    padded_queries, padded_pool = _padded(queries, height), _padded(pool, width)
    for top in range(0, len(queries), height):
        rows = slice(top, min(top + height, len(queries)))
        block = padded_queries[top : top + height]
        for left in range(top if gallery is None else 0, len(pool), width):
            columns = slice(left, min(left + width, len(pool)))
            with float32_required():
                tile = metric.matrix(block, padded_pool[left : left + width])
            yield rows, columns, tile


def paired_distances(metric: Metric, a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the distances `(n,)` between the rows of `a` and `b`, both `(n, dim)`."""
    check_size(metric, a, b)
    rows = _even_size(len(a), max(1, CHUNK // a.shape[1]))
    padded_a, padded_b = _padded(a, rows), _padded(b, rows)
    with float32_required():
        chunks = [
            _as_numpy(metric(padded_a[start : start + rows], padded_b[start : start + rows]))
            for start in range(0, len(a), rows)
        ]
    return _as_distances(np.concatenate(chunks)[: len(a)], metric)


LEAST = 2.0**-102
"""float32's smallest normal number times 2²⁴: below it, values lose digits that float32 has elsewhere."""


def check_size(metric: Metric, a: NDArray[np.float32], b: NDArray[np.float32]) -> None:
    """Refuse embeddings so small that the metric's values underflow: they would all count as equal."""
    some_a, some_b = _some_rows(a), np.roll(_some_rows(b), 1, axis=0)  # not each with itself
    size = float(np.median(np.abs(np.concatenate([some_a, some_b])).max(axis=1)))
    if size == 0 or size >= 2.0**-20:  # squares of differences in the last digit stay in range
        return
    factor = np.float32(2.0 ** -math.floor(math.log2(size)))
    with np.errstate(over="ignore"):  # a few large rows among small ones
        typical, enlarged = (
            float(np.median(np.abs(_as_numpy(metric(scale * some_a, scale * some_b)))))
            for scale in (np.float32(1), factor)
        )
    if typical < LEAST <= enlarged:
        raise DataError(
            f"these embeddings are too small for {type(metric).__name__}: at coordinates of {size:.1g} its "
            f"values leave the range of float32; multiply the embeddings by {1 / size:.0e}, or compare by "
            "euclidean or cosine"
        )


def _some_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 32 rows from all parts of an array, repeated if it has fewer."""
    rows = np.linspace(0, len(vectors) - 1, 32).round().astype(int)
    return np.asarray(vectors[rows], np.float32)


def _block_shape(queries: int, gallery: int, width: int) -> tuple[int, int]:
    area = max(1, BLOCK // width)
    rows = _even_size(queries, max(1, min(math.isqrt(area), CHUNK // gallery)))
    return rows, _even_size(gallery, max(1, area // rows))


def _even_size(total: int, most: int) -> int:
    """Return the size of equal chunks of at most `most` rows, so that the last one needs little padding."""
    return math.ceil(total / math.ceil(total / most))


def _padded(array: NDArray[np.float32], multiple: int) -> NDArray[np.float32]:
    missing = -len(array) % multiple
    return np.pad(array, ((0, missing), (0, 0)), mode="edge") if missing else array


def _as_numpy(values: Any) -> NDArray[np.float32]:
    if not isinstance(values, np.ndarray):
        import keras  # late: a metric in plain NumPy needs none

        values = keras.ops.convert_to_numpy(values)
    return np.asarray(values, dtype=np.float32)


def check_finite(metric: Metric, values: NDArray[np.float32]) -> None:
    """Refuse values of a metric of which some are NaN or infinite."""
    if not math.isfinite(values.min()) or not math.isfinite(values.max()):  # both return a NaN in the array
        raise DataError(
            f"{type(metric).__name__} returned NaN or infinity for finite embeddings; if their numbers are "
            "large, divide all embeddings by the largest, or compare by cosine"
        )


def _as_distances(values: NDArray[np.float32], metric: Metric) -> NDArray[np.float32]:
    check_finite(metric, values)
    # A new array in both cases, without negative zeros: their bits would rank before zero.
    distances: NDArray[np.float32] = oriented(values, metric) + np.float32(0)
    return distances


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return vectors `(n, dim)` scaled to length 1; a zero vector stays zero."""
    wide = vectors.astype(np.float64)
    norms = np.sqrt(np.einsum("nd,nd->n", wide, wide))[:, None]
    return np.asarray(wide / np.where(norms > 0, norms, 1), np.float64)


class Euclidean:
    """√Σ (a - b)², in float64."""

    orientation: Literal["distance"] = "distance"
    ordered_by: Literal["distance"] = "distance"

    def points(self, x: NDArray[np.float32], /) -> NDArray[np.float32]:
        return x

    def __call__(self, a: NDArray[np.float32], b: NDArray[np.float32], /) -> NDArray[np.float64]:
        return np.asarray(np.linalg.norm(a.astype(np.float64) - b, axis=1), np.float64)

    def matrix(self, a: NDArray[np.float32], b: NDArray[np.float32], /) -> NDArray[np.float64]:
        a, b = a.astype(np.float64), b.astype(np.float64)
        squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * a @ b.T
        return np.asarray(np.sqrt(np.maximum(squares, 0)), np.float64)


class Cosine:
    """a · b / (|a| |b|), in float64; 0 with a zero vector."""

    orientation: Literal["similarity"] = "similarity"
    ordered_by: Literal["product"] = "product"

    def points(self, x: NDArray[np.float32], /) -> NDArray[np.float32]:
        return unit(x).astype(np.float32)

    def __call__(self, a: NDArray[np.float32], b: NDArray[np.float32], /) -> NDArray[np.float64]:
        a, b = a.astype(np.float64), b.astype(np.float64)
        products, square_a, square_b = (np.einsum("nd,nd->n", x, y) for x, y in ((a, b), (a, a), (b, b)))
        lengths = np.sqrt(square_a * square_b)
        return np.asarray(products / np.where(lengths > 0, lengths, 1), np.float64)

    def matrix(self, a: NDArray[np.float32], b: NDArray[np.float32], /) -> NDArray[np.float64]:
        return np.asarray(unit(a) @ unit(b).T, np.float64)


PLAIN: dict[str, type[Euclidean] | type[Cosine]] = {"cosine": Cosine, "euclidean": Euclidean}
"""The metrics that need no backend."""


def plain_metric(metric: str | Metric) -> Metric:
    """Return the plain metric with this name, or the object itself.

    Raises:
        DataError: no plain metric has this name.
    """
    if not isinstance(metric, str):
        return resolve_metric(metric)
    if metric not in PLAIN:
        raise DataError(
            f"metric {metric!r} needs a backend; {nearest(metric, PLAIN)} Pass any other metric as an "
            "object, from siamkit.get_metric"
        )
    return PLAIN[metric]()


def lightest_metric(metric: str | Metric) -> Metric:
    """Return the metric with this name, a plain one if there is one, or the object itself."""
    return plain_metric(metric) if isinstance(metric, str) and metric in PLAIN else resolve_metric(metric)
