"""Similarity of two embeddings of the same items."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError
from siamkit.evaluation.checks import as_array, as_vectors, positive_int
from siamkit.evaluation.distances import Metric, paired_distances
from siamkit.evaluation.neighbors import nearest_neighbors
from siamkit.evaluation.plain_metrics import plain_metric

CHUNK = 2**22
"""Numbers turned into float64 at a time."""


def linear_cka(x: ArrayLike, y: ArrayLike, *, debiased: bool = True) -> float:
    """Linear centred kernel alignment of two embeddings: 1 for the same up to rotation and scale, 0 for none.

    With X and Y centred, CKA = HSIC(X, Y) / √(HSIC(X, X) · HSIC(Y, Y)), HSIC(X, Y) ∝ |XᵀY|²_F (Kornblith,
    Norouzi, Lee and Hinton, "Similarity of Neural Network Representations Revisited", ICML 2019). This HSIC
    is biased up: embeddings that have nothing to do with each other get near 1 where dims are not far
    fewer than items. By default it is the unbiased one (Song, Smola, Gretton, Bedo and Borgwardt, "Feature
    Selection via Dependence Maximization", JMLR 2012; for CKA: Nguyen, Raghu and Kornblith, "Do Wide and
    Deep Networks Learn the Same Things?", ICLR 2021), in which no item is compared with itself:

    n (n - 3) · HSIC = |XᵀY|²_F - n / (n - 2) · Σ |x_i|² |y_i|² + Σ |x_i|² · Σ |y_i|² / ((n - 1) (n - 2)).

    It may fall a little below 0 or above 1. Memory is dim by dim, never items by items. CKA is swayed by the
    few directions of the largest variance.

    Args:
        x: `(n, dim)`.
        y: `(n, other dim)`, of the same items in the same order.
        debiased: whether with the unbiased HSIC; `False` gives the figure of most papers.

    Returns:
        NaN if all items of one are a single point, or, unbiased, no more alike than chance would have them.

    Raises:
        DataError: if they are no such arrays, or have fewer than 4 items.

    Example:
        >>> import numpy as np
        >>> from siamkit.comparison.similarity import linear_cka
        >>> x, y = np.random.default_rng(0).normal(size=(2, 100, 50))
        >>> round(linear_cka(x, -2 * x[:, ::-1]), 6), abs(linear_cka(x, y)) < 0.1
        (1.0, True)
        >>> linear_cka(x, y, debiased=False) > 0.3
        True
    """
    moments = _Moments.of(x, y)
    if not moments.total_x or not moments.total_y:
        return math.nan
    if not debiased:
        return _ratio(moments.xy, moments.xx, moments.yy)
    of_xy = moments.unbiased(moments.xy, moments.squares_xy, moments.total_x, moments.total_y)
    of_xx = moments.unbiased(moments.xx, moments.squares_xx, moments.total_x, moments.total_x)
    of_yy = moments.unbiased(moments.yy, moments.squares_yy, moments.total_y, moments.total_y)
    return _ratio(of_xy, of_xx, of_yy)


def procrustes_distance(x: ArrayLike, y: ArrayLike) -> float:
    """What is left between two embeddings when one is turned onto the other, in [0, √2].

    With X and Y centred and scaled to the norm 1 (zeros fill up the smaller dim), the least |X - Y Q|_F
    over all rotations and reflections Q, which is √(2 - 2 |XᵀY|_*), of the sum of singular values. It is
    a metric: 0 only for the same shape, and the triangle inequality holds (Williams, Kunz, Kornblith and
    Linderman, "Generalized Shape Metrics on Neural Representations", NeurIPS 2021; their angle is
    2 · arcsin(d / 2)). Its square is the distance of Ding, Denain and Steinhardt, "Grounding
    Representation Similarity with Statistical Testing", NeurIPS 2021. Where dims are not far fewer than
    items, a rotation is found that brings anything near anything: compare it with that of
    embeddings that have nothing to do with each other.

    Args:
        x: `(n, dim)`.
        y: `(n, other dim)`, of the same items in the same order.

    Returns:
        NaN if all items of one are a single point.

    Raises:
        DataError: if they are no such arrays.

    Example:
        >>> from siamkit.comparison.similarity import procrustes_distance
        >>> square = [[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]]
        >>> turned = [[5.0, 0.0, 5.0], [3.0, 0.0, 5.0], [3.0, 0.0, 3.0], [5.0, 0.0, 3.0]]
        >>> round(procrustes_distance(square, turned), 6)
        0.0
    """
    moments = _Moments.of(x, y)
    if not moments.total_x or not moments.total_y:
        return math.nan
    nuclear = float(np.linalg.svd(moments.cross, compute_uv=False).sum())
    return math.sqrt(max(0.0, 2 - 2 * nuclear / math.sqrt(moments.total_x * moments.total_y)))


def same_items(x: ArrayLike, y: ArrayLike, least: int = 4) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two embeddings `(n, dim)` and `(n, other dim)` of the same items, checked."""
    pair = as_vectors(x, 2, name="x", least=least), as_vectors(y, 2, name="y", least=least)
    if len(pair[0]) != len(pair[1]):
        raise DataError(f"x and y should embed the same items, got {len(pair[0])} and {len(pair[1])}")
    return pair


@dataclass(frozen=True)
class _Moments:
    """What the figures need of two centred embeddings."""

    items: int
    cross: NDArray[np.float64]  # XᵀY
    xy: float  # the squared norms of XᵀY, XᵀX and YᵀY
    xx: float
    yy: float
    total_x: float  # Σ |x_i|²
    total_y: float
    squares_xy: float  # Σ |x_i|² |y_i|²
    squares_xx: float
    squares_yy: float

    @classmethod
    def of(cls, x: ArrayLike, y: ArrayLike) -> _Moments:
        left, right = same_items(x, y)
        dims = left.shape[1], right.shape[1]
        means = [each.mean(axis=0, dtype=np.float64) for each in (left, right)]
        cross, own_x, own_y = (np.zeros((dims[i], dims[j])) for i, j in ((0, 1), (0, 0), (1, 1)))
        squares = np.zeros(3)
        size = max(1, CHUNK // max(dims))
        for start in range(0, len(left), size):
            a, b = (
                each[start : start + size] - mean for each, mean in zip((left, right), means, strict=True)
            )
            cross += a.T @ b
            own_x += a.T @ a
            own_y += b.T @ b
            of_a, of_b = (a * a).sum(axis=1), (b * b).sum(axis=1)
            squares += [of_a @ of_b, of_a @ of_a, of_b @ of_b]
        # What a single point leaves behind is float32's rounding.
        totals = [
            float(np.trace(own)) if np.trace(own) > len(left) * 1e-13 * (mean @ mean) else 0.0
            for own, mean in zip((own_x, own_y), means, strict=True)
        ]
        norms = [float((each * each).sum()) for each in (cross, own_x, own_y)]
        return cls(len(left), cross, *norms, *totals, *squares.tolist())

    def unbiased(self, norm: float, squares: float, total: float, other: float) -> float:
        n = self.items
        return norm - n / (n - 2) * squares + total * other / ((n - 1) * (n - 2))


def _ratio(xy: float, xx: float, yy: float) -> float:
    return xy / math.sqrt(xx * yy) if xx > 0 and yy > 0 else math.nan


PAIRS = 1_000_000
"""The most pairs whose distances are ranked."""

Named = str | Metric


def neighbor_overlap(
    x: ArrayLike, y: ArrayLike, k: int = 10, metric: Named | tuple[Named, Named] = "cosine"
) -> float:
    """The share of its k nearest neighbours that an item has in both embeddings, mean of all items.

    1/n · Σ |N_x(i) ∩ N_y(i)| / k, N(i) the k nearest other items (equals by index). 1 where all agree; about
    k / (n - 1) by chance. This is the share, as in Huh, Cheung, Wang and Isola, "The Platonic
    Representation Hypothesis", ICML 2024, and not Jaccard's index: two items of which each search finds
    half the other's k have the overlap 1/2 (and Jaccard's 1/3).

    Args:
        x: `(n, dim)`.
        y: `(n, other dim)`, of the same items in the same order.
        k: how many neighbours, at most n - 1.
        metric: `cosine` or `euclidean`, which need no backend, or any metric; two where each has its own.

    Raises:
        DataError: if they are no such arrays, or k is too large.

    Example:
        >>> from siamkit.comparison.similarity import neighbor_overlap
        >>> line, bent = [[0.0], [1.0], [3.0], [7.0]], [[0.0], [1.0], [3.0], [0.5]]
        >>> neighbor_overlap(line, bent, 1, "euclidean")
        0.25
    """
    left, right = same_items(x, y, least=2)
    metric_x, metric_y = metric if isinstance(metric, tuple) else (metric, metric)
    itself = np.arange(len(left))
    return shared_neighbors(
        nearest_neighbors(left, left, plain_metric(metric_x), k, exclude=itself)[0],
        nearest_neighbors(right, right, plain_metric(metric_y), k, exclude=itself)[0],
    )


def shared_neighbors(a: ArrayLike, b: ArrayLike) -> float:
    """The same from the neighbours themselves.

    Args:
        a, b: `(n, k)`, the indices of each item's neighbours, as `siamkit.evaluation.neighbors` gives them.

    Raises:
        DataError: if the shapes differ or an item is named twice in a row.

    Example:
        >>> from siamkit.comparison.similarity import shared_neighbors
        >>> shared_neighbors([[1, 2], [0, 2]], [[2, 1], [2, 3]])
        0.75
    """
    one, other = as_array(a, name="a"), as_array(b, name="b")
    if one.ndim != 2 or one.shape != other.shape or not one.size:
        raise DataError(f"neighbours should both be (items, k), got {one.shape} and {other.shape}")
    for each in (one, other):
        if _repeats(each).any():
            raise DataError("an item should be a neighbour once, got one twice in a row")
    return float(_repeats(np.concatenate([one, other], axis=1)).mean() / one.shape[1])


def distance_rank_correlation(
    x: ArrayLike,
    y: ArrayLike,
    metric: Named | tuple[Named, Named] = "cosine",
    *,
    pairs: int = PAIRS,
    seed: int = 0,
) -> float:
    """Spearman's rank correlation of the distances of all pairs of items, in [-1, 1].

    What representational similarity analysis compares (Kriegeskorte, Mur and Bandettini, 2008): 1 where both
    embeddings order all pairs alike, whatever the scale of their distances. It is over all pairs up to
    `pairs` of them (1,414 items at a million); beyond, over so many drawn by seed, with returning,
    which is off by about 1 / √pairs.

    Args:
        x: `(n, dim)`.
        y: `(n, other dim)`, of the same items in the same order.
        metric: `cosine` or `euclidean`, which need no backend, or any metric; two where each has its own.
        pairs: the most pairs.
        seed: of the pairs drawn.

    Returns:
        NaN if all distances of one are equal.

    Raises:
        DataError: if they are no such arrays.

    Example:
        >>> from siamkit.comparison.similarity import distance_rank_correlation
        >>> line, bent = [[0.0], [1.0], [3.0], [7.0]], [[0.0], [1.0], [3.0], [0.4]]
        >>> round(distance_rank_correlation(line, bent, "euclidean"), 3)
        -0.486
    """
    from scipy.stats import rankdata  # late: slow to import

    left, right = same_items(x, y, least=3)
    i, j = _pairs(len(left), positive_int(pairs, name="pairs"), seed)
    metric_x, metric_y = metric if isinstance(metric, tuple) else (metric, metric)
    ranks = [
        rankdata(_pair_distances(rows, plain_metric(one), i, j))
        for rows, one in ((left, metric_x), (right, metric_y))
    ]
    a, b = (each - each.mean() for each in ranks)
    norm = math.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm else math.nan


def _pairs(items: int, most: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if items * (items - 1) // 2 <= most:
        i, j = np.triu_indices(items, 1)
        return i.astype(np.int64), j.astype(np.int64)
    rng = np.random.default_rng(seed)
    i, j = rng.integers(0, items, most), rng.integers(0, items - 1, most)
    return i, j + (j >= i)  # any but itself


def _pair_distances(
    rows: NDArray[np.float32], metric: Metric, i: NDArray[np.int64], j: NDArray[np.int64]
) -> NDArray[np.float32]:
    size = max(1, CHUNK // rows.shape[1])
    parts = [slice(start, start + size) for start in range(0, len(i), size)]
    return np.concatenate([paired_distances(metric, rows[i[part]], rows[j[part]]) for part in parts])


def _repeats(rows: NDArray[np.generic]) -> NDArray[np.int64]:
    """How often a row `(n, m)` names again what it has named, where nothing is named three times."""
    ordered = np.sort(rows, axis=1)
    return np.asarray((ordered[:, 1:] == ordered[:, :-1]).sum(axis=1), np.int64)
