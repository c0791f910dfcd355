"""Retrieval: the scores of each query from its ranking."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamkit.evaluation.scan import DistanceChunk


def query_scores(
    relevant: NDArray[np.bool_], total: NDArray[np.int64], ks: tuple[int, ...]
) -> dict[str, NDArray[np.float64]]:
    r"""Return scores of each query from the top of its ranking, NaN for a query without a relevant item.

    Let R be the number of relevant items in the gallery, rel(i) whether the i-th ranked item is relevant, and
    P(i) the fraction of relevant items among the first i:

    - recall@k: 1 if any of the first k is relevant, else 0;
    - precision@k: P(k);
    - nDCG@k: Σ_{i ≤ k} rel(i) / log₂(i + 1), divided by its value if all relevant items are ranked first
      (Järvelin and Kekäläinen 2002);
    - R-precision: P(R);
    - average precision at R: 1/R · Σ_{i ≤ R} P(i) · rel(i).

    R-precision and MAP@R are those of Musgrave, Belongie and Lim, "A Metric Learning Reality Check",
    ECCV 2020, https://arxiv.org/abs/2003.08505.

    Args:
        relevant: `(n, depth)`, whether each item of the ranking is relevant, nearest first; deep enough
            for the largest R.
        total: `(n,)`, R, the number of relevant items in the gallery.
        ks: the values of k; a k larger than the depth covers the whole ranking.

    Returns:
        Arrays `(n,)` named `recall_at_k`, `precision_at_k`, `ndcg_at_k`, `r_precision` and `map_at_r`.
    """
    ranks = np.arange(1, relevant.shape[1] + 1)
    within = relevant & (ranks <= total[:, None])
    hits = np.cumsum(within, axis=1, dtype=np.int32)  # up to R equal to all hits, and only used there
    precision = hits / ranks
    precision *= within
    divisor = np.where(total > 0, total, np.nan)
    scores = {f"recall_at_{k}": relevant[:, :k].any(axis=1) + 0 * divisor for k in ks}
    scores |= {f"precision_at_{k}": relevant[:, :k].mean(axis=1) + 0 * divisor for k in ks}
    scores |= {f"ndcg_at_{k}": _ndcg(relevant[:, :k], divisor) for k in ks}
    scores["r_precision"] = within.sum(axis=1) / divisor
    scores["map_at_r"] = precision.sum(axis=1) / divisor
    return scores


def whole_scores(relevant: NDArray[np.bool_], total: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Return scores of each query from its whole ranking, NaN for a query without a relevant item.

    - mrr: 1 / rank of the first relevant item;
    - map: 1/R · Σ P(i) · rel(i) over all ranks, the average precision of information retrieval.

    Args:
        relevant: `(n, gallery)`, whether each item of the ranking is relevant, nearest first.
        total: `(n,)`, R, the number of relevant items in the gallery.

    Returns:
        Arrays `(n,)` named `mrr` and `map`.
    """
    # The j-th relevant item of a query, at rank i, adds j / i: only relevant items are visited.
    rows, columns = np.nonzero(relevant)
    starts = np.cumsum(total) - total
    nth = np.arange(1, len(rows) + 1) - starts[rows]
    divisor = np.where(total > 0, total, np.nan)
    average = np.bincount(rows, weights=nth / (columns + 1), minlength=len(total)) / divisor
    return {"mrr": 1 / (relevant.argmax(axis=1) + 1) + 0 * divisor, "map": average}


class Rankings:
    """An accumulator of the scores of each query.

    Args:
        ks: the values of k of recall@k, precision@k and nDCG@k.
        whole: whether to also score the whole ranking.
    """

    def __init__(self, ks: tuple[int, ...], whole: bool) -> None:
        self._ks, self._whole = tuple(sorted({1, *ks})), whole
        self._chunks: list[dict[str, NDArray[Any]]] = []

    def depth(self, relevant: int, findable: int) -> int:
        return findable if self._whole else max(*self._ks, relevant)

    def add(self, chunk: DistanceChunk) -> None:
        hits, total = chunk.hits, chunk.relevant
        # No deeper than R requires, or the cost would be that of the whole ranking.
        scores = query_scores(hits[:, : max(*self._ks, int(total.max()))], total, self._ks)
        if self._whole:
            scores |= whole_scores(hits, total)
        # A copy: a view would keep the whole ranking in memory.
        self._chunks.append({**scores, "nearest": chunk.order[:, 0].copy()})

    def by_query(self) -> dict[str, NDArray[Any]]:
        """Return arrays `(n,)` of all queries."""
        return {name: np.concatenate([scores[name] for scores in self._chunks]) for name in self._chunks[0]}


def class_means(scores: NDArray[np.float64], ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean score of each class that has a score; `scores` `(n,)` with NaN for a missing score."""
    scored = ~np.isnan(scores)
    count = np.bincount(ids[scored])
    total = np.bincount(ids[scored], weights=scores[scored])
    return total[count > 0] / count[count > 0]


def _ndcg(relevant: NDArray[np.bool_], total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the nDCG of the first k items, given whether each is relevant `(n, k)`."""
    discount = 1 / np.log2(np.arange(2, relevant.shape[1] + 2))
    best = np.append(0.0, np.cumsum(discount))
    ideal = best[np.minimum(np.nan_to_num(total), relevant.shape[1]).astype(int)]
    return relevant @ discount / np.where(ideal > 0, ideal, np.nan)
