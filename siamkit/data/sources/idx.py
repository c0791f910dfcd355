"""Fashion-MNIST, and the IDX format in which it is stored."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np

from siamkit.data.dataset import Array, Dataset
from siamkit.errors import DataError, nearest
from siamkit.io.paths import existing_file, existing_folder, unreadable_as_error

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""The folder of the Debian package dataset-fashion-mnist."""

_STEMS = {"train": "train", "test": "t10k"}


def fashion_mnist(path: str | os.PathLike[str] | None = None, part: str = "train") -> Dataset:
    """Return Fashion-MNIST from its four local `.gz` files; nothing is downloaded.

    Args:
        path: the folder of `train-images-idx3-ubyte.gz` and the other files; None for the folder of the
            Debian package dataset-fashion-mnist.
        part: `train` (60000 items), `test` (10000) or `all`; a column `part` says which part an item is of.

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
