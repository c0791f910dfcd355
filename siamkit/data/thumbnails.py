"""Thumbnails: small images or texts that show an embedding's item, and the choice of items to show."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamkit.data.augmentation import Recipe, augmenter, recipe_steps
from siamkit.data.dataset import Dataset, Leaf, length, take
from siamkit.data.preprocessing import Preprocessor
from siamkit.errors import DataError

THUMBNAIL_PIXELS = 48


@dataclass(frozen=True)
class Thumbnail:
    """A small image of an item, or its text.

    Args:
        image: the contents of a small PNG file, or None.
        text: the text to show instead of an image.
    """

    image: bytes | None = None
    text: str = ""

    @property
    def source(self) -> str:
        """Return the image as a data URL for a web page."""
        return "data:image/png;base64," + base64.b64encode(self.image or b"").decode("ascii")


ThumbnailLookup = Callable[[Collection[str]], Mapping[str, tuple[Thumbnail, ...]]]
"""A function from ids to thumbnails, for pairs those of both sides; unknown ids are left out."""


def thumbnail_png(image: np.ndarray) -> bytes:
    """Return an image `(height, width)` or `(height, width, channels)` as a small PNG file."""
    from PIL import Image  # late: most comparisons show none

    pixels = image if image.ndim == 3 else image[..., None]
    if pixels.dtype != np.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        pixels = ((pixels - low) * (255.0 / (high - low or 1.0))).astype("uint8")
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels[..., :3])
    picture.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return stream.getvalue()


def thumbnail_of(item: Any) -> Thumbnail:
    """Return the thumbnail of an item.

    Args:
        item: an image `(height, width)` or `(height, width, channels)`, a text, or the `pathlib.Path` of an
            image.

    Raises:
        DataError: the item cannot be shown, or the path does not hold a readable image.

    Example:
        >>> from siamkit.data import thumbnail_of
        >>> thumbnail_of("a red fish")
        Thumbnail(image=None, text='a red fish')
    """
    if isinstance(item, os.PathLike):
        from siamkit.data.sources.images import read_image

        return Thumbnail(thumbnail_png(read_image(Path(item), 3)))
    if isinstance(item, str):
        return Thumbnail(text=str(item))
    array = np.asarray(item)
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or array.dtype.kind not in "biuf":
        raise DataError(
            "an item to show should be an image (height, width) or (height, width, channels), a text or a "
            f"pathlib.Path, got {type(item).__name__}"
        )
    return Thumbnail(thumbnail_png(array))


def thumbnails_of(items: Leaf) -> list[Thumbnail] | None:
    """Return the thumbnails of raw images, texts or columns; None for items that cannot be shown."""
    if isinstance(items, dict):
        if any(values.ndim > 1 for values in items.values()):
            return None
        rows = (take(items, np.array([row])) for row in range(length(items)))
        return [Thumbnail(text=_row_text(row)) for row in rows if isinstance(row, dict)]
    if items.dtype.kind in "OUT":
        return [Thumbnail(text=str(text)) for text in items]
    is_grey = items.ndim == 3 and items.dtype == np.uint8
    if is_grey or (items.ndim == 4 and items.shape[3] in (1, 3, 4)):
        return [Thumbnail(thumbnail_png(image)) for image in items]
    return None


def _row_text(row: Mapping[str, np.ndarray]) -> str:
    return ", ".join(f"{name} {values[0]}" for name, values in row.items())


MAX_SHOWN_ITEMS = 2000


def shown_rows(count: int) -> NDArray[np.int64]:
    """Return the rows of the items to show: all, or a random sample that is always the same."""
    if count <= MAX_SHOWN_ITEMS:
        return np.arange(count)
    return np.sort(np.random.default_rng(count).choice(count, MAX_SHOWN_ITEMS, replace=False))


def items_table(valid: Dataset) -> dict[str, list[Any]]:
    """Return the columns of `items.parquet`: id, target and thumbnail or text of each validation item.

    `shown` says which items are shown; the thumbnails and texts of the others are null.
    """
    rows = shown_rows(len(valid))
    table: dict[str, list[Any]] = {"id": [str(name) for name in valid.ids]}
    if valid.target is not None:
        table["target"] = [str(value) for value in valid.target]
    table["shown"] = np.isin(np.arange(len(valid)), rows).tolist()
    for name, values in _thumbnail_columns(valid.take(rows)).items():
        column: list[Any] = [None] * len(valid)
        for row, value in zip(rows, values, strict=True):
            column[row] = value
        table[name] = column
    return table


# ------------------------------------------------------------------ training items, augmented

SHOWN_AUGMENTED = 8
DRAWS = 3
"""How often each of the items shown is augmented."""

SHOWN_PIXELS = 64
SHOWN_STEPS = 256
SHOWN_FEATURES = 12


def augmented_items(
    training: Dataset, recipe: Recipe, kind: str, preprocessor: Preprocessor, seed: int
) -> dict[str, NDArray[Any]]:
    """Return a few training items, each as it is and as augmented, for a report; empty without augmentation.

    Args:
        training: the prepared training items.
        recipe: how they are augmented, as for `siamkit.data.augmenter`.
        kind: the kind of input before preparation.
        preprocessor: the preprocessor that prepared them.
        seed: the seed of the choice of items and of the augmentation.

    Returns:
        `augmented_ids` (n,); `augmented_steps`, the augmentations with their parameters as JSON; and one of
        these, in which version 0 is the item as it is: `augmented_images` (n, versions, height, width,
        channels) in uint8; `augmented_series` (n, versions, steps), of the first feature;
        `augmented_texts` (n, versions); `augmented_rows` (n, versions, features), with `augmented_columns`.
    """
    steps = recipe_steps(recipe, kind)
    if (augment := augmenter(recipe, kind, preprocessor)) is None:
        return {}
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(training), min(SHOWN_AUGMENTED, len(training)), replace=False))
    view = take(training.views[0], rows)
    versions = [preprocessor.restored(each) for each in (view, *(augment(view, rng) for _ in range(DRAWS)))]
    return {
        "augmented_ids": training.ids[rows].astype(np.str_),
        "augmented_steps": np.array(json.dumps(steps)),
        **_shown_versions(versions, kind),
    }


def _shown_versions(versions: list[Leaf], kind: str) -> dict[str, NDArray[Any]]:
    if kind in ("vector", "tabular"):
        return _shown_rows([leaf if isinstance(leaf, dict) else dict(enumerate(leaf.T)) for leaf in versions])
    items = np.stack(versions, axis=1)  # type: ignore[arg-type]
    if kind == "image":
        low, high = float(items[:, 0].min()), float(items[:, 0].max())
        scaled = np.clip((items - low) * (255.0 / (high - low or 1.0)), 0, 255).round().astype(np.uint8)
        small = np.stack([_reduced(image) for image in scaled.reshape(-1, *items.shape[2:])])
        return {"augmented_images": small.reshape(*items.shape[:2], *small.shape[1:])}
    if kind == "series":
        stride = -(-items.shape[2] // SHOWN_STEPS)
        return {"augmented_series": items[:, :, ::stride, 0].astype(np.float32)}
    if kind == "tokens":
        items = np.array([[" ".join(str(token) for token in ids if token) for ids in item] for item in items])
    return {"augmented_texts": items.astype(np.str_)}


def _shown_rows(versions: Sequence[Mapping[Any, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    names = list(versions[0])[:SHOWN_FEATURES]
    cells = [np.stack([_cells(version[name]) for name in names], axis=1) for version in versions]
    return {"augmented_columns": np.array(names, np.str_), "augmented_rows": np.stack(cells, axis=1)}


def _cells(column: NDArray[Any]) -> NDArray[np.str_]:
    """Return the values of a column as texts; numbers with four digits, without errors of rounding."""
    if column.dtype.kind != "f":
        return column.astype(np.str_)
    smallest = 1e-6 * np.nanmax(np.abs(column), initial=0)
    return np.array([f"{0 if abs(value) < smallest else value:.4g}" for value in column.tolist()])


def _reduced(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image `(height, width, channels)` in at most `SHOWN_PIXELS` a side, with 1 or 3 channels."""
    from PIL import Image

    channels = 3 if image.shape[2] > 2 else 1
    picture = Image.fromarray(image[..., 0] if channels == 1 else image[..., :3])
    picture.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS))
    return np.asarray(picture).reshape(picture.height, picture.width, channels)


def _thumbnail_columns(items: Dataset) -> dict[str, list[Any]]:
    """Return the columns `image_0`, `text_0`, … of some items: PNG files, or texts."""
    columns: dict[str, list[Any]] = {}
    for number, view in enumerate(items.views):
        thumbnails = thumbnails_of(view) or []
        if thumbnails and thumbnails[0].image is not None:
            columns[f"image_{number}"] = [thumbnail.image for thumbnail in thumbnails]
        elif thumbnails:
            columns[f"text_{number}"] = [thumbnail.text for thumbnail in thumbnails]
    return columns
