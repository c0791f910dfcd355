"""What evaluation takes, checked once at its door and told in one sentence."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError

_SHAPES = {2: "(items, dim)", 3: "(pairs, 2, dim)"}


def as_array(values: ArrayLike, *, name: str = "embeddings") -> NDArray[Any]:
    """The values as an array of whatever rank and type."""
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; tensors that stay on their device
        raise DataError(f"{name} should be an array, got {type(values).__name__}: {error}") from None


def vectors(values: ArrayLike, rank: int, *, name: str = "embeddings", least: int = 1) -> NDArray[np.float32]:
    """Finite float32 embeddings of the given rank, with at least `least` rows."""
    raw = as_array(values, name=name)
    try:
        with np.errstate(over="ignore"):  # what overflows becomes infinite and is refused below
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
            f"{len(array)} rows, first in row {broken[0]}"
        )
    return array


def column(values: ArrayLike, length: int, *, name: str = "labels") -> NDArray[Any]:
    """One label for each item, as an array `(length,)`; `(length, 1)` is taken too."""
    array = as_array(values, name=name)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (length,):
        raise DataError(f"{name} should have the shape ({length},), one for each item, got {array.shape}")
    if array.dtype.kind in "fc" and np.isnan(array).any():
        raise DataError(f"{name} should not be missing, got NaN in row {np.flatnonzero(np.isnan(array))[0]}")
    return array


def classes(*columns: NDArray[Any]) -> list[NDArray[np.int64]]:
    """Labels of any type as ids 0, 1, …, the same in every column."""
    kinds = {each.dtype.kind for each in columns}
    if kinds & {"U", "S"} and kinds & set("biufc"):  # NumPy would turn 1 into "1" in silence
        got = " and ".join(str(each.dtype) for each in columns)
        raise DataError(f"labels of queries and gallery should be of one type, got {got}")
    try:  # kinds that differ are compared as Python does: as float64, large ints would merge
        joined = np.concatenate(columns, dtype=object if len(kinds) > 1 else None)
        ids = np.unique(joined, return_inverse=True)[1].reshape(-1).astype(np.int64)
    except TypeError as error:
        raise DataError(f"labels should be comparable with each other, got {error}") from None
    return np.split(ids, np.cumsum([len(each) for each in columns])[:-1])


def whole(value: Any, *, name: str = "k") -> int:
    """A whole number of at least 1."""
    try:
        number = None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < 1:
        raise DataError(f"{name} should be a whole number of at least 1, got {value!r}")
    return number


def depths(ks: Iterable[int]) -> tuple[int, ...]:
    """The distinct ks, ascending."""
    if not isinstance(ks, Iterable) or isinstance(ks, (str, bytes)):
        raise DataError(f"ks should be several whole numbers such as (1, 5, 10), got {ks!r}")
    return tuple(sorted({whole(k, name="each of ks") for k in ks}))
