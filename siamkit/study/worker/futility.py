"""Later seeds of a configuration that is far behind the best one: whether they are worth it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

BEHIND = 3.0  # standard errors
LEAST = 5  # classes: with fewer there is no telling how much classes differ


def hopeless(mine: ArrayLike, best: ArrayLike, classes: ArrayLike, seeds: float = 0.0) -> str | None:
    """Why a configuration needs no more seeds, from the first one's scores; None where it may have them.

    Both have answered the same queries, so what counts is the difference query by query: that some are
    hard for anybody takes no part in it. Queries of one class succeed and fail together, hence the
    standard error is clustered by class: with s_g the sum of the differences of class g less their mean,
    G classes and n queries, √(G / (G - 1) Σ s_g²) / n. Behind by more than 3 of these, as a t of G - 1
    degrees of freedom has them, is hopeless: one in 740 of those that are as good in truth.

    Queries tell nothing of how a configuration varies from seed to seed. Where that is known it is added.

    Args:
        mine: `(n,)` scores of its first seed by query, higher is better; NaN where a query has none.
        best: `(n,)` those of the best configuration, for the same queries in the same order.
        classes: `(n,)` the class of each query.
        seeds: the standard deviation of the objective between seeds of one configuration.
    """
    from scipy.special import ndtr, stdtrit  # late: slow to import

    ahead, groups = _paired(mine, best, classes)
    count = groups.max(initial=-1) + 1
    if count < LEAST:
        return None
    mean = float(ahead.mean())
    sums = np.bincount(groups, weights=ahead - mean)
    error = float(np.sqrt(count / (count - 1) * (sums**2).sum())) / len(ahead)
    # As rare under t as 3 standard errors are under the normal: 6.6 with 5 classes, 3.3 with 30.
    wanted = float(stdtrit(count - 1, ndtr(BEHIND)))
    bound = float(np.hypot(wanted * error, BEHIND * np.sqrt(2) * seeds))
    if mean <= bound or mean <= 0:
        return None
    return (
        f"hopeless: {mean:.3g} behind the best on the same {len(ahead):,} queries after the first seed, "
        f"where {bound:.2g} could be chance"
    )


def _paired(
    mine: ArrayLike, best: ArrayLike, classes: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """How far the best is ahead, and the class, of each query that both have a score for."""
    ahead = np.asarray(best, float) - np.asarray(mine, float)
    kept = np.isfinite(ahead)
    _, groups = np.unique(np.asarray(classes)[kept], return_inverse=True)
    return ahead[kept], groups.astype(np.int64)
