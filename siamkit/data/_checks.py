"""What a dataset's arrays must be, and the sentences for when they are not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from siamkit.errors import DataError

Array = np.ndarray[Any, np.dtype[Any]]

# For each kind of input: the dtype kinds and numbers of axes of its arrays, and the words for them.
_SHAPES: Mapping[str, tuple[str, tuple[int, ...], str]] = {
    "image": ("biuf", (3, 4), "numbers (n, height, width, channels) or (n, height, width)"),
    "tokens": ("iu", (2,), "whole numbers (n, length)"),
    "text": ("UOT", (1,), "texts (n,)"),
    "series": ("biuf", (3,), "numbers (n, steps, features)"),
    "vector": ("biuf", (2,), "numbers (n, features)"),
}


def check_leaf(name: str, leaf: Array | dict[str, Array], kind: str) -> None:
    """Raise DataError unless the leaf can be one view of this kind of input."""
    if kind == "tabular" and not isinstance(leaf, dict):
        raise DataError(f"{name} should be a dict of columns, each (n,), got {type(leaf).__name__}")
    if isinstance(leaf, dict):
        if not leaf:
            raise DataError(f"{name} has no fields")
        for key, values in leaf.items():
            if kind == "tabular":
                check_column(f"column {key!r} of {name}", values)
            else:
                check_leaf(f"field {key!r} of {name}", values, "")
        if len({len(values) for values in leaf.values()}) > 1:
            sizes = ", ".join(f"{key!r} {len(values)}" for key, values in leaf.items())
            raise DataError(f"the fields of {name} should have one length, got {sizes}")
        return
    if not isinstance(leaf, np.ndarray) or leaf.ndim == 0:
        raise DataError(f"{name} should be a NumPy array of items, got {type(leaf).__name__}")
    kinds, axes, words = _SHAPES.get(kind, ("biufUOT", range(1, 9), "numbers or texts (n, …)"))
    if leaf.dtype.kind not in kinds or leaf.ndim not in axes:
        raise DataError(f"{name} should hold {words}, got {leaf.dtype} of shape {leaf.shape}")
    if leaf.dtype.kind == "O" and not all(isinstance(value, str) for value in leaf.flat):
        raise DataError(f"{name} should hold {words}, got {_first_other_than_text(leaf)!r}")
    if leaf.dtype.kind == "f" and not np.isfinite(leaf).all():
        bad = int(np.argmin(np.isfinite(leaf).reshape(len(leaf), -1).all(axis=1)))
        raise DataError(f"{name} should hold finite numbers, got NaN or infinity in item {bad}")


def check_column(name: str, values: Array) -> bool:
    """Whether a table's column holds numbers, NaN where missing; else it holds texts, "" or None there.

    Raises:
        DataError: if it is neither, or a number is infinite.
    """
    words = "numbers or texts (n,)"
    if not isinstance(values, np.ndarray) or values.ndim != 1:
        got = f"shape {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise DataError(f"{name} should hold {words}, got {got}")
    if values.dtype.kind in "biuf":
        if np.isinf(values).any():
            infinite = int(np.argmax(np.isinf(values)))
            raise DataError(f"{name} should hold finite numbers, got {values[infinite]} in item {infinite}")
        return True
    if values.dtype.kind not in "OUT":
        raise DataError(f"{name} should hold {words}, got {values.dtype}")
    for value in values:
        if not isinstance(value, str) and not missing(value):
            raise DataError(f"{name} should hold {words}, a text among objects, got {value!r}")
    return False


def missing(value: object) -> bool:
    """Whether a value of a column of texts says that there is none: None, NaN or an empty text."""
    return value is None or value == "" or (isinstance(value, float) and value != value)


def check_target(target: Array | None, supervision: str) -> Array | None:
    """The target `(n,)` as a dataset keeps it; raises DataError if it does not suit the supervision."""
    if supervision in ("triplets", "views"):
        if target is not None:
            raise DataError(f"{supervision} have no target, got one")
        return None
    if target is None:
        raise DataError(f"{supervision} need a target")
    target = np.asarray(target)
    if target.ndim != 1:
        raise DataError(f"the target should be one value an item, got an array of shape {target.shape}")
    if target.dtype.kind == "f" and not np.isfinite(target).all():
        raise DataError(
            f"the target should hold finite numbers, got {target[~np.isfinite(target)][0]} "
            f"for item {int(np.argmin(np.isfinite(target)))}"
        )
    return _labels(target) if supervision == "labels" else _graded(target, supervision)


def _labels(target: Array) -> Array:
    if target.dtype.kind in "UT":
        return target.astype(np.str_)
    if target.dtype.kind == "O":
        if all(isinstance(value, str) for value in target):
            return target.astype(np.str_)
        raise DataError(f"labels should be whole numbers or texts, got {_first_other_than_text(target)!r}")
    if target.dtype.kind == "f":
        fractional = target[target != np.floor(target)]
        if len(fractional):
            raise DataError(f"labels should be whole numbers or texts, got {fractional[0]}")
        return target.astype(np.int64)
    if target.dtype.kind not in "biu":
        raise DataError(f"labels should be whole numbers or texts, got {target.dtype}")
    return target


def _graded(target: Array, supervision: str) -> Array:
    if target.dtype.kind not in "biuf":
        raise DataError(f"the target of {supervision} should hold numbers, got {target.dtype}")
    if supervision == "scores":
        return target
    wrong = target[~np.isin(target, (0, 1))]
    if len(wrong):
        raise DataError(f"the target of pairs should be 1 (alike) or 0 (not), got {wrong[0]}")
    return target.astype(np.int32)


def _first_other_than_text(values: Array) -> object:
    return next(value for value in values.flat if not isinstance(value, str))
