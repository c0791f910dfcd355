"""The preprocessor of tables (standardized numbers, texts as codes), and the one that fits any dataset."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from siamkit.data.dataset import Array, Dataset, Leaf, is_missing, is_numeric_column
from siamkit.data.preprocessing import VERSION, Preprocessor, Shape
from siamkit.data.preprocessing.scaling import ImageScaler, Standardizer, moments
from siamkit.data.preprocessing.text import TextTokenizer, TokenPadder
from siamkit.data.sources.arrays import load_arrays
from siamkit.errors import DataError, nearest
from siamkit.io.paths import existing_file, existing_folder, unreadable_as_error

MISSING, UNKNOWN = 0, 1


@dataclass(frozen=True, eq=False)
class ColumnEncoder(Preprocessor):
    """A preprocessor of tables: standardizes numbers by mean and deviation in training, and encodes texts.

    Takes a dict of columns `{name: (n,)}` and returns
    `{"numeric": (n, k) float32, "missing": (n, k) float32, "categorical": (n, c) int32}`, without the
    keys that have no columns. A missing number (NaN) becomes 0, the training mean, and `missing` is 1
    there. The code of a text is 0 if it is missing, 1 if it is unknown, and otherwise its index + 2.

    Args:
        numeric: the names of the numeric columns.
        categorical: the known texts of each categorical column, those most frequent in training first.
        mean, std: `(k,)`, mean and standard deviation of the numeric columns.
    """

    kind: ClassVar[str] = "column_encoder"

    numeric: tuple[str, ...]
    categorical: Mapping[str, tuple[str, ...]]
    mean: Array
    std: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "numeric", _texts("numeric", self.numeric))
        known = {
            str(name): _texts(f"categorical {name!r}", texts) for name, texts in self.categorical.items()
        }
        object.__setattr__(self, "categorical", known)
        for values in (self.mean, self.std):
            if (
                values.shape != (len(self.numeric),)
                or values.dtype.kind != "f"
                or not np.isfinite(values).all()
            ):
                raise DataError("mean and std should be one number per numeric column")
        if not (self.std > 0).all():
            raise DataError("std should be above 0")
        if not self.numeric and not known:
            raise DataError("a table should have columns, got none")

    @classmethod
    def fit(cls, views: Sequence[Leaf], max_texts: int = 1000) -> ColumnEncoder:
        """Fit on the training rows of all views.

        Args:
            views: the columns, the same in each view.
            max_texts: the maximum number of known texts per column, the most frequent ones.
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
                categorical[name] = tuple(ranked[:max_texts])
        mean_std = np.array(scales, dtype=np.float64).reshape(-1, 2)
        return cls(tuple(numeric), categorical, mean_std[:, 0], mean_std[:, 1])

    @property
    def input_shape(self) -> Shape:
        k, c = len(self.numeric), len(self.categorical)
        shapes = {"numeric": (k,), "missing": (k,), "categorical": (c,)}
        return {name: shape for name, shape in shapes.items() if shape[0]}

    @property
    def facts(self) -> dict[str, Any]:
        """Return `columns`: the numeric names, and the number of codes of each categorical name."""
        cardinalities = {name: len(known) + 2 for name, known in self.categorical.items()}
        return {"columns": {"numeric": list(self.numeric), "categorical": cardinalities}}

    def __call__(self, leaf: Leaf) -> dict[str, Array]:
        columns = _columns(leaf)
        for name in (*self.numeric, *self.categorical):
            if name not in columns:
                raise DataError(f"the table has no column {name!r}; {nearest(name, columns)}")
        if len({len(columns[name]) for name in (*self.numeric, *self.categorical)}) > 1:
            raise DataError("all columns should have the same length")
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

    def restored(self, leaf: Leaf) -> dict[str, Array]:
        """Return the columns: missing numbers as NaN, missing texts as "", unknown texts as "?"."""
        assert isinstance(leaf, dict)
        columns: dict[str, Array] = {}
        if self.numeric:
            numbers = np.where(leaf["missing"] > 0, np.nan, leaf["numeric"] * self.std + self.mean)
            columns |= zip(self.numeric, numbers.T, strict=True)
        for name, codes in zip(self.categorical, leaf.get("categorical", np.empty((0, 0))).T, strict=True):
            columns[name] = np.array(["", "?", *self.categorical[name]], dtype=object)[codes]
        return columns

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
    if values.dtype.kind == "O" and all(value is None or isinstance(value, (int, float)) for value in values):
        values = values.astype(np.float64)  # None becomes NaN
    if not is_numeric_column(f"column {name!r}", values):
        text = next((value for value in values.tolist() if not is_missing(value)), None)
        raise DataError(f"column {name!r} should hold numbers, NaN where missing, got {text!r}")
    return values.astype(np.float64)


def _codes(name: str, values: Array, known: Sequence[str]) -> Array:
    if is_numeric_column(f"column {name!r}", values):
        raise DataError(f"column {name!r} should hold texts, None or '' where missing, got {values.dtype}")
    code_of = {text: code for code, text in enumerate(known, start=2)}
    codes = (MISSING if is_missing(text) else code_of.get(text, UNKNOWN) for text in values.tolist())
    return np.fromiter(codes, dtype=np.int32, count=len(values))


def _texts(what: str, values: Any) -> tuple[str, ...]:
    if isinstance(values, str) or not all(isinstance(text, str) for text in values):
        raise DataError(f"{what} should be a list of texts, got {values!r:.60}")
    return tuple(values)


# A stored preprocessor names one of these; nothing else is ever imported for it.
_KINDS: Mapping[str, type[Preprocessor]] = {
    kind.kind: kind for kind in (ImageScaler, Standardizer, TokenPadder, TextTokenizer, ColumnEncoder)
}


def fit_preprocessor(
    dataset: Dataset,
    *,
    max_length: int | None = None,
    vocabulary_size: int | None = None,
    dropout: float | None = None,
) -> Preprocessor:
    """Return the preprocessor for the dataset's kind of input, fitted on all its views.

    Args:
        dataset: the training items.
        max_length: for texts and token ids, the length of a prepared item; by default see `TextTokenizer.fit`
            and `TokenPadder.fit`.
        vocabulary_size: for texts, the maximum number of pieces; by default 8000.
        dropout: for texts, the probability that a piece is split in training; by default 0.1.

    Raises:
        DataError: siamkit does not prepare this kind of input, or an option is for another kind.

    Example:
        >>> import numpy as np
        >>> from siamkit.data import Dataset, fit_preprocessor
        >>> titles = np.array(["running shoes", "red hat", "running shoes", "red hat"])
        >>> data = Dataset((titles,), np.array([0, 1, 0, 1]), "labels", "text")
        >>> prepare = fit_preprocessor(data, max_length=24)
        >>> prepare(np.array(["running shoes red"])).shape, prepare.facts["max_length"]
        ((1, 24), 24)
    """
    given = {"max_length": max_length, "vocabulary_size": vocabulary_size, "dropout": dropout}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    taken = {"text": tuple(given), "tokens": ("max_length",)}.get(dataset.input, ())
    for name in options:
        if name not in taken:
            kinds = "texts and token ids" if name == "max_length" else "texts"
            raise DataError(f"{name} is for {kinds}, the data are {dataset.input}; leave it out")
    match dataset.input:
        case "image":
            return ImageScaler.fit(dataset.views, dataset.image_fit)
        case "vector" | "series":
            return Standardizer.fit(dataset.views)
        case "tokens":
            return TokenPadder.fit(dataset.views, **options)
        case "text":
            return TextTokenizer.fit(dataset.views, **options)
        case "tabular":
            return ColumnEncoder.fit(dataset.views)
    raise DataError(
        f"siamkit has no preprocessor for {dataset.input} input, only for image, vector, series, tokens, "
        "text and tabular"
    )


def load_preprocessor(folder: str | Path) -> Preprocessor:
    """Return the preprocessor stored in a folder.

    Raises:
        DataError: the folder does not hold a preprocessor, its kind is unknown, or its files are damaged.
    """
    root = existing_folder(folder, "a folder with a stored preprocessor")
    path = existing_file(root / "preprocessor.json", "a stored preprocessor")
    with unreadable_as_error(path, "a stored preprocessor", ValueError, RecursionError):
        header = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(header, dict) or header.get("version") != VERSION:
        raise DataError(f"{path} should hold a preprocessor of version {VERSION}")
    kind = _KINDS.get(str(header.get("kind")))
    if kind is None:
        raise DataError(f"{path} names no known preprocessor; {nearest(str(header.get('kind')), _KINDS)}")
    arrays = load_arrays(root / "arrays.npz", "stored arrays") if header.get("arrays") else {}
    texts = {}
    for name in kind.documents:
        with unreadable_as_error(root / f"{name}.json", "a stored preprocessor", ValueError):
            texts[name] = (root / f"{name}.json").read_text(encoding="utf-8")
    try:
        # A wrong key, type or shape: the file was not written by `save`.
        preprocessor = kind(**header.get("config", {}), **arrays, **texts)
        return preprocessor.with_columns(header.get("columns", {}))
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
