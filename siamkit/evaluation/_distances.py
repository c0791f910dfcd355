"""The metric's values as NumPy, block by block: the one place where evaluation meets a backend.

Everything past this module compares *distances*, low for alike: a similarity is negated here, which
loses no bit, so that ranking, the ROC curve and the threshold are written once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from siamkit.errors import DataError

BLOCK = 2**24
"""Numbers a metric may make at once, rows by columns by dim, for those like Manhattan that form them all."""

CHUNK = 2**22
"""Distances held at once, rows by gallery."""


class Metric(Protocol):
    """How two embeddings are compared; see `siamkit.metrics`."""

    orientation: Any

    def __call__(self, a: Any, b: Any, /) -> Any: ...

    def matrix(self, a: Any, b: Any, /) -> Any: ...


def resolve(metric: str | Metric) -> Metric:
    """The metric of that name, or the object itself."""
    if isinstance(metric, str):
        import siamkit  # late: it imports the backend

        named: Metric = siamkit.get_metric(metric)
        return named
    if getattr(metric, "orientation", None) not in ("distance", "similarity"):
        raise DataError(
            f"metric should be a name or have the orientation 'distance' or 'similarity', got {metric!r}"
        )
    return metric


def oriented(values: Any, metric: Metric) -> Any:
    """From the metric's own values to distances, and back: the same step both ways."""
    return 0 - values if metric.orientation == "similarity" else values


def scale_free(metric: Metric, vectors: NDArray[np.float32]) -> bool:
    """Whether the length of a vector means nothing to a metric, as with angles; tried on a few."""
    some = vectors[:16]
    with_one = np.broadcast_to(some[:1], some.shape)
    as_is, longer = (row_by_row(metric, factor * some, with_one) for factor in (np.float32(1), np.float32(2)))
    return bool(np.allclose(as_is, longer, rtol=1e-4, atol=1e-5))


def chunks(
    metric: Metric, queries: NDArray[np.float32], gallery: NDArray[np.float32]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Distances from a few queries at a time to the whole gallery.

    Blocks have one fixed shape, so that no backend compiles twice: the last are filled up with
    repeated rows, which are cut off again.

    Args:
        metric: compares them.
        queries: `(n, dim)`.
        gallery: `(m, dim)`.

    Yields:
        The index of the first query of the chunk, and the distances `(chunk, m)`.
    """
    rows, columns = _block_shape(len(queries), *gallery.shape)
    padded_queries, padded_gallery = _padded(queries, rows), _padded(gallery, columns)
    for start in range(0, len(queries), rows):
        block = padded_queries[start : start + rows]
        kept = min(rows, len(queries) - start)
        values = np.empty((kept, len(gallery)), np.float32)
        for left in range(0, len(gallery), columns):
            part = _numpy(metric.matrix(block, padded_gallery[left : left + columns]))
            values[:, left : left + columns] = part[:kept, : len(gallery) - left]
        yield start, _distances(values, metric)


def row_by_row(metric: Metric, a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distances `(n,)` between the rows of `a` and `b`, both `(n, dim)`."""
    rows = _even(len(a), max(1, CHUNK // a.shape[1]))
    padded_a, padded_b = _padded(a, rows), _padded(b, rows)
    parts = [
        _numpy(metric(padded_a[start : start + rows], padded_b[start : start + rows]))
        for start in range(0, len(a), rows)
    ]
    return _distances(np.concatenate(parts)[: len(a)], metric)


def _block_shape(queries: int, gallery: int, dim: int) -> tuple[int, int]:
    area = max(1, BLOCK // dim)
    rows = _even(queries, max(1, min(math.isqrt(area), CHUNK // gallery)))
    return rows, _even(gallery, max(1, area // rows))


def _even(total: int, most: int) -> int:
    """The size of equal parts of at most `most`, so that the last is filled up as little as can be."""
    return math.ceil(total / math.ceil(total / most))


def _padded(array: NDArray[np.float32], multiple: int) -> NDArray[np.float32]:
    short = -len(array) % multiple
    return np.pad(array, ((0, short), (0, 0)), mode="edge") if short else array


def _numpy(values: Any) -> NDArray[np.float32]:
    if not isinstance(values, np.ndarray):
        import keras  # late: a metric in plain NumPy needs none

        values = keras.ops.convert_to_numpy(values)
    return np.asarray(values, dtype=np.float32)


def _distances(values: NDArray[np.float32], metric: Metric) -> NDArray[np.float32]:
    if not math.isfinite(values.min()) or not math.isfinite(values.max()):  # both hand a NaN on
        raise DataError("the metric should give finite values, got NaN or infinity between finite embeddings")
    # A fresh array either way, without negative zeros: their bits would rank before zero's.
    distances: NDArray[np.float32] = oriented(values, metric) + np.float32(0)
    return distances
