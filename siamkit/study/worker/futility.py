"""Futility: whether the later seeds of a configuration are worth training, judged by its first seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Z = 3.0  # standard errors below the best configuration
MIN_CLASSES = 5  # with fewer, how much classes differ cannot be estimated


def futility(
    scores: ArrayLike, best_scores: ArrayLike, classes: ArrayLike, seed_std: float = 0.0
) -> str | None:
    """Return why a configuration needs no more seeds, or None if it does.

    Both configurations answer the same queries, so the difference is taken query by query: that some queries
    are hard for every model does not matter. The queries of one class succeed and fail together, so the
    standard error is clustered by class: with s_g the sum of the differences of class g minus their mean,
    G classes and n queries, it is √(G / (G - 1) Σ s_g²) / n. A configuration is futile if it is more than 3
    standard errors below the best, by a t distribution with G - 1 degrees of freedom: one in 740 of equally
    good configurations.

    Queries do not show how a configuration varies between seeds; where that is known, it is added.

    Args:
        scores: `(n,)` the scores of its first seed by query, higher is better; NaN where a query has none.
        best_scores: `(n,)` those of the best configuration, for the same queries in the same order.
        classes: `(n,)` the class of each query.
        seed_std: the standard deviation of the objective between the seeds of one configuration.
    """
    from scipy.special import ndtr, stdtrit  # late: slow to import

    differences, groups = _paired(scores, best_scores, classes)
    count = groups.max(initial=-1) + 1
    if count < MIN_CLASSES:
        return None
    mean = float(differences.mean())
    sums = np.bincount(groups, weights=differences - mean)
    error = float(np.sqrt(count / (count - 1) * (sums**2).sum())) / len(differences)
    # As rare under t as 3 standard errors under the normal distribution: 6.6 with 5 classes, 3.3 with 30.
    quantile = float(stdtrit(count - 1, ndtr(Z)))
    bound = float(np.hypot(quantile * error, Z * np.sqrt(2) * seed_std))
    if mean <= bound or mean <= 0:
        return None
    return (
        f"stopped for futility: {mean:.3g} below the best trial on the same {len(differences):,} queries "
        f"after the first seed; up to {bound:.2g} could be chance"
    )


def _paired(
    scores: ArrayLike, best_scores: ArrayLike, classes: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return how much better the best one is, and the class, for each query that both have a score for."""
    differences = np.asarray(best_scores, float) - np.asarray(scores, float)
    finite = np.isfinite(differences)
    _, groups = np.unique(np.asarray(classes)[finite], return_inverse=True)
    return differences[finite], groups.astype(np.int64)
