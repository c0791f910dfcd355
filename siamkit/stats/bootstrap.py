"""Means of per-query scores: their intervals by the bootstrap, and the paired difference of two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError
from siamkit.io.targets import class_ids
from siamkit.io.values import as_column
from siamkit.stats.resampling import (
    bootstrap_weights,
    check_level,
    check_units,
    percentile_interval,
    permutation_p,
    resampling_rng,
    unseen_share,
)
from siamkit.stats.results import Difference, Interval

Unit = Literal["queries", "classes"]

RESAMPLES = 10_000


def compare_queries(
    measure: str,
    a: ArrayLike,
    b: ArrayLike,
    *,
    classes: ArrayLike | None = None,
    mean: Unit = "queries",
    over: Unit = "queries",
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Return the difference B - A in a mean of per-query scores, paired by query, with interval and p-value.

    The mean is that of all queries, 1/n · Σ d_q, or that of the class means, 1/C · Σ_c d̄_c, in which a small
    class counts as much as a large one. `over` names the units that are resampled: queries of the same
    classes, or classes (a cluster bootstrap that draws whole classes). Classes are right if the embedding
    will be used on other classes than those evaluated; their interval is wider.

    The interval is `siamkit.stats.resampling.percentile_interval`; if all units have equal differences, its
    width comes from `siamkit.stats.resampling.unseen_share`. The p-value is that of
    `siamkit.stats.resampling.permutation_p`. The two procedures differ, so if p is near 1 - level one of them
    may find a difference and the other may not; a verdict uses the interval.

    Args:
        measure: the measure's name, for the result.
        a, b: `(n,)`, the score of each query in [0, 1], NaN if excluded. A query counts if it has a score
            under both embeddings.
        classes: `(n,)`, the class of each query; required if `mean` or `over` is `classes`.
        mean: the kind of mean, over `queries` or over `classes` (the mean of the class means).
        over: the units to resample, `queries` or `classes`.
        resamples: number of resamples for the interval, and maximum number for the p-value.
        level: confidence level of the interval, such as 0.95.
        seed: seed of the resamples.

    Raises:
        DataError: scores are not numbers in [0, 1], fewer than 10 queries have both scores, or there are
            fewer than 20 classes to resample.

    Example:
        >>> import numpy as np
        >>> from siamkit.stats import compare_queries
        >>> rng = np.random.default_rng(0)
        >>> a = rng.random(300) < 0.6
        >>> b = a | (rng.random(300) < 0.3)
        >>> difference = compare_queries("recall_at_1", a, b)
        >>> round(difference.difference, 2), difference.significant, difference.p < 0.001
        (0.12, True, True)
    """
    sample = Sample.of({"a": a, "b": b}, classes, mean, over)
    gains = sample.scores[1] - sample.scores[0]
    low, high = sample.interval(gains, resamples, level, seed, (-1.0, 1.0))
    mean_a, mean_b = (sample.mean_of(scores) for scores in sample.scores)
    return Difference(
        measure=measure,
        a=mean_a,
        b=mean_b,
        difference=mean_b - mean_a,
        low=low,
        high=high,
        level=level,
        p=permutation_p(sample.shares(gains), resamples, seed),
        p_adjusted=None,
        over=over,
        units=sample.units,
        resamples=resamples,
    )


def interval_of(
    measure: str,
    scores: ArrayLike,
    *,
    classes: ArrayLike | None = None,
    mean: Unit = "queries",
    over: Unit = "queries",
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the mean of the per-query scores of one embedding with its interval; see `compare_queries`.

    Two intervals that overlap say nothing about the difference, because they ignore the pairing.

    Example:
        >>> from siamkit.stats import interval_of
        >>> print(interval_of("recall_at_1", [1.0] * 100))
        recall_at_1 1.0000 [0.9638, 1.0000]
    """
    sample = Sample.of({"scores": scores}, classes, mean, over)
    low, high = sample.interval(sample.scores[0], resamples, level, seed, (0.0, 1.0))
    value = sample.mean_of(sample.scores[0])
    return Interval(measure, value, low, high, level, over, sample.units, resamples)


@dataclass(frozen=True)
class Sample:
    """Queries scored under one or two embeddings, and which mean of the scores to resample.

    Every mean here is a ratio of two totals over the units, Σ w·top / Σ w·bottom with w = 1, and so is that
    of resampled units: queries or classes, and either mean, differ in `top` and `bottom` only.

    Args:
        scores: `(queries,)` for each embedding, of the queries with a score under all of them.
        ids: `(queries,)`, the class of each query, or 0.
        mean: the kind of mean, over `queries` or over `classes`.
        over: the units, `queries` or `classes`.
    """

    scores: tuple[NDArray[np.float64], ...]
    ids: NDArray[np.int64]
    mean: Unit
    over: Unit

    @classmethod
    def of(cls, scores: Mapping[str, ArrayLike], classes: ArrayLike | None, mean: Unit, over: Unit) -> Sample:
        """Return the sample of the queries that have a score under all embeddings.

        Args:
            scores: scores `(queries,)` of each embedding, by name, NaN if excluded.
            classes: `(queries,)`, the class of each query, or None.
            mean: the kind of mean, over `queries` or over `classes`.
            over: the units, `queries` or `classes`.

        Raises:
            DataError: scores or classes are unsuitable, or there are too few units.
        """
        for name, value in (("mean", mean), ("over", over)):
            if value not in ("queries", "classes"):
                raise DataError(f"{name} should be 'queries' or 'classes', got {value!r}")
        if classes is None and "classes" in (mean, over):
            raise DataError("a mean or an interval over classes needs the class of each query")
        columns = {name: _scores(column, name) for name, column in scores.items()}
        lengths = [len(column) for column in columns.values()]
        if len(set(lengths)) > 1:
            raise DataError(
                f"both embeddings should be scored on the same queries, got {' and '.join(map(str, lengths))}"
            )
        counted = np.all([~np.isnan(column) for column in columns.values()], axis=0)
        if not counted.any():
            raise DataError(f"none of the {len(counted)} queries has a score under all embeddings")
        ids = np.zeros(int(counted.sum()), np.int64)
        if classes is not None:
            (all_ids,) = class_ids(as_column(classes, len(counted), name="classes"))
            ids = np.unique(all_ids[counted], return_inverse=True)[1]
        sample = cls(tuple(column[counted] for column in columns.values()), ids, mean, over)
        check_units(sample.units, over)
        return sample

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The number of queries of each class."""
        return np.bincount(self.ids)

    @property
    def units(self) -> int:
        """The number of units."""
        return len(self.ids) if self.over == "queries" else len(self.sizes)

    def mean_of(self, values: NDArray[np.float64]) -> float:
        """Return the mean of values `(queries,)`."""
        return float(values.mean() if self.mean == "queries" else self._class_means(values).mean())

    def shares(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the contribution of each unit to the mean, `(units,)`."""
        sizes = self.sizes
        divisor = len(values) if self.mean == "queries" else len(sizes) * sizes[self.ids]
        by_query = values / divisor
        return by_query if self.over == "queries" else self._class_sums(by_query)

    def interval(
        self,
        values: NDArray[np.float64],
        resamples: int,
        level: float,
        seed: int,
        limits: tuple[float, float],
    ) -> tuple[float, float]:
        """Return the interval of the mean of values `(queries,)`, clipped to the limits."""
        check_level(level)
        rng = resampling_rng(seed, resamples)
        top, bottom = self.totals(values)
        value = top.sum() / bottom.sum()
        if np.ptp(top - value * bottom) < 1e-12:  # all units are equal
            doubt = unseen_share(self.units, level)
            return max(limits[0], value - doubt), min(limits[1], value + doubt)
        both = np.stack([top, bottom], axis=1)
        chunks = bootstrap_weights(self.units, resamples, rng)
        totals = np.concatenate([weights @ both for weights in chunks])
        low, high = percentile_interval(totals[:, 0] / totals[:, 1], self.units, level)
        return max(limits[0], low), min(limits[1], high)

    def totals(self, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the contributions of each unit to numerator and denominator of the mean, `(units,)` each."""
        if self.over == "classes":
            if self.mean == "classes":
                return self._class_means(values), np.ones(self.units)
            return self._class_sums(values), self.sizes.astype(np.float64)
        if self.mean == "queries":
            return values, np.ones(self.units)
        return self._within_classes(values), np.ones(self.units)

    def _class_sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(self.ids, values), np.float64)

    def _class_means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._class_sums(values) / self.sizes

    def _within_classes(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values whose plain mean over queries behaves like the mean of class means.

        Resampled queries can leave a small class empty. So each query gets the value
        m + n / (C · n_c) · (d - d̄_c), where m is the mean of the class means. The mean of these is m, and
        their spread is that of the class means within their classes, corrected by √(n_c / (n_c - 1)) for
        small classes. A class of one query has no spread within it: the distance of its query from m is used
        instead, which overstates the spread rather than understating it.
        """
        sizes, means = self.sizes, self._class_means(values)
        mean = means.mean()
        center = np.where(sizes > 1, means, mean)[self.ids]
        size = sizes[self.ids]
        factor = np.sqrt(size / np.maximum(1, size - 1)) * len(values) / (len(sizes) * size)
        deviation = factor * (values - center)
        return np.asarray(mean + deviation - deviation.mean(), np.float64)


def _scores(values: ArrayLike, name: str) -> NDArray[np.float64]:
    try:
        column = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{name} should be numbers, one for each query") from None
    if column.ndim != 1:
        raise DataError(f"{name} should have the shape (queries,), got {column.shape}")
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero((column < 0) | (column > 1))
    if wrong.size:
        raise DataError(
            f"{name} should be scores in [0, 1], or NaN for an excluded query, got "
            f"{column[wrong[0]]} in row {wrong[0]}"
        )
    return column
