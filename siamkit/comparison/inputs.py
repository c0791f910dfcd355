"""Whatever has embeddings: a model, a file of vectors made by anybody's system, a trial of a study."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamkit.data.thumbnails import ThumbnailLookup
from siamkit.errors import DataError, ModelError, listed
from siamkit.io.paths import BROKEN_ARRAYS, unreadable_as_error


@dataclass(frozen=True)
class EmbeddingSet:
    """Embeddings of some items, and what is needed to judge them.

    Args:
        name: for people.
        embeddings: `(n, dim)` float32, or of pairs `(n, 2, dim)`.
        labels: `(n,)` classes, of pairs 1 for alike and 0 for not, or scores; None where the file has none.
        ids: `(n,)` names of the items or pairs, None where the file has none.
        metric: what compares them: a name, or the metric of a model.
        threshold: that came with them, in the metric's orientation.
        about: what else is known: parameters, the model's own record.
        items: `(n, 2)`, of pairs which item each side is, as 0, 1, …; None where that is not known.
        looks: tells from ids how items look; None where nobody knows.
        notes: what one should know before quoting what comes of it.
    """

    name: str
    embeddings: NDArray[np.float32]
    labels: NDArray[Any] | None
    ids: tuple[str, ...] | None
    metric: Any = "cosine"
    threshold: float | None = None
    about: dict[str, Any] = field(default_factory=dict)
    items: NDArray[np.int64] | None = None
    looks: ThumbnailLookup | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def pairs(self) -> bool:
        """Whether it embeds pairs."""
        return self.embeddings.ndim == 3


def contender(
    path: str | os.PathLike[str], data: str | os.PathLike[str] | None = None, **asked: Any
) -> EmbeddingSet:
    """A model with the data to embed, a file of vectors, or a trial of a study (`study.yaml#14`, `#best`).

    Raises:
        ModelError: a model without data.
        DataError: a study without a trial.
    """
    from siamkit.comparison.from_trial import is_study, read_trial, trial_in

    with unreadable_as_error(Path(path), "embeddings, a model or a study"):
        named, study = trial_in(path), is_study(path)
    if named is not None:
        return read_trial(*named, name=asked.get("name"))
    if study:
        raise DataError(f"{str(path)!r} is a study: name a trial of it, {path}#best or {path}#14")
    if Path(path).suffix != ".keras":
        from siamkit.comparison.from_file import read_vectors

        return read_vectors(path, asked.get("name"))
    if data is None:
        raise ModelError(f"the model {str(path)!r} needs data to embed")
    from siamkit.comparison.from_model import embed_with

    return embed_with(path, data, **asked)


def read_labels(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Labels from a `.npy` file."""
    file = Path(path)
    with unreadable_as_error(file, "a file of labels", *BROKEN_ARRAYS), file.open("rb") as opened:
        found = np.load(opened, allow_pickle=False)
        if not isinstance(found, np.ndarray):
            raise ValueError("it holds named arrays, not a single one")
    return found


def labelled(
    found: EmbeddingSet, path: str | os.PathLike[str] | None = None
) -> tuple[EmbeddingSet, NDArray[Any]]:
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
    if found.pairs:
        labels = as_targets(labels, found.name if path is None else str(path))
    return replace(found, labels=labels), labels


def as_targets(labels: NDArray[Any], name: str) -> NDArray[np.float64]:
    """What is true of pairs as numbers: 1 for alike, 0 for not, or a score.

    Raises:
        DataError: some are none.
    """
    try:
        found = labels.astype(np.float64)
    except (TypeError, ValueError):
        found = np.array([np.nan])
    if not np.isfinite(found).all():
        some = sorted({str(each) for each in labels})
        raise DataError(f"{name!r} should say of pairs 1 or 0, or a score, got {listed(some, 4)}")
    return found
