"""Measured results: a measure with its interval, and a difference with its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from siamkit.evaluation.measures import MEASURES


@dataclass(frozen=True)
class Interval:
    """A measure of one embedding, with its interval.

    Args:
        measure: its name.
        value: the measured value.
        low, high: the ends of the interval.
        level: the share of such intervals that hold the true value.
        over: what a repetition would replace: `queries`, `items`, `pairs` or `classes`.
        units: the number of these.
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

    def __str__(self) -> str:
        return f"{self.measure} {self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True)
class Difference:
    """The difference B - A of two embeddings in a measure, with its interval.

    Args:
        measure: its name.
        a, b: the measured values.
        difference: b - a.
        low, high: the ends of its interval.
        level: the share of such intervals that hold the true difference.
        p: the probability of a difference at least this large if there is none.
        p_adjusted: p corrected for multiple comparisons (see `siamkit.stats.multiple_testing`), or None.
        over: what a repetition would replace: `queries`, `items`, `pairs` or `classes`.
        units: the number of these.
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
            direction: which way is better; by default that of the measure, `maximize` for an unknown one.

        Example:
            >>> from siamkit.stats import Difference
            >>> lower = Difference("eer", 0.2, 0.15, -0.05, -0.08, -0.02, 0.95, 0.01, None, "items", 500, 999)
            >>> print(lower.verdict())
            B is better in eer by 0.0500 [0.0200, 0.0800].
        """
        size = (
            f"{b} - {a} is {self.difference:+.4f} [{self.low:+.4f}, {self.high:+.4f}] "
            f"over {self.units} {self.over}"
        )
        if not self.excludes_zero:
            return (
                f"No significant difference in {self.measure}: {size}; "
                f"the test has about 50 % power for a difference of {self.half_width:.4f}."
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
