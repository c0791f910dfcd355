"""Small arithmetic on items in groups, shared by splits and feeds."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def ranks(codes: Array) -> Array:
    """`(n,)` how many earlier items share each item's group: `[5, 7, 5, 5]` gives `[0, 0, 1, 2]`."""
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    result = np.empty(len(codes), dtype=np.int64)
    result[order] = np.arange(len(codes)) - np.repeat(starts, np.diff(np.r_[starts, len(codes)]))
    return result


def spread(codes: Array, rng: np.random.Generator) -> Array:
    """A random order `(n,)` of which every beginning has its fair share of each group, give or take one.

    Args:
        codes: `(n,)` the group of each item, whole numbers from 0.
        rng: where the chance comes from.
    """
    sizes = np.bincount(codes)
    order = rng.permutation(len(codes))
    shuffled = codes[order]
    # A group of s items takes the places (r + u) / s along the way, with one u for the group.
    places = (ranks(shuffled) + rng.random(len(sizes))[shuffled]) / sizes[shuffled]
    return order[np.argsort(places, kind="stable")]
