"""The inputs of a comparison: embedding sets from models, files or trials, aligned on the same items."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.comparison.embedding_set import EmbeddingSet, Untrained, as_targets, from_file, read_labels
from siamkit.comparison.from_model import from_model, from_trial, is_study, trial_in
from siamkit.errors import DataError, ModelError, SiamkitError, listed
from siamkit.io.paths import unreadable_as_error
from siamkit.io.values import as_array, as_column, column_and_missing

_ENDINGS = (".npy", ".npz", ".parquet", ".keras", ".yaml", ".yml")


def read_embeddings(
    path: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    source: str | None = None,
    columns: Sequence[str] = (),
    label: str | None = None,
) -> EmbeddingSet:
    """Return the embedding set that a path names.

    Args:
        path: a model (`.keras`), a file of embeddings, or a trial of a study (`study.yaml#14`, `#best`).
        data: the items for a model to embed.
        name: the name for display; by default the file's name.
        source: the registered dataset that reads `data`.
        columns: the columns of items in `data`; by default those that the model was trained on.
        label: the column or array of labels in `data`.

    Raises:
        ModelError: a model without data.
        DataError: a study without a trial, a file that cannot be read, or an argument that only a model uses.
    """
    with unreadable_as_error(Path(path), "embeddings, a model or a study"):
        trial, study = trial_in(path), is_study(path)
    if study:
        raise DataError(f"{str(path)!r} is a study: name one of its trials, such as {path}#best or {path}#14")
    if trial is None and is_model(path):
        if data is None:
            raise ModelError(f"the model {str(path)!r} needs data to embed")
        return from_model(path, data, name, source=source, columns=columns, label=label)
    of_model = {
        "the data": data,
        "the source": source,
        "the columns": ", ".join(columns),
        "the column of labels": label,
    }
    for what, value in of_model.items():
        if value:
            raise DataError(
                f"{str(path)!r} {'is a trial' if trial else 'contains embeddings'} and has its own items, so "
                f"{what} {str(value)!r} would be ignored: leave it out, or name a model (.keras) that embeds "
                "the items"
            )
    return from_file(path, name) if trial is None else from_trial(*trial, name=name)


def is_model(path: str | os.PathLike[str]) -> bool:
    """Return whether a path names a model, which embeds data; all else has embeddings."""
    return Path(path).suffix == ".keras"


def labeled(
    embedding_set: EmbeddingSet, path: str | os.PathLike[str] | None = None, *, drop_missing: bool = False
) -> tuple[EmbeddingSet, NDArray[Any]]:
    """Return the embedding set with labels, and the labels: its own, or those of a file.

    Args:
        embedding_set: the embeddings.
        path: a file of labels, as `read_labels` takes it.
        drop_missing: whether to leave out items without label; otherwise they are an error.

    Raises:
        DataError: labels are missing, or there is not one label for each embedding.
    """
    name, count = embedding_set.name, len(embedding_set.embeddings)
    labels = (
        embedding_set.labels
        if path is None
        else read_labels(path, embedding_set.ids, drop_missing=drop_missing)
    )
    if labels is None:
        raise DataError(
            f"{name!r} has embeddings without labels; pass them with --labels (.npy or .csv), or for a model "
            "name their column with --label NAME"
        )
    if labels.shape != (count,):
        raise DataError(
            f"labels should have the shape ({count},), one for each embedding, got {labels.shape}"
        )
    embedding_set = replace(embedding_set, labels=labels)
    if drop_missing:
        (embedding_set,), (labels,), notes = without_missing([embedding_set], [labels])
        embedding_set = replace(embedding_set, notes=(*embedding_set.notes, *notes))
    if embedding_set.of_pairs:
        labels = as_targets(labels, name if path is None else str(path))
        if len(np.unique(labels)) < 2:
            kind = "alike" if labels[0] else "not alike"
            note = f"All pairs are {kind}: rates, AUC and a threshold need pairs of both kinds."
            embedding_set = replace(embedding_set, notes=(*embedding_set.notes, note))
    return replace(embedding_set, labels=labels), labels


def without_missing(
    sets: Sequence[EmbeddingSet], columns: Sequence[NDArray[Any]]
) -> tuple[list[EmbeddingSet], list[NDArray[Any]], list[str]]:
    """Return aligned embedding sets and columns of labels without the items that lack a label in a column.

    Returns:
        The sets, the columns, and notes about it.
    """
    count = len(sets[0].embeddings)
    pairs = [column_and_missing(column, count) for column in columns]
    missing = np.any([absent for _, absent in pairs], axis=0)
    if not missing.any():
        return list(sets), [known for known, _ in pairs], []
    rows = np.flatnonzero(~missing)
    noun = "pairs" if sets[0].of_pairs else "items"
    notes = [f"{int(missing.sum()):,} of {count:,} {noun} have no label and are left out."]
    numbers = tuple(map(str, range(count)))  # the rows keep their numbers
    kept = [_taken(replace(each, ids=each.ids or numbers), rows) for each in sets]
    return kept, [known[rows] for known, _ in pairs], notes


def default_names(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return file names without endings, with as much of the path as makes them distinct.

    Example:
        >>> default_names(["old/vectors.npz", "new/vectors.npz", "new/others.npy", "study.yaml#14"])
        ['old/vectors.npz', 'new/vectors.npz', 'others', 'study#14']
    """
    names = [_name(path, 0) for path in paths]
    deepest = max((len(PurePath(path).parts) for path in paths), default=0)
    for depth in range(1, deepest + 1):
        ambiguous = {name for name in names if names.count(name) > 1}
        names = [
            _name(path, depth) if name in ambiguous else name for path, name in zip(paths, names, strict=True)
        ]
    return names


def _name(path: str | os.PathLike[str], depth: int) -> str:
    """Return the last `depth` parts of a path, or the file name without its ending, and the trial if any."""
    trial = trial_in(path)
    file = PurePath(trial[0] if trial else path)
    stem = file.stem if file.suffix in _ENDINGS else file.name
    name = "/".join(file.parts[-depth:]) if depth else stem
    return name if trial is None else f"{name}#{trial[1]}"


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


def untrained_sets(
    first: EmbeddingSet, untrained: Untrained, wanted: Sequence[str], done: str
) -> tuple[list[EmbeddingSet], list[str]]:
    """Return embeddings without training on the items of an embedding set, and notes.

    Args:
        first: the embedding set.
        untrained: function that returns the embeddings; see `EmbeddingSet.untrained`.
        wanted: names of baselines; if there are none, a failure is only a note.
        done: what happens to the embeddings, for that note: `compared`, `evaluated`.
    """
    try:
        found, notes = untrained(wanted)
        return [_on_items_of(first, each) for each in found], notes
    except SiamkitError as error:
        if wanted:
            raise
        return [], [f"No embedding without training was {done}: {error}"]


def _on_items_of(first: EmbeddingSet, other: EmbeddingSet) -> EmbeddingSet:
    """Return the other set on the items of the first, without other ids."""
    if first.ids is None:
        aligned([first, other])
        return replace(other, ids=None)
    _, found = aligned([first, other])[0]
    if len(found.embeddings) < len(first.embeddings):
        raise DataError(f"the data have {len(found.embeddings):,} of {len(first.embeddings):,} items only")
    return found


def with_labels(
    sets: Sequence[EmbeddingSet],
    labels: ArrayLike | str | os.PathLike[str] | None,
    *,
    drop_missing: bool = False,
) -> tuple[list[EmbeddingSet], NDArray[Any], list[str]]:
    """Return the sets with the class of each item, or the target of each pair, on which all sources agree.

    Args:
        sets: aligned embedding sets.
        labels: labels that the caller gave, or a file of them as `read_labels` takes it, or None.
        drop_missing: whether to leave out items without label; otherwise they are an error.

    Returns:
        The sets, the labels, and notes.

    Raises:
        DataError: labels are missing, or they disagree.
    """
    known = [
        (embedding_set.name, embedding_set.labels)
        for embedding_set in sets
        if embedding_set.labels is not None
    ]
    if isinstance(labels, (str, os.PathLike)):
        known.insert(0, (str(labels), read_labels(labels, sets[0].ids, drop_missing=drop_missing)))
    elif labels is not None:
        known.insert(0, ("labels", as_array(labels, name="labels")))
    if not known:
        raise DataError("no input has labels; pass them as labels=, or with --labels (.npy or .csv)")
    kept, notes = list(sets), list[str]()
    if drop_missing:
        kept, arrays, notes = without_missing(sets, [column for _, column in known])
        known = [(name, column) for (name, _), column in zip(known, arrays, strict=True)]
    columns = [(name, as_column(column, len(kept[0].embeddings))) for name, column in known]
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
    return kept, truth, notes


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
    """Return where classes differ; 1 equals 1.0 (as many tables store it) and "1"."""
    if not {a.dtype.kind, b.dtype.kind} <= set("biuf"):
        a, b = a.astype(str), b.astype(str)
    return np.asarray(a != b)
