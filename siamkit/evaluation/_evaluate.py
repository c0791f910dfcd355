"""Evaluate embeddings of labeled items, of pairs, or of graded pairs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError
from siamkit.evaluation.classification import (
    KnnVotes,
    Rankings,
    WholeRankings,
    class_means,
    few_shot_measures,
)
from siamkit.evaluation.clustering import Clusters
from siamkit.evaluation.distances import Metric, ignores_length, is_cosine, paired_distances, resolve_metric
from siamkit.evaluation.geometry import SAMPLE, Occurrences, geometry_measures
from siamkit.evaluation.measures import GROUPS, QUICK, Group, Measures, Threshold, checked_groups
from siamkit.evaluation.scan import Accumulator, Queries, scan
from siamkit.evaluation.verification import Curve, Evaluation, PairCounts, verification_measures
from siamkit.io.targets import as_labels, class_ids, graded_targets, is_graded, pair_targets
from siamkit.io.values import as_array, as_vectors, column_and_missing, distinct_ks

LEAST_COPIES = 30
"""The number of queries in the gallery from which on a warning says so; a few may be copies in the data."""


def evaluate(
    embeddings: ArrayLike,
    labels: ArrayLike,
    metric: str | Metric = "cosine",
    *,
    ks: Iterable[int] = (1, 5, 10),
    gallery: tuple[ArrayLike, ArrayLike] | None = None,
    groups: Iterable[Group] = GROUPS,
    threshold: Threshold | None = None,
    own_threshold: float | None = None,
    drop_missing: bool = False,
) -> Measures:
    """Return the measures of embeddings of labeled items, of pairs, or of graded pairs, by their shape.

    Args:
        embeddings: `(n, dim)` with a class for each item, or `(n, 2, dim)` with a target for each pair. If
            all targets are 0 or 1, pairs match or not; otherwise they are graded (call `evaluate_scores` for
            grades that are only two whole numbers, such as 0 and 1).
        labels: `(n,)`: whole numbers, texts, truth values or dates, in an array, list, tensor or column of a
            table.
        metric: a metric, or its name.
        ks: the values of k of recall@k, for labeled items.
        gallery: embeddings and labels of other items to search, for labeled items.
        groups: groups of measures to compute; by default all that the data allow.
            `("retrieval", "verification")` take about half of the time.
        threshold: the threshold at which pairs are accepted, or how to choose it from these pairs: a number,
            `"f1"`, `"accuracy"`, `"balanced_accuracy"` (the default), `{"far": 1e-3}`, `{"precision": 0.95}`,
            `{"recall": 0.95}`, `{"cost": {"false_accept": 10, "false_reject": 1}}`.
        own_threshold: a second threshold to count at, such as that of the model.
        drop_missing: whether to leave out items and pairs whose label is missing (NaN, None, NaT, NA, null);
            by default they are refused.

    Returns:
        The measures of `evaluate_labels`, `evaluate_pairs` or `evaluate_scores`.

    Raises:
        DataError: the embeddings or labels cannot be used, or labels are missing.

    Example:
        >>> import siamkit
        >>> embeddings = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]
        >>> measures = siamkit.evaluate(embeddings, ["a", "a", "b", "b"])
        >>> measures["map_at_r"], measures["roc_auc"]
        (1.0, 1.0)
    """
    return examine(
        embeddings,
        labels,
        metric,
        ks=ks,
        gallery=gallery,
        groups=groups,
        threshold=threshold,
        own_threshold=own_threshold,
        drop_missing=drop_missing,
    ).measures


def examine(
    embeddings: ArrayLike,
    labels: ArrayLike,
    metric: str | Metric = "cosine",
    *,
    ks: Iterable[int] = (1, 5, 10),
    gallery: tuple[ArrayLike, ArrayLike] | None = None,
    groups: Iterable[Group] = GROUPS,
    threshold: Threshold | None = None,
    own_threshold: float | None = None,
    drop_missing: bool = False,
) -> Evaluation:
    """Return the same as `evaluate`, with the scores of each query and the ROC curve."""
    array = as_array(embeddings)
    if drop_missing:
        array, labels = _without_missing(array, labels, "labels")
        if gallery is not None:
            pool, pool_labels = _two(gallery)
            gallery = _without_missing(as_array(pool), pool_labels, "the gallery's labels")
    thresholds: dict[str, Any] = {"threshold": threshold, "own_threshold": own_threshold}
    if array.ndim != 3:
        return evaluate_labels(array, labels, metric, ks=ks, gallery=gallery, groups=groups, **thresholds)
    if gallery is not None:
        raise DataError(f"a gallery is for embeddings (items, dim), got {array.shape}")
    if is_graded(labels, name="labels of pairs"):
        if threshold is not None:
            raise DataError("a threshold is for pairs that match or not, 1 or 0; these pairs have scores")
        return evaluate_scores(array, labels, metric, groups=groups)
    return evaluate_pairs(array, labels, metric, groups=groups, **thresholds)


def _without_missing(array: NDArray[Any], labels: ArrayLike, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the embeddings and labels of the items whose label is not missing."""
    known, missing = column_and_missing(labels, len(array) if array.ndim else None, name=name)
    return array[~missing] if array.ndim else array, known[~missing]


def evaluate_labels(
    embeddings: ArrayLike,
    labels: ArrayLike,
    metric: str | Metric = "cosine",
    *,
    ks: Iterable[int] = (1, 5, 10),
    gallery: tuple[ArrayLike, ArrayLike] | None = None,
    groups: Iterable[Group] = QUICK,
    threshold: Threshold | None = None,
    own_threshold: float | None = None,
    rows: ArrayLike | None = None,
) -> Evaluation:
    """Return the measures of labeled embeddings.

    Without a gallery every item is a query to all others (it is excluded by its index, so identical
    embeddings do no harm). Items of the query's class are relevant. Queries without a relevant item are
    excluded from retrieval and counted. Ties are ranked by index. Verification is over all pairs i < j, or
    all pairs of query and gallery, from a histogram of 2**20 bins (see
    `siamkit.evaluation.scan.Histogram` for its resolution). If a group needs all distances, they are computed
    on the metric's backend and its device, and counted here, a chunk at a time; else only the nearest items
    are searched for. Memory grows with the embeddings, not with their square, and the measures do not depend
    on the chunks.

    Args:
        embeddings: `(n, dim)`.
        labels: `(n,)`, as for `evaluate`.
        metric: a metric, or its name.
        ks: the values of k of recall@k, precision@k and nDCG@k; a k beyond the number of items covers all of
            them.
        gallery: embeddings and labels of other items to search, from which nothing is excluded.
        groups: groups of measures to compute:

            - `retrieval`: `recall_at_<k>`, `precision_at_<k>`, `ndcg_at_<k>`, `r_precision`, `map_at_r`
              (`siamkit.evaluation.classification.query_scores`), means over queries, and with `_macro`
              means over classes of the class means;
            - `ranking`: `map` and `mrr`, of the whole ranking of each query;
            - `verification`: `roc_auc`, `eer`, `average_precision`, `tar_at_far_<rate>`; `threshold` (in the
              metric's own orientation: a match is at most a distance, or at least a similarity) and, at this
              threshold, `far`, `frr`, `false_accepts`, `false_rejects`, `precision`, `recall`, `f1`,
              `accuracy`, `balanced_accuracy`; NaN if all pairs are of one kind;
            - `clustering`: `nmi`, `ami`, `ari`;
            - `neighbors`: `knn_accuracy`, `accuracy_5_way_<shots>_shot`, each with `_low` and `_high`;
            - `geometry`: `siamkit.evaluation.geometry.geometry_measures`, and `hubness`.

            In any case `queries` scored, `queries_excluded`, and `bytes_per_vector` in float32. The last
            three groups describe the embeddings alone, whatever the gallery (except `hubness` and
            `knn_accuracy`, which search it).
        threshold: the threshold, in the metric's own orientation, or how to choose it from these pairs, as
            for `evaluate`; by default the one with the highest balanced accuracy.
        own_threshold: a second threshold, such as the model's own; its measures are `own_threshold`,
            `far_at_own_threshold`, ….
        rows: without a gallery, the indices of the items that are queries, by default all. They still search
            all other items, so a mean over random queries estimates that over all. For the groups `retrieval`
            and `ranking`; scores by query are those of these queries, in this order.

    Raises:
        DataError: the embeddings or labels cannot be used, or `rows` with a gallery or another group.

    Example:
        >>> from siamkit.evaluation import evaluate_labels
        >>> line = [[0.0], [1.0], [4.0], [5.0], [20.0]]
        >>> measures = evaluate_labels(line, [0, 0, 1, 1, 2], "euclidean").measures
        >>> measures["map_at_r"], measures["queries"], measures["queries_excluded"]
        (1.0, 4, 1)
    """
    names = checked_groups(groups)
    depths = distinct_ks(ks)
    if rows is not None and (gallery is not None or names - {"retrieval", "ranking"}):
        raise DataError(
            "rows can be used with the groups retrieval and ranking and without a gallery only; leave out "
            "rows, or the gallery and the other groups"
        )
    vectors = as_vectors(embeddings, 2, least=1 if gallery is not None else 2)
    ids = as_labels(labels, len(vectors))
    if gallery is None:
        (ids,) = class_ids(ids)
        pool, pool_ids = vectors, ids
    else:
        pool, (ids, pool_ids) = _gallery(gallery, vectors, ids)
    some = None if rows is None else _rows(rows, len(vectors))
    if some is not None:
        vectors, ids = vectors[some], ids[some]
    counts = np.bincount(pool_ids, minlength=int(ids.max()) + 1)
    relevant = counts[ids] - (gallery is None)
    if not relevant.any():
        raise DataError(
            "no class has two items, so no query has a relevant item"
            if gallery is None
            else "no query has a relevant item in the gallery: they have no label in common"
        )
    resolved = resolve_metric(metric)
    within = gallery is None and some is None
    queries = Queries(resolved, vectors, ids, pool, pool_ids, within, relevant, some)
    rankings, whole = Rankings(depths), WholeRankings(len(vectors))
    pairs, votes, occurrences = PairCounts(), KnnVotes(), Occurrences(len(pool))
    accumulators: list[Accumulator] = [rankings] if names & {"retrieval", "ranking"} else []
    accumulators += [whole] if "ranking" in names else []
    accumulators += [pairs] if "verification" in names else []
    accumulators += [votes] if "neighbors" in names else []
    accumulators += [occurrences] if "geometry" in names else []
    cosines = within and bool(names & {"clustering", "geometry"}) and is_cosine(resolved, vectors)
    if "clustering" in names:
        clusters = Clusters(vectors, ids, ignores_length(resolved, vectors), cosines=cosines)
        accumulators += [clusters] if clusters.takes_pairs else []
    if accumulators:  # else the distances are not needed
        scan(queries, accumulators)

    measures: Measures = {}
    by_query: dict[str, NDArray[Any]] = {}
    curve = pairs.curve() if "verification" in names else None
    if names & {"retrieval", "ranking"}:
        by_query = rankings.by_query() | (whole.by_query() if "ranking" in names else {})
        measures |= _means(by_query, ids, depths, names)
    if "verification" in names:
        sign = -1 if resolved.orientation == "similarity" else 1
        measures |= verification_measures(curve, sign, threshold, own_threshold)
    if "neighbors" in names:
        measures |= votes.measures()
        measures |= few_shot_measures(resolved, vectors, ids)
    if "clustering" in names:
        measures |= clusters.measures()
    if "geometry" in names:
        known = cosines and "verification" in names and len(vectors) <= SAMPLE
        measures |= geometry_measures(
            vectors,
            ids,
            cosines=pairs.histogram if known else None,
            nearest=occurrences.nearest_two(queries),
        )
        measures |= occurrences.measures()
    measures |= {
        "queries": int((relevant > 0).sum()),
        "queries_excluded": int((relevant == 0).sum()),
        "bytes_per_vector": 4 * vectors.shape[1],
    }
    return Evaluation(measures, by_query, curve)


def evaluate_pairs(
    embeddings: ArrayLike,
    labels: ArrayLike,
    metric: str | Metric = "cosine",
    *,
    groups: Iterable[Group] = QUICK,
    threshold: Threshold | None = None,
    own_threshold: float | None = None,
) -> Evaluation:
    """Return verification measures of pairs, exact (see `siamkit.evaluation.verification.Curve`).

    Args:
        embeddings: `(n, 2, dim)`.
        labels: `(n,)`, 1 for a matching pair, 0 for a non-matching pair.
        metric: a metric, or its name.
        groups: groups of measures to compute: `verification`, as in `evaluate_labels`, and `geometry`, of all
            items.
        threshold, own_threshold: the thresholds at which errors are counted, as in `evaluate_labels`.

    Returns:
        The requested measures; `pairs_alike`, `pairs_unlike`, and `bytes_per_vector` in float32. The score of
        a query is the `distance` of each pair, a similarity negated.

    Example:
        >>> from siamkit.evaluation import evaluate_pairs
        >>> evaluation = evaluate_pairs([[[0.0], [1.0]], [[0.0], [3.0]]], [1, 0], "euclidean")
        >>> evaluation.measures["roc_auc"], evaluation.measures["threshold"]
        (1.0, 2.0)
    """
    names = checked_groups(groups)
    pairs = as_vectors(embeddings, 3)
    alike = pair_targets(labels, len(pairs), name="labels of pairs").astype(bool)
    resolved = resolve_metric(metric)
    distances = paired_distances(resolved, pairs[:, 0], pairs[:, 1])
    measures: Measures = {}
    curve = None
    if "verification" in names:
        curve = Curve.of_pairs(distances, alike)
        sign = -1 if resolved.orientation == "similarity" else 1
        measures |= verification_measures(curve, sign, threshold, own_threshold)
    if "geometry" in names:
        measures |= geometry_measures(pairs.reshape(-1, pairs.shape[2]))
    measures |= {
        "pairs_alike": int(alike.sum()),
        "pairs_unlike": int((~alike).sum()),
        "bytes_per_vector": 4 * pairs.shape[2],
    }
    return Evaluation(measures, {"distance": distances}, curve)


def evaluate_scores(
    embeddings: ArrayLike,
    scores: ArrayLike,
    metric: str | Metric = "cosine",
    *,
    groups: Iterable[Group] = ("graded",),
) -> Evaluation:
    """Return how well the similarity of graded pairs agrees with their scores.

    Pearson's r = Σ (x - x̄)(y - ȳ) / √(Σ (x - x̄)² · Σ (y - ȳ)²) between the metric's values x (a distance
    is negated) and the scores y; Spearman's is the same for their ranks, where equal values share the mean
    rank.

    Args:
        embeddings: `(n, 2, dim)`.
        scores: `(n,)`, high for similar pairs.
        metric: a metric, or its name.
        groups: further groups of measures to compute: `geometry`, of all items.

    Returns:
        `spearman` and `pearson`, NaN if all distances or all scores are equal; `pairs`, and
        `bytes_per_vector` in float32. The score of a query is the `distance` of each pair, a similarity
        negated.

    Example:
        >>> from siamkit.evaluation import evaluate_scores
        >>> pairs = [[[0.0], [1.0]], [[0.0], [2.0]], [[0.0], [9.0]]]
        >>> round(evaluate_scores(pairs, [5.0, 4.0, 1.0], "euclidean").measures["spearman"], 6)
        1.0
    """
    from scipy.stats import rankdata  # late: slow to import

    names = checked_groups(groups)
    pairs = as_vectors(embeddings, 3, least=2)
    targets = graded_targets(scores, len(pairs))
    distances = paired_distances(resolve_metric(metric), pairs[:, 0], pairs[:, 1])
    measures: Measures = {
        "spearman": _correlation(rankdata(-distances), rankdata(targets)),
        "pearson": _correlation(-distances.astype(np.float64), targets),
        "pairs": len(pairs),
        "bytes_per_vector": 4 * pairs.shape[2],
    }
    if "geometry" in names:
        measures |= geometry_measures(pairs.reshape(-1, pairs.shape[2]))
    return Evaluation(measures, {"distance": distances}, None)


def _means(
    by_query: Mapping[str, NDArray[Any]],
    ids: NDArray[np.int64],
    ks: tuple[int, ...],
    groups: frozenset[Group],
) -> Measures:
    """Return means over queries, and over classes of the class means."""
    names = [f"{kind}_at_{k}" for kind in ("recall", "precision", "ndcg") for k in ks]
    names += ["precision_at_1", "r_precision", "map_at_r"]
    names = list(dict.fromkeys(names)) if "retrieval" in groups else []
    names += ["mrr", "map"] if "ranking" in groups else []
    measures: Measures = {name: float(np.nanmean(by_query[name])) for name in names}
    return measures | {f"{name}_macro": float(class_means(by_query[name], ids).mean()) for name in names}


def _rows(rows: ArrayLike, items: int) -> NDArray[np.int64]:
    """Return the indices of some items, or raise DataError if they are none."""
    found = np.asarray(rows)
    if found.dtype.kind not in "iu" or found.ndim != 1 or not found.size:
        raise DataError(
            f"rows should be indices of items, 1-dimensional, got {found.dtype} of shape {found.shape}; of a "
            "mask take np.flatnonzero(mask)"
        )
    if found.min() < 0 or found.max() >= items:
        raise DataError(f"rows should be indices from 0 to {items - 1}, got {found.min()} to {found.max()}")
    return found.astype(np.int64)


def _gallery(
    gallery: tuple[ArrayLike, ArrayLike], queries: NDArray[np.float32], labels: NDArray[Any]
) -> tuple[NDArray[np.float32], list[NDArray[np.int64]]]:
    """Return the vectors of the gallery, and the class ids of queries and gallery."""
    vectors, pool_labels = _two(gallery)
    pool = as_vectors(vectors, 2, name="the gallery's embeddings")
    if pool.shape[1] != queries.shape[1]:
        raise DataError(
            "the gallery's embeddings should have the dim of the queries, "
            f"{queries.shape[1]}, got {pool.shape[1]}"
        )
    ids = class_ids(labels, as_labels(pool_labels, len(pool), name="the gallery's labels"))
    if len(queries) >= LEAST_COPIES:
        known = set(_hashes(pool, ids[1]))
        copies = sum(number in known for number in _hashes(queries, ids[0]))
        if copies >= max(LEAST_COPIES, len(queries) / 2):
            warnings.warn(
                f"{copies} of {len(queries)} queries are also in the gallery, with the same embedding and "
                "label, and find themselves; to search among the queries, leave out gallery",
                stacklevel=5,
            )
    return pool, ids


def _hashes(vectors: NDArray[np.float32], ids: NDArray[np.int64]) -> Iterator[int]:
    """Yield a hash of each labeled vector: the vectors themselves would fill the memory a second time."""
    return (hash((row.tobytes(), id)) for row, id in zip(vectors, ids.tolist(), strict=True))


def _two(gallery: tuple[ArrayLike, ArrayLike]) -> tuple[ArrayLike, ArrayLike]:
    """Return the embeddings and the labels of a gallery."""
    if not isinstance(gallery, (tuple, list)) or len(gallery) != 2:
        raise DataError(f"gallery should be (embeddings, labels), got {type(gallery).__name__}")
    return gallery[0], gallery[1]


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    if x.min() == x.max() or y.min() == y.max():  # checked before centering, which may leave rounding errors
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    return float((x / np.linalg.norm(x)) @ (y / np.linalg.norm(y)))
