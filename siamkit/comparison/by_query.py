"""Compare embedding sets of labeled items: each item is a query, with a score under each set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamkit.comparison.embedding_set import EmbeddingSet
from siamkit.comparison.result import Disagreement, largest_differences
from siamkit.errors import DataError, listed
from siamkit.evaluation import evaluate_labels
from siamkit.evaluation.checks import class_ids
from siamkit.evaluation.measures import Group
from siamkit.stats.bootstrap import RESAMPLES, compare_queries, interval_of
from siamkit.stats.resampling import MIN_CLASSES
from siamkit.stats.results import Difference, Interval

MEASURES = ("map_at_r", "recall_at_1")
"""The measures compared by default."""


class ByQuery:
    """The scores of all queries under all embedding sets.

    Args:
        sets: the embedding sets, of the same items.
        labels: `(n,)`, their classes.
        measures: of queries; those of `MEASURES` if empty.
        over: `queries`, `classes` or `auto`.
        resamples: how many for each interval; None for the default.
        level: of the intervals.
        seed: of the resamples.

    Attributes:
        measures: those compared.
        over: what the intervals are over.
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
            self._evaluate(embedding_set)

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

    def _evaluate(self, embedding_set: EmbeddingSet) -> None:
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
