"""Checks of embeddings, labels and options: each returns the checked value or raises DataError."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError

_SHAPES = {2: "(items, dim)", 3: "(pairs, 2, dim)"}


def as_array(values: ArrayLike, *, name: str = "embeddings") -> NDArray[Any]:
    """Return the values as an array of any rank and type."""
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; tensors that stay on their device
        raise DataError(f"{name} should be an array, got {type(values).__name__}: {error}") from None


def as_vectors(
    values: ArrayLike, rank: int, *, name: str = "embeddings", least: int = 1
) -> NDArray[np.float32]:
    """Return finite float32 embeddings of a rank, with at least `least` rows."""
    raw = as_array(values, name=name)
    try:
        with np.errstate(over="ignore"):  # overflow becomes infinity, which is refused below
            array = np.ascontiguousarray(raw, dtype=np.float32)
    except (TypeError, ValueError):
        raise DataError(f"{name} should be numbers, got {raw.dtype}") from None
    if array.ndim != rank or 0 in array.shape[1:] or (rank == 3 and array.shape[1] != 2):
        raise DataError(f"{name} should have the shape {_SHAPES[rank]}, got {array.shape}")
    if len(array) < least:
        raise DataError(f"{name} should have at least {least} rows, got {len(array)}")
    broken = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))
    if broken.size:
        raise DataError(
            f"{name} should be finite in float32, got NaN or infinity in {broken.size} of "
            f"{len(array)} rows, the first is row {broken[0]}"
        )
    return array


def as_column(values: ArrayLike, length: int, *, name: str = "labels") -> NDArray[Any]:
    """Return one label for each item, as an array `(length,)`; `(length, 1)` is also accepted."""
    array = as_array(values, name=name)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (length,):
        raise DataError(f"{name} should have the shape ({length},), one for each item, got {array.shape}")
    if array.dtype.kind in "fc" and np.isnan(array).any():
        raise DataError(f"{name} should not be missing, got NaN in row {np.flatnonzero(np.isnan(array))[0]}")
    return array


def class_ids(*columns: NDArray[Any]) -> list[NDArray[np.int64]]:
    """Return labels of any type as ids 0, 1, …, the same in every column."""
    kinds = {column.dtype.kind for column in columns}
    if kinds & {"U", "S"} and kinds & set("biufc"):  # NumPy would silently turn 1 into "1"
        dtypes = " and ".join(str(column.dtype) for column in columns)
        raise DataError(f"labels of queries and gallery should have the same type, got {dtypes}")
    try:  # different kinds are compared as in Python: in float64 large integers would become equal
        joined = np.concatenate(columns, dtype=object if len(kinds) > 1 else None)
        ids = np.unique(joined, return_inverse=True)[1].reshape(-1).astype(np.int64)
    except TypeError as error:
        raise DataError(f"labels should be comparable with each other, got {error}") from None
    return np.split(ids, np.cumsum([len(column) for column in columns])[:-1])


def positive_int(value: Any, *, name: str = "k") -> int:
    """Return an integer of at least 1."""
    try:
        number = None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < 1:
        raise DataError(f"{name} should be an integer of at least 1, got {value!r}")
    return number


def distinct_ks(ks: Iterable[int]) -> tuple[int, ...]:
    """Return the distinct ks, ascending."""
    if not isinstance(ks, Iterable) or isinstance(ks, (str, bytes)):
        raise DataError(f"ks should be several integers such as (1, 5, 10), got {ks!r}")
    return tuple(sorted({positive_int(k, name="each of ks") for k in ks}))
