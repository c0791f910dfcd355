"""Pairs as all contenders see them, and how they are drawn again with the units they are made of."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError
from siamkit.evaluation import _checks
from siamkit.stats import _intervals, _resampling
from siamkit.stats._pair_measures import Weighted, graded_measure, weighted_measure

Over = Literal["pairs", "items", "classes"]


@dataclass(frozen=True)
class PairSample:
    """Pairs as all contenders see them, and the units they are made of."""

    measure: str
    distances: tuple[NDArray[np.float64], ...]
    targets: NDArray[np.float64]
    first: NDArray[np.int64]  # the units of both sides, 0, 1, …
    second: NDArray[np.int64]
    over: Over

    @classmethod
    def of(
        cls,
        distances: dict[str, ArrayLike],
        measure: str,
        targets: ArrayLike,
        items: tuple[ArrayLike, ArrayLike] | None,
        classes: ArrayLike | None,
        over: Over | None,
    ) -> PairSample:
        over = over or ("pairs" if items is None else "items")
        if over not in ("pairs", "items", "classes"):
            raise DataError(f"over should be 'pairs', 'items' or 'classes', got {over!r}")
        if over != "pairs" and items is None:
            raise DataError(f"an interval over {over} wants the two items of each pair")
        if over == "classes" and classes is None:
            raise DataError("an interval over classes wants the class of each item")
        wanted = _numbers(targets, "targets")
        columns = tuple(_numbers(each, name, len(wanted)) for name, each in distances.items())
        if not len(wanted):
            raise DataError("there are no pairs to compare")
        if not graded_measure(measure) and not (
            np.isin(wanted, (0, 1)).all() and len(np.unique(wanted)) == 2
        ):
            raise DataError(
                f"{measure} needs targets 1 (alike) and 0 (not alike), got {np.unique(wanted)[:5].tolist()}"
            )
        first = second = np.arange(len(wanted))
        if over != "pairs" and items is not None:
            sides = np.stack([_indices(each, len(wanted)) for each in items])
            if over == "classes" and classes is not None:
                of_item = _resampling.class_ids(classes, len(_checks.as_array(classes, name="classes")))
                if sides.max() >= len(of_item):
                    raise DataError(
                        f"classes should name that of every item, got {len(of_item)} for item {sides.max()}"
                    )
                sides = of_item[sides]
            first, second = np.unique(sides, return_inverse=True)[1].reshape(2, -1)  # those there are
        sample = cls(measure, columns, wanted, first, second, over)
        _resampling.enough(sample.units, over)
        return sample

    @property
    def units(self) -> int:
        return int(max(self.first.max(), self.second.max())) + 1

    @property
    def graded(self) -> bool:
        return graded_measure(self.measure)

    def values(self) -> list[float]:
        """The figure of each contender."""
        values = [float(measure(np.ones((1, len(self.targets))))[0]) for measure in self._measures()]
        if not np.isfinite(values).all():
            raise DataError(f"{self.measure} is not defined: all distances or all scores are equal")
        return values

    def replicates(self, factors: list[float], resamples: int, seed: int) -> NDArray[np.float64]:
        """A sum of the contenders' figures with these factors, in each resample."""
        width = len(self.targets)
        rng = _resampling.generator(seed, resamples)
        counts = _resampling.weights(self.units, resamples, rng, width=width)
        drawn = (_resampling.pair_weights(each, self.first, self.second) for each in counts)
        found = self._combined(factors, drawn)
        if self.over == "pairs":
            return found
        couples, apart = self._couples()
        enough = max(100, resamples // 4)  # for a variance
        smooth = _resampling.smooth_weights(couples.max() + 1, enough, rng, width=width)
        alone = self._combined(factors, (np.where(apart, each[:, couples], 1.0) for each in smooth))
        value = float(np.dot(factors, self.values()))
        return narrowed(value, found, alone)

    def interval(
        self, value: float, replicates: NDArray[np.float64], level: float, lowest: float
    ) -> tuple[float, float]:
        _intervals.checked_level(level)
        highest = abs(lowest) or 1.0
        low, high = _intervals.percentile_interval(replicates, self.units, level)
        if np.nanmax(np.abs(replicates - value)) < 1e-12 and not self.graded:
            doubt = _intervals.unseen(self._unseen_couples(), level)
            low, high = value - doubt, value + doubt
        return max(lowest, low), min(highest, high)

    def _unseen_couples(self) -> int:
        """How many couples of an alike and another pair can be had that share no unit."""
        if self.over == "pairs":
            alike = int(self.targets.sum())
            return min(alike, len(self.targets) - alike)
        return self.units // (4 if self.over == "items" else 3)

    def _measures(self) -> list[Weighted]:
        return [weighted_measure(self.measure, each, self.targets) for each in self.distances]

    def _combined(self, factors: list[float], weights: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
        measures = self._measures()
        return np.concatenate(
            [np.dot(factors, np.stack([measure(each) for measure in measures])) for each in weights]
        )

    def _couples(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The couple of units that each pair belongs to, as 0, 1, …, and whether the two differ."""
        low, high = np.minimum(self.first, self.second), np.maximum(self.first, self.second)
        return np.unique(low * self.units + high, return_inverse=True)[1], low != high


def narrowed(
    value: float, replicates: NDArray[np.float64], alone: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Resamples of units with the spread they have too much taken back.

    For weights w of variance 1, w_i · w_j and w_i · w_k have the covariance 1, as the pairs (i, j) and (i, k)
    depend on each other through i alone; but w_i · w_j itself has the variance 3, where a couple that no
    unit explains should count once. So with v the variance of a figure over resampled units, and u that
    where every couple of units is weighted on its own, the right one is v - 2·u (at least u), and the
    spread about `value` is scaled to it. This is the inclusion and exclusion of Cameron, Gelbach and
    Miller, "Robust Inference with Multiway Clustering", 2011, for couples as in Aronow, Samii and
    Assenova, "Cluster-Robust Variance Estimation for Dyadic Data", Political Analysis 2015.

    Args:
        value: the figure itself.
        replicates: `(resamples,)`, over units.
        alone: its values where couples are weighted each on its own.

    Example:
        >>> import numpy as np
        >>> from siamkit.stats.pair_bootstrap import narrowed
        >>> narrowed(0.0, np.array([-3.0, 3.0]), np.array([-1.0, 1.0])).round(4).tolist()
        [-2.6458, 2.6458]
    """
    found, once = float(np.nanvar(replicates)), float(np.nanvar(alone))
    if not found > 0:
        return replicates
    scale = math.sqrt(min(1.0, max(found - 2 * once, once) / found))
    return np.asarray(value + scale * (replicates - value), np.float64)


def _numbers(values: ArrayLike, name: str, length: int | None = None) -> NDArray[np.float64]:
    raw = _checks.as_array(values, name=name)
    column = _checks.column(raw, raw.size if length is None else length, name=name)
    try:
        numbers = column.astype(np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{name} should be numbers, got {column.dtype}") from None
    if not np.isfinite(numbers).all():
        raise DataError(f"{name} should be finite, got NaN or infinity")
    return numbers


def _indices(values: ArrayLike, length: int) -> NDArray[np.int64]:
    column = _checks.column(values, length, name="items")
    if column.dtype.kind not in "iu" or (column < 0).any():
        raise DataError("items should be indices from 0 on, two for each pair")
    return column.astype(np.int64)
