"""Tables of pairs or of labelled rows: `.csv`, `.tsv`, `.parquet` and `.jsonl`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from siamkit.data.dataset import Dataset, Leaf
from siamkit.data.sources.columns import Table, read_table
from siamkit.errors import DataError, nearest
from siamkit.io.paths import existing_file
from siamkit.registry.specs import Supervision

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
    """Pairs, or labelled rows, from a table; the columns not used are there to split by.

    One column of texts makes text, one of lists of whole numbers tokens; a column of numbers, of
    lists of numbers, or several columns of numbers (`"x1, x2"`), make vectors. Several columns with
    texts among them, or with missing values (an empty cell, NaN), make tabular input. Of pairs the
    columns of both sides then go by the names of the left ones, in the order given.

    Args:
        path: a `.csv`, `.tsv`, `.parquet` or `.jsonl` file; texts are UTF-8.
        left: the column or columns of the first of a pair; `left` or `a` unless given.
        right: those of the second; `right` or `b` unless given.
        target: the column of 1 and 0, or of graded similarity; `target` or `y` unless given.
        supervision: `pairs`, `scores`, or `auto`: pairs if all targets are 1 or 0.
        label: the column of classes, for labelled rows instead of pairs.
        features: the column or columns of a labelled row's item; not needed if only one is left.
        input: `tabular` where columns are to be so though they could be a vector or text.
        categorical: the columns of numbers that are names (codes, ids) and not quantities.
    """
    if input not in _INPUTS:
        raise DataError(f"no input {input!r} of a table; {nearest(input, _INPUTS)}")
    if supervision not in _SUPERVISIONS:
        raise DataError(f"no supervision {supervision!r} of a table; {nearest(supervision, _SUPERVISIONS)}")
    data = read_table(existing_file(path, "a .csv, .tsv, .parquet or .jsonl file"))
    asked = _Asked(input == "tabular", _names(categorical or ""))
    if label is None and features is None:
        return _pairs(data, left, right, target, supervision, asked)
    if label is None or left or right or target or supervision != "auto":
        raise DataError(
            "a table holds labelled rows (label, features) or pairs (left, right, target); "
            "give the columns of one of them"
        )
    return _labelled(data, label, features, asked)


class _Asked(NamedTuple):
    """What is asked of the items: that they be tabular, and which columns are categorical."""

    tabular: bool
    categorical: Sequence[str]


def _pairs(
    data: Table, left: str | None, right: str | None, target: str | None, supervision: str, asked: _Asked
) -> Dataset:
    fitting = (names for names in _DEFAULTS if set(names) <= set(data.names))
    given = (left, right, target)
    defaults = next(fitting, _DEFAULTS[0])
    chosen = [name or default for name, default in zip(given, defaults, strict=True)]
    if not any(given) and not set(chosen) <= set(data.names):
        raise DataError(
            f"{data.path} has no columns left, right and target; say with left, right and "
            "target, or with label and features, which of its columns hold what: " + ", ".join(data.names)
        )
    sides = [_names(chosen[0]), _names(chosen[1])]
    views, kinds = _views(data, sides, asked)
    if len(set(kinds)) > 1:
        raise DataError(
            f"{data.path} should hold the same on both sides of a pair, got {kinds[0]} in "
            f"{chosen[0]!r} and {kinds[1]} in {chosen[1]!r}"
        )
    values = data.numbers(chosen[2])
    if supervision == "auto":
        supervision = "pairs" if np.isin(values, (0, 1)).all() else "scores"
    used = [*sides[0], *sides[1], chosen[2]]
    return _dataset(data, views, values, supervision, kinds[0], used)


def _labelled(data: Table, label: str, features: str | None, asked: _Asked) -> Dataset:
    labels = data.labels(label)
    others = [name for name in data.names if name != label]
    if features is None and len(others) != 1:
        raise DataError(f"say with features which columns of {data.path} to learn from: {', '.join(others)}")
    chosen = others if features is None else _names(features)
    if label in chosen:
        raise DataError(f"column {label!r} is the label and cannot be a feature too")
    views, (kind,) = _views(data, [chosen], asked)
    return _dataset(data, views, labels, "labels", kind, [label, *chosen])


def _views(data: Table, sides: Sequence[list[str]], asked: _Asked) -> tuple[tuple[Leaf, ...], list[str]]:
    """The items that each side's columns make, and the kinds of input they are."""
    names = [name for side in sides for name in side]
    wrong = [name for name in asked.categorical if name not in names]
    if wrong:
        raise DataError(f"categorical {wrong[0]!r} is no feature; {nearest(wrong[0], names)}")
    mixed = any(not data.is_numeric(name) or data.has_missing(name) for name in names)
    several = any(len(side) > 1 for side in sides)
    if not (asked.tabular or asked.categorical or (several and mixed)):
        made = [data.view(side) for side in sides]
        return tuple(view for view, _ in made), [kind for _, kind in made]
    if len({len(side) for side in sides}) > 1:
        raise DataError(
            f"{data.path} should have as many columns on both sides of a pair, got "
            f"{' and '.join(', '.join(side) for side in sides)}"
        )
    # What is text on one side is text on both.
    columns = zip(*sides, strict=True)
    numeric = [
        all(data.is_numeric(name) and name not in asked.categorical for name in each) for each in columns
    ]
    views = tuple(
        {
            called: data.optional_numbers(name) if is_number else data.optional_texts(name)
            for called, name, is_number in zip(sides[0], side, numeric, strict=True)
        }
        for side in sides
    )
    return views, ["tabular"] * len(sides)


def _dataset(
    data: Table, views: tuple[Leaf, ...], target: Any, supervision: Any, kind: str, used: Sequence[str]
) -> Dataset:
    columns = {name: data.column(name) for name in data.names if name not in used}
    chosen: Supervision = supervision
    try:
        return Dataset(views, target, chosen, kind, columns)
    except DataError as error:
        raise DataError(f"{data.path}: {error}") from error


def _names(columns: str) -> list[str]:
    return [name.strip() for name in columns.split(",") if name.strip()]
