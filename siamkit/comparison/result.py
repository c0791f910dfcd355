"""What a comparison of embeddings holds, and what it says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from siamkit.comparison._html import fragment
from siamkit.data.thumbnails import Thumbnail
from siamkit.plotting.figures import DifferenceRow, forest_plot
from siamkit.stats.results import Difference, Interval

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True)
class RepresentationSimilarity:
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
    """A query, or a pair, that one contender judges better than the other.

    Args:
        query: its index.
        id, label: its name, and its class, or what is true of the pair.
        scores: of the two, of a query in the first figure compared, of a pair as in `pair_scores`.
        right: whether what each finds nearest is of the query's class, or takes the pair for what it is at
            its threshold; None of graded pairs.
        nearest: the indices of what each finds nearest; None of pairs.
        nearest_ids, nearest_labels: names and classes of these.
    """

    query: int
    id: str
    label: Any
    scores: tuple[float, float]
    right: tuple[bool, bool] | None
    nearest: tuple[int, int] | None = None
    nearest_ids: tuple[str, str] | None = None
    nearest_labels: tuple[Any, Any] | None = None

    @property
    def rows(self) -> tuple[int, ...]:
        """The query and what is found nearest."""
        return (self.query, *(self.nearest or ()))


def widest(a: NDArray[np.float64], b: NDArray[np.float64], most: int) -> list[int]:
    """The rows where two scores differ most, the widest first; half of them in favour of each if there are.

    Example:
        >>> import numpy as np
        >>> from siamkit.comparison.result import widest
        >>> widest(np.array([0.0, 0.5, 0.5, 0.5]), np.array([1.0, 1.0, 0.5, 0.4]), 2)
        [0, 3]
    """
    difference = np.nan_to_num(b - a)
    order = np.argsort(-difference, kind="stable")
    better = [int(row) for row in order if difference[row] > 0]
    worse = [int(row) for row in order[::-1] if difference[row] < 0]
    half = most // 2
    chosen = better[: max(half, most - len(worse))] + worse[: max(most - half, most - len(better))]
    return sorted(chosen, key=lambda row: -abs(difference[row]))


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
        looks: by row, how items of disagreements look, both sides of pairs; of those where that is known.
    """

    names: tuple[str, ...]
    values: dict[str, dict[str, Interval]]
    differences: list[Difference]
    pairs: list[tuple[str, str]]
    likeness: list[RepresentationSimilarity]
    disagreements: dict[tuple[str, str], list[Disagreement]]
    over: str
    notes: list[str]
    looks: dict[int, tuple[Thumbnail, ...]] = field(default_factory=dict, repr=False)

    def verdicts(self) -> list[str]:
        """What can be said of each pair and figure, in a sentence."""
        return [
            difference.verdict(a, b) for (a, b), difference in zip(self.pairs, self.differences, strict=True)
        ]

    def __str__(self) -> str:
        lines = [*self.verdicts(), *self.notes]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return fragment(self)

    def to_frame(self) -> pd.DataFrame:
        """Return a pandas table with one row for each difference."""
        import pandas as pd  # late: slow to import

        return pd.DataFrame(
            {
                "a": a,
                "b": b,
                "measure": difference.measure,
                "value_a": difference.a,
                "value_b": difference.b,
                "difference": difference.difference,
                "low": difference.low,
                "high": difference.high,
                "level": difference.level,
                "p": difference.p,
                "p_adjusted": difference.p_adjusted,
                "over": difference.over,
                "units": difference.units,
                "significant": difference.significant,
                "verdict": difference.verdict(a, b),
            }
            for (a, b), difference in zip(self.pairs, self.differences, strict=True)
        )

    def plot(self) -> go.Figure:
        """Return a Plotly forest plot of the differences with their intervals."""
        return forest_plot(
            [
                DifferenceRow(
                    f"{difference.measure}: {b} - {a}",
                    difference.difference,
                    difference.low,
                    difference.high,
                    difference.significant,
                    difference.verdict(a, b),
                )
                for (a, b), difference in zip(self.pairs, self.differences, strict=True)
            ]
        )
