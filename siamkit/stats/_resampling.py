"""How units are drawn again: the counts of a bootstrap, the flips of a permutation test.

A unit is what would be new if everything were done once more: a query or an item, or a whole class
(a cluster) with all that belongs to it. Whatever is drawn comes as an array of a few resamples at a
time, so that memory is bounded, and as one stream of the generator, so that the answers depend on the
seed alone and not on the portions.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError
from siamkit.evaluation import _checks

LEAST_CLASSES = 20
"""Classes below which none are drawn again: their spread is not known well enough for an interval."""

LEAST = 10
"""Other units below which none are drawn again: their quantiles would lie beyond all resamples."""

CHUNK = 2**20
"""Numbers held at once, resamples by units (or by pairs)."""

_BITS = 64


def weights(
    units: int, resamples: int, rng: np.random.Generator, *, width: int = 0
) -> Iterator[NDArray[np.float64]]:
    """How often every unit is drawn in each resample of a bootstrap.

    A row is multinomial: as many draws as there are units, each unit as likely as any other.

    Args:
        units: how many units there are.
        resamples: how many rows in all.
        rng: where chance comes from.
        width: numbers made of one row further on, where they are more than the units.

    Yields:
        Counts `(rows, units)`, whole numbers in float64, of a few resamples at a time.

    Example:
        >>> import numpy as np
        >>> from siamkit.stats._resampling import weights
        >>> [counts.sum(axis=1).tolist() for counts in weights(4, 3, np.random.default_rng(0))]
        [[4.0, 4.0, 4.0]]
    """
    most = _rows(max(units, width))
    for start in range(0, resamples, most):
        rows = min(most, resamples - start)
        drawn = rng.integers(0, units, (rows, units))
        drawn += np.arange(rows)[:, None] * units
        counts = np.bincount(drawn.ravel(), minlength=rows * units)
        yield counts.reshape(rows, units).astype(np.float64)


def smooth_weights(
    units: int, resamples: int, rng: np.random.Generator, *, width: int = 0
) -> Iterator[NDArray[np.float64]]:
    """Weights of mean 1 and variance 1, independent of each other, as `weights` yields counts.

    They are exponential: those of a Bayesian bootstrap (Rubin, Annals of Statistics 1981) but for a factor
    a row, which no figure sees.
    """
    most = _rows(max(units, width))
    for start in range(0, resamples, most):
        yield rng.standard_exponential((min(most, resamples - start), units))


def flips(units: int, resamples: int, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """Which units are flipped in each resample of a permutation test: 1 or 0, as likely as each other.

    Args:
        units: how many units there are.
        resamples: how many rows in all.
        rng: where chance comes from.

    Yields:
        Ones and zeros `(rows, units)` in float64, of a few resamples at a time.

    Example:
        >>> import numpy as np
        >>> from siamkit.stats._resampling import flips
        >>> next(flips(3, 2, np.random.default_rng(0))).shape
        (2, 3)
    """
    words = -(-units // _BITS)
    most = _rows(words * _BITS)
    for start in range(0, resamples, most):
        drawn = rng.integers(0, 2**_BITS, (min(most, resamples - start), words), dtype=np.uint64)
        bits = np.unpackbits(drawn.astype("<u8").view(np.uint8), axis=1, count=units, bitorder="little")
        yield bits.astype(np.float64)


def every_flip(units: int) -> NDArray[np.float64]:
    """All ways to flip the units, the first of them never: `(2**(units - 1), units)` of ones and zeros.

    With the first flipped too, each would come a second time with all signs turned round.
    """
    ways = np.arange(2 ** (units - 1))[:, None] >> np.arange(units - 1) & 1
    return np.pad(ways, ((0, 0), (1, 0))).astype(np.float64)


def item_weights(counts: NDArray[np.float64], classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """What drawn classes are to their items: each comes as often as its class.

    Args:
        counts: `(rows, classes)`, from `weights`.
        classes: `(items,)`, the class of each item as 0, 1, …

    Returns:
        `(rows, items)`.
    """
    return counts[:, classes]


def pair_weights(
    counts: NDArray[np.float64], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float64]:
    """What drawn units are to pairs: w_i · w_j for a pair of two units, w_i for a pair within one.

    A unit drawn w times is w units. A pair of it and another exists once for each couple of their
    copies; a pair within it (two items of one class, where classes are drawn) once for each copy, since
    copies have nothing to do with each other. Owen, "The pigeonhole bootstrap", Annals of Applied
    Statistics 2007, shows that products of weights overstate the variance; `pair_sample` puts that right.

    Args:
        counts: `(rows, units)`, from `weights`.
        first, second: `(pairs,)`, the two units of every pair as 0, 1, …

    Returns:
        `(rows, pairs)`.

    Example:
        >>> import numpy as np
        >>> from siamkit.stats._resampling import pair_weights
        >>> pair_weights(np.array([[2.0, 3.0]]), np.array([0, 1]), np.array([1, 1])).tolist()
        [[6.0, 3.0]]
    """
    found = np.take(counts, first, axis=1)
    found *= np.take(counts, second, axis=1)
    within = np.flatnonzero(first == second)
    found[:, within] = counts[:, first[within]]
    return found


def enough(count: int, over: str) -> None:
    """Refuses to draw units again that are fewer than `LEAST`, or `LEAST_CLASSES` of classes."""
    if over == "classes":
        enough_classes(count)
    elif count < LEAST:
        raise DataError(f"an interval over {over} wants at least {LEAST} of them, got {count}")


def enough_classes(count: int) -> None:
    """Refuses to draw classes again that are fewer than `LEAST_CLASSES`."""
    if count < LEAST_CLASSES:
        raise DataError(
            f"an interval over classes wants at least {LEAST_CLASSES} of them, got {count}: evaluate on a "
            "split with more classes, or ask over queries, items or pairs, which holds for these classes only"
        )


def class_ids(classes: ArrayLike, length: int) -> NDArray[np.int64]:
    """Classes of any type `(length,)` as ids 0, 1, …"""
    return _checks.classes(_checks.column(classes, length, name="classes"))[0]


def generator(seed: int, resamples: int) -> np.random.Generator:
    """The generator of a seed, once the number of resamples is seen to be enough for an interval."""
    if _checks.whole(resamples, name="resamples") < 100:
        raise DataError(f"resamples should be at least 100, got {resamples}")
    return np.random.default_rng(seed)


def _rows(width: int) -> int:
    return max(1, CHUNK // width)
