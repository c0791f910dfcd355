"""Embed items or pairs with a model, and hold the embeddings in memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamkit.backend import select
from siamkit.comparison._thumbnails import thumbnails_in_data
from siamkit.comparison.embedding_set import EmbeddingSet
from siamkit.data.dataset import Array, Leaf, length, take
from siamkit.data.streaming.open import open_items
from siamkit.data.streaming.stream import Chunk, StreamRequest
from siamkit.inference.embed import OnRows, embed_stream


def from_model(
    model: str | os.PathLike[str],
    data: str | os.PathLike[str],
    name: str | None = None,
    on_rows: OnRows = lambda done, total: None,
    *,
    batch_size: int = 256,
    source: str | None = None,
    label: str | None = None,
) -> EmbeddingSet:
    """Return the embeddings of data under a model, with its metric and threshold.

    Args:
        model: a `.keras` file of siamkit.
        data: what to embed, as `siamkit embed` takes it. Of pairs, in columns `left` and `right` or arrays
            `a` and `b`, both sides are embedded; `target` or `y` has their labels.
        name: for display; by default that of the file.
        on_rows: called with the number of items done, and of all items if known.
        batch_size: items at a time.
        source: the registered dataset that reads `data`.
        label: the column or array of labels.
    """
    select.prepare()
    from siamkit.model.load import load_model

    loaded = load_model(model, compile=False)
    towers = len(loaded.encoders)
    options = StreamRequest(loaded.preprocessor, batch_size, towers=towers, label=label, with_targets=True)

    def embed_side(number: int) -> _Side:
        side_options = replace(options, side=number)
        with open_items(data, source, side_options) as stream:
            side = _Side(stream.pairs)
            embed_stream(stream, loaded, side, side_options, str(data), on_rows)
        return side

    first = embed_side(0)
    sides = [first, embed_side(1)] if first.of_pairs else [first]
    vectors = [np.concatenate(side.chunks) for side in sides]
    return EmbeddingSet(
        name or Path(model).stem,
        np.stack(vectors, axis=1) if first.of_pairs else vectors[0],
        np.asarray(first.labels) if first.labels else None,
        tuple(first.ids),
        loaded.metric,
        loaded.threshold,
        loaded.count_params(),
        items=_item_numbers([side.keys for side in sides], towers > 1) if first.of_pairs else None,
        thumbnails=partial(thumbnails_in_data, data, options, source),
    )


class _Side:
    """One side of the data, in memory."""

    def __init__(self, of_pairs: bool) -> None:
        self.of_pairs = of_pairs
        self.ids: list[str] = []
        self.labels: list[Any] = []
        self.chunks: list[Array] = []
        self.keys: list[str] = []

    def items(self, chunk: Chunk) -> None:
        self.ids.extend(chunk.ids)
        if chunk.labels is not None:
            self.labels.extend(chunk.labels if isinstance(chunk.labels, list) else chunk.labels.tolist())
        if self.of_pairs:
            self.keys.extend(_content_keys(chunk.items))

    def embeddings(self, embeddings: Array) -> None:
        self.chunks.append(np.asarray(embeddings, np.float32))


def _content_keys(items: Leaf) -> Iterator[str]:
    """Yield a hash of each item's content: the embeddings of one item may differ in the last bit."""
    for row in range(length(items)):
        item = take(items, np.array([row]))
        columns = item.values() if isinstance(item, dict) else [item]
        contents = (
            repr(column.tolist()).encode() if column.dtype.kind in "OUT" else column.tobytes()
            for column in columns
        )
        yield hashlib.blake2b(b"|".join(contents), digest_size=16).hexdigest()


def _item_numbers(keys: Sequence[Sequence[str]], two_towers: bool) -> NDArray[np.int64]:
    """Return the items of both sides `(n, 2)` as 0, 1, …; with two towers no item is on both sides."""
    names = [f"{side if two_towers else 0} {key}" for side, of_side in enumerate(keys) for key in of_side]
    return np.unique(names, return_inverse=True)[1].reshape(len(keys), -1).T.astype(np.int64)
