"""The result of a comparison: verdicts, a table, a plot and a document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from siamkit.comparison.similarity import RepresentationSimilarity
from siamkit.data.thumbnails import Thumbnail
from siamkit.plotting import DifferenceRow, forest_plot
from siamkit.report.model import Block, Chart, Document, Gallery, Items, Listing, Section, Table
from siamkit.stats.results import Difference, Interval

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Disagreement:
    """A query, or a pair, on which one embedding is better than the other.

    Args:
        query: row of the query or pair.
        id, label: id of the query or pair, and the class of the query or the target of the pair.
        scores: scores under the two embeddings: of a query in the first measure, of a pair as in
            `pair_scores`.
        correct: whether the nearest item of each embedding has the class of the query, or each embedding
            classifies the pair correctly at its threshold; None for graded pairs.
        nearest: the row of the nearest item under each embedding; None for pairs.
        nearest_ids, nearest_labels: ids and classes of the nearest items.
    """

    query: int
    id: str
    label: Any
    scores: tuple[float, float]
    correct: tuple[bool, bool] | None
    nearest: tuple[int, int] | None = None
    nearest_ids: tuple[str, str] | None = None
    nearest_labels: tuple[Any, Any] | None = None

    @property
    def rows(self) -> tuple[int, ...]:
        """The rows of the query and of its nearest items."""
        return (self.query, *(self.nearest or ()))


def largest_differences(a: NDArray[np.float64], b: NDArray[np.float64], most: int) -> list[int]:
    """Return the rows where two scores differ most, largest first; if possible half of them favor each side.

    Example:
        >>> import numpy as np
        >>> largest_differences(np.array([0.0, 0.5, 0.5, 0.5]), np.array([1.0, 1.0, 0.5, 0.4]), 2)
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
    """The result of comparing embeddings.

    Args:
        names: names of the embeddings.
        values: measures of each embedding, with intervals.
        differences: differences of each two embeddings in each measure, with p-values corrected for all of
            them together.
        pairs: the two embeddings of each difference.
        similarities: similarity of each two embeddings.
        disagreements: for each two names, the queries on which these embeddings differ most, the largest
            difference first.
        over: the units resampled for the intervals.
        notes: warnings to read before using the result.
        thumbnails: thumbnails by row of the items in disagreements (for pairs, of both sides), if known.
        baselines: names of the embeddings without training, which also have values, the best first. The best
            has differences to each embedding too.
    """

    names: tuple[str, ...]
    values: dict[str, dict[str, Interval]]
    differences: list[Difference]
    pairs: list[tuple[str, str]]
    similarities: list[RepresentationSimilarity]
    disagreements: dict[tuple[str, str], list[Disagreement]]
    over: str
    notes: list[str]
    thumbnails: dict[int, tuple[Thumbnail, ...]] = field(default_factory=dict, repr=False)
    baselines: tuple[str, ...] = ()

    def verdicts(self) -> list[str]:
        """Return a sentence for each difference."""
        return [
            difference.verdict(a, b) for (a, b), difference in zip(self.pairs, self.differences, strict=True)
        ]

    def __str__(self) -> str:
        return "\n".join([*self.verdicts(), *self.notes])

    def _repr_html_(self) -> str:
        from siamkit.report.render.html import render_notebook  # late: it imports Jinja

        return render_notebook(self.document(), whole=True)

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

    def document(self) -> Document:
        """Return the comparison as a document: verdicts, differences, similarities and disagreements."""
        shown = _ShownItems()
        sections = [self._differences(), self._similarities(), self._disagreements(shown)]
        return Document(f"Comparison of {' and '.join(self.names)}", self.verdicts(), sections, shown.items())

    def _differences(self) -> Section:
        intervals = f"{self.differences[0].level:.0%} intervals over {self.over}."
        differences = [
            (
                f"{b} - {a}",
                difference.measure,
                difference.difference,
                difference.low,
                difference.high,
                difference.p_adjusted,
                "yes" if difference.significant else "no",
            )
            for (a, b), difference in zip(self.pairs, self.differences, strict=True)
        ]
        values = [
            (name, measure, interval.value, interval.low, interval.high)
            for name in (*self.names, *self.baselines)
            for measure, interval in self.values[name].items()
        ]
        return Section(
            "differences",
            "Differences",
            self.notes,
            [
                Chart(
                    "differences",
                    "Each difference with its interval",
                    self.plot(),
                    Table.of(
                        ("difference", "measure", "size", "low", "high", "corrected p", "significant"),
                        differences,
                    ),
                    f"{intervals} Filled markers are significant differences, open ones are not.",
                ),
                Listing(
                    "values",
                    "Values",
                    Table.of(("embedding", "measure", "value", "low", "high"), values),
                    f"{intervals} Two intervals that overlap say nothing about the difference.",
                ),
            ],
        )

    def _similarities(self) -> Section:
        rows = [
            (
                f"{similarity.a} · {similarity.b}",
                similarity.cka,
                similarity.procrustes,
                similarity.neighbor_overlap,
                similarity.rank_correlation,
            )
            for similarity in self.similarities
        ]
        table = Table.of(
            ("embeddings", "CKA", "Procrustes", "neighbor overlap", "rank correlation of distances"), rows
        )
        caption = f"From {self.similarities[0].items:,} items."
        listing = Listing("similarities", "Similarity of two embeddings", table, caption)
        return Section("similarities", "Similarity, regardless of quality", (), [listing])

    def _disagreements(self, shown: _ShownItems) -> Section:
        blocks: list[Block] = []
        for number, ((a, b), disagreements) in enumerate(self.disagreements.items()):
            if not disagreements:
                continue
            name, title = f"disagreements-{number}", f"{a} and {b}"
            if disagreements[0].correct is None:
                rows = [
                    (self._text(disagreement), disagreement.label, *disagreement.scores)
                    for disagreement in disagreements
                ]
                caption = "1 - |rank of the similarity - rank of the score|, as a fraction of all ranks."
                blocks.append(Listing(name, title, Table.of(("pair", "score", a, b), rows), caption))
                continue
            queries = [
                (
                    f"{a} {disagreement.scores[0]:.3f}, {b} {disagreement.scores[1]:.3f}",
                    *self._show(disagreement, shown),
                )
                for disagreement in disagreements
            ]
            caption = (
                f"The query, the nearest item under {a}, and that under {b}; ✓ and a solid frame: same class."
                if disagreements[0].nearest is not None
                else f"One side of the pair with its label; the other side as {a} and as {b} classify the "
                "pair, ✓ and a solid frame: correct."
            )
            blocks.append(Gallery(name, title, queries, caption))
        return Section("disagreements", "Largest disagreements", (), blocks)

    def _show(self, disagreement: Disagreement, shown: _ShownItems) -> tuple[int, list[int]]:
        """Return the indices of the query and of the nearest items; for pairs, those of both sides."""
        thumbnails = self.thumbnails.get(disagreement.query, ())
        if disagreement.nearest and disagreement.nearest_ids and disagreement.nearest_labels:
            query = shown.add(disagreement.id, disagreement.label, thumbnails[:1])
            nearest = zip(
                disagreement.nearest, disagreement.nearest_ids, disagreement.nearest_labels, strict=True
            )
            return query, [shown.add(id, label, self.thumbnails.get(row, ())) for row, id, label in nearest]
        alike = bool(disagreement.label)
        query = shown.add(disagreement.id, _pair_label(alike), thumbnails[:1])
        classified = [_pair_label(alike == correct) for correct in disagreement.correct or ()]
        return query, [shown.add(disagreement.id, label, thumbnails[1:]) for label in classified]

    def _text(self, disagreement: Disagreement) -> str:
        thumbnails = self.thumbnails.get(disagreement.query, ())
        return " · ".join(shown.text for shown in thumbnails if shown.text) or disagreement.id


def _pair_label(alike: bool) -> str:
    return "alike" if alike else "not alike"


class _ShownItems:
    """Collects the items that a document shows."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._labels: list[str] = []
        self._thumbnails: list[Thumbnail] = []

    def add(self, id: str, label: Any, thumbnails: Sequence[Thumbnail]) -> int:
        """Add an item and return its index."""
        self._ids.append(id)
        self._labels.append(str(label))
        self._thumbnails.append(thumbnails[0] if thumbnails else Thumbnail())
        return len(self._ids) - 1

    def items(self) -> Items:
        """Return the items that were added."""
        images = [thumbnail.image for thumbnail in self._thumbnails]
        texts = [thumbnail.text or None for thumbnail in self._thumbnails]
        return Items(self._ids, self._labels, images if any(images) else None, texts if any(texts) else None)
