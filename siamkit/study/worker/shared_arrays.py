"""Prepared data for workers: files that the workers of one machine map, or one object for other machines."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from siamkit.data.dataset import Array, Dataset, Leaf
from siamkit.data.preprocessing.kinds import load_preprocessor
from siamkit.study.worker.prepared_data import PreparedData

PARTS = ("train", "valid", "test")


def share(task: PreparedData, folder: Path) -> None:
    """Writes a task's arrays, its preprocessor and the rest of it."""
    facts = task.preprocessor.facts
    described: dict[str, Any] = {
        "objectives": task.objectives,
        "needs": {name: value for name, value in task.needs.items() if name not in facts},
        "record": task.record,
    }
    for part in PARTS:
        data: Dataset = getattr(task, part)
        (folder / part).mkdir(parents=True)
        described[part] = {
            "views": [
                _write(view, folder / part / f"view_{number}") for number, view in enumerate(data.views)
            ],
            "supervision": data.supervision,
            "input": data.input,
        }
        if data.target is not None:
            _save(folder / part / "target.npy", data.target)
        _save(folder / part / "ids.npy", data.ids)
    (folder / "preprocessor").mkdir()
    task.preprocessor.save(str(folder / "preprocessor"))
    (folder / "task.json").write_text(json.dumps(described), encoding="utf-8")


def shared(folder: Path) -> PreparedData:
    """Reads what `share` wrote; the arrays stay on disk until they are used."""
    described = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    parts = {part: _read_part(folder / part, described[part]) for part in PARTS}
    preprocessor = load_preprocessor(str(folder / "preprocessor"))
    return PreparedData(
        parts["train"],
        parts["valid"],
        parts["test"],
        preprocessor,
        described["objectives"],
        {**described["needs"], **preprocessor.facts},
        described["record"],
    )


def _read_part(folder: Path, described: dict[str, Any]) -> Dataset:
    target = folder / "target.npy"
    return Dataset(
        tuple(_read(folder / f"view_{number}", names) for number, names in enumerate(described["views"])),
        _load(target) if target.is_file() else None,
        described["supervision"],
        described["input"],
        ids=_load(folder / "ids.npy"),
    )


def _write(view: Leaf, path: Path) -> list[str] | None:
    """Writes a view; returns the names of its fields, if it has any."""
    if not isinstance(view, dict):
        _save(path.with_suffix(".npy"), view)
        return None
    for number, values in enumerate(view.values()):
        _save(path.with_name(f"{path.name}_{number}.npy"), values)
    return list(view)


def _read(path: Path, names: list[str] | None) -> Leaf:
    if names is None:
        return _load(path.with_suffix(".npy"))
    return {name: _load(path.with_name(f"{path.name}_{number}.npy")) for number, name in enumerate(names)}


def _save(path: Path, values: Array) -> None:
    # Texts as fixed-width ones: objects could only be pickled.
    np.save(path, values.astype(np.str_) if values.dtype == object else values, allow_pickle=False)


def _load(path: Path) -> Array:
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


@dataclass(frozen=True)
class PackedData:
    """A task whose preprocessor is what it stores: tokenizers and the like are not for pickling.

    Its arrays are contiguous, so that pickle's protocol 5 hands them on beside its stream: whoever
    keeps them in shared memory copies them once a machine.

    Args:
        task: all but the preprocessor.
        preprocessor: the files that it was stored as.
    """

    task: PreparedData
    preprocessor: dict[str, bytes]


def pack(folder: Path) -> PackedData:
    """What `siamkit.study.worker.shared_arrays.share` wrote, as an object."""
    files = {file.name: file.read_bytes() for file in sorted((folder / "preprocessor").iterdir())}
    nothing: Any = None
    return PackedData(replace(shared(folder), preprocessor=nothing), files)


def unpack(parcel: PackedData) -> PreparedData:
    """The task again; its arrays stay where they are."""
    with tempfile.TemporaryDirectory(prefix="siamkit-") as folder:
        for name, content in parcel.preprocessor.items():
            (Path(folder) / name).write_bytes(content)
        return replace(parcel.task, preprocessor=load_preprocessor(folder))


def weight(task: PreparedData) -> int:
    """The bytes of a task's arrays."""
    total = 0
    for part in (task.train, task.valid, task.test):
        for view in part.views:
            total += sum(each.nbytes for each in (view.values() if isinstance(view, dict) else [view]))
        total += part.ids.nbytes + (0 if part.target is None else part.target.nbytes)
    return total
