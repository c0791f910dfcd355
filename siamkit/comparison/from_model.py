"""Items, or pairs of them, embedded by a model and held in memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamkit.backend import select
from siamkit.comparison._thumbnails import looks_in
from siamkit.comparison.inputs import EmbeddingSet
from siamkit.data.dataset import Array, Leaf, length, take
from siamkit.data.streaming.open import open_items
from siamkit.data.streaming.stream import Chunk, StreamRequest
from siamkit.inference.embed import describe_side, embed_stream


def embed_with(
    model: str | os.PathLike[str],
    data: str | os.PathLike[str],
    name: str | None = None,
    on_rows: Callable[[int, int | None], None] = lambda done, total: None,
    *,
    batch_size: int = 256,
    source: str | None = None,
    label: str | None = None,
) -> EmbeddingSet:
    """Embeddings of a model's, its metric and its threshold.

    Args:
        model: a `.keras` file of siamkit.
        data: what to embed, as `siamkit embed` takes it. Pairs, columns `left` and `right` or arrays `a`
            and `b`, are embedded on both sides, and `target` or `y` says which are alike.
        name: for people.
        on_rows: is told how it goes.
        batch_size: items at a time.
        source: the registered dataset that reads `data`.
        label: the column or array of labels.
    """
    select.prepare()
    from siamkit.model.load import load_model

    loaded = load_model(model, compile=False)
    towers = len(loaded.encoders)
    reading = StreamRequest(loaded.preprocessor, batch_size, towers=towers, label=label, with_targets=True)

    def side(number: int) -> _Side:
        wanted = replace(reading, side=number)
        with open_items(data, source, wanted) as stream:
            held = _Side(stream.pairs)
            embed_stream(stream, loaded, held, wanted, str(data), on_rows)
        return held

    first = side(0)
    sides = [first, side(1)] if first.pairs else [first]
    vectors = [np.concatenate(each.parts) for each in sides]
    return EmbeddingSet(
        name or Path(model).stem,
        np.stack(vectors, axis=1) if first.pairs else vectors[0],
        np.asarray(first.labels) if first.labels else None,
        tuple(first.ids),
        loaded.metric,
        loaded.threshold,
        describe_side(loaded, model) | {"parameters": loaded.count_params(), "items": str(data)},
        _same([each.keys for each in sides], apart=towers > 1) if first.pairs else None,
        partial(looks_in, data, reading, source),
    )


class _Side:
    """What is known of one side of the data, in memory."""

    def __init__(self, pairs: bool) -> None:
        self.pairs = pairs
        self.ids: list[str] = []
        self.labels: list[Any] = []
        self.parts: list[Array] = []
        self.keys: list[str] = []

    def items(self, chunk: Chunk) -> None:
        self.ids.extend(chunk.ids)
        if chunk.labels is not None:
            self.labels.extend(chunk.labels if isinstance(chunk.labels, list) else chunk.labels.tolist())
        if self.pairs:
            self.keys.extend(_keys(chunk.items))

    def embeddings(self, embeddings: Array) -> None:
        self.parts.append(np.asarray(embeddings, np.float32))


def _keys(items: Leaf) -> Iterator[str]:
    """A short name of each item, the same for the same item: embeddings of one may differ by a bit."""
    for row in range(length(items)):
        item = take(items, np.array([row]))
        columns = item.values() if isinstance(item, dict) else [item]
        told = (
            repr(each.tolist()).encode() if each.dtype.kind in "OUT" else each.tobytes() for each in columns
        )
        yield hashlib.blake2b(b"|".join(told), digest_size=16).hexdigest()


def _same(keys: list[list[str]], apart: bool) -> NDArray[np.int64]:
    """The items of both sides `(n, 2)` as 0, 1, …; with two towers none is on both sides."""
    named = [f"{side if apart else 0} {key}" for side, each in enumerate(keys) for key in each]
    return np.unique(named, return_inverse=True)[1].reshape(len(keys), -1).T.astype(np.int64)
