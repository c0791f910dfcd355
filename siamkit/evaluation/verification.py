"""Verification: the ROC curve of matching and non-matching pairs, its measures, and the best threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from siamkit.evaluation.scan import DistanceChunk

BINS = 2**20
"""The number of bins."""

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
        self._counts = np.zeros((BINS, 2), np.int64)  # not alike, alike
        self._range: tuple[float, float] | None = None

    def add(self, distances: NDArray[np.float32], alike: NDArray[np.bool_]) -> None:
        """Count distances (of any shape), given whether each belongs to a matching pair."""
        if not distances.size:
            return
        self._widen(float(distances.min()), float(distances.max()))
        # Scaled by a power of two in float64, where nothing underflows, so that each quotient is exact.
        scaled = np.multiply(distances, 2.0**-self._exponent, dtype=np.float64)
        cells = np.ceil(scaled, out=scaled).astype(np.int32)
        cells -= self._first
        cells <<= 1
        cells |= alike
        self._counts += np.bincount(cells.ravel(), minlength=2 * BINS).reshape(BINS, 2)

    def counts(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the centers of the filled bins, ascending, and their matching and non-matching pairs."""
        filled = np.flatnonzero(self._counts.any(axis=1))
        centers = np.asarray((filled + self._first - 0.5) * 2.0**self._exponent, np.float64)
        return centers, self._counts[filled, 1], self._counts[filled, 0]

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
        filled = np.flatnonzero(self._counts.any(axis=1))
        first = _bin(low, exponent)
        moved = -(-(filled + self._first) >> (exponent - self._exponent)) - first  # rounds up, as bins do
        counts = np.zeros_like(self._counts)
        np.add.at(counts, moved, self._counts[filled])
        self._exponent, self._first, self._counts, self._range = exponent, first, counts, (low, high)


def _bin(value: float, exponent: int) -> int:
    return math.ceil(value * 2.0**-exponent)


RATES = {"1e-1": 0.1, "1e-2": 0.01, "1e-3": 0.001}
"""The false accept rates at which `tar_at_far_…` is measured."""


@dataclass(frozen=True)
class Curve:
    """The error rates at each threshold, one row for each distance; the first row accepts no pair.

    Args:
        distances: `(n,)`, ascending; -inf first.
        far: `(n,)`, false accept rate: the fraction of non-matching pairs accepted.
        frr: `(n,)`, false reject rate: the fraction of matching pairs rejected.
        alike, unlike: the number of matching and of non-matching pairs.
    """

    distances: NDArray[np.float64]
    far: NDArray[np.float64]
    frr: NDArray[np.float64]
    alike: int
    unlike: int

    @classmethod
    def of(
        cls, distances: NDArray[np.floating], alike: NDArray[np.int64], unlike: NDArray[np.int64]
    ) -> Curve | None:
        """Return the curve of pair counts at distinct ascending distances; None if a kind has no pairs."""
        positives, negatives = int(alike.sum()), int(unlike.sum())
        if not positives or not negatives:
            return None
        # Counts are summed, not fractions, so each rate is exactly the quotient of two integers.
        far = np.append(0, np.cumsum(unlike)) / negatives
        frr = (positives - np.append(0, np.cumsum(alike))) / positives
        return cls(np.append(-np.inf, distances.astype(np.float64)), far, frr, positives, negatives)

    @property
    def auc(self) -> float:
        """The ROC-AUC: P(d⁺ < d⁻) + P(d⁺ = d⁻) / 2, for distances of matching and non-matching pairs."""
        hits, false = -np.diff(self.frr), np.diff(self.far)
        return min(max(float(np.sum(hits * (1 - self.far[1:] + false / 2))), 0.0), 1.0)

    @property
    def eer(self) -> float:
        """The error rate at which FAR = FRR, interpolated linearly between the points of the curve."""
        gap = self.far - self.frr  # from -1 up to 1
        after = int(np.argmax(gap >= 0))
        step = -gap[after - 1] / (gap[after] - gap[after - 1])
        return float(self.far[after - 1] + step * (self.far[after] - self.far[after - 1]))

    @property
    def threshold(self) -> float:
        """The threshold at which 1 - (FAR + FRR) / 2, the balanced accuracy, is highest.

        It is midway between two neighboring distances (the lowest such position), or the largest distance if
        accepting all pairs is best.
        """
        errors = np.round((self.far + self.frr)[1:], 12)  # so that rounding does not decide between equals
        return _between(self.distances[1:], int(np.argmin(errors)))

    def tar_at_far(self, most: float) -> float:
        """Return the largest fraction of matching pairs that is accepted while FAR is at most `most`.

        NaN if there are fewer than 1 / `most` non-matching pairs: a single false accept would exceed it.
        """
        if self.unlike * most < 1:
            return math.nan
        return float(1 - self.frr[self.far <= most].min())

    def at(self, threshold: float) -> dict[str, float | int]:
        """Return the errors if distances of at most a threshold are accepted.

        Returns:
            `far`, `frr`, `false_accepts`, `false_rejects`, `balanced_accuracy`.
        """
        row = int(np.searchsorted(self.distances, threshold, side="right")) - 1
        far, frr = float(self.far[row]), float(self.frr[row])
        return {
            "far": far,
            "frr": frr,
            "false_accepts": round(far * self.unlike),
            "false_rejects": round(frr * self.alike),
            "balanced_accuracy": 1 - (far + frr) / 2,
        }

    def thinned(self, most: int = 500) -> Curve:
        """Return the curve with at most `most` points, denser where it bends."""
        if len(self.far) <= most:
            return self
        # Even steps along FAR, along FRR, and along the logarithm of FAR, as in a DET curve.
        count = most // 3
        low = 1 / self.unlike
        rates = np.concatenate([np.linspace(0, 1, count), np.geomspace(low, 1, count)])
        kept = np.concatenate(
            [
                np.searchsorted(self.far, rates),
                np.searchsorted(-self.frr, -np.linspace(0, 1, count)),
                [0, len(self.far) - 1],
            ]
        )
        rows = np.unique(np.clip(kept, 0, len(self.far) - 1))
        return Curve(self.distances[rows], self.far[rows], self.frr[rows], self.alike, self.unlike)


def verification_measures(
    curve: Curve | None, sign: int, threshold: float | None = None
) -> dict[str, float | int]:
    """Return `roc_auc`, `eer`, `tar_at_far_…`, `threshold`, and the errors at the threshold.

    Args:
        curve: the ROC curve; if None, all measures are NaN.
        sign: 1 if the metric is a distance, -1 if it is a similarity: thresholds are in the metric's own
            orientation.
        threshold: the threshold at which errors are counted; by default the best threshold for these pairs.
    """
    names = ("roc_auc", "eer", *(f"tar_at_far_{name}" for name in RATES), "threshold")
    if curve is None:
        return dict.fromkeys(names, math.nan)
    measures: dict[str, float | int] = {"roc_auc": curve.auc, "eer": curve.eer}
    measures |= {f"tar_at_far_{name}": curve.tar_at_far(rate) for name, rate in RATES.items()}
    best = curve.threshold
    measures["threshold"] = 0 - best if sign < 0 else best
    return measures | curve.at(best if threshold is None else sign * threshold)


class PairCounts:
    """An accumulator that counts the distances of matching and of non-matching pairs."""

    def __init__(self) -> None:
        self._histogram = Histogram()

    def depth(self, relevant: int, findable: int) -> int:
        return 1

    def add(self, chunk: DistanceChunk) -> None:
        for distances, alike in chunk.pairs():
            self._histogram.add(distances, alike)

    def curve(self) -> Curve | None:
        """Return the ROC curve; None if all pairs are of one kind."""
        return Curve.of(*self._histogram.counts())


def _between(distances: NDArray[np.floating], last: int) -> float:
    """Return a threshold that accepts exactly the distances up to index `last`, even in float32."""
    if last + 1 == len(distances):
        return float(distances[last])
    low, high = float(distances[last]), float(distances[last + 1])
    middle = float(np.float32(low / 2 + high / 2))
    return middle if middle < high else low
