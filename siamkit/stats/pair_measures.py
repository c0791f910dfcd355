"""Measures of pairs under many weightings at once, and a score for each pair."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from siamkit.errors import DataError, nearest

Weights = NDArray[np.float64]
WeightedMeasure = Callable[[Weights], NDArray[np.float64]]

_TAR = "tar_at_far_"
_ROUNDING = 1e-12


def weighted_measure(
    measure: str, distances: NDArray[np.floating], targets: NDArray[np.float64]
) -> WeightedMeasure:
    """Return a measure of pairs as a function of the weights of the pairs.

    Whole weights give the same value as the pairs repeated that many times. Distances are sorted once for all
    weightings. Measures as in `siamkit.evaluation`: `roc_auc`, `eer`, `spearman`, `pearson`, and
    `tar_at_far_<f>`, the largest fraction of matching pairs accepted while the fraction of other pairs
    accepted is at most f.

    Args:
        measure: the measure's name.
        distances: `(n,)`, low for matching pairs.
        targets: `(n,)`, 1 for a matching pair and 0 for another, with some of both; or a score, high for
            similar pairs.

    Returns:
        A function from weights `(rows, n)` to values `(rows,)`, NaN where the measure is undefined.

    Raises:
        DataError: the measure does not exist.

    Example:
        >>> import numpy as np
        >>> auc = weighted_measure("roc_auc", np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.0, 1.0]))
        >>> auc(np.array([[1.0, 1.0, 1.0], [3.0, 1.0, 1.0]])).tolist()
        [0.5, 0.75]
    """
    if measure == "pearson":
        return _pearson(-distances, targets)
    if measure == "spearman":
        return _spearman(-distances, targets)
    curve = _WeightedCurve(distances, targets > 0)
    if measure == "roc_auc":
        return curve.auc
    if measure == "eer":
        return curve.eer
    far = _far(measure)
    return lambda weights: curve.tar(weights, far)


def graded_measure(measure: str) -> bool:
    """Return whether a measure is for graded pairs rather than for matching and non-matching pairs."""
    return measure in ("pearson", "spearman")


def pair_scores(distances: NDArray[np.floating], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a score in [0, 1] for each pair, 1 if the embedding treats it as well as possible.

    For a matching pair: the fraction of non-matching pairs that are farther; for a non-matching pair: the
    fraction of matching pairs that are nearer; equal distances count half. The mean over either kind is the
    ROC-AUC. These are the placements of DeLong, DeLong and Clarke-Pearson, "Comparing the Areas under Two or
    More Correlated ROC Curves", Biometrics 1988. For graded pairs: 1 - |rank of similarity - rank of score| /
    (n - 1).

    Args:
        distances: `(n,)`, low for matching pairs.
        targets: `(n,)`, 1 for a matching pair and 0 for another, with some of both; or a score.

    Returns:
        `(n,)`.

    Example:
        >>> import numpy as np
        >>> pair_scores(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 0.0, 1.0, 0.0])).tolist()
        [1.0, 0.5, 0.5, 1.0]
    """
    if not np.isin(targets, (0, 1)).all():
        from scipy.stats import rankdata  # late: slow to import

        gaps = np.abs(rankdata(-distances) - rankdata(targets))
        return np.asarray(1 - gaps / max(1, len(targets) - 1), np.float64)
    alike = targets > 0
    scores = np.empty(len(targets))
    scores[alike] = 1 - _nearer(distances[~alike], distances[alike])
    scores[~alike] = _nearer(distances[alike], distances[~alike])
    return scores


def _nearer(others: NDArray[np.floating], than: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return for each distance the fraction of others below it; equal distances count half."""
    ordered = np.sort(others)
    below, up_to = (np.searchsorted(ordered, than, side) for side in ("left", "right"))
    return np.asarray((below + up_to) / (2 * len(ordered)), np.float64)


def _far(measure: str) -> float:
    """Return the false accept rate that a measure `tar_at_far_<rate>` names."""
    try:
        far = float(measure.removeprefix(_TAR)) if measure.startswith(_TAR) else -1.0
    except ValueError:
        far = -1.0
    if not 0 <= far < 1:
        names = ["roc_auc", "eer", _TAR + "1e-3", "spearman", "pearson"]
        raise DataError(f"measure {measure!r} does not exist for pairs; {nearest(measure, names)}")
    return far


class _WeightedCurve:
    """The ROC curve of each weighting, at the distances of matching pairs; between these only FAR grows."""

    def __init__(self, distances: NDArray[np.floating], alike: NDArray[np.bool_]) -> None:
        self._alike, self._others = np.flatnonzero(alike), np.flatnonzero(~alike)
        self._groups = _EqualValues(distances[self._alike])
        self._others = self._others[np.argsort(distances[self._others], kind="stable")]
        other_distances = distances[self._others]
        self._before = np.searchsorted(other_distances, self._groups.values, "left")
        self._up_to = np.searchsorted(other_distances, self._groups.values, "right")

    def auc(self, weights: Weights) -> NDArray[np.float64]:
        hits, before, up_to = self._points(weights)
        return np.asarray(1 - (hits * (before + up_to)).sum(axis=1) / 2, np.float64)

    def eer(self, weights: Weights) -> NDArray[np.float64]:
        hits, before, up_to = self._points(weights)
        missed = np.maximum(0, 1 - np.cumsum(hits, axis=1))
        # The first distance at which FAR reaches FRR; at the last distance FRR is 0.
        at = np.argmax(up_to >= missed - _ROUNDING, axis=1)[:, None]
        step, low, high, left = (
            np.take_along_axis(column, at, axis=1)[:, 0] for column in (hits, before, up_to, missed)
        )
        # FAR reached FRR before this distance, while FRR was constant; or on the straight line across it.
        # Without the tolerance a distance of weight 0, where neither rate moves, would give 0 / 0.
        gap = low - (left + step)
        with np.errstate(invalid="ignore", divide="ignore"):
            across = low - gap / (step + high - low) * (high - low)
        return np.asarray(np.where(gap >= -_ROUNDING, left + step, across), np.float64)  # NaN if gap is NaN

    def tar(self, weights: Weights, far: float) -> NDArray[np.float64]:
        hits, _, up_to = self._points(weights)
        accepted = np.where(up_to <= far + _ROUNDING, np.cumsum(hits, axis=1), 0).max(axis=1)
        return np.where(np.isnan(hits[:, 0] + up_to[:, 0]), np.nan, np.minimum(1, accepted))

    def _points(self, weights: Weights) -> tuple[NDArray[np.float64], ...]:
        """Return at each matching distance the fraction of those pairs, of others below and up to it."""
        hits = self._groups.sums(np.take(weights, self._alike, axis=1)[:, self._groups.order])
        others = np.zeros((len(weights), len(self._others) + 1))
        np.cumsum(np.take(weights, self._others, axis=1), axis=1, out=others[:, 1:])
        with np.errstate(
            invalid="ignore"
        ):  # without pairs of one kind the curve is undefined: NaN throughout
            hits = hits / hits.sum(axis=1, keepdims=True)
            others /= others[:, -1:].copy()
        return hits, others[:, self._before], others[:, self._up_to]


class _EqualValues:
    """Sorted values, grouped by equality."""

    def __init__(self, values: NDArray[np.floating]) -> None:
        self.order = np.argsort(values, kind="stable")
        ordered = values[self.order]
        first = np.append(True, ordered[1:] != ordered[:-1])
        self.values = ordered[first]
        self._starts = np.flatnonzero(first)
        self._group = np.empty(len(values), np.int64)
        self._group[self.order] = np.cumsum(first) - 1

    def sums(self, ordered: Weights) -> NDArray[np.float64]:
        """Return the sum over each group of weights `(rows, n)` in sorted order."""
        if len(self._starts) == ordered.shape[1]:
            return ordered
        return np.add.reduceat(ordered, self._starts, axis=1)

    def ranks(self, weights: Weights) -> NDArray[np.float64]:
        """Return the mean rank of each value among all weighted values, `(rows, n)`, minus one half."""
        totals = self.sums(weights[:, self.order])
        return np.asarray((np.cumsum(totals, axis=1) - totals / 2)[:, self._group], np.float64)


def _spearman(x: NDArray[np.floating], y: NDArray[np.float64]) -> WeightedMeasure:
    groups_x, groups_y = _EqualValues(x), _EqualValues(y)
    return lambda weights: _correlation(weights, groups_x.ranks(weights), groups_y.ranks(weights))


def _pearson(x: NDArray[np.floating], y: NDArray[np.float64]) -> WeightedMeasure:
    # One row serves all weightings; centering keeps the digits of the sums of squares.
    centered = [np.asarray(column - column.mean(), np.float64)[None] for column in (x, y)]
    return lambda weights: _correlation(weights, *centered)


def _correlation(weights: Weights, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 if all weights are 0: undefined
        total = weights.sum(axis=1, keepdims=True)
        x = x - (weights * x).sum(axis=1, keepdims=True) / total
        y = y - (weights * y).sum(axis=1, keepdims=True) / total
        xx, yy, xy = ((weights * products).sum(axis=1) for products in (x * x, y * y, x * y))
        # Below this the sum of squares is rounding only: all values are equal.
        flat = (xx <= 1e-20 * (x * x).max(axis=1)) | (yy <= 1e-20 * (y * y).max(axis=1))
        return np.where(flat, np.nan, xy / np.sqrt(xx * yy))
