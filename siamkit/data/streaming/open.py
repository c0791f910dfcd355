"""Open files, folders and datasets as streams: only one chunk of items is in memory at a time.

Training needs a `Dataset` in memory; embedding needs each item once.
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
from siamkit.data.streaming.stream import Chunk, Stream, StreamRequest
from siamkit.errors import DataError
from siamkit.io.paths import unreadable_as_error
from siamkit.registry.registry import components


@contextmanager
def open_items(data: str | os.PathLike[str], source: str | None, request: StreamRequest) -> Iterator[Stream]:
    """Open the items of a file or folder, or of a registered dataset.

    Args:
        data: a path, or the name of a registered dataset that needs no path.
        source: the registered dataset that reads `data`, or None to choose by the file's suffix.
        request: which items to read.

    Raises:
        DataError: the data do not exist or do not suit the request; also later, while they are read.
    """
    path = Path(data)
    named = {name for name, entry in components().datasets.items() if "path" not in entry.spec.params}
    if source is None and (path.exists() or str(data) not in named):
        with open_file(path, request) as stream:
            yield stream
        return
    entry = components().find("dataset", source or str(data))
    arguments = {"path": str(path)} if "path" in entry.spec.params else {}
    yield dataset_stream(entry.factory()(**arguments), request)


@contextmanager
def open_file(path: Path, request: StreamRequest) -> Iterator[Stream]:
    """Open the items of a file or folder; the file is closed at the end of the `with` block.

    Raises:
        DataError: the path does not exist or does not suit the request; also later, while it is read.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist")
    readers: dict[str, Callable[[Path, StreamRequest, ExitStack], Stream]] = {
        ".npy": npy_stream,
        ".npz": npz_stream,
        **dict.fromkeys(SUFFIXES, table_stream),
    }
    read = _folder_stream if path.is_dir() else readers.get(path.suffix.lower())
    if read is None:
        raise DataError(
            f"{path} should be a folder of images or end in {', '.join(readers)}, "
            f"got {path.suffix or 'no suffix'!r}"
        )
    with ExitStack() as files:
        yield read(path, request, files)


def dataset_stream(dataset: Dataset, request: StreamRequest) -> Stream:
    """Return the items of a dataset in memory."""
    if len(dataset.views) == 1:
        request.check_one_sided("the dataset")
    view = dataset.views[min(request.side, len(dataset.views) - 1)]
    pairs = dataset.supervision in ("pairs", "scores")
    has_labels = dataset.supervision == "labels" or (pairs and request.with_targets)
    target = dataset.target if has_labels else None

    def chunks() -> Iterator[Chunk]:
        for start in range(0, len(dataset), request.size):
            rows = np.arange(start, min(start + request.size, len(dataset)))
            labels = None if target is None else target[rows]
            yield Chunk(dataset.ids[rows].tolist(), labels, take(view, rows))

    return Stream(len(dataset), chunks(), pairs)


def _folder_stream(path: Path, request: StreamRequest, files: ExitStack) -> Stream:
    """Return images by class as in training, or without classes if the folder has no subfolders."""
    request.check_one_sided(path)
    scaler = request.preprocessor
    if not isinstance(scaler, ImageScaler) or scaler.input_shape[-1] not in MODES:
        raise DataError(f"{path} is a folder of images, but the model does not take images read from files")
    mode = MODES[scaler.input_shape[-1]]
    with unreadable_as_error(path, "a folder of images"):
        folders = sorted(inside for inside in without_hidden(path.iterdir()) if inside.is_dir())

    def images() -> Iterator[tuple[Path, str | None]]:
        for folder in folders or [path]:
            yield from ((file, folder.name if folders else None) for file in images_in(folder))

    total = sum(1 for _ in images())
    if not total:
        raise DataError(f"{path} should hold images, got none")

    def chunks() -> Iterator[Chunk]:
        remaining = images()
        while chunk := list(islice(remaining, request.size)):
            pixels = np.stack([read_image(file, mode, scaler.size) for file, _ in chunk])
            labels = [label for _, label in chunk] if folders else None
            yield Chunk([file.relative_to(path).as_posix() for file, _ in chunk], labels, pixels)

    return Stream(total, chunks())
