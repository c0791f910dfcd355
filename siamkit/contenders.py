"""Whatever has embeddings: a model, a file of vectors made by anybody's system, a trial of a study."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamkit.data.files import reading
from siamkit.errors import DataError, ModelError

VECTORS = (".npy", ".npz", ".parquet")
"""Endings of files that hold embeddings."""

ARRAYS = {"x": "embedding", "embeddings": "embedding", "y": "label", "labels": "label", "ids": "id"}
"""What the arrays of an `.npz` file are taken for."""


@dataclass(frozen=True)
class Contender:
    """Embeddings of some items, and what is needed to judge them.

    Args:
        name: for people.
        embeddings: `(n, dim)` float32.
        labels: `(n,)`, None where the file has none.
        ids: `(n,)` names of the items, None where the file has none.
        metric: what compares them: a name, or the metric of a model.
        threshold: that came with them, in the metric's orientation.
        about: what else is known: parameters, the model's own record.
    """

    name: str
    embeddings: NDArray[np.float32]
    labels: NDArray[Any] | None
    ids: tuple[str, ...] | None
    metric: Any = "cosine"
    threshold: float | None = None
    about: dict[str, Any] = field(default_factory=dict)


def read_vectors(path: str | os.PathLike[str], name: str | None = None) -> Contender:
    """Embeddings from a file.

    Args:
        path: `.npy` `(n, dim)`; `.npz` with `x` or `embeddings`, perhaps `y` or `labels`, and `ids`;
            `.parquet` with a list column `embedding` and perhaps `label` and `id`, as `siamkit embed` writes.
        name: for people; the file's own unless given.

    Raises:
        DataError: there is no such file, or it does not hold embeddings.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(f"{str(file)!r} does not exist; a file of embeddings ends in {', '.join(VECTORS)}")
    known: dict[str, Any] = {}
    with reading(file, "a file of embeddings", ValueError, KeyError):
        if file.suffix == ".npy":
            found = {"embedding": np.load(file, allow_pickle=False)}
        elif file.suffix == ".npz":
            found = _arrays(file)
        elif file.suffix == ".parquet":
            found, known = _table(file)
        else:
            raise DataError(f"{str(file)!r} should end in {', '.join(VECTORS)} to hold embeddings")
    vectors = np.asarray(found["embedding"])
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu" or 0 in vectors.shape:
        raise DataError(
            f"{str(file)!r} should hold embeddings, numbers (n, dim), "
            f"got {vectors.dtype} of shape {vectors.shape}"
        )
    about = json.loads(known.get("siamkit", "{}"))
    for key in ("label", "id"):
        if key in found and len(found[key]) != len(vectors):
            raise DataError(f"{str(file)!r} has {len(vectors)} embeddings but {len(found[key])} {key}s")
    return Contender(
        name or file.stem,
        np.ascontiguousarray(vectors, dtype=np.float32),
        found.get("label"),
        tuple(str(each) for each in found["id"]) if "id" in found else None,
        threshold=about.get("threshold"),
        about=about,
    )


def embed_with(
    model: str | os.PathLike[str],
    data: str | os.PathLike[str],
    name: str | None = None,
    on_rows: Callable[[int, int | None], None] = lambda done, total: None,
    **asked: Any,
) -> Contender:
    """Embeddings of a model's, its metric and its threshold.

    Args:
        model: a `.keras` file of siamkit.
        data: what to embed, as `siamkit.embedding.embed_file` takes it.
        name: for people.
        on_rows: is told how it goes.
        **asked: handed on to `embed_file`: `side`, `batch_size`, `source`, `columns`, `label`, `id`.
    """
    from siamkit.embedding import embed_file
    from siamkit.saving import load_model

    with tempfile.TemporaryDirectory(prefix="siamkit-") as folder:
        file = Path(folder) / "embeddings.parquet"
        embed_file(model, data, file, on_rows=on_rows, **asked)
        found = read_vectors(file)
    loaded = load_model(model, compile=False)
    about = found.about | {"parameters": loaded.count_params(), "items": str(data)}
    return Contender(
        name or Path(model).stem,
        found.embeddings,
        found.labels,
        found.ids,
        loaded.metric,
        loaded.threshold,
        about,
    )


def contender(
    path: str | os.PathLike[str], data: str | os.PathLike[str] | None = None, **asked: Any
) -> Contender:
    """A model with the data to embed, or a file of vectors; by the ending of its name.

    Raises:
        ModelError: a model without data.
    """
    if Path(path).suffix != ".keras":
        return read_vectors(path, asked.get("name"))
    if data is None:
        raise ModelError(f"the model {str(path)!r} needs data to embed")
    return embed_with(path, data, **asked)


def read_labels(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Labels from a `.npy` file."""
    file = Path(path)
    with reading(file, "a file of labels", ValueError):
        found: NDArray[Any] = np.load(file, allow_pickle=False)
    return found


def labelled(found: Contender, path: str | os.PathLike[str] | None = None) -> tuple[Contender, NDArray[Any]]:
    """The contender and its labels: its own, or those of a `.npy` file.

    Raises:
        DataError: there are none, or not as many as embeddings.
    """
    labels = found.labels if path is None else read_labels(path)
    if labels is None:
        raise DataError(f"{found.name!r} has embeddings without labels; give them by --labels FILE.npy")
    if labels.shape != (len(found.embeddings),):
        raise DataError(
            f"labels should have the shape ({len(found.embeddings)},), one for each embedding, "
            f"got {labels.shape}"
        )
    return replace(found, labels=labels), labels


def _arrays(file: Path) -> dict[str, Any]:
    with np.load(file, allow_pickle=False) as arrays:
        found = {ARRAYS[name]: arrays[name] for name in arrays.files if name in ARRAYS}
        if "embedding" not in found:
            raise DataError(
                f"{str(file)!r} should hold an array x (n, dim) of embeddings, got {', '.join(arrays.files)}"
            )
    return found


def _table(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    from pyarrow import compute, parquet

    table = parquet.read_table(file)
    if "embedding" not in table.column_names:
        raise DataError(
            f"{str(file)!r} should have a column embedding, a list of numbers a row, "
            f"got {', '.join(table.column_names)}"
        )
    column = table.column("embedding")
    lengths = compute.unique(compute.list_value_length(column)).to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        raise DataError(f"{str(file)!r} should have embeddings of one length, got {lengths[:5]}")
    flat = np.asarray(compute.list_flatten(column))
    found: dict[str, Any] = {"embedding": flat.reshape(len(table), -1)}
    for key in ("label", "id"):
        if key in table.column_names:
            found[key] = np.asarray(table.column(key).to_pylist())
    told = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    return found, told
