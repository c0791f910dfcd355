"""Files that are there whole or not at all, in a folder or behind a URL that fsspec knows."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from upath import UPath

from siamkit.data.sources._paths import BROKEN_ARRAYS
from siamkit.errors import DataError, StudyError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
# As SQLite, HDF5 and NumPy say it, without a number.
FULL_WORDS = ("disk is full", "No space left on device", r"\d+ requested and \d+ written")


def place(where: str | os.PathLike[str]) -> Path:
    """A local path, or one of the same behaviour behind a URL (`s3://…`, `gs://…`, `memory://…`)."""
    if isinstance(where, str) and where.startswith(("file://", "local://")):
        return Path(LocalFileSystem._strip_protocol(where))  # of this machine, so with its locks and renames
    found: Any = UPath(where) if "://" in str(where) else Path(where)
    return found  # type: ignore[no-any-return]


def problem_of(where: str) -> str | None:
    """Why the file system of a URL is not to be had here, in a sentence."""
    try:
        found: Any = place(where)
        if not is_local(found):
            found.fs  # noqa: B018  # makes it, which wants its package
    except (ValueError, ImportError) as error:
        return f"{where!r} cannot be reached: {error}"
    return None


def shown(path: Path) -> str:
    """A path as seen from where one stands; a URL as it is."""
    return os.path.relpath(path) if is_local(path) else str(path)


def is_local(path: Path) -> bool:
    """Whether the operating system itself sees a path."""
    return isinstance(path, os.PathLike) and not isinstance(path, UPath)


def write_aside(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file beside its place and renames it, so that it is there whole or not at all.

    Behind a URL it is written to a temporary file and sent; object stores show only whole objects.
    """
    if not is_local(path):
        with tempfile.TemporaryDirectory(prefix="siamkit-") as folder:
            aside = Path(folder) / path.name
            write(aside)
            copy_file(aside, path)
        return
    with beside(path) as aside:
        write(aside)


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A place beside a local path, to write a file or folder in; renamed at the end, gone after any error.

    Args:
        path: where it will be; its parents are made. A file is replaced, and an empty folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The ending stays: Keras and NumPy go by it.
    aside = path.with_name(f".{secrets.token_hex(4)}{path.suffix}")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        if aside.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.unlink(missing_ok=True)


def writable(path: Path) -> None:
    """Raises DataError where no file can be made at a local path; its parents are made."""
    if path.is_dir():
        raise DataError(f"{str(path)!r} cannot be written: it is a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be written: {error.strerror or error}") from None


def copy_file(source: Path, target: Path) -> None:
    """The bytes of a file, either of them here or behind a URL."""
    with source.open("rb") as reading, target.open("wb") as writing:
        shutil.copyfileobj(reading, writing)


def write_text(path: Path, text: str) -> None:
    """UTF-8 text, whole or not at all; a question mark for what it cannot say, as of a file's broken name."""
    write_aside(path, lambda aside: aside.write_text(text, encoding="utf-8", errors="replace"))


def write_json(path: Path, value: Any) -> None:
    """Plain data as JSON."""
    write_text(path, json.dumps(plain(value), indent=1, ensure_ascii=False) + "\n")


def write_table(path: Path, columns: Mapping[str, Any]) -> None:
    """Columns of one length as Parquet."""
    table = pa.table({name: pa.array(column) for name, column in columns.items()})
    write_aside(path, lambda aside: pq.write_table(table, aside))


def write_array(path: Path, array: np.ndarray) -> None:
    """An array of numbers as `.npy`."""
    write_aside(path, lambda aside: np.save(aside, array, allow_pickle=False))


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Named arrays of numbers and words as `.npz`."""
    write_aside(path, lambda aside: np.savez_compressed(aside, **arrays))  # type: ignore[arg-type]


@contextmanager
def local_file(path: Path) -> Iterator[Path]:
    """A file as the operating system sees it; fetched first if it lies behind a URL."""
    if is_local(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="siamkit-") as folder:
        copy = Path(folder) / path.name
        with path.open("rb") as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target)
        yield copy


def read_table(path: Path) -> pa.Table:
    """A Parquet file.

    Raises:
        StudyError: it is damaged.
    """
    try:
        with path.open("rb") as file:
            return pq.read_table(file)
    except pa.ArrowException as error:
        raise StudyError(f"{shown(path)!r} is damaged: {error}") from None


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Named arrays from an `.npz` file.

    Raises:
        StudyError: it is damaged.
    """
    try:
        with path.open("rb") as file:
            arrays = np.load(file, allow_pickle=False)
            return {name: arrays[name] for name in arrays.files}
    except BROKEN_ARRAYS as error:
        raise StudyError(f"{shown(path)!r} is damaged: {error}") from None


@contextmanager
def disk_full_as_error(where: object) -> Iterator[None]:
    """Turns the error of a disk that is full into a sentence; any other keeps its traceback.

    Raises:
        StudyError: it is full, or cannot be written any more.
    """
    try:
        yield
    except OSError as error:
        if not no_room(error):
            raise
        raise StudyError(f"{str(where)!r} cannot be written: {error.strerror or error}") from error


def no_room(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, says that a disk is full or cannot be written any more."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        if any(re.search(words, str(error)) for words in FULL_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def plain(value: Any) -> Any:
    """NumPy numbers as Python's, tuples as lists, and NaN and infinity, which JSON lacks, as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
