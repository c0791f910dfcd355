"""What a ranking is worth to each query."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def query_scores(
    relevant: NDArray[np.bool_], total: NDArray[np.int64], ks: tuple[int, ...]
) -> dict[str, NDArray[np.float64]]:
    r"""Scores of every query from its ranking, NaN for a query without a relevant item.

    With R relevant items in the gallery, rel(i) whether the i-th ranked is one, and P(i) the share of
    relevant items among the first i:

    - recall@k: 1 if any of the first k is relevant, else 0;
    - R-precision: P(R);
    - average precision at R: 1/R · Σ_{i ≤ R} P(i) · rel(i).

    R-precision and MAP@R are those of Musgrave, Belongie and Lim, "A Metric Learning Reality Check",
    ECCV 2020, https://arxiv.org/abs/2003.08505.

    Args:
        relevant: `(n, depth)`, whether each item of the ranking is relevant, nearest first; deep enough
            for the largest R.
        total: `(n,)`, R.
        ks: the k of recall@k; one beyond the depth takes in all there is.

    Returns:
        Arrays `(n,)` named `recall_at_k`, `r_precision` and `map_at_r`.
    """
    ranks = np.arange(1, relevant.shape[1] + 1)
    within = relevant & (ranks <= total[:, None])
    found = np.cumsum(within, axis=1, dtype=np.int32)  # up to R the same as all found, and only there used
    precision = found / ranks
    precision *= within
    divisor = np.where(total > 0, total, np.nan)
    scores = {f"recall_at_{k}": relevant[:, :k].any(axis=1) + 0 * divisor for k in ks}
    scores["r_precision"] = within.sum(axis=1) / divisor
    scores["map_at_r"] = precision.sum(axis=1) / divisor
    return scores
