"""Embed a file of items into a Parquet file, at any size: only a few batches are in memory."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from siamkit.backend.select import float32_required
from siamkit.data.dataset import Array, Leaf, length, take
from siamkit.data.preprocessing import Altered
from siamkit.data.streaming import Chunk, Stream, StreamRequest
from siamkit.data.streaming.open import open_items
from siamkit.errors import DataError, ModelError
from siamkit.io.files import atomic_path
from siamkit.io.paths import arrow_file, check_writable
from siamkit.io.values import rows_not_finite

if TYPE_CHECKING:
    from siamkit.model.siamese import Siamese

OnRows = Callable[[int, int | None], None]
"""A function called with the number of embedded items, and the total number or None if it is unknown."""

ROW_GROUP_BYTES = 8 << 20  # of embeddings


class Sink(Protocol):
    """A receiver of items and their embeddings: the ids and labels come first, their embeddings later."""

    def items(self, chunk: Chunk, /) -> None:
        """Receive the next ids and labels."""

    def embeddings(self, embeddings: Array, /) -> None:
        """Receive the next embeddings `(n, dim)`."""


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
    skip_unreadable: bool = False,
    on_rows: OnRows = lambda done, total: None,
    on_note: Callable[[str], None] = warnings.warn,
) -> int:
    """Embed the items of a file or folder and write them to a Parquet file.

    Args:
        model: a `.keras` file of siamkit.
        data: a `.npy`, `.npz`, `.csv`, `.tsv`, `.parquet` or `.jsonl` file, a folder of images, or the name
            of a registered dataset that needs no path.
        output: the `.parquet` file to write, completely or not at all.
        side: the side of pairs to embed, 0 or 1; for a model with two encoders also the number of the
            encoder.
        batch_size: the number of items in a batch; all batches have one shape.
        source: the registered dataset that reads all of `data` into memory.
        columns: names of the columns of a table, or of the array of an `.npz` file; by default the usual
            names.
        label, id: names of the columns or arrays of labels and of ids.
        replace: whether to replace an existing output file.
        skip_unreadable: whether to leave out images that cannot be read, with a note.
        on_rows: function called after each batch, see `OnRows`.
        on_note: function called with a sentence for the user, such as how many texts were cut; by default it
            is a warning.

    Returns:
        The number of items.

    Raises:
        DataError: the data do not exist or do not fit the model, or the output already exists.
        ModelError: the model cannot be loaded, or has no such side.
        StudyError: the disk is full.
    """
    path = Path(output)
    if path.suffix != ".parquet":
        raise DataError(f"the output should end in .parquet, got {str(path)!r}")
    if path.exists() and (not replace or path.is_dir()):
        raise DataError(f"{str(path)!r} already exists; choose another file, or replace it (--force)")
    check_writable(path)
    if batch_size < 1:
        raise DataError(f"batch_size should be at least 1, got {batch_size}")
    from siamkit.model import load_model  # through the package, which chooses the backend

    loaded = load_model(model, compile=False)
    if side not in (0, 1):
        raise ModelError(f"side should be 0 or 1, got {side!r}")
    request = StreamRequest(
        preprocessor=loaded.preprocessor,
        size=batch_size,
        side=side,
        towers=len(loaded.encoders),
        columns=tuple(columns),
        label=label,
        id=id,
        skip_unreadable=skip_unreadable,
    )
    with ExitStack() as stack:
        stream = stack.enter_context(open_items(data, source, request))
        file = stack.enter_context(atomic_path(path))
        metadata = describe_side(loaded, model, side)
        writer = stack.enter_context(ParquetSink(file, loaded.embedding_dim or 0, metadata))
        count, altered = embed_stream(stream, loaded, writer, request, str(data), on_rows)
    if altered:
        on_note(f"{altered.sentence()}.")
    for note in stream.notes:
        on_note(note)
    return count


def embed_stream(
    stream: Stream, model: Siamese, sink: Sink, request: StreamRequest, data: str, on_rows: OnRows
) -> tuple[int, Altered]:
    """Embed the items of a stream in batches of one shape.

    Args:
        stream: the items of the requested side.
        model: the model whose encoder of that side embeds the items.
        sink: the receiver of the items and their embeddings.
        request: the request that the stream was opened with.
        data: the source of the items, for messages.
        on_rows: function called after each batch, see `OnRows`.

    Returns:
        The number of items, and how many of them lost content when they were prepared.

    Raises:
        DataError: the stream is empty, or its items do not fit the model.
    """
    encoder = model.encoders[min(request.side, request.towers - 1)]
    done = 0
    altered: list[Altered] = []
    on_rows(0, stream.total)
    chunks = _prepared_chunks(stream, model, encoder, data, sink, altered.append)
    with float32_required():
        for embeddings in _embed_batches(chunks, encoder, request.size):
            sink.embeddings(embeddings)
            done += len(embeddings)
            on_rows(done, stream.total)
    if not done:
        raise DataError(f"{data} holds no items")
    return done, sum(altered, Altered())


def describe_side(model: Siamese, path: str | os.PathLike[str], side: int = 0) -> dict[str, Any]:
    """Return the facts that a user of the embeddings needs, as JSON data: model, metric and threshold."""
    from siamkit.export.formats import describe_model

    description = describe_model(model)
    keys = ("siamkit", "embedding_dim", "metric", "threshold", "same", "components")
    return {"model": Path(path).name, "side": side, **{key: description[key] for key in keys}}


def _prepared_chunks(
    stream: Stream,
    model: Siamese,
    encoder: Any,
    data: str,
    sink: Sink,
    on_altered: Callable[[Altered], None],
) -> Iterator[Leaf]:
    """Yield the prepared items of each chunk, after handing its ids and labels to the sink."""
    for chunk in stream.chunks:
        items = chunk.items
        try:
            if model.preprocessor is not None:
                on_altered(model.preprocessor.altered(items))
                items = model.preprocessor(items)
        except DataError as error:
            raise DataError(f"{data} does not fit the model: {error}") from error
        if model.preprocessor is None:
            _check_shape(items, encoder, data)
        _check_finite(items, chunk.ids)
        sink.items(chunk)
        yield items


def _check_shape(items: Leaf, encoder: Any, data: str) -> None:
    """Raise DataError for items that an encoder without preprocessor cannot take."""
    from siamkit.encoders.tokens import check_token_ids

    shape = getattr(encoder, "input_shape", None)
    if isinstance(shape, tuple) and (
        not isinstance(items, np.ndarray) or items.dtype.kind not in "biuf" or items.shape[1:] != shape[1:]
    ):
        got = f"{items.dtype} of shape {items.shape[1:]}" if isinstance(items, np.ndarray) else "columns"
        raise DataError(
            f"{data} does not fit the model: items should be numbers of shape {shape[1:]}, got {got}"
        )
    check_token_ids(encoder, items)


def _check_finite(items: Leaf, ids: Sequence[str]) -> None:
    """Raise DataError for items with NaN or infinity, from which some encoders make finite embeddings."""
    for values in items.values() if isinstance(items, dict) else [items]:
        if values.dtype.kind == "f":
            broken = rows_not_finite(values)
            if broken.size:
                item = ids[broken[0]]
                raise DataError(f"item {item!r} has NaN or infinity; check that item for missing values")


def _embed_batches(chunks: Iterator[Leaf], encoder: Any, size: int) -> Iterator[Array]:
    """Yield the embeddings of all items in order; all batches have one shape, so that nothing recompiles."""
    pending: Leaf | None = None
    for items in chunks:
        pending = items if pending is None else _concatenated(pending, items)
        count = length(pending)
        for start in range(0, count - size + 1, size):
            yield np.asarray(encoder.predict_on_batch(take(pending, np.arange(start, start + size))))
        pending = take(pending, np.arange(count - count % size, count))
    if pending is not None and (count := length(pending)):
        # The last batch is filled up with its last item.
        padded = take(pending, np.minimum(np.arange(size), count - 1))
        yield np.asarray(encoder.predict_on_batch(padded))[:count]


def _concatenated(a: Leaf, b: Leaf) -> Leaf:
    if isinstance(a, dict) and isinstance(b, dict):
        return {name: np.concatenate([a[name], b[name]]) for name in a}
    return np.concatenate([a, b])


class ParquetSink:
    """A sink that writes ids, labels (if any) and embeddings to a Parquet file, one row group at a time.

    Args:
        path: the file to write.
        dim: the size of the embeddings.
        metadata: JSON data for the file's metadata, under the key `siamkit`.
    """

    def __init__(self, path: Path, dim: int, metadata: dict[str, Any]) -> None:
        self._path, self._dim, self._metadata = path, dim, metadata
        self._ids: list[str] = []
        self._labels: list[Any] = []
        self._embeddings: list[Array] = []
        self._rows = 0
        self._schema: Any = None
        self._stream: Any = None
        self._file: Any = None

    def __enter__(self) -> ParquetSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._rows:
                self._write_row_group()
        finally:
            with suppress(OSError) if kind is not None else nullcontext():  # the first error matters
                if self._file is not None:
                    self._file.close()
                    self._stream.close()

    def items(self, chunk: Chunk) -> None:
        """Store the next ids and labels until their embeddings come."""
        import pyarrow as pa

        labels = None if chunk.labels is None else pa.array(chunk.labels)
        if self._schema is None:
            fields = [pa.field("id", pa.string())]
            if labels is not None:
                is_text = pa.types.is_null(labels.type) or pa.types.is_large_string(labels.type)
                fields.append(pa.field("label", pa.string() if is_text else labels.type))
            fields.append(pa.field("embedding", pa.list_(pa.float32(), self._dim)))
            metadata = {"siamkit": json.dumps(self._metadata, ensure_ascii=False)}
            self._schema = pa.schema(fields, metadata=metadata)
        self._ids.extend(chunk.ids)
        if labels is not None:
            self._labels.append(labels.cast(self._schema.field("label").type))

    def embeddings(self, embeddings: Array) -> None:
        """Store the next embeddings `(n, dim)`; write a row group if there are enough.

        Raises:
            DataError: an embedding is not finite.
        """
        if not np.isfinite(embeddings).all():
            row = int(rows_not_finite(embeddings)[0])
            raise DataError(
                f"item {self._ids[self._rows + row]!r} has NaN or infinity in its embedding; check that item "
                "for missing values"
            )
        self._embeddings.append(np.asarray(embeddings, dtype="float32"))
        self._rows += len(embeddings)
        if self._rows * self._dim * 4 >= ROW_GROUP_BYTES:
            self._write_row_group()

    def _write_row_group(self) -> None:
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
            self._stream = arrow_file(self._path, "wb")
            self._file = parquet.ParquetWriter(self._stream, self._schema)
        self._file.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        del self._ids[: self._rows]
        self._embeddings, self._rows = [], 0
