"""The shape of a cloud of embeddings: in how many directions it lies, and how wide it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError

CHUNK = 1 << 22  # numbers turned into float64 at a time
ROUNDING = 1e-6  # below this spread the differences are those of float32's own rounding


def effective_rank(embeddings: ArrayLike) -> float:
    """In how many directions embeddings differ: from 1, on a line, to dim, alike in all.

    exp(H(p)) with H the entropy of p_i = σ_i / Σσ, and σ the singular values of the embeddings less their
    mean (Roy & Vetterli 2007, "The effective rank: a measure of effective dimensionality", who leave the
    mean in). 0 where all embeddings are one point. k tight clusters have k - 1 at most: a low rank alone
    says nothing against embeddings of few classes.

    Args:
        embeddings: `(n, dim)`, or `(n, views, dim)` of which each view counts as an item.

    Example:
        >>> from siamkit.evaluation import effective_rank
        >>> effective_rank([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]])
        1.0
    """
    covariance, square = _moments(embeddings)
    return _rank(covariance, square)


def spread(embeddings: ArrayLike) -> float:
    """How wide embeddings lie, in [0, 1]: √(total variance) / √(mean squared norm).

    0 where all are one point, 1 where their mean is zero. For unit vectors √(1 - |mean|²).

    Args:
        embeddings: `(n, dim)`, or `(n, views, dim)`.

    Example:
        >>> from siamkit.evaluation import spread
        >>> spread([[1.0, 0.0], [-1.0, 0.0]])
        1.0
    """
    covariance, square = _moments(embeddings)
    return _spread(covariance, square)


def shape_figures(embeddings: ArrayLike) -> dict[str, float]:
    """`effective_rank` and `spread` in one pass."""
    covariance, square = _moments(embeddings)
    return {"effective_rank": _rank(covariance, square), "spread": _spread(covariance, square)}


def _rank(covariance: NDArray[np.float64], square: float) -> float:
    if _spread(covariance, square) < ROUNDING:
        return 0.0
    singular = np.sqrt(np.clip(np.linalg.eigvalsh(covariance), 0, None))
    shares = singular / singular.sum()
    # What is left of a zero after eigvalsh is 1e-8 of the largest after the root: no direction.
    shares = shares[shares > 1e-7]
    return round(float(np.exp(-(shares * np.log(shares)).sum())), 9)


def _spread(covariance: NDArray[np.float64], square: float) -> float:
    return min(1.0, float(np.sqrt(np.trace(covariance) / square))) if square > 0 else 0.0


def _moments(embeddings: ArrayLike) -> tuple[NDArray[np.float64], float]:
    """The covariance, and the mean squared norm; a few rows at a time, in float64."""
    array = np.asarray(embeddings)
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise DataError(f"embeddings should be (n, dim) or (n, views, dim), got {array.shape}")
    rows = array.reshape(-1, array.shape[-1])
    if not np.isfinite(rows).all():
        raise DataError("the embeddings are not all numbers")
    size = max(1, CHUNK // rows.shape[1])
    chunks = [slice(start, start + size) for start in range(0, len(rows), size)]
    mean = sum(rows[chunk].sum(axis=0, dtype=np.float64) for chunk in chunks) / len(rows)
    covariance = np.zeros((rows.shape[1], rows.shape[1]))
    for chunk in chunks:
        centred = rows[chunk].astype(np.float64) - mean
        covariance += centred.T @ centred
    covariance /= len(rows)
    return covariance, float(np.trace(covariance) + (np.asarray(mean) ** 2).sum())
