"""Contenders on pairs, alike or not, or graded: every pair has a distance under each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamkit.comparison.inputs import EmbeddingSet
from siamkit.comparison.result import Disagreement, widest
from siamkit.errors import DataError
from siamkit.evaluation import evaluate_pairs, evaluate_scores
from siamkit.evaluation.distances import oriented
from siamkit.evaluation.pairs import is_binary
from siamkit.stats.pair_bootstrap import RESAMPLES, compare_pairs, interval_of_pairs
from siamkit.stats.pair_measures import pair_scores
from siamkit.stats.results import Difference, Interval

ALIKE = ("roc_auc", "eer")
"""The figures compared of pairs alike or not, where nobody says which."""

GRADED = ("spearman", "pearson")
"""Those of pairs with scores."""


class Pairs:
    """Pairs as all contenders see them.

    Args:
        several: the contenders, of the same pairs.
        truth: `(n,)`, 1 for a pair alike and 0 for one that is not, or its score.
        measures: of pairs; those of `ALIKE` or `GRADED` if there are none.
        over: `pairs`, `items` or `auto`: items where one occurs in several pairs.
        drawn: `level`, `seed`, and `resamples` or None, for the intervals.

    Attributes:
        measures: those compared.
        over: what the intervals are over.
        notes: what one should know before quoting.
        distinct: rows of all embeddings, one side of a pair below the other, in which each item is once.
    """

    def __init__(
        self,
        several: Sequence[EmbeddingSet],
        truth: NDArray[np.float64],
        measures: Sequence[str],
        over: str,
        drawn: dict[str, Any],
    ) -> None:
        if over not in ("pairs", "items", "auto"):
            raise DataError(f"intervals of pairs are over items or pairs, got {over!r}")
        self._alike = is_binary(truth)
        self._truth = truth
        self.measures = tuple(measures) or (ALIKE if self._alike else GRADED)
        self.notes: list[str] = []
        items = items_of(several)
        self.distinct = np.unique(items, return_index=True)[1]
        recurs = len(self.distinct) < items.size
        self.over = ("items" if recurs else "pairs") if over == "auto" else over
        self._asked = {
            **drawn,
            "resamples": drawn["resamples"] or RESAMPLES,
            "items": (items[:, 0], items[:, 1]),
            "over": self.over,
        }
        self._distances: dict[str, NDArray[np.float32]] = {}
        self._right: dict[str, NDArray[np.bool_]] = {}
        for each in several:
            self._judge(each)

    def interval(self, name: str, measure: str) -> Interval:
        """A contender's figure."""
        return interval_of_pairs(measure, self._distances[name], self._truth, **self._asked)

    def difference(self, a: str, b: str, measure: str) -> Difference:
        """That of two contenders."""
        return compare_pairs(measure, self._distances[a], self._distances[b], self._truth, **self._asked)

    def disagreements(self, a: str, b: str, ids: Sequence[str], most: int) -> list[Disagreement]:
        """The pairs that two differ most on, by `siamkit.stats.pair_measures`."""
        of_a, of_b = (pair_scores(self._distances[name], self._truth) for name in (a, b))
        return [
            Disagreement(
                row,
                ids[row],
                float(self._truth[row]),
                (float(of_a[row]), float(of_b[row])),
                (bool(self._right[a][row]), bool(self._right[b][row])) if self._alike else None,
            )
            for row in widest(of_a, of_b, most)
        ]

    def _judge(self, each: EmbeddingSet) -> None:
        if not self._alike:
            judged = evaluate_scores(each.embeddings, self._truth, each.metric)
            self._distances[each.name] = judged.queries["distance"]
            return
        judged = evaluate_pairs(each.embeddings, self._truth, each.metric, groups=["verification"])
        distances = judged.queries["distance"]
        threshold = judged.measures["threshold"] if each.threshold is None else each.threshold
        self._distances[each.name] = distances
        self._right[each.name] = (distances <= oriented(threshold, each.metric)) == (self._truth > 0)


def items_of(several: Sequence[EmbeddingSet]) -> NDArray[np.int64]:
    """Which item each side of each pair is, `(n, 2)` as 0, 1, …

    Of a contender that knows it; otherwise two sides are one item if every contender embeds them alike.
    """
    known = next((each.items for each in several if each.items is not None), None)
    if known is None:
        vectors = np.concatenate(
            [each.embeddings.reshape(-1, each.embeddings.shape[2]) for each in several], 1
        )
        known = np.unique(vectors, axis=0, return_inverse=True)[1].reshape(-1, 2)
    return np.asarray(known, np.int64)
