"""A study's prepared data as one object that is sent to other machines."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from siamkit.data.preprocessing.kinds import load_preprocessor
from siamkit.study.worker.prepared_data import PreparedData
from siamkit.study.worker.shared_arrays import shared


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
