"""The figures of pairs under many weightings at once, their distances sorted a single time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from siamkit.errors import DataError, nearest

Weights = NDArray[np.float64]
Weighted = Callable[[Weights], NDArray[np.float64]]

_TAR = "tar_at_far_"
_ROUNDING = 1e-12


def weighted_measure(measure: str, distances: NDArray[np.floating], targets: NDArray[np.float64]) -> Weighted:
    """A figure of pairs as a function of the pairs' weights.

    Whole weights give what the same pairs give when each is there that many times. Figures as in
    `siamkit.evaluation`: `roc_auc`, `eer`, `spearman`, `pearson`, and `tar_at_far_<f>`, the largest share of
    pairs alike that are accepted while the share of pairs not alike that are, too, is at most f.

    Args:
        measure: its name.
        distances: `(n,)`, low for alike.
        targets: `(n,)`, whether each pair is alike, 1 or 0, with some of both; or its score, high for alike.

    Returns:
        From weights `(rows, n)` to values `(rows,)`, NaN where a figure is not defined.

    Raises:
        DataError: if there is no such figure.

    Example:
        >>> import numpy as np
        >>> from siamkit.stats._pair_measures import weighted_measure
        >>> auc = weighted_measure("roc_auc", np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.0, 1.0]))
        >>> auc(np.array([[1.0, 1.0, 1.0], [3.0, 1.0, 1.0]])).tolist()
        [0.5, 0.75]
    """
    if measure == "pearson":
        return _pearson(-distances, targets)
    if measure == "spearman":
        return _spearman(-distances, targets)
    curve = _Curve(distances, targets > 0)
    if measure == "roc_auc":
        return curve.auc
    if measure == "eer":
        return curve.eer
    far = _far(measure)
    return lambda weights: curve.tar(weights, far)


def graded_measure(measure: str) -> bool:
    """Whether a figure is of graded pairs rather than of pairs alike or not."""
    return measure in ("pearson", "spearman")


def _far(measure: str) -> float:
    try:
        far = float(measure.removeprefix(_TAR)) if measure.startswith(_TAR) else -1.0
    except ValueError:
        far = -1.0
    if not 0 <= far < 1:
        names = ["roc_auc", "eer", _TAR + "1e-3", "spearman", "pearson"]
        raise DataError(f"figure {measure!r} is none of pairs; {nearest(measure, names)}")
    return far


class _Curve:
    """The ROC curve of each weighting, at the distances of pairs alike: between them only FAR grows."""

    def __init__(self, distances: NDArray[np.floating], alike: NDArray[np.bool_]) -> None:
        self._alike, self._others = np.flatnonzero(alike), np.flatnonzero(~alike)
        self._groups = _Groups(distances[self._alike])
        self._others = self._others[np.argsort(distances[self._others], kind="stable")]
        below = distances[self._others]
        self._before = np.searchsorted(below, self._groups.values, "left")
        self._upto = np.searchsorted(below, self._groups.values, "right")

    def auc(self, weights: Weights) -> NDArray[np.float64]:
        hit, before, upto = self._points(weights)
        return np.asarray(1 - (hit * (before + upto)).sum(axis=1) / 2, np.float64)

    def eer(self, weights: Weights) -> NDArray[np.float64]:
        hit, before, upto = self._points(weights)
        missed = np.maximum(0, 1 - np.cumsum(hit, axis=1))
        # The first distance at which FAR has caught up with FRR; at the last, FRR is 0.
        at = np.argmax(upto >= missed - _ROUNDING, axis=1)[:, None]
        step, low, high, left = (
            np.take_along_axis(each, at, axis=1)[:, 0] for each in (hit, before, upto, missed)
        )
        # Caught up before it, where FRR stood still; or on the straight line across it.
        gap = np.minimum(0, low - (left + step))
        with np.errstate(invalid="ignore", divide="ignore"):
            across = low - gap / (step + high - low) * (high - low)
        return np.asarray(np.where(gap >= 0, left + step, across), np.float64)  # NaN if gap is

    def tar(self, weights: Weights, far: float) -> NDArray[np.float64]:
        hit, _, upto = self._points(weights)
        accepted = np.where(upto <= far + _ROUNDING, np.cumsum(hit, axis=1), 0).max(axis=1)
        return np.where(np.isnan(hit[:, 0] + upto[:, 0]), np.nan, np.minimum(1, accepted))

    def _points(self, weights: Weights) -> tuple[NDArray[np.float64], ...]:
        """At each distinct distance d of pairs alike: their share at d, that of others below and up to d."""
        hit = self._groups.summed(np.take(weights, self._alike, axis=1)[:, self._groups.order])
        others = np.zeros((len(weights), len(self._others) + 1))
        np.cumsum(np.take(weights, self._others, axis=1), axis=1, out=others[:, 1:])
        with np.errstate(invalid="ignore"):  # without pairs of one kind there is no curve: NaN throughout
            hit = hit / hit.sum(axis=1, keepdims=True)
            others /= others[:, -1:].copy()
        return hit, others[:, self._before], others[:, self._upto]


class _Groups:
    """Values in their order, equal ones together."""

    def __init__(self, values: NDArray[np.floating]) -> None:
        self.order = np.argsort(values, kind="stable")
        ordered = values[self.order]
        first = np.append(True, ordered[1:] != ordered[:-1])
        self.values = ordered[first]
        self._starts = np.flatnonzero(first)
        self._place = np.empty(len(values), np.int64)
        self._place[self.order] = np.cumsum(first) - 1

    def summed(self, ordered: Weights) -> NDArray[np.float64]:
        if len(self._starts) == ordered.shape[1]:
            return ordered
        return np.add.reduceat(ordered, self._starts, axis=1)

    def ranks(self, weights: Weights) -> NDArray[np.float64]:
        """The mean rank of each value among all weighted ones, `(rows, n)`, less one half."""
        at = self.summed(weights[:, self.order])
        return np.asarray((np.cumsum(at, axis=1) - at / 2)[:, self._place], np.float64)


def _spearman(x: NDArray[np.floating], y: NDArray[np.float64]) -> Weighted:
    of_x, of_y = _Groups(x), _Groups(y)
    return lambda weights: _correlation(weights, of_x.ranks(weights), of_y.ranks(weights))


def _pearson(x: NDArray[np.floating], y: NDArray[np.float64]) -> Weighted:
    # A row for all weightings; centred, so that the sums of squares keep their digits.
    centred = [np.asarray(each - each.mean(), np.float64)[None] for each in (x, y)]
    return lambda weights: _correlation(weights, *centred)


def _correlation(weights: Weights, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 where all weights are 0: not defined
        total = weights.sum(axis=1, keepdims=True)
        x = x - (weights * x).sum(axis=1, keepdims=True) / total
        y = y - (weights * y).sum(axis=1, keepdims=True) / total
        xx, yy, xy = ((weights * each).sum(axis=1) for each in (x * x, y * y, x * y))
        # Below that, what is left of a sum of squares is rounding: all values are equal.
        flat = (xx <= 1e-20 * (x * x).max(axis=1)) | (yy <= 1e-20 * (y * y).max(axis=1))
        return np.where(flat, np.nan, xy / np.sqrt(xx * yy))
