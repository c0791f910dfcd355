"""What mattered in a study: levels of factors, pairs of factors, and what the design lets one say."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamkit.errors import DataError

FEW = 20  # trials below which little can be said
LEAST = 3  # trials of a level below which nothing can be said of it


@dataclass(frozen=True)
class Level:
    """The trials of one level of a factor.

    Args:
        level: its value.
        trials: how many completed.
        mean: of the objective.
        low, high: of the mean, in designs whose trials were not chosen by what came before; else None.
        best: of all.
        best_of_equal: what the best of `equal` of its trials would be on average: the best under a budget
            that is the same for every level.
        equal: that budget, the trials of the level that has fewest.
    """

    level: Any
    trials: int
    mean: float
    low: float | None
    high: float | None
    best: float
    best_of_equal: float
    equal: int


@dataclass(frozen=True)
class Interaction:
    """Two factors together.

    Args:
        first, second: their names.
        rows, columns: their levels.
        means: `(rows, columns)` of the objective, NaN where no trial completed.
        counts: `(rows, columns)` trials.
        surplus: `(rows, columns)`, how much a cell is above what both levels alone make one expect: the
            residual of the additive model, weighted by the counts.
    """

    first: str
    second: str
    rows: tuple[Any, ...]
    columns: tuple[Any, ...]
    means: NDArray[np.float64]
    counts: NDArray[np.int64]
    surplus: NDArray[np.float64]


@dataclass(frozen=True)
class Trials:
    """Completed trials, as a table.

    Args:
        factors: one mapping a trial; a factor that a trial does not have is absent.
        values: `(trials,)`, the objective.
        maximize: whether higher is better.
        balanced: whether trials were laid out or drawn without regard to results, and none was ended early
            for them: then means of levels are means of something, and have intervals.
    """

    factors: Sequence[Mapping[str, Any]]
    values: NDArray[np.float64]
    maximize: bool = True
    balanced: bool = False

    def levels(self, factor: str, *, confidence: float = 0.95) -> list[Level]:
        """Each level of a factor, the best mean first.

        The interval of a mean is t's, with the spread that is left when every factor's levels have their own
        mean (the additive model, by least squares): in a balanced design the other factors' effects are the
        same for each level, so they don't blur it.

        Raises:
            DataError: no trial has the factor.
        """
        groups = self._groups(factor)
        spread, freedom = self._residual() if self.balanced else (math.nan, 0)
        equal = min(len(rows) for rows in groups.values())
        found = []
        for level, rows in groups.items():
            values = self.values[rows]
            half = _student(confidence, freedom) * spread / math.sqrt(len(rows)) if freedom > 0 else None
            mean = float(values.mean())
            found.append(
                Level(
                    level,
                    len(rows),
                    mean,
                    None if half is None else mean - half,
                    None if half is None else mean + half,
                    float(values.max() if self.maximize else values.min()),
                    self._best_of(values, equal),
                    equal,
                )
            )
        return sorted(found, key=lambda each: -each.mean if self.maximize else each.mean)

    def interaction(self, first: str, second: str) -> Interaction:
        """Two factors' levels against each other."""
        rows, columns = self._groups(first), self._groups(second)
        shape = len(rows), len(columns)
        counts, sums = np.zeros(shape, np.int64), np.zeros(shape)
        for i, here in enumerate(rows.values()):
            for j, there in enumerate(columns.values()):
                both = np.intersect1d(here, there)
                counts[i, j], sums[i, j] = len(both), self.values[both].sum()
        with np.errstate(invalid="ignore"):
            means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        return Interaction(
            first, second, tuple(rows), tuple(columns), means, counts, means - _additive(means, counts)
        )

    def warnings(self, factors: Sequence[str], seeds: int) -> list[str]:
        """What speaks against reading much into these trials, in words."""
        found = []
        if len(self.values) < FEW:
            found.append(
                f"Only {len(self.values)} trials completed: below {FEW} the order of levels is mostly chance."
            )
        if seeds < 2:
            found.append(
                "Every configuration was trained with one seed, so a lucky start and a good configuration "
                "look alike."
            )
        if not self.balanced:
            found.append(
                "The sampler went where trials were good, or bad ones were ended early: means of levels "
                "describe this search and are no estimate of an effect. design: factorial asks for effects."
            )
        for factor in factors:
            counts = {level: len(rows) for level, rows in self._groups(factor).items()}
            thin = [str(level) for level, count in counts.items() if count < LEAST]
            if thin and len(counts) > 1 and all(isinstance(level, (str, bool)) for level in counts):
                found.append(f"{factor}: fewer than {LEAST} trials of {', '.join(thin)}.")
        return found

    def _groups(self, factor: str) -> dict[Hashable, NDArray[np.int64]]:
        groups: dict[Hashable, list[int]] = {}
        for row, each in enumerate(self.factors):
            if factor in each:
                groups.setdefault(each[factor], []).append(row)
        if not groups:
            raise DataError(f"no trial has the factor {factor!r}")
        return {level: np.array(rows) for level, rows in groups.items()}

    def _residual(self) -> tuple[float, int]:
        """The standard deviation left by the additive model of all factors, and its degrees of freedom."""
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

    def _best_of(self, values: NDArray[np.float64], count: int) -> float:
        """The expected best of `count` of the values, drawn without putting back.

        The i-th smallest of n is the largest of k drawn with the chance C(i - 1, k - 1) / C(n, k).
        """
        ordered = np.sort(values if self.maximize else -values)
        total = len(ordered)
        chances = [math.comb(i, count - 1) / math.comb(total, count) for i in range(total)]
        best = float(ordered @ np.array(chances))
        return best if self.maximize else -best


def _student(confidence: float, freedom: int) -> float:
    from scipy.special import stdtrit  # late: slow to import

    return float(stdtrit(freedom, (1 + confidence) / 2))


def _additive(means: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """What rows and columns alone make one expect of each cell, by weighted least squares."""
    rows, columns = means.shape
    i, j = np.nonzero(counts)
    weight = np.sqrt(counts[i, j])
    design = np.zeros((len(i), rows + columns))
    design[np.arange(len(i)), i] = 1
    design[np.arange(len(i)), rows + j] = 1
    fitted = np.linalg.lstsq(design * weight[:, None], means[i, j] * weight, rcond=None)[0]
    return np.asarray(fitted[:rows, None] + fitted[None, rows:], np.float64)
