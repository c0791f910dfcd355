"""Studies and data that are given as Python objects, in the form of the files that would say the same."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from ruamel.yaml import YAML

from siamkit.data.dataset import Array, Dataset, Leaf
from siamkit.data.sources.arrays import input_of
from siamkit.errors import DataError, StudyError
from siamkit.io.files import read_arrays, read_table, to_jsonable, write_arrays, write_table, write_text
from siamkit.io.paths import as_path, check_writable, is_local
from siamkit.io.targets import as_labels, is_graded
from siamkit.io.values import as_array, as_column, column_and_missing
from siamkit.runs.run_folder import RunFolder
from siamkit.study.config.schema import Data
from siamkit.study.config.yaml import Document, YamlValue, read_document

DATA_NAME = "data"  # of the file of data in memory, without its suffix
STUDY_FILE = "study.yaml"
MAX_LINE = 10_000  # characters; paths stay in one line

GivenStudy: TypeAlias = "str | os.PathLike[str] | Mapping[str, YamlValue]"
GivenData: TypeAlias = "str | os.PathLike[str] | Dataset | Sequence[Any]"
"""A file or folder, a dataset, or arrays: (x, labels), or (a, b, targets) for pairs."""


def given_document(study: GivenStudy) -> Document:
    """Return a study as a document; the paths in a mapping are relative to the working directory.

    Raises:
        StudyFileError: the file cannot be read.
        StudyError: it is neither a path nor a mapping.
    """
    if not isinstance(study, (str, os.PathLike, Mapping)):
        raise StudyError(
            f"the study should be a file or a dict, got {type(study).__name__}; pass data as `data=…`"
        )
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


def with_path(document: Document, path: Path) -> Document:
    """Return a study with another file or folder of data, which is read with the parameters in the study."""
    data = document.data.get("data")
    kept = data if isinstance(data, dict) else {}
    if "path" not in kept:  # a source that reads no path
        kept = {key: value for key, value in kept.items() if key != "source"}
    return replace(document, data={**document.data, "data": {**kept, "path": str(path.resolve())}})


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
        found = f"{len(data)} values" if isinstance(data, (tuple, list)) else type(data).__name__
        raise DataError(
            "data should be a path, a siamkit.Dataset, (x, labels), or (a, b, targets) for pairs, got "
            f"{found}"
        )
    *items, target = data
    names = ("x",) if len(items) == 1 else ("a", "b")
    sides = [_columns(side, name) or side for side, name in zip(items, names, strict=True)]
    if all(isinstance(side, dict) for side in sides) and all(
        side.keys() == sides[0].keys() for side in sides
    ):
        # Of two tables with the same names, those count, not the order of the columns.
        sides = [{name: side[name] for name in sides[0]} for side in sides]
    views = tuple(map(_view, sides, names))
    kinds = {_kind(view, side, name) for view, side, name in zip(views, sides, names, strict=True)}
    if len(kinds) > 1:
        raise DataError(f"both sides of pairs should be of one kind, got {' and '.join(sorted(kinds))}")
    if len(views) == 1:
        return Dataset(views, as_labels(target), "labels", kinds.pop())
    targets, kind = as_column(target, name="targets"), kinds.pop()
    remedy = f'pass siamkit.Dataset((a, b), targets, "scores", "{kind}")'
    graded = is_graded(targets, name="the targets", remedy=remedy)
    return Dataset(views, targets, "scores" if graded else "pairs", kind)


def _columns(items: Any, name: str) -> dict[str, Array] | None:
    """Return the columns of a dict or data frame by their names; None for other items."""
    names = list(items.columns if hasattr(items, "columns") else items if isinstance(items, Mapping) else ())
    texts = [str(key) for key in names]
    if double := next((text for text in texts if texts.count(text) > 1), None):
        raise DataError(f"{name} should name each column once, got {double!r} twice")
    columns = {
        text: _column(items[key], f"column {text!r} of {name}")
        for key, text in zip(names, texts, strict=True)
    }
    if len({len(values) for values in columns.values()}) > 1:
        sizes = ", ".join(f"{key!r} {len(values)}" for key, values in columns.items())
        raise DataError(f"the columns of {name} should have one length, got {sizes}")
    return columns or None


def _column(values: Any, name: str) -> Array:
    """Return a column of a table; missing are NaN among numbers, and empty among texts."""
    column, missing = column_and_missing(values, name=name)
    if column.dtype.kind not in "biufOUT":
        raise DataError(f"{name} should be numbers or texts, got {column.dtype}")
    if column.dtype.kind not in "biuf":
        return np.where(missing, "", column)
    return np.where(missing, np.nan, column) if missing.any() else column


def _view(items: Any, name: str) -> Leaf:
    """Return one side's items as a file of them is read: columns only if a vector or text is not enough."""
    if isinstance(items, dict):
        numbers = [values for values in items.values() if values.dtype.kind in "biuf"]
        if len(numbers) == len(items) and not any(np.isnan(values).any() for values in numbers):
            return np.stack(numbers, axis=1).astype(np.float32)
        is_text = len(items) == 1 and not numbers and all(items[key].all() for key in items)
        return next(iter(items.values())) if is_text else items
    array = as_array(items, name=name)
    return as_column(items, name=name) if array.ndim == 1 and array.dtype.kind in "OUT" else array


def _kind(view: Leaf, items: Any, name: str) -> str:
    """Return the kind of input of one side's items."""
    if isinstance(view, dict):
        return "tabular"
    try:
        return input_of(view, name)
    except DataError:
        found = type(items).__name__ if view.ndim == 0 else f"{view.dtype} of shape {view.shape}"
        raise DataError(
            f"{name} should be an array such as (n, features) or (n, height, width, channels), a list of "
            f"texts, or a dict or data frame of columns, got {found}"
        ) from None


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
    write_text(folder / STUDY_FILE, text.getvalue())


def started_document(folder: Path, section: Mapping[str, YamlValue]) -> Document | None:
    """Return the study in a run folder, as `write_study` wrote it, if it was started with these data.

    A new proposal would differ from it, since times differ from call to call.
    """
    file = folder / STUDY_FILE
    if not (RunFolder(folder).exists() and file.is_file()):
        return None
    document = read_document(file)
    data = document.data.get("data")
    return document if isinstance(data, dict) and data.get("path") == section["path"] else None


@contextmanager
def stored_data(dataset: Dataset, folder: Path) -> Iterator[dict[str, YamlValue]]:
    """Write a dataset into a folder, and yield the section `data` of a study file that reads it.

    On leaving the context, what it wrote is removed if no study was started in the folder.

    Args:
        dataset: the data.
        folder: the run folder. If it holds data already, they must be the same.

    Raises:
        StudyError: the folder holds other data.
        DataError: a file cannot hold such data.
    """
    if dataset.supervision not in ("labels", "pairs", "scores"):
        raise DataError(f"a study needs data with labels, pairs or scores, got {dataset.supervision}")
    in_table = any(isinstance(view, dict) or view.dtype.kind in "OUT" for view in dataset.views)
    path = folder / f"{DATA_NAME}.{'parquet' if in_table else 'npz'}"
    section, columns = (_as_table if in_table else _as_arrays)(dataset)
    if hidden := columns.keys() & dataset.columns.keys():
        raise DataError(f"a column to split by should not be called {min(hidden)!r}; give it another name")
    columns |= {
        # NumPy's files hold texts of fixed length only.
        name: values.astype(np.str_) if values.dtype.kind in "OUT" else values
        for name, values in dataset.columns.items()
    }
    written: list[Path] = []
    if path.exists() or RunFolder(folder).exists():
        stored = _read(path) if path.exists() else {}
        if stored.keys() != columns.keys() or not all(_equal(stored[key], columns[key]) for key in columns):
            raise StudyError(
                f"{str(folder)!r} holds other data than those given; give the study another name, or another "
                "run folder (artifacts)"
            )
    else:
        written = [path, *(parent for parent in path.parents if not parent.exists())]
    try:
        if written:
            check_writable(path)
            (write_table if in_table else write_arrays)(path, columns)
        yield {"path": str(path.resolve()), **section}
    finally:
        if written and not RunFolder(folder).exists():
            with suppress(OSError):  # a folder that something else was written into, or that cannot be one
                path.unlink(missing_ok=True)
                for parent in written[1:]:
                    parent.rmdir()


def _as_arrays(dataset: Dataset) -> tuple[dict[str, YamlValue], dict[str, Array]]:
    names = ("x",) if dataset.supervision == "labels" else ("a", "b")
    arrays = dict(zip(names, cast("tuple[Array, ...]", dataset.views), strict=True))
    section: dict[str, YamlValue] = {"input": dataset.input}
    if len(names) > 1:
        section["supervision"] = dataset.supervision
    return section, {**arrays, "y": np.asarray(dataset.target)}


def _as_table(dataset: Dataset) -> tuple[dict[str, YamlValue], dict[str, Array]]:
    sides = [view if isinstance(view, dict) else {"x": view} for view in dataset.views]
    # Tabular pairs are embedded by the names of their left columns, so these stay.
    prefix = "right_"
    while any(prefix + name in sides[0] for name in sides[-1]):
        prefix += "_"
    named = [
        {prefix + name: np.asarray(values) for name, values in side.items()}
        for side, prefix in zip(sides, ("", prefix), strict=False)
    ]
    wrong = [name for side in sides for name in side if not name or "," in name or name != name.strip()]
    if wrong:
        raise DataError(
            "the name of a column should not be empty, and have no comma and no space at its ends, got "
            f"{wrong[0]!r}"
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
