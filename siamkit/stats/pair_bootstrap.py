"""Measures of pairs: their intervals by resampling the units of the pairs, and the difference of two."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError
from siamkit.io.targets import class_ids
from siamkit.io.values import as_array, as_column
from siamkit.stats.pair_measures import WeightedMeasure, graded_measure, weighted_measure
from siamkit.stats.resampling import (
    bootstrap_weights,
    check_level,
    check_units,
    exponential_weights,
    pair_weights,
    percentile_interval,
    percentile_p,
    resampling_rng,
    unseen_share,
)
from siamkit.stats.results import Difference, Interval

Over = Literal["pairs", "items", "classes"]

RESAMPLES = 2_000


def compare_pairs(
    measure: str,
    a: ArrayLike,
    b: ArrayLike,
    targets: ArrayLike,
    *,
    items: tuple[ArrayLike, ArrayLike] | None = None,
    classes: ArrayLike | None = None,
    over: Over | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Return the difference B - A in a measure of pairs, on the same pairs, with interval and p-value.

    Pairs that share an item are dependent, and there are many more pairs than items: an interval that treats
    pairs as independent is far too narrow. So items, or whole classes, are resampled; a pair has the weight
    of `siamkit.stats.resampling.pair_weights`, and `narrowed` removes the excess spread. Pairs themselves are
    resampled only if their items are unknown. Interval and p-value are
    `siamkit.stats.resampling.percentile_interval` and `percentile_p`, which always agree. If all resamples
    are equal (for example, because both embeddings are perfect), `unseen_share` gives the width, from the
    number of independent combinations of a matching and a non-matching pair.

    Time grows with about `2 * resamples * pairs` numbers; about a million of them are in memory at a time.

    Args:
        measure: the measure's name: `roc_auc`, `eer`, `tar_at_far_<rate>` (such as `tar_at_far_1e-3`),
            `spearman` or `pearson`.
        a, b: `(n,)`, distances of the pairs, low for matching pairs (a similarity is negated).
        targets: `(n,)`, 1 for a matching pair and 0 for another; or a score, for the last two measures.
        items: the indices `(n,)` of the first and of the second item of each pair.
        classes: `(items,)`, the class of each item that the indices refer to.
        over: the units to resample: `pairs`, `items` or `classes`; by default items if they are given, else
            pairs.
        resamples: number of resamples.
        level: confidence level of the interval, such as 0.95.
        seed: seed of the resamples.

    Raises:
        DataError: arrays do not fit, all pairs are of one kind, there are fewer than 20 classes (10 items,
            10 pairs) to resample, or the measure is undefined in many resamples.

    Example:
        >>> import numpy as np
        >>> from siamkit.stats import compare_pairs
        >>> rng = np.random.default_rng(0)
        >>> x = np.repeat(np.arange(30.0), 4)
        >>> i, j = np.triu_indices(len(x), 1)
        >>> noisy, exact = (x + rng.normal(0, scale, len(x)) for scale in (4, 1))
        >>> a, b = np.abs(noisy[i] - noisy[j]), np.abs(exact[i] - exact[j])
        >>> options = {"items": (i, j), "classes": x, "over": "classes", "resamples": 200}
        >>> difference = compare_pairs("roc_auc", a, b, x[i] == x[j], **options)
        >>> difference.significant, difference.units
        (True, 30)
    """
    sample = PairSample.of({"a": a, "b": b}, measure, targets, items, classes, over)
    values = sample.values()
    difference = values[1] - values[0]
    differences = sample.replicates([-1.0, 1.0], resamples, seed)
    low, high = sample.interval(difference, differences, level, -2.0 if sample.graded else -1.0)
    return Difference(
        measure=measure,
        a=values[0],
        b=values[1],
        difference=difference,
        low=low,
        high=high,
        level=level,
        p=percentile_p(differences, sample.units),
        p_adjusted=None,
        over=sample.over,
        units=sample.units,
        resamples=resamples,
    )


def interval_of_pairs(
    measure: str,
    distances: ArrayLike,
    targets: ArrayLike,
    *,
    items: tuple[ArrayLike, ArrayLike] | None = None,
    classes: ArrayLike | None = None,
    over: Over | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return a measure of pairs of one embedding with its interval; see `compare_pairs`.

    Example:
        >>> from siamkit.stats import interval_of_pairs
        >>> print(interval_of_pairs("roc_auc", [0.1] * 50 + [0.9] * 50, [1] * 50 + [0] * 50))
        roc_auc 1.0000 [0.9289, 1.0000]
    """
    sample = PairSample.of({"distances": distances}, measure, targets, items, classes, over)
    (value,) = sample.values()
    replicates = sample.replicates([1.0], resamples, seed)
    low, high = sample.interval(value, replicates, level, -1.0 if sample.graded else 0.0)
    return Interval(measure, value, low, high, level, sample.over, sample.units, resamples)


@dataclass(frozen=True)
class PairSample:
    """Pairs under one or two embeddings, and the units that they consist of.

    Args:
        measure: the measure's name.
        distances: `(pairs,)` for each embedding, low for matching pairs.
        targets: `(pairs,)`, 1 for a matching pair and 0 for another, or a score.
        first, second: `(pairs,)`, the unit of each side as 0, 1, …
        over: the kind of the units, `pairs`, `items` or `classes`.
    """

    measure: str
    distances: tuple[NDArray[np.float64], ...]
    targets: NDArray[np.float64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    over: Over

    @classmethod
    def of(
        cls,
        distances: Mapping[str, ArrayLike],
        measure: str,
        targets: ArrayLike,
        items: tuple[ArrayLike, ArrayLike] | None,
        classes: ArrayLike | None,
        over: Over | None,
    ) -> PairSample:
        """Return the sample of checked arrays; see `compare_pairs`.

        Raises:
            DataError: arrays are unsuitable, or there are too few units.
        """
        over = over or ("pairs" if items is None else "items")
        if over not in ("pairs", "items", "classes"):
            raise DataError(f"over should be 'pairs', 'items' or 'classes', got {over!r}")
        if over != "pairs" and items is None:
            raise DataError(f"an interval over {over} needs the two items of each pair")
        if over == "classes" and classes is None:
            raise DataError("an interval over classes needs the class of each item")
        truth = _numbers(targets, "targets")
        columns = tuple(_numbers(column, name, len(truth)) for name, column in distances.items())
        if not len(truth):
            raise DataError("a comparison needs at least one pair, got 0")
        if not graded_measure(measure) and set(np.unique(truth)) != {0.0, 1.0}:
            raise DataError(
                f"{measure} needs targets 1 (alike) and 0 (not alike), got {np.unique(truth)[:5].tolist()}"
            )
        first = second = np.arange(len(truth))
        if over != "pairs" and items is not None:
            sides = np.stack([_indices(side, len(truth)) for side in items])
            if over == "classes" and classes is not None:
                array = as_array(classes, name="classes")
                (ids,) = class_ids(as_column(array, len(array), name="classes"))
                if sides.max() >= len(ids):
                    raise DataError(
                        f"classes should name the class of every item, got {len(ids)} classes but item "
                        f"{sides.max()}"
                    )
                sides = ids[sides]
            first, second = np.unique(sides, return_inverse=True)[1].reshape(2, -1)
        sample = cls(measure, columns, truth, first, second, over)
        check_units(sample.units, over)
        return sample

    @property
    def units(self) -> int:
        """The number of units."""
        return int(max(self.first.max(), self.second.max())) + 1

    @property
    def graded(self) -> bool:
        """Whether the measure is for graded pairs."""
        return graded_measure(self.measure)

    def values(self) -> list[float]:
        """Return the measure under each embedding."""
        ones = np.ones((1, len(self.targets)))
        values = [float(measure(ones)[0]) for measure in self._measures()]
        if not np.isfinite(values).all():
            raise DataError(f"{self.measure} is undefined: all distances or all scores are equal")
        return values

    def replicates(self, factors: Sequence[float], resamples: int, seed: int) -> NDArray[np.float64]:
        """Return the sum of the embeddings' measures times these factors, in each resample."""
        width = len(self.targets)
        rng = resampling_rng(seed, resamples)
        counts = bootstrap_weights(self.units, resamples, rng, width=width)
        replicates = self._combined(
            factors, (pair_weights(drawn, self.first, self.second) for drawn in counts)
        )
        if self.over == "pairs":
            return replicates
        couples, distinct = self._couples()
        enough = max(100, resamples // 4)  # for a variance
        smooth = exponential_weights(couples.max() + 1, enough, rng, width=width)
        alone = self._combined(factors, (np.where(distinct, drawn[:, couples], 1.0) for drawn in smooth))
        return narrowed(float(np.dot(factors, self.values())), replicates, alone)

    def interval(
        self, value: float, replicates: NDArray[np.float64], level: float, lowest: float
    ) -> tuple[float, float]:
        """Return the interval of a value from its replicates, clipped at `lowest` and at -`lowest` (or 1)."""
        check_level(level)
        highest = abs(lowest) or 1.0
        low, high = percentile_interval(replicates, self.units, level)
        if np.nanmax(np.abs(replicates - value)) < 1e-12 and not self.graded:
            doubt = unseen_share(self._independent_couples(), level)
            low, high = value - doubt, value + doubt
        return max(lowest, low), min(highest, high)

    def _independent_couples(self) -> int:
        """Return the largest number of disjoint combinations of a matching and a non-matching pair."""
        if self.over == "pairs":
            alike = int(self.targets.sum())
            return min(alike, len(self.targets) - alike)
        return self.units // (4 if self.over == "items" else 3)

    def _measures(self) -> list[WeightedMeasure]:
        return [weighted_measure(self.measure, column, self.targets) for column in self.distances]

    def _combined(
        self, factors: Sequence[float], chunks: Iterable[NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        measures = self._measures()
        return np.concatenate(
            [np.dot(factors, np.stack([measure(weights) for measure in measures])) for weights in chunks]
        )

    def _couples(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the couple of units of each pair as 0, 1, …, and whether the two units differ."""
        low, high = np.minimum(self.first, self.second), np.maximum(self.first, self.second)
        return np.unique(low * self.units + high, return_inverse=True)[1], low != high


def narrowed(
    value: float, replicates: NDArray[np.float64], alone: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return resamples of units without their excess spread.

    For weights w of variance 1, w_i · w_j and w_i · w_k have covariance 1, because the pairs (i, j) and (i,
    k) depend on each other through i only. But w_i · w_j itself has variance 3, although a couple should
    count once. Let v be the variance of a measure over resampled units, and u its variance if each couple of
    units has a weight of its own. The correct variance is v - 2·u (at least u), and the spread about `value`
    is scaled to it. This is the inclusion and exclusion of Cameron, Gelbach and Miller, "Robust Inference
    with Multiway Clustering", 2011, for couples as in Aronow, Samii and Assenova, "Cluster-Robust Variance
    Estimation for Dyadic Data", Political Analysis 2015.

    Args:
        value: the measured value.
        replicates: `(resamples,)`, the measure over resampled units.
        alone: `(resamples,)`, the replicates if each couple of units has a weight of its own.

    Example:
        >>> import numpy as np
        >>> narrowed(0.0, np.array([-3.0, 3.0]), np.array([-1.0, 1.0])).round(4).tolist()
        [-2.6458, 2.6458]
    """
    over_units, over_couples = float(np.nanvar(replicates)), float(np.nanvar(alone))
    if not over_units > 0:
        return replicates
    scale = math.sqrt(min(1.0, max(over_units - 2 * over_couples, over_couples) / over_units))
    return np.asarray(value + scale * (replicates - value), np.float64)


def _numbers(values: ArrayLike, name: str, length: int | None = None) -> NDArray[np.float64]:
    array = as_array(values, name=name)
    column = as_column(array, array.size if length is None else length, name=name)
    try:
        numbers = column.astype(np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{name} should be numbers, got {column.dtype}") from None
    if not np.isfinite(numbers).all():
        raise DataError(f"{name} should be finite, got NaN or infinity")
    return numbers


def _indices(values: ArrayLike, length: int) -> NDArray[np.int64]:
    column = as_column(values, length, name="items")
    if column.dtype.kind not in "iu" or (column < 0).any():
        raise DataError("items should be indices of at least 0, two for each pair")
    return column.astype(np.int64)
