"""Two metrics in plain NumPy, so that stored embeddings are compared without a backend."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from siamkit.errors import DataError, nearest
from siamkit.evaluation import _distances
from siamkit.evaluation.geometry import unit


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


def plain_metric(metric: str | _distances.Metric) -> _distances.Metric:
    """The plain metric of that name, or the object itself.

    Raises:
        DataError: for any other name.
    """
    if not isinstance(metric, str):
        return _distances.resolve(metric)
    if metric not in PLAIN:
        raise DataError(
            f"metric {metric!r} is none that needs no backend; {nearest(metric, PLAIN)} Any other goes as "
            "an object, from siamkit.get_metric"
        )
    return PLAIN[metric]()


def lightest_metric(metric: str | _distances.Metric) -> _distances.Metric:
    """The metric of that name, or the object itself: a plain one if it will do, else one of the backend's."""
    return plain_metric(metric) if isinstance(metric, str) and metric in PLAIN else _distances.resolve(metric)
