"""A trial of a study: what it stored of the validation items, or what its model makes of them again."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from siamkit.backend.precision import float32_required
from siamkit.comparison.inputs import EmbeddingSet
from siamkit.data.thumbnails import Thumbnail
from siamkit.errors import ModelError, StudyError
from siamkit.evaluation.plain_metrics import PLAIN
from siamkit.io.files import read_table
from siamkit.io.paths import BROKEN_ARRAYS, as_path, display_path, unreadable_as_error
from siamkit.registry.catalog import CORE
from siamkit.runs.results import Snapshot, TrialResult
from siamkit.runs.run_folder import RunFolder

BEST = "best"


def trial_in(path: str | os.PathLike[str]) -> tuple[str, str] | None:
    """The study and the trial of `study.yaml#14` or `runs/x#best`; None of a path to anything else.

    Example:
        >>> from siamkit.comparison.from_trial import trial_in
        >>> trial_in("study.yaml#14"), trial_in("vectors.npy")
        (('study.yaml', '14'), None)
    """
    study, mark, which = str(path).rpartition("#")
    if not mark or as_path(str(path)).exists():
        return None
    return (study, which) if which == BEST or which.isdecimal() or is_study(study) else None


def is_study(path: str | os.PathLike[str]) -> bool:
    """Whether a path leads to a study file or a run folder."""
    return str(path).endswith((".yaml", ".yml")) or RunFolder(as_path(path)).exists()


def read_trial(study: str, which: str, name: str | None = None) -> EmbeddingSet:
    """What a trial made of the validation items.

    Embeddings are stored of the best trials; of any other the model embeds the items again, for which
    the study file has to be named, and its data have to be there.

    Args:
        study: a study file, or a run folder.
        which: the trial's number, or `best`: the trial that won, as it was trained in the search.
        name: for people.

    Raises:
        StudyError: no such study or trial, or nothing is left of it.
    """
    folder = RunFolder(run_folder_of(study))
    snapshot = folder.snapshot()
    stored = _stored(folder, which)
    called = name or f"{Path(study).stem}#{which}"
    file = folder.files(stored).embeddings
    if file.is_file():
        with unreadable_as_error(file, "embeddings", *BROKEN_ARRAYS), file.open("rb") as opened:
            embeddings = np.load(opened, allow_pickle=False)
        ids, truth = _items(folder, len(embeddings))
    else:
        embeddings, ids, truth = _embedded(study, folder, snapshot, stored)
    about: dict[str, Any] = {"study": str(folder.path), "trial": stored.trial, "factors": stored.factors}
    if "parameters" in stored.measures:
        about["parameters"] = stored.measures["parameters"]
    notes = []
    if len(ids) < len(embeddings):
        notes.append(
            f"Of {called} only the first {len(ids):,} of {len(embeddings):,} items have names stored."
        )
    return EmbeddingSet(
        called,
        embeddings[: len(ids)],
        truth,
        ids,
        _metric(folder, stored),
        about=about,
        notes=tuple(notes),
        looks=lambda wanted: stored_looks(folder, wanted),
    )


def stored_looks(folder: RunFolder, wanted: Collection[str]) -> dict[str, tuple[Thumbnail, ...]]:
    """How items of a study look, those of them that `items.parquet` shows."""
    table = _items_table(folder)
    rows = {id: row for row, id in enumerate(table.column("id").to_pylist())}
    columns = [f"{kind}_{number}" for number in "01" for kind in ("image", "text")]
    sides = [name for name in columns if name in table.column_names]

    def looks(row: int) -> tuple[Thumbnail, ...]:
        values = [(name, table.column(name)[row].as_py()) for name in sides]
        return tuple(
            Thumbnail(image=value) if name.startswith("image") else Thumbnail(text=value)
            for name, value in values
            if value is not None
        )

    found = {id: looks(rows[id]) for id in wanted if id in rows}
    return {id: each for id, each in found.items() if each}


def run_folder_of(study: str) -> Path:
    """The run folder of a study that is named by its file, or by that folder itself."""
    if not study.endswith((".yaml", ".yml")):
        return as_path(study)
    from siamkit.study.monitoring.locate import find_study  # late: it brings the storage along

    return find_study(study).folder.path


def _stored(folder: RunFolder, which: str) -> TrialResult:
    from siamkit.runs.outcome import read_outcome

    if which != BEST and not which.isdecimal():
        raise StudyError(f"a trial is named by its number or as {BEST}, got {which!r}")
    return folder.trial(read_outcome(folder.path).trial if which == BEST else int(which))


def _items(folder: RunFolder, count: int) -> tuple[tuple[str, ...], NDArray[Any]]:
    """Ids and targets of the validation items, of as many of them as both are known of."""
    table = _items_table(folder).slice(0, count)
    return tuple(table.column("id").to_pylist()), np.array(table.column("target").to_pylist())


def _items_table(folder: RunFolder) -> pa.Table:
    """Read the table of validation items.

    Raises:
        StudyError: it is missing, or lacks a column.
    """
    file = folder.items
    if not file.is_file():
        raise StudyError(f"{display_path(file)!r} is missing; it says which items were embedded")
    table = read_table(file)
    missing = [name for name in ("id", "target") if name not in table.column_names]
    if missing:
        raise StudyError(f"{display_path(file)!r} is damaged: it lacks the column {missing[0]!r}")
    return table


def _embedded(
    study: str, folder: RunFolder, snapshot: Snapshot, stored: TrialResult
) -> tuple[NDArray[np.float32], tuple[str, ...], NDArray[Any]]:
    """The validation items embedded again."""
    trial = f"trial {stored.trial} of the study in {display_path(folder.path)!r}"
    file = folder.files(stored).model
    if not file.is_file():
        raise StudyError(
            f"neither embeddings nor a model are kept of {trial}; siamkit retrain makes its model again"
        )
    if not study.endswith((".yaml", ".yml")):
        raise StudyError(
            f"no embeddings are stored of {trial}; name the study file instead of its run folder, so that "
            "its model can embed the validation items"
        )
    from siamkit.backend import select
    from siamkit.study.config.load import load_study
    from siamkit.study.worker.prepared_data import prepare_data

    task, raw = prepare_data(load_study(study))
    if task.record["fingerprint"] != snapshot.data.fingerprint:
        raise StudyError(
            f"no embeddings are stored of {trial}, and the study's data have changed since, so its model "
            "cannot embed the same items"
        )
    select.prepare()
    from siamkit.model.load import load_model

    model = load_model(file, compile=False)
    with float32_required():
        embeddings = model.embed_views(task.valid.views, preprocessed=True)
    assert raw.target is not None  # or the study had not judged by it
    return embeddings, tuple(map(str, raw.ids)), np.array([str(each) for each in raw.target])


def _metric(folder: RunFolder, stored: TrialResult) -> Any:
    """The metric's name where a plain one will do, else the model's own."""
    metric: Any = stored.configuration["metric"]
    if metric["name"].removeprefix(f"{CORE}/") in PLAIN and not metric["params"]:
        return PLAIN[metric["name"].removeprefix(f"{CORE}/")]()
    file = folder.files(stored).model
    if not file.is_file():
        raise ModelError(
            f"trial {stored.trial} of the study in {display_path(folder.path)!r} compares by "
            f"{metric['name']}, which only its model knows, and the model is missing; train it again with "
            "siamkit retrain"
        )
    from siamkit.backend import select

    select.prepare()
    from siamkit.model.load import load_model

    return load_model(file, compile=False).metric
