"""What a comparison says: a figure with its interval, and a difference with its verdict."""

from __future__ import annotations

from dataclasses import dataclass

from siamkit.evaluation.measures import MEASURES


@dataclass(frozen=True)
class Interval:
    """A figure of one contender, with its interval.

    Args:
        measure: its name.
        value: what was measured.
        low, high: the ends of the interval.
        level: the share of such intervals that hold the truth.
        over: what would be new in a repetition: `queries`, `items`, `pairs` or `classes`.
        units: how many of them there were.
        resamples: how many times they were drawn again.
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
    """The difference of two contenders in a figure, B less A, with its interval.

    Args:
        measure: its name.
        a, b: what was measured of each.
        difference: b - a.
        low, high: the ends of its interval.
        level: the share of such intervals that hold the truth.
        p: how often a difference as large comes about where there is none.
        p_adjusted: the same, corrected for several comparisons (see `siamkit.stats.multiple_testing`).
        over: what would be new in a repetition: `queries`, `items`, `pairs` or `classes`.
        units: how many of them there were.
        resamples: how many times they were drawn again.
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
    def apart(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0

    @property
    def shown(self) -> bool:
        """Whether the interval leaves 0 out and, of several differences, the corrected p-value agrees."""
        return self.apart and (self.p_adjusted is None or self.p_adjusted < 1 - self.level)

    @property
    def visible(self) -> float:
        """Half the interval's width: a true difference of this size would be shown every second time."""
        return (self.high - self.low) / 2

    def verdict(self, a: str = "A", b: str = "B", *, better: str | None = None) -> str:
        """The result in a sentence.

        Args:
            a, b: what the contenders are called.
            better: `maximize` or `minimize`; by default as the figure's name says, else the higher.

        Example:
            >>> from siamkit.stats.results import Difference
            >>> found = Difference("eer", 0.2, 0.15, -0.05, -0.08, -0.02, 0.95, 0.01, None, "items", 500, 999)
            >>> print(found.verdict())
            B is better in eer by 0.0500 [0.0200, 0.0800].
        """
        if better is None:
            better = MEASURES[self.measure].direction if self.measure in MEASURES else "maximize"
        if self.apart and not self.shown:
            return (
                f"No difference in {self.measure} shown, all that were looked at considered: {b} - {a} is "
                f"{self.difference:+.4f} [{self.low:+.4f}, {self.high:+.4f}] over {self.units} {self.over}, "
                f"but p is {self.p_adjusted:.3g} corrected for all of them."
            )
        if not self.shown:
            return (
                f"No difference in {self.measure} shown at this size: {b} - {a} is {self.difference:+.4f} "
                f"[{self.low:+.4f}, {self.high:+.4f}] over {self.units} {self.over}; one of "
                f"{self.visible:.4f} would have been seen every second time, a smaller one less often."
            )
        winner = b if (self.difference > 0) == (better == "maximize") else a
        ends = sorted((abs(self.low), abs(self.high)))
        size = f"{abs(self.difference):.4f} [{ends[0]:.4f}, {ends[1]:.4f}]"
        return f"{winner} is better in {self.measure} by {size}."
