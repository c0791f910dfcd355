"""The validation items, for people to look at: which of them, and how they look."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from siamkit.data import Dataset

MOST_ITEMS = 2000  # that are shown
THUMBNAIL = 48  # pixels


def shown_rows(count: int) -> NDArray[np.int64]:
    """Which of so many items are shown: all, or as many as can be, drawn evenly; always the same."""
    if count <= MOST_ITEMS:
        return np.arange(count)
    return np.sort(np.random.default_rng(count).choice(count, MOST_ITEMS, replace=False))


def items_table(valid: Dataset) -> dict[str, Any]:
    """The validation items: id and target of each, and of those shown a thumbnail or text of each view.

    `shown` tells which; of the others the looks are null.
    """
    rows = shown_rows(len(valid))
    shown = np.zeros(len(valid), bool)
    shown[rows] = True
    table: dict[str, Any] = {"id": [str(each) for each in valid.ids]}
    if valid.target is not None:
        table["target"] = [str(each) for each in valid.target]
    table["shown"] = shown
    for name, looks in _looks(valid.take(rows)).items():
        column: list[Any] = [None] * len(valid)
        for row, look in zip(rows, looks, strict=True):
            column[row] = look
        table[name] = column
    return table


def _looks(some: Dataset) -> dict[str, list[Any]]:
    """Columns `image_0`, `text_0`, … of a few items: PNG files, or words."""
    found: dict[str, list[Any]] = {}
    for number, view in enumerate(some.views):
        if isinstance(view, np.ndarray) and some.input == "image":
            found[f"image_{number}"] = [thumbnail(image) for image in view]
        elif isinstance(view, np.ndarray) and some.input == "text":
            found[f"text_{number}"] = [str(text) for text in view]
        elif isinstance(view, dict) and some.input == "tabular":
            rows = zip(*view.values(), strict=True)
            found[f"text_{number}"] = [
                ", ".join(f"{name} {value}" for name, value in zip(view, row, strict=True)) for row in rows
            ]
    return found


def thumbnail(image: np.ndarray) -> bytes:
    """An image `(height, width)` or `(height, width, channels)` as a small PNG file."""
    pixels = image if image.ndim == 3 else image[..., None]
    if pixels.dtype != np.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        pixels = ((pixels - low) * (255.0 / (high - low or 1.0))).astype("uint8")
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels[..., :3])
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return stream.getvalue()
