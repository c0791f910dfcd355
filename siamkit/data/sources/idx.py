"""Fashion-MNIST, and the IDX format that it and its relatives are stored in."""

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

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts the files."""

_STEMS = {"train": "train", "test": "t10k"}


def fashion_mnist(path: str | os.PathLike[str] | None = None, part: str = "train") -> Dataset:
    """Fashion-MNIST from its four local `.gz` files; nothing is downloaded.

    Args:
        path: the folder of `train-images-idx3-ubyte.gz` and the others; where it is None, the
            folder of Debian's package dataset-fashion-mnist.
        part: `train` (60000 items), `test` (10000) or `all`, with the column `part`.

    Returns:
        Images `(28, 28, 1)` uint8 with labels 0 to 9.
    """
    if part not in ("train", "test", "all"):
        raise DataError(f"no part {part!r}; {nearest(part, ('train', 'test', 'all'))}")
    if path is None and not DEBIAN.is_dir():
        raise DataError(
            f"fashion_mnist needs the path of a folder with its .gz files; without one they are "
            f"looked for in {DEBIAN}, where Debian's package dataset-fashion-mnist puts them"
        )
    folder = existing_folder(DEBIAN if path is None else path, "a folder with Fashion-MNIST's .gz files")
    parts = ("train", "test") if part == "all" else (part,)
    loaded = [_part(folder, _STEMS[each]) for each in parts]
    images, labels = (np.concatenate(arrays) for arrays in zip(*loaded, strict=True))
    column = np.repeat(parts, [len(each) for _, each in loaded])
    return Dataset((images[..., None],), labels, "labels", "image", {"part": column})


def read_idx(path: Path, axes: int) -> Array:
    """The array of bytes, with so many axes, in a gzipped IDX file."""
    place = existing_file(path, "a gzipped IDX file")
    with unreadable_as_error(place, "a gzipped IDX file", EOFError, zlib.error), gzip.open(place) as file:
        content = file.read()
    # Two zeros, 8 for unsigned bytes, the number of axes; then the sizes, big-endian.
    if content[:4] != bytes((0, 0, 8, axes)) or len(content) < 4 + 4 * axes:
        raise DataError(
            f"{place} should start with the IDX magic number {0x800 + axes}, "
            f"got {int.from_bytes(content[:4], 'big')}"
        )
    shape = struct.unpack_from(f">{axes}I", content, 4)
    body = memoryview(content)[4 + 4 * axes :]
    if len(body) != math.prod(shape):
        raise DataError(f"{place} should hold {math.prod(shape)} bytes for shape {shape}, got {len(body)}")
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def _part(folder: Path, stem: str) -> tuple[Array, Array]:
    images = read_idx(folder / f"{stem}-images-idx3-ubyte.gz", 3)
    labels = read_idx(folder / f"{stem}-labels-idx1-ubyte.gz", 1)
    if len(images) != len(labels):
        raise DataError(
            f"{folder} should hold one label an image, got {len(images)} {stem} images and "
            f"{len(labels)} labels"
        )
    return images, labels
