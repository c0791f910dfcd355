"""Quality against size: what is left of an embedding that is cut short, turned and cut, or rounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.comparison.pareto import front
from siamkit.comparison.plain import Cosine
from siamkit.errors import DataError
from siamkit.evaluation import blocks, checks, evaluate_labels
from siamkit.evaluation.figures import FIGURES, Group, groups_of


@dataclass(frozen=True)
class Size:
    """An embedding made smaller, and what it is worth.

    Args:
        how: `whole`, `truncated`, `pca`, `float16`, `int8`, `binary`.
        dim: dimensions that are left.
        bytes_per_vector: what one takes to store.
        figures: by name.
        best: whether nothing at most as large is as good, in the first figure.
    """

    how: str
    dim: int
    bytes_per_vector: float
    figures: dict[str, float]
    best: bool = False


def size_curve(
    embeddings: ArrayLike,
    labels: ArrayLike,
    metric: Any = "cosine",
    *,
    dims: Iterable[int] = (),
    figures: Iterable[str] = ("map_at_r",),
    fit: ArrayLike | None = None,
) -> list[Size]:
    """What labelled embeddings are worth at several sizes, all from the one embedding given.

    - truncated: the first numbers of each vector, which is what Matryoshka losses train for (Kusupati et al.
      2022, https://arxiv.org/abs/2205.13147); of any other embedding it tells how little they hold alone;
    - pca: turned so that the directions of most variance come first, then cut;
    - float16: rounded to half precision;
    - int8: each number to one of 255 steps between the extremes of its dimension, over `fit`;
    - binary: the sign of each number less its mean over `fit`, compared by cosine, that is by Hamming's
      distance, whatever the metric.

    Retraining at another size is a study's job: `embedding_dim` under `search`.

    Args:
        embeddings: `(n, dim)`.
        labels: `(n,)`.
        metric: a name, or a metric that takes vectors of any length.
        dims: the sizes to cut to; powers of two below `dim` unless given.
        figures: by which it is judged, of labelled items; the first makes the front.
        fit: `(m, dim)` embeddings from which directions, steps and means are learnt: of training items, lest
            the figures be flattered. The embeddings themselves unless given.

    Returns:
        Of each way and size one, the largest first.

    Raises:
        DataError: a size that cannot be, a figure of other data.

    Example:
        >>> import numpy as np
        >>> from siamkit.comparison.sizes import size_curve
        >>> from siamkit.comparison.plain import Euclidean
        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat(np.arange(20), 6)
        >>> rows = rng.normal(size=(20, 8))[labels] + rng.normal(0, 0.1, (120, 8))
        >>> [(each.how, each.bytes_per_vector) for each in size_curve(rows, labels, Euclidean(), dims=[4])]
        [('whole', 32), ('float16', 16), ('truncated', 16), ('pca', 16), ('int8', 8), ('binary', 1.0)]
    """
    rows = checks.vectors(embeddings, 2, least=2)
    learnt = rows if fit is None else checks.vectors(fit, 2, name="fit")
    if learnt.shape[1] != rows.shape[1]:
        raise DataError(f"fit should have the dim of the embeddings, {rows.shape[1]}, got {learnt.shape[1]}")
    names = tuple(figures)
    for name in names:
        if name not in FIGURES or "labels" not in FIGURES[name].supervisions or FIGURES[name].group == "cost":
            raise DataError(f"{name!r} is no figure that embeddings of labelled items have")
    chosen = sorted({checks.whole(dim, name="each of dims") for dim in dims}, reverse=True)
    whole = rows.shape[1]
    chosen = chosen or [2**power for power in range(whole.bit_length(), 0, -1) if 2**power < whole]
    if chosen and chosen[0] > whole:
        raise DataError(f"each of dims should be at most {whole}, the embeddings' own, got {chosen[0]}")
    comparison = blocks.resolve(metric)
    groups: frozenset[Group] = groups_of(names)
    found = []
    for how, dim, size, smaller in _smaller(rows, learnt, chosen):
        compared = Cosine() if how == "binary" else comparison
        judged = evaluate_labels(smaller, labels, compared, groups=groups).figures
        found.append(Size(how, dim, size, {name: float(judged[name]) for name in names}))
    found.sort(key=lambda each: -each.bytes_per_vector)
    worth = [[each.figures[names[0]], each.bytes_per_vector] for each in found]
    best = set(front(worth, [FIGURES[names[0]].direction or "maximize", "minimize"]))
    return [replace(each, best=row in best) for row, each in enumerate(found)]


def _smaller(
    rows: NDArray[np.float32], learnt: NDArray[np.float32], dims: list[int]
) -> Iterator[tuple[str, int, float, NDArray[np.float32]]]:
    """Way, dimensions, bytes, and the vectors as they come back from being stored so."""
    whole = rows.shape[1]
    yield "whole", whole, 4 * whole, rows
    yield "float16", whole, 2 * whole, rows.astype(np.float16).astype(np.float32)
    mean = learnt.mean(axis=0, dtype=np.float64)
    centred = learnt - mean
    # The directions of most variance: eigenvectors of a matrix dim x dim, however many items there are.
    directions = np.linalg.eigh(centred.T @ centred)[1][:, ::-1]
    for dim in dims:
        yield "truncated", dim, 4 * dim, np.ascontiguousarray(rows[:, :dim])
        yield "pca", dim, 4 * dim, ((rows - mean) @ directions[:, :dim]).astype(np.float32)
    low, high = learnt.min(axis=0), learnt.max(axis=0)
    step = np.where(high > low, (high - low) / 254, 1)
    codes = np.clip(np.rint((rows - low) / step), 0, 254)
    yield "int8", whole, whole, (low + codes * step).astype(np.float32)
    yield "binary", whole, whole / 8, np.where(rows > mean, 1, -1).astype(np.float32)
