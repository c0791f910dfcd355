"""The paired permutation test."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from siamkit.stats.resampling import chunk_sizes

_BITS = 64


def permutation_p(shares: NDArray[np.float64], resamples: int, seed: int) -> float:
    """Return the two-sided p-value of a paired permutation test.

    If two embeddings were equally good, the two scores of each unit could just as well be swapped. p is the
    share of swaps in which |difference| is at least the observed one. All swaps are counted if there are at
    most twice `resamples` of them (14 units that differ, with 10,000 resamples). Otherwise swaps are drawn,
    and p = (1 + as large) / (1 + drawn), which is never 0 (Phipson and Smyth, "Permutation P-values Should
    Never Be Zero", 2010). The test works with any number of units, though p cannot be small with few.

    Args:
        shares: `(units,)`, how much each unit adds to the difference.
        resamples: the most swaps to draw.
        seed: of the swaps drawn.

    Example:
        >>> import numpy as np
        >>> permutation_p(np.ones(5), resamples=1000, seed=0)  # 2 of 2^5 swaps
        0.0625
    """
    shares = shares[shares != 0]  # swapping equal scores changes nothing
    if not shares.size:
        return 1.0
    # Sums that differ from the observed one by rounding only count as equal to it.
    least = abs(shares.sum()) - 1e-9 * np.abs(shares).sum()
    if 2 ** (len(shares) - 1) <= resamples:
        return float(np.mean(np.abs(shares.sum() - 2 * all_flips(len(shares)) @ shares) >= least))
    rng = np.random.default_rng([seed, 1])  # a stream of its own, independent of the interval's
    flips = random_flips(len(shares), resamples, rng)
    as_large = sum(int(np.sum(np.abs(shares.sum() - 2 * chunk @ shares) >= least)) for chunk in flips)
    return (1 + as_large) / (1 + resamples)


def random_flips(units: int, resamples: int, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """Yield which units are swapped in each resample: 1 or 0, equally likely.

    Args:
        units: the number of units.
        resamples: the number of rows in all.
        rng: the random generator.

    Yields:
        Ones and zeros `(rows, units)` in float64, for a few resamples at a time.

    Example:
        >>> import numpy as np
        >>> next(random_flips(3, 2, np.random.default_rng(0))).shape
        (2, 3)
    """
    words = -(-units // _BITS)
    for rows in chunk_sizes(resamples, words * _BITS):
        drawn = rng.integers(0, 2**_BITS, (rows, words), dtype=np.uint64)
        bits = np.unpackbits(drawn.astype("<u8").view(np.uint8), axis=1, count=units, bitorder="little")
        yield bits.astype(np.float64)


def all_flips(units: int) -> NDArray[np.float64]:
    """Return all ways to swap units, the first never swapped: `(2**(units - 1), units)` of ones and zeros.

    Swapping the first as well gives each way a second time with the opposite sign.
    """
    flips = np.arange(2 ** (units - 1))[:, None] >> np.arange(units - 1) & 1
    return np.pad(flips, ((0, 0), (1, 0))).astype(np.float64)
