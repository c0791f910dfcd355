"""Files of tables: the reader that every table passes, for training as for embedding."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from siamkit.errors import DataError
from siamkit.io.paths import arrow_file, unreadable_as_error

SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl")
"""The suffixes of tables."""

MAX_LINE_BYTES = 1 << 28
"""The longest line of a text file: 256 MiB."""

_BLOCK_BYTES = 1 << 20  # of a file that are read at a time; more where a line is longer
DELIMITERS = {".csv": ",", ".tsv": "\t"}
"""The delimiters of the formats whose cells are texts."""


def read_rows(path: Path) -> Any:
    """Return all rows of a table as an Arrow table; the file's suffix says its format."""
    import pyarrow

    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path} should end in {', '.join(SUFFIXES)}, got {suffix or 'no suffix'!r}")
    with unreadable_as_error(path, f"a {suffix} file", pyarrow.ArrowException):
        if suffix == ".parquet":
            from pyarrow import parquet

            with arrow_file(path) as file:
                parts = [parquet.read_table(file)]
        else:
            parts = list(_read_csv(path) if suffix in DELIMITERS else _read_json(path))
        if not sum(map(len, parts)):
            raise DataError(f"{path} should hold rows, got none")
        _check_digits(path, parts)
        arrow = pyarrow.concat_tables(parts, promote_options="permissive")
    check_unique(path, arrow.column_names)
    return arrow


def read_header(path: Path) -> tuple[list[str], int | None]:
    """Return the names of a table's columns, and the number of its rows if it is known."""
    import pyarrow

    suffix, total = path.suffix.lower(), None
    with unreadable_as_error(path, f"a {suffix} file", pyarrow.ArrowException):
        if suffix == ".parquet":
            from pyarrow import parquet

            with arrow_file(path) as stream, parquet.ParquetFile(stream) as file:
                names, total = list(file.schema_arrow.names), file.metadata.num_rows
        elif suffix in DELIMITERS:
            names = next(_csv_names(path))[1]
        else:  # any line may have further columns
            blocks = [(block.column_names, len(block)) for block in _read_json(path)]
            names = list(dict.fromkeys(name for block, _ in blocks for name in block))
            total = sum(rows for _, rows in blocks)
    check_unique(path, names)
    return names, total


def read_parts(path: Path, columns: Sequence[str], size: int) -> Generator[Any, None, None]:
    """Yield parts of a table with these columns, as Arrow tables; only one part is in memory at a time."""
    import pyarrow

    suffix = path.suffix.lower()
    with unreadable_as_error(path, f"a {suffix} file", pyarrow.ArrowException):
        if suffix == ".parquet":
            from pyarrow import parquet

            # Without reading ahead, and without a whole column chunk at once.
            with (
                arrow_file(path) as stream,
                parquet.ParquetFile(stream, pre_buffer=False, buffer_size=_BLOCK_BYTES) as file,
            ):
                for batch in file.iter_batches(batch_size=size, columns=columns, use_threads=False):
                    yield pyarrow.Table.from_batches([batch])
            return
        for part in _read_csv(path) if suffix in DELIMITERS else _read_json(path):
            for name in set(columns) - set(part.column_names):  # no line of this part has it
                part = part.append_column(name, pyarrow.nulls(len(part)))
            yield part.select(columns)


def check_unique(path: Path, names: Sequence[str]) -> None:
    """Raise DataError if two columns have the same name."""
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise DataError(f"{path} should name each column once, got {min(repeated)!r} twice")


# ------------------------------------------------------------------ text files


def _csv_names(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield block sizes, up to the longest line or the whole file, with the names of the columns."""
    import pyarrow
    from pyarrow import csv

    with path.open("rb") as raw:
        if raw.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError(f"{path} is UTF-16; save it as UTF-8")
    block, most = _BLOCK_BYTES, min(path.stat().st_size, MAX_LINE_BYTES)
    while True:
        try:
            read = csv.ReadOptions(block_size=block, use_threads=False)
            with (
                arrow_file(path) as file,
                csv.open_csv(file, read_options=read, parse_options=_parsing(path)) as reader,
            ):
                names = list(reader.schema.names)
            _check_delimiter(path, names)
        except pyarrow.ArrowInvalid:
            if block >= most:
                raise
        else:
            yield block, names
            if block >= most:
                return
        block = min(block * 16, MAX_LINE_BYTES)


def _check_delimiter(path: Path, names: Sequence[str]) -> None:
    """Refuse a file whose only column has a name with another delimiter in it."""
    delimiters = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}
    other = next((mark for mark in delimiters if len(names) == 1 and mark in names[0]), None)
    if other is not None:
        raise DataError(
            f"{path} has columns separated by {delimiters[other]}; save it with commas as .csv, or with tabs "
            "as .tsv"
        )


def _read_csv(path: Path) -> Iterator[Any]:
    """Yield parts of a .csv or .tsv file, all cells as texts; only an empty cell is null."""
    import pyarrow
    from pyarrow import csv

    done = 0
    failure: Exception | None = None
    for block, names in _csv_names(path):
        check_unique(path, names)
        # "NA" and "null" are words.
        convert = csv.ConvertOptions(
            column_types=dict.fromkeys(names, pyarrow.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        read = csv.ReadOptions(block_size=block, use_threads=False)
        seen = 0
        try:
            with (
                arrow_file(path) as file,
                csv.open_csv(
                    file, read_options=read, parse_options=_parsing(path), convert_options=convert
                ) as reader,
            ):
                for batch in reader:
                    seen += len(batch)
                    if seen > done:  # a smaller block read the rows before
                        rows, done = seen - done, seen
                        yield pyarrow.Table.from_batches([batch.slice(len(batch) - rows)])
            return
        except pyarrow.ArrowInvalid as error:
            failure = error  # a line may be longer than the block
    if failure is None:
        return
    if "straddl" in str(failure):
        raise DataError(
            f"{path} has a line of more than {MAX_LINE_BYTES >> 20} MiB; check that every quote is closed"
        ) from failure
    if "UTF8" in str(failure):
        raise DataError(f"{path} should be UTF-8 text; save it as UTF-8 ({failure})") from failure
    raise failure


def _parsing(path: Path) -> Any:
    from pyarrow import csv

    return csv.ParseOptions(delimiter=DELIMITERS[path.suffix.lower()], newlines_in_values=True)


def _read_json(path: Path) -> Iterator[Any]:
    """Yield parts of a .jsonl file.

    Arrow's reader would turn texts that look like times into times, and whole numbers of more than 64 bits
    into floats.
    """
    number, size, rows = 0, 0, []
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise DataError(f"{path} has a line of more than {MAX_LINE_BYTES >> 20} MiB")
            if line.strip():
                rows.append(_json_row(path, number, line))
            size += len(line)
            if size >= _BLOCK_BYTES and rows:
                yield _json_table(path, rows)
                size, rows = 0, []
    if rows:
        yield _json_table(path, rows)


def _json_row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as a .jsonl file: line {number}: {error}") from error
    if not isinstance(row, dict):
        raise DataError(
            f"line {number} of {path} should be an object {{…}}, got {line[:40].decode(errors='replace')!r}"
        )
    return row


def _json_table(path: Path, rows: Sequence[dict[str, Any]]) -> Any:
    import pyarrow

    names = dict.fromkeys(name for row in rows for name in row)
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        whole = all(value is None or type(value) is int for value in values)
        try:
            columns[name] = pyarrow.array(values)
        except UnicodeEncodeError as error:
            raise DataError(
                f"column {name!r} of {path} has half a character (a lone surrogate); correct the text"
            ) from error
        except (pyarrow.ArrowException, OverflowError) as error:
            if not whole:
                raise DataError(
                    f"column {name!r} of {path} should hold values of one type: {error}"
                ) from error
            # Whole numbers of more than 64 bits stay exact.
            columns[name] = pyarrow.array([None if value is None else Decimal(value) for value in values])
    return pyarrow.table(columns)


def _check_digits(path: Path, parts: Sequence[Any]) -> None:
    """Raise DataError if a column has whole numbers of more than 64 bits, and fractions in another part.

    As floats, different whole numbers would be equal.
    """
    for name in dict.fromkeys(name for part in parts for name in part.column_names):
        columns = [part[name] for part in parts if name in part.column_names]
        if all(any(is_type(column, kind) for column in columns) for kind in ("decimal", "floating")):
            raise DataError(
                f"column {name!r} of {path} should hold values of one type: it has whole numbers of more "
                "than 64 bits and also fractions; write them as texts"
            )


# ------------------------------------------------------------------ types


def is_type(column: Any, *kinds: str) -> bool:
    """Return whether an Arrow column is of one of these types, by the names of Arrow's predicates."""
    import pyarrow

    return any(getattr(pyarrow.types, f"is_{kind}")(column.type) for kind in kinds)


def parsed(column: Any) -> Any:
    """Return a column of texts as numbers or truth values if all can be, else unchanged."""
    import pyarrow
    import pyarrow.compute as pc

    trimmed = pc.utf8_trim_whitespace(column)
    for kind in (pyarrow.int64(), pyarrow.float64(), pyarrow.bool_()):
        try:
            return pc.cast(trimmed, kind)
        except pyarrow.ArrowInvalid:
            continue
    return column
