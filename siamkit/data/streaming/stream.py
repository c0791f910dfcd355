"""Streams of items: the request, the chunks, and the stream of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from siamkit.data.dataset import Leaf
from siamkit.data.preprocessing.base import Preprocessor
from siamkit.errors import DataError


@dataclass(frozen=True)
class Chunk:
    """Some items as read: their ids, their labels or None, and the items."""

    ids: Sequence[str]
    labels: Any
    items: Leaf


@dataclass(frozen=True)
class Stream:
    """Chunks of items.

    Args:
        total: the number of items, or None if it is unknown.
        chunks: the items; they are read while this is iterated.
        pairs: whether the data are pairs, of which the stream has one side.
    """

    total: int | None
    chunks: Iterator[Chunk]
    pairs: bool = False


@dataclass(frozen=True)
class StreamRequest:
    """Which items of the data to read, and how.

    Args:
        preprocessor: that of the model; its kind says which input the model takes.
        size: the number of items in a chunk.
        side: which side of pairs; for items of one side, which of two encoders embeds them.
        towers: the number of encoders of the model.
        columns: the columns of a table, or the array of an `.npz` file; by default found by name.
        label, id: the columns or arrays of labels and of the items' ids.
        with_targets: whether to return the targets of pairs if `label` is None.
    """

    preprocessor: Preprocessor | None = None
    size: int = 256
    side: int = 0
    towers: int = 1
    columns: tuple[str, ...] = ()
    label: str | None = None
    id: str | None = None
    with_targets: bool = False

    def check_one_sided(self, path: object) -> None:
        """Raise DataError if side 1 is requested of data with one side, from a model with one encoder."""
        if self.side and self.towers == 1:
            raise DataError(f"{path} has no side 1: its items have one side, and the model has one encoder")
