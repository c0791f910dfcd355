"""Contenders on labelled items: every item is a query, and has a score under each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamkit.comparison.inputs import EmbeddingSet
from siamkit.comparison.result import Disagreement, widest
from siamkit.errors import DataError, listed
from siamkit.evaluation import evaluate_labels
from siamkit.evaluation.checks import class_ids
from siamkit.evaluation.measures import Group
from siamkit.stats.bootstrap import compare_queries, interval_of
from siamkit.stats.resampling import MIN_CLASSES
from siamkit.stats.results import Difference, Interval

MEASURES = ("map_at_r", "recall_at_1")
"""The figures compared where nobody says which."""

RESAMPLES = 10_000


class Queries:
    """Labelled items as all contenders see them.

    Args:
        several: the contenders, of the same items.
        truth: `(n,)`, their classes.
        measures: of queries; those of `MEASURES` if there are none.
        over: `queries`, `classes` or `auto`.
        drawn: `level`, `seed`, and `resamples` or None, for the intervals.

    Attributes:
        measures: those compared.
        over: what the intervals are over.
        notes: what one should know before quoting.
        distinct: rows of all embeddings in which each item is once.

    Raises:
        DataError: a figure that no query has a score of.
    """

    def __init__(
        self,
        several: Sequence[EmbeddingSet],
        truth: NDArray[Any],
        measures: Sequence[str],
        over: str,
        drawn: dict[str, Any],
    ) -> None:
        if over not in ("queries", "classes", "auto"):
            raise DataError(f"intervals of labelled items are over queries or classes, got {over!r}")
        self.measures = tuple(measures) or MEASURES
        self.notes: list[str] = []
        ids = class_ids(truth)[0]
        classes = int((np.bincount(ids) > 1).sum())  # those that queries have
        self.over = ("classes" if classes >= MIN_CLASSES else "queries") if over == "auto" else over
        if self.over == "queries" and over == "auto":
            self.notes.append(
                f"With {classes} classes the intervals are over queries: they say nothing of classes that "
                f"are not among these. With {MIN_CLASSES} or more they would."
            )
        self.distinct = np.arange(len(truth))
        self._truth = truth
        self._asked = {
            **drawn,
            "resamples": drawn["resamples"] or RESAMPLES,
            "classes": truth,
            "over": self.over,
        }
        self._scores: dict[str, dict[str, NDArray[np.float64]]] = {}
        self._nearest: dict[str, NDArray[np.int64]] = {}
        for each in several:
            self._judge(each)

    def interval(self, name: str, measure: str) -> Interval:
        """A contender's figure."""
        return interval_of(measure, self._scores[name][measure], **self._asked)

    def difference(self, a: str, b: str, measure: str) -> Difference:
        """That of two contenders."""
        return compare_queries(measure, self._scores[a][measure], self._scores[b][measure], **self._asked)

    def disagreements(self, a: str, b: str, ids: Sequence[str], most: int) -> list[Disagreement]:
        """The queries that two differ most on, in the first figure."""
        of_a, of_b = (self._scores[name][self.measures[0]] for name in (a, b))
        truth, found = self._truth, []
        for row in widest(of_a, of_b, most):
            near = int(self._nearest[a][row]), int(self._nearest[b][row])
            found.append(
                Disagreement(
                    row,
                    ids[row],
                    _plain(truth[row]),
                    (float(of_a[row]), float(of_b[row])),
                    (bool(truth[near[0]] == truth[row]), bool(truth[near[1]] == truth[row])),
                    near,
                    (ids[near[0]], ids[near[1]]),
                    (_plain(truth[near[0]]), _plain(truth[near[1]])),
                )
            )
        return found

    def _judge(self, each: EmbeddingSet) -> None:
        depths = {int(k) for name in self.measures if (k := name.rpartition("_at_")[2]).isdecimal()}
        groups: list[Group] = ["retrieval", *(["ranking"] if {"mrr", "map"} & set(self.measures) else [])]  # type: ignore[list-item]
        queries = evaluate_labels(
            each.embeddings, self._truth, each.metric, ks=depths or {1}, groups=groups
        ).queries
        for measure in self.measures:
            if measure not in queries or measure == "nearest":
                fit = [name for name in queries if name != "nearest"]
                raise DataError(f"no query has a score of {measure!r}; compare {listed(fit)}")
        self._scores[each.name] = {measure: queries[measure] for measure in self.measures}
        self._nearest[each.name] = queries["nearest"]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
