"""Correction of p-values for multiple comparisons: the more are made, the more succeed by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError
from siamkit.stats.results import Difference


def holm(ps: ArrayLike) -> NDArray[np.float64]:
    """Return p-values adjusted by Holm.

    If all hypotheses with an adjusted p below 5 % are rejected, any false rejection has a probability below
    5 %.

    The i-th smallest of m becomes max over j ≤ i of min(1, (m - j + 1) · p_j). This holds for any dependence
    between the comparisons, and is never weaker than Bonferroni's m · p. Holm, "A simple sequentially
    rejective multiple test procedure", Scandinavian Journal of Statistics 1979.

    Args:
        ps: `(m,)`.

    Returns:
        `(m,)`, in the same order.

    Raises:
        DataError: a p-value is not in [0, 1].

    Example:
        >>> from siamkit.stats import holm
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    values = np.asarray(ps, np.float64).reshape(-1)
    if not ((values >= 0) & (values <= 1)).all():
        raise DataError(f"p-values should be in [0, 1], got {values.tolist()}")
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(1, np.maximum.accumulate(steps))
    return corrected


def adjusted(differences: Sequence[Difference]) -> list[Difference]:
    """Return the differences with `p_adjusted` set for all of them together, by Holm.

    Args:
        differences: all that were computed for one question, including those that are not significant.

    Example:
        >>> from siamkit.stats import Difference, adjusted
        >>> gain = Difference("map_at_r", 0.5, 0.6, 0.1, 0.05, 0.15, 0.95, 0.01, None, "queries", 500, 2000)
        >>> [difference.p_adjusted for difference in adjusted([gain, gain])]
        [0.02, 0.02]
    """
    ps = holm([difference.p for difference in differences])
    return [replace(difference, p_adjusted=float(p)) for difference, p in zip(differences, ps, strict=True)]
