"""Two metrics in plain NumPy, which compare stored embeddings without a backend."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from siamkit.errors import DataError, nearest
from siamkit.evaluation.distances import Metric, resolve_metric
from siamkit.evaluation.distances import unit


class Euclidean:
    """√Σ (a - b)², in float64."""

    orientation: Literal["distance"] = "distance"

    def __call__(self, a: NDArray[np.float32], b: NDArray[np.float32], /) -> NDArray[np.float64]:
        return np.asarray(np.linalg.norm(a.astype(np.float64) - b, axis=1), np.float64)

    def matrix(self, a: NDArray[np.float32], b: NDArray[np.float32], /) -> NDArray[np.float64]:
        a, b = a.astype(np.float64), b.astype(np.float64)
        squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * a @ b.T
        return np.asarray(np.sqrt(np.maximum(squares, 0)), np.float64)


class Cosine:
    """a · b / (|a| |b|), in float64; 0 with a zero vector."""

    orientation: Literal["similarity"] = "similarity"

    def __call__(self, a: NDArray[np.float32], b: NDArray[np.float32], /) -> NDArray[np.float64]:
        return np.asarray((unit(a) * unit(b)).sum(axis=1), np.float64)

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
