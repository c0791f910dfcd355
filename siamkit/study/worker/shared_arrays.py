"""Prepared data for workers: files that the workers of a machine map, or one object for other machines."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import JsonValue

from siamkit.data.dataset import Array, Dataset, Leaf
from siamkit.data.preprocessing.columns import load_preprocessor
from siamkit.runs.results import Direction
from siamkit.study.worker.prepared_data import SPLITS, PreparedData, SplitName

# ------------------------------------------------------------------ files


def write_data(data: PreparedData, folder: Path) -> None:
    """Write prepared data, for `map_data`."""
    facts = data.preprocessor.facts
    description: dict[str, Any] = {
        "objectives": data.objectives,
        "constrained": data.constrained,
        "needs": {name: value for name, value in data.needs.items() if name not in facts},
        "record": data.record,
        "given": list(data.given),
        "models": dict(data.models),
    }
    for name in SPLITS:
        dataset: Dataset = getattr(data, name)
        (folder / name).mkdir(parents=True)
        description[name] = {
            "views": _write_views(dataset.views, folder / name / "view"),
            "raw": _write_views(data.raw.get(name, ()), folder / name / "raw"),
            "given": _write_views([each[name] for each in data.given.values()], folder / name / "given"),
            "supervision": dataset.supervision,
            "input": dataset.input,
        }
        if dataset.target is not None:
            _save(folder / name / "target.npy", dataset.target)
        _save(folder / name / "ids.npy", dataset.ids)
    if data.fold_of is not None:
        _save(folder / "fold_of.npy", data.fold_of)
    (folder / "preprocessor").mkdir()
    data.preprocessor.save(str(folder / "preprocessor"))
    (folder / "data.json").write_text(json.dumps(description), encoding="utf-8")


def map_data(folder: Path) -> PreparedData:
    """Return the prepared data that `write_data` wrote; the arrays are read from disk when they are used."""
    description = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    splits = {name: _map_split(folder / name, description[name]) for name in SPLITS}
    raw = {name: _map_views(folder / name / "raw", description[name]["raw"]) for name in SPLITS}
    given = {name: _map_views(folder / name / "given", description[name]["given"]) for name in SPLITS}
    preprocessor = load_preprocessor(str(folder / "preprocessor"))
    fold_of = folder / "fold_of.npy"
    return PreparedData(
        splits["train"],
        splits["valid"],
        splits["test"],
        preprocessor,
        description["objectives"],
        {**description["needs"], **preprocessor.facts},
        description["record"],
        {name: views for name, views in raw.items() if views},
        {
            baseline: {name: np.asarray(arrays[number]) for name, arrays in given.items()}
            for number, baseline in enumerate(description["given"])
        },
        description["models"],
        constrained=tuple(description["constrained"]),
        fold_of=_load(fold_of) if fold_of.is_file() else None,
    )


def _map_split(folder: Path, description: Any) -> Dataset:
    target = folder / "target.npy"
    return Dataset(
        _map_views(folder / "view", description["views"]),
        _load(target) if target.is_file() else None,
        description["supervision"],
        description["input"],
        ids=_load(folder / "ids.npy"),
    )


def _write_views(views: Sequence[Leaf], path: Path) -> list[list[str] | None]:
    """Write views under numbered names; return the names of the fields of each."""
    return [_write_view(view, path.with_name(f"{path.name}_{number}")) for number, view in enumerate(views)]


def _map_views(path: Path, fields: Sequence[list[str] | None]) -> tuple[Leaf, ...]:
    return tuple(
        _map_view(path.with_name(f"{path.name}_{number}"), names) for number, names in enumerate(fields)
    )


def _write_view(view: Leaf, path: Path) -> list[str] | None:
    """Write a view; return the names of its fields if it has any."""
    if not isinstance(view, dict):
        _save(path.with_suffix(".npy"), view)
        return None
    for number, values in enumerate(view.values()):  # numbers: a field's name may not do for a file
        _save(path.with_name(f"{path.name}_{number}.npy"), values)
    return list(view)


def _map_view(path: Path, names: list[str] | None) -> Leaf:
    if names is None:
        return _load(path.with_suffix(".npy"))
    return {name: _load(path.with_name(f"{path.name}_{number}.npy")) for number, name in enumerate(names)}


def _save(path: Path, values: Array) -> None:
    # Texts with a fixed width: objects would have to be pickled.
    np.save(path, values.astype(np.str_) if values.dtype == object else values, allow_pickle=False)


def _load(path: Path) -> Array:
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


# ------------------------------------------------------------------ one object


@dataclass(frozen=True)
class PackedData:
    """Prepared data with the files of the preprocessor: a tokenizer, for instance, cannot be pickled.

    The arrays are contiguous, so pickle's protocol 5 passes them outside its stream: shared memory holds them
    once on each machine.

    Args:
        splits: the datasets, by name.
        objectives, needs, record, raw, given, models, constrained, fold_of: as in `PreparedData`.
        preprocessor: the content of the preprocessor's files, by name.
    """

    splits: dict[SplitName, Dataset]
    objectives: dict[str, Direction]
    needs: dict[str, Any]
    record: dict[str, JsonValue]
    preprocessor: dict[str, bytes]
    raw: Mapping[SplitName, tuple[Leaf, ...]]
    given: Mapping[str, Mapping[SplitName, Array]]
    models: Mapping[str, str]
    constrained: tuple[str, ...]
    fold_of: Array | None

    @property
    def nbytes(self) -> int:
        """The bytes of all arrays."""
        return sum(array.nbytes for array in self._arrays())

    def _arrays(self) -> Iterator[Array]:
        for dataset in self.splits.values():
            for view in dataset.views:
                yield from view.values() if isinstance(view, dict) else [view]
            yield dataset.ids
            if dataset.target is not None:
                yield dataset.target


def pack(folder: Path) -> PackedData:
    """Return what `write_data` wrote, as an object."""
    data = map_data(folder)
    files = {file.name: file.read_bytes() for file in sorted((folder / "preprocessor").iterdir())}
    splits = {name: getattr(data, name) for name in SPLITS}
    return PackedData(
        splits,
        data.objectives,
        data.needs,
        data.record,
        files,
        data.raw,
        data.given,
        data.models,
        data.constrained,
        data.fold_of,
    )


def unpack(packed: PackedData) -> PreparedData:
    """Return the prepared data; its arrays are not copied."""
    with tempfile.TemporaryDirectory(prefix="siamkit-") as folder:
        for name, content in packed.preprocessor.items():
            (Path(folder) / name).write_bytes(content)
        preprocessor = load_preprocessor(folder)
    splits = packed.splits
    return PreparedData(
        splits["train"],
        splits["valid"],
        splits["test"],
        preprocessor,
        packed.objectives,
        packed.needs,
        packed.record,
        packed.raw,
        packed.given,
        packed.models,
        constrained=packed.constrained,
        fold_of=packed.fold_of,
    )
