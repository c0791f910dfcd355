"""Embeddings without training of the items that a comparison is about."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from siamkit.comparison.embedding_set import EmbeddingSet
from siamkit.data.dataset import Dataset, Leaf, length, take
from siamkit.data.preprocessing.columns import fit_preprocessor
from siamkit.data.sources.arrays import input_of
from siamkit.data.sources.images import image_folder
from siamkit.data.streaming import Chunk, StreamRequest
from siamkit.data.streaming.open import open_items
from siamkit.errors import DataError
from siamkit.evaluation.baselines import MAX_FITTED, Baseline, Items, baselines_for

if TYPE_CHECKING:
    from siamkit.study.worker.prepared_data import PreparedData

MAX_FITTED_BYTES = 2**28
"""The most bytes of prepared items that a baseline is fitted on."""


def wanted_baselines(kind: str, has_labels: bool, wanted: Sequence[str]) -> dict[str, Baseline]:
    """Return the named baselines for a kind of input, or all that fit if none is named.

    Raises:
        DataError: a baseline is not for these items.
    """
    fitting = baselines_for(kind, has_labels)
    for name in wanted:
        if name not in fitting:
            raise DataError(f"the baseline {name!r} is not for these items; choose from {', '.join(fitting)}")
    return {name: baseline for name, baseline in fitting.items() if not wanted or name in wanted}


def untrained_in_study(
    data: PreparedData, ids: tuple[str, ...], targets: NDArray[Any], wanted: Sequence[str]
) -> tuple[list[EmbeddingSet], list[str]]:
    """Return embeddings without training of a study's validation items, fitted on its training items; notes.

    Args:
        data: the data of the study.
        ids, targets: those of the validation items.
        wanted: names of baselines; none for all that fit.

    Raises:
        DataError: a baseline is not for these items.
    """
    from siamkit.study.worker.baselines import Fitted  # late: few comparisons are about studies

    has_labels = data.train.supervision == "labels" and "labelled" not in data.record
    sets, notes = list[EmbeddingSet](), list[str]()
    for name, baseline in wanted_baselines(str(data.record["input"]), has_labels, wanted).items():
        try:
            sets.append(EmbeddingSet(name, Fitted(baseline.fit, data)("valid"), targets, ids))
        except Exception as error:  # one that fails does not end a comparison
            notes.append(f"The baseline {name} could not be computed: {error}")
    return sets, notes


def untrained_in_data(
    data: str | os.PathLike[str], options: StreamRequest, source: str | None, wanted: Sequence[str]
) -> tuple[list[EmbeddingSet], list[str]]:
    """Return embeddings without training of the items in a file or folder, and notes.

    A projection is fitted on a part of these items, without their labels.

    Args:
        data, options, source: the items, as in `thumbnails_in_data`.
        wanted: names of baselines; none for all that fit.

    Raises:
        DataError: the items cannot be read, or a baseline is not for them.
    """
    if options.preprocessor is None and source is None and Path(data).is_dir():
        options = replace(options, preprocessor=fit_preprocessor(image_folder(data)))
    sides = [0, 1] if _of_pairs(data, options, source) else [0]
    sample = _joined([_sample(data, replace(options, side=side), source) for side in sides])
    if (prepare := options.preprocessor) is None:
        prepare = fit_preprocessor(Dataset((sample,), None, "views", _kind_as_read(sample)))
        options = replace(options, preprocessor=prepare)
    items, notes = Items(sample, prepare(sample)), list[str]()
    embedders = {}
    for name, baseline in wanted_baselines(_kind_of(items), False, wanted).items():
        try:
            if (embed := baseline.fit(items)) is not None:
                embedders[name] = embed
        except Exception as error:  # one that fails does not end a comparison
            notes.append(f"The baseline {name} could not be computed: {error}")
    vectors: dict[str, list[list[NDArray[np.float32]]]] = {name: [[] for _ in sides] for name in embedders}
    ids: list[str] = []
    for side in sides:
        for chunk in _chunks(data, replace(options, side=side), source):
            items = Items(chunk.items, prepare(chunk.items))
            for name, embed in embedders.items():
                vectors[name][side].append(embed(items))
            ids += [] if side else chunk.ids
    joined = {name: [np.concatenate(chunks) for chunks in found] for name, found in vectors.items()}
    sets = [
        EmbeddingSet(name, found[0] if len(found) == 1 else np.stack(found, axis=1), None, tuple(ids))
        for name, found in joined.items()
    ]
    return sets, notes


def _of_pairs(data: str | os.PathLike[str], options: StreamRequest, source: str | None) -> bool:
    with open_items(data, source, replace(options, side=0)) as stream:
        return stream.pairs


def _chunks(data: str | os.PathLike[str], options: StreamRequest, source: str | None) -> Iterator[Chunk]:
    with open_items(data, source, options) as stream:
        yield from stream.chunks


def _sample(data: str | os.PathLike[str], options: StreamRequest, source: str | None) -> Leaf:
    """Return every k-th item, so that it is not too many of them."""
    kept: list[Leaf] = []
    with open_items(data, source, options) as stream:
        done, count, step, most = 0, 0, 1, MAX_FITTED
        for chunk in stream.chunks:
            rows = length(chunk.items)
            if not kept:
                prepared = chunk.items if options.preprocessor is None else options.preprocessor(chunk.items)
                columns = prepared.values() if isinstance(prepared, dict) else [prepared]
                size = sum(column.nbytes for column in columns) // rows + 1
                most = min(MAX_FITTED, MAX_FITTED_BYTES // size + 1)
                step = -(-(stream.total or 1) // most)
            chosen = np.flatnonzero((done + np.arange(rows)) % step == 0)[: most - count]
            kept.append(take(chunk.items, chosen))
            done, count = done + rows, count + len(chosen)
            if count >= most:
                break
    return _joined(kept)


def _joined(leaves: Sequence[Leaf]) -> Leaf:
    first: Any = leaves[0]
    if isinstance(first, dict):
        return {name: np.concatenate([leaf[name] for leaf in leaves]) for name in first}
    return np.concatenate(leaves)  # type: ignore[arg-type]


def _kind_as_read(leaf: Leaf) -> str:
    """Return the kind of input that items look like; texts of a table are objects."""
    if isinstance(leaf, dict):
        return "tabular"
    return "text" if leaf.dtype == object else input_of(leaf, "items")


def _kind_of(items: Items) -> str:
    """Return the kind of input, by what an encoder gets."""
    if isinstance(items.prepared, dict):
        return "tabular"
    if np.asarray(items.raw).dtype.kind not in "biuf":
        return "image" if items.prepared.ndim == 4 else "text"
    if items.prepared.dtype.kind in "iu":
        return "tokens"
    return {2: "vector", 3: "series", 4: "image"}[items.prepared.ndim]
