"""Rows of a table to embed, read a chunk at a time."""

from __future__ import annotations

import io
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np

from siamkit.data.dataset import Array, Leaf
from siamkit.data.preprocessing.base import Preprocessor
from siamkit.data.preprocessing.columns import ColumnEncoder
from siamkit.data.preprocessing.scaling import Standardizer
from siamkit.data.preprocessing.text import TextTokenizer, TokenPadder
from siamkit.data.sources.columns import Table
from siamkit.data.streaming.stream import Chunk, Stream, Wanted
from siamkit.errors import DataError, nearest
from siamkit.io.paths import unreadable_as_error

_SIDES = {("left", "right"): "target", ("a", "b"): "y"}  # and what says whether they are alike


def table_stream(path: Path, wanted: Wanted, files: ExitStack) -> Stream:
    """The rows of a table as items: the columns that the model takes, or those that are asked for.

    Raises:
        DataError: columns that are not there, or do not hold what the model takes.
    """
    import pyarrow

    suffix = path.suffix.lower()
    with unreadable_as_error(path, f"a {suffix} file", pyarrow.ArrowException):
        names, total = names_in(path, suffix)
    features, label, id, pairs = _chosen(path, names, wanted)
    needed = list(dict.fromkeys(each for each in (*features, label, id) if each is not None))

    def chunks() -> Iterator[Chunk]:
        done = 0
        types = _types(features, needed, wanted.preprocessor)
        tables = files.enter_context(closing(read_tables(path, suffix, needed, types, wanted.size)))
        while True:
            with unreadable_as_error(path, f"a {suffix} file", pyarrow.ArrowException):
                arrow = next(tables, None)
            if arrow is None:
                return
            for start in range(0, len(arrow), wanted.size):
                rows = arrow.slice(start, wanted.size)
                ids = [str(done + number) for number in range(len(rows))]
                if id is not None:
                    ids = [str(each) for each in rows.column(id).to_pylist()]
                labels = None if label is None else _labels(rows.column(label), suffix)
                yield Chunk(ids, labels, _items(Table(path, rows), features, wanted.preprocessor, done))
                done += len(rows)

    return Stream(total, chunks(), pairs)


def _chosen(path: Path, names: list[str], wanted: Wanted) -> tuple[list[str], str | None, str | None, bool]:
    """The columns of the items, of their labels and of their ids; and whether they are pairs."""
    asked = [*wanted.columns, *(each for each in (wanted.label, wanted.id) if each is not None)]
    scaled = wanted.preprocessor
    tabular = [*scaled.numeric, *scaled.categorical] if isinstance(scaled, ColumnEncoder) else []
    for name in [*asked, *tabular]:
        if name not in names:
            raise DataError(f"{path} has no column {name!r}; {nearest(name, names)}")
    pair = next((each for each in _SIDES if set(each) <= set(names)), None)
    if tabular or wanted.columns:
        pair = None
    if pair is None:
        wanted.one_sided(path)
    features = tabular or list(wanted.columns) or ([pair[wanted.side]] if pair else [])
    usual = [_SIDES[pair], "label"] if pair and wanted.judged else ["label"]
    label = wanted.label or next((name for name in usual if name in names and name not in features), None)
    id = wanted.id or ("id" if "id" in names and "id" not in features else None)
    left = [name for name in names if name not in (label, id)]
    if not features and len(left) != 1:
        raise DataError(f"say with columns which columns of {path} to embed: {', '.join(left)}")
    return features or left, label, id, pair is not None


def _items(table: Table, features: list[str], preprocessor: Preprocessor | None, done: int) -> Leaf:
    if isinstance(preprocessor, ColumnEncoder):
        known = preprocessor.categorical
        return {
            name: _as_known(table.optional_texts(name), known[name])
            if name in known
            else table.optional_numbers(name)
            for name in features
        }
    for name in features:
        column = table.arrow.column(name)
        if column.null_count:
            row = done + int(np.argmax(column.is_null().to_numpy())) + 1
            raise DataError(
                f"column {name!r} of {table.path} should have a value in every row, got none in {row}"
            )
    items, kind = table.view(features)
    fitting = {TextTokenizer: ("text",), TokenPadder: ("tokens",), Standardizer: ("vector", "tokens")}
    if preprocessor is not None and kind not in fitting.get(type(preprocessor), ()):
        raise DataError(
            f"{', '.join(features)} of {table.path} makes {kind}, but the model takes "
            f"{(fitting.get(type(preprocessor)) or ('no rows of tables',))[0]}"
        )
    return items


def _as_known(texts: Array, known: Sequence[str]) -> Array:
    """Texts of numbers, written as in training.

    There a column of nothing but numbers was read as such, and `007` became `7`; a chunk cannot tell.
    """
    for kind in (int, float):
        if known and all(_written(each, kind) == each for each in known):
            return np.array([_written(each, kind) for each in texts], dtype=object)
    return texts


def _written(text: str, kind: type[int] | type[float]) -> str:
    try:
        return str(kind(text))
    except ValueError:
        return text


def _types(features: list[str], needed: list[str], preprocessor: Preprocessor | None) -> dict[str, Any]:
    """The types of a .csv file's columns: guessed from its beginning they may be wrong further on."""
    import pyarrow

    if isinstance(preprocessor, ColumnEncoder):
        numeric = set(preprocessor.numeric)
    else:
        numeric = set() if isinstance(preprocessor, (TextTokenizer, type(None))) else set(features)
    types = {name: pyarrow.float64() if name in numeric else pyarrow.string() for name in needed}
    if preprocessor is None:
        return {name: kind for name, kind in types.items() if name not in features}
    return types


def _labels(column: Any, suffix: str) -> Any:
    """As they are; of formats without types as texts, for one chunk's guess is not the next one's."""
    if suffix == ".parquet":
        return column.combine_chunks()
    return [None if each is None else str(each) for each in column.to_pylist()]


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
