"""Comparing embeddings so that people can believe it: effects with intervals, and where they come from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.comparison.agreement import distance_rank_correlation, neighbour_overlap
from siamkit.comparison.comparison import Comparison, Disagreement, Likeness
from siamkit.comparison.multiple import adjusted
from siamkit.comparison.paired import compare_queries, interval_of
from siamkit.comparison.plain import PLAIN, plain_metric
from siamkit.comparison.resampling import LEAST_CLASSES
from siamkit.comparison.similarity import linear_cka, procrustes_distance
from siamkit.contenders import Contender, contender
from siamkit.errors import DataError, listed
from siamkit.evaluation import blocks, evaluate_labels
from siamkit.evaluation.figures import Group
from siamkit.matching import matched, truth_of

Over = Literal["queries", "classes", "auto"]

COMPARED = ("map_at_r", "recall_at_1")
"""The figures compared where nobody says which."""

MOST_ITEMS = 5_000  # from which the likeness of two embeddings is told; drawn by seed where there are more


def compare(
    *contenders: str | os.PathLike[str] | Contender | ArrayLike,
    data: str | os.PathLike[str] | None = None,
    labels: ArrayLike | None = None,
    metric: Any = None,
    figures: Iterable[str] = COMPARED,
    over: Over = "auto",
    names: Sequence[str] = (),
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
    most: int = 20,
) -> Comparison:
    """Compares embeddings of the same items, side by side.

    Every query is answered by each contender, so that what is hard for all of them takes no part in a
    difference. Intervals and p-values: `siamkit.comparison.paired.compare_queries`; p-values are corrected
    for all differences together, by Holm. Likeness: `siamkit.comparison.similarity` and
    `siamkit.comparison.agreement`, from at most 5,000 items.

    Args:
        *contenders: two or more: a model (`.keras`, with `data`), a file of embeddings (`.npy`, `.npz`,
            `.parquet`) by anybody's system, an array `(n, dim)`, or a `siamkit.contenders.Contender`. Where
            all have ids, items are matched by them; else all hold the same items in the same order.
        data: labelled items for models to embed.
        labels: `(n,)` classes, where no contender has them.
        metric: compares embeddings that came without a metric of their own; cosine unless given.
        figures: per-query figures: `recall_at_<k>`, `precision_at_<k>`, `ndcg_at_<k>`, `r_precision`,
            `map_at_r`, `mrr`, `map`.
        over: what the intervals are to hold over: other `queries` of these very classes, or other `classes`,
            which is the question for an embedding that is to meet new ones; `auto` takes classes where there
            are 20 or more.
        names: of the contenders, for people.
        resamples: how many for each interval.
        level: of the intervals.
        seed: of what is drawn.
        most: disagreements to keep of each pair.

    Raises:
        DataError: fewer than two, other items, no labels, a figure that no query has a score of, fewer than
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
    several = [_contender(each, number, data, names, metric) for number, each in enumerate(contenders)]
    if len(several) < 2:
        raise DataError(f"a comparison wants two contenders or more, got {len(several)}")
    if len({each.name for each in several}) < len(several):
        raise DataError(
            f"contenders should have names of their own, got {', '.join(e.name for e in several)}"
        )
    several, notes = matched(several)
    truth = truth_of(several, labels)
    wanted = tuple(dict.fromkeys(figures))
    scores, nearest = _scores(several, truth, wanted)
    classes = len(np.unique(truth))
    chosen = ("classes" if classes >= LEAST_CLASSES else "queries") if over == "auto" else over
    if chosen == "queries" and over == "auto":
        notes.append(
            f"With {classes} classes the intervals are over queries: they say nothing of classes that are "
            f"not among these. With {LEAST_CLASSES} or more they would."
        )
    asked: dict[str, Any] = {
        "classes": truth, "over": chosen, "resamples": resamples, "level": level, "seed": seed
    }  # fmt: skip
    values = {
        each.name: {figure: interval_of(figure, scores[each.name][figure], **asked) for figure in wanted}
        for each in several
    }
    pairs, differences = [], []
    for a, b in combinations(several, 2):
        for figure in wanted:
            pairs.append((a.name, b.name))
            differences.append(
                compare_queries(figure, scores[a.name][figure], scores[b.name][figure], **asked)
            )
    return Comparison(
        tuple(each.name for each in several),
        values,
        adjusted(differences),
        pairs,
        [_likeness(a, b, seed) for a, b in combinations(several, 2)],
        {
            (a.name, b.name): _disagreements(a, b, truth, scores, nearest, wanted[0], most)
            for a, b in combinations(several, 2)
        },
        chosen,
        notes,
    )


def _contender(
    given: Any, number: int, data: str | os.PathLike[str] | None, names: Sequence[str], metric: Any
) -> Contender:
    name = names[number] if number < len(names) else None
    if isinstance(given, Contender):
        return given
    if isinstance(given, (str, os.PathLike)):
        found = contender(given, data, **({} if name is None else {"name": name}))
    else:
        array = np.asarray(given)
        if array.ndim != 2 or array.dtype.kind not in "fiu":
            raise DataError(
                f"embeddings should be numbers (n, dim), got {array.dtype} of shape {array.shape}"
            )
        found = Contender(
            name or chr(ord("A") + number), np.ascontiguousarray(array, dtype=np.float32), None, None
        )
    if isinstance(found.metric, str) and metric is not None:
        found = replace(found, metric=metric)
    name = found.metric
    # Stored embeddings are compared without a backend wherever that can be.
    return replace(found, metric=plain_metric(name) if name in PLAIN else blocks.resolve(name))


def _scores(
    several: list[Contender], truth: NDArray[Any], figures: tuple[str, ...]
) -> tuple[dict[str, dict[str, NDArray[np.float64]]], dict[str, NDArray[np.int64]]]:
    """Each contender's scores by query, and the index of what each query finds nearest."""
    ks = {int(name.rpartition("_at_")[2]) for name in figures if name.rpartition("_at_")[2].isdigit()}
    groups: list[Group] = ["retrieval", *(["ranking"] if {"mrr", "map"} & set(figures) else [])]  # type: ignore[list-item]
    scores, nearest = {}, {}
    for each in several:
        queries = evaluate_labels(each.embeddings, truth, each.metric, ks=ks or {1}, groups=groups).queries
        for figure in figures:
            if figure not in queries or figure == "nearest":
                fit = [name for name in queries if name != "nearest"]
                raise DataError(f"no query has a score of {figure!r}; compare {listed(fit)}")
        scores[each.name] = {figure: queries[figure] for figure in figures}
        nearest[each.name] = queries["nearest"]
    return scores, nearest


def _likeness(a: Contender, b: Contender, seed: int) -> Likeness:
    rows = np.arange(len(a.embeddings))
    if len(rows) > MOST_ITEMS:
        rows = np.sort(np.random.default_rng(seed).choice(len(rows), MOST_ITEMS, replace=False))
    x, y = a.embeddings[rows], b.embeddings[rows]
    metrics = (a.metric, b.metric)
    return Likeness(
        a.name,
        b.name,
        cka=linear_cka(x, y),
        procrustes=procrustes_distance(x, y),
        overlap=neighbour_overlap(x, y, min(10, len(rows) - 1), metric=metrics),
        rank_correlation=distance_rank_correlation(x, y, metric=metrics, seed=seed),
        items=len(rows),
    )


def _disagreements(
    a: Contender,
    b: Contender,
    truth: NDArray[Any],
    scores: dict[str, dict[str, NDArray[np.float64]]],
    nearest: dict[str, NDArray[np.int64]],
    figure: str,
    most: int,
) -> list[Disagreement]:
    """The queries that two differ most on, half of them in favour of each if there are as many."""
    difference = scores[b.name][figure] - scores[a.name][figure]
    order = np.argsort(-np.nan_to_num(difference), kind="stable")
    better = [row for row in order if difference[row] > 0]
    worse = [row for row in order[::-1] if difference[row] < 0]
    half = most // 2
    chosen = better[: max(half, most - len(worse))] + worse[: max(most - half, most - len(better))]
    return [
        Disagreement(
            int(row),
            a.ids[row] if a.ids is not None else str(row),
            truth[row].item() if isinstance(truth[row], np.generic) else truth[row],
            (float(scores[a.name][figure][row]), float(scores[b.name][figure][row])),
            (int(nearest[a.name][row]), int(nearest[b.name][row])),
        )
        for row in sorted(chosen, key=lambda row: -abs(difference[row]))
    ]
