"""Splits into train, valid and test: by item, by class, or by a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from siamkit.data.dataset import Array, Dataset
from siamkit.errors import DataError, nearest

PARTS = ("train", "valid", "test")

Share = float | Sequence[Any]
"""A part's share: a fraction, or a list of classes or of a column's values."""


@dataclass(frozen=True, eq=False)
class Split:
    """Which items are for what.

    Args:
        train: `(n_train,)` indices of the items to learn from, sorted.
        valid: `(n_valid,)` those to choose by.
        test: `(n_test,)` those to report on.
        record: how the split came about, fit for JSON: `by`, `seed`, `shares`, `limit`, `counts`, and
            by class or column which `values` are in each part.
    """

    train: Array
    valid: Array
    test: Array
    record: dict[str, Any]


def split(
    dataset: Dataset,
    *,
    by: str = "item",
    train: Share = 0.6,
    valid: Share = 0.2,
    test: Share = 0.2,
    seed: int = 0,
    limit: Mapping[str, int] | None = None,
) -> Split:
    """Split a dataset; the same dataset and arguments always give the same split.

    Args:
        dataset: the items.
        by: `item`: at random, each class (or kind of pair) shared out alike. `class`: each class in
            one part only, so that valid and test hold classes never seen in training. Else a column:
            each of its values in one part only; one that holds just train, valid and test is taken
            as given.
        train, valid, test: fractions of the items, classes or values; by class or column also lists
            of those themselves, compared as texts.
        seed: what chance starts from.
        limit: the most items that a part may have; those kept have all its classes alike.

    Raises:
        DataError: if a part would be empty, or is asked for what is not there.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise DataError(f"seed should be a whole number from 0, got {seed!r}")
    shares = dict(zip(PARTS, (train, valid, test), strict=True))
    limits = _limits(limit)
    rng = np.random.default_rng(int(seed))
    if by == "item":
        parts, values = _by_item(dataset, _fractions(shares, by), rng), None
    else:
        parts, values = _by_value(_column(dataset, by), by, shares, rng)
    strata = _strata(dataset)
    for part, indices in parts.items():
        if not len(indices):
            raise DataError(f"the {part} part is empty: no item is left for it when split by {by}")
        if part in limits and len(indices) > limits[part]:
            indices = indices[spread(strata[indices], rng)[: limits[part]]]
        parts[part] = np.sort(indices)
    record: dict[str, Any] = {"by": by, "seed": int(seed), "shares": _plain(shares), "limit": limits}
    record["counts"] = {part: len(indices) for part, indices in parts.items()}
    if values is not None:
        record["values"] = values
    return Split(**parts, record=record)


def _by_item(dataset: Dataset, fractions: Sequence[float], rng: np.random.Generator) -> dict[str, Array]:
    ends = np.cumsum(_allot(len(dataset), fractions, "items"))
    return dict(zip(PARTS, np.split(spread(_strata(dataset), rng), ends), strict=False))


def _by_value(
    column: Array, by: str, shares: Mapping[str, Share], rng: np.random.Generator
) -> tuple[dict[str, Array], dict[str, list[str]]]:
    raw, codes = np.unique(column, return_inverse=True)
    names = [str(value) for value in raw]
    if not all(isinstance(share, (int, float)) for share in shares.values()):
        chosen = _listed(shares, by, names)
    elif by != "class" and set(names) <= set(PARTS):
        chosen = {part: [part] if part in names else [] for part in PARTS}
    else:
        what = "classes" if by == "class" else f"values of {by!r}"
        ends = np.cumsum(_allot(len(names), _fractions(shares, by), what))
        drawn = np.split(rng.permutation(len(names)), ends)
        in_order = [[names[code] for code in sorted(each)] for each in drawn]
        chosen = dict(zip(PARTS, in_order, strict=False))
    named = np.array(names)[codes]
    return {part: np.flatnonzero(np.isin(named, values)) for part, values in chosen.items()}, chosen


def _column(dataset: Dataset, by: str) -> Array:
    if by == "class":
        return np.asarray(dataset.classes[dataset.codes])
    if by not in dataset.columns:
        raise DataError(f"no column {by!r} to split by; {nearest(by, ('item', 'class', *dataset.columns))}")
    return dataset.columns[by]


def _listed(shares: Mapping[str, Share], by: str, names: Sequence[str]) -> dict[str, list[str]]:
    what = "class" if by == "class" else f"value of {by!r}"
    owner: dict[str, str] = {}
    for part, share in shares.items():
        if isinstance(share, (int, float, str)):
            raise DataError(f"{part} should be a list as the other parts are, got {share!r}")
        for name in map(str, share):
            if name not in names:
                raise DataError(f"no {what} is {name!r}; {nearest(name, names)}")
            if owner.setdefault(name, part) != part:
                raise DataError(f"{what} {name!r} should be in one part, got it in {owner[name]} and {part}")
    return {part: [name for name in names if owner.get(name) == part] for part in PARTS}


def _fractions(shares: Mapping[str, Share], by: str) -> list[float]:
    fractions = []
    for part, share in shares.items():
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
            lists = "" if by == "item" else " or a list"
            raise DataError(f"{part} should be a fraction above 0 and up to 1{lists}, got {share!r}")
        fractions.append(float(share))
    if sum(fractions) > 1 + 1e-6:
        raise DataError(f"train, valid and test should make 1 at most, got {sum(fractions):g}")
    return fractions


def _allot(n: int, fractions: Sequence[float], what: str) -> Array:
    """How many of n each part gets: the nearest to its fraction, and at least one."""
    if n < len(PARTS):
        raise DataError(f"train, valid and test need at least {len(PARTS)} {what}, got {n}")
    wanted = n * np.array(fractions)
    total = max(len(PARTS), round(wanted.sum()))
    counts: Array = np.maximum(1, np.floor(wanted)).astype(int)
    while counts.sum() != total:
        step = int(np.sign(total - counts.sum()))
        # The part furthest from what it wanted; none goes below one.
        gap = np.where(counts + step > 0, step * (wanted - counts), -np.inf)
        counts[np.argmax(gap)] += step
    return counts


def _strata(dataset: Dataset) -> Array:
    if dataset.supervision == "labels":
        return dataset.codes
    if dataset.supervision == "pairs" and dataset.target is not None:
        return np.asarray(dataset.target)
    return np.zeros(len(dataset), dtype=np.int32)


def _limits(limit: Mapping[str, int] | None) -> dict[str, int]:
    for part, most in (limit or {}).items():
        if part not in PARTS:
            raise DataError(f"no part {part!r} to limit; {nearest(part, PARTS)}")
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise DataError(f"the limit of {part} should be a whole number from 1, got {most!r}")
    return dict(limit or {})


def _plain(shares: Mapping[str, Share]) -> dict[str, Any]:
    return {
        part: share if isinstance(share, (int, float)) else [str(each) for each in share]
        for part, share in shares.items()
    }


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
