"""Tables read a chunk at a time, as Arrow."""

from __future__ import annotations

import io
from collections.abc import Generator
from pathlib import Path
from typing import Any

from siamkit.errors import DataError

SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl")

_AT_ONCE = 1 << 20  # bytes of text


def names_in(path: Path, suffix: str) -> tuple[list[str], int | None]:
    """The columns, and how many rows there are where the file says so."""
    if suffix == ".parquet":
        from pyarrow import parquet

        with parquet.ParquetFile(path) as file:
            return list(file.schema_arrow.names), file.metadata.num_rows
    with_rows = _lines(path) if suffix == ".jsonl" else _csv(path, None, {})
    first = next(with_rows, None)
    with_rows.close()
    names = [] if first is None else list(first.schema.names)
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise DataError(f"{path} should name each column once, got {min(twice)!r} twice")
    return names, None


def read_tables(
    path: Path, suffix: str, needed: list[str], types: dict[str, Any], size: int
) -> Generator[Any, None, None]:
    """Tables of the needed columns."""
    import pyarrow

    if suffix == ".parquet":
        from pyarrow import parquet

        # Not read ahead, and no whole column chunk at once.
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=_AT_ONCE) as file:
            for batch in file.iter_batches(batch_size=size, columns=needed, use_threads=False):
                yield pyarrow.Table.from_batches([batch])
    elif suffix == ".jsonl":
        for table in _lines(path):
            for name in set(needed) - set(table.column_names):  # no row of these has it
                table = table.append_column(name, pyarrow.nulls(len(table)))
            yield table.select(needed)
    else:
        for batch in _csv(path, needed, types):
            yield pyarrow.Table.from_batches([batch])


def _lines(path: Path) -> Generator[Any, None, None]:
    from pyarrow import json

    with path.open("rb") as file:
        while lines := file.readlines(_AT_ONCE):
            if text := b"".join(line for line in lines if line.strip()):
                yield json.read_json(io.BytesIO(text))


def _csv(path: Path, needed: list[str] | None, types: dict[str, Any]) -> Generator[Any, None, None]:
    from pyarrow import csv

    options = csv.ConvertOptions(
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        column_types=types,
        include_columns=needed,
    )
    parse = csv.ParseOptions(
        delimiter="\t" if path.suffix.lower() == ".tsv" else ",", newlines_in_values=True
    )
    read = csv.ReadOptions(block_size=_AT_ONCE, use_threads=False)
    with csv.open_csv(path, read_options=read, parse_options=parse, convert_options=options) as reader:
        yield from reader
