"""Several comparisons at once: the more one looks, the more one finds by chance."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError
from siamkit.stats.results import Difference


def holm(ps: ArrayLike) -> NDArray[np.float64]:
    """Holm's adjusted p-values: whatever is below 5 % in them, the chance of any false find is below 5 %.

    The i-th smallest of m becomes max over j ≤ i of min(1, (m - j + 1) · p_j). It holds however the
    comparisons depend on each other, and is never weaker than Bonferroni's m · p. Holm, "A simple
    sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979.

    Args:
        ps: `(m,)`.

    Returns:
        `(m,)`, in the order given.

    Raises:
        DataError: if one does not lie in [0, 1].

    Example:
        >>> from siamkit.stats.multiple_testing import holm
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    values = np.asarray(ps, np.float64).reshape(-1)
    if not ((values >= 0) & (values <= 1)).all():
        raise DataError(f"p-values should lie in [0, 1], got {values.tolist()}")
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted


def adjusted(differences: Sequence[Difference]) -> list[Difference]:
    """The same differences with `p_adjusted` for all of them together, by Holm.

    Args:
        differences: those looked at for one question, all of them, also what came out as nothing.

    Example:
        >>> from siamkit.stats.multiple_testing import adjusted
        >>> from siamkit.stats.results import Difference
        >>> one = Difference("map_at_r", 0.5, 0.6, 0.1, 0.05, 0.15, 0.95, 0.01, None, "queries", 500, 2000)
        >>> [each.p_adjusted for each in adjusted([one, one])]
        [0.02, 0.02]
    """
    ps = holm([each.p for each in differences])
    return [dataclasses.replace(each, p_adjusted=float(p)) for each, p in zip(differences, ps, strict=True)]
