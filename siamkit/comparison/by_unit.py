"""Evaluate embedding sets with a score for each query or pair, the units that are resampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamkit.comparison.embedding_set import EmbeddingSet
from siamkit.comparison.result import Disagreement, largest_differences
from siamkit.errors import DataError, listed
from siamkit.evaluation import evaluate_labels, evaluate_pairs, evaluate_scores
from siamkit.evaluation.distances import oriented, resolve_metric
from siamkit.evaluation.measures import Group
from siamkit.io.targets import class_ids, is_binary
from siamkit.stats.bootstrap import RESAMPLES, compare_queries, interval_of
from siamkit.stats.pair_bootstrap import RESAMPLES as PAIR_RESAMPLES
from siamkit.stats.pair_bootstrap import compare_pairs, interval_of_pairs
from siamkit.stats.pair_measures import pair_scores, weighted_measure
from siamkit.stats.resampling import MIN_CLASSES
from siamkit.stats.results import Difference, Interval

MEASURES = ("map_at_r", "recall_at_1")
"""The measures compared by default."""


class ByQuery:
    """The scores of all queries under all embedding sets.

    Args:
        sets: the embedding sets, of the same items.
        labels: `(n,)`, their classes.
        measures: names of measures of queries; `MEASURES` if empty.
        over: the units to resample: `queries`, `classes`, or `auto`, which is classes if there are 20 or
            more.
        resamples: number of resamples for each interval; None for the default.
        level: confidence level of the intervals, such as 0.95.
        seed: seed of the resamples.

    Attributes:
        measures: names of the compared measures.
        over: the units that are resampled.
        notes: warnings to print with the result.
        distinct: the rows of all embeddings that hold each item once.

    Raises:
        DataError: queries have no score in a measure.
    """

    def __init__(
        self,
        sets: Sequence[EmbeddingSet],
        labels: NDArray[Any],
        measures: Sequence[str],
        over: str,
        *,
        resamples: int | None,
        level: float,
        seed: int,
    ) -> None:
        if over not in ("queries", "classes", "auto"):
            raise DataError(f"intervals of labeled items are over queries or classes, got {over!r}")
        self.measures = tuple(measures) or MEASURES
        self.notes: list[str] = []
        classes = int((np.bincount(class_ids(labels)[0]) > 1).sum())  # those with queries
        self.over = ("classes" if classes >= MIN_CLASSES else "queries") if over == "auto" else over
        if self.over == "queries" and over == "auto":
            self.notes.append(
                f"With only {classes} classes the intervals are over queries: they do not cover other "
                f"classes. That takes {MIN_CLASSES} classes or more."
            )
        self.distinct = np.arange(len(labels))
        self._labels = labels
        self._options: dict[str, Any] = {
            "resamples": resamples or RESAMPLES,
            "level": level,
            "seed": seed,
            "classes": labels,
            "over": self.over,
        }
        self._scores: dict[str, dict[str, NDArray[np.float64]]] = {}
        self._nearest: dict[str, NDArray[np.int64]] = {}
        for embedding_set in sets:
            self.add(embedding_set)

    def value(self, name: str, measure: str) -> float:
        """Return a measure of one embedding set, without its interval."""
        return float(np.nanmean(self._scores[name][measure]))

    def interval(self, name: str, measure: str) -> Interval:
        """Return a measure of one embedding set."""
        return interval_of(measure, self._scores[name][measure], **self._options)

    def difference(self, a: str, b: str, measure: str) -> Difference:
        """Return the difference of two embedding sets in a measure."""
        return compare_queries(measure, self._scores[a][measure], self._scores[b][measure], **self._options)

    def disagreements(self, a: str, b: str, ids: Sequence[str], most: int) -> list[Disagreement]:
        """Return the queries on which two embedding sets differ most in the first measure."""
        scores_a, scores_b = (self._scores[name][self.measures[0]] for name in (a, b))
        labels, disagreements = self._labels, []
        for row in largest_differences(scores_a, scores_b, most):
            near = int(self._nearest[a][row]), int(self._nearest[b][row])
            disagreements.append(
                Disagreement(
                    row,
                    ids[row],
                    _as_python(labels[row]),
                    (float(scores_a[row]), float(scores_b[row])),
                    (bool(labels[near[0]] == labels[row]), bool(labels[near[1]] == labels[row])),
                    near,
                    (ids[near[0]], ids[near[1]]),
                    (_as_python(labels[near[0]]), _as_python(labels[near[1]])),
                )
            )
        return disagreements

    def add(self, embedding_set: EmbeddingSet) -> None:
        """Evaluate another embedding set of the same items."""
        ks = {int(k) for name in self.measures if (k := name.rpartition("_at_")[2]).isdecimal()}
        groups: list[Group] = ["retrieval"]
        if {"mrr", "map"} & set(self.measures):
            groups.append("ranking")
        scores = evaluate_labels(
            embedding_set.embeddings, self._labels, embedding_set.metric, ks=ks or {1}, groups=groups
        ).queries
        for measure in self.measures:
            if measure not in scores or measure == "nearest":
                available = [name for name in scores if name != "nearest"]
                raise DataError(f"queries have no score in {measure!r}; choose from {listed(available)}")
        self._scores[embedding_set.name] = {measure: scores[measure] for measure in self.measures}
        self._nearest[embedding_set.name] = scores["nearest"]


def _as_python(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


BINARY_MEASURES = ("roc_auc", "eer")
"""The measures compared by default for pairs that match or not."""

GRADED_MEASURES = ("spearman", "pearson")
"""The measures compared by default for pairs with scores."""


class ByPair:
    """The distances of all pairs under all embedding sets.

    Args:
        sets: the embedding sets, of the same pairs.
        targets: `(n,)`, 1 for a matching pair and 0 for another, or a score.
        measures: their names; if empty, `BINARY_MEASURES` for targets 0 and 1, else `GRADED_MEASURES`.
        over: the units to resample: `pairs`, `items`, or `auto`, which is items if an item is in several
            pairs.
        resamples: number of resamples for each interval; None for the default.
        level: confidence level of the intervals, such as 0.95.
        seed: seed of the resamples.

    Attributes:
        measures: names of the compared measures.
        over: the units that are resampled.
        notes: warnings to print with the result.
        distinct: `(k,)`, one row for each distinct item, in the left and right embeddings concatenated.
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
            self.add(embedding_set)

    def value(self, name: str, measure: str) -> float:
        """Return a measure of one embedding set, without its interval."""
        distances = self._distances[name]
        value = weighted_measure(measure, distances.astype(np.float64), self._targets)
        return float(value(np.ones((1, len(distances))))[0])

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

    def add(self, embedding_set: EmbeddingSet) -> None:
        """Evaluate another embedding set of the same items."""
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

    Taken from an embedding set that has this information; otherwise two sides are the same item if their
    embeddings are equal in every set.
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
