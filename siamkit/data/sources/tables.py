"""Tables of pairs or labelled rows: `.csv`, `.tsv`, `.parquet` and `.jsonl`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from siamkit.data.dataset import Dataset, Leaf
from siamkit.data.sources.columns import Table, read_table
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

    Raises:
        DataError: the file cannot be read, or does not have such columns.
    """
    if input not in _INPUTS:
        raise DataError(f"unknown input {input!r} of a table; {nearest(input, _INPUTS)}")
    if supervision not in _SUPERVISIONS:
        raise DataError(
            f"unknown supervision {supervision!r} of a table; {nearest(supervision, _SUPERVISIONS)}"
        )
    data = read_table(existing_file(path, "a .csv, .tsv, .parquet or .jsonl file"))
    reading = _Reading(input == "tabular", _names(categorical or ""))
    if label is None and features is None:
        return _pairs(data, left, right, target, supervision, reading)
    if label is None or left or right or target or supervision != "auto":
        raise DataError(
            "a table holds labelled rows (label, features) or pairs (left, right, target); "
            "name the columns of one of them only"
        )
    return _labelled(data, label, features, reading)


class _Reading(NamedTuple):
    """Options for reading the items: whether as tabular input, and which numeric columns are categorical."""

    tabular: bool
    categorical: Sequence[str]


def _pairs(
    data: Table, left: str | None, right: str | None, target: str | None, supervision: str, reading: _Reading
) -> Dataset:
    named = (left, right, target)
    defaults = next((names for names in _DEFAULTS if set(names) <= set(data.names)), _DEFAULTS[0])
    columns = [name or default for name, default in zip(named, defaults, strict=True)]
    if not any(named) and not set(columns) <= set(data.names):
        raise DataError(
            f"{data.path} has no columns left, right and target; set left, right and target, or label and "
            "features, to some of its columns: " + ", ".join(data.names)
        )
    sides = [_names(columns[0]), _names(columns[1])]
    views, kinds = _views(data, sides, reading)
    if len(set(kinds)) > 1:
        raise DataError(
            f"{data.path} should hold the same kind of input on both sides of a pair, got {kinds[0]} in "
            f"{columns[0]!r} and {kinds[1]} in {columns[1]!r}"
        )
    values = data.numbers(columns[2])
    if supervision == "auto":
        supervision = "pairs" if np.isin(values, (0, 1)).all() else "scores"
    return _dataset(data, views, values, supervision, kinds[0])


def _labelled(data: Table, label: str, features: str | None, reading: _Reading) -> Dataset:
    labels = data.labels(label)
    others = [name for name in data.names if name != label]
    if features is None and len(others) != 1:
        raise DataError(f"set features to some of the columns of {data.path}: {', '.join(others)}")
    columns = others if features is None else _names(features)
    if label in columns:
        raise DataError(f"column {label!r} is the label and cannot be a feature, too")
    views, (kind,) = _views(data, [columns], reading)
    return _dataset(data, views, labels, "labels", kind)


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


def _dataset(data: Table, views: tuple[Leaf, ...], target: Any, supervision: Any, kind: str) -> Dataset:
    columns = {name: data.column(name) for name in data.names if not data.is_nested(name)}
    try:
        return Dataset(views, target, supervision, kind, columns)
    except DataError as error:
        raise DataError(f"{data.path}: {error}") from error


def _names(columns: str) -> list[str]:
    return [name.strip() for name in columns.split(",") if name.strip()]
