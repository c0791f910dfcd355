"""Whether two embeddings of the same items tell the same of them: which are near, and which pairs nearer."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.comparison.similarity import same_items
from siamkit.errors import DataError
from siamkit.evaluation import _checks, _distances
from siamkit.evaluation._neighbors import neighbors
from siamkit.evaluation.plain_metrics import plain_metric

PAIRS = 1_000_000
"""The most pairs whose distances are ranked."""

Named = str | _distances.Metric


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
        >>> from siamkit.comparison._neighbors import neighbor_overlap
        >>> line, bent = [[0.0], [1.0], [3.0], [7.0]], [[0.0], [1.0], [3.0], [0.5]]
        >>> neighbor_overlap(line, bent, 1, "euclidean")
        0.25
    """
    left, right = same_items(x, y, least=2)
    metric_x, metric_y = metric if isinstance(metric, tuple) else (metric, metric)
    itself = np.arange(len(left))
    return shared_neighbors(
        neighbors(left, left, plain_metric(metric_x), k, exclude=itself)[0],
        neighbors(right, right, plain_metric(metric_y), k, exclude=itself)[0],
    )


def shared_neighbors(a: ArrayLike, b: ArrayLike) -> float:
    """The same from the neighbours themselves.

    Args:
        a, b: `(n, k)`, the indices of each item's neighbours, as `siamkit.evaluation._neighbors` gives them.

    Raises:
        DataError: if the shapes differ or an item is named twice in a row.

    Example:
        >>> from siamkit.comparison._neighbors import shared_neighbors
        >>> shared_neighbors([[1, 2], [0, 2]], [[2, 1], [2, 3]])
        0.75
    """
    one, other = _checks.as_array(a, name="a"), _checks.as_array(b, name="b")
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
        >>> from siamkit.comparison._neighbors import distance_rank_correlation
        >>> line, bent = [[0.0], [1.0], [3.0], [7.0]], [[0.0], [1.0], [3.0], [0.4]]
        >>> round(distance_rank_correlation(line, bent, "euclidean"), 3)
        -0.486
    """
    from scipy.stats import rankdata  # late: slow to import

    left, right = same_items(x, y, least=3)
    i, j = _pairs(len(left), _checks.whole(pairs, name="pairs"), seed)
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
    rows: NDArray[np.float32], metric: _distances.Metric, i: NDArray[np.int64], j: NDArray[np.int64]
) -> NDArray[np.float32]:
    size = max(1, _distances.CHUNK // rows.shape[1])
    parts = [slice(start, start + size) for start in range(0, len(i), size)]
    return np.concatenate([_distances.row_by_row(metric, rows[i[part]], rows[j[part]]) for part in parts])


def _repeats(rows: NDArray[np.generic]) -> NDArray[np.int64]:
    """How often a row `(n, m)` names again what it has named, where nothing is named three times."""
    ordered = np.sort(rows, axis=1)
    return np.asarray((ordered[:, 1:] == ordered[:, :-1]).sum(axis=1), np.int64)
