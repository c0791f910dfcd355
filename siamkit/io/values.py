"""Values that users pass, from any container, as NumPy arrays with the same meaning; else DataError.

Labels arrive as lists, Series, Arrow columns or tensors, with several kinds of missing values. NumPy alone
turns some of them into something else: NaN into the text "nan", 1 into "1", two large ids into one float.
"""

from __future__ import annotations

import datetime
import decimal
import math
import operator
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError

_SHAPES = {2: "(items, dim)", 3: "(pairs, 2, dim)"}
_STACKED = "the two sides of pairs are stacked as np.stack([a, b], axis=1)"
_MISSING_TYPES = ("NoneType", "NAType", "NaTType", "MaskedConstant")


# ------------------------------------------------------------------ any container


def as_array(values: Any, *, name: str = "embeddings") -> NDArray[Any]:
    """Return values of any container as an array, of native byte order; missing values stay in it.

    Raises:
        DataError: they are not an array, or masked.
    """
    if np.ma.is_masked(values):
        raise DataError(f"{name} should not be masked")
    if isinstance(values, Mapping):
        fields = ", ".join(map(str, values))
        raise DataError(f"{name} should be one array, got a dict of {fields}; {_STACKED}")
    return _as_array(values, name)


def as_column(values: Any, length: int | None = None, *, name: str = "labels") -> NDArray[Any]:
    """Return one value for each item, `(n,)`; `(n, 1)` is also accepted.

    Args:
        values: an array, list, tensor, or column of a table.
        length: the number of items.
        name: the name of the values, for messages.

    Raises:
        DataError: a value is missing, there is not one for each item, or their types differ.
    """
    array, missing = column_and_missing(values, length, name=name)
    if missing.any():
        rows = np.flatnonzero(missing)
        raise DataError(
            f"{name} should not be missing, but {len(rows)} of {len(missing)} are; "
            f"the first is in row {rows[0]}"
        )
    return array


def column_and_missing(
    values: Any, length: int | None = None, *, name: str = "labels"
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return one value for each item, `(n,)`, and where it is missing; see `as_column`.

    Missing are None, NaN, NaT, pandas' NA, the nulls of Arrow and masked values. In their rows the array
    holds 0 or an empty text.
    """
    mask = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    array = _as_array(values, name)
    if array.ndim == 2 and array.shape[1] == 1:
        array, mask = array[:, 0], None if mask is None else mask[:, 0]
    if array.ndim != 1 or (length is not None and len(array) != length):
        shape = f"({'n' if length is None else length},)"
        hint = "; turn one-hot rows into ids by argmax(axis=1)" if array.ndim == 2 else ""
        raise DataError(f"{name} should have the shape {shape}, one for each item, got {array.shape}{hint}")
    missing = _is_missing(array)
    if mask is not None:
        missing |= mask
    known = _of_one_type(array[~missing], name, np.flatnonzero(~missing))
    if not missing.any():
        return known, missing
    column = np.zeros(len(array), dtype=known.dtype)
    column[~missing] = known
    return column, missing


def _as_array(values: Any, name: str) -> NDArray[Any]:
    library = type(values).__module__.partition(".")[0]
    if library in ("pandas", "polars", "pyarrow"):
        array = _from_table_library(values)
    elif isinstance(values, (list, tuple)):
        array = _from_list(values, name)
    else:
        if hasattr(values, "detach"):  # a torch tensor, which may be on a device or need gradients
            values = values.detach().cpu()
            values = values.float() if "bfloat16" in str(values.dtype) else values
        try:
            array = np.asarray(values)
        except (TypeError, ValueError, RuntimeError) as error:
            raise DataError(f"{name} should be an array, got {type(values).__name__}: {error}") from None
    if array.dtype.kind == "V" and array.dtype.names is None:  # bfloat16 and its like, which NumPy lacks
        array = array.astype(np.float32)
    if array.dtype.kind == "T":
        array = array.astype(object)
    return native(array)


def native(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array in the machine's byte order, which backends expect."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _from_list(values: Any, name: str) -> NDArray[Any]:
    """Return a list as an array of numbers if all are numbers of one type, else of objects."""
    try:
        array = np.asarray(values)
        # NumPy turns a list of several types into one of them: NaN becomes "nan", 2**63 and -1 become floats.
        lossy = array.dtype.kind in "USf" and array.ndim <= 2
        return np.asarray(values, dtype=object) if lossy and not _all_floats(values) else array
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists, tensors that stay on their device
        cause = "its items differ in shape" if "inhomogeneous" in str(error) else error
        raise DataError(f"{name} should be an array, got {type(values).__name__}: {cause}") from None


def _all_floats(values: Any) -> bool:
    """Return whether each value of a nested list is an array, or a float."""
    kinds = set(map(type, values))
    nested = kinds & {list, tuple}
    inside = all(_all_floats(value) for value in values if type(value) in nested)
    return inside and all(issubclass(kind, (float, np.floating, np.ndarray)) for kind in kinds - nested)


def _from_table_library(values: Any) -> NDArray[Any]:
    """Return a column of pandas, polars or Arrow, its nulls as None."""
    import pyarrow as pa  # late: slow to import

    if hasattr(values, "columns") and len(getattr(values, "shape", ())) == 2:  # a frame
        if values.shape[1] != 1:
            return np.asarray(values)
        values = values[values.columns[0]]
    try:
        column = values.to_arrow() if hasattr(values, "to_arrow") else values
        if not isinstance(column, (pa.Array, pa.ChunkedArray)):
            column = pa.array(column, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError):  # several types, or not a column
        return np.asarray(values, dtype=object)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.null_count:  # NumPy's integers have no missing value, and Arrow would return floats
        return np.array([*column.to_pylist(), None], dtype=object)[:-1]
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _is_missing(array: NDArray[Any]) -> NDArray[np.bool_]:
    if array.dtype.kind in "fc":
        return np.asarray(np.isnan(array))
    if array.dtype.kind in "mM":
        return np.asarray(np.isnat(array))
    if array.dtype.kind != "O":
        return np.zeros(len(array), dtype=bool)
    kinds = set(map(type, array))
    suspects = {kind for kind in kinds if not issubclass(kind, (str, bytes, int))}
    if not suspects:
        return np.zeros(len(array), dtype=bool)
    return np.array([type(value) in suspects and _is_missing_value(value) for value in array], dtype=bool)


def _is_missing_value(value: Any) -> bool:
    if type(value).__name__ in _MISSING_TYPES:
        return True
    if isinstance(value, (np.datetime64, np.timedelta64)):  # before numbers: a timedelta64 is one
        return bool(np.isnat(value))
    return isinstance(value, (Real, decimal.Decimal)) and math.isnan(value)


def _of_one_type(known: NDArray[Any], name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Return values that are not missing as numbers, texts or dates, if all are of one of these types."""
    if known.dtype.kind == "S":
        known = known.astype(object)
    if known.dtype.kind != "O":
        return known
    values = known.tolist()
    if not set(map(type, values)) <= {str, int, float}:
        values = list(map(_plain, values))
    first_of_type: dict[type, int] = {}
    for index, kind in enumerate(map(type, values)):
        first_of_type.setdefault(kind, index)
    meanings: dict[str, int] = {}  # each with the first row that has it
    for index in first_of_type.values():
        meanings.setdefault(_meaning(values[index], name, int(rows[index])), index)
    if set(meanings) <= {"whole number", "number"}:  # compared as in Python: 1 equals 1.0
        return _numbers(values)
    if len(meanings) > 1:
        examples = " and ".join(
            f"the {kind} {values[index]!r} in row {rows[index]}" for kind, index in meanings.items()
        )
        raise DataError(f"{name} should all be of one type, got {examples}")
    if set(meanings) == {"text"}:
        # NumPy's texts lose trailing NULs.
        cut = next((index for index, text in enumerate(values) if text.endswith("\0")), None)
        if cut is not None:
            raise DataError(
                f"{name} should not end in a NUL character, got {values[cut]!r} in row {rows[cut]}"
            )
    return (
        np.array(values) if set(meanings) == {"truth value"} else np.array([str(value) for value in values])
    )


def _plain(value: Any) -> Any:
    """Return a value of Python for a scalar tensor, a number of NumPy, or bytes of UTF-8."""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value
    if isinstance(value, str):
        return str(value)
    scalar = hasattr(value, "item") and getattr(value, "ndim", 0) == 0
    return value.item() if scalar and not isinstance(value, (np.datetime64, np.timedelta64)) else value


def _meaning(value: Any, name: str, row: int) -> str:
    """Return the type of a value as a user would call it."""
    if isinstance(value, bool):
        return "truth value"
    if isinstance(value, Integral):
        return "whole number"
    if isinstance(value, (Real, decimal.Decimal)):
        return "number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, (datetime.date, np.datetime64)):
        return "date"
    raise DataError(f"{name} should be numbers or texts, got {value!r:.80} in row {row}")


def _numbers(values: list[Any]) -> NDArray[Any]:
    """Return numbers of several types: exact integers of 64 bits if all are whole, longer ones as texts."""
    exact = all(not isinstance(value, float) or abs(value) <= 2**53 for value in values)
    if not exact or not all(math.isfinite(value) and value == int(value) for value in values):
        return np.array(values, dtype=np.float64)
    if values and all(isinstance(value, float) for value in values):
        return np.array(values)
    whole = [int(value) for value in values]
    for dtype in (np.int64, np.uint64):
        try:
            return np.array(whole, dtype=dtype)
        except OverflowError:
            continue
    return np.array([str(value) for value in whole])


# ------------------------------------------------------------------ embeddings and options


def as_vectors(
    values: ArrayLike, rank: int, *, name: str = "embeddings", least: int = 1
) -> NDArray[np.float32]:
    """Return finite float32 embeddings of a rank, with at least `least` rows."""
    raw = as_array(values, name=name)
    try:
        if raw.dtype.kind == "O" and raw.ndim == 1 and len(raw):  # a column of lists
            raw = np.stack([np.asarray(row) for row in raw])
        if raw.dtype.kind not in "biufO":  # NumPy would read texts, and drop the imaginary part
            raise TypeError
        with np.errstate(over="ignore"):  # overflow becomes infinity, which is refused below
            array = np.ascontiguousarray(raw, dtype=np.float32)
    except (TypeError, ValueError):
        raise DataError(f"{name} should be numbers, got {raw.dtype}") from None
    if array.ndim != rank or 0 in array.shape[1:] or (rank == 3 and array.shape[1] != 2):
        sides = array.ndim == 3 and len(array) == 2 and array.shape[1] != 2
        hint = f"; {_STACKED}" if sides else ""
        raise DataError(f"{name} should have the shape {_SHAPES[rank]}, got {array.shape}{hint}")
    if len(array) < least:
        raise DataError(f"{name} should have at least {least} rows, got {len(array)}")
    _check_underflow(raw, array, name)
    broken = rows_not_finite(array)
    if broken.size:
        raise DataError(
            f"{name} should be finite in float32, got NaN or infinity in {broken.size} of "
            f"{len(array)} rows, the first is row {broken[0]}"
        )
    return array


def rows_not_finite(array: NDArray[Any]) -> NDArray[np.int64]:
    """Return the numbers of the rows of `(n, …)` that have NaN or infinity."""
    return np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))


def _check_underflow(raw: NDArray[Any], array: NDArray[np.float32], name: str) -> None:
    """Refuse rows that are not zero but too small for float32, in which they would be zero or lose digits."""
    if not array.size or raw.dtype.kind not in "fO":
        return
    small = np.abs(array).reshape(len(array), -1).max(axis=1) < np.finfo(np.float32).tiny
    rows = np.flatnonzero(small)
    rows = rows[(raw[rows].reshape(len(rows), -1) != 0).any(axis=1)] if rows.size else rows
    if rows.size:
        raise DataError(
            f"{name} should be within the range of float32, but {rows.size} of {len(array)} rows are below "
            f"1e-38, the first is row {rows[0]}; scale all rows up"
        )


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
