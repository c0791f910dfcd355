"""Similarity of two embeddings of the same items, of any dims.

Linear CKA and the Procrustes distance compare the shapes of both sets as a whole, and ignore rotation,
reflection, translation and scale. Neighbor overlap and the rank correlation compare the distances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.comparison.embedding_set import EmbeddingSet
from siamkit.errors import DataError
from siamkit.evaluation.distances import Metric, paired_distances, plain_metric
from siamkit.evaluation.neighbors import nearest_neighbors
from siamkit.io.values import as_array, as_vectors, positive_int

CHUNK = 2**22
"""The number of values converted to float64 at a time."""

MAX_ITEMS = 5_000
"""The maximum number of items to compare two embeddings on; of more, this many are drawn."""

MAX_PAIRS = 1_000_000
"""The maximum number of pairs whose distances are ranked; of more, this many are drawn."""

NEIGHBORS = 10
"""The number of nearest neighbors that are compared."""


@dataclass(frozen=True)
class RepresentationSimilarity:
    """How similar two embeddings of the same items are, regardless of their quality.

    Args:
        a, b: names of the embedding sets.
        cka: linear centered kernel alignment, debiased; 1 for equal embeddings up to rotation and scale.
        procrustes: Procrustes distance: what remains after rotating one embedding onto the other, in [0, √2].
        neighbor_overlap: the fraction of an item's 10 nearest neighbors that both embeddings have in common.
        rank_correlation: Spearman's rank correlation of the distances of pairs.
        items: number of compared items.
    """

    a: str
    b: str
    cka: float
    procrustes: float
    neighbor_overlap: float
    rank_correlation: float
    items: int


def representation_similarity(
    a: EmbeddingSet, b: EmbeddingSet, rows: NDArray[np.int64], seed: int
) -> RepresentationSimilarity:
    """Return the similarity of two embedding sets.

    Args:
        a, b: embedding sets of the same items or pairs in the same order.
        rows: the rows to compare, in the left and right embeddings concatenated.
        seed: seed of the random rows, if there are more than `MAX_ITEMS`.
    """
    if len(rows) > MAX_ITEMS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MAX_ITEMS, replace=False))
    x, y = (
        embedding_set.embeddings.reshape(-1, embedding_set.embeddings.shape[-1])[rows]
        for embedding_set in (a, b)
    )
    metrics = (a.metric, b.metric)
    return RepresentationSimilarity(
        a.name,
        b.name,
        cka=linear_cka(x, y),
        procrustes=procrustes_distance(x, y),
        neighbor_overlap=neighbor_overlap(x, y, min(NEIGHBORS, len(rows) - 1), metric=metrics),
        rank_correlation=distance_rank_correlation(x, y, metric=metrics, seed=seed),
        items=len(rows),
    )


# ------------------------------------------------------------------ shapes


def linear_cka(x: ArrayLike, y: ArrayLike, *, debiased: bool = True) -> float:
    """Return linear centered kernel alignment (CKA).

    It is 1 for equal embeddings up to rotation and scale, and about 0 for unrelated ones.

    With X and Y centered, CKA = HSIC(X, Y) / √(HSIC(X, X) · HSIC(Y, Y)), HSIC(X, Y) ∝ |XᵀY|²_F (Kornblith,
    Norouzi, Lee and Hinton, "Similarity of Neural Network Representations Revisited", ICML 2019). This HSIC
    is biased upward: unrelated embeddings get near 1 unless there are far fewer dims than items. The default
    is the unbiased HSIC (Song, Smola, Gretton, Bedo and Borgwardt, "Feature Selection via Dependence
    Maximization", JMLR 2012; for CKA: Nguyen, Raghu and Kornblith, "Do Wide and Deep Networks Learn the Same
    Things?", ICLR 2021), which compares no item with itself:

    n (n - 3) · HSIC = |XᵀY|²_F - n / (n - 2) · Σ |x_i|² |y_i|² + Σ |x_i|² · Σ |y_i|² / ((n - 1) (n - 2)).

    It can be slightly below 0 or above 1. Memory is dim by dim, never items by items. The few directions of
    most variance dominate CKA.

    Args:
        x: `(n, dim)`.
        y: `(n, other dim)`, of the same items in the same order.
        debiased: whether to use the unbiased HSIC; `False` gives the biased value, which most papers report.

    Returns:
        NaN if all items of one embedding are a single point, or if the unbiased HSIC of an embedding with
        itself is not positive.

    Raises:
        DataError: the arrays are unsuitable, or have fewer than 4 items.

    Example:
        >>> import numpy as np
        >>> from siamkit.comparison import linear_cka
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
    hsic_xy = moments.unbiased(moments.xy, moments.squares_xy, moments.total_x, moments.total_y)
    hsic_xx = moments.unbiased(moments.xx, moments.squares_xx, moments.total_x, moments.total_x)
    hsic_yy = moments.unbiased(moments.yy, moments.squares_yy, moments.total_y, moments.total_y)
    return _ratio(hsic_xy, hsic_xx, hsic_yy)


def procrustes_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Return the Procrustes distance of two embeddings, after rotating one onto the other, in [0, √2].

    With X and Y centered and scaled to norm 1 (the smaller dim is padded with zeros), the smallest
    |X - Y Q|_F over all rotations and reflections Q, which is √(2 - 2 |XᵀY|_*), where |·|_* is the sum of
    singular values. It is a metric: 0 only for equal shapes, and the triangle inequality holds (Williams,
    Kunz, Kornblith and Linderman, "Generalized Shape Metrics on Neural Representations", NeurIPS 2021; their
    angle is 2 · arcsin(d / 2)). Its square is the distance of Ding, Denain and Steinhardt, "Grounding
    Representation Similarity with Statistical Testing", NeurIPS 2021. Unless there are far fewer dims than
    items, some rotation brings any two embeddings close: compare it with the value of unrelated embeddings.

    Args:
        x: `(n, dim)`.
        y: `(n, other dim)`, of the same items in the same order.

    Returns:
        NaN if all items of one embedding are a single point.

    Raises:
        DataError: the arrays are unsuitable.

    Example:
        >>> from siamkit.comparison import procrustes_distance
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


@dataclass(frozen=True)
class _Moments:
    """The moments of two centered embeddings from which CKA and the Procrustes distance are computed."""

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
        left, right = _same_items(x, y)
        dim_x, dim_y = left.shape[1], right.shape[1]
        mean_x, mean_y = (rows.mean(axis=0, dtype=np.float64) for rows in (left, right))
        cross, gram_x, gram_y = np.zeros((dim_x, dim_y)), np.zeros((dim_x, dim_x)), np.zeros((dim_y, dim_y))
        squares = np.zeros(3)
        size = max(1, CHUNK // max(dim_x, dim_y))
        for start in range(0, len(left), size):
            a, b = left[start : start + size] - mean_x, right[start : start + size] - mean_y
            cross += a.T @ b
            gram_x += a.T @ a
            gram_y += b.T @ b
            norms_a, norms_b = (a * a).sum(axis=1), (b * b).sum(axis=1)
            squares += [norms_a @ norms_b, norms_a @ norms_a, norms_b @ norms_b]
        # The variance of a single point is not 0 but the rounding of float32.
        totals = [
            float(np.trace(gram)) if np.trace(gram) > len(left) * 1e-13 * (mean @ mean) else 0.0
            for gram, mean in ((gram_x, mean_x), (gram_y, mean_y))
        ]
        norms = [float((matrix * matrix).sum()) for matrix in (cross, gram_x, gram_y)]
        return cls(len(left), cross, *norms, *totals, *squares.tolist())

    def unbiased(self, norm: float, squares: float, total: float, other: float) -> float:
        n = self.items
        return norm - n / (n - 2) * squares + total * other / ((n - 1) * (n - 2))


def _ratio(xy: float, xx: float, yy: float) -> float:
    return xy / math.sqrt(xx * yy) if xx > 0 and yy > 0 else math.nan


# ------------------------------------------------------------------ distances


def neighbor_overlap(
    x: ArrayLike,
    y: ArrayLike,
    k: int = NEIGHBORS,
    metric: str | Metric | tuple[str | Metric, str | Metric] = "cosine",
) -> float:
    """Return the mean fraction of an item's k nearest neighbors that both embeddings have in common.

    1/n · Σ |N_x(i) ∩ N_y(i)| / k, where N(i) are the k nearest other items (ties by index). 1 if all agree;
    about k / (n - 1) by chance. This is the fraction, as in Huh, Cheung, Wang and Isola, "The Platonic
    Representation Hypothesis", ICML 2024, not Jaccard's index: if each embedding finds half of the other's k,
    the overlap is 1/2 (Jaccard's index 1/3).

    Args:
        x: `(n, dim)`.
        y: `(n, other dim)`, of the same items in the same order.
        k: number of neighbors, at most n - 1.
        metric: `cosine` or `euclidean`, which need no backend, or any other metric; a tuple of two metrics if
            x and y have different ones.

    Raises:
        DataError: the arrays are unsuitable, or k is too large.

    Example:
        >>> from siamkit.comparison import neighbor_overlap
        >>> line, bent = [[0.0], [1.0], [3.0], [7.0]], [[0.0], [1.0], [3.0], [0.5]]
        >>> neighbor_overlap(line, bent, 1, "euclidean")
        0.25
    """
    left, right = _same_items(x, y, least=2)
    metric_x, metric_y = metric if isinstance(metric, tuple) else (metric, metric)
    itself = np.arange(len(left))
    return shared_neighbors(
        nearest_neighbors(left, left, plain_metric(metric_x), k, exclude=itself)[0],
        nearest_neighbors(right, right, plain_metric(metric_y), k, exclude=itself)[0],
    )


def shared_neighbors(a: ArrayLike, b: ArrayLike) -> float:
    """Return the neighbor overlap, given the neighbors.

    Args:
        a, b: `(n, k)`, the indices of each item's neighbors, as `siamkit.evaluation.nearest_neighbors`
            returns them.

    Raises:
        DataError: the shapes differ, or a row contains an item twice.

    Example:
        >>> shared_neighbors([[1, 2], [0, 2]], [[2, 1], [2, 3]])
        0.75
    """
    left, right = as_array(a, name="a"), as_array(b, name="b")
    if left.ndim != 2 or left.shape != right.shape or not left.size:
        raise DataError(f"neighbors should both be (items, k), got {left.shape} and {right.shape}")
    for neighbors in (left, right):
        if _repeats(neighbors).any():
            raise DataError("an item should be a neighbor once, got one twice in a row")
    return float(_repeats(np.concatenate([left, right], axis=1)).mean() / left.shape[1])


def distance_rank_correlation(
    x: ArrayLike,
    y: ArrayLike,
    metric: str | Metric | tuple[str | Metric, str | Metric] = "cosine",
    *,
    pairs: int = MAX_PAIRS,
    seed: int = 0,
) -> float:
    """Return Spearman's rank correlation of the distances of all pairs of items, in [-1, 1].

    Representational similarity analysis compares these distances (Kriegeskorte, Mur and Bandettini, 2008): 1
    if both embeddings rank all pairs equally, whatever the scale of their distances. All pairs are used if
    there are at most `pairs` of them (1,414 items for a million); otherwise `pairs` random pairs are drawn
    with replacement, with an error of about 1 / √pairs.

    Args:
        x: `(n, dim)`.
        y: `(n, other dim)`, of the same items in the same order.
        metric: `cosine` or `euclidean`, which need no backend, or any other metric; a tuple of two metrics if
            x and y have different ones.
        pairs: the maximum number of pairs.
        seed: seed of the random pairs.

    Returns:
        NaN if all distances of one embedding are equal.

    Raises:
        DataError: the arrays are unsuitable.

    Example:
        >>> from siamkit.comparison import distance_rank_correlation
        >>> line, bent = [[0.0], [1.0], [3.0], [7.0]], [[0.0], [1.0], [3.0], [0.4]]
        >>> round(distance_rank_correlation(line, bent, "euclidean"), 3)
        -0.486
    """
    from scipy.stats import rankdata  # late: slow to import

    left, right = _same_items(x, y, least=3)
    i, j = _pairs(len(left), positive_int(pairs, name="pairs"), seed)
    metric_x, metric_y = metric if isinstance(metric, tuple) else (metric, metric)
    ranks = [
        rankdata(_distances_of_pairs(rows, plain_metric(name), i, j))
        for rows, name in ((left, metric_x), (right, metric_y))
    ]
    a, b = (column - column.mean() for column in ranks)
    norm = math.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm else math.nan


def _pairs(items: int, most: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of both items of all pairs, or of `most` random ones."""
    if items * (items - 1) // 2 <= most:
        i, j = np.triu_indices(items, 1)
        return i.astype(np.int64), j.astype(np.int64)
    rng = np.random.default_rng(seed)
    i, j = rng.integers(0, items, most), rng.integers(0, items - 1, most)
    return i, j + (j >= i)  # any item but i


def _distances_of_pairs(
    rows: NDArray[np.float32], metric: Metric, i: NDArray[np.int64], j: NDArray[np.int64]
) -> NDArray[np.float32]:
    size = max(1, CHUNK // rows.shape[1])
    chunks = [slice(start, start + size) for start in range(0, len(i), size)]
    return np.concatenate([paired_distances(metric, rows[i[chunk]], rows[j[chunk]]) for chunk in chunks])


def _repeats(rows: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return the number of repeated entries in each row `(n, m)`, if none occurs three times."""
    ordered = np.sort(rows, axis=1)
    return np.asarray((ordered[:, 1:] == ordered[:, :-1]).sum(axis=1), np.int64)


def _same_items(
    x: ArrayLike, y: ArrayLike, least: int = 4
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return two checked embeddings `(n, dim)` and `(n, other dim)` of the same items."""
    left, right = as_vectors(x, 2, name="x", least=least), as_vectors(y, 2, name="y", least=least)
    if len(left) != len(right):
        raise DataError(f"x and y should embed the same items, got {len(left)} and {len(right)}")
    return left, right
