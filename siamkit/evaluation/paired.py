"""Evaluating embeddings of given pairs, alike or not, or graded."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError
from siamkit.evaluation import blocks, checks
from siamkit.evaluation.verification import roc_figures

Figures = dict[str, float | int]


def evaluate_pairs(
    embeddings: ArrayLike, labels: ArrayLike, metric: str | blocks.Metric = "cosine"
) -> Figures:
    """Verification figures of pairs, exact (see `siamkit.evaluation.verification.roc_figures`).

    Args:
        embeddings: `(n, 2, dim)`.
        labels: `(n,)`, 1 for a pair alike, 0 for one that is not.
        metric: a name, or a metric.

    Returns:
        `roc_auc`, `eer` and `threshold` (in the metric's own orientation: alike means at most it for a
        distance, at least it for a similarity), NaN if all pairs are of one kind; `pairs_alike`,
        `pairs_unlike`, `bytes_per_vector` in float32.

    Example:
        >>> from siamkit.evaluation import evaluate_pairs
        >>> figures = evaluate_pairs([[[0.0], [1.0]], [[0.0], [3.0]]], [1, 0], "euclidean")
        >>> figures["roc_auc"], figures["threshold"]
        (1.0, 2.0)
    """
    pairs = checks.vectors(embeddings, 3)
    targets = checks.column(labels, len(pairs))
    if not binary(targets):
        raise DataError(f"labels of pairs should be 1 (alike) or 0, got {np.unique(targets)[:5].tolist()}")
    comparison = blocks.resolve(metric)
    alike = targets.astype(bool)
    distances, place = np.unique(blocks.row_by_row(comparison, pairs[:, 0], pairs[:, 1]), return_inverse=True)
    auc, eer, threshold = roc_figures(
        distances,
        np.bincount(place[alike], minlength=len(distances)),
        np.bincount(place[~alike], minlength=len(distances)),
    )
    return {
        "roc_auc": auc,
        "eer": eer,
        "threshold": blocks.oriented(threshold, comparison),
        "pairs_alike": int(alike.sum()),
        "pairs_unlike": int((~alike).sum()),
        "bytes_per_vector": 4 * pairs.shape[2],
    }


def evaluate_scores(
    embeddings: ArrayLike, scores: ArrayLike, metric: str | blocks.Metric = "cosine"
) -> Figures:
    """How well similarity follows graded scores.

    Pearson's r = Σ (x - x̄)(y - ȳ) / √(Σ (x - x̄)² · Σ (y - ȳ)²) between the metric's values x (a distance
    is negated) and the scores y; Spearman's is the same of their ranks, equals sharing the mean rank.

    Args:
        embeddings: `(n, 2, dim)`.
        scores: `(n,)`, high for alike.
        metric: a name, or a metric.

    Returns:
        `spearman` and `pearson`, NaN if all values or all scores are equal; `pairs`, `bytes_per_vector`
        in float32.

    Example:
        >>> from siamkit.evaluation import evaluate_scores
        >>> pairs = [[[0.0], [1.0]], [[0.0], [2.0]], [[0.0], [9.0]]]
        >>> round(evaluate_scores(pairs, [5.0, 4.0, 1.0], "euclidean")["spearman"], 6)
        1.0
    """
    from scipy.stats import rankdata  # late: slow to import

    pairs = checks.vectors(embeddings, 3, least=2)
    targets = checks.column(scores, len(pairs), name="scores")
    try:
        targets = targets.astype(np.float64)
    except (TypeError, ValueError):
        raise DataError(f"scores should be numbers, got {targets.dtype}") from None
    if not np.isfinite(targets).all():
        raise DataError("scores should be finite, got NaN or infinity")
    distances = blocks.row_by_row(blocks.resolve(metric), pairs[:, 0], pairs[:, 1])
    return {
        "spearman": _correlation(rankdata(-distances), rankdata(targets)),
        "pearson": _correlation(-distances.astype(np.float64), targets),
        "pairs": len(pairs),
        "bytes_per_vector": 4 * pairs.shape[2],
    }


def binary(targets: NDArray[np.generic]) -> bool:
    """Whether all targets are 0 or 1."""
    return targets.dtype.kind in "biuf" and bool(np.isin(targets, (0, 1)).all())


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    if x.min() == x.max() or y.min() == y.max():  # before centring, which may leave rounding behind
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    return float((x / np.linalg.norm(x)) @ (y / np.linalg.norm(y)))
