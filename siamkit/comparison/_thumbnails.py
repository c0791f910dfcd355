"""Where the looks of items come from: handed over, or read again from the data."""

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


def given_looks(items: Sequence[Any], ids: Sequence[str]) -> ThumbnailLookup:
    """Return the thumbnails of items given in the order of the ids; of pairs each is a tuple of two.

    Raises:
        DataError: not as many as ids.
    """
    if len(items) != len(ids):
        raise DataError(f"items to look at should be one for each embedding, {len(ids)}, got {len(items)}")
    rows = {id: row for row, id in enumerate(ids)}

    def looks(wanted: Collection[str]) -> dict[str, tuple[Thumbnail, ...]]:
        some = {id: items[rows[id]] for id in wanted if id in rows}
        return {
            id: tuple(map(thumbnail_of, each if isinstance(each, tuple) else (each,)))
            for id, each in some.items()
        }

    return looks


def looks_in(
    data: str | os.PathLike[str], reading: StreamRequest, source: str | None, wanted: Collection[str]
) -> dict[str, tuple[Thumbnail, ...]]:
    """How items of a file or folder look that have these ids; nothing of items that cannot be looked at.

    Args:
        data: as `siamkit.inference.embed.embed_file` takes it; in a folder of images ids are paths.
        reading: how it is to be read.
        source: the registered dataset that reads it.
        wanted: the ids.
    """
    folder = Path(data)
    if folder.is_dir() and source is None:
        whole = folder.resolve()
        files = {id: (folder / id).resolve() for id in wanted}
        return {
            id: (thumbnail_of(file),)
            for id, file in files.items()
            if file.is_relative_to(whole) and file.is_file()
        }
    sides = [_side(data, replace(reading, side=0), source, wanted)]
    if sides[0][1]:
        sides.append(_side(data, replace(reading, side=1), source, wanted))
    return {id: tuple(looks[id] for looks, _ in sides) for id in sides[0][0]}


def _side(
    data: str | os.PathLike[str], reading: StreamRequest, source: str | None, wanted: Collection[str]
) -> tuple[dict[str, Thumbnail], bool]:
    """The looks of one side, and whether there are two."""
    found: dict[str, Thumbnail] = {}
    with open_items(data, source, reading) as stream:
        for chunk in stream.chunks:
            rows = [row for row, id in enumerate(chunk.ids) if id in wanted]
            looks = thumbnails_of(take(chunk.items, np.array(rows))) if rows else []
            if looks is None:
                return {}, False
            found |= {chunk.ids[row]: look for row, look in zip(rows, looks, strict=True)}
        return found, stream.pairs
