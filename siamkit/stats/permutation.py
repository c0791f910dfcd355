"""Whether chance alone would do: the paired permutation test."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.stats import _resampling
from siamkit.stats.bootstrap import RESAMPLES, Sample, Unit


def permutation_p(
    a: ArrayLike,
    b: ArrayLike,
    *,
    classes: ArrayLike | None = None,
    mean: Unit = "queries",
    over: Unit = "queries",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> float:
    """The p-value of a paired permutation test, two-sided: how often chance alone does as much.

    If the contenders were the same, each query's two scores (or all scores of a class together) could
    as well be the other way round: p is the share of ways to swap them in which |difference| is at least
    the one seen. All ways are gone through where they are at most twice `resamples` (14 units that differ,
    at 10,000); otherwise ways are drawn, and p = (1 + as large) / (1 + drawn), which is never 0 (Phipson
    and Smyth, "Permutation P-values Should Never Be Zero", 2010). It works with any number of units,
    though with few p cannot be small.

    Args:
        a, b, classes, mean, over, resamples, seed: as in `siamkit.stats._paired.compare_queries`, but
            few classes will do.

    Example:
        >>> from siamkit.stats.permutation import permutation_p
        >>> permutation_p([0, 0, 0, 0, 0], [1, 1, 1, 1, 1])  # 2 of 2^5 ways
        0.0625
    """
    _resampling.generator(seed, resamples)
    sample = Sample.of({"a": a, "b": b}, classes, mean, over, drawn=False)
    return flipped(sample.shares(sample.scores[1] - sample.scores[0]), resamples, seed)


def flipped(shares: NDArray[np.float64], resamples: int, seed: int) -> float:
    """The p-value of what each unit adds to the difference."""
    shares = shares[shares != 0]  # a zero turned round stays what it is
    if not shares.size:
        return 1.0
    # As large, also where the sum is another way round only in its rounding.
    least = abs(shares.sum()) - 1e-9 * np.abs(shares).sum()
    if 2 ** (len(shares) - 1) <= resamples:
        return float(
            np.mean(np.abs(shares.sum() - 2 * _resampling.every_flip(len(shares)) @ shares) >= least)
        )
    rng = np.random.default_rng([seed, 1])  # other chance than the interval's
    drawn = _resampling.flips(len(shares), resamples, rng)
    as_large = sum(int(np.sum(np.abs(shares.sum() - 2 * part @ shares) >= least)) for part in drawn)
    return (1 + as_large) / (1 + resamples)
