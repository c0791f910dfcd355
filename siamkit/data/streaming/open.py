"""Items to embed, read a chunk at a time: however many there are, only a chunk is in memory.

Whoever trains needs a `Dataset`, in memory; whoever embeds needs each item once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path

import numpy as np

from siamkit.data.dataset import Dataset, take
from siamkit.data.preprocessing.scaling import ImageScaler
from siamkit.data.sources.images import MODES, images_in, read_image, without_hidden
from siamkit.data.streaming._arrays import npy_stream, npz_stream
from siamkit.data.streaming._tables import SUFFIXES, table_stream
from siamkit.data.streaming.stream import Chunk, Stream, Wanted
from siamkit.errors import DataError
from siamkit.io.paths import unreadable_as_error
from siamkit.registry.registry import components


@contextmanager
def items_in(data: str | os.PathLike[str], source: str | None, wanted: Wanted) -> Iterator[Stream]:
    """The items of a file or folder, or of a registered dataset."""
    path = Path(data)
    named = {name for name, entry in components().datasets.items() if "path" not in entry.spec.params}
    if source is None and (path.exists() or str(data) not in named):
        with open_stream(path, wanted) as stream:
            yield stream
        return
    entry = components().find("dataset", source or str(data))
    given = {"path": str(path)} if "path" in entry.spec.params else {}
    yield dataset_stream(entry.factory()(**given), wanted)


@contextmanager
def open_stream(path: Path, wanted: Wanted) -> Iterator[Stream]:
    """The items of a file or folder, by its ending; the file is open within the `with`.

    Raises:
        DataError: there is none, or it does not hold what is wanted; also later, while it is read.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist")
    readers: dict[str, Callable[[Path, Wanted, ExitStack], Stream]] = {
        ".npy": npy_stream,
        ".npz": npz_stream,
        **dict.fromkeys(SUFFIXES, table_stream),
    }
    read = _folder if path.is_dir() else readers.get(path.suffix.lower())
    if read is None:
        raise DataError(
            f"{path} should be a folder of images or end in {', '.join(readers)}, "
            f"got {path.suffix or 'no ending'!r}"
        )
    with ExitStack() as files:
        yield read(path, wanted, files)


def dataset_stream(dataset: Dataset, wanted: Wanted) -> Stream:
    """The items of a dataset in memory."""
    if len(dataset.views) == 1:
        wanted.one_sided("the dataset")
    view = dataset.views[min(wanted.side, len(dataset.views) - 1)]
    pairs = dataset.supervision in ("pairs", "scores")
    target = dataset.target if dataset.supervision == "labels" or (pairs and wanted.judged) else None

    def chunks() -> Iterator[Chunk]:
        for start in range(0, len(dataset), wanted.size):
            rows = np.arange(start, min(start + wanted.size, len(dataset)))
            labels = None if target is None else target[rows]
            yield Chunk(dataset.ids[rows].tolist(), labels, take(view, rows))

    return Stream(len(dataset), chunks(), pairs)


def _folder(path: Path, wanted: Wanted, files: ExitStack) -> Stream:
    """Images by class as in training, or, where there are no subfolders, without a class."""
    wanted.one_sided(path)
    scaler = wanted.preprocessor
    if not isinstance(scaler, ImageScaler) or scaler.input_shape[-1] not in MODES:
        raise DataError(f"{path} is a folder of images, but the model does not take images read from files")
    mode = MODES[scaler.input_shape[-1]]
    with unreadable_as_error(path, "a folder of images"):
        folders = sorted(each for each in without_hidden(path.iterdir()) if each.is_dir())

    def found() -> Iterator[tuple[Path, str | None]]:
        for folder in folders or [path]:
            yield from ((file, folder.name if folders else None) for file in images_in(folder))

    total = sum(1 for _ in found())
    if not total:
        raise DataError(f"{path} should hold images, got none")

    def chunks() -> Iterator[Chunk]:
        left = found()
        while some := list(islice(left, wanted.size)):
            images = np.stack([read_image(file, mode, scaler.size) for file, _ in some])
            labels = [label for _, label in some] if folders else None
            yield Chunk([file.relative_to(path).as_posix() for file, _ in some], labels, images)

    return Stream(total, chunks())
