"""Contenders on the same items, in one order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.comparison.inputs import EmbeddingSet, as_targets
from siamkit.errors import DataError, listed
from siamkit.evaluation.checks import as_column


def matched(several: list[EmbeddingSet]) -> tuple[list[EmbeddingSet], list[str]]:
    """The contenders on the items that all of them have, in one order, and what is to be said about that.

    By their ids where all have some; else all hold the same items in the same order.

    Raises:
        DataError: items cannot be matched, or some contenders embed items and others pairs.
    """
    if len({each.pairs for each in several}) > 1:
        pairs, items = (listed(each.name for each in several if each.pairs == kind) for kind in (True, False))
        raise DataError(f"contenders should embed the same, but {pairs} embed pairs and {items} items")
    if all(each.ids is not None for each in several):
        places = [{name: row for row, name in enumerate(each.ids or ())} for each in several]
        for each, place in zip(several, places, strict=True):
            if len(place) < len(each.embeddings):
                raise DataError(f"{each.name!r} has items of one id, so they cannot be matched")
        common = [name for name in several[0].ids or () if all(name in place for place in places)]
        if not common:
            raise DataError(f"{listed(each.name for each in several)} have no item in common, by their ids")
        most = max(len(each.embeddings) for each in several)
        note = [f"Only the {len(common):,} items that all have, of {most:,}."] if len(common) < most else []
        rows = [np.array([place[name] for name in common]) for place in places]
        return [_taken(each, chosen) for each, chosen in zip(several, rows, strict=True)], note
    sizes = {len(each.embeddings) for each in several}
    if len(sizes) > 1:
        told = ", ".join(f"{each.name} {len(each.embeddings):,}" for each in several)
        raise DataError(f"contenders should embed the same items, but their numbers differ: {told}")
    return several, []


def _taken(each: EmbeddingSet, rows: NDArray[np.int64]) -> EmbeddingSet:
    return replace(
        each,
        embeddings=each.embeddings[rows],
        labels=None if each.labels is None else each.labels[rows],
        ids=None if each.ids is None else tuple(each.ids[row] for row in rows),
        items=None if each.items is None else each.items[rows],
    )


def truth_of(several: list[EmbeddingSet], labels: ArrayLike | None) -> NDArray[Any]:
    """The class of each item, or what is true of each pair, on which all agree.

    Raises:
        DataError: nobody knows it, or they do not agree.
    """
    known = [(each.name, each.labels) for each in several if each.labels is not None]
    if labels is not None:
        known.insert(0, ("labels", np.asarray(labels)))
    if not known:
        raise DataError("no contender has labels, and none are given: labels=, or --labels FILE.npy")
    known = [(name, as_column(each, len(several[0].embeddings))) for name, each in known]
    (first, truth), *others = known
    if several[0].pairs:
        truth, *rest = (as_targets(each, name) for name, each in known)
        others = [(name, each) for (name, _), each in zip(others, rest, strict=True)]
    for name, other in others:
        differ = np.flatnonzero(_unlike(truth, other))
        if differ.size:
            raise DataError(
                f"{first!r} and {name!r} disagree about {differ.size} items, first about item "
                f"{differ[0]} ({truth[differ[0]]!s}, {other[differ[0]]!s}): are they in the same order?"
            )
    return truth


def _unlike(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    """Where classes differ: 1 is 1.0, as many a table has it, and "1"."""
    if not {a.dtype.kind, b.dtype.kind} <= set("biuf"):
        a, b = a.astype(str), b.astype(str)
    return np.asarray(a != b)
