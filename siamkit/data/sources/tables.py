"""Tables of pairs or labelled rows: `.csv`, `.tsv`, `.parquet` and `.jsonl`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from siamkit.data.dataset import Array, Dataset, Leaf
from siamkit.data.sources.arrays import supervision_of_pairs
from siamkit.data.sources.table_files import DELIMITERS, is_type, parsed, read_rows
from siamkit.errors import DataError, nearest
from siamkit.io.paths import existing_file

_DEFAULTS = (("left", "right", "target"), ("a", "b", "y"))
_SUPERVISIONS = ("auto", "pairs", "scores")
_INPUTS = ("auto", "tabular")


def table(
    path: str | os.PathLike[str],
    left: str | None = None,
    right: str | None = None,
    target: str | None = None,
    supervision: str = "auto",
    label: str | None = None,
    features: str | None = None,
    input: str = "auto",
    categorical: str | None = None,
    id: str | None = None,
) -> Dataset:
    """Return pairs or labelled rows of a table; all other columns become columns to split by.

    One column of texts gives text input, one column of lists of whole numbers gives tokens. One column of
    numbers or of lists of numbers, or several columns of numbers (`"x1, x2"`), give vectors. Several columns
    give tabular input if any of them has texts or missing values (an empty cell, NaN). In tabular pairs the
    columns of both sides have the names of the left ones, in the order given.

    Args:
        path: a `.csv`, `.tsv`, `.parquet` or `.jsonl` file; texts are UTF-8.
        left: the column or columns of the first item of a pair; by default `left` or `a`.
        right: the column or columns of the second item; by default `right` or `b`.
        target: the column of 1 and 0, or of graded similarity; by default `target` or `y`.
        supervision: `pairs`, `scores`, or `auto`: pairs if all targets are 1 or 0.
        label: the column of classes, for labelled rows instead of pairs.
        features: the column or columns of a labelled row's item; by default the only column other than
            `label`.
        input: the kind of input; `tabular` for columns that would otherwise be a vector or text.
        categorical: the numeric columns that hold names (codes, ids) rather than quantities.
        id: the column of ids, a different one in each row; by default `id` if it is such a column, else ids
            are row numbers from 0.

    Raises:
        DataError: the file cannot be read, or does not have such columns.
    """
    if input not in _INPUTS:
        raise DataError(f"unknown input {input!r} of a table; {nearest(input, _INPUTS)}")
    if supervision not in _SUPERVISIONS:
        raise DataError(
            f"unknown supervision {supervision!r} of a table; {nearest(supervision, _SUPERVISIONS)}"
        )
    file = existing_file(path, "a .csv, .tsv, .parquet or .jsonl file")
    data = Table(file, read_rows(file))
    reading = _Reading(input == "tabular", _names(categorical or ""), id)
    if label is None and features is None:
        return _pairs(data, left, right, target, supervision, reading)
    if label is None or left or right or target or supervision != "auto":
        raise DataError(
            "a table holds labelled rows (label, features) or pairs (left, right, target); "
            "name the columns of one of them only, as in `data: {label: kind, features: text, …}`"
        )
    return _labelled(data, label, features, reading)


class _Reading(NamedTuple):
    """Options for reading: whether as tabular input, which numeric columns are categorical, and the ids."""

    tabular: bool
    categorical: Sequence[str]
    id: str | None


def _pairs(
    data: Table, left: str | None, right: str | None, target: str | None, supervision: str, reading: _Reading
) -> Dataset:
    named = (left, right, target)
    defaults = next((names for names in _DEFAULTS if set(names) <= set(data.names)), _DEFAULTS[0])
    columns = [name or default for name, default in zip(named, defaults, strict=True)]
    if not any(named) and not set(columns) <= set(data.names):
        raise DataError(
            f"{data.path} has no columns left, right and target; name the columns of pairs, "
            "`data: {left: …, right: …, target: …, …}`, or those of labelled rows, "
            "`data: {label: …, features: …, …}`; there are " + ", ".join(data.names)
        )
    sides = [_names(columns[0]), _names(columns[1])]
    views, kinds = _views(data, sides, reading)
    if len(set(kinds)) > 1:
        raise DataError(
            f"{data.path} should hold the same kind of input on both sides of a pair, got {kinds[0]} in "
            f"{columns[0]!r} and {kinds[1]} in {columns[1]!r}"
        )
    values = data.numbers(columns[2])
    supervision = supervision_of_pairs(values, supervision, f"the column {target!r} of {data.path}")
    used = [*sides[0], *sides[1], columns[2]]
    return _dataset(data, views, values, supervision, kinds[0], used, reading.id)


def _labelled(data: Table, label: str, features: str | None, reading: _Reading) -> Dataset:
    labels = data.labels(label)
    others = [name for name in data.names if name != label]
    if len(others) > 1:
        others = [name for name in others if name != (reading.id or "id")]
    if features is None and len(others) != 1:
        raise DataError(
            f"name the columns of the items of {data.path}, "
            f"`data: {{label: {label}, features: …, …}}`; there are {', '.join(others)}"
        )
    columns = others if features is None else _names(features)
    if label in columns:
        raise DataError(f"column {label!r} is the label and cannot be a feature, too")
    views, (kind,) = _views(data, [columns], reading)
    return _dataset(data, views, labels, "labels", kind, [label, *columns], reading.id)


def _views(data: Table, sides: Sequence[list[str]], reading: _Reading) -> tuple[tuple[Leaf, ...], list[str]]:
    """Return the items in each side's columns, and the kind of input of each side."""
    names = [name for side in sides for name in side]
    unknown = [name for name in reading.categorical if name not in names]
    if unknown:
        raise DataError(f"categorical column {unknown[0]!r} is not a feature; {nearest(unknown[0], names)}")
    mixed = any(not data.is_numeric(name) or data.has_missing(name) for name in names)
    several = any(len(side) > 1 for side in sides)
    if not (reading.tabular or reading.categorical or (several and mixed)):
        views_and_kinds = [data.view(side) for side in sides]
        return tuple(view for view, _ in views_and_kinds), [kind for _, kind in views_and_kinds]
    if len({len(side) for side in sides}) > 1:
        raise DataError(
            f"{data.path} should have the same number of columns on both sides of a pair, got "
            f"{' and '.join(', '.join(side) for side in sides)}"
        )
    # A column that is text on one side is text on both.
    numeric = [
        all(data.is_numeric(name) and name not in reading.categorical for name in column)
        for column in zip(*sides, strict=True)
    ]
    views = tuple(
        {
            field: data.optional_numbers(name) if is_number else data.optional_texts(name)
            for field, name, is_number in zip(sides[0], side, numeric, strict=True)
        }
        for side in sides
    )
    return views, ["tabular"] * len(sides)


def _dataset(
    data: Table,
    views: tuple[Leaf, ...],
    target: Any,
    supervision: Any,
    kind: str,
    used: Sequence[str],
    id: str | None,
) -> Dataset:
    columns = {name: data.column(name) for name in data.names if not data.is_nested(name)}
    ids = _ids(data, id, used)
    try:
        return Dataset(views, target, supervision, kind, columns, ids)
    except DataError as error:
        raise DataError(f"{data.path}: {error}") from error


def _ids(data: Table, name: str | None, used: Sequence[str]) -> Array:
    """Return the ids of the rows; empty, which stands for row numbers, if no column has them."""
    if name is None and ("id" in used or "id" not in data.names or data.has_missing("id")):
        return np.empty(0, dtype=np.str_)
    ids = data.ids(name or "id")
    values, counts = np.unique(ids.astype(np.str_), return_counts=True)
    if len(values) == len(ids):
        return ids
    if name is None:
        return np.empty(0, dtype=np.str_)
    raise DataError(
        f"column {name!r} of {data.path} should have a different id in every row, got "
        f"{str(values[np.argmax(counts)])!r} {counts.max()} times"
    )


def _names(columns: str) -> list[str]:
    return [name.strip() for name in columns.split(",") if name.strip()]


# ------------------------------------------------------------------ columns

# A whole number in the only way to write it: 007, +7 and 7.0 are names.
_CANONICAL = r"^(0|-?[1-9][0-9]*)$"
_NUMBERS = ("integer", "floating", "boolean", "decimal")


@dataclass(frozen=True)
class Table:
    """A table in memory, or some of its rows, with its columns as NumPy arrays.

    The cells of `.csv` and `.tsv` files are texts, and each use of a column decides what they are: items are
    numbers if all their cells can be, labels only if their cells are whole numbers in canonical form, so that
    `007` and `7` are two classes. The other formats have types; in JSON `7.0` is `7`.

    Args:
        path: the file that it was read from.
        arrow: the Arrow table.
        first_row: the number of the first row if these are only some rows of the file, else None.
    """

    path: Path
    arrow: Any
    first_row: int | None = None
    _typed: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def names(self) -> list[str]:
        """Return the names of the columns, in the file's order."""
        return list(self.arrow.column_names)

    @property
    def _is_text(self) -> bool:
        return self.path.suffix.lower() in DELIMITERS

    def view(self, names: Sequence[str], kind: str = "") -> tuple[Array, str]:
        """Return the items in these columns, and their kind of input.

        Args:
            names: the columns.
            kind: what the cells of a text file are, `text` or `vector`; by default a vector if all are
                numbers.
        """
        is_vector = kind == "vector" and self._is_text
        if len(names) != 1 or is_vector:
            return np.stack([self.numbers(name) for name in names], axis=1), "vector"
        column = self._full(names[0])
        if kind == "text" and self._is_text:
            return self._texts(column), "text"
        if self.is_numeric(names[0]):
            return self.numbers(names[0])[:, None], "vector"
        if is_type(column, "list", "large_list", "fixed_size_list"):
            return self._lists(names[0], column)
        return self._texts(column), "text"

    def numbers(self, name: str) -> Array:
        """Return a column of numbers, `(n,)`."""
        self._full(name)
        return self.optional_numbers(name)

    def optional_numbers(self, name: str) -> Array:
        """Return a column of numbers, `(n,)`, NaN where missing."""
        column = self._as_numbers(name)
        if not is_type(column, *_NUMBERS, "null"):
            raise DataError(f"column {name!r} of {self.path} should hold numbers, got {_example(column)!r}")
        if is_type(column, "integer", "floating"):
            return column.to_numpy()  # type: ignore[no-any-return]
        return np.array([np.nan if value is None else float(value) for value in column.to_pylist()])

    def is_numeric(self, name: str) -> bool:
        """Return whether a column holds numbers, or no values at all."""
        return is_type(self._as_numbers(name), *_NUMBERS, "null")

    def is_nested(self, name: str) -> bool:
        """Return whether a column holds lists or mappings."""
        return is_type(self._find(name), "nested")

    def has_missing(self, name: str) -> bool:
        """Return whether a column lacks a value in some row; NaN counts as missing."""
        column = self._as_numbers(name)
        return bool(column.null_count) or (is_type(column, "floating") and np.isnan(column.to_numpy()).any())

    def optional_texts(self, name: str) -> Array:
        """Return any column of single values as texts, `(n,)`, `""` where missing."""
        column = self._find(name)
        if is_type(column, "nested", "binary", "large_binary"):
            raise DataError(
                f"column {name!r} of {self.path} should hold UTF-8 text or numbers, got {column.type}"
            )
        return self._texts(column)

    def labels(self, name: str) -> Array:
        """Return a column of classes, `(n,)`: whole numbers as such, everything else as texts."""
        column = self._full(name)
        if is_type(column, "floating") and np.any(np.abs(column.to_numpy()) >= 2**53):
            raise DataError(
                f"column {name!r} of {self.path} holds classes as floats from 2**53 on, which are not exact; "
                "store them as whole numbers or texts"
            )
        if is_type(column, "integer", "floating"):
            return column.to_numpy()  # type: ignore[no-any-return]
        if not self._is_text:
            return self._texts(column)
        if is_type(self._as_numbers(name), "floating"):
            numbers = self.numbers(name)
            if np.any(np.isfinite(numbers) & (numbers != np.trunc(numbers))):
                return numbers  # measured, so refused as classes
        return self._canonical(column)

    def ids(self, name: str) -> Array:
        """Return a column of ids as texts, `(n,)`, as they are written."""
        return self._texts(self._full(name))

    def column(self, name: str) -> Array:
        """Return any column, `(n,)`, to split by: numbers as such, other values as texts, null as `""`."""
        column = self._find(name)
        if is_type(column, "integer", "floating") and not (is_type(column, "integer") and column.null_count):
            return column.to_numpy()  # type: ignore[no-any-return]
        return self._canonical(column) if self._is_text else self._texts(column)

    def _find(self, name: str) -> Any:
        if name not in self.names:
            raise DataError(f"{self.path} has no column {name!r}; {nearest(name, self.names)}")
        return self.arrow.column(name)

    def _full(self, name: str) -> Any:
        column = self._find(name)
        if column.null_count:
            rows = np.flatnonzero(column.is_null().to_numpy()) + (self.first_row or 1)
            rows_text = ", ".join(map(str, rows[:3])) + (", …" if len(rows) > 3 else "")
            counted = f"{len(rows)} of {len(column)}: " if self.first_row is None else ""
            raise DataError(
                f"column {name!r} of {self.path} should have a value in every row, got none in "
                f"{counted}row {rows_text} (the first is 1)"
            )
        if is_type(column, "binary", "large_binary"):
            raise DataError(f"column {name!r} of {self.path} should hold UTF-8 text or numbers, got bytes")
        return column

    def _as_numbers(self, name: str) -> Any:
        """Return a column with the cells of a text file as numbers, if all of them can be."""
        if name not in self._typed:
            column = self._find(name)
            self._typed[name] = parsed(column) if self._is_text else column
        return self._typed[name]

    def _canonical(self, column: Any) -> Array:
        """Return whole numbers if all cells are some in canonical form, else texts."""
        import pyarrow.compute as pc

        is_whole = pc.all(pc.match_substring_regex(column, _CANONICAL)).as_py()
        numbers = parsed(column) if is_whole and not column.null_count else column
        if is_type(numbers, "integer"):  # of up to 64 bits
            return numbers.to_numpy()  # type: ignore[no-any-return]
        return self._texts(column)

    def _texts(self, column: Any) -> Array:
        values = column.to_pylist()
        if self.path.suffix.lower() == ".jsonl" and is_type(column, "floating"):
            values = [int(value) if value is not None and value % 1 == 0 else value for value in values]
        result = np.empty(len(column), dtype=object)
        result[:] = ["" if value is None or value != value else str(value) for value in values]
        return result

    def _lists(self, name: str, column: Any) -> tuple[Array, str]:
        import pyarrow.compute as pc

        lengths = pc.list_value_length(column).to_numpy()
        flat = pc.list_flatten(column)
        if is_type(flat, "null") and not len(flat):  # all lists are empty
            flat = flat.cast("int64")
        kind = "tokens" if is_type(flat, "integer") else "vector"
        if not is_type(flat, "integer", "floating") or flat.null_count:
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


def _example(column: Any) -> object:
    """Return a value that is not a number, if there is any: it makes the column a column of texts."""
    import contextlib

    values = [value for value in column.slice(0, 10_000).to_pylist() if value is not None]
    for value in values:
        with contextlib.suppress(TypeError, ValueError):
            float(value)
            continue
        return value
    return values[0]
