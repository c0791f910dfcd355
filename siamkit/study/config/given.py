"""Studies and data that are given as Python objects, in the form of the files that would say the same."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from ruamel.yaml import YAML

from siamkit.data.dataset import Array, Dataset, Leaf
from siamkit.data.sources.arrays import input_of, supervision_of_pairs
from siamkit.errors import DataError, StudyError
from siamkit.io.files import read_arrays, read_table, to_jsonable, write_arrays, write_table, write_text
from siamkit.io.paths import as_path, is_local
from siamkit.io.targets import as_labels
from siamkit.io.values import as_array, as_column, column_and_missing
from siamkit.runs.run_folder import RunFolder
from siamkit.study.config.schema import Data
from siamkit.study.config.yaml import Document, YamlValue, read_document

DATA_NAME = "data"  # of the file of data in memory, without its suffix
MAX_LINE = 10_000  # characters; paths stay in one line

GivenStudy: TypeAlias = "str | os.PathLike[str] | Mapping[str, YamlValue]"
GivenData: TypeAlias = "str | os.PathLike[str] | Dataset | Sequence[Any]"
"""A file or folder, a dataset, or arrays: (x, labels), or (a, b, targets) for pairs."""


def given_document(study: GivenStudy) -> Document:
    """Return a study as a document; the paths in a mapping are relative to the working directory.

    Raises:
        StudyFileError: the file cannot be read.
    """
    if not isinstance(study, Mapping):
        return read_document(Path(study))
    return Document("the study", cast("dict[str, YamlValue]", to_jsonable(dict(study))), {})


def given_folder(document: Document | None, artifacts: str | os.PathLike[str] | None) -> Path:
    """Return the run folder in which data in memory are stored.

    Args:
        document: the study; None if one will be proposed.
        artifacts: the run folder that the caller names, if any.

    Raises:
        StudyError: it is not a folder of this machine.
    """
    content = {} if document is None else document.data
    path = str(artifacts or content.get("artifacts") or f"runs/{content.get('name', 'study')}")
    if not is_local(as_path(path)):
        raise StudyError(
            f"data in memory are stored in the run folder, which should be on this machine, got {path!r}"
        )
    return Path(path) if artifacts or document is None else document.folder / path


def _with_absolute_paths(value: YamlValue) -> YamlValue:
    """Return a path, or a value with paths under the key `path`, with absolute paths."""
    if isinstance(value, str):
        return str(Path(value).resolve())
    if isinstance(value, list):
        return [_with_absolute_paths(each) if isinstance(each, dict) else each for each in value]
    if not isinstance(value, dict):
        return value
    return {key: _with_absolute_paths(each) if key == "path" else each for key, each in value.items()}


def with_data(document: Document, section: Mapping[str, YamlValue]) -> Document:
    """Return a study with other data: its keys of `data` that are not the source's stay, such as `split`."""
    data = document.data.get("data")
    kept = {key: data[key] for key in Data.model_fields if key in data} if isinstance(data, Mapping) else {}
    kept.pop("source", None)
    return replace(document, data={**document.data, "data": {**kept, **section}})


def given_dataset(data: Dataset | Sequence[Any]) -> Dataset:
    """Return data in memory as a dataset.

    Args:
        data: a dataset; or (x, labels): items, which are arrays of any library, a list of texts, or a dict or
            data frame of columns; or (a, b, targets): pairs of items, with 1 for alike and 0 for not, or with
            graded similarities.

    Raises:
        DataError: the data are something else.
    """
    if isinstance(data, Dataset):
        return data
    if not isinstance(data, Sequence) or isinstance(data, str) or len(data) not in (2, 3):
        raise DataError(
            "data should be a path, a siamkit.Dataset, (x, labels), or (a, b, targets) for pairs, got "
            f"{type(data).__name__}"
        )
    *items, target = data
    names = ("x",) if len(items) == 1 else ("a", "b")
    views = tuple(map(_view, items, names))
    kinds = {
        "tabular" if isinstance(view, dict) else input_of(view, name)
        for view, name in zip(views, names, strict=True)
    }
    if len(kinds) > 1:
        raise DataError(f"both sides of pairs should be of one kind, got {' and '.join(sorted(kinds))}")
    if len(views) == 1:
        return Dataset(views, as_labels(target), "labels", kinds.pop())
    targets = as_column(target, name="targets")
    return Dataset(views, targets, supervision_of_pairs(targets, "auto", "the targets"), kinds.pop())


def _view(items: Any, name: str) -> Leaf:
    """Return one side's items: an array, or columns if any of them has texts or missing values."""
    table = items if isinstance(items, Mapping) else None
    if table is None and hasattr(items, "columns"):  # a data frame of pandas or polars
        table = {column: items[column] for column in items.columns}
    if table is None:
        is_text = isinstance(items, (list, tuple)) and len(items) > 0 and isinstance(items[0], str)
        return as_column(items, name=name) if is_text else as_array(items, name=name)
    columns = {str(key): _column(values, f"column {key!r} of {name}") for key, values in table.items()}
    numbers = [values for values in columns.values() if values.dtype.kind in "biuf"]
    if len(numbers) == len(columns) > 1 and not any(np.isnan(values).any() for values in numbers):
        return np.stack(numbers, axis=1).astype(np.float32)
    return columns


def _column(values: Any, name: str) -> Array:
    """Return a column of a table; missing are NaN among numbers, and empty among texts."""
    column, missing = column_and_missing(values, name=name)
    if column.dtype.kind not in "biuf":
        return np.where(missing, "", column)
    return np.where(missing, np.nan, column) if missing.any() else column


# ------------------------------------------------------------------ as files


def write_study(document: Document, folder: Path) -> None:
    """Write a study that was given in Python as `study.yaml` into its run folder, for the command line.

    Its relative paths become absolute.
    """
    content: dict[str, YamlValue] = {**document.data, "artifacts": "."}
    for key in ("data", "baselines", "warm_start"):
        if key in content:
            content[key] = _with_absolute_paths(content[key])
    text, yaml = StringIO(), YAML()
    yaml.width = MAX_LINE
    yaml.dump(content, text)
    write_text(folder / "study.yaml", text.getvalue())


def store_data(dataset: Dataset, folder: Path) -> dict[str, YamlValue]:
    """Write a dataset into a folder, and return the section `data` of a study file that reads it.

    Args:
        dataset: the data.
        folder: the run folder. If its study was started, it must hold the same data already.

    Raises:
        StudyError: the folder holds other data.
        DataError: a file cannot hold such data.
    """
    if dataset.supervision not in ("labels", "pairs", "scores"):
        raise DataError(f"a study needs data with labels, pairs or scores, got {dataset.supervision}")
    in_table = any(isinstance(view, dict) or view.dtype.kind in "OUT" for view in dataset.views)
    path = folder / f"{DATA_NAME}.{'parquet' if in_table else 'npz'}"
    section, columns = (_as_table if in_table else _as_arrays)(dataset)
    columns |= {
        # NumPy's files hold texts of fixed length only.
        name: values.astype(np.str_) if values.dtype.kind in "OUT" else values
        for name, values in dataset.columns.items()
        if name not in columns
    }
    if path.exists() and RunFolder(folder).exists():
        stored = _read(path)
        if stored.keys() != columns.keys() or not all(_equal(stored[key], columns[key]) for key in columns):
            raise StudyError(
                f"{str(path)!r} holds other data than those given; give the study another name, or another "
                "run folder (artifacts)"
            )
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        (write_table if in_table else write_arrays)(path, columns)
    return {"path": str(path.resolve()), **section}


def _as_arrays(dataset: Dataset) -> tuple[dict[str, YamlValue], dict[str, Array]]:
    names = ("x",) if dataset.supervision == "labels" else ("a", "b")
    arrays = dict(zip(names, cast("tuple[Array, ...]", dataset.views), strict=True))
    section: dict[str, YamlValue] = {"input": dataset.input}
    if len(names) > 1:
        section["supervision"] = dataset.supervision
    return section, {**arrays, "y": np.asarray(dataset.target)}


def _as_table(dataset: Dataset) -> tuple[dict[str, YamlValue], dict[str, Array]]:
    sides = [view if isinstance(view, dict) else {"x": view} for view in dataset.views]
    prefixes = ("",) if len(sides) == 1 else ("left_", "right_")
    named = [
        {prefix + name: np.asarray(values) for name, values in side.items()}
        for prefix, side in zip(prefixes, sides, strict=True)
    ]
    if wrong := [name for side in named for name in side if "," in name or name != name.strip()]:
        raise DataError(
            f"the name of a column should have no comma and no space at its ends, got {wrong[0]!r}"
        )
    keys = ("features",) if len(sides) == 1 else ("left", "right")
    section: dict[str, YamlValue] = {key: ", ".join(side) for key, side in zip(keys, named, strict=True)}
    target = "label" if len(sides) == 1 else "target"
    while any(target in side for side in named):
        target += "_"
    section[target.rstrip("_")] = target
    if dataset.input == "tabular":
        section["input"] = "tabular"
    if len(sides) > 1:
        section["supervision"] = dataset.supervision
    columns = {name: values for side in named for name, values in side.items()}
    return section, {**columns, target: np.asarray(dataset.target)}


def _read(path: Path) -> dict[str, Array]:
    if path.suffix == ".npz":
        return read_arrays(path)
    table = read_table(path)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def _equal(a: Array, b: Array) -> bool:
    if a.shape != b.shape:
        return False
    if a.dtype.kind in "biuf" and b.dtype.kind in "biuf":
        return np.array_equal(a, b, equal_nan=True)
    return bool((a.astype(np.str_) == b.astype(np.str_)).all())
