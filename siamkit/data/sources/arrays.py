"""Data stored as arrays: `.npz` files and the digits of scikit-learn."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from siamkit.data.dataset import Array, Dataset
from siamkit.errors import DataError, nearest
from siamkit.io.paths import BROKEN_ARRAYS, existing_file, unreadable_as_error
from siamkit.registry.specs import INPUTS, Supervision


def digits() -> Dataset:
    """Return the handwritten digits included in scikit-learn; nothing is downloaded.

    Returns:
        1797 images `(8, 8, 1)`, float32 from 0 to 1, with labels 0 to 9.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return Dataset((np.float32(images / 16).reshape(-1, 8, 8, 1),), labels, "labels", "image")


def npz(path: str | os.PathLike[str], x: str = "x", y: str = "y", input: str = "auto") -> Dataset:
    """Return labelled items from the arrays `x` and `y` of an `.npz` file, or pairs from `a`, `b` and `y`.

    Every other array `(n,)` becomes a column to split by. Pairs whose target is not all 0 and 1 are scores.

    Args:
        path: the file.
        x: the name of the array of items. With `input="auto"`, `(n, height, width, channels)` and bytes
            `(n, height, width)` are images, whole numbers `(n, length)` tokens, numbers `(n, features)`
            vectors and `(n, steps, features)` series, and texts `(n,)` text.
        y: the name of the array of labels or targets, `(n,)`.
        input: the kind of input, or `auto`.

    Raises:
        DataError: the file cannot be read or does not hold such arrays.
    """
    if input != "auto" and input not in INPUTS:
        raise DataError(f"unknown input {input!r}; {nearest(input, ('auto', *INPUTS))}")
    file = existing_file(path, "an .npz file")
    arrays = load_arrays(file, "an .npz file")
    names = (x,) if x in arrays or not {"a", "b"} <= arrays.keys() else ("a", "b")
    for name in (*names, y):
        if name not in arrays:
            raise DataError(f"{file} has no array {name!r}; {nearest(name, arrays)}")
    items, target = [arrays.pop(name) for name in names], arrays.pop(y)
    kind = _kind(items[0], names[0]) if input == "auto" else input
    # A series of one feature may lack that axis.
    views = tuple(view[..., None] if kind == "series" and view.ndim == 2 else view for view in items)
    for name, array in zip(names, views, strict=True):
        if array.shape[:1] != target.shape[:1]:
            raise DataError(
                f"{file} should hold one {y!r} per item of {name!r}, got shapes {array.shape} "
                f"and {target.shape}"
            )
    supervision: Supervision = "labels"
    if len(views) == 2:
        supervision = "pairs" if np.isin(target, (0, 1)).all() else "scores"
    columns = {name: array for name, array in arrays.items() if array.shape == (len(target),)}
    return Dataset(views, target, supervision, kind, columns)


def load_arrays(path: Path, what: str) -> dict[str, Array]:
    """Return the named arrays of an `.npz` file; `what` names the kind of file in the error."""
    # Never unpickle: that can run any code.
    with unreadable_as_error(path, what, *BROKEN_ARRAYS), open(path, "rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ValueError("it holds a single array, not named ones")
        return {name: loaded[name] for name in loaded.files}


def _kind(array: Array, name: str) -> str:
    kind, axes = array.dtype.kind, array.ndim
    if kind in "UT" and axes == 1:
        return "text"
    if kind in "biuf" and (axes == 4 or (axes == 3 and array.dtype == np.uint8)):
        return "image"
    if kind in "iu" and axes == 2:
        return "tokens"
    if kind in "biuf" and axes in (2, 3):
        return "vector" if axes == 2 else "series"
    raise DataError(
        f"array {name!r}, {array.dtype} of shape {array.shape}, does not look like a kind of input; set "
        f"input to one of {', '.join(INPUTS)}"
    )
