"""Compare embedding sets of pairs, matching or not, or graded: each pair has a distance under each set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamkit.comparison.embedding_set import EmbeddingSet
from siamkit.comparison.result import Disagreement, largest_differences
from siamkit.errors import DataError
from siamkit.evaluation import evaluate_pairs, evaluate_scores
from siamkit.evaluation.distances import oriented, resolve_metric
from siamkit.evaluation.pairs import is_binary
from siamkit.stats.pair_bootstrap import RESAMPLES as PAIR_RESAMPLES, compare_pairs, interval_of_pairs
from siamkit.stats.pair_measures import pair_scores
from siamkit.stats.results import Difference, Interval

BINARY_MEASURES = ("roc_auc", "eer")
"""The measures compared by default of pairs that match or not."""

GRADED_MEASURES = ("spearman", "pearson")
"""The measures compared by default of pairs with scores."""


class ByPair:
    """The distances of all pairs under all embedding sets.

    Args:
        sets: the embedding sets, of the same pairs.
        targets: `(n,)`, 1 for a matching pair and 0 for another, or a score.
        measures: of pairs; those of `BINARY_MEASURES` or `GRADED_MEASURES` if empty.
        over: `pairs`, `items` or `auto`: items if any is in several pairs.
        resamples: how many for each interval; None for the default.
        level: of the intervals.
        seed: of the resamples.

    Attributes:
        measures: those compared.
        over: what the intervals are over.
        notes: warnings to print with the result.
        distinct: the rows that hold each item once, in the embeddings of all sides one after the other.
    """

    def __init__(
        self,
        sets: Sequence[EmbeddingSet],
        targets: NDArray[np.float64],
        measures: Sequence[str],
        over: str,
        *,
        resamples: int | None,
        level: float,
        seed: int,
    ) -> None:
        if over not in ("pairs", "items", "auto"):
            raise DataError(f"intervals of pairs are over items or pairs, got {over!r}")
        self._binary = is_binary(targets)
        self._targets = targets
        self.measures = tuple(measures) or (BINARY_MEASURES if self._binary else GRADED_MEASURES)
        self.notes: list[str] = []
        items = items_of(sets)
        self.distinct = np.unique(items, return_index=True)[1]
        recurs = len(self.distinct) < items.size
        self.over = ("items" if recurs else "pairs") if over == "auto" else over
        self._options: dict[str, Any] = {
            "resamples": resamples or PAIR_RESAMPLES,
            "level": level,
            "seed": seed,
            "items": (items[:, 0], items[:, 1]),
            "over": self.over,
        }
        self._distances: dict[str, NDArray[np.float32]] = {}
        self._correct: dict[str, NDArray[np.bool_]] = {}
        for embedding_set in sets:
            self._evaluate(embedding_set)

    def interval(self, name: str, measure: str) -> Interval:
        """Return a measure of one embedding set."""
        return interval_of_pairs(measure, self._distances[name], self._targets, **self._options)

    def difference(self, a: str, b: str, measure: str) -> Difference:
        """Return the difference of two embedding sets in a measure."""
        return compare_pairs(measure, self._distances[a], self._distances[b], self._targets, **self._options)

    def disagreements(self, a: str, b: str, ids: Sequence[str], most: int) -> list[Disagreement]:
        """Return the pairs on which two embedding sets differ most, by `pair_scores`."""
        scores_a, scores_b = (pair_scores(self._distances[name], self._targets) for name in (a, b))
        return [
            Disagreement(
                row,
                ids[row],
                float(self._targets[row]),
                (float(scores_a[row]), float(scores_b[row])),
                (bool(self._correct[a][row]), bool(self._correct[b][row])) if self._binary else None,
            )
            for row in largest_differences(scores_a, scores_b, most)
        ]

    def _evaluate(self, embedding_set: EmbeddingSet) -> None:
        name, metric = embedding_set.name, resolve_metric(embedding_set.metric)
        if not self._binary:
            evaluation = evaluate_scores(embedding_set.embeddings, self._targets, metric)
            self._distances[name] = evaluation.queries["distance"]
            return
        evaluation = evaluate_pairs(embedding_set.embeddings, self._targets, metric, groups=["verification"])
        threshold = embedding_set.threshold
        if threshold is None:
            threshold = evaluation.measures["threshold"]
        distances = evaluation.queries["distance"]
        self._distances[name] = distances
        self._correct[name] = (distances <= oriented(threshold, metric)) == (self._targets > 0)


def items_of(sets: Sequence[EmbeddingSet]) -> NDArray[np.int64]:
    """Return which item each side of each pair is, `(n, 2)` as 0, 1, …

    Taken from a set that knows it; otherwise two sides are one item if every set embeds them equally.
    """
    items = next((embedding_set.items for embedding_set in sets if embedding_set.items is not None), None)
    if items is None:
        vectors = np.concatenate(
            [
                embedding_set.embeddings.reshape(-1, embedding_set.embeddings.shape[2])
                for embedding_set in sets
            ],
            1,
        )
        items = np.unique(vectors, axis=0, return_inverse=True)[1].reshape(-1, 2)
    return np.asarray(items, np.int64)
