"""The preprocessor of a table's columns: numbers brought to one scale, texts to codes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from siamkit.data.dataset import Array, Leaf, is_missing, is_numeric_column
from siamkit.data.preprocessing.base import Preprocessor, Shape
from siamkit.data.preprocessing.scaling import moments
from siamkit.errors import DataError, nearest

MISSING, UNKNOWN = 0, 1


@dataclass(frozen=True, eq=False)
class ColumnEncoder(Preprocessor):
    """Columns of numbers, scaled by mean and deviation in training, and of texts, as codes.

    Takes a dict of columns `{name: (n,)}`. Prepared they are
    `{"numeric": (n, k) float32, "missing": (n, k) float32, "categorical": (n, c) int32}`, without the
    keys that no column is for. A missing number (NaN) is 0, the mean of training, and `missing` is 1
    there. A code is 0 for a missing text, 1 for one unknown in training, and else its place, from 2.

    Args:
        numeric: the names of the columns of numbers.
        categorical: of each column of texts those known, the commonest in training first.
        mean, std: `(k,)`, of the columns of numbers.
    """

    kind: ClassVar[str] = "column_encoder"

    numeric: tuple[str, ...]
    categorical: Mapping[str, tuple[str, ...]]
    mean: Array
    std: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "numeric", _texts("numeric", self.numeric))
        known = {str(name): _texts(f"categorical {name!r}", each) for name, each in self.categorical.items()}
        object.__setattr__(self, "categorical", known)
        for each in (self.mean, self.std):
            if each.shape != (len(self.numeric),) or each.dtype.kind != "f" or not np.isfinite(each).all():
                raise DataError("mean and std should be one number a numeric column")
        if not (self.std > 0).all():
            raise DataError("std should be above 0")
        if not self.numeric and not known:
            raise DataError("a table should have columns, got none")

    @classmethod
    def fit(cls, views: Sequence[Leaf], most: int = 1000) -> ColumnEncoder:
        """Fit on the training rows of all views.

        Args:
            views: the columns, the same in each view.
            most: how many texts of a column are known, the commonest ones; the others are as unknown.
        """
        tables = [_columns(view) for view in views]
        names = list(tables[0])
        for table in tables[1:]:
            if set(table) != set(names):
                raise DataError(
                    f"all views should hold the same columns, got {', '.join(names)} and {', '.join(table)}"
                )
        numeric, categorical, scales = [], {}, []
        for name in names:
            parts = [table[name] for table in tables]
            are_numbers = {is_numeric_column(f"column {name!r}", part) for part in parts}
            if len(are_numbers) > 1:
                raise DataError(f"column {name!r} should hold numbers or texts in all views, got both")
            if are_numbers == {True}:
                numeric.append(name)
                values = np.concatenate(parts).astype(np.float64)
                present = values[~np.isnan(values), None]
                mean, std = moments([present]) if len(present) else (np.zeros(1), np.ones(1))
                scales.append((mean[0], std[0]))
            else:
                counts = Counter(text for part in parts for text in part.tolist() if not is_missing(text))
                ranked = sorted(counts, key=lambda text: (-counts[text], text))
                categorical[name] = tuple(ranked[:most])
        centres = np.array(scales, dtype=np.float64).reshape(-1, 2)
        return cls(tuple(numeric), categorical, centres[:, 0], centres[:, 1])

    @property
    def input_shape(self) -> Shape:
        k, c = len(self.numeric), len(self.categorical)
        shapes = {"numeric": (k,), "missing": (k,), "categorical": (c,)}
        return {name: shape for name, shape in shapes.items() if shape[0]}

    @property
    def facts(self) -> dict[str, Any]:
        """`columns`: the names of the numeric ones, and of each categorical one how many codes it has."""
        cardinalities = {name: len(known) + 2 for name, known in self.categorical.items()}
        return {"columns": {"numeric": list(self.numeric), "categorical": cardinalities}}

    def __call__(self, leaf: Leaf) -> dict[str, Array]:
        columns = _columns(leaf)
        for name in (*self.numeric, *self.categorical):
            if name not in columns:
                raise DataError(f"a table without the column {name!r}; {nearest(name, columns)}")
        if len({len(columns[name]) for name in (*self.numeric, *self.categorical)}) > 1:
            raise DataError("all columns should have one length")
        prepared: dict[str, Array] = {}
        if self.numeric:
            raw = np.stack([_numbers(name, columns[name]) for name in self.numeric], axis=1)
            absent = np.isnan(raw)
            prepared["numeric"] = np.where(absent, 0, (raw - self.mean) / self.std).astype(np.float32)
            prepared["missing"] = absent.astype(np.float32)
        if self.categorical:
            codes = [_codes(name, columns[name], known) for name, known in self.categorical.items()]
            prepared["categorical"] = np.stack(codes, axis=1)
        return prepared

    def config(self) -> dict[str, Any]:
        return {
            "numeric": list(self.numeric),
            "categorical": {name: list(known) for name, known in self.categorical.items()},
        }

    def arrays(self) -> dict[str, Array]:
        return {"mean": self.mean, "std": self.std}


def _columns(leaf: Leaf) -> dict[str, Array]:
    if not isinstance(leaf, Mapping):
        raise DataError(f"a table should be a dict of columns, each (n,), got {type(leaf).__name__}")
    return {str(name): np.asarray(values) for name, values in leaf.items()}


def _numbers(name: str, values: Array) -> Array:
    if values.dtype.kind == "O" and all(each is None or isinstance(each, (int, float)) for each in values):
        values = values.astype(np.float64)  # None becomes NaN
    if not is_numeric_column(f"column {name!r}", values):
        text = next((each for each in values.tolist() if not is_missing(each)), None)
        raise DataError(f"column {name!r} should hold numbers, NaN where missing, got {text!r}")
    return values.astype(np.float64)


def _codes(name: str, values: Array, known: Sequence[str]) -> Array:
    if is_numeric_column(f"column {name!r}", values):
        raise DataError(f"column {name!r} should hold texts, None or '' where missing, got {values.dtype}")
    places = {text: place for place, text in enumerate(known, start=2)}
    codes = (MISSING if is_missing(text) else places.get(text, UNKNOWN) for text in values.tolist())
    return np.fromiter(codes, dtype=np.int32, count=len(values))


def _texts(what: str, values: Any) -> tuple[str, ...]:
    if isinstance(values, str) or not all(isinstance(each, str) for each in values):
        raise DataError(f"{what} should be a list of texts, got {values!r:.60}")
    return tuple(values)
