"""The Parquet file of embeddings: id, label where there is one, embedding; written by row groups."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from siamkit.data.dataset import Array
from siamkit.data.streaming.streams import Chunk
from siamkit.errors import DataError

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
