"""Data stored as arrays: `.npz` files, the digits of scikit-learn, and Fashion-MNIST in IDX files."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from siamkit.data.dataset import Array, Dataset
from siamkit.errors import DataError, nearest
from siamkit.io.paths import BROKEN_ARRAYS, existing_file, existing_folder, unreadable_as_error
from siamkit.io.targets import is_graded
from siamkit.registry.specs import INPUTS, Supervision

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""The folder of the Debian package dataset-fashion-mnist."""

_STEMS = {"train": "train", "test": "t10k"}  # of the names of Fashion-MNIST's files


def digits() -> Dataset:
    """Return the handwritten digits included in scikit-learn; nothing is downloaded.

    Returns:
        1797 images `(8, 8, 1)`, float32 from 0 to 1, with labels 0 to 9.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return Dataset((np.float32(images / 16).reshape(-1, 8, 8, 1),), labels, "labels", "image")


def npz(
    path: str | os.PathLike[str], x: str = "x", y: str = "y", input: str = "auto", supervision: str = "auto"
) -> Dataset:
    """Return labelled items from the arrays `x` and `y` of an `.npz` file, or pairs from `a`, `b` and `y`.

    A file with nothing but `x` gives items without labels.

    Every other array `(n,)` becomes a column to split by. Pairs whose target is not all 0 and 1 are scores.

    Args:
        path: the file.
        x: the name of the array of items. With `input="auto"`, `(n, height, width, channels)` and bytes
            `(n, height, width)` are images, whole numbers `(n, length)` tokens, numbers `(n, features)`
            vectors and `(n, steps, features)` series, and texts `(n,)` text.
        y: the name of the array of labels or targets, `(n,)`.
        input: the kind of input, or `auto`.
        supervision: for pairs `pairs`, `scores`, or `auto`: pairs if all targets are 1 or 0.

    Raises:
        DataError: the file cannot be read or does not hold such arrays.
    """
    if input != "auto" and input not in INPUTS:
        raise DataError(f"unknown input {input!r}; {nearest(input, ('auto', *INPUTS))}")
    file = existing_file(path, "an .npz file")
    arrays = load_arrays(file, "an .npz file")
    names = (x,) if x in arrays or not {"a", "b"} <= arrays.keys() else ("a", "b")
    is_unlabelled = set(arrays) == {x}
    for name in names if is_unlabelled else (*names, y):
        if name not in arrays:
            raise DataError(f"{file} has no array {name!r}; {nearest(name, arrays)}")
    items = [arrays.pop(name) for name in names]
    target = None if is_unlabelled else arrays.pop(y)
    kind = input_of(items[0], names[0]) if input == "auto" else input
    # A series of one feature may lack that axis.
    views = tuple(view[..., None] if kind == "series" and view.ndim == 2 else view for view in items)
    if target is None:
        return _dataset(file, views, None, "views", kind, {})
    for name, array in zip(names, views, strict=True):
        if array.shape[:1] != target.shape[:1]:
            raise DataError(
                f"{file} should hold one {y!r} per item of {name!r}, got shapes {array.shape} "
                f"and {target.shape}"
            )
    kind_of_target: Supervision = "labels"
    if len(views) == 2:
        kind_of_target = supervision_of_pairs(target, supervision, f"the array {y!r} of {file}")
    elif supervision != "auto":
        raise DataError(f"{file} holds labelled items, so supervision={supervision!r} has no meaning")
    columns = {name: array for name, array in arrays.items() if array.shape == (len(target),)}
    return _dataset(file, views, target, kind_of_target, kind, columns)


def _dataset(file: Path, *arguments: Any) -> Dataset:
    """Return the dataset; its errors name the file."""
    try:
        return Dataset(*arguments)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error


def supervision_of_pairs(target: Array, supervision: str, name: str) -> Supervision:
    """Return `pairs` or `scores`, as the user says or as the targets of pairs are.

    Raises:
        DataError: the targets could be either.
    """
    if supervision not in ("auto", "pairs", "scores"):
        raise DataError(
            f"unknown supervision {supervision!r}; {nearest(supervision, ('auto', 'pairs', 'scores'))}"
        )
    if supervision == "auto":
        graded = is_graded(target, name=name, remedy="write `supervision: scores` under `data:`")
        return "scores" if graded else "pairs"
    return "pairs" if supervision == "pairs" else "scores"


def load_arrays(path: Path, what: str) -> dict[str, Array]:
    """Return the named arrays of an `.npz` file; `what` names the kind of file in the error."""
    # Never unpickle: that can run any code.
    with unreadable_as_error(path, what, *BROKEN_ARRAYS), open(path, "rb") as file:
        if file.read(2) not in (b"", b"PK", b"\x93N"):
            raise ValueError("it is a file of another kind")
        file.seek(0)
        loaded = np.load(file, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ValueError("it holds a single array, not named ones")
        return {name: loaded[name] for name in loaded.files}


def input_of(array: Array, name: str) -> str:
    """Return the kind of input that an array looks like.

    Raises:
        DataError: it looks like none.
    """
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


# ------------------------------------------------------------------ Fashion-MNIST


def fashion_mnist(path: str | os.PathLike[str] | None = None, part: str = "train") -> Dataset:
    """Return Fashion-MNIST from its four local `.gz` files; nothing is downloaded.

    Args:
        path: the folder of `train-images-idx3-ubyte.gz` and the other files; None for the folder of the
            Debian package dataset-fashion-mnist.
        part: `train` (60000 items), `test` (10000) or `all`; a column `part` names each item's part.

    Returns:
        Images `(28, 28, 1)` uint8 with labels 0 to 9.
    """
    if part not in ("train", "test", "all"):
        raise DataError(f"unknown part {part!r}; {nearest(part, ('train', 'test', 'all'))}")
    if path is None and not DEBIAN_FOLDER.is_dir():
        raise DataError(
            "fashion_mnist needs a path to the folder with its .gz files; the default folder, "
            f"{DEBIAN_FOLDER} of the Debian package dataset-fashion-mnist, does not exist"
        )
    folder = existing_folder(path or DEBIAN_FOLDER, "a folder with Fashion-MNIST's .gz files")
    parts = ("train", "test") if part == "all" else (part,)
    loaded = [_read_part(folder, _STEMS[name]) for name in parts]
    images, labels = (np.concatenate(arrays) for arrays in zip(*loaded, strict=True))
    column = np.repeat(parts, [len(part_labels) for _, part_labels in loaded])
    return Dataset((images[..., None],), labels, "labels", "image", {"part": column})


def read_idx(path: Path, axes: int) -> Array:
    """Return the array of bytes, with this number of axes, in a gzipped IDX file."""
    path = existing_file(path, "a gzipped IDX file")
    with unreadable_as_error(path, "a gzipped IDX file", EOFError, zlib.error), gzip.open(path) as file:
        content = file.read()
    # The header: two zeros, 8 for unsigned bytes, the number of axes; then the sizes, big-endian.
    if content[:4] != bytes((0, 0, 8, axes)) or len(content) < 4 + 4 * axes:
        raise DataError(
            f"{path} should start with the IDX magic number {0x800 + axes}, "
            f"got {int.from_bytes(content[:4], 'big')}"
        )
    shape = struct.unpack_from(f">{axes}I", content, 4)
    body = memoryview(content)[4 + 4 * axes :]
    if len(body) != math.prod(shape):
        raise DataError(f"{path} should hold {math.prod(shape)} bytes for shape {shape}, got {len(body)}")
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def _read_part(folder: Path, stem: str) -> tuple[Array, Array]:
    images = read_idx(folder / f"{stem}-images-idx3-ubyte.gz", 3)
    labels = read_idx(folder / f"{stem}-labels-idx1-ubyte.gz", 1)
    if len(images) != len(labels):
        raise DataError(
            f"{folder} should hold one label per image, got {len(images)} {stem} images and "
            f"{len(labels)} labels"
        )
    return images, labels
