"""Comparing embeddings so that people can believe it: effects with intervals, and where they come from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations, zip_longest
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.comparison._names import names_of
from siamkit.comparison._thumbnails import given_looks, looks_in
from siamkit.comparison.alignment import matched, truth_of
from siamkit.comparison.by_pair import Pairs
from siamkit.comparison.by_query import Queries
from siamkit.comparison.from_file import are_vectors, as_float32
from siamkit.comparison.inputs import EmbeddingSet, contender
from siamkit.comparison.result import Comparison, RepresentationSimilarity
from siamkit.comparison.similarity import (
    distance_rank_correlation,
    linear_cka,
    neighbor_overlap,
    procrustes_distance,
)
from siamkit.data.streaming.stream import StreamRequest
from siamkit.data.thumbnails import ThumbnailLookup
from siamkit.errors import DataError
from siamkit.evaluation.plain_metrics import lightest_metric
from siamkit.stats.multiple_testing import adjusted

Over = Literal["queries", "classes", "items", "pairs", "auto"]

MOST_ITEMS = 5_000  # from which the likeness of two embeddings is told; drawn by seed where there are more


def compare(
    *contenders: str | os.PathLike[str] | EmbeddingSet | ArrayLike,
    data: str | os.PathLike[str] | None = None,
    labels: ArrayLike | None = None,
    metric: Any = None,
    measures: Iterable[str] = (),
    over: Over = "auto",
    names: Sequence[str] = (),
    resamples: int | None = None,
    level: float = 0.95,
    seed: int = 0,
    most: int = 20,
    items: Sequence[Any] | None = None,
) -> Comparison:
    """Compares embeddings of the same items, or of the same pairs of them, side by side.

    Every query is answered by each contender, so that what is hard for all of them takes no part in a
    difference; so is every pair. Intervals and p-values: `siamkit.stats.bootstrap.compare_queries`, of
    pairs `siamkit.stats.pair_bootstrap.compare_pairs`; p-values are corrected for all differences
    together, by Holm. Likeness: `siamkit.comparison.similarity`, from at most 5,000 items.

    Args:
        *contenders: two or more: a model (`.keras`, with `data`), a trial of a study (`study.yaml#14`,
            `runs/x#best`), a file of embeddings (`.npy`, `.npz`, `.parquet`) by anybody's system, an array
            `(n, dim)`, of pairs `(n, 2, dim)`, or a `siamkit.comparison.inputs.EmbeddingSet`. Where all have
            ids, items are matched by them; else all hold the same items in the same order.
        data: labelled items, or pairs, for models to embed.
        labels: `(n,)` where no contender has them: classes; of pairs 1 for alike and 0 for not, or scores.
        metric: compares embeddings that came without a metric of their own; cosine unless given.
        measures: of queries `recall_at_<k>`, `precision_at_<k>`, `ndcg_at_<k>`, `r_precision`, `map_at_r`,
            `mrr`, `map`, by default `map_at_r` and `recall_at_1`; of pairs `roc_auc`, `eer` and
            `tar_at_far_<rate>`, by default the first two; of graded pairs `spearman` and `pearson`.
        over: what the intervals are to hold over: other `queries` of these very classes, or other `classes`,
            which is the question for an embedding that is to meet new ones; `auto` takes classes where there
            are 20 or more. Of pairs: other `items`, or, where each is in one pair only, `pairs`.
        names: of the contenders, for people.
        resamples: how many for each interval; 10,000 of queries, 2,000 of pairs unless given.
        level: of the intervals.
        seed: of what is drawn.
        most: disagreements to keep of each pair.
        items: what the embeddings are of, to be looked at where two disagree, in the order of the first
            contender: images `(height, width)` or `(height, width, channels)`, texts, or `pathlib.Path`s of
            images; of pairs tuples of two. Models and trials know theirs; of others `data` may tell.

    Raises:
        DataError: fewer than two, other items, no labels, a figure that these data do not have, fewer than
            20 classes where classes are asked for.

    Example:
        >>> import numpy as np, siamkit
        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat(np.arange(30), 8)
        >>> good = rng.normal(size=(30, 6))[labels] + rng.normal(0, 0.6, size=(240, 6))
        >>> worse = good + rng.normal(0, 0.6, size=good.shape)
        >>> found = siamkit.compare(worse, good, labels=labels, metric="euclidean", names=("worse", "good"))
        >>> print(found.verdicts()[0][:29])
        good is better in map_at_r by
    """
    paths = [each for each in contenders if isinstance(each, (str, os.PathLike))]
    own = iter(names_of(paths))
    called = [next(own) if isinstance(each, (str, os.PathLike)) else None for each in contenders]
    called = [given or name for given, name in zip_longest(names, called)]
    several = [
        _contender(each, name or chr(ord("A") + number), data, metric)
        for number, (each, name) in enumerate(zip(contenders, called, strict=False))
    ]
    if len(several) < 2:
        raise DataError(f"a comparison wants two contenders or more, got {len(several)}")
    if len({each.name for each in several}) < len(several):
        raise DataError(
            f"contenders should have names of their own, got {', '.join(e.name for e in several)}"
        )
    looks = _looks(several, items, data)
    several, notes = matched(several)
    notes = [*(note for each in several for note in each.notes), *notes]
    truth = truth_of(several, labels)
    judge = Pairs if several[0].pairs else Queries
    judged = judge(
        several,
        truth,
        tuple(dict.fromkeys(measures)),
        over,
        {"resamples": resamples, "level": level, "seed": seed},
    )
    every = tuple(each.name for each in several)
    couples = list(combinations(every, 2))
    looked_at = [(couple, measure) for couple in couples for measure in judged.measures]
    ids = _ids(several)
    values = {
        name: {measure: judged.interval(name, measure) for measure in judged.measures} for name in every
    }
    disagreements = {couple: judged.disagreements(*couple, ids, most) for couple in couples}
    rows = {row for queries in disagreements.values() for each in queries for row in each.rows}
    seen = looks({ids[row] for row in rows}) if rows else {}
    return Comparison(
        every,
        values,
        adjusted([judged.difference(*couple, measure) for couple, measure in looked_at]),
        [couple for couple, _ in looked_at],
        [_likeness(a, b, judged.distinct, seed) for a, b in combinations(several, 2)],
        disagreements,
        judged.over,
        [*notes, *judged.notes],
        {row: seen[ids[row]] for row in sorted(rows) if ids[row] in seen},
    )


def _ids(several: Sequence[EmbeddingSet]) -> tuple[str, ...]:
    """The items' names: of the first contender that has some, else their numbers."""
    known = next((each.ids for each in several if each.ids is not None), None)
    return known or tuple(map(str, range(len(several[0].embeddings))))


def _looks(
    several: Sequence[EmbeddingSet], items: Sequence[Any] | None, data: str | os.PathLike[str] | None
) -> ThumbnailLookup:
    """Where the looks of items come from."""
    if items is not None:
        return given_looks(items, _ids(several))
    known = next((each.looks for each in several if each.looks is not None), None)
    if known is not None:
        return known
    return (lambda wanted: {}) if data is None else partial(looks_in, data, StreamRequest(), None)


def _contender(given: Any, name: str, data: str | os.PathLike[str] | None, metric: Any) -> EmbeddingSet:
    if isinstance(given, EmbeddingSet):
        return replace(given, metric=lightest_metric(given.metric))
    if isinstance(given, (str, os.PathLike)):
        found = contender(given, data, name=name)
    else:
        array = np.asarray(given)
        if not are_vectors(array):
            raise DataError(
                "embeddings should be numbers (n, dim), or of pairs (n, 2, dim), "
                f"got {array.dtype} of shape {array.shape}"
            )
        found = EmbeddingSet(name, as_float32(array), None, None)
    if isinstance(found.metric, str) and metric is not None:
        found = replace(found, metric=metric)
    return replace(found, metric=lightest_metric(found.metric))


def _likeness(
    a: EmbeddingSet, b: EmbeddingSet, rows: NDArray[np.int64], seed: int
) -> RepresentationSimilarity:
    """From some rows of all items, one below the other."""
    if len(rows) > MOST_ITEMS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MOST_ITEMS, replace=False))
    x, y = (each.embeddings.reshape(-1, each.embeddings.shape[-1])[rows] for each in (a, b))
    metrics = (a.metric, b.metric)
    return RepresentationSimilarity(
        a.name,
        b.name,
        cka=linear_cka(x, y),
        procrustes=procrustes_distance(x, y),
        overlap=neighbor_overlap(x, y, min(10, len(rows) - 1), metric=metrics),
        rank_correlation=distance_rank_correlation(x, y, metric=metrics, seed=seed),
        items=len(rows),
    )
