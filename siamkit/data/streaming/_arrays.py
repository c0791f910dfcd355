"""Arrays in NumPy's files to embed, read a chunk at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np

from siamkit.data.dataset import Array
from siamkit.data.streaming.stream import Chunk, Stream, Wanted
from siamkit.errors import DataError, nearest
from siamkit.io.paths import BROKEN_ARRAYS, unreadable_as_error


class _Rows:
    """An array in NumPy's format, read row after row; not mapped, for pages that were read stay in memory."""

    def __init__(self, path: Path, name: str, file: IO[bytes]) -> None:
        self.path, self._file = path, file
        with unreadable_as_error(path, "NumPy's format", *BROKEN_ARRAYS):
            version = np.lib.format.read_magic(file)
            header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }
            if version not in header:
                raise ValueError(f"version {version} is not known")
            self.shape, fortran, self.dtype = header[version](file)
        if not self.shape or self.dtype.hasobject:
            raise DataError(f"{name} of {path} should be an array of items, not of Python objects")
        if fortran and len(self.shape) > 1:
            raise DataError(
                f"{name} of {path} is stored column by column, so that its rows cannot be read one after "
                "another; save np.ascontiguousarray of it"
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


def npy_stream(path: Path, wanted: Wanted, files: ExitStack) -> Stream:
    wanted.one_sided(path)
    rows = _Rows(path, "the array", files.enter_context(path.open("rb")))
    numbered = enumerate(rows.chunks(wanted.size))
    chunks = (
        Chunk(_numbers(at * wanted.size, len(items)), None, _shaped(items, wanted)) for at, items in numbered
    )
    return Stream(len(rows), chunks)


def npz_stream(path: Path, wanted: Wanted, files: ExitStack) -> Stream:
    with unreadable_as_error(path, "an .npz file", *BROKEN_ARRAYS):
        archive = files.enter_context(zipfile.ZipFile(path))
        names = [each.removesuffix(".npy") for each in archive.namelist() if each.endswith(".npy")]

    def opened(name: str) -> _Rows:
        if name not in names:
            raise DataError(f"{path} has no array {name!r}; {nearest(name, names)}")
        return _Rows(path, f"the array {name!r}", files.enter_context(archive.open(f"{name}.npy")))

    if len(wanted.columns) > 1:
        raise DataError(f"{path}: items come from one array, got {', '.join(wanted.columns)}")
    pairs = not wanted.columns and "x" not in names and {"a", "b"} <= set(names)
    if not pairs:
        wanted.one_sided(path)
    chosen = "ab"[wanted.side] if pairs else (wanted.columns or ("x",))[0]
    told = chosen == "x" or (pairs and wanted.judged)
    label = wanted.label or ("y" if told and "y" in names else None)
    rows = opened(chosen)
    beside = {each: opened(each) for each in {label, wanted.id} if each is not None}
    for name, other in beside.items():
        if other.shape != rows.shape[:1]:
            raise DataError(
                f"{path} should hold one {name!r} an item, got {other.shape} for {len(rows)} items"
            )
    others = {name: other.chunks(wanted.size) for name, other in beside.items()}

    def chunks() -> Iterator[Chunk]:
        for number, items in enumerate(rows.chunks(wanted.size)):
            found = {name: next(other) for name, other in others.items()}
            ids = (
                found[wanted.id].astype(np.str_).tolist()
                if wanted.id is not None
                else _numbers(number * wanted.size, len(items))
            )
            yield Chunk(ids, None if label is None else found[label], _shaped(items, wanted))

    return Stream(len(rows), chunks(), pairs)


def _numbers(start: int, count: int) -> list[str]:
    return [str(number) for number in range(start, start + count)]


def _shaped(items: Array, wanted: Wanted) -> Array:
    """A series of one feature may lack that axis, as in training."""
    shape = None if wanted.preprocessor is None else wanted.preprocessor.input_shape
    return items[..., None] if shape == (*items.shape[1:], 1) and items.ndim == 2 else items
