"""Items read a chunk at a time: what is asked for, the chunks, and the stream of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from siamkit.data.dataset import Leaf
from siamkit.data.preprocessing.base import Preprocessor
from siamkit.errors import DataError


@dataclass(frozen=True)
class Chunk:
    """Some items as read: their ids, labels if there are any, and themselves."""

    ids: Sequence[str]
    labels: Any
    items: Leaf


@dataclass(frozen=True)
class Stream:
    """Chunks of items, how many items there are in all, if that is known, and whether of two sides."""

    total: int | None
    chunks: Iterator[Chunk]
    pairs: bool = False


@dataclass(frozen=True)
class Wanted:
    """What of the data is wanted.

    Args:
        preprocessor: the model's: it knows the kind of input.
        size: items a chunk.
        side: which side of pairs; or which tower embeds items of one side.
        towers: how many encoders the model has.
        columns: of a table or the array of an `.npz` file; found by their names unless given.
        label, id: the column or array of labels and of names of the items.
        judged: whether of pairs the target is wanted where no label is named.
    """

    preprocessor: Preprocessor | None = None
    size: int = 256
    side: int = 0
    towers: int = 1
    columns: tuple[str, ...] = ()
    label: str | None = None
    id: str | None = None
    judged: bool = False

    def one_sided(self, path: object) -> None:
        """Raises DataError where the second side is asked of data that have one."""
        if self.side and self.towers == 1:
            raise DataError(f"{path} has items of one side, and the model one encoder, so there is no side 1")
