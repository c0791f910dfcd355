"""Geometry: the rank, width and dimension of embeddings, hubness, and the spread of classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError
from siamkit.evaluation.distances import Euclidean, is_cosine, is_euclidean, unit
from siamkit.evaluation.neighbors import nearest_neighbors
from siamkit.evaluation.scan import Accumulator, Chunk, Histogram, Queries

SAMPLE = 10_000
"""The maximum number of items used for uniformity and intrinsic dimension."""

HUB_DEPTH = 10
"""The number of nearest items within which an item is counted for hubness."""

CHUNK = 1 << 22
"""The number of values converted to float64 at a time."""

MIN_SPREAD = 0.01
"""The spread below which embeddings are one point."""

MIN_RANK = 1.1
"""The effective rank below which embeddings are on a line."""

MIN_DIM_FOR_RANK = 4
"""The number of dimensions from which on a line is a fault: of two or three, a good embedding can use one."""

ROUNDING = 1e-6  # a smaller spread is rounding of float32


def effective_rank(embeddings: ArrayLike) -> float:
    """Return the effective number of directions: from 1, on a line, to dim, for equal spread in all.

    exp(H(p)), where H is the entropy of p_i = σ_i / Σσ, and σ are the singular values of the embeddings minus
    their mean (Roy & Vetterli 2007, "The effective rank: a measure of effective dimensionality", who do not
    subtract the mean). 0 if all embeddings are one point. k tight clusters have at most k - 1: with few
    classes a low rank alone is not a fault.

    Args:
        embeddings: `(n, dim)`, or `(n, views, dim)`, where each view counts as an item.

    Example:
        >>> from siamkit.evaluation import effective_rank
        >>> effective_rank([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]])
        1.0
    """
    covariance, square = _moments(embeddings)
    return _rank(covariance, square)


def spread(embeddings: ArrayLike) -> float:
    """Return the relative width, in [0, 1]: √(total variance) / √(mean squared norm).

    0 if all embeddings are one point, 1 if their mean is zero. For unit vectors √(1 - |mean|²).

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
    """Return `effective_rank` and `spread`, computed in one pass."""
    covariance, square = _moments(embeddings)
    return {"effective_rank": _rank(covariance, square), "spread": _spread(covariance, square)}


def degenerate(measures: Mapping[str, float], dim: int) -> Literal["point", "line"] | None:
    """Return what embeddings of some dimension have shrunk to, by their `spread` and `effective_rank`."""
    if measures["spread"] < MIN_SPREAD:
        return "point"
    return "line" if measures["effective_rank"] < MIN_RANK and dim >= MIN_DIM_FOR_RANK else None


def geometry_measures(
    embeddings: NDArray[np.float32],
    ids: NDArray[np.int64] | None = None,
    seed: int = 0,
    *,
    cosines: Histogram | None = None,
    nearest: NDArray[np.integer] | None = None,
) -> dict[str, float]:
    r"""Return measures of the geometry of embeddings, by the Euclidean distance for any metric.

    With u = x / |x|:

    - `effective_rank` and `spread`, as the functions of that name;
    - `uniformity`: log of the mean of exp(-2 |u - u'|²) over pairs (Wang and Isola 2020,
      https://arxiv.org/abs/2005.10242); 0 if all are equal, -4 if they fill a sphere of many dimensions;
    - `alignment`: the mean of |u - u'|² over pairs of one class (the same paper);
    - `anisotropy`: the mean of u · u' over pairs (Ethayarajh 2019, https://arxiv.org/abs/1909.00512);
    - `norm_spread`: the standard deviation of |x| divided by its mean;
    - `intrinsic_dimension`: from the ratio of the distances to the first two neighbors, by maximum likelihood
      (Facco et al. 2017, "Estimating the intrinsic dimension of datasets by a minimal neighborhood
      information"); NaN if all items have duplicates;
    - `class_ratio`: the root mean square of |x - x'| over pairs of one class, divided by that over pairs of
      two classes.

    With more than 10,000 items, uniformity and intrinsic dimension are those of 10,000 random ones.

    Args:
        embeddings: `(n, dim)`.
        ids: `(n,)`, class ids; without them alignment and class ratio are omitted.
        seed: seed of the random items.
        cosines: the negated cosines of all pairs, for `uniformity`, if they are known.
        nearest: `(n, 2)`, the nearest two of each item, for `intrinsic_dimension`, if they are known.
    """
    measures = shape_measures(embeddings)
    norms = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    sphere = unit(embeddings).astype(np.float32)
    sample = np.arange(len(embeddings))
    if len(sample) > SAMPLE:
        sample = np.sort(np.random.default_rng(seed).choice(len(sample), SAMPLE, replace=False))
    total = sphere.sum(axis=0, dtype=np.float64)
    pairs = len(sphere) * (len(sphere) - 1)
    squares = float((sphere.astype(np.float64) ** 2).sum())
    measures["anisotropy"] = float((total @ total - squares) / pairs)
    measures["norm_spread"] = float(norms.std() / norms.mean()) if norms.any() else 0.0
    measures["uniformity"] = _uniformity(sphere[sample]) if cosines is None else _uniformity_of(cosines)
    measures["intrinsic_dimension"] = _intrinsic_dimension(embeddings[sample], nearest)
    if ids is not None:
        measures["alignment"] = _squares(sphere, ids)[0]
        inside, between = _squares(embeddings, ids)
        measures["class_ratio"] = float(np.sqrt(inside / between)) if between > 0 else math.nan
    return measures


class Occurrences(Accumulator):
    """Counts how often each item of a gallery is among the nearest of a query."""

    def __init__(self, gallery: int) -> None:
        self._counts = np.zeros(gallery, np.int64)
        self._near: list[NDArray[np.int32]] = []

    def depth(self, relevant: int, findable: int) -> int:
        return HUB_DEPTH

    def add(self, chunk: Chunk) -> None:
        near = chunk.order[:, :HUB_DEPTH]
        self._counts += np.bincount(near.ravel(), minlength=len(self._counts))
        if len(self._counts) <= SAMPLE:
            self._near.append(near.astype(np.int32))

    def nearest_two(self, queries: Queries) -> NDArray[np.integer] | None:
        """Return the two nearest items `(n, 2)` by the Euclidean distance, if they follow from the search."""
        metric, vectors = queries.metric, queries.vectors
        if not queries.within or not self._near or len(vectors) < 3:
            return None
        near = np.concatenate(self._near)
        if is_euclidean(metric, vectors):
            return near[:, :2]
        return _nearest_two(vectors, near) if is_cosine(metric, vectors) else None

    def measures(self) -> dict[str, float]:
        """Return `hubness`, the skewness of the counts (Radovanović, Nanopoulos and Ivanović 2010)."""
        return {"hubness": _skewness(self._counts)}


# ------------------------------------------------------------------ parts


def _squares(vectors: NDArray[np.float32], ids: NDArray[np.int64]) -> tuple[float, float]:
    """Return the mean of |x - x'|² over pairs of one class, and over pairs of two; NaN without such pairs.

    Computed from sums: over the pairs of n vectors, each counted twice, the total is 2 (n Σ|x|² - |Σx|²).
    """
    order = np.argsort(ids, kind="stable")
    centered = vectors - vectors.mean(axis=0)  # else small differences would vanish in large sums
    starts = np.flatnonzero(np.diff(ids[order], prepend=-1))
    wide = centered[order].astype(np.float64)
    sums, squares = (np.add.reduceat(each, starts) for each in (wide, np.einsum("nd,nd->n", wide, wide)))
    counts = np.diff(np.append(starts, len(ids)))
    inside = 2 * float((counts * squares - (sums**2).sum(axis=1)).sum())
    total = 2 * float(len(ids) * squares.sum() - (sums.sum(axis=0) ** 2).sum())
    pairs_inside, pairs = int((counts * (counts - 1)).sum()), len(ids) * (len(ids) - 1)
    return (
        max(inside, 0.0) / pairs_inside if pairs_inside else math.nan,
        max(total - inside, 0.0) / (pairs - pairs_inside) if pairs > pairs_inside else math.nan,
    )


def _uniformity(unit: NDArray[np.float32]) -> float:
    side, total = 512, 0.0
    for top in range(0, len(unit), side):
        block = 4 * unit[top : top + side]
        for left in range(top, len(unit), side):
            values = np.exp(block @ unit[left : left + side].T)  # exp(-2 |u - u'|²) = exp(4 u·u' - 4)
            pairs = float(values.sum(dtype=np.float64))
            # On the diagonal each pair counts twice, and each item with itself.
            itself = float(np.trace(values, dtype=np.float64))
            total += pairs if left > top else (pairs - itself) / 2
    pairs = len(unit) * (len(unit) - 1) // 2
    return float(np.log(total / pairs)) - 4 if pairs else math.nan


def _uniformity_of(cosines: Histogram) -> float:
    centers, alike, unlike = cosines.counts()
    pairs = alike + unlike
    return float(np.log((pairs * np.exp(-4 * centers - 4)).sum() / pairs.sum()))


def _nearest_two(vectors: NDArray[np.float32], near: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the two nearest of each item by the Euclidean distance, given those `(n, k)` of highest cosine.

    Any other item b has at most the lowest of these cosines, c, so |a - b|² ≥ |a|² + r² - 2 |a| r c for some
    length r between the shortest and the longest. If that is not above the second distance, all are searched.
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    shortest, longest = float(lengths.min()), float(lengths.max())
    found, proven = np.empty((len(vectors), 2), np.int64), np.zeros(len(vectors), bool)
    size = max(1, CHUNK // near[0].size // vectors.shape[1])
    for start in range(0, len(vectors), size):
        rows = slice(start, start + size)
        wide, items = vectors[rows, None].astype(np.float64), np.sort(near[rows], axis=1)
        others = vectors[items].astype(np.float64)
        products = np.matmul(others, wide.swapaxes(1, 2))[:, :, 0]
        own = lengths[rows]
        with np.errstate(invalid="ignore", divide="ignore"):  # a zero vector is not proven
            lowest = (products / lengths[items]).min(axis=1) / own
        others -= wide
        squares = np.einsum("qcd,qcd->qc", others, others)
        order = squares.argsort(axis=1, kind="stable")[:, :2]
        found[rows] = np.take_along_axis(items, order, axis=1)
        second = np.take_along_axis(squares, order[:, 1:], axis=1)[:, 0]
        closest = np.clip(own * lowest, shortest, longest)
        bound = own**2 + closest**2 - 2 * own * closest * lowest
        proven[rows] = second < bound - 1e-5 * (own + longest) ** 2  # more than rounding of float32
    rest = np.flatnonzero(~proven)
    if rest.size:
        found[rest], _ = nearest_neighbors(vectors[rest], vectors, Euclidean(), 2, exclude=rest)
    return found


def _intrinsic_dimension(vectors: NDArray[np.float32], nearest: NDArray[np.integer] | None = None) -> float:
    if len(vectors) < 3:
        return math.nan
    metric, itself = Euclidean(), np.arange(len(vectors))
    if nearest is None:
        nearest, _ = nearest_neighbors(vectors, vectors, metric, 2, exclude=itself)
    first, second = (metric(vectors, vectors[nearest[:, rank]]) for rank in range(2))
    distinct = first > 0  # the ratio of a duplicate is undefined
    logs = float(np.log(second[distinct] / first[distinct]).sum())
    return float(distinct.sum() / logs) if logs > 0 else math.nan


def _rank(covariance: NDArray[np.float64], square: float) -> float:
    if _spread(covariance, square) < ROUNDING:
        return 0.0
    singular = np.sqrt(np.clip(np.linalg.eigvalsh(covariance), 0, None))
    shares = singular / singular.sum()
    # A zero becomes up to 1e-8 of the largest value after eigvalsh and the square root: not a direction.
    shares = shares[shares > 1e-7]
    return round(float(np.exp(-(shares * np.log(shares)).sum())), 9)


def _spread(covariance: NDArray[np.float64], square: float) -> float:
    return min(1.0, float(np.sqrt(np.trace(covariance) / square))) if square > 0 else 0.0


def _moments(embeddings: ArrayLike) -> tuple[NDArray[np.float64], float]:
    """Return the covariance and the mean squared norm, computed in float64 for a few rows at a time."""
    array = np.asarray(embeddings)
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise DataError(f"embeddings should be (n, dim) or (n, views, dim), got {array.shape}")
    rows = array.reshape(-1, array.shape[-1])
    if not np.isfinite(rows).all():
        raise DataError("the embeddings contain NaN or infinity")
    size = max(1, CHUNK // rows.shape[1])
    chunks = [slice(start, start + size) for start in range(0, len(rows), size)]
    mean = sum(rows[chunk].sum(axis=0, dtype=np.float64) for chunk in chunks) / len(rows)
    covariance = np.zeros((rows.shape[1], rows.shape[1]))
    for chunk in chunks:
        centered = rows[chunk].astype(np.float64) - mean
        covariance += centered.T @ centered
    covariance /= len(rows)
    return covariance, float(np.trace(covariance) + (np.asarray(mean) ** 2).sum())


def _skewness(counts: NDArray[np.int64]) -> float:
    deviations = counts - counts.mean()
    variance = float((deviations**2).mean())
    return float((deviations**3).mean() / variance**1.5) if variance else 0.0
