"""What a ranking is worth to each query."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamkit.evaluation._scan import DistanceChunk


def query_scores(
    relevant: NDArray[np.bool_], total: NDArray[np.int64], ks: tuple[int, ...]
) -> dict[str, NDArray[np.float64]]:
    r"""Scores of every query from the beginning of its ranking, NaN for a query without a relevant item.

    With R relevant items in the gallery, rel(i) whether the i-th ranked is one, and P(i) the share of
    relevant items among the first i:

    - recall@k: 1 if any of the first k is relevant, else 0;
    - precision@k: P(k);
    - nDCG@k: Σ_{i ≤ k} rel(i) / log₂(i + 1), of what it is where the relevant items come first
      (Järvelin and Kekäläinen 2002);
    - R-precision: P(R);
    - average precision at R: 1/R · Σ_{i ≤ R} P(i) · rel(i).

    R-precision and MAP@R are those of Musgrave, Belongie and Lim, "A Metric Learning Reality Check",
    ECCV 2020, https://arxiv.org/abs/2003.08505.

    Args:
        relevant: `(n, depth)`, whether each item of the ranking is relevant, nearest first; deep enough
            for the largest R.
        total: `(n,)`, R.
        ks: each k; one beyond the depth takes in all there is.

    Returns:
        Arrays `(n,)` named `recall_at_k`, `precision_at_k`, `ndcg_at_k`, `r_precision` and `map_at_r`.
    """
    ranks = np.arange(1, relevant.shape[1] + 1)
    within = relevant & (ranks <= total[:, None])
    found = np.cumsum(within, axis=1, dtype=np.int32)  # up to R the same as all found, and only there used
    precision = found / ranks
    precision *= within
    divisor = np.where(total > 0, total, np.nan)
    scores = {f"recall_at_{k}": relevant[:, :k].any(axis=1) + 0 * divisor for k in ks}
    scores |= {f"precision_at_{k}": relevant[:, :k].mean(axis=1) + 0 * divisor for k in ks}
    scores |= {f"ndcg_at_{k}": _gain(relevant[:, :k], divisor) for k in ks}
    scores["r_precision"] = within.sum(axis=1) / divisor
    scores["map_at_r"] = precision.sum(axis=1) / divisor
    return scores


def whole_scores(relevant: NDArray[np.bool_], total: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Scores of every query from the whole of its ranking, NaN for a query without a relevant item.

    - mrr: 1 / rank of the first relevant item;
    - map: 1/R · Σ P(i) · rel(i) over all ranks, the average precision of information retrieval.

    Args:
        relevant: `(n, gallery)`, whether each item of the ranking is relevant, nearest first.
        total: `(n,)`, R.

    Returns:
        Arrays `(n,)` named `mrr` and `map`.
    """
    # The j-th relevant item of a query at rank i adds j / i: only relevant items are touched.
    rows, columns = np.nonzero(relevant)
    starts = np.cumsum(total) - total
    nth = np.arange(1, len(rows) + 1) - starts[rows]
    divisor = np.where(total > 0, total, np.nan)
    average = np.bincount(rows, weights=nth / (columns + 1), minlength=len(total)) / divisor
    return {"mrr": 1 / (relevant.argmax(axis=1) + 1) + 0 * divisor, "map": average}


class Rankings:
    """Collects each query's scores.

    Args:
        ks: the k of recall@k, precision@k and nDCG@k.
        whole: whether the whole ranking is scored, too.
    """

    def __init__(self, ks: tuple[int, ...], whole: bool) -> None:
        self._ks, self._whole = tuple(sorted({1, *ks})), whole
        self._parts: list[dict[str, NDArray[Any]]] = []

    def depth(self, relevant: int, findable: int) -> int:
        return findable if self._whole else max(*self._ks, relevant)

    def add(self, portion: DistanceChunk) -> None:
        hits, total = portion.hits, portion.relevant
        # Not deeper than R asks for, or the cost would be that of the whole ranking.
        scores = query_scores(hits[:, : max(*self._ks, int(total.max()))], total, self._ks)
        if self._whole:
            scores |= whole_scores(hits, total)
        self._parts.append({**scores, "nearest": portion.order[:, 0].copy()})  # a view would keep all of it

    def by_query(self) -> dict[str, NDArray[Any]]:
        """Arrays `(n,)` of all queries."""
        return {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}


def class_means(scores: NDArray[np.float64], ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean score of each class that has a score; `scores` `(n,)` with NaN for none."""
    scored = ~np.isnan(scores)
    count = np.bincount(ids[scored])
    total = np.bincount(ids[scored], weights=scores[scored])
    return total[count > 0] / count[count > 0]


def _gain(relevant: NDArray[np.bool_], total: NDArray[np.float64]) -> NDArray[np.float64]:
    """nDCG of the first items, of which `relevant` `(n, k)` says which are relevant."""
    discount = 1 / np.log2(np.arange(2, relevant.shape[1] + 2))
    best = np.append(0.0, np.cumsum(discount))
    ideal = best[np.minimum(np.nan_to_num(total), relevant.shape[1]).astype(int)]
    return relevant @ discount / np.where(ideal > 0, ideal, np.nan)
