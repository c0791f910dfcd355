"""Queries scored by one contender or both, and the means that are asked of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError
from siamkit.stats import _intervals, _resampling

Unit = Literal["queries", "classes"]

RESAMPLES = 10_000


@dataclass(frozen=True)
class Sample:
    """Queries scored by all, and what is asked of them.

    Every mean here is a ratio of two totals over the units, Σ w·top / Σ w·bottom with w = 1, and that of
    resampled units: queries or classes and either mean differ in `top` and `bottom` alone.
    """

    scores: tuple[NDArray[np.float64], ...]
    ids: NDArray[np.int64]  # the class of each query, or 0
    mean: Unit
    over: Unit

    @classmethod
    def of(
        cls,
        scores: dict[str, ArrayLike],
        classes: ArrayLike | None,
        mean: Unit,
        over: Unit,
        *,
        drawn: bool = True,
    ) -> Sample:
        for name, value in (("mean", mean), ("over", over)):
            if value not in ("queries", "classes"):
                raise DataError(f"{name} should be 'queries' or 'classes', got {value!r}")
        if classes is None and "classes" in (mean, over):
            raise DataError("a mean or an interval over classes wants the class of each query")
        columns = {name: _scores(each, name) for name, each in scores.items()}
        if len({len(each) for each in columns.values()}) > 1:
            raise DataError(
                "both contenders should be scored on the same queries, got "
                + " and ".join(str(len(each)) for each in columns.values())
            )
        counted = np.all([~np.isnan(each) for each in columns.values()], axis=0)
        if not counted.any():
            raise DataError(f"no query is scored, of {len(counted)}")
        ids = np.zeros(int(counted.sum()), np.int64)
        if classes is not None:
            ids = np.unique(_resampling.class_ids(classes, len(counted))[counted], return_inverse=True)[1]
        sample = cls(tuple(each[counted] for each in columns.values()), ids, mean, over)
        if drawn:
            _resampling.enough(sample.units, over)
        return sample

    @property
    def sizes(self) -> NDArray[np.int64]:
        return np.bincount(self.ids)

    @property
    def units(self) -> int:
        return len(self.ids) if self.over == "queries" else len(self.sizes)

    def mean_of(self, values: NDArray[np.float64]) -> float:
        return float(values.mean() if self.mean == "queries" else self._means(values).mean())

    def shares(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """What each unit adds to the mean `(units,)`."""
        sizes = self.sizes
        whole = len(values) if self.mean == "queries" else len(sizes) * sizes[self.ids]
        by_query = values / whole
        return by_query if self.over == "queries" else self._sums(by_query)

    def interval(
        self,
        values: NDArray[np.float64],
        resamples: int,
        level: float,
        seed: int,
        limits: tuple[float, float],
    ) -> tuple[float, float]:
        _intervals.checked_level(level)
        rng = _resampling.generator(seed, resamples)
        top, bottom = self.totals(values)
        value = top.sum() / bottom.sum()
        if np.ptp(top - value * bottom) < 1e-12:
            doubt = _intervals.unseen(self.units, level)
            return max(limits[0], value - doubt), min(limits[1], value + doubt)
        both = np.stack([top, bottom], axis=1)
        totals = np.concatenate([part @ both for part in _resampling.weights(self.units, resamples, rng)])
        low, high = _intervals.percentile_interval(totals[:, 0] / totals[:, 1], self.units, level)
        return max(limits[0], low), min(limits[1], high)

    def _sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(self.ids, values), np.float64)

    def _means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._sums(values) / self.sizes

    def totals(self, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self.over == "classes":
            if self.mean == "classes":
                return self._means(values), np.ones(self.units)
            return self._sums(values), self.sizes.astype(np.float64)
        if self.mean == "queries":
            return values, np.ones(self.units)
        return self._within(values), np.ones(self.units)

    def _within(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean of the classes' means as a plain mean over queries, with the classes as they are.

        Drawing queries anew would leave small classes empty. So each query gets the value
        m + n / (C · n_c) · (d - d̄_c), with m the mean of means, whose mean is m and whose spread is that of
        the classes' means within their classes, √(n_c / (n_c - 1)) put right for small ones. A class of one
        query has no spread within: its query's distance from m stands for it, which is too much rather
        than too little.
        """
        sizes, means = self.sizes, self._means(values)
        whole = means.mean()
        centre = np.where(sizes > 1, means, whole)[self.ids]
        each = sizes[self.ids]
        factor = np.sqrt(each / np.maximum(1, each - 1)) * len(values) / (len(sizes) * each)
        off = factor * (values - centre)
        return np.asarray(whole + off - off.mean(), np.float64)


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
            f"{name} should be scores in [0, 1], or NaN for a query that does not count, got "
            f"{column[wrong[0]]} in row {wrong[0]}"
        )
    return column
