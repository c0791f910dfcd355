"""Folders of images, with one subfolder per class."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from siamkit.data.dataset import Array, Dataset
from siamkit.errors import DataError, nearest
from siamkit.io.paths import existing_folder, unreadable_as_error

_MODE_OF_CHANNELS = {"rgb": "RGB", "grey": "L"}

MODES = {1: "L", 3: "RGB"}
"""Pillow's mode for each number of channels."""


def image_folder(
    path: str | os.PathLike[str], image_size: int | tuple[int, int] | None = None, channels: str = "rgb"
) -> Dataset:
    """Return the images in a folder with one subfolder per class, read with Pillow; hidden files are skipped.

    Args:
        path: the folder.
        image_size: the side, or (height, width), in pixels, to resize to; not needed if all images have one
            size.
        channels: `rgb` or `grey`.

    Returns:
        Images `(height, width, channels)` uint8; their ids are paths relative to the folder.
    """
    if channels not in _MODE_OF_CHANNELS:
        raise DataError(f"unknown channels {channels!r}; {nearest(channels, _MODE_OF_CHANNELS)}")
    size = _size(image_size)
    root = existing_folder(path, "a folder of images, one subfolder per class")
    with unreadable_as_error(root, "a folder of images"):
        folders = sorted(path for path in without_hidden(root.iterdir()) if path.is_dir())
        files = {folder: images_in(folder) for folder in folders}
    if not files:
        raise DataError(f"{root} should hold one subfolder per class, got none")
    for folder, inside in files.items():
        if not inside:
            raise DataError(f"{folder} should hold the images of class {folder.name!r}, got none")
    images: list[Array] = []
    names = [name for inside in files.values() for name in inside]
    for name in names:
        images.append(read_image(name, _MODE_OF_CHANNELS[channels], size))
        if images[-1].shape != images[0].shape:
            raise DataError(
                f"{names[0]} is {_size_text(images[0])} pixels but {name} {_size_text(images[-1])}; "
                "set image_size to resize all images"
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
    """Return the files in a folder and its subfolders, sorted, without hidden ones."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(file for file in files if not _is_hidden(file.relative_to(folder)))


def without_hidden(paths: Iterable[Path]) -> Iterator[Path]:
    """Return the paths whose names do not begin with a dot."""
    return (path for path in paths if not _is_hidden(Path(path.name)))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def read_image(path: Path, mode: str, size: tuple[int, int] | None) -> Array:
    """Return an image `(height, width, channels)` uint8, in Pillow's mode, resized to (height, width)."""
    from PIL import Image, ImageOps

    with unreadable_as_error(path, "an image", SyntaxError, ValueError, Image.DecompressionBombError):
        with Image.open(path) as opened:
            # Cameras store photographs unrotated, with the rotation in the metadata.
            image = ImageOps.exif_transpose(opened).convert(mode)
        if size is not None and image.size != size[::-1]:
            image = image.resize(size[::-1], Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
        return pixels if pixels.ndim == 3 else pixels[..., None]


def _size_text(image: Array) -> str:
    return f"{image.shape[0]}x{image.shape[1]}"
