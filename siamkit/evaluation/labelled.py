"""Evaluating embeddings of labelled items: retrieval and verification in one pass over the distances."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError
from siamkit.evaluation import blocks, checks
from siamkit.evaluation.neighbours import nearest_first
from siamkit.evaluation.retrieval import query_scores
from siamkit.evaluation.verification import Histogram, roc_figures

Figures = dict[str, float | int]
Queries = dict[str, NDArray[Any]]


@overload
def evaluate_labels(
    embeddings: ArrayLike,
    labels: ArrayLike,
    metric: str | blocks.Metric = ...,
    *,
    ks: Iterable[int] = ...,
    gallery: tuple[ArrayLike, ArrayLike] | None = ...,
    return_queries: Literal[False] = ...,
) -> Figures: ...


@overload
def evaluate_labels(
    embeddings: ArrayLike,
    labels: ArrayLike,
    metric: str | blocks.Metric = ...,
    *,
    ks: Iterable[int] = ...,
    gallery: tuple[ArrayLike, ArrayLike] | None = ...,
    return_queries: Literal[True],
) -> tuple[Figures, Queries]: ...


def evaluate_labels(
    embeddings: ArrayLike,
    labels: ArrayLike,
    metric: str | blocks.Metric = "cosine",
    *,
    ks: Iterable[int] = (1, 5, 10),
    gallery: tuple[ArrayLike, ArrayLike] | None = None,
    return_queries: bool = False,
) -> Figures | tuple[Figures, Queries]:
    """Retrieval and verification figures of labelled embeddings.

    Without a gallery every item is a query to all others (itself left out by its index, so that equal
    embeddings do no harm). Items of the query's class are relevant; queries without a relevant item are
    excluded from the retrieval figures and counted. Ties are ranked by index. The verification figures
    are over all pairs i < j, or all of query and gallery, from a histogram of 2**20 bins (see
    `siamkit.evaluation.verification.Histogram` for its resolution). Formulas and papers:
    `siamkit.evaluation.retrieval.query_scores`, `siamkit.evaluation.verification.roc_figures`.

    Args:
        embeddings: `(n, dim)`.
        labels: `(n,)`, of any type that sorts.
        metric: a name, or a metric.
        ks: the k of recall@k; one larger than what can be found takes in all of it.
        gallery: embeddings and labels of other items to search, from which nothing is excluded.
        return_queries: whether to return each query's scores, too.

    Returns:
        `recall_at_<k>`, `precision_at_1`, `r_precision`, `map_at_r`; `roc_auc`, `eer` and `threshold` (in
        the metric's own orientation: alike means at most it for a distance, at least it for a
        similarity), NaN if all pairs are of one kind; `queries` scored, `queries_excluded`,
        `bytes_per_vector` in float32. With `return_queries` also arrays `(n,)` of each query's
        `recall_at_<k>` (k = 1 always among them), `r_precision`, `map_at_r`, NaN where excluded, and
        `nearest`, the index of its nearest item.

    Example:
        >>> from siamkit.evaluation import evaluate_labels
        >>> figures = evaluate_labels([[0.0], [1.0], [4.0], [5.0], [20.0]], [0, 0, 1, 1, 2], "euclidean")
        >>> figures["map_at_r"], figures["queries"], figures["queries_excluded"]
        (1.0, 4, 1)
    """
    wanted = checks.depths(ks)
    queries = checks.vectors(embeddings, 2, least=1 if gallery is not None else 2)
    ids = checks.column(labels, len(queries))
    if gallery is None:
        pool, (ids,) = queries, checks.classes(ids)
        pool_ids = ids
    else:
        pool, (ids, pool_ids) = _gallery(gallery, queries, ids)
    relevant = np.bincount(pool_ids, minlength=ids.max() + 1)[ids] - (gallery is None)
    if not relevant.any():
        raise DataError(
            "no class has two items, so no query has a relevant item to find"
            if gallery is None
            else "no query has a relevant item in the gallery: they share no label"
        )

    findable = len(pool) - (gallery is None)
    ks_scored = tuple(sorted({1, *wanted}))
    comparison = blocks.resolve(metric)
    portions: list[Queries] = []
    pairs = Histogram()
    for start, distances in blocks.chunks(comparison, queries, pool):
        rows = slice(start, start + len(distances))
        alike = ids[rows, None] == pool_ids
        if gallery is None:
            _add_upper(pairs, distances, alike, start)
        else:
            pairs.add(distances, alike)
        depth = min(findable, max(*ks_scored, int(relevant[rows].max())))
        itself = np.arange(len(queries))[rows] if gallery is None else None
        order, _ = nearest_first(distances, depth, itself)
        scores = query_scores(np.take_along_axis(alike, order, axis=1), relevant[rows], ks_scored)
        portions.append({**scores, "nearest": order[:, 0].copy()})  # a view would keep all of `order`
    by_query = {name: np.concatenate([each[name] for each in portions]) for name in portions[0]}

    scored = relevant > 0
    auc, eer, threshold = roc_figures(*pairs.counts())
    mean = {name: float(by_query[name][scored].mean()) for name in scores}
    figures: Figures = {
        **{f"recall_at_{k}": mean[f"recall_at_{k}"] for k in wanted},
        "precision_at_1": mean["recall_at_1"],  # the same by definition
        "r_precision": mean["r_precision"],
        "map_at_r": mean["map_at_r"],
        "roc_auc": auc,
        "eer": eer,
        "threshold": blocks.oriented(threshold, comparison),
        "queries": int(scored.sum()),
        "queries_excluded": int((~scored).sum()),
        "bytes_per_vector": 4 * queries.shape[1],
    }
    return (figures, by_query) if return_queries else figures


def _gallery(
    gallery: tuple[ArrayLike, ArrayLike], queries: NDArray[np.float32], labels: NDArray[Any]
) -> tuple[NDArray[np.float32], list[NDArray[np.int64]]]:
    if not isinstance(gallery, (tuple, list)) or len(gallery) != 2:
        raise DataError(f"gallery should be (embeddings, labels), got {type(gallery).__name__}")
    pool = checks.vectors(gallery[0], 2, name="the gallery's embeddings")
    if pool.shape[1] != queries.shape[1]:
        raise DataError(
            "the gallery's embeddings should have the dim of the queries, "
            f"{queries.shape[1]}, got {pool.shape[1]}"
        )
    pool_labels = checks.column(gallery[1], len(pool), name="the gallery's labels")
    return pool, checks.classes(labels, pool_labels)


def _add_upper(
    pairs: Histogram, distances: NDArray[np.float32], alike: NDArray[np.bool_], start: int
) -> None:
    """Counts the pairs i < j among rows that begin at `start`: a triangle, and all to its right."""
    stop = start + len(distances)
    above = np.triu(np.ones((len(distances), len(distances)), bool), 1)
    pairs.add(distances[:, start:stop][above], alike[:, start:stop][above])
    pairs.add(distances[:, stop:], alike[:, stop:])
