"""Open files, folders and datasets as streams: only one chunk of items is in memory at a time.

Training needs a `Dataset` in memory; embedding needs each item once.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from siamkit.data.dataset import Array, Dataset, take
from siamkit.data.preprocessing.scaling import ImageScaler
from siamkit.data.sources.images import CHANNELS, ImageReader, Resizing
from siamkit.data.sources.table_files import SUFFIXES
from siamkit.data.streaming import Chunk, Stream, StreamRequest, table_stream
from siamkit.errors import DataError, nearest
from siamkit.io.paths import BROKEN_ARRAYS, unreadable_as_error
from siamkit.registry.registry import components


@contextmanager
def open_items(data: str | os.PathLike[str], source: str | None, request: StreamRequest) -> Iterator[Stream]:
    """Open the items of a file or folder, or of a registered dataset.

    Args:
        data: a path, or the name of a registered dataset that needs no path.
        source: the registered dataset that reads `data`, or None to choose by the file's suffix.
        request: the items to read, and how.

    Raises:
        DataError: the data do not exist or do not fit the request; it may also be raised inside the `with`
            block, while the items are read.
    """
    path = Path(data)
    named = {name for name, entry in components().datasets.items() if "path" not in entry.spec.params}
    if source is None and (path.exists() or str(data) not in named):
        with open_file(path, request) as stream:
            yield stream
        return
    entry = components().find("dataset", source or str(data))
    if entry.qualified == "siamkit/image_folder":  # in the model's size, not in the one of these images
        with open_file(path, request) as stream:
            yield stream
        return
    arguments: dict[str, Any] = {"path": str(path)} if "path" in entry.spec.params else {}
    if not arguments and source is not None and source != str(data):
        raise DataError(
            f"the dataset {source!r} reads no file, so {str(data)!r} would be ignored: write {source} in its "
            "place"
        )
    if request.skip_unreadable and "skip_unreadable" in entry.spec.params:
        arguments["skip_unreadable"] = True
    yield dataset_stream(entry.factory()(**arguments), request)


@contextmanager
def open_file(path: Path, request: StreamRequest) -> Iterator[Stream]:
    """Open the items of a file or folder; the file is closed at the end of the `with` block.

    Raises:
        DataError: the path does not exist or does not fit the request; it may also be raised inside the
            `with` block, while the items are read.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist")
    readers: dict[str, Callable[[Path, StreamRequest, ExitStack], Stream]] = {
        ".npy": _npy_stream,
        ".npz": _npz_stream,
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
    request.check_unnamed("the dataset")
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

    return Stream(len(dataset), chunks(), pairs, dataset.notes)


def _folder_stream(path: Path, request: StreamRequest, files: ExitStack) -> Stream:
    """Return images by class as in training, or without classes if the folder has no subfolders."""
    request.check_unnamed(path)
    request.check_one_sided(path)
    scaler = request.preprocessor
    if not isinstance(scaler, ImageScaler) or scaler.input_shape[-1] not in CHANNELS.values():
        raise DataError(f"{path} is a folder of images, but the model does not take images read from files")
    remedy = "embed them with siamkit embed --skip-unreadable (in Python skip_unreadable=True)"
    reader = ImageReader(path, scaler.input_shape[-1], request.skip_unreadable, remedy)
    resizing = Resizing(scaler.size, scaler.image_fit)
    total = sum(1 for _ in reader.files())
    if not total:
        raise DataError(f"{path} should hold images, got none")
    notes: list[str] = []

    def chunks() -> Iterator[Chunk]:
        remaining = reader.files()
        while files := list(islice(remaining, request.size)):
            images = zip(files, reader.read((file for file, _ in files), resizing), strict=True)
            kept = [(file, label, pixels) for (file, label), pixels in images if pixels is not None]
            # If images cannot be left out, the rest is only read to name them all at once.
            if kept and (request.skip_unreadable or not reader.unreadable):
                ids = [reader.id(file) for file, _, _ in kept]
                labels = None if kept[0][1] is None else [label for _, label, _ in kept]
                yield Chunk(ids, labels, np.stack([pixels for _, _, pixels in kept]))
        notes.extend(reader.notes())

    return Stream(total, chunks(), notes=notes)


# ------------------------------------------------------------------ arrays in NumPy's files


class _StoredArray:
    """An array in NumPy's format, read row by row; a memory map would keep the pages it read in memory."""

    def __init__(self, path: Path, name: str, file: IO[bytes]) -> None:
        self.path, self._file = path, file
        with unreadable_as_error(path, "NumPy's format", *BROKEN_ARRAYS):
            version = np.lib.format.read_magic(file)
            readers = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }
            if version not in readers:
                raise ValueError(f"version {version} is unknown")
            self.shape, fortran, self.dtype = readers[version](file)
        if not self.shape or self.dtype.hasobject:
            raise DataError(f"{name} of {path} should be an array of items, not of Python objects")
        # Stored column by column, its rows cannot be read one by one: it is read whole.
        self._is_whole = fortran and len(self.shape) > 1

    def __len__(self) -> int:
        return int(self.shape[0])

    def chunks(self, size: int) -> Iterator[Array]:
        width = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        if self._is_whole:
            items = self._read(len(self) * width).reshape(self.shape[::-1]).transpose()
            yield from (items[start : start + size] for start in range(0, len(self), size))
            return
        for start in range(0, len(self), size):
            count = min(size, len(self) - start)
            yield self._read(count * width).reshape(count, *self.shape[1:])

    def _read(self, count: int) -> Array:
        with unreadable_as_error(self.path, "NumPy's format", *BROKEN_ARRAYS):
            data = self._file.read(count)
            if len(data) < count:
                raise EOFError("it ends early")
        # In the byte order of this machine: Arrow and backends take no other.
        return np.frombuffer(data, self.dtype).astype(self.dtype.newbyteorder("="), copy=False)


def _npy_stream(path: Path, request: StreamRequest, files: ExitStack) -> Stream:
    """Return the rows of an `.npy` file as items."""
    request.check_unnamed(path)
    request.check_one_sided(path)
    array = _StoredArray(path, "the array", files.enter_context(path.open("rb")))

    def chunks() -> Iterator[Chunk]:
        for number, items in enumerate(array.chunks(request.size)):
            yield Chunk(_row_ids(number * request.size, len(items)), None, _as_trained(items, request))

    return Stream(len(array), chunks())


def _npz_stream(path: Path, request: StreamRequest, files: ExitStack) -> Stream:
    """Return the rows of an array of an `.npz` file as items, with labels and ids from other arrays."""
    with unreadable_as_error(path, "an .npz file", *BROKEN_ARRAYS):
        archive = files.enter_context(zipfile.ZipFile(path))
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]

    def open_array(name: str) -> _StoredArray:
        if name not in names:
            raise DataError(f"{path} has no array {name!r}; {nearest(name, names)}")
        return _StoredArray(path, f"the array {name!r}", files.enter_context(archive.open(f"{name}.npy")))

    if len(request.columns) > 1:
        raise DataError(f"{path}: items are in one array, got {', '.join(request.columns)}")
    pairs = not request.columns and "x" not in names and {"a", "b"} <= set(names)
    if not pairs:
        request.check_one_sided(path)
    chosen = "ab"[request.side] if pairs else (request.columns or ("x",))[0]
    has_labels = chosen == "x" or (pairs and request.with_targets)
    label = request.label or ("y" if has_labels and "y" in names else None)
    array = open_array(chosen)
    others = {name: open_array(name) for name in {label, request.id} if name is not None}
    for name, other in others.items():
        if other.shape != array.shape[:1]:
            raise DataError(
                f"{path} should hold one {name!r} per item, got {other.shape} for {len(array)} items"
            )
    other_chunks = {name: other.chunks(request.size) for name, other in others.items()}

    def chunks() -> Iterator[Chunk]:
        for number, items in enumerate(array.chunks(request.size)):
            values = {name: next(other) for name, other in other_chunks.items()}
            ids = (
                values[request.id].astype(np.str_).tolist()
                if request.id is not None
                else _row_ids(number * request.size, len(items))
            )
            yield Chunk(ids, None if label is None else values[label], _as_trained(items, request))

    return Stream(len(array), chunks(), pairs)


def _row_ids(start: int, count: int) -> list[str]:
    return [str(number) for number in range(start, start + count)]


def _as_trained(items: Array, request: StreamRequest) -> Array:
    """Add the feature axis that a series of one feature may lack, as in training."""
    shape = None if request.preprocessor is None else request.preprocessor.input_shape
    return items[..., None] if shape == (*items.shape[1:], 1) and items.ndim == 2 else items
