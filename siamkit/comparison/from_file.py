"""Files of embeddings, made by anybody's system."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from siamkit.comparison.inputs import EmbeddingSet
from siamkit.errors import DataError
from siamkit.io.paths import BROKEN_ARRAYS, unreadable_as_error

VECTORS = (".npy", ".npz", ".parquet")
"""Endings of files that hold embeddings."""

ARRAYS = {"x": "embedding", "embeddings": "embedding", "y": "label", "labels": "label", "ids": "id"}
"""What the arrays of an `.npz` file are taken for."""


def read_vectors(path: str | os.PathLike[str], name: str | None = None) -> EmbeddingSet:
    """Embeddings from a file.

    Args:
        path: `.npy` `(n, dim)`, or `(n, 2, dim)` of pairs; `.npz` with `x` or `embeddings` of such a shape,
            or `a` and `b` `(n, dim)`, the two sides of pairs, perhaps `y` or `labels`, and `ids`;
            `.parquet` with a list column `embedding` and perhaps `label` and `id`, as `siamkit embed` writes.
        name: for people; the file's own unless given.

    Raises:
        DataError: there is no such file, or it does not hold embeddings.
    """
    file = Path(path)
    if file.is_dir():
        raise DataError(f"{str(file)!r} is a folder; a file of embeddings ends in {', '.join(VECTORS)}")
    if not file.is_file():
        raise DataError(f"{str(file)!r} does not exist; a file of embeddings ends in {', '.join(VECTORS)}")
    about: dict[str, Any] = {}
    with unreadable_as_error(file, "a file of embeddings", *BROKEN_ARRAYS):
        if file.suffix == ".npy":
            found = {"embedding": np.load(file, allow_pickle=False)}
        elif file.suffix == ".npz":
            found = _arrays(file)
        elif file.suffix == ".parquet":
            found, about = _table(file)
        else:
            raise DataError(f"{str(file)!r} should end in {', '.join(VECTORS)} to hold embeddings")
    vectors = np.asarray(found["embedding"])
    if not are_vectors(vectors):
        raise DataError(
            f"{str(file)!r} should hold embeddings, numbers (n, dim) or of pairs (n, 2, dim), "
            f"got {vectors.dtype} of shape {vectors.shape}"
        )
    for key in ("label", "id"):
        if key in found and found[key].ndim != 1:
            raise DataError(
                f"{str(file)!r} should have one {key} for each embedding, got the shape {found[key].shape}"
            )
        if key in found and len(found[key]) != len(vectors):
            raise DataError(f"{str(file)!r} has {len(vectors)} embeddings but {len(found[key])} {key}s")
    return EmbeddingSet(
        name or file.stem,
        as_float32(vectors),
        found.get("label"),
        tuple(str(each) for each in found["id"]) if "id" in found else None,
        threshold=about.get("threshold"),
        about=about,
    )


def as_float32(vectors: np.ndarray) -> np.ndarray:
    """Numbers as embeddings are held; what is too large becomes infinite, and is refused with the others."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(vectors, dtype=np.float32)


def are_vectors(array: np.ndarray) -> bool:
    """Whether an array is one of embeddings: numbers `(n, dim)`, or `(n, 2, dim)` of pairs."""
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[1] == 2)
    return shaped and array.dtype.kind in "fiu" and 0 not in array.shape


def _arrays(file: Path) -> dict[str, Any]:
    with file.open("rb") as opened:  # NumPy would leave it open where it is damaged
        arrays = np.load(opened, allow_pickle=False)
        if isinstance(arrays, np.ndarray):
            raise ValueError("it holds a single array, not named ones")
        found = {ARRAYS[name]: arrays[name] for name in arrays.files if name in ARRAYS}
        if "embedding" not in found and {"a", "b"} <= set(arrays.files):
            a, b = arrays["a"], arrays["b"]
            if a.shape != b.shape:
                raise DataError(
                    f"{str(file)!r} should hold a and b of one shape, got {a.shape} and {b.shape}"
                )
            found["embedding"] = np.stack([a, b], axis=1)
        if "embedding" not in found:
            raise DataError(
                f"{str(file)!r} should hold an array x (n, dim) of embeddings, or a and b of pairs, "
                f"got {', '.join(arrays.files)}"
            )
    return found


def _table(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    from pyarrow import compute, parquet, types

    table = parquet.read_table(file)
    if "embedding" not in table.column_names:
        raise DataError(
            f"{str(file)!r} should have a column embedding, a list of numbers a row, "
            f"got {', '.join(table.column_names)}"
        )
    column = table.column("embedding")
    if not (
        types.is_list(column.type)
        or types.is_large_list(column.type)
        or types.is_fixed_size_list(column.type)
    ):
        raise DataError(f"{str(file)!r} should have a list of numbers a row as embedding, got {column.type}")
    lengths = compute.unique(compute.list_value_length(column)).to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        raise DataError(f"{str(file)!r} should have embeddings of one length, got {lengths[:5]}")
    flat = np.asarray(compute.list_flatten(column))
    found: dict[str, Any] = {"embedding": flat.reshape(len(table), -1)}
    for key in ("label", "id"):
        if key in table.column_names:
            found[key] = np.asarray(table.column(key).to_pylist())
    about = json.loads((table.schema.metadata or {}).get(b"siamkit", b"{}"))
    if not isinstance(about, dict):
        raise ValueError("what siamkit wrote into it is damaged")
    return found, about
