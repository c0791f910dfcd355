"""The embedding set that a path names: a model with data, a file of embeddings, or a trial of a study."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from numpy.typing import NDArray

from siamkit.comparison.embedding_set import EmbeddingSet, as_targets, from_file, read_labels
from siamkit.comparison.from_model import from_model
from siamkit.comparison.from_trial import from_trial, is_study, trial_in
from siamkit.errors import DataError, ModelError
from siamkit.io.paths import unreadable_as_error

_ENDINGS = (".npy", ".npz", ".parquet", ".keras", ".yaml", ".yml")


def read_embeddings(
    path: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    source: str | None = None,
    label: str | None = None,
) -> EmbeddingSet:
    """Return the embedding set that a path names.

    Args:
        path: a model (`.keras`), a file of embeddings, or a trial of a study (`study.yaml#14`, `#best`).
        data: what a model embeds.
        name: for display; by default that of the file.
        source: the registered dataset that reads `data`.
        label: the column or array of labels in `data`.

    Raises:
        ModelError: a model without data.
        DataError: a study without a trial, or a file that cannot be read.
    """
    with unreadable_as_error(Path(path), "embeddings, a model or a study"):
        trial, study = trial_in(path), is_study(path)
    if trial is not None:
        return from_trial(*trial, name=name)
    if study:
        raise DataError(f"{str(path)!r} is a study: name one of its trials, such as {path}#best or {path}#14")
    if Path(path).suffix != ".keras":
        return from_file(path, name)
    if data is None:
        raise ModelError(f"the model {str(path)!r} needs data to embed")
    return from_model(path, data, name, source=source, label=label)


def labeled(
    embedding_set: EmbeddingSet, path: str | os.PathLike[str] | None = None
) -> tuple[EmbeddingSet, NDArray[Any]]:
    """Return the embedding set with labels, and the labels: its own, or those of a `.npy` file.

    Raises:
        DataError: labels are missing, or are not one for each embedding.
    """
    name, count = embedding_set.name, len(embedding_set.embeddings)
    labels = embedding_set.labels if path is None else read_labels(path)
    if labels is None:
        raise DataError(f"{name!r} has embeddings without labels; pass them with --labels FILE.npy")
    if labels.shape != (count,):
        raise DataError(
            f"labels should have the shape ({count},), one for each embedding, got {labels.shape}"
        )
    if embedding_set.of_pairs:
        labels = as_targets(labels, name if path is None else str(path))
    return replace(embedding_set, labels=labels), labels


def default_names(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return file names without endings, with as much of the path as makes them distinct.

    Example:
        >>> default_names(["old/vectors.npz", "new/vectors.npz", "new/others.npy", "study.yaml#14"])
        ['old/vectors.npz', 'new/vectors.npz', 'others', 'study#14']
    """
    names = [_name(path, 0) for path in paths]
    deepest = max((len(PurePath(path).parts) for path in paths), default=0)
    for depth in range(1, deepest + 1):
        ambiguous = {name for name in names if names.count(name) > 1}
        names = [
            _name(path, depth) if name in ambiguous else name for path, name in zip(paths, names, strict=True)
        ]
    return names


def _name(path: str | os.PathLike[str], depth: int) -> str:
    """Return the last `depth` parts of a path, or the file name without its ending, and the trial if any."""
    trial = trial_in(path)
    file = PurePath(trial[0] if trial else path)
    stem = file.stem if file.suffix in _ENDINGS else file.name
    name = "/".join(file.parts[-depth:]) if depth else stem
    return name if trial is None else f"{name}#{trial[1]}"
