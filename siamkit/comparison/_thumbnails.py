"""Thumbnails of compared items: passed by the caller, or read again from the data."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from siamkit.data.dataset import take
from siamkit.data.streaming.open import open_items
from siamkit.data.streaming.stream import StreamRequest
from siamkit.data.thumbnails import Thumbnail, ThumbnailLookup, thumbnail_of, thumbnails_of
from siamkit.errors import DataError


def thumbnails_of_items(items: Sequence[Any], ids: Sequence[str]) -> ThumbnailLookup:
    """Return the thumbnails of items passed in the order of the ids; of pairs each item is a tuple of two.

    Raises:
        DataError: there is not one item for each id.
    """
    if len(items) != len(ids):
        raise DataError(f"items should be one for each embedding, {len(ids)}, got {len(items)}")
    rows = {id: row for row, id in enumerate(ids)}

    def thumbnails(wanted: Collection[str]) -> dict[str, tuple[Thumbnail, ...]]:
        chosen = {id: items[rows[id]] for id in wanted if id in rows}
        return {
            id: tuple(map(thumbnail_of, item if isinstance(item, tuple) else (item,)))
            for id, item in chosen.items()
        }

    return thumbnails


def thumbnails_in_data(
    data: str | os.PathLike[str], options: StreamRequest, source: str | None, ids: Collection[str]
) -> dict[str, tuple[Thumbnail, ...]]:
    """Return the thumbnails of the items with these ids in a file or folder; none if they cannot be shown.

    Args:
        data: as `siamkit.inference.embed_file` takes it; in a folder of images ids are paths.
        options: how it is read.
        source: the registered dataset that reads it.
        ids: of the items.
    """
    folder = Path(data)
    if folder.is_dir() and source is None:
        root = folder.resolve()
        files = {id: (folder / id).resolve() for id in ids}
        return {
            id: (thumbnail_of(file),)
            for id, file in files.items()
            if file.is_relative_to(root) and file.is_file()
        }
    first, of_pairs = _side(data, replace(options, side=0), source, ids)
    if not of_pairs:
        return {id: (thumbnail,) for id, thumbnail in first.items()}
    second, _ = _side(data, replace(options, side=1), source, ids)
    return {id: (first[id], second[id]) for id in first}


def _side(
    data: str | os.PathLike[str], options: StreamRequest, source: str | None, ids: Collection[str]
) -> tuple[dict[str, Thumbnail], bool]:
    """Return the thumbnails of one side, and whether there are two sides."""
    thumbnails: dict[str, Thumbnail] = {}
    with open_items(data, source, options) as stream:
        for chunk in stream.chunks:
            rows = [row for row, id in enumerate(chunk.ids) if id in ids]
            of_chunk = thumbnails_of(take(chunk.items, np.array(rows))) if rows else []
            if of_chunk is None:
                return {}, False
            thumbnails |= {chunk.ids[row]: shown for row, shown in zip(rows, of_chunk, strict=True)}
        return thumbnails, stream.pairs
