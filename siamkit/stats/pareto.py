"""The Pareto front of several objectives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def front(values: Any, directions: Sequence[str]) -> list[int]:
    """Return the indices of the Pareto-optimal rows, ascending.

    A row dominates another if it is as good in every objective and better in one. So equal rows are on the
    front together, or not at all. A row with NaN or infinity is never on it.

    Args:
        values: `(rows, objectives)`.
        directions: `maximize` or `minimize`, for each objective.

    Example:
        >>> from siamkit.stats import front
        >>> front([[0.9, 100], [0.8, 10], [0.7, 20]], ["maximize", "minimize"])
        [0, 1]
    """
    rows = np.asarray(values, dtype=float).reshape(-1, len(directions))
    costs = rows * np.where([direction == "maximize" for direction in directions], -1.0, 1.0)
    left = np.flatnonzero(np.isfinite(costs).all(axis=1))
    # In lexicographic order no row is dominated by a later one; sums would suffer from rounding.
    left = left[np.lexsort(costs[left].T[::-1])]
    optimal: list[int] = []
    while len(left):
        first, left = left[0], left[1:]
        optimal.append(int(first))
        dominated = (costs[left] >= costs[first]).all(axis=1) & (costs[left] > costs[first]).any(axis=1)
        left = left[~dominated]
    return sorted(optimal)
