"""Evaluating embeddings of labelled items: all that is asked, in one pass over the distances."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError
from siamkit.evaluation import _checks, _distances
from siamkit.evaluation._result import Evaluation, Measures, Queries
from siamkit.evaluation._scan import Tally, scan_distances
from siamkit.evaluation.clustering import clustering_measures
from siamkit.evaluation.fewshot import few_shot_measures
from siamkit.evaluation.geometry import geometry_measures
from siamkit.evaluation.knn import KnnVotes, Occurrences
from siamkit.evaluation.measures import QUICK, Group, chosen
from siamkit.evaluation.retrieval import Rankings, class_means
from siamkit.evaluation.verification import Pairs, verification_measures


def evaluate_labels(
    embeddings: ArrayLike,
    labels: ArrayLike,
    metric: str | _distances.Metric = "cosine",
    *,
    ks: Iterable[int] = (1, 5, 10),
    gallery: tuple[ArrayLike, ArrayLike] | None = None,
    groups: Iterable[Group] = QUICK,
    threshold: float | None = None,
) -> Evaluation:
    """Figures of labelled embeddings.

    Without a gallery every item is a query to all others (itself left out by its index, so that equal
    embeddings do no harm). Items of the query's class are relevant; queries without a relevant item are
    excluded from the retrieval figures and counted. Ties are ranked by index. The verification figures
    are over all pairs i < j, or all of query and gallery, from a histogram of 2**20 bins (see
    `siamkit.evaluation._histogram.Histogram` for its resolution). Distances are computed on the metric's
    backend and its device, and are counted here, a portion at a time: memory grows with the embeddings, not
    with their square, and the figures are the same whatever the portions.

    Args:
        embeddings: `(n, dim)`.
        labels: `(n,)`, of any type that sorts.
        metric: a name, or a metric.
        ks: the k of recall@k, precision@k and nDCG@k; one larger than what can be found takes in all of it.
        gallery: embeddings and labels of other items to search, from which nothing is excluded.
        groups: what is computed:

            - `retrieval`: `recall_at_<k>`, `precision_at_<k>`, `ndcg_at_<k>`, `r_precision`, `map_at_r`
              (`siamkit.evaluation.retrieval.query_scores`), means over queries, and with `_macro` means over
              classes of the classes' means;
            - `ranking`: `map` and `mrr`, which take a sort of the whole gallery for each query;
            - `verification`: `roc_auc`, `eer`, `tar_at_far_<rate>`, `threshold` (in the metric's own
              orientation: alike means at most it for a distance, at least it for a similarity) and what it
              leads to, `far`, `frr`, `false_accepts`, `false_rejects`, `balanced_accuracy`; NaN if all pairs
              are of one kind;
            - `clustering`: `nmi`, `ami`, `ari`;
            - `neighbors`: `knn_accuracy`, `accuracy_5_way_<shots>_shot`, each with `_low` and `_high`;
            - `geometry`: `siamkit.evaluation.geometry.geometry_measures`, and `hubness`.

            Without it `queries` scored, `queries_excluded` and `bytes_per_vector` in float32. The last three
            groups speak of the embeddings alone, whatever the gallery (`hubness` and `knn_accuracy`: of how
            they see it).
        threshold: what `far` to `balanced_accuracy` are told of, in the metric's own orientation, instead of
            the threshold that suits these items best: one calibrated on other classes, say.

    Example:
        >>> from siamkit.evaluation import evaluate_labels
        >>> found = evaluate_labels([[0.0], [1.0], [4.0], [5.0], [20.0]], [0, 0, 1, 1, 2], "euclidean")
        >>> found.measures["map_at_r"], found.measures["queries"], found.measures["queries_excluded"]
        (1.0, 4, 1)
    """
    asked = chosen(groups)
    wanted = _checks.depths(ks)
    queries = _checks.vectors(embeddings, 2, least=1 if gallery is not None else 2)
    ids = _checks.column(labels, len(queries))
    pool: tuple[NDArray[np.float32], NDArray[np.int64]] | None
    if gallery is None:
        (ids,), pool = _checks.classes(ids), None
    else:
        vectors, (ids, pool_ids) = _gallery(gallery, queries, ids)
        pool = vectors, pool_ids
    counts = np.bincount(ids if pool is None else pool[1], minlength=int(ids.max()) + 1)
    relevant = counts[ids] - (pool is None)
    if not relevant.any():
        raise DataError(
            "no class has two items, so no query has a relevant item to find"
            if pool is None
            else "no query has a relevant item in the gallery: they share no label"
        )
    comparison = _distances.resolve(metric)
    rankings = Rankings(wanted, whole="ranking" in asked)
    pairs, votes, occurrences = Pairs(), KnnVotes(), Occurrences(len(queries if pool is None else pool[0]))
    tallies: list[Tally] = [rankings] if asked & {"retrieval", "ranking"} else []
    tallies += [pairs] if "verification" in asked else []
    tallies += [votes] if "neighbours" in asked else []
    tallies += [occurrences] if "geometry" in asked else []
    if tallies:  # else nobody needs the distances
        scan_distances(comparison, queries, ids, pool, relevant, tallies)

    measures: Measures = {}
    by_query: Queries = {}
    curve = pairs.curve() if "verification" in asked else None
    if asked & {"retrieval", "ranking"}:
        by_query = rankings.by_query()
        measures |= _means(by_query, ids, wanted, asked)
    if "verification" in asked:
        sign = -1 if comparison.orientation == "similarity" else 1
        measures |= verification_measures(curve, sign, threshold)
    if "neighbours" in asked:
        measures |= votes.measures()
        measures |= few_shot_measures(comparison, queries, ids)
    if "clustering" in asked:
        measures |= clustering_measures(queries, ids, _distances.scale_free(comparison, queries))
    if "geometry" in asked:
        measures |= geometry_measures(queries, ids) | occurrences.measures()
    measures |= {
        "queries": int((relevant > 0).sum()),
        "queries_excluded": int((relevant == 0).sum()),
        "bytes_per_vector": 4 * queries.shape[1],
    }
    return Evaluation(measures, by_query, curve)


def _means(
    by_query: Queries, ids: NDArray[np.int64], ks: tuple[int, ...], asked: frozenset[Group]
) -> Measures:
    """Means over queries, and over classes of the classes' means."""
    names = [f"{kind}_at_{k}" for kind in ("recall", "precision", "ndcg") for k in ks]
    names += ["precision_at_1", "r_precision", "map_at_r"]
    names = list(dict.fromkeys(names)) if "retrieval" in asked else []
    names += ["mrr", "map"] if "ranking" in asked else []
    measures: Measures = {name: float(np.nanmean(by_query[name])) for name in names}
    return measures | {f"{name}_macro": float(class_means(by_query[name], ids).mean()) for name in names}


def _gallery(
    gallery: tuple[ArrayLike, ArrayLike], queries: NDArray[np.float32], labels: NDArray[Any]
) -> tuple[NDArray[np.float32], list[NDArray[np.int64]]]:
    if not isinstance(gallery, (tuple, list)) or len(gallery) != 2:
        raise DataError(f"gallery should be (embeddings, labels), got {type(gallery).__name__}")
    pool = _checks.vectors(gallery[0], 2, name="the gallery's embeddings")
    if pool.shape[1] != queries.shape[1]:
        raise DataError(
            "the gallery's embeddings should have the dim of the queries, "
            f"{queries.shape[1]}, got {pool.shape[1]}"
        )
    pool_labels = _checks.column(gallery[1], len(pool), name="the gallery's labels")
    return pool, _checks.classes(labels, pool_labels)
