"""The shape of a cloud of embeddings: directions, width, dimension, and how classes lie in it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError

SAMPLE = 10_000
"""Items at most from which uniformity and intrinsic dimension are taken."""

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


def shape_measures(embeddings: ArrayLike) -> dict[str, float]:
    """`effective_rank` and `spread` in one pass."""
    covariance, square = _moments(embeddings)
    return {"effective_rank": _rank(covariance, square), "spread": _spread(covariance, square)}


def geometry_measures(
    embeddings: NDArray[np.float32], ids: NDArray[np.int64] | None = None, seed: int = 0
) -> dict[str, float]:
    r"""How embeddings lie, by Euclid's distance whatever the metric.

    With u = x / |x|:

    - `effective_rank` and `spread`, as the functions of that name;
    - `uniformity`: log of the mean of exp(-2 |u - u'|²) over pairs (Wang and Isola 2020,
      https://arxiv.org/abs/2005.10242); 0 where all are one, -4 where they fill a sphere of many dimensions;
    - `alignment`: the mean of |u - u'|² over pairs of one class (the same paper);
    - `anisotropy`: the mean of u · u' over pairs (Ethayarajh 2019, https://arxiv.org/abs/1909.00512);
    - `norm_spread`: the standard deviation of |x|, of its mean;
    - `intrinsic_dimension`: by the ratio of the distances to the first two neighbours (Facco et al. 2017,
      "Estimating the intrinsic dimension of datasets by a minimal neighborhood information"), by maximum
      likelihood; NaN where all have twins;
    - `class_ratio`: the root mean square of |x - x'| over pairs of one class, of that over pairs of two.

    Uniformity and intrinsic dimension are those of 10,000 items drawn by seed where there are more.

    Args:
        embeddings: `(n, dim)`.
        ids: `(n,)`, classes; without them alignment and class ratio are left out.
        seed: of the draw.
    """
    found = shape_measures(embeddings)
    norms = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    sphere = unit(embeddings).astype(np.float32)
    some = np.arange(len(embeddings))
    if len(some) > SAMPLE:
        some = np.sort(np.random.default_rng(seed).choice(len(some), SAMPLE, replace=False))
    whole = sphere.sum(axis=0, dtype=np.float64)
    pairs = len(sphere) * (len(sphere) - 1)
    squares = float((sphere.astype(np.float64) ** 2).sum())
    found["anisotropy"] = float((whole @ whole - squares) / pairs)
    found["norm_spread"] = float(norms.std() / norms.mean()) if norms.any() else 0.0
    found["uniformity"] = _uniformity(sphere[some])
    found["intrinsic_dimension"] = _intrinsic_dimension(embeddings[some])
    if ids is not None:
        found["alignment"] = _squares(sphere, ids)[0]
        inside, between = _squares(embeddings, ids)
        found["class_ratio"] = float(np.sqrt(inside / between)) if between > 0 else math.nan
    return found


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Vectors `(n, dim)` of length 1; a zero stays one."""
    wide = vectors.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(wide / np.where(norms > 0, norms, 1), np.float64)


def _squares(vectors: NDArray[np.float32], ids: NDArray[np.int64]) -> tuple[float, float]:
    """The mean of |x - x'|² over pairs of one class, and of two; NaN where there are none.

    From sums alone: over the pairs of any n vectors, each twice, it adds up to 2 (n Σ|x|² - |Σx|²).
    """
    order = np.argsort(ids, kind="stable")
    centred = vectors - vectors.mean(axis=0)  # sums of large numbers would leave nothing of small ones
    starts = np.flatnonzero(np.diff(ids[order], prepend=-1))
    sums = np.add.reduceat(centred[order].astype(np.float64), starts)
    squares = np.add.reduceat((centred[order].astype(np.float64) ** 2).sum(axis=1), starts)
    counts = np.diff(np.append(starts, len(ids)))
    inside = 2 * float((counts * squares - (sums**2).sum(axis=1)).sum())
    total = 2 * float(len(ids) * squares.sum() - (sums.sum(axis=0) ** 2).sum())
    pairs_inside, pairs = int((counts * (counts - 1)).sum()), len(ids) * (len(ids) - 1)
    return (
        max(inside, 0.0) / pairs_inside if pairs_inside else math.nan,
        max(total - inside, 0.0) / (pairs - pairs_inside) if pairs > pairs_inside else math.nan,
    )


def _uniformity(unit: NDArray[np.float32]) -> float:
    size = max(1, CHUNK // len(unit))
    total = 0.0
    for start in range(0, len(unit), size):
        cosines = unit[start : start + size] @ unit.T
        total += float(np.exp(4 * np.minimum(cosines, 1) - 4).sum(dtype=np.float64))  # |u - u'|² = 2 - 2 u·u'
    itself = float(np.exp(4 * (unit.astype(np.float64) ** 2).sum(axis=1) - 4).sum())
    pairs = len(unit) * (len(unit) - 1)
    return float(np.log((total - itself) / pairs)) if pairs else math.nan


def _intrinsic_dimension(vectors: NDArray[np.float32]) -> float:
    if len(vectors) < 3:
        return math.nan
    from sklearn.neighbors import NearestNeighbors  # late: slow to import

    near = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(vectors.astype(np.float64))
    distances, _ = near.kneighbors()
    first, second = distances.T
    apart = first > 0  # a twin's ratio says nothing
    logs = float(np.log(second[apart] / first[apart]).sum())
    return float(apart.sum() / logs) if logs > 0 else math.nan


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
