"""Images: the door that every image passes, and folders of them with one subfolder per class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from siamkit.data.dataset import Array, Dataset
from siamkit.errors import DataError, nearest
from siamkit.io.paths import existing_folder, path_text, unreadable_as_error
from siamkit.registry.specs import Supervision

if TYPE_CHECKING:
    from PIL.Image import Image

CHANNELS = {"grey": 1, "rgb": 3}
"""The names of color channels, and their number."""

# Names, in lower case, that systems, archives and network drives leave in folders without hiding them.
_SYSTEM_NAMES = frozenset(
    ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "lost+found", "$recycle.bin")
)
_NAMED = 5  # images in a message; the others are counted


def image_folder(
    path: str | os.PathLike[str],
    image_size: int | tuple[int, int] | None = None,
    channels: str = "rgb",
    skip_unreadable: bool = False,
) -> Dataset:
    """Return the images in a folder with one subfolder per class, as `pixels_of` converts them.

    A folder without subfolders gives images without labels.
    Hidden files and those that systems leave behind (`Thumbs.db`, `desktop.ini`) are skipped.

    Args:
        path: the folder.
        image_size: the side, or (height, width), in pixels, to resize to; not needed if all images have one
            size.
        channels: `rgb` or `grey`.
        skip_unreadable: whether to leave out images that cannot be read, with a note, instead of refusing
            them.

    Returns:
        Images `(height, width, channels)`; their ids are paths relative to the folder.

    Raises:
        DataError: the folder is empty, or images cannot be read or differ in size.
    """
    if channels not in CHANNELS:
        raise DataError(f"unknown channels {channels!r}; {nearest(channels, CHANNELS)}")
    reader = ImageReader(
        existing_folder(path, "a folder of images, one subfolder per class"),
        CHANNELS[channels],
        _size(image_size),
        skip_unreadable,
        "write `skip_unreadable: true` under `data:`",
    )
    root, folders = reader.root, reader.folders()
    files = list(reader.files())
    if not folders and not files:
        raise DataError(f"{root} should hold one subfolder per class, or images without labels; got none")
    images: list[Array] = []
    labels, ids = [], []
    first: Path | None = None
    for file, label in files:
        pixels = reader.read(file)
        if pixels is None:
            continue
        first = first or file
        if images and pixels.shape != images[0].shape:
            raise DataError(
                f"{first} is {_size_text(images[0])} pixels but {file} {_size_text(pixels)}; to resize all "
                "images, write `image_size: 64` under `data:`"
            )
        images.append(pixels)
        labels.append(label)
        ids.append(reader.id(file))
    notes, found = reader.notes(), set(labels)
    for folder in folders:
        if path_text(folder.name) not in found:
            raise DataError(f"{folder} should hold images of class {path_text(folder.name)!r}, got none")
    target = np.array(labels) if folders else None
    supervision: Supervision = "labels" if folders else "views"
    return Dataset((np.stack(images),), target, supervision, "image", ids=np.array(ids), notes=notes)


def _size(size: object) -> tuple[int, int] | None:
    match size:
        case None:
            return None
        case (int(height), int(width)) | [int(height), int(width)] if min(height, width) > 0:
            return height, width
        case int(side) if side > 0 and not isinstance(side, bool):
            return side, side
    raise DataError(f"image_size should be a side or (height, width) in pixels, got {size!r}")


def _size_text(image: Array) -> str:
    return f"{image.shape[0]}x{image.shape[1]}"


class ImageReader:
    """A reader of the images in a folder, which collects those that cannot be read.

    Args:
        root: the folder; its subfolders are classes.
        channels: the number of color channels.
        size: the (height, width) to resize to, or None.
        skip: whether to leave out images that cannot be read.
        remedy: what a user does to leave them out, for the message.
    """

    def __init__(
        self, root: Path, channels: int, size: tuple[int, int] | None, skip: bool, remedy: str
    ) -> None:
        self.root, self._channels, self._size = root, channels, size
        self._skip, self._remedy = skip, remedy
        self.unreadable: dict[str, str] = {}  # causes by id
        self._total = 0

    def folders(self) -> list[Path]:
        """Return the subfolders, sorted: one per class."""
        with unreadable_as_error(self.root, "a folder of images"):
            return sorted(
                path for path in self.root.iterdir() if path.is_dir() and not _is_skipped(path.name)
            )

    def files(self) -> Iterator[tuple[Path, str | None]]:
        """Yield the files of each class, sorted, with its name; without subfolders all files, with None."""
        for folder in self.folders() or [self.root]:
            label = None if folder == self.root else path_text(folder.name)
            yield from ((file, label) for file in _files_in(folder))

    def id(self, file: Path) -> str:
        """Return the id of the image in a file: its path relative to the folder."""
        return path_text(file.relative_to(self.root).as_posix())

    def read(self, file: Path) -> Array | None:
        """Return the image in a file; None if it cannot be read, which `notes` reports for all of them."""
        self._total += 1
        try:
            return read_image(file, self._channels, self._size)
        except DataError as error:
            self.unreadable[self.id(file)] = _cause(error.__cause__)
            return None

    def notes(self) -> tuple[str, ...]:
        """Return notes about images that were left out, if any; call it after the last image.

        Raises:
            DataError: images cannot be read and should not be left out, or none can be read.
        """
        loose = _listed(self._loose())
        outside = (f"Images outside the class folders of {self.root} were left out: {loose}.",)
        return (*self._unreadable(), *(outside if loose else ()))

    def _loose(self) -> list[str]:
        """Return the names of images outside the class folders."""
        from PIL import Image

        if not self.folders():
            return []
        images = Image.registered_extensions()
        files = (
            path for path in sorted(self.root.iterdir()) if path.is_file() and not _is_skipped(path.name)
        )
        return [self.id(file) for file in files if file.suffix.lower() in images]

    def _unreadable(self) -> tuple[str, ...]:
        if not self.unreadable:
            return ()
        names = _listed([f"{name} ({cause})" for name, cause in self.unreadable.items()])
        counted = (
            f"{len(self.unreadable):,} of {self._total:,} images in {path_text(self.root)} cannot be read"
        )
        if self._skip and len(self.unreadable) < self._total:
            return (f"{counted} and were left out: {names}.",)
        remedy = "" if self._skip else f"; replace or delete them, or, to leave them out, {self._remedy}"
        raise DataError(f"{counted}: {names}{remedy}")


def _listed(names: Sequence[str]) -> str:
    others = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {others:,} more" if others > 0 else "")


def _files_in(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise error

    files: list[Path] = []
    with unreadable_as_error(folder, "a folder of images"):
        for parent, folders, names in os.walk(folder, onerror=refuse):
            folders[:] = [name for name in folders if not _is_skipped(name)]
            files += [Path(parent, name) for name in names if not _is_skipped(name)]
    return sorted(files)


def _is_skipped(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


# ------------------------------------------------------------------ the door

_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_WITH_PAGES = ("TIFF", "DCX", "SPIDER")


def read_image(path: Path, channels: int, size: tuple[int, int] | None = None) -> Array:
    """Return the image in a file as `pixels_of` converts it.

    Raises:
        DataError: the file cannot be read as an image, or holds several pages.
    """
    from PIL import Image

    try:
        if not path.is_file():  # a link to nothing; or a pipe, which would be waited for
            raise ValueError("it is not a file")
        with Image.open(path) as image:
            return pixels_of(image, channels, size)
    except Exception as error:  # of a damaged file, a decoder raises anything
        raise DataError(f"{path} cannot be read as an image: {_cause(error)}") from error


def pixels_of(image: Image, channels: int, size: tuple[int, int] | None = None) -> Array:
    """Return an image as a person sees it, from 0 (black) to 255 (white).

    - It is rotated as its EXIF data say; of an animation the first frame counts.
    - Transparent parts show a white background.
    - Palettes, CMYK, YCbCr, HSV and LAB become sRGB; embedded color profiles are ignored.
    - Grey of 16 bits is scaled from 0–65535, also if stored as 32-bit integers; grey of floats from 0–1. It
      keeps its levels, so it is float32; everything else is uint8.

    Args:
        image: an image of Pillow, of any mode.
        channels: 1 (grey) or 3 (red, green, blue).
        size: the (height, width) to resize to, bilinearly, or None.

    Returns:
        The pixels `(height, width, channels)`, uint8 or float32.

    Raises:
        DataError: the file has several pages, or its greys are outside the range of its type.
    """
    from PIL import Image, ImageOps

    _check_one_page(image)
    image.load()  # some formats know their mode only then
    is_deep = image.mode in ("I", "F") or image.mode.startswith("I;16")
    # Pillow inverts 8-bit TIFFs whose 0 is white, but not those of more bits.
    is_inverted = is_deep and image.format == "TIFF" and getattr(image, "tag_v2", {}).get(262) == 0
    upright = ImageOps.exif_transpose(image)
    plain = _deep_grey(upright, is_inverted) if is_deep else _eight_bits(upright, channels)
    if size is not None and plain.size != size[::-1]:
        plain = plain.resize(size[::-1], Image.Resampling.BILINEAR)
    pixels = np.asarray(plain)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    return pixels if pixels.shape[2] == channels else np.repeat(pixels, channels, axis=2)


def _check_one_page(image: Image) -> None:
    """Raise DataError for a stack of pages: which one is meant is unknown."""
    from PIL import ImageSequence

    if image.format not in _WITH_PAGES or getattr(image, "n_frames", 1) < 2:
        return
    # A TIFF may hold smaller copies of a page, and masks: bits 0 and 2 of NewSubfileType.
    frames = ImageSequence.Iterator(image)
    pages = sum(not getattr(frame, "tag_v2", {}).get(254, 0) & 5 for frame in frames)
    image.seek(0)
    if pages > 1:
        raise DataError(f"it has {pages} pages; save the page to use as a file of its own")


def _deep_grey(image: Image, is_inverted: bool) -> Image:
    """Return a grey image of more than 8 bits with floats from 0 to 255."""
    from PIL import Image

    white = 1.0 if image.mode == "F" else 65535.0
    values = np.asarray(image).astype(np.float64)
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= white):  # also NaN
        raise DataError(
            f"its values run from {low:g} to {high:g}; a grey image of this type runs from 0 (black) to "
            f"{white:g} (white): scale all images by the same numbers"
        )
    if is_inverted:
        values = white - values
    key = image.info.get("transparency")
    if isinstance(key, int):
        values[np.asarray(image) == key] = white
    return Image.fromarray((values * (255 / white)).astype(np.float32))


def _eight_bits(image: Image, channels: int) -> Image:
    """Return an image of 8 bits or fewer as RGB or grey, on white where it is transparent."""
    from PIL import Image, ImageCms

    if image.mode == "LAB":  # the only mode that Pillow itself does not convert
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.applyTransform(image, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))  # type: ignore[assignment]
    if image.mode == "La":
        image = image.convert("LA")
    has_alpha = image.mode in _WITH_ALPHA or "transparency" in image.info
    if has_alpha or (image.palette is not None and image.palette.mode.endswith("A")):
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("L" if channels == 1 else "RGB")


def _cause(error: BaseException | None) -> str:
    """Return why an image cannot be read, in few words."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):  # its message repeats the path
        return "not an image, or damaged"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
