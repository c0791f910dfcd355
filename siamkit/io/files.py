"""Files that are written completely or not at all: text, JSON, tables and arrays; files of embeddings."""

from __future__ import annotations

import contextlib
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from siamkit.errors import DataError, SiamkitError, StudyError
from siamkit.io.paths import BROKEN_ARRAYS, arrow_file, display_path, is_local, unreadable_as_error
from siamkit.io.values import as_array

_DISK_FULL_CODES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)
# The words of SQLite, HDF5 and NumPy, whose errors carry no code.
_DISK_FULL_WORDS = ("disk is full", "No space left on device", r"\d+ requested and \d+ written")


def write_atomic(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file under a temporary name and rename it, so that it is complete or absent.

    Behind a URL the temporary file is uploaded; object stores show only complete objects.

    Args:
        path: the file, local or behind a URL.
        write: function that writes the content to the path that it is called with.
    """
    if not is_local(path):
        with tempfile.TemporaryDirectory(prefix="siamkit-") as folder:
            temporary = Path(folder) / path.name
            write(temporary)
            copy_file(temporary, path)
        return
    with atomic_path(path) as temporary:
        write(temporary)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; it is renamed at the end and deleted after an error.

    Args:
        path: the final local path of the file or folder; its parents are created. An existing file is
            replaced, and so is an empty folder.

    Raises:
        StudyError: the disk is full or cannot be written.
    """
    with disk_full_as_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix stays: Keras and NumPy choose the format by it.
        temporary = path.with_name(f".{secrets.token_hex(4)}{path.suffix}")
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):  # on a read-only disk, the error of the write matters
                if temporary.is_dir():
                    shutil.rmtree(temporary, ignore_errors=True)
                else:
                    temporary.unlink(missing_ok=True)


def copy_file(source: Path, target: Path) -> None:
    """Copy the bytes of a file; each path may be local or behind a URL."""
    with source.open("rb") as reading, target.open("wb") as writing:
        shutil.copyfileobj(reading, writing)


@contextmanager
def local_file(path: Path) -> Iterator[Path]:
    """Yield a local path to a file; a file behind a URL is downloaded first."""
    if is_local(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="siamkit-") as folder:
        copy = Path(folder) / path.name
        copy_file(path, copy)
        yield copy


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text; what UTF-8 cannot encode, such as a broken file name, becomes a question mark."""
    write_atomic(path, lambda file: file.write_text(text, encoding="utf-8", errors="replace"))


def write_json(path: Path, value: Any) -> None:
    """Write plain data as JSON."""
    write_text(path, json.dumps(to_jsonable(value), indent=1, ensure_ascii=False) + "\n")


def write_table(path: Path, columns: Mapping[str, Any]) -> None:
    """Write columns of equal length as Parquet."""
    from pyarrow import parquet  # late: slow to import

    table = pa.table({name: pa.array(column) for name, column in columns.items()})
    write_atomic(path, lambda file: parquet.write_table(table, file))


def write_array(path: Path, array: np.ndarray) -> None:
    """Write a numeric array as `.npy`."""
    write_atomic(path, lambda file: np.save(file, array, allow_pickle=False))


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays of numbers or strings as `.npz`."""
    write_atomic(path, lambda file: np.savez_compressed(file, **arrays))  # type: ignore[arg-type]


def read_table(path: Path) -> pa.Table:
    """Read a Parquet file.

    Raises:
        StudyError: the file is damaged.
    """
    from pyarrow import parquet  # late: slow to import

    try:
        # Not from the file: a thread of Arrow could drop its last reference while Python exits, which
        # aborts. `parquet.read_table` would take five times as long for a small file.
        return parquet.ParquetFile(pa.BufferReader(path.read_bytes())).read(use_threads=False)
    except pa.ArrowException as error:
        raise StudyError(f"{display_path(path)!r} is damaged: {error}") from None


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the named arrays of an `.npz` file.

    Raises:
        StudyError: the file is damaged.
    """
    try:
        with path.open("rb") as file:
            arrays = np.load(file, allow_pickle=False)
            return {name: arrays[name] for name in arrays.files}
    except BROKEN_ARRAYS as error:
        raise StudyError(f"{display_path(path)!r} is damaged: {error}") from None


# ------------------------------------------------------------------ embeddings

ENDINGS = (".npy", ".npz", ".parquet")
"""Endings of files of embeddings."""

_ARRAYS = {"x": "embedding", "embeddings": "embedding", "y": "label", "labels": "label", "ids": "id"}


@dataclass(frozen=True)
class StoredEmbeddings:
    """The content of a file of embeddings.

    Args:
        embeddings: `(n, dim)`, or of pairs `(n, 2, dim)`.
        labels: `(n,)` labels; None without.
        ids: `(n,)` ids; None without.
        description: what `siamkit embed` wrote about its model; empty in other files.
    """

    embeddings: NDArray[np.float32]
    labels: NDArray[Any] | None
    ids: tuple[str, ...] | None
    description: dict[str, Any]


def read_embeddings_file(file: Path) -> StoredEmbeddings:
    """Read a file of embeddings.

    Args:
        file: `.npy` `(n, dim)`, or `(n, 2, dim)` of pairs; `.npz` with `x` or `embeddings` of such a shape,
            or `a` and `b` `(n, dim)`, the two sides of pairs, and optionally `y` or `labels`, and `ids`;
            `.parquet` with a list column `embedding` and optionally `label` and `id`.

    Raises:
        DataError: the file does not exist, or does not contain embeddings.
    """
    if file.is_dir():
        raise DataError(f"{str(file)!r} is a folder; a file of embeddings ends in {', '.join(ENDINGS)}")
    if not file.is_file():
        raise DataError(f"{str(file)!r} does not exist; a file of embeddings ends in {', '.join(ENDINGS)}")
    description: dict[str, Any] = {}
    with unreadable_as_error(file, "a file of embeddings", *BROKEN_ARRAYS):
        if file.suffix == ".npy":
            columns = {"embedding": np.load(file, allow_pickle=False)}
        elif file.suffix == ".npz":
            columns = _npz_columns(file)
        elif file.suffix == ".parquet":
            columns, description = _parquet_columns(file)
        else:
            raise DataError(f"a file of embeddings should end in {', '.join(ENDINGS)}, got {str(file)!r}")
    vectors = np.asarray(columns["embedding"])
    if not holds_embeddings(vectors):
        raise DataError(
            f"{str(file)!r} should contain embeddings, numbers (n, dim) or of pairs (n, 2, dim), "
            f"got {vectors.dtype} of shape {vectors.shape}"
        )
    for key in ("label", "id"):
        if key in columns and columns[key].ndim != 1:
            raise DataError(
                f"{str(file)!r} should have one {key} for each embedding, got the shape {columns[key].shape}"
            )
        if key in columns and len(columns[key]) != len(vectors):
            raise DataError(f"{str(file)!r} has {len(vectors)} embeddings but {len(columns[key])} {key}s")
    ids = tuple(str(id) for id in columns["id"]) if "id" in columns else None
    return StoredEmbeddings(as_float32(vectors), columns.get("label"), ids, description)


def as_float32(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Return embeddings as float32; overflow becomes infinity, which every evaluation refuses."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(vectors, dtype=np.float32)


def holds_embeddings(array: NDArray[Any]) -> bool:
    """Return whether an array has numbers `(n, dim)`, or `(n, 2, dim)` of pairs."""
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[1] == 2)
    return shaped and array.dtype.kind in "fiu" and 0 not in array.shape


def _npz_columns(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:  # NumPy would not close a damaged file
        arrays = np.load(stream, allow_pickle=False)
        if isinstance(arrays, np.ndarray):
            raise ValueError("it contains a single array, not named ones")
        columns = {_ARRAYS[name]: arrays[name] for name in arrays.files if name in _ARRAYS}
        if "embedding" not in columns and {"a", "b"} <= set(arrays.files):
            a, b = arrays["a"], arrays["b"]
            if a.shape != b.shape:
                raise DataError(
                    f"{str(file)!r} should contain a and b of the same shape, got {a.shape} and {b.shape}"
                )
            columns["embedding"] = np.stack([a, b], axis=1)
        if "embedding" not in columns:
            raise DataError(
                f"{str(file)!r} should contain an array x (n, dim) of embeddings, or a and b of pairs, "
                f"got {', '.join(arrays.files)}"
            )
    return columns


def _parquet_columns(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the columns, and the description of the model that `siamkit embed` wrote; empty without one."""
    from pyarrow import compute, parquet, types  # late: slow to import

    with arrow_file(file) as stream:
        table = parquet.read_table(stream)
    if "embedding" not in table.column_names:
        raise DataError(
            f"{str(file)!r} should have a column embedding, a list of numbers in each row, "
            f"got {', '.join(table.column_names)}"
        )
    column = table.column("embedding")
    if not (
        types.is_list(column.type)
        or types.is_large_list(column.type)
        or types.is_fixed_size_list(column.type)
    ):
        raise DataError(
            f"the column embedding of {str(file)!r} should have a list of numbers in each row, "
            f"got {column.type}"
        )
    lengths = compute.unique(compute.list_value_length(column)).to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        raise DataError(f"{str(file)!r} should have embeddings of one length, got {lengths[:5]}")
    flat = np.asarray(compute.list_flatten(column))
    columns: dict[str, Any] = {"embedding": flat.reshape(len(table), -1)}
    for key in ("label", "id"):
        if key in table.column_names:
            columns[key] = as_array(table.column(key), name=key)
    description = json.loads((table.schema.metadata or {}).get(b"siamkit", b"{}"))
    if not isinstance(description, dict):
        raise ValueError("the description that siamkit wrote into it is damaged")
    return columns, description


# ------------------------------------------------------------------ errors and values


@contextmanager
def disk_full_as_error(path: object) -> Iterator[None]:
    """Turn the error of a full or read-only disk into one sentence; other errors keep their traceback.

    Raises:
        StudyError: the disk is full or cannot be written.
    """
    try:
        yield
    except SiamkitError:
        raise  # already such a sentence
    except Exception as error:  # HDF5 and NumPy raise others than OSError
        if not is_disk_full(error):
            raise
        cause = getattr(error, "strerror", None) or "No space left on device"
        raise StudyError(f"{str(path)!r} cannot be written: {cause}") from error


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether an error, or one of its causes, says that a disk is full or cannot be written."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK_FULL_CODES:
            return True
        if any(re.search(words, str(error)) for words in _DISK_FULL_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def to_jsonable(value: Any) -> Any:
    """Return plain data for JSON: NumPy numbers as Python's, tuples as lists, NaN and infinity as None."""
    if isinstance(value, Mapping):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_jsonable(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
