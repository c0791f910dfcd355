"""Telling pairs alike from pairs not alike: the ROC curve, what is read off it, and the best threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from siamkit.evaluation._histogram import Histogram
from siamkit.evaluation._scan import DistanceChunk

RATES = {"1e-1": 0.1, "1e-2": 0.01, "1e-3": 0.001}
"""False accept rates that figures are given at."""


@dataclass(frozen=True)
class Curve:
    """What accepting all pairs up to a distance leads to, one row a distance; the first accepts none.

    Args:
        distances: `(n,)`, ascending; -inf first.
        far: `(n,)`, false accept rate: the share of pairs not alike that are accepted.
        frr: `(n,)`, false reject rate: the share of pairs alike that are not.
        alike, unlike: how many pairs there are of each kind.
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
        """From counts of pairs at distinct ascending distances `(n,)`; None if there are none of one kind."""
        positives, negatives = int(alike.sum()), int(unlike.sum())
        if not positives or not negatives:
            return None
        # Counts are added up, not shares: a rate is then just what it would be written as.
        far = np.append(0, np.cumsum(unlike)) / negatives
        frr = (positives - np.append(0, np.cumsum(alike))) / positives
        return cls(np.append(-np.inf, distances.astype(np.float64)), far, frr, positives, negatives)

    @property
    def auc(self) -> float:
        """P(d⁺ < d⁻) + P(d⁺ = d⁻) / 2, for distances of pairs alike and not."""
        hit, false = -np.diff(self.frr), np.diff(self.far)
        return min(max(float(np.sum(hit * (1 - self.far[1:] + false / 2))), 0.0), 1.0)

    @property
    def eer(self) -> float:
        """FAR = FRR, on straight lines between the points of the curve."""
        gap = self.far - self.frr  # from -1 up to 1
        after = int(np.argmax(gap >= 0))
        step = -gap[after - 1] / (gap[after] - gap[after - 1])
        return float(self.far[after - 1] + step * (self.far[after] - self.far[after - 1]))

    @property
    def threshold(self) -> float:
        """Where 1 - (FAR + FRR) / 2, the balanced accuracy, is highest.

        It lies midway between two neighbouring distances (the lowest such place), or at the largest if all
        is best accepted.
        """
        errors = np.round((self.far + self.frr)[1:], 12)  # places equally good: not told apart by rounding
        return _between(self.distances[1:], int(np.argmin(errors)))

    def tar_at_far(self, most: float) -> float:
        """The largest share of pairs alike accepted where FAR is at most so much.

        NaN where there are too few pairs not alike for one of them to be that little.
        """
        if self.unlike * most < 1:
            return math.nan
        return float(1 - self.frr[self.far <= most].min())

    def at(self, threshold: float) -> dict[str, float | int]:
        """What accepting distances of at most a threshold leads to.

        Returns:
            `far`, `frr`, `false_accepts`, `false_rejects`, `balanced_accuracy`.
        """
        place = int(np.searchsorted(self.distances, threshold, side="right")) - 1
        far, frr = float(self.far[place]), float(self.frr[place])
        return {
            "far": far,
            "frr": frr,
            "false_accepts": round(far * self.unlike),
            "false_rejects": round(frr * self.alike),
            "balanced_accuracy": 1 - (far + frr) / 2,
        }

    def thinned(self, most: int = 500) -> Curve:
        """The same curve from at most so many points: where it bends most on both axes."""
        if len(self.far) <= most:
            return self
        # Even steps along FAR, along FRR, and along FAR's logarithm, where a DET curve is looked at.
        each = most // 3
        low = 1 / self.unlike
        rates = np.concatenate([np.linspace(0, 1, each), np.geomspace(low, 1, each)])
        kept = np.concatenate(
            [
                np.searchsorted(self.far, rates),
                np.searchsorted(-self.frr, -np.linspace(0, 1, each)),
                [0, len(self.far) - 1],
            ]
        )
        rows = np.unique(np.clip(kept, 0, len(self.far) - 1))
        return Curve(self.distances[rows], self.far[rows], self.frr[rows], self.alike, self.unlike)


def verification_measures(
    curve: Curve | None, sign: int, threshold: float | None = None
) -> dict[str, float | int]:
    """`roc_auc`, `eer`, `tar_at_far_…`, `threshold`, and what it leads to.

    Args:
        curve: of distances; all figures are NaN without one.
        sign: 1 for a distance, -1 for a similarity: thresholds are in the metric's own orientation.
        threshold: what is to be accepted; the one that suits these pairs best if None.
    """
    names = ("roc_auc", "eer", *(f"tar_at_far_{name}" for name in RATES), "threshold")
    if curve is None:
        return dict.fromkeys(names, math.nan)
    found: dict[str, float | int] = {"roc_auc": curve.auc, "eer": curve.eer}
    found |= {f"tar_at_far_{name}": curve.tar_at_far(rate) for name, rate in RATES.items()}
    best = curve.threshold
    found["threshold"] = 0 - best if sign < 0 else best
    return found | curve.at(best if threshold is None else sign * threshold)


class Pairs:
    """Counts the distances of pairs alike and not."""

    def __init__(self) -> None:
        self._histogram = Histogram()

    def depth(self, relevant: int, findable: int) -> int:
        return 1

    def add(self, portion: DistanceChunk) -> None:
        for distances, alike in portion.pairs():
            self._histogram.add(distances, alike)

    def curve(self) -> Curve | None:
        return Curve.of(*self._histogram.counts())


def _between(distances: NDArray[np.floating], last: int) -> float:
    """A threshold that accepts the distances up to that index, and no more also in float32."""
    if last + 1 == len(distances):
        return float(distances[last])
    low, high = float(distances[last]), float(distances[last + 1])
    middle = float(np.float32(low / 2 + high / 2))
    return middle if middle < high else low
