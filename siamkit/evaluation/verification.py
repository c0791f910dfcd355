"""Verification: the ROC curve of matching and non-matching pairs, its measures, and the best threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from siamkit.evaluation._histogram import Histogram
from siamkit.evaluation._scan import DistanceChunk

RATES = {"1e-1": 0.1, "1e-2": 0.01, "1e-3": 0.001}
"""The false accept rates at which `tar_at_far_…` is measured."""


@dataclass(frozen=True)
class Curve:
    """The error rates at each threshold, one row for each distance; the first row accepts no pair.

    Args:
        distances: `(n,)`, ascending; -inf first.
        far: `(n,)`, false accept rate: the share of non-matching pairs accepted.
        frr: `(n,)`, false reject rate: the share of matching pairs rejected.
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
        """Return the curve of pair counts at distinct ascending distances `(n,)`; None without both kinds."""
        positives, negatives = int(alike.sum()), int(unlike.sum())
        if not positives or not negatives:
            return None
        # Counts are summed, not shares, so each rate is exactly the quotient of two integers.
        far = np.append(0, np.cumsum(unlike)) / negatives
        frr = (positives - np.append(0, np.cumsum(alike))) / positives
        return cls(np.append(-np.inf, distances.astype(np.float64)), far, frr, positives, negatives)

    @property
    def auc(self) -> float:
        """P(d⁺ < d⁻) + P(d⁺ = d⁻) / 2, for distances of matching and non-matching pairs."""
        hits, false = -np.diff(self.frr), np.diff(self.far)
        return min(max(float(np.sum(hits * (1 - self.far[1:] + false / 2))), 0.0), 1.0)

    @property
    def eer(self) -> float:
        """Where FAR = FRR, on straight lines between the points of the curve."""
        gap = self.far - self.frr  # from -1 up to 1
        after = int(np.argmax(gap >= 0))
        step = -gap[after - 1] / (gap[after] - gap[after - 1])
        return float(self.far[after - 1] + step * (self.far[after] - self.far[after - 1]))

    @property
    def threshold(self) -> float:
        """Where 1 - (FAR + FRR) / 2, the balanced accuracy, is highest.

        It is midway between two neighboring distances (the lowest such position), or the largest distance if
        accepting all pairs is best.
        """
        errors = np.round((self.far + self.frr)[1:], 12)  # so that rounding does not decide between equals
        return _between(self.distances[1:], int(np.argmin(errors)))

    def tar_at_far(self, most: float) -> float:
        """Return the largest share of matching pairs accepted where FAR is at most `most`.

        NaN if there are so few non-matching pairs that one of them is more than that.
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
        """Return the curve with at most `most` points, dense where it bends."""
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
        curve: of distances; all measures are NaN without one.
        sign: 1 for a distance, -1 for a similarity: thresholds are in the metric's own orientation.
        threshold: where errors are counted; by default the best one for these pairs.
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
    """Counts the distances of matching and of non-matching pairs."""

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
    """Return a threshold that accepts the distances up to index `last` and no others, in float32 too."""
    if last + 1 == len(distances):
        return float(distances[last])
    low, high = float(distances[last]), float(distances[last + 1])
    middle = float(np.float32(low / 2 + high / 2))
    return middle if middle < high else low
