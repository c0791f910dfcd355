"""The validation items that the report shows: which ones, and their thumbnails or texts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamkit.data.dataset import Dataset
from siamkit.data.thumbnails import thumbnails_of

MAX_SHOWN_ITEMS = 2000


def shown_rows(count: int) -> NDArray[np.int64]:
    """Return which of so many items are shown: all, or a random sample that is always the same."""
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
