"""What a comparison of embeddings holds, and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from siamkit.comparison.results import Difference, Interval


@dataclass(frozen=True)
class Likeness:
    """How alike two embeddings of the same items are, whatever they are worth.

    Args:
        a, b: names of the contenders.
        cka: linear centred kernel alignment, debiased; 1 for the same up to rotation and scale.
        procrustes: what is left when one is turned onto the other, in [0, √2].
        overlap: the share of its 10 nearest neighbours that an item has in both.
        rank_correlation: Spearman's, of the distances of pairs.
        items: how many were looked at.
    """

    a: str
    b: str
    cka: float
    procrustes: float
    overlap: float
    rank_correlation: float
    items: int


@dataclass(frozen=True)
class Disagreement:
    """A query that one contender answers better than the other.

    Args:
        query: its index.
        id, label: its name and class.
        scores: of the two, in the figure that they differ most in.
        nearest: the indices of what each finds nearest.
    """

    query: int
    id: str
    label: Any
    scores: tuple[float, float]
    nearest: tuple[int, int]


@dataclass(frozen=True)
class Comparison:
    """What was found.

    Args:
        names: of the contenders.
        values: for each contender, figure by figure, with intervals.
        differences: of each pair, figure by figure, corrected for all of them together.
        pairs: which contenders each of the differences is of.
        likeness: of each pair.
        disagreements: by pair of names, the queries that they differ most on, the widest first.
        over: what is drawn anew in the intervals.
        notes: what one should know before quoting.
    """

    names: tuple[str, ...]
    values: dict[str, dict[str, Interval]]
    differences: list[Difference]
    pairs: list[tuple[str, str]]
    likeness: list[Likeness]
    disagreements: dict[tuple[str, str], list[Disagreement]]
    over: str
    notes: list[str]

    def verdicts(self) -> list[str]:
        """What can be said of each pair and figure, in a sentence."""
        return [
            difference.verdict(a, b) for (a, b), difference in zip(self.pairs, self.differences, strict=True)
        ]

    def __str__(self) -> str:
        lines = [*self.verdicts(), *self.notes]
        return "\n".join(lines)
