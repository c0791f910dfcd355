"""Effects in a study: the levels of a factor, interactions of two factors, and limits of such claims."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamkit.errors import DataError

MIN_TRIALS = 20
"""The minimum number of trials: with fewer, the order of levels is mostly chance."""

MIN_TRIALS_PER_LEVEL = 3
"""The minimum number of trials of a level: with fewer, nothing can be said about it."""


@dataclass(frozen=True)
class Level:
    """The trials of one level of a factor.

    Args:
        level: the level's value.
        trials: number of completed trials.
        mean: mean of the objective.
        low, high: the interval of the mean; None if trials were chosen by earlier results.
        best: best objective of all trials of the level.
        expected_best: the expected best of `budget` random trials of the level, so that all levels have the
            same budget.
        budget: the number of trials of that level of the factor that has the fewest.
    """

    level: Any
    trials: int
    mean: float
    low: float | None
    high: float | None
    best: float
    expected_best: float
    budget: int


@dataclass(frozen=True)
class Interaction:
    """The interaction of two factors.

    Args:
        first, second: names of the factors.
        rows, columns: levels of the first and of the second factor.
        means: `(rows, columns)`, means of the objective, NaN where no trial completed.
        counts: `(rows, columns)`, numbers of trials.
        residuals: `(rows, columns)`, the difference of each cell's mean from the additive model of both
            factors, fitted with the counts as weights.
    """

    first: str
    second: str
    rows: tuple[Any, ...]
    columns: tuple[Any, ...]
    means: NDArray[np.float64]
    counts: NDArray[np.int64]
    residuals: NDArray[np.float64]


@dataclass(frozen=True)
class Trials:
    """Completed trials as a table.

    Args:
        factors: one mapping for each trial; a factor that a trial does not have is absent.
        values: `(trials,)`, the objective.
        maximize: whether a higher objective is better.
        balanced: whether trials were planned or drawn regardless of results, and none was stopped early
            because of its results; only then do means of levels have intervals.
    """

    factors: Sequence[Mapping[str, Any]]
    values: NDArray[np.float64]
    maximize: bool = True
    balanced: bool = False

    @property
    def factor_names(self) -> list[str]:
        """All factors, in order of first appearance."""
        return list(dict.fromkeys(name for factors in self.factors for name in factors))

    def levels(self, factor: str, *, confidence: float = 0.95) -> list[Level]:
        """Return each level of a factor, the best mean first.

        The interval of a mean is Student's, with the residual spread of the additive model of all factors
        (least squares): in a balanced design the effects of other factors are equal for each level, so they
        do not widen it.

        Raises:
            DataError: no trial has the factor.
        """
        groups = self._groups(factor)
        spread, freedom = self._residual_spread() if self.balanced else (math.nan, 0)
        budget = min(len(rows) for rows in groups.values())
        levels = []
        for level, rows in groups.items():
            values = self.values[rows]
            half = _student(confidence, freedom) * spread / math.sqrt(len(rows)) if freedom > 0 else None
            mean = float(values.mean())
            levels.append(
                Level(
                    level,
                    len(rows),
                    mean,
                    None if half is None else mean - half,
                    None if half is None else mean + half,
                    float(values.max() if self.maximize else values.min()),
                    self._expected_best(values, budget),
                    budget,
                )
            )
        return sorted(levels, key=lambda level: -level.mean if self.maximize else level.mean)

    def interaction(self, first: str, second: str) -> Interaction:
        """Return the levels of two factors against each other."""
        rows, columns = self._groups(first), self._groups(second)
        shape = len(rows), len(columns)
        counts, sums = np.zeros(shape, np.int64), np.zeros(shape)
        for i, in_row in enumerate(rows.values()):
            for j, in_column in enumerate(columns.values()):
                both = np.intersect1d(in_row, in_column)
                counts[i, j], sums[i, j] = len(both), self.values[both].sum()
        with np.errstate(invalid="ignore"):
            means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        return Interaction(
            first, second, tuple(rows), tuple(columns), means, counts, means - _additive(means, counts)
        )

    def warnings(self, factors: Sequence[str], seeds: int) -> list[str]:
        """Return sentences about limits of conclusions from these trials.

        Args:
            factors: the factors to check.
            seeds: number of seeds that each configuration was trained with.
        """
        sentences = []
        if len(self.values) < MIN_TRIALS:
            sentences.append(
                f"Only {len(self.values)} trials completed: with fewer than {MIN_TRIALS} the order of levels "
                "is mostly chance."
            )
        if seeds < 2:
            sentences.append(
                "Each configuration was trained with one seed, so a lucky seed and a good configuration look "
                "alike."
            )
        if not self.balanced:
            sentences.append(
                "The sampler preferred good regions, or bad trials were stopped early: means of levels "
                "describe this search and do not estimate an effect. Use design: factorial to estimate "
                "effects."
            )
        for factor in factors:
            counts = {level: len(rows) for level, rows in self._groups(factor).items()}
            thin = [str(level) for level, count in counts.items() if count < MIN_TRIALS_PER_LEVEL]
            if thin and len(counts) > 1 and all(isinstance(level, (str, bool)) for level in counts):
                sentences.append(f"{factor}: fewer than {MIN_TRIALS_PER_LEVEL} trials of {', '.join(thin)}.")
        return sentences

    def _groups(self, factor: str) -> dict[Hashable, NDArray[np.int64]]:
        """Return the rows of each level of a factor."""
        groups: dict[Hashable, list[int]] = {}
        for row, factors in enumerate(self.factors):
            if factor in factors:
                groups.setdefault(factors[factor], []).append(row)
        if not groups:
            raise DataError(f"no trial has the factor {factor!r}")
        return {level: np.array(rows) for level, rows in groups.items()}

    def _residual_spread(self) -> tuple[float, int]:
        """Return the residual standard deviation of the additive model, and its degrees of freedom."""
        names = [name for name in self.factors[0] if len(self._groups(name)) > 1]
        columns = [np.ones(len(self.values))]
        for name in names:
            for rows in list(self._groups(name).values())[1:]:
                columns.append(np.isin(np.arange(len(self.values)), rows).astype(float))
        design = np.stack(columns, axis=1)
        fitted, _, rank, _ = np.linalg.lstsq(design, self.values, rcond=None)
        freedom = len(self.values) - int(rank)
        if freedom < 1:
            return math.nan, 0
        return float(np.sqrt(((self.values - design @ fitted) ** 2).sum() / freedom)), freedom

    def _expected_best(self, values: NDArray[np.float64], count: int) -> float:
        """Return the expected best of `count` of the values, drawn without replacement.

        The i-th smallest of n is the largest of k drawn with probability C(i - 1, k - 1) / C(n, k).
        """
        ordered = np.sort(values if self.maximize else -values)
        total = len(ordered)
        chances = [math.comb(i, count - 1) / math.comb(total, count) for i in range(total)]
        best = float(ordered @ np.array(chances))
        return best if self.maximize else -best


def is_number(level: Any) -> bool:
    """Return whether a level of a factor is a number."""
    return isinstance(level, (int, float)) and not isinstance(level, bool)


def _student(confidence: float, freedom: int) -> float:
    from scipy.special import stdtrit  # late: slow to import

    return float(stdtrit(freedom, (1 + confidence) / 2))


def _additive(means: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the additive model of rows and columns for each cell, by weighted least squares."""
    rows, columns = means.shape
    i, j = np.nonzero(counts)
    weight = np.sqrt(counts[i, j])
    design = np.zeros((len(i), rows + columns))
    design[np.arange(len(i)), i] = 1
    design[np.arange(len(i)), rows + j] = 1
    fitted = np.linalg.lstsq(design * weight[:, None], means[i, j] * weight, rcond=None)[0]
    return np.asarray(fitted[:rows, None] + fitted[None, rows:], np.float64)
