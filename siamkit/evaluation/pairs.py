"""Evaluate embeddings of pairs, matching or not, or graded."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError
from siamkit.evaluation.distances import Metric, oriented, paired_distances, resolve_metric
from siamkit.evaluation.geometry import geometry_measures
from siamkit.evaluation.measures import QUICK, Group, Measures, Threshold, ThresholdRule, checked_groups
from siamkit.evaluation.verification import Curve, Evaluation, verification_measures
from siamkit.io.targets import graded_targets, pair_targets
from siamkit.io.values import as_vectors


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


def chosen_threshold(
    values: NDArray[np.float32], labels: ArrayLike, metric: Metric, rule: ThresholdRule
) -> float:
    """Return the threshold that a rule chooses from pairs, in the metric's own orientation.

    Args:
        values: `(n,)`, the metric of each pair.
        labels: `(n,)`, 1 for a matching pair, 0 for a non-matching pair.
        metric: the metric.
        rule: how to choose.

    Raises:
        DataError: labels that are not 1 or 0, pairs of one kind, values that are not finite, or no threshold
            keeps the rule's limit.
    """
    alike = pair_targets(labels, len(values)).astype(bool)
    if not np.isfinite(values).all():
        raise DataError("the metric returned NaN or infinity for some pairs")
    curve = Curve.of_pairs(oriented(values, metric) + np.float32(0), alike)
    if curve is None:
        raise DataError(
            f"a threshold is chosen from pairs of both kinds, 1 (alike) and 0; all {len(values)} are "
            f"{'1' if alike.any() else '0'}"
        )
    return float(oriented(curve.choose(rule), metric))


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


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    if x.min() == x.max() or y.min() == y.max():  # checked before centering, which may leave rounding errors
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    return float((x / np.linalg.norm(x)) @ (y / np.linalg.norm(y)))
