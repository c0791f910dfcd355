"""How items look: a thumbnail or a text, for people to see what embeddings take for near."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siamkit.data.dataset import Leaf, length, take
from siamkit.errors import DataError

THUMBNAIL = 48  # pixels


@dataclass(frozen=True)
class Thumbnail:
    """How an item looks.

    Args:
        image: a small PNG file, or None.
        text: where there is no image.
    """

    image: bytes | None = None
    text: str = ""

    @property
    def source(self) -> str:
        """The image as a page holds it."""
        return "data:image/png;base64," + base64.b64encode(self.image or b"").decode("ascii")


Looks = Callable[[Collection[str]], Mapping[str, tuple[Thumbnail, ...]]]
"""From ids to how these items look, both sides of pairs; those not known are left out."""


def thumbnail(image: np.ndarray) -> bytes:
    """An image `(height, width)` or `(height, width, channels)` as a small PNG file."""
    from PIL import Image  # late: most comparisons show none

    pixels = image if image.ndim == 3 else image[..., None]
    if pixels.dtype != np.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        pixels = ((pixels - low) * (255.0 / (high - low or 1.0))).astype("uint8")
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels[..., :3])
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return stream.getvalue()


def thumbnail_of(item: Any) -> Thumbnail:
    """How an item looks that is an image `(height, width)` or `(height, width, channels)`, a text or a path.

    Raises:
        DataError: it is none of these, or no image can be read from the path.

    Example:
        >>> from siamkit.data import thumbnail_of
        >>> thumbnail_of("a red fish")
        Look(image=None, text='a red fish')
    """
    if isinstance(item, os.PathLike):
        from siamkit.data.sources.images import read_image

        return Thumbnail(thumbnail(read_image(Path(item), "RGB", None)))
    if isinstance(item, str):
        return Thumbnail(text=str(item))
    array = np.asarray(item)
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or array.dtype.kind not in "biuf":
        raise DataError(
            "an item to look at should be an image (height, width) or (height, width, channels), a text or a "
            f"pathlib.Path, got {type(item).__name__}"
        )
    return Thumbnail(thumbnail(array))


def thumbnails_of(items: Leaf) -> list[Thumbnail] | None:
    """How raw items look, images or texts or columns; None of what nobody can look at, such as vectors."""
    if isinstance(items, dict):
        if any(values.ndim > 1 for values in items.values()):
            return None
        rows = (take(items, np.array([row])) for row in range(length(items)))
        return [Thumbnail(text=_columns(row)) for row in rows if isinstance(row, dict)]
    if items.dtype.kind in "OUT":
        return [Thumbnail(text=str(text)) for text in items]
    grey = items.ndim == 3 and items.dtype == np.uint8
    if grey or (items.ndim == 4 and items.shape[3] in (1, 3, 4)):
        return [Thumbnail(thumbnail(image)) for image in items]
    return None


def _columns(row: Mapping[str, np.ndarray]) -> str:
    return ", ".join(f"{name} {values[0]}" for name, values in row.items())
