"""Measured results: a measure with its interval, differences with their verdicts, the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError
from siamkit.evaluation.measures import MEASURES


@dataclass(frozen=True)
class Interval:
    """A measure of one embedding, with its interval.

    Args:
        measure: the measure's name.
        value: the measured value.
        low, high: the ends of the interval.
        level: confidence level: the fraction of such intervals that contain the true value.
        over: the units that a repetition would replace: `queries`, `items`, `pairs` or `classes`.
        units: the number of these units.
        resamples: the number of resamples.
    """

    measure: str
    value: float
    low: float
    high: float
    level: float
    over: str
    units: int
    resamples: int

    @property
    def scope(self) -> str:
        """The number of units: `719 queries`, or `719 queries and over seeds`."""
        return _scope(self.units, self.over)

    def __str__(self) -> str:
        return f"{self.measure} {self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True)
class Difference:
    """The difference B - A of two embeddings in a measure, with its interval.

    Args:
        measure: the measure's name.
        a, b: the measured values of the two embeddings.
        difference: b - a.
        low, high: the ends of its interval.
        level: confidence level: the fraction of such intervals that contain the true difference.
        p: the probability of a difference at least this large if there is none.
        p_adjusted: p corrected for multiple comparisons (see `siamkit.stats.results`), or None.
        over: the units that a repetition would replace: `queries`, `items`, `pairs` or `classes`.
        units: the number of these units.
        resamples: the number of resamples.
    """

    measure: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    level: float
    p: float
    p_adjusted: float | None
    over: str
    units: int
    resamples: int

    @property
    def scope(self) -> str:
        """The number of units, as for `Interval`."""
        return _scope(self.units, self.over)

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0

    @property
    def significant(self) -> bool:
        """Whether the interval excludes 0 and the corrected p-value, if there is one, is small enough."""
        return self.excludes_zero and (self.p_adjusted is None or self.p_adjusted < 1 - self.level)

    @property
    def half_width(self) -> float:
        """Half the width of the interval: the test has about 50 % power for a true difference this large."""
        return (self.high - self.low) / 2

    def verdict(
        self, a: str = "A", b: str = "B", *, direction: Literal["maximize", "minimize"] | None = None
    ) -> str:
        """Return the result as a sentence.

        Args:
            a, b: the names of the embeddings.
            direction: `maximize` or `minimize`; by default the measure's direction, `maximize` for an unknown
                measure.

        Example:
            >>> from siamkit.stats import Difference
            >>> lower = Difference("eer", 0.2, 0.15, -0.05, -0.08, -0.02, 0.95, 0.01, None, "items", 500, 999)
            >>> print(lower.verdict())
            B is better in eer by 0.0500 [0.0200, 0.0800].
        """
        size = (
            f"{b} minus {a} is {self.difference:+.4f} [{self.low:+.4f}, {self.high:+.4f}] over {self.scope}"
        )
        if not self.excludes_zero:
            return (
                f"No significant difference in {self.measure}: {size}; "
                f"this test has about 50 % power for a difference of {self.half_width:.4f}."
            )
        if not self.significant:
            return (
                f"No significant difference in {self.measure} after correction for multiple comparisons: "
                f"{size}, corrected p = {self.p_adjusted:.3g}."
            )
        if direction is None:
            direction = MEASURES[self.measure].direction if self.measure in MEASURES else "maximize"
        winner = b if (self.difference > 0) == (direction == "maximize") else a
        nearer, farther = sorted((abs(self.low), abs(self.high)))
        return (
            f"{winner} is better in {self.measure} by {abs(self.difference):.4f} "
            f"[{nearer:.4f}, {farther:.4f}]."
        )


def _scope(units: int, over: str) -> str:
    unit, *others = over.split(" and ")
    return " and over ".join([f"{units:,} {unit}", *others])


def holm(ps: ArrayLike) -> NDArray[np.float64]:
    """Return p-values adjusted by Holm.

    If all hypotheses with an adjusted p below 5 % are rejected, any false rejection has a probability below
    5 %.

    The i-th smallest of m becomes max over j ≤ i of min(1, (m - j + 1) · p_j). This holds for any dependence
    between the comparisons, and is never weaker than Bonferroni's m · p. Holm, "A simple sequentially
    rejective multiple test procedure", Scandinavian Journal of Statistics 1979.

    Args:
        ps: `(m,)`, the p-values.

    Returns:
        The adjusted p-values `(m,)`, in the same order.

    Raises:
        DataError: a p-value is not in [0, 1].

    Example:
        >>> from siamkit.stats import holm
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    values = np.asarray(ps, np.float64).reshape(-1)
    if not ((values >= 0) & (values <= 1)).all():
        raise DataError(f"p-values should be in [0, 1], got {values.tolist()}")
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(1, np.maximum.accumulate(steps))
    return corrected


def adjusted(differences: Sequence[Difference]) -> list[Difference]:
    """Return the differences with `p_adjusted` set for all of them together, by Holm.

    Args:
        differences: all differences computed for one question, including those that are not significant.

    Example:
        >>> from siamkit.stats import Difference, adjusted
        >>> gain = Difference("map_at_r", 0.5, 0.6, 0.1, 0.05, 0.15, 0.95, 0.01, None, "queries", 500, 2000)
        >>> [difference.p_adjusted for difference in adjusted([gain, gain])]
        [0.02, 0.02]
    """
    ps = holm([difference.p for difference in differences])
    return [replace(difference, p_adjusted=float(p)) for difference, p in zip(differences, ps, strict=True)]


def front(values: Any, directions: Sequence[str]) -> list[int]:
    """Return the indices of the Pareto-optimal rows, ascending.

    A row dominates another if it is at least as good in every objective and better in one. So equal rows are
    on the front together, or not at all. A row with NaN or infinity is never on it.

    Args:
        values: `(rows, objectives)`.
        directions: the direction of each objective, `maximize` or `minimize`.

    Example:
        >>> from siamkit.stats import front
        >>> front([[0.9, 100], [0.8, 10], [0.7, 20]], ["maximize", "minimize"])
        [0, 1]
    """
    rows = np.asarray(values, dtype=float).reshape(-1, len(directions))
    costs = rows * np.where([direction == "maximize" for direction in directions], -1.0, 1.0)
    left = np.flatnonzero(np.isfinite(costs).all(axis=1))
    # In lexicographic order no row is dominated by a later one; sums would suffer from rounding.
    left = left[np.lexsort(costs[left].T[::-1])]
    optimal: list[int] = []
    while len(left):
        first, left = left[0], left[1:]
        optimal.append(int(first))
        dominated = (costs[left] >= costs[first]).all(axis=1) & (costs[left] > costs[first]).any(axis=1)
        left = left[~dominated]
    return sorted(optimal)
