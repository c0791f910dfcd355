"""Embedding sets from a model with data, and from a trial of a study, which has both."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from siamkit.backend import select
from siamkit.backend.select import float32_required
from siamkit.comparison.embedding_set import EmbeddingSet, TrialOrigin, thumbnails_in_data
from siamkit.comparison.untrained import untrained_in_data, untrained_in_study
from siamkit.data.dataset import Array, Leaf, length, take
from siamkit.data.preprocessing import Altered
from siamkit.data.streaming import Chunk, StreamRequest
from siamkit.data.streaming.open import open_items
from siamkit.data.thumbnails import Thumbnail
from siamkit.errors import ModelError, StudyError
from siamkit.evaluation.distances import PLAIN, Metric
from siamkit.inference.embed import OnRows, embed_stream
from siamkit.io.files import read_table
from siamkit.io.paths import BROKEN_ARRAYS, as_path, display_path, unreadable_as_error
from siamkit.registry.catalog import CORE
from siamkit.runs.results import Snapshot, TrialResult
from siamkit.runs.run_folder import RunFolder

if TYPE_CHECKING:
    from siamkit.study.worker.prepared_data import PreparedData


def from_model(
    model: str | os.PathLike[str],
    data: str | os.PathLike[str],
    name: str | None = None,
    on_rows: OnRows = lambda done, total: None,
    *,
    batch_size: int = 256,
    source: str | None = None,
    columns: Sequence[str] = (),
    label: str | None = None,
) -> EmbeddingSet:
    """Return the embeddings of data under a model, with its metric and threshold.

    Args:
        model: a `.keras` file of siamkit.
        data: the items to embed, as `siamkit embed` takes them. For pairs, in columns `left` and `right` or
            arrays `a` and `b`, both sides are embedded; `target` or `y` has their labels.
        name: the name for display; by default the file's name.
        on_rows: function called with the number of embedded items, and the total number or None if it is
            unknown.
        batch_size: number of items in a batch.
        source: the registered dataset that reads `data`.
        columns: the columns of a table, or the array of an `.npz` file, with the items; by default those that
            the model was trained on, else `left` and `right`, or `a` and `b`, of pairs.
        label: the column or array of labels.
    """
    select.prepare()
    from siamkit.model.factory import load_model

    loaded = load_model(model, compile=False)
    towers = len(loaded.encoders)
    options = StreamRequest(
        loaded.preprocessor,
        batch_size,
        towers=towers,
        columns=tuple(columns),
        label=label,
        with_targets=True,
    )

    def embed_side(number: int) -> _Side:
        side_options = replace(options, side=number)
        with open_items(data, source, side_options) as stream:
            side = _Side(stream.pairs)
            _, side.altered = embed_stream(stream, loaded, side, side_options, str(data), on_rows)
        return side

    first = embed_side(0)
    sides = [first, embed_side(1)] if first.of_pairs else [first]
    vectors = [np.concatenate(side.chunks) for side in sides]
    altered = sum((side.altered for side in sides), Altered())
    name = name or Path(model).stem
    return EmbeddingSet(
        name,
        np.stack(vectors, axis=1) if first.of_pairs else vectors[0],
        np.asarray(first.labels) if first.labels else None,
        tuple(first.ids),
        loaded.metric,
        loaded.threshold,
        loaded.count_params(),
        items=_item_numbers([side.keys for side in sides], towers > 1) if first.of_pairs else None,
        thumbnails=partial(thumbnails_in_data, data, options, source),
        untrained=partial(untrained_in_data, data, options, source),
        notes=(f"{name}: {altered.sentence()}.",) if altered else (),
    )


class _Side:
    """One side of the data, in memory."""

    def __init__(self, of_pairs: bool) -> None:
        self.of_pairs = of_pairs
        self.ids: list[str] = []
        self.labels: list[Any] = []
        self.chunks: list[Array] = []
        self.keys: list[str] = []
        self.altered = Altered()

    def items(self, chunk: Chunk) -> None:
        self.ids.extend(chunk.ids)
        if chunk.labels is not None:
            self.labels.extend(chunk.labels if isinstance(chunk.labels, list) else chunk.labels.tolist())
        if self.of_pairs:
            self.keys.extend(_content_keys(chunk.items))

    def embeddings(self, embeddings: Array) -> None:
        self.chunks.append(np.asarray(embeddings, np.float32))


def _content_keys(items: Leaf) -> Iterator[str]:
    """Yield a hash of each item's content: the embeddings of one item may differ in the last bit."""
    for row in range(length(items)):
        item = take(items, np.array([row]))
        columns = item.values() if isinstance(item, dict) else [item]
        contents = (
            repr(column.tolist()).encode() if column.dtype.kind in "OUT" else column.tobytes()
            for column in columns
        )
        yield hashlib.blake2b(b"|".join(contents), digest_size=16).hexdigest()


def _item_numbers(keys: Sequence[Sequence[str]], two_towers: bool) -> NDArray[np.int64]:
    """Return each side's item numbers, `(n, 2)` from 0; with two towers no item is on both sides."""
    names = [f"{side if two_towers else 0} {key}" for side, of_side in enumerate(keys) for key in of_side]
    return np.unique(names, return_inverse=True)[1].reshape(len(keys), -1).T.astype(np.int64)


BEST = "best"

_STUDY_FILES = (".yaml", ".yml")


def trial_in(path: str | os.PathLike[str]) -> tuple[str, str] | None:
    """Return the study and the trial of `study.yaml#14` or `runs/x#best`; None for any other path.

    Example:
        >>> trial_in("study.yaml#14"), trial_in("vectors.npy")
        (('study.yaml', '14'), None)
    """
    study, mark, trial = str(path).rpartition("#")
    if not mark or as_path(str(path)).exists():
        return None
    return (study, trial) if trial == BEST or trial.isdecimal() or is_study(study) else None


def is_study(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a study file or a run folder."""
    return str(path).endswith(_STUDY_FILES) or RunFolder(as_path(path)).exists()


def from_trial(study: str, trial: str, name: str | None = None) -> EmbeddingSet:
    """Return a trial's embeddings of the validation items.

    The embeddings of the best trials are stored. For any other trial the model embeds the items again, which
    requires the study file and its data.

    Args:
        study: a study file, or a run folder.
        trial: the trial's number, or `best` for the trial of the study's winner, as trained in the search.
        name: the name for display; by default the names of study and trial.

    Raises:
        StudyError: the study or the trial does not exist, or has neither embeddings nor a model.
    """
    folder = RunFolder(run_folder_of(study))
    snapshot = folder.snapshot()
    result, kind = _result_of(folder, trial)
    name = name or f"{Path(study).stem}#{trial}"
    file = folder.files(result).embeddings
    if file.is_file():
        with unreadable_as_error(file, "embeddings", *BROKEN_ARRAYS), file.open("rb") as stream:
            embeddings = np.load(stream, allow_pickle=False)
        ids, labels = _stored_items(folder, len(embeddings))
    else:
        embeddings, ids, labels = _embed_again(study, folder, snapshot, result)
    notes = (
        [f"{name} is trial {result.trial}, the {kind}, as trained in the search, on its validation split."]
        if kind
        else []
    )
    if len(ids) < len(embeddings):
        notes.append(f"{name}: only the first {len(ids):,} of {len(embeddings):,} items have stored ids.")
    parameters = result.value("parameters")
    return EmbeddingSet(
        name,
        embeddings[: len(ids)],
        labels,
        ids,
        _metric_of(folder, result),
        parameters=None if parameters is None else int(parameters),
        trial=TrialOrigin(str(folder.path), result.trial, result.factors),
        thumbnails=partial(_stored_thumbnails, folder),
        untrained=partial(_untrained, study, folder, snapshot) if study.endswith(_STUDY_FILES) else None,
        notes=tuple(notes),
    )


def run_folder_of(study: str) -> Path:
    """Return the run folder of a study, given its file or that folder itself."""
    if not study.endswith(_STUDY_FILES):
        return as_path(study)
    from siamkit.study.monitoring.locate import find_study  # late: it imports the storage

    return find_study(study).folder.path


def _result_of(folder: RunFolder, trial: str) -> tuple[TrialResult, str]:
    """Return the result of a trial; of the winner's, also what the winner is."""
    from siamkit.runs.outcome import read_outcome

    if trial != BEST and not trial.isdecimal():
        raise StudyError(f"a trial is named by its number or {BEST}, got {trial!r}")
    if trial != BEST:
        return folder.trial(int(trial)), ""
    outcome = read_outcome(folder.path)
    return folder.trial(outcome.trial), outcome.kind


def _stored_items(folder: RunFolder, count: int) -> tuple[tuple[str, ...], NDArray[Any]]:
    """Return the stored ids and targets of the validation items, at most `count` of them."""
    table = _items_table(folder).slice(0, count)
    return tuple(table.column("id").to_pylist()), np.array(table.column("target").to_pylist())


def _items_table(folder: RunFolder) -> pa.Table:
    """Read the table of validation items.

    Raises:
        StudyError: it is missing, or lacks a column.
    """
    file = folder.items
    if not file.is_file():
        raise StudyError(f"{display_path(file)!r} is missing, so the embedded items are unknown")
    table = read_table(file)
    missing = [name for name in ("id", "target") if name not in table.column_names]
    if missing:
        raise StudyError(f"{display_path(file)!r} is damaged: it lacks the column {missing[0]!r}")
    return table


def _stored_thumbnails(folder: RunFolder, ids: Collection[str]) -> dict[str, tuple[Thumbnail, ...]]:
    """Return the thumbnails in `items.parquet` of the items with these ids."""
    table = _items_table(folder)
    rows = {id: row for row, id in enumerate(table.column("id").to_pylist())}
    names = [f"{kind}_{side}" for side in "01" for kind in ("image", "text")]
    columns = {name: table.column(name) for name in names if name in table.column_names}

    def of_row(row: int) -> tuple[Thumbnail, ...]:
        values = {name: column[row].as_py() for name, column in columns.items()}
        return tuple(
            Thumbnail(image=value) if name.startswith("image") else Thumbnail(text=value)
            for name, value in values.items()
            if value is not None
        )

    thumbnails = {id: of_row(rows[id]) for id in ids if id in rows}
    return {id: sides for id, sides in thumbnails.items() if sides}


def _embed_again(
    study: str, folder: RunFolder, snapshot: Snapshot, result: TrialResult
) -> tuple[NDArray[np.float32], tuple[str, ...], NDArray[Any]]:
    """Embed the validation items with the trial's model; return embeddings, ids and targets."""
    trial = f"trial {result.trial} of the study in {display_path(folder.path)!r}"
    file = folder.files(result).model
    if not file.is_file():
        raise StudyError(f"{trial} has neither embeddings nor a model; train it again with siamkit retrain")
    if not study.endswith(_STUDY_FILES):
        raise StudyError(
            f"{trial} has no stored embeddings; name the study file instead of the run folder, so that the "
            "model can embed the validation items"
        )
    from siamkit.backend import select

    prepared, ids, targets = _items_of(study, folder, snapshot)
    select.prepare()
    from siamkit.model.factory import load_model

    model = load_model(file, compile=False)
    with float32_required():
        embeddings = model.embed_views(prepared.valid.views, preprocessed=True)
    return embeddings, ids, targets


def _items_of(
    study: str, folder: RunFolder, snapshot: Snapshot
) -> tuple[PreparedData, tuple[str, ...], NDArray[Any]]:
    """Read the data of a study again; return them with the ids and targets of the validation items."""
    from siamkit.study.config.load import load_study
    from siamkit.study.storage.open import check_same_training
    from siamkit.study.worker.prepared_data import prepare_data

    resolved = load_study(study)
    check_same_training(resolved, snapshot)
    prepared, raw = prepare_data(resolved)
    if prepared.record["fingerprint"] != snapshot.data.fingerprint:
        raise StudyError(
            f"the data of the study in {display_path(folder.path)!r} have changed, so the same items cannot "
            "be embedded"
        )
    assert raw.target is not None  # the study evaluated its trials with it
    return prepared, tuple(map(str, raw.ids)), np.array([str(target) for target in raw.target])


def _untrained(
    study: str, folder: RunFolder, snapshot: Snapshot, wanted: Sequence[str]
) -> tuple[list[EmbeddingSet], list[str]]:
    return untrained_in_study(*_items_of(study, folder, snapshot), wanted)


def _metric_of(folder: RunFolder, result: TrialResult) -> Metric:
    """Return a plain metric if the trial used one, else the metric of its model."""
    metric: Any = result.configuration.get("metric")
    if not isinstance(metric, dict):
        raise StudyError(
            f"the result of trial {result.trial} in {display_path(folder.path)!r} is damaged: it "
            "lacks configuration.metric"
        )
    name = metric["name"].removeprefix(f"{CORE}/")
    if name in PLAIN and not metric["params"]:
        return PLAIN[name]()
    file = folder.files(result).model
    if not file.is_file():
        raise ModelError(
            f"trial {result.trial} of the study in {display_path(folder.path)!r} uses the metric "
            f"{metric['name']} of its model, which is missing; train it again with siamkit retrain"
        )
    from siamkit.backend import select

    select.prepare()
    from siamkit.model.factory import load_model

    loaded: Metric = load_model(file, compile=False).metric
    return loaded
