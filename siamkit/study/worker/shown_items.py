"""The validation items that people look at: which of them, and their thumbnails or texts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamkit.data.dataset import Dataset
from siamkit.data.thumbnails import thumbnails_of

MOST_ITEMS = 2000  # that are shown


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
        looks = thumbnails_of(view) or []
        if looks and looks[0].image is not None:
            found[f"image_{number}"] = [look.image for look in looks]
        elif looks:
            found[f"text_{number}"] = [look.text for look in looks]
    return found
