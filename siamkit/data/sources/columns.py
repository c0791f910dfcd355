"""Tables as Arrow reads them, and their columns as NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siamkit.data.dataset import Array
from siamkit.errors import DataError, nearest
from siamkit.io.paths import unreadable_as_error

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Table:
    """A table in memory, with its columns as NumPy arrays.

    Args:
        path: the file that it was read from.
        arrow: the Arrow table.
    """

    path: Path
    arrow: Any

    @property
    def names(self) -> list[str]:
        """Return the names of the columns, in the file's order."""
        return list(self.arrow.column_names)

    def view(self, names: Sequence[str]) -> tuple[Array, str]:
        """Return the items in these columns, and their kind of input."""
        if len(names) != 1:
            return np.stack([self.numbers(name) for name in names], axis=1), "vector"
        column = self._full(names[0])
        if _is(column, "integer", "floating", "boolean", "decimal"):
            return self.numbers(names[0])[:, None], "vector"
        if _is(column, "list", "large_list", "fixed_size_list"):
            return self._lists(names[0], column)
        return _texts(column), "text"

    def numbers(self, name: str) -> Array:
        """Return a column of numbers, `(n,)`."""
        column = self._full(name)
        if not _is(column, "integer", "floating", "boolean", "decimal"):
            raise DataError(f"column {name!r} of {self.path} should hold numbers, got {_example(column)!r}")
        if _is(column, "integer", "floating"):
            return column.to_numpy()  # type: ignore[no-any-return]
        return np.array([float(value) for value in column.to_pylist()])

    def is_numeric(self, name: str) -> bool:
        """Return whether a column holds numbers, or no values at all."""
        return _is(self._find(name), "integer", "floating", "boolean", "decimal", "null")

    def is_nested(self, name: str) -> bool:
        """Return whether a column holds lists or mappings."""
        return _is(self._find(name), "nested")

    def has_missing(self, name: str) -> bool:
        """Return whether a column lacks a value in some row; NaN counts as missing."""
        column = self._find(name)
        return bool(column.null_count) or (_is(column, "floating") and np.isnan(column.to_numpy()).any())

    def optional_numbers(self, name: str) -> Array:
        """Return a column of numbers, `(n,)`, NaN where missing."""
        column = self._find(name)
        if _is(column, "integer", "floating"):
            return column.to_numpy()  # type: ignore[no-any-return]
        return np.array([np.nan if value is None else float(value) for value in column.to_pylist()])

    def optional_texts(self, name: str) -> Array:
        """Return any column of single values as texts, `(n,)`, `""` where missing."""
        column = self._find(name)
        if _is(column, "nested", "binary", "large_binary"):
            raise DataError(
                f"column {name!r} of {self.path} should hold UTF-8 text or numbers, got {column.type}"
            )
        return _texts(column)

    def labels(self, name: str) -> Array:
        """Return a column of classes, `(n,)`: numbers unchanged, everything else as texts."""
        column = self._full(name)
        if _is(column, "integer", "floating"):
            return self.numbers(name)
        return _texts(column)

    def column(self, name: str) -> Array:
        """Return any column, `(n,)`, to split by: numbers unchanged, other values as texts, null as `""`."""
        column = self._find(name)
        return column.to_numpy() if _is(column, "integer", "floating") else _texts(column)

    def _find(self, name: str) -> Any:
        if name not in self.names:
            raise DataError(f"{self.path} has no column {name!r}; {nearest(name, self.names)}")
        return self.arrow.column(name)

    def _full(self, name: str) -> Any:
        import pyarrow

        column = self._find(name)
        if column.null_count:
            rows = np.flatnonzero(column.is_null().to_numpy()) + 1
            first_rows = ", ".join(map(str, rows[:3])) + (", …" if len(rows) > 3 else "")
            raise DataError(
                f"column {name!r} of {self.path} should have a value in every row, got none in "
                f"{len(rows)} of {len(column)}: row {first_rows} (the first is 1)"
            )
        if pyarrow.types.is_binary(column.type) or pyarrow.types.is_large_binary(column.type):
            raise DataError(f"column {name!r} of {self.path} should hold UTF-8 text or numbers, got bytes")
        return column

    def _lists(self, name: str, column: Any) -> tuple[Array, str]:
        import pyarrow.compute as pc

        lengths = pc.list_value_length(column).to_numpy()
        flat = pc.list_flatten(column)
        kind = "tokens" if _is(flat, "integer") else "vector"
        if not _is(flat, "integer", "floating") or flat.null_count:
            raise DataError(
                f"column {name!r} of {self.path} should hold lists of numbers, got {_example(column)!r}"
            )
        if kind == "vector" and len(set(lengths)) > 1:
            raise DataError(
                f"column {name!r} of {self.path} should hold lists of one length, got lengths "
                f"{lengths.min()} to {lengths.max()}"
            )
        values = flat.to_numpy()
        items = np.zeros((len(lengths), max(lengths, default=0)), dtype=values.dtype)
        # Shorter lists of tokens are padded with 0.
        items[np.arange(items.shape[1]) < lengths[:, None]] = values
        return items, kind


def read_table(path: Path) -> Table:
    """Read a table; the file's suffix says its format."""
    import pyarrow

    suffix = path.suffix.lower()
    readers = {".csv": _read_csv, ".tsv": _read_csv, ".parquet": _read_parquet, ".jsonl": _read_json}
    if suffix not in readers:
        raise DataError(f"{path} should end in {', '.join(readers)}, got {suffix or 'no suffix'!r}")
    with unreadable_as_error(path, f"a {suffix} file", pyarrow.ArrowException):
        arrow = readers[suffix](path)
    check_unique(path, arrow.column_names)
    if not len(arrow):
        raise DataError(f"{path} should hold rows, got none")
    return Table(path, arrow)


def check_unique(path: Path, names: Sequence[str]) -> None:
    """Raise DataError if two columns have the same name."""
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise DataError(f"{path} should name each column once, got {min(repeated)!r} twice")


def csv_options(path: Path, **convert: Any) -> dict[str, Any]:
    """Return Arrow's options for a .csv or .tsv file, with further options of `ConvertOptions`."""
    from pyarrow import csv

    return {
        "parse_options": csv.ParseOptions(
            delimiter=_DELIMITERS[path.suffix.lower()], newlines_in_values=True
        ),
        # Only an empty cell is null: "NA" and "null" are words.
        "convert_options": csv.ConvertOptions(
            null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False, **convert
        ),
    }


def _read_csv(path: Path) -> Any:
    from pyarrow import csv

    return csv.read_csv(path, **csv_options(path))


def _read_parquet(path: Path) -> Any:
    from pyarrow import parquet

    return parquet.read_table(path)


def _read_json(path: Path) -> Any:
    from pyarrow import json

    return json.read_json(path)


def _is(column: Any, *kinds: str) -> bool:
    import pyarrow

    return any(getattr(pyarrow.types, f"is_{kind}")(column.type) for kind in kinds)


def _texts(column: Any) -> Array:
    result = np.empty(len(column), dtype=object)
    result[:] = ["" if value is None else str(value) for value in column.to_pylist()]
    return result


def _example(column: Any) -> object:
    """Return a value that is not a number, if there is any: it makes the column a column of texts."""
    import contextlib

    values = column.slice(0, 10_000).to_pylist()
    for value in values:
        with contextlib.suppress(TypeError, ValueError):
            float(value)
            continue
        return value
    return values[0]
