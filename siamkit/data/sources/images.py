"""A folder of images, one subfolder a class."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from siamkit.data.dataset import Array, Dataset
from siamkit.errors import DataError, nearest
from siamkit.io.paths import existing_folder, unreadable_as_error

_MODES = {"rgb": "RGB", "grey": "L"}

MODES = {1: "L", 3: "RGB"}
"""Pillow's mode for a number of channels."""


def image_folder(
    path: str | os.PathLike[str], image_size: int | tuple[int, int] | None = None, channels: str = "rgb"
) -> Dataset:
    """Images in a folder with one subfolder a class, read through Pillow; hidden files are skipped.

    Args:
        path: the folder.
        image_size: the side, or (height, width), to resize to; not needed if all have one size.
        channels: `rgb` or `grey`.

    Returns:
        Images `(height, width, channels)` uint8; their ids are paths relative to the folder.
    """
    if channels not in _MODES:
        raise DataError(f"no channels {channels!r}; {nearest(channels, _MODES)}")
    size = _size(image_size)
    root = existing_folder(path, "a folder of images, one subfolder a class")
    with unreadable_as_error(root, "a folder of images"):
        folders = sorted(each for each in without_hidden(root.iterdir()) if each.is_dir())
        files = {folder: images_in(folder) for folder in folders}
    if not files:
        raise DataError(f"{root} should hold one subfolder a class, got none")
    for folder, inside in files.items():
        if not inside:
            raise DataError(f"{folder} should hold the images of class {folder.name!r}, got none")
    images: list[Array] = []
    names = [name for inside in files.values() for name in inside]
    for name in names:
        images.append(read_image(name, _MODES[channels], size))
        if images[-1].shape != images[0].shape:
            raise DataError(
                f"{names[0]} is {_by(images[0])} pixels but {name} {_by(images[-1])}; give "
                "image_size to bring all to one size"
            )
    labels = np.repeat([folder.name for folder in files], [len(inside) for inside in files.values()])
    ids = np.array([name.relative_to(root).as_posix() for name in names])
    return Dataset((np.stack(images),), labels, "labels", "image", ids=ids)


def _size(size: object) -> tuple[int, int] | None:
    match size:
        case None:
            return None
        case (int(height), int(width)) | [int(height), int(width)] if min(height, width) > 0:
            return height, width
        case int(side) if side > 0 and not isinstance(side, bool):
            return side, side
    raise DataError(f"image_size should be a side or (height, width) in pixels, got {size!r}")


def images_in(folder: Path) -> list[Path]:
    """The files in a folder and below, sorted, without hidden ones."""
    inside = (each for each in folder.rglob("*") if each.is_file())
    return sorted(each for each in inside if not _hidden(each.relative_to(folder)))


def without_hidden(paths: Iterable[Path]) -> Iterator[Path]:
    """Paths whose names begin with no dot."""
    return (each for each in paths if not _hidden(Path(each.name)))


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def read_image(path: Path, mode: str, size: tuple[int, int] | None) -> Array:
    """One image `(height, width, channels)` uint8, in Pillow's mode and of the size (height, width)."""
    from PIL import Image, ImageOps

    with unreadable_as_error(path, "an image", SyntaxError, ValueError, Image.DecompressionBombError):
        with Image.open(path) as opened:
            # Cameras store photographs lying, with a note of how to turn them.
            image = ImageOps.exif_transpose(opened).convert(mode)
        if size is not None and image.size != size[::-1]:
            image = image.resize(size[::-1], Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
        return pixels if pixels.ndim == 3 else pixels[..., None]


def _by(image: Array) -> str:
    return f"{image.shape[0]}x{image.shape[1]}"
