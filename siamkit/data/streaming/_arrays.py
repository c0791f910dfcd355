"""Arrays in NumPy's files, read a chunk at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np

from siamkit.data.dataset import Array
from siamkit.data.streaming.stream import Chunk, Stream, StreamRequest
from siamkit.errors import DataError, nearest
from siamkit.io.paths import BROKEN_ARRAYS, unreadable_as_error


class _StoredArray:
    """An array in NumPy's format, read row by row; not memory-mapped, because read pages stay in memory."""

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
        if fortran and len(self.shape) > 1:
            raise DataError(
                f"{name} of {path} is stored column by column, so its rows cannot be read one by one; "
                "save np.ascontiguousarray of it"
            )

    def __len__(self) -> int:
        return int(self.shape[0])

    def chunks(self, size: int) -> Iterator[Array]:
        width = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        for start in range(0, len(self), size):
            count = min(size, len(self) - start)
            with unreadable_as_error(self.path, "NumPy's format", *BROKEN_ARRAYS):
                data = self._file.read(count * width)
                if len(data) < count * width:
                    raise EOFError("it ends early")
            yield np.frombuffer(data, dtype=self.dtype).reshape(count, *self.shape[1:])


def npy_stream(path: Path, request: StreamRequest, files: ExitStack) -> Stream:
    """Return the rows of an `.npy` file as items."""
    request.check_one_sided(path)
    array = _StoredArray(path, "the array", files.enter_context(path.open("rb")))

    def chunks() -> Iterator[Chunk]:
        for number, items in enumerate(array.chunks(request.size)):
            yield Chunk(_row_ids(number * request.size, len(items)), None, _as_trained(items, request))

    return Stream(len(array), chunks())


def npz_stream(path: Path, request: StreamRequest, files: ExitStack) -> Stream:
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
