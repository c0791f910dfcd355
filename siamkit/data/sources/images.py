"""Images: the door that every image passes, and folders of them with one subfolder per class."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from siamkit.data.dataset import Array, Dataset
from siamkit.errors import DataError, nearest
from siamkit.io.paths import existing_folder, path_text, unreadable_as_error
from siamkit.registry.specs import IMAGE_FITS, Supervision

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
    fit: str = "auto",
    channels: str = "rgb",
    skip_unreadable: bool = False,
) -> Dataset:
    """Return the images in a folder with one subfolder per class, as `pixels_of` converts them.

    A folder without subfolders gives images without labels.
    Hidden files and those that systems leave behind (`Thumbs.db`, `desktop.ini`) are skipped.

    Args:
        path: the folder.
        image_size: the side, or (height, width), in pixels, to resize to; by default as `choose_resizing`
            chooses.
        fit: how images of another shape fit into this size: `crop`, `pad`, `stretch`, or `auto`, as
            `choose_resizing` chooses. A note says how many images were resized, and how.
        channels: `rgb` or `grey`.
        skip_unreadable: whether to leave out images that cannot be read, with a note, instead of refusing
            them.

    Returns:
        Images `(height, width, channels)`; their ids are paths relative to the folder.

    Raises:
        DataError: the folder is empty, or images cannot be read.
    """
    if channels not in CHANNELS:
        raise DataError(f"unknown channels {channels!r}; {nearest(channels, CHANNELS)}")
    if fit not in ("auto", *IMAGE_FITS):
        raise DataError(f"unknown fit {fit!r}; {nearest(fit, ('auto', *IMAGE_FITS))}")
    size = image_size_of(image_size)
    reader = ImageReader(
        existing_folder(path, "a folder of images, one subfolder per class"),
        CHANNELS[channels],
        skip_unreadable,
        "write `skip_unreadable: true` under `data:`",
    )
    root, folders = reader.root, reader.folders()
    files = list(reader.files())
    if not folders and not files:
        raise DataError(f"{root} should hold one subfolder per class, or images without labels; got none")
    headers = reader.headers(file for file, _ in files)
    sizes = np.array([header.size for header in headers if isinstance(header, ImageHeader)], dtype=np.int64)
    sizes = sizes.reshape(-1, 2)
    resizing = choose_resizing(sizes, size, fit)
    images = np.empty((len(files), *resizing.size, CHANNELS[channels]), np.uint8)
    labels: list[str | None] = []
    ids: list[str] = []
    for (file, label), pixels in zip(files, reader.read((file for file, _ in files), resizing), strict=True):
        if pixels is None:
            continue
        if pixels.dtype != images.dtype:  # grey of more than 8 bits
            images = images.astype(np.float32)
        images[len(ids)] = pixels
        labels.append(label)
        ids.append(reader.id(file))
    notes, found = (*reader.notes(), *_resized_note(sizes, resizing)), set(labels)
    for folder in folders:
        if path_text(folder.name) not in found:
            raise DataError(f"{folder} should hold images of class {path_text(folder.name)!r}, got none")
    target = np.array(labels) if folders else None
    supervision: Supervision = "labels" if folders else "views"
    return Dataset(
        (images[: len(ids)],),
        target,
        supervision,
        "image",
        ids=np.array(ids),
        notes=notes,
        image_fit=resizing.fit,
    )


def image_size_of(size: object) -> tuple[int, int] | None:
    """Return the (height, width) that an image size means: a side, both sides, or None."""
    match size:
        case None:
            return None
        case (int(height), int(width)) | [int(height), int(width)] if min(height, width) > 0:
            return height, width
        case int(side) if side > 0 and not isinstance(side, bool):
            return side, side
    raise DataError(f"image_size should be a side or (height, width) in pixels, got {size!r}")


# ------------------------------------------------------------------ one size for all

_SIDES = (32, 96)  # pixels; of a chosen size
_STEP = 8  # pixels, of which chosen sides are multiples: strides halve them
_LARGEST = 128 * 128  # pixels of images that keep their size if all have the same
_ALIKE, _MOST = np.log(1.1), 0.9  # a common shape: within 10 %, of 90 % of the images
_KEPT = 0.5  # share of the pixels of a typical image that cropping has to keep


class Resizing(NamedTuple):
    """How images become of one size: the (height, width) in pixels, and the fit, one of `IMAGE_FITS`."""

    size: tuple[int, int]
    fit: str


def choose_resizing(sizes: Array, size: tuple[int, int] | None = None, fit: str = "auto") -> Resizing:
    """Return the size of images, and how those of another size fit into it.

    - Images of one size with at most 128 · 128 pixels keep it. Of others, the area is that of a square with
      the median of their sides, rounded down to a multiple of 8, from 32 to 96.
    - The shape is theirs if 90 % of them have about the same one (within 10 %), else a square.
    - The fit is `crop`, unless a typical image would lose more than half of its pixels; then it is `pad`.

    Args:
        sizes: `(n, 2)` height and width of each image.
        size: the (height, width) to use instead of a chosen one.
        fit: the fit to use, or `auto`.

    Example:
        >>> choose_resizing(np.array([[480, 640], [3000, 4000], [800, 600]]))
        Resizing(size=(96, 96), fit='crop')
    """
    heights, widths = sizes.reshape(-1, 2).T.astype(np.float64)
    if size is None:
        size = _chosen_size(heights, widths)
    if fit == "auto":
        ratio = size[1] / size[0]
        kept = np.minimum(heights, widths / ratio) * np.minimum(widths, heights * ratio) / (heights * widths)
        fit = "pad" if len(kept) and np.median(kept) < _KEPT else "crop"
    return Resizing(size, fit)


def _chosen_size(heights: Array, widths: Array) -> tuple[int, int]:
    if not len(heights):
        return _SIDES[0], _SIDES[0]
    height, width = int(heights[0]), int(widths[0])
    is_same = bool((heights == height).all() and (widths == width).all())
    if is_same and height * width <= _LARGEST:
        return height, width
    ratios = np.log(widths / heights)
    typical = float(np.median(ratios))
    has_shape = np.mean(np.abs(ratios - typical) < _ALIKE) >= _MOST
    stretch = float(np.exp(typical / 2)) if has_shape else 1.0
    # The side of a square with the area of the largest part of this shape.
    sides = np.minimum(heights * stretch, widths / stretch)
    side = float(np.clip(np.median(sides) // _STEP * _STEP, *_SIDES))
    return _rounded(side / stretch), _rounded(side * stretch)


def _rounded(side: float) -> int:
    return max(1, round(side / _STEP)) * _STEP


def _resized_note(sizes: Array, resizing: Resizing) -> tuple[str, ...]:
    """Return a note about the images that are resized, if any."""
    changed = sizes[(sizes != resizing.size).any(axis=1)]
    if not len(changed):
        return ()
    order = np.argsort(changed.prod(axis=1), kind="stable")
    smallest, largest = (size_text(changed[order[end]]) for end in (0, -1))
    all_of = f"{len(changed):,} images" + (f" of {len(sizes):,}" if len(changed) < len(sizes) else "")
    how = {"crop": "cropped at the center", "pad": "with white borders", "stretch": "stretched"}[resizing.fit]
    return (
        f"{all_of}, {smallest}{f' to {largest}' if largest != smallest else ''} pixels, were resized to "
        f"{size_text(resizing.size)}, {how} (`image_size` and `fit` under `data:` change this).",
    )


def size_text(size: Sequence[int] | Array) -> str:
    """Return a (height, width) as people write it: `640x480`, width first."""
    return f"{size[1]}x{size[0]}"


def resize(image: Image, resizing: Resizing, white: float = 255) -> Image:
    """Return an image of this size, scaled bilinearly.

    `crop` cuts off what is beyond the shape of the size, equally at both ends; `pad` scales the whole image
    and adds white at both ends; `stretch` changes its proportions.

    Args:
        image: an image of a mode whose pixels are numbers: L, RGB, F.
        resizing: the size and the fit.
        white: the value of white, for `pad`.
    """
    from PIL import Image, ImageOps

    size = resizing.size[::-1]
    if image.size == size:
        return image
    if resizing.fit == "crop":
        return ImageOps.fit(image, size, Image.Resampling.BILINEAR)
    if resizing.fit == "stretch":
        return image.resize(size, Image.Resampling.BILINEAR)
    color: Any = white if len(image.getbands()) == 1 else (int(white),) * 3
    return ImageOps.pad(image, size, Image.Resampling.BILINEAR, color)


# ------------------------------------------------------------------ folders

_THREADS = min(8, os.cpu_count() or 1)  # Pillow decodes without the interpreter's lock
_AT_ONCE = 256  # images that are read before the first of them is handed over


class ImageReader:
    """A reader of the images in a folder, which collects those that cannot be read.

    Args:
        root: the folder; its subfolders are classes.
        channels: the number of color channels.
        skip: whether to leave out images that cannot be read.
        remedy: what a user does to leave them out, for the message.
    """

    def __init__(self, root: Path, channels: int, skip: bool, remedy: str) -> None:
        self.root, self._channels = root, channels
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

    def headers(self, files: Iterable[Path]) -> list[ImageHeader | str]:
        """Return what the header of each image says, or why it cannot be read."""

        def header_or_cause(file: Path) -> ImageHeader | str:
            try:
                return read_header(file)
            except DataError as error:
                return _cause(error.__cause__)

        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(header_or_cause, files))

    def read(self, files: Iterable[Path], resizing: Resizing) -> Iterator[Array | None]:
        """Yield the image in each file; None if it cannot be read, which `notes` reports for all of them."""

        def pixels_or_cause(file: Path) -> Array | str:
            try:
                return read_image(file, self._channels, resizing)
            except DataError as error:
                return _cause(error.__cause__)

        remaining = iter(files)
        with ThreadPoolExecutor(_THREADS) as pool:
            while batch := list(islice(remaining, _AT_ONCE)):
                for file, found in zip(batch, pool.map(pixels_or_cause, batch), strict=True):
                    self._total += 1
                    if isinstance(found, str):
                        self.unreadable[self.id(file)] = found
                    yield None if isinstance(found, str) else found

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


class ImageHeader(NamedTuple):
    """What an image's header says: (height, width) as a person sees it; Pillow's mode and format."""

    size: tuple[int, int]
    mode: str
    format: str


def read_image(path: Path, channels: int, resizing: Resizing | None = None) -> Array:
    """Return the image in a file as `pixels_of` converts it.

    A JPEG that is much larger than `resizing` needs is decoded at a half, a quarter or an eighth of its size.

    Raises:
        DataError: the file cannot be read as an image, or holds several pages.
    """
    with _opened(path) as image:
        if resizing is not None:
            side = 2 * max(resizing.size)  # twice as many pixels as needed, so that scaling stays smooth
            image.draft(None, (side, side))
        return pixels_of(image, channels, resizing)


def read_header(path: Path) -> ImageHeader:
    """Return what the header of an image file says, without decoding the image.

    Raises:
        DataError: the file cannot be read as an image.
    """
    with _opened(path) as image:
        # Pillow would decode a PNG to look for EXIF data at its end, and has turned a TIFF's size already.
        has_exif = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info)
        is_turned = has_exif and image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        size = (image.width, image.height) if is_turned else (image.height, image.width)
        return ImageHeader(size, image.mode, image.format or "")


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    """Open an image file; any error while it is read is a DataError."""
    from PIL import Image

    try:
        if not path.is_file():  # a link to nothing; or a pipe, which would be waited for
            raise ValueError("it is not a file")
        # Opened by its name, an uncompressed TIFF that is stored lying would be mapped with wrong rows.
        with path.open("rb") as file, Image.open(file) as image:
            yield image
    except Exception as error:  # of a damaged file, a decoder raises anything
        raise DataError(f"{path} cannot be read as an image: {_cause(error)}") from error


def pixels_of(image: Image, channels: int, resizing: Resizing | None = None) -> Array:
    """Return an image as a person sees it, from 0 (black) to 255 (white).

    - It is rotated as its EXIF data say; of an animation the first frame counts.
    - Transparent parts show a white background.
    - Palettes, CMYK, YCbCr, HSV and LAB become sRGB; embedded color profiles are ignored.
    - Grey of 16 bits is scaled from 0–65535, also if stored as 32-bit integers; grey of floats from 0–1. It
      keeps its levels, so it is float32; everything else is uint8.

    Args:
        image: an image of Pillow, of any mode.
        channels: 1 (grey) or 3 (red, green, blue).
        resizing: the size and the fit, as for `resize`, or None to keep the size.

    Returns:
        The pixels `(height, width, channels)`, uint8 or float32.

    Raises:
        DataError: the file has several pages, or its greys are outside the range of its type.
    """
    from PIL import ImageOps

    _check_one_page(image)
    image.load()  # some formats know their mode only then
    is_deep = image.mode in ("I", "F") or image.mode.startswith("I;16")
    # Pillow inverts 8-bit TIFFs whose 0 is white, but not those of more bits.
    is_inverted = is_deep and image.format == "TIFF" and getattr(image, "tag_v2", {}).get(262) == 0
    upright = ImageOps.exif_transpose(image)
    plain = _deep_grey(upright, is_inverted) if is_deep else _eight_bits(upright, channels)
    if resizing is not None:
        plain = resize(plain, resizing)
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
