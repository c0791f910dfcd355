"""Align embedding sets on the same items, in the same order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.comparison.embedding_set import EmbeddingSet, as_targets
from siamkit.errors import DataError, listed
from siamkit.evaluation.checks import as_column


def aligned(sets: Sequence[EmbeddingSet]) -> tuple[list[EmbeddingSet], list[str]]:
    """Return the embedding sets on their common items, in the same order, and notes about it.

    Items are matched by id if all sets have ids; otherwise all must hold the same items in the same order.

    Raises:
        DataError: items cannot be matched, or some sets are of items and others of pairs.
    """
    if len({embedding_set.of_pairs for embedding_set in sets}) > 1:
        pairs, items = (
            listed(embedding_set.name for embedding_set in sets if embedding_set.of_pairs == kind)
            for kind in (True, False)
        )
        raise DataError(
            f"inputs should all embed items or all pairs, but {pairs} embed pairs and {items} items"
        )
    if all(embedding_set.ids is not None for embedding_set in sets):
        return _matched_by_id(sets)
    if len({len(embedding_set.embeddings) for embedding_set in sets}) > 1:
        counts = ", ".join(
            f"{embedding_set.name} {len(embedding_set.embeddings):,}" for embedding_set in sets
        )
        raise DataError(f"inputs should embed the same items, but have different numbers of them: {counts}")
    return list(sets), []


def true_labels(sets: Sequence[EmbeddingSet], labels: ArrayLike | None) -> NDArray[Any]:
    """Return the class of each item, or the target of each pair, on which all sources agree.

    Args:
        sets: aligned embedding sets.
        labels: of the caller, or None.

    Raises:
        DataError: labels are missing, or they disagree.
    """
    known = [
        (embedding_set.name, embedding_set.labels)
        for embedding_set in sets
        if embedding_set.labels is not None
    ]
    if labels is not None:
        known.insert(0, ("labels", np.asarray(labels)))
    if not known:
        raise DataError("no input has labels; pass them as labels=, or with --labels FILE.npy")
    columns = [(name, as_column(column, len(sets[0].embeddings))) for name, column in known]
    if sets[0].of_pairs:
        columns = [(name, as_targets(column, name)) for name, column in columns]
    (first, truth), *others = columns
    for name, other in others:
        differ = np.flatnonzero(_differ(truth, other))
        if differ.size:
            row = differ[0]
            raise DataError(
                f"{first!r} and {name!r} disagree about the labels of {differ.size} items, the first is item "
                f"{row} ({truth[row]!s}, {other[row]!s}): check that they are in the same order"
            )
    return truth


def _matched_by_id(sets: Sequence[EmbeddingSet]) -> tuple[list[EmbeddingSet], list[str]]:
    indices = [{id: row for row, id in enumerate(embedding_set.ids or ())} for embedding_set in sets]
    for embedding_set, index in zip(sets, indices, strict=True):
        if len(index) < len(embedding_set.embeddings):
            raise DataError(
                f"{embedding_set.name!r} has several items with one id, so they cannot be matched"
            )
    common = [id for id in sets[0].ids or () if all(id in index for index in indices)]
    if not common:
        raise DataError(f"{listed(embedding_set.name for embedding_set in sets)} have no id in common")
    most = max(len(embedding_set.embeddings) for embedding_set in sets)
    notes = (
        [f"Compared on the {len(common):,} items that all inputs have, of {most:,}."]
        if len(common) < most
        else []
    )
    rows = [np.array([index[id] for id in common]) for index in indices]
    return [_taken(embedding_set, chosen) for embedding_set, chosen in zip(sets, rows, strict=True)], notes


def _taken(embedding_set: EmbeddingSet, rows: NDArray[np.int64]) -> EmbeddingSet:
    labels, ids, items = embedding_set.labels, embedding_set.ids, embedding_set.items
    return replace(
        embedding_set,
        embeddings=embedding_set.embeddings[rows],
        labels=None if labels is None else labels[rows],
        ids=None if ids is None else tuple(ids[row] for row in rows),
        items=None if items is None else items[rows],
    )


def _differ(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where classes differ; 1 equals 1.0, as many tables have it, and "1"."""
    if not {a.dtype.kind, b.dtype.kind} <= set("biuf"):
        a, b = a.astype(str), b.astype(str)
    return np.asarray(a != b)
