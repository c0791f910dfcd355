"""Embeddings with the information needed to evaluate them: files of them, and thumbnails of their items."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.data.dataset import take
from siamkit.data.sources.table_files import SUFFIXES, read_rows
from siamkit.data.sources.tables import Table
from siamkit.data.streaming import StreamRequest
from siamkit.data.streaming.open import open_items
from siamkit.data.thumbnails import Thumbnail, ThumbnailLookup, thumbnail_of, thumbnails_of
from siamkit.errors import DataError, listed
from siamkit.evaluation.distances import PLAIN, Metric
from siamkit.io.files import as_float32, holds_embeddings, read_embeddings_file
from siamkit.io.paths import BROKEN_ARRAYS, existing_file, unreadable_as_error
from siamkit.io.targets import graded_targets, is_graded
from siamkit.io.values import as_array
from siamkit.registry.catalog import CORE

LABELS = ("label", "target", "y")
"""The names of columns of labels, the first one that a table has counts."""


@dataclass(frozen=True)
class TrialOrigin:
    """The trial that embeddings come from.

    Args:
        study: the run folder.
        number: the trial's number.
        factors: the trial's factors, such as `encoder`, `metric` and `loss`.
    """

    study: str
    number: int
    factors: Mapping[str, Any]


Untrained = Callable[[Sequence[str]], tuple[list["EmbeddingSet"], list[str]]]
"""Function of names of baselines; see `EmbeddingSet.untrained`."""


@dataclass(frozen=True)
class EmbeddingSet:
    """Embeddings of items or of pairs, and the information needed to evaluate them.

    Args:
        name: the name for display.
        embeddings: `(n, dim)` float32, or of pairs `(n, 2, dim)`.
        labels: `(n,)` classes, or of pairs 1 (alike), 0 (not alike) or scores; None if unknown.
        ids: `(n,)` ids of the items or pairs; None if unknown.
        metric: a name, or the metric of a model.
        threshold: the model's threshold, in the metric's orientation; None if unknown.
        parameters: the number of weights of the model; None if unknown.
        trial: the trial that the embeddings come from, or None.
        items: `(n, 2)`, for pairs the number of the item on each side, from 0; None if unknown.
        thumbnails: function that returns thumbnails for ids; None if items cannot be shown.
        untrained: function that returns embeddings of the same items without training, given the names of
            baselines (none: all that fit), and notes; None if the items cannot be read.
        notes: warnings to print with any result.
    """

    name: str
    embeddings: NDArray[np.float32]
    labels: NDArray[Any] | None
    ids: tuple[str, ...] | None
    metric: str | Metric = "cosine"
    threshold: float | None = None
    parameters: int | None = None
    trial: TrialOrigin | None = None
    items: NDArray[np.int64] | None = None
    thumbnails: ThumbnailLookup | None = field(default=None, repr=False)
    untrained: Untrained | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def of_pairs(self) -> bool:
        """Whether these are embeddings of pairs."""
        return self.embeddings.ndim == 3

    def compared_by(self, metric: str | Metric) -> EmbeddingSet:
        """Return the same embeddings with another metric, without the threshold of their own metric."""
        notes = self.notes
        if self.threshold is not None:
            note = f"{self.name}: its threshold {self.threshold:.6g} is of its own metric, so it is left out."
            notes = (*notes, note)
        return replace(self, metric=metric, threshold=None, notes=notes)


def from_array(name: str, values: ArrayLike) -> EmbeddingSet:
    """Return an embedding set from an array.

    Raises:
        DataError: it is not an array of embeddings.
    """
    array = as_array(values)
    if not holds_embeddings(array):
        raise DataError(
            "embeddings should be numbers (n, dim), or of pairs (n, 2, dim), "
            f"got {array.dtype} of shape {array.shape}"
        )
    return EmbeddingSet(name, as_float32(array), None, None)


def from_file(path: str | os.PathLike[str], name: str | None = None) -> EmbeddingSet:
    """Read an embedding set from a file.

    Args:
        path: `.npy` `(n, dim)`, or `(n, 2, dim)` of pairs; `.npz` with `x` or `embeddings` of such a shape,
            or `a` and `b` `(n, dim)`, the two sides of pairs, and optionally `y` or `labels`, and `ids`;
            `.parquet` with a list column `embedding` and optionally `label` and `id`, as `siamkit embed`
            writes.
        name: the name for display; by default the file's name.

    Raises:
        DataError: the file does not exist, or does not contain embeddings.
    """
    stored = read_embeddings_file(Path(path))
    found = EmbeddingSet(name or Path(path).stem, stored.embeddings, stored.labels, stored.ids)
    return _with_metric(found, stored.description) if stored.description.get("metric") else found


def _with_metric(embedding_set: EmbeddingSet, description: Mapping[str, Any]) -> EmbeddingSet:
    """Return the embedding set with the metric and the threshold of the model that `siamkit embed` used."""
    stored = description["metric"]
    qualified, weights = str(stored["name"]), stored.get("weights")
    name, params = qualified.removeprefix(f"{CORE}/"), dict(stored.get("config") or {})
    params.pop("name", None)  # of the Keras layer
    if weights is not None:
        note = (
            f"{embedding_set.name}: its model compares by {name}, whose weights are not in the file; without "
            "--metric, or metric=, the embeddings are compared by cosine, and not at the model's threshold."
        )
        return replace(embedding_set, notes=(*embedding_set.notes, note))
    if name in PLAIN and not params:
        metric: Metric = PLAIN[name]()
    else:
        from siamkit.metrics.base import get_metric  # late: it imports the backend

        metric = get_metric({qualified: params})
    return replace(embedding_set, metric=metric, threshold=description.get("threshold"))


def read_labels(
    path: str | os.PathLike[str], ids: Sequence[str] | None = None, *, drop_missing: bool = False
) -> NDArray[Any]:
    """Return the labels in a file.

    Args:
        path: a `.npy` file, or a table (`.csv`, `.tsv`, `.parquet`, `.jsonl`) with a column `label`, `target`
            or `y`, or with one column only, not counting `id`.
        ids: the ids of the embeddings; if the table has a column `id`, its rows are matched by it. Otherwise
            labels are in the order of the embeddings.
        drop_missing: whether a missing label is None; otherwise it is an error.

    Raises:
        DataError: the file cannot be read, has no such column, or lacks the label of an id.
    """
    file = Path(path)
    if file.suffix.lower() in SUFFIXES:
        table = Table(file, read_rows(existing_file(file, "a file of labels")))
        return _labels_of_table(table, ids, drop_missing)
    if file.suffix != ".npy":
        raise DataError(
            f"labels should be a .npy file, or a table ({', '.join(SUFFIXES)}) with a column label, "
            f"got {str(file)!r}"
        )
    with unreadable_as_error(file, "a file of labels", *BROKEN_ARRAYS), file.open("rb") as stream:
        labels = np.lib.format.read_array(stream, allow_pickle=False)
    return np.asarray(labels)


def _labels_of_table(table: Table, ids: Sequence[str] | None, drop_missing: bool) -> NDArray[Any]:
    names = [name for name in table.names if name != "id"]
    column = next((name for name in LABELS if name in names), names[0] if len(names) == 1 else None)
    if column is None:
        raise DataError(
            f"{str(table.path)!r} should have a column label with the labels, or one column only, "
            f"got {', '.join(table.names)} (its first line names the columns)"
        )
    if drop_missing:
        known = table.arrow.column(column).is_valid().to_numpy()
        labels = np.full(len(known), None, dtype=object)
        labels[known] = Table(table.path, table.arrow.filter(known)).labels(column).tolist()
    else:
        labels = table.labels(column)
    if ids is None or "id" not in table.names:
        return labels
    rows = {id: row for row, id in enumerate(table.ids("id"))}
    if len(rows) < len(labels):
        raise DataError(f"{str(table.path)!r} has several rows with one id, so its labels cannot be matched")
    missing = [id for id in ids if id not in rows]
    if missing:
        raise DataError(
            f"{str(table.path)!r} has no label for {len(missing):,} of {len(ids):,} ids: "
            f"{listed(map(repr, missing), 4)}"
        )
    return labels[[rows[id] for id in ids]]


def as_targets(labels: NDArray[Any], name: str) -> NDArray[np.float64]:
    """Return the labels of pairs as numbers: 1 (alike), 0 (not alike), or a score.

    Raises:
        DataError: a label is missing, or neither 1, 0 nor a score.
    """
    name = f"labels of pairs in {name!r}"
    if labels.dtype.kind == "U":  # the run folder stores targets as texts
        with contextlib.suppress(ValueError):
            labels = labels.astype(np.float64)
    return graded_targets(labels, name=name) if is_graded(labels, name=name) else labels.astype(np.float64)


def thumbnails_of_items(items: Sequence[Any], ids: Sequence[str]) -> ThumbnailLookup:
    """Return the thumbnails of items, passed in the order of the ids; for pairs each item is a tuple of two.

    Raises:
        DataError: there is not one item for each id.
    """
    if len(items) != len(ids):
        raise DataError(f"items should be one for each embedding, {len(ids)}, got {len(items)}")
    rows = {id: row for row, id in enumerate(ids)}

    def thumbnails(wanted: Collection[str]) -> dict[str, tuple[Thumbnail, ...]]:
        chosen = {id: items[rows[id]] for id in wanted if id in rows}
        return {
            id: tuple(map(thumbnail_of, item if isinstance(item, tuple) else (item,)))
            for id, item in chosen.items()
        }

    return thumbnails


def thumbnails_in_data(
    data: str | os.PathLike[str], options: StreamRequest, source: str | None, ids: Collection[str]
) -> dict[str, tuple[Thumbnail, ...]]:
    """Return the thumbnails of the items with these ids in a file or folder; none if they cannot be shown.

    Args:
        data: the data, as `siamkit.inference.embed_file` takes them; in a folder of images ids are paths.
        options: options for reading the data.
        source: the registered dataset that reads the data.
        ids: ids of the items.
    """
    folder = Path(data)
    if folder.is_dir() and source is None:
        root = folder.resolve()
        files = {id: (folder / id).resolve() for id in ids}
        return {
            id: (thumbnail_of(file),)
            for id, file in files.items()
            if file.is_relative_to(root) and file.is_file()
        }
    first, of_pairs = _side(data, replace(options, side=0), source, ids)
    if not of_pairs:
        return {id: (thumbnail,) for id, thumbnail in first.items()}
    second, _ = _side(data, replace(options, side=1), source, ids)
    return {id: (first[id], second[id]) for id in first}


def _side(
    data: str | os.PathLike[str], options: StreamRequest, source: str | None, ids: Collection[str]
) -> tuple[dict[str, Thumbnail], bool]:
    """Return the thumbnails of one side, and whether there are two sides."""
    thumbnails: dict[str, Thumbnail] = {}
    with open_items(data, source, options) as stream:
        for chunk in stream.chunks:
            rows = [row for row, id in enumerate(chunk.ids) if id in ids]
            of_chunk = thumbnails_of(take(chunk.items, np.array(rows))) if rows else []
            if of_chunk is None:
                return {}, False
            thumbnails |= {chunk.ids[row]: shown for row, shown in zip(rows, of_chunk, strict=True)}
        return thumbnails, stream.pairs
