"""Embedding a file of items into a Parquet file, whatever its size: only a few batches are in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from siamkit.backend.precision import float32_required
from siamkit.data.dataset import Array, Leaf, length, take
from siamkit.data.streaming.open import items_in
from siamkit.data.streaming.stream import Chunk, Stream, Wanted
from siamkit.errors import DataError, ModelError
from siamkit.io.files import atomic_path
from siamkit.io.paths import check_writable

if TYPE_CHECKING:
    from siamkit.model.siamese import Siamese

OnRows = Callable[[int, int | None], None]
"""Called with how many items are done, and how many there are if that is known."""


class Sink(Protocol):
    """What becomes of items: their ids and labels come first, their embeddings later."""

    def items(self, chunk: Chunk, /) -> None: ...

    def embeddings(self, embeddings: Array, /) -> None: ...


def embed_file(
    model: str | os.PathLike[str],
    data: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    side: int = 0,
    batch_size: int = 256,
    source: str | None = None,
    columns: Sequence[str] = (),
    label: str | None = None,
    id: str | None = None,
    replace: bool = False,
    on_rows: OnRows = lambda done, total: None,
) -> int:
    """Embeds the items of a file or folder, a batch at a time, all batches of one shape.

    Args:
        model: a `.keras` file of siamkit.
        data: `.npy`, `.npz`, `.csv`, `.tsv`, `.parquet`, `.jsonl`, or a folder of images; or the name of a
            registered dataset that needs no path.
        output: the `.parquet` file; there whole at the end, or not at all.
        side: of pairs, which; of a model with two towers also which tower.
        batch_size: items at a time.
        source: the registered dataset that reads `data`; that is held in memory whole.
        columns: of a table those of the item, of an `.npz` file its array; found by name unless given.
        label, id: the column or array of labels, and of names of the items.
        replace: whether the output may be there already.
        on_rows: is told how it goes.

    Returns:
        How many items there were.

    Raises:
        DataError: data that are not there, or not what the model takes; an output that is there.
        ModelError: no such model, or side.
    """
    place = Path(output)
    if place.suffix != ".parquet":
        raise DataError(f"the output should end in .parquet, got {str(place)!r}")
    if place.exists() and (not replace or place.is_dir()):
        raise DataError(f"{str(place)!r} is there already; name another file, or ask to replace it (--force)")
    check_writable(place)
    if batch_size < 1:
        raise DataError(f"batch_size should be at least 1, got {batch_size}")
    from siamkit.model.load import load_model

    loaded = load_model(model, compile=False)
    if side not in (0, 1):
        raise ModelError(f"side should be 0 or 1, got {side!r}")
    wanted = Wanted(
        loaded.preprocessor, batch_size, side, len(loaded.encoders), tuple(columns), label, id
    )  # fmt: skip
    about = describe_side(loaded, model, side)
    with ExitStack() as opened:
        stream = opened.enter_context(items_in(data, source, wanted))
        file = opened.enter_context(atomic_path(place))
        writer = opened.enter_context(EmbeddingWriter(file, loaded.embedding_dim or 0, about))
        return embed_stream(stream, loaded, writer, wanted, str(data), on_rows)


def embed_stream(
    stream: Stream, model: Siamese, sink: Sink, wanted: Wanted, data: str, on_rows: OnRows
) -> int:
    """Embeds the items of a stream, a batch at a time, all batches of one shape.

    Args:
        stream: of the side that is wanted.
        model: whose encoder of that side embeds them.
        sink: what becomes of them.
        wanted: what the stream was opened with.
        data: what the items come from, for messages.
        on_rows: is told how it goes.

    Returns:
        How many items there were.

    Raises:
        DataError: none, or some that are not what the model takes.
    """
    encoder = model.encoders[min(wanted.side, wanted.towers - 1)]
    done = 0
    on_rows(0, stream.total)
    chunks = _prepared(stream, model, encoder, data, sink)
    with float32_required():
        for embeddings in _embeddings(chunks, encoder, wanted.size):
            sink.embeddings(embeddings)
            done += len(embeddings)
            on_rows(done, stream.total)
    if not done:
        raise DataError(f"{data} holds no items")
    return done


def _prepared(stream: Stream, model: Siamese, encoder: Any, data: str, sink: Sink) -> Iterator[Leaf]:
    """Prepared items by chunk; their ids and labels go to the sink."""
    for chunk in stream.chunks:
        try:
            items = chunk.items if model.preprocessor is None else model.preprocessor(chunk.items)
        except DataError as error:
            raise DataError(f"{data} does not fit the model: {error}") from error
        if model.preprocessor is None:
            _check(items, encoder, data)
        sink.items(chunk)
        yield items


def _check(items: Leaf, encoder: Any, data: str) -> None:
    """Raises DataError for items that an encoder without preprocessor cannot take."""
    wanted = getattr(encoder, "input_shape", None)
    if isinstance(wanted, tuple) and (
        not isinstance(items, np.ndarray) or items.dtype.kind not in "biuf" or items.shape[1:] != wanted[1:]
    ):
        got = f"{items.dtype} of shape {items.shape[1:]}" if isinstance(items, np.ndarray) else "columns"
        raise DataError(f"{data} does not fit the model: items are numbers of shape {wanted[1:]}, got {got}")


def _embeddings(chunks: Iterator[Leaf], encoder: Any, size: int) -> Iterator[Array]:
    """The embeddings of all items in their order, by batches of one shape so that nothing recompiles."""
    held: Leaf | None = None
    for items in chunks:
        held = items if held is None else _joined(held, items)
        count = length(held)
        for start in range(0, count - size + 1, size):
            yield np.asarray(encoder.predict_on_batch(take(held, np.arange(start, start + size))))
        held = take(held, np.arange(count - count % size, count))
    if held is not None and (count := length(held)):
        # The last batch is filled up with its last item.
        padded = take(held, np.minimum(np.arange(size), count - 1))
        yield np.asarray(encoder.predict_on_batch(padded))[:count]


def _joined(a: Leaf, b: Leaf) -> Leaf:
    if isinstance(a, dict) and isinstance(b, dict):
        return {name: np.concatenate([a[name], b[name]]) for name in a}
    return np.concatenate([a, b])


def describe_side(model: Siamese, path: str | os.PathLike[str], side: int = 0) -> dict[str, Any]:
    """What is to be known of embeddings beside themselves: the model, its metric and threshold."""
    from siamkit.export.description import describe_model

    told = describe_model(model)
    kept = ("siamkit", "embedding_dim", "metric", "threshold", "same", "components")
    return {"model": Path(path).name, "side": side, **{key: told[key] for key in kept}}


GROUP = 8 << 20  # bytes of embeddings in a row group


class EmbeddingWriter:
    """Writes a Parquet file by row groups: ids and labels come first, their embeddings later."""

    def __init__(self, path: Path, dim: int, about: dict[str, Any]) -> None:
        self._path, self._dim, self._about = path, dim, about
        self._ids: list[str] = []
        self._labels: list[Any] = []
        self._embeddings: list[Array] = []
        self._rows = 0
        self._schema: Any = None
        self._file: Any = None

    def __enter__(self) -> EmbeddingWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._rows:
                self._flush()
        finally:
            if self._file is not None:
                self._file.close()

    def items(self, chunk: Chunk) -> None:
        """The next ids and labels."""
        import pyarrow as pa

        labels = None if chunk.labels is None else pa.array(chunk.labels)
        if self._schema is None:
            fields = [pa.field("id", pa.string())]
            if labels is not None:
                text = pa.types.is_null(labels.type) or pa.types.is_large_string(labels.type)
                fields.append(pa.field("label", pa.string() if text else labels.type))
            fields.append(pa.field("embedding", pa.list_(pa.float32(), self._dim)))
            about = {"siamkit": json.dumps(self._about, ensure_ascii=False)}
            self._schema = pa.schema(fields, metadata=about)
        self._ids.extend(chunk.ids)
        if labels is not None:
            self._labels.append(labels.cast(self._schema.field("label").type))

    def embeddings(self, embeddings: Array) -> None:
        """The next embeddings `(n, dim)`."""
        if not np.isfinite(embeddings).all():
            bad = int(np.argmin(np.isfinite(embeddings).all(axis=1)))
            raise DataError(
                f"the embedding of item {self._ids[self._rows + bad]!r} is not all numbers; is the item?"
            )
        self._embeddings.append(np.asarray(embeddings, dtype="float32"))
        self._rows += len(embeddings)
        if self._rows * self._dim * 4 >= GROUP:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        flat = pa.array(np.concatenate(self._embeddings).reshape(-1))
        columns = [pa.array(self._ids[: self._rows], pa.string())]
        if self._labels:
            labels = pa.concat_arrays(self._labels)
            columns.append(labels.slice(0, self._rows))
            self._labels = [labels.slice(self._rows)]
        columns.append(pa.FixedSizeListArray.from_arrays(flat, self._dim))
        if self._file is None:
            self._file = parquet.ParquetWriter(self._path, self._schema)
        self._file.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        del self._ids[: self._rows]
        self._embeddings, self._rows = [], 0
