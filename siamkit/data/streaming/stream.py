"""A stream of items with their ids, a chunk at a time, and the stream that reads a table."""

from __future__ import annotations

import io
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siamkit.data.dataset import Array, Leaf
from siamkit.data.preprocessing.base import Preprocessor
from siamkit.data.preprocessing.columns import ColumnEncoder
from siamkit.data.preprocessing.scaling import Standardizer
from siamkit.data.preprocessing.text import TextTokenizer, TokenPadder
from siamkit.data.sources.columns import Table, check_unique, csv_options
from siamkit.errors import DataError, nearest
from siamkit.io.paths import unreadable_as_error


@dataclass(frozen=True)
class Chunk:
    """A chunk of items as read: their ids, their labels or None, and the items."""

    ids: Sequence[str]
    labels: Any
    items: Leaf


@dataclass(frozen=True)
class Stream:
    """The items of a file, folder or dataset, read in chunks.

    Args:
        total: the number of items, or None if it is unknown.
        chunks: iterator over the chunks of items, which are read during the iteration.
        pairs: whether the data are pairs; the stream has only one of their sides.
    """

    total: int | None
    chunks: Iterator[Chunk]
    pairs: bool = False


@dataclass(frozen=True)
class StreamRequest:
    """A request for items: which of the data to read, and how.

    Args:
        preprocessor: the model's preprocessor; its kind says which input the model takes.
        size: the number of items in a chunk.
        side: the side of pairs to read, 0 or 1; for data of one side, the number of the encoder that embeds
            them.
        towers: the number of encoders of the model.
        columns: names of the columns of a table, or of the array of an `.npz` file; by default the usual
            names.
        label, id: names of the columns or arrays of labels and of ids.
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

    def check_unnamed(self, path: object) -> None:
        """Raise DataError if columns are named of data that have no named columns or arrays."""
        named = {"columns": ", ".join(self.columns), "label": self.label, "id": self.id}
        for what, value in named.items():
            if value:
                raise DataError(
                    f"{path} has no columns with names, so {what} {value!r} (--{what}) would be "
                    "ignored: leave it out"
                )

    def check_one_sided(self, path: object) -> None:
        """Raise DataError if side 1 is requested of data with one side, from a model with one encoder."""
        if self.side and self.towers == 1:
            raise DataError(f"{path} has no side 1: its items have one side, and the model has one encoder")


SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl")

# The columns of pairs, and the column of their targets.
_SIDES = {("left", "right"): "target", ("a", "b"): "y"}

_BLOCK_BYTES = 1 << 20  # of text that are read at a time


def table_stream(path: Path, request: StreamRequest, files: ExitStack) -> Stream:
    """Return a stream of the rows of a table, each an item with the requested columns, else the model's.

    Raises:
        DataError: a column does not exist, or its values do not fit the model.
    """
    import pyarrow

    suffix = path.suffix.lower()
    with unreadable_as_error(path, f"a {suffix} file", pyarrow.ArrowException):
        names, total = _read_header(path, suffix)
    chosen = _choose_columns(path, names, request)

    def chunks() -> Iterator[Chunk]:
        done = 0
        types = _csv_types(chosen, request.preprocessor)
        tables = files.enter_context(closing(_read_tables(path, suffix, chosen.all, types, request.size)))
        while True:
            with unreadable_as_error(path, f"a {suffix} file", pyarrow.ArrowException):
                arrow = next(tables, None)
            if arrow is None:
                return
            for start in range(0, len(arrow), request.size):
                rows = arrow.slice(start, request.size)
                ids = [str(done + number) for number in range(len(rows))]
                if chosen.id is not None:
                    ids = [str(value) for value in rows.column(chosen.id).to_pylist()]
                labels = None if chosen.label is None else _labels(rows.column(chosen.label), suffix)
                items = _items(Table(path, rows), chosen, request.preprocessor, done)
                yield Chunk(ids, labels, items)
                done += len(rows)

    return Stream(total, chunks(), chosen.pairs)


# ------------------------------------------------------------------ which columns


@dataclass(frozen=True)
class _Columns:
    """The names of the columns of items, labels and ids; and whether the rows are pairs.

    `fields` are the names under which the model takes the columns of `features`: those of the left side.
    """

    features: list[str]
    fields: list[str]
    label: str | None
    id: str | None
    pairs: bool

    @property
    def all(self) -> list[str]:
        return list(dict.fromkeys(name for name in (*self.features, self.label, self.id) if name is not None))


def _choose_columns(path: Path, names: list[str], request: StreamRequest) -> _Columns:
    """Return the named columns, else those that the model was trained on, else those with the usual names."""
    encoder = request.preprocessor
    trained = {} if encoder is None else encoder.columns
    tabular = [*encoder.numeric, *encoder.categorical] if isinstance(encoder, ColumnEncoder) else []
    if tabular and request.columns:
        raise DataError(
            f"the model takes the columns {', '.join(tabular)}, so columns (--columns) would be ignored: "
            "leave it out"
        )
    pair, target = _pair_columns(names, trained, request, bool(tabular))
    known = trained.get("features") or trained.get(("left", "right")[request.side], ())
    items = list(request.columns) or (list(known) if set(known) <= set(names) else [])
    features = list(pair[request.side]) if pair else tabular or items
    required = [*features, *request.columns, *filter(None, (request.label, request.id))]
    for name in required:
        if name not in names:
            raise DataError(f"{path} has no column {name!r}; {nearest(name, names)}")
    if not pair:
        request.check_one_sided(path)
    labels = [*([target] if pair and request.with_targets else []), *trained.get("label", ()), "label"]
    label = request.label or next((name for name in labels if name in names and name not in features), None)
    id = request.id or ("id" if "id" in names and "id" not in features else None)
    others = [name for name in names if name not in (label, id)]
    if not features and len(others) != 1:
        raise DataError(
            f"choose the columns of {path} to embed with columns (--columns): {', '.join(others)}"
        )
    fields = list(pair[0]) if pair else features or others
    return _Columns(features or others, fields, label, id, bool(pair))


def _pair_columns(
    names: list[str], trained: Mapping[str, Sequence[str]], request: StreamRequest, tabular: bool
) -> tuple[tuple[Sequence[str], Sequence[str]] | None, str]:
    """Return the columns of both sides, if the table has them, and the column of the targets."""
    choices: list[tuple[Sequence[str], Sequence[str], str]] = []
    if trained.get("left") and trained.get("right"):
        choices.append((trained["left"], trained["right"], [*trained.get("target", ()), "target"][0]))
    if not tabular:
        choices += [((left,), (right,), target) for (left, right), target in _SIDES.items()]
    for left, right, target in () if request.columns else choices:
        if {*left, *right} <= set(names):
            return (left, right), target
    return None, ""


def _csv_types(chosen: _Columns, preprocessor: Preprocessor | None) -> dict[str, Any]:
    """Return the column types of a .csv file: types guessed from its beginning may be wrong further on."""
    import pyarrow

    if isinstance(preprocessor, ColumnEncoder):
        numeric = {
            name
            for field, name in zip(chosen.fields, chosen.features, strict=True)
            if field in preprocessor.numeric
        }
    else:
        numeric = set() if isinstance(preprocessor, (TextTokenizer, type(None))) else set(chosen.features)
    types = {name: pyarrow.float64() if name in numeric else pyarrow.string() for name in chosen.all}
    if preprocessor is None:
        return {name: kind for name, kind in types.items() if name not in chosen.features}
    return types


# ------------------------------------------------------------------ items and labels


def _items(table: Table, chosen: _Columns, preprocessor: Preprocessor | None, rows_before: int) -> Leaf:
    features = chosen.features
    if isinstance(preprocessor, ColumnEncoder):
        known = preprocessor.categorical
        return {
            field: _as_trained(table.optional_texts(name), known[field])
            if field in known
            else table.optional_numbers(name)
            for field, name in zip(chosen.fields, features, strict=True)
        }
    for name in features:
        column = table.arrow.column(name)
        if column.null_count:
            row = rows_before + int(np.argmax(column.is_null().to_numpy())) + 1
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


def _as_trained(texts: Array, known: Sequence[str]) -> Array:
    """Return texts of numbers written as in training.

    In training a column of numbers only was read as numbers, and `007` became `7`; one chunk cannot show
    whether all values are numbers.
    """
    for kind in (int, float):
        if known and all(_rewritten(text, kind) == text for text in known):
            return np.array([_rewritten(text, kind) for text in texts], dtype=object)
    return texts


def _rewritten(text: str, kind: type[int] | type[float]) -> str:
    try:
        return str(kind(text))
    except ValueError:
        return text


def _labels(column: Any, suffix: str) -> Any:
    """Return labels unchanged, or as texts for formats without types, because guessed types may differ."""
    if suffix == ".parquet":
        return column.combine_chunks()
    return [None if value is None else str(value) for value in column.to_pylist()]


# ------------------------------------------------------------------ reading


def _read_header(path: Path, suffix: str) -> tuple[list[str], int | None]:
    """Return the names of the columns, and the number of rows if the file states it."""
    if suffix == ".parquet":
        from pyarrow import parquet

        with parquet.ParquetFile(path) as file:
            return list(file.schema_arrow.names), file.metadata.num_rows
    batches = _read_json(path) if suffix == ".jsonl" else _read_csv(path, None, {})
    first = next(batches, None)
    batches.close()
    names = [] if first is None else list(first.schema.names)
    check_unique(path, names)
    return names, None


def _read_tables(
    path: Path, suffix: str, columns: list[str], types: dict[str, Any], size: int
) -> Generator[Any, None, None]:
    """Yield Arrow tables with these columns."""
    import pyarrow

    if suffix == ".parquet":
        from pyarrow import parquet

        # Without reading ahead, and without a whole column chunk at once.
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BLOCK_BYTES) as file:
            for batch in file.iter_batches(batch_size=size, columns=columns, use_threads=False):
                yield pyarrow.Table.from_batches([batch])
    elif suffix == ".jsonl":
        for table in _read_json(path):
            for name in set(columns) - set(table.column_names):  # no row of this block has it
                table = table.append_column(name, pyarrow.nulls(len(table)))
            yield table.select(columns)
    else:
        for batch in _read_csv(path, columns, types):
            yield pyarrow.Table.from_batches([batch])


def _read_json(path: Path) -> Generator[Any, None, None]:
    from pyarrow import json

    with path.open("rb") as file:
        while lines := file.readlines(_BLOCK_BYTES):
            if text := b"".join(line for line in lines if line.strip()):
                yield json.read_json(io.BytesIO(text))


def _read_csv(path: Path, columns: list[str] | None, types: dict[str, Any]) -> Generator[Any, None, None]:
    from pyarrow import csv

    read = csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False)
    options = csv_options(path, column_types=types, include_columns=columns)
    with csv.open_csv(path, read_options=read, **options) as reader:
        yield from reader
