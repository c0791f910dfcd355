"""Quality against size: what is left of an embedding that is cut short, turned and cut, or rounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError
from siamkit.evaluation import _checks, _distances, examine
from siamkit.evaluation.measures import DEFAULT_OBJECTIVE, MEASURES, Group, groups_of
from siamkit.evaluation.pairs import binary
from siamkit.evaluation.plain_metrics import Cosine
from siamkit.plotting.figures import size_figure, size_frame
from siamkit.stats.pareto import front

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_KINDS = {"labels": "labelled items", "pairs": "pairs", "scores": "graded pairs"}


@dataclass(frozen=True)
class Size:
    """An embedding made smaller, and what it is worth.

    Args:
        how: `whole`, `truncated`, `pca`, `float16`, `int8`, `binary`, or `retrained`.
        dim: dimensions that are left.
        bytes_per_vector: what one takes to store.
        measures: by name.
        best: whether nothing at most as large is as good, in the first figure.
    """

    how: str
    dim: int
    bytes_per_vector: float
    measures: dict[str, float]
    best: bool = False


@dataclass(frozen=True)
class SizeCurve(Sequence[Size]):
    """Several sizes of an embedding, the largest first, with those on the Pareto front marked.

    Args:
        sizes: in any order.

    Example:
        >>> from siamkit.stats.compression import Size, SizeCurve
        >>> whole, half = Size("whole", 8, 32, {"map_at_r": 0.5}), Size("pca", 4, 16, {"map_at_r": 0.6})
        >>> [(each.how, each.best) for each in SizeCurve((half, whole))]
        [('whole', False), ('pca', True)]
    """

    sizes: tuple[Size, ...]

    def __post_init__(self) -> None:
        ordered = sorted(self.sizes, key=lambda each: -each.bytes_per_vector)
        name = next(iter(ordered[0].measures))
        better = MEASURES[name].direction or "maximize"
        worth = [[each.measures[name], each.bytes_per_vector] for each in ordered]
        best = set(front(worth, [better, "minimize"]))
        object.__setattr__(
            self, "sizes", tuple(replace(each, best=row in best) for row, each in enumerate(ordered))
        )

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, index: int) -> Size: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Size, ...]: ...

    def __getitem__(self, index: int | slice) -> Size | tuple[Size, ...]:
        return self.sizes[index]

    def with_sizes(self, others: Iterable[Size]) -> SizeCurve:
        """These and others, as `siamkit.comparison._retrained.retrained_sizes` of a study, on one front."""
        return SizeCurve((*self.sizes, *others))

    def to_frame(self) -> pd.DataFrame:
        """As a pandas table, a row a size."""
        return size_frame(self)

    def plot(self) -> go.Figure:
        """The first figure against bytes a vector, as a Plotly figure with the Pareto front."""
        return size_figure(self)


def size_curve(
    embeddings: ArrayLike,
    labels: ArrayLike,
    metric: Any = "cosine",
    *,
    dims: Iterable[int] = (),
    measures: Iterable[str] = (),
    fit: ArrayLike | None = None,
) -> SizeCurve:
    """What embeddings are worth at several sizes, all from the one embedding given.

    - truncated: the first numbers of each vector, which is what Matryoshka losses train for (Kusupati et al.
      2022, https://arxiv.org/abs/2205.13147); of any other embedding it tells how little they hold alone;
    - pca: turned so that the directions of most variance come first, then cut;
    - float16: rounded to half precision;
    - int8: each number to one of 255 steps between the extremes of its dimension, over `fit`;
    - binary: the sign of each number less its mean over `fit`, compared by cosine, that is by Hamming's
      distance, whatever the metric.

    Retraining at another size is a study's job: `embedding_dim` under `search`, and
    `siamkit.comparison._retrained.retrained_sizes`.

    Args:
        embeddings: `(n, dim)`, or of pairs `(n, 2, dim)`.
        labels: `(n,)`, classes; of pairs 1 for alike and 0 for not, or scores.
        metric: a name, or a metric that takes vectors of any length.
        dims: the sizes to cut to; powers of two below `dim` unless given.
        measures: by which it is judged; the first makes the front. That which a study would take (`map_at_r`,
            `roc_auc`, `spearman`) unless given.
        fit: `(m, dim)` embeddings from which directions, steps and means are learnt: of training items, lest
            the figures be flattered. The embeddings themselves unless given.

    Returns:
        Of each way and size one, the largest first.

    Raises:
        DataError: a size that cannot be, a figure of other data, a metric that has learnt one length.

    Example:
        >>> import numpy as np
        >>> from siamkit.stats.compression import size_curve
        >>> from siamkit.evaluation.plain_metrics import Euclidean
        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat(np.arange(20), 6)
        >>> rows = rng.normal(size=(20, 8))[labels] + rng.normal(0, 0.1, (120, 8))
        >>> [(each.how, each.bytes_per_vector) for each in size_curve(rows, labels, Euclidean(), dims=[4])]
        [('whole', 32), ('float16', 16), ('truncated', 16), ('pca', 16), ('int8', 8), ('binary', 1.0)]
    """
    array = _checks.as_array(embeddings)
    items = _checks.vectors(array, 3 if array.ndim == 3 else 2, least=2)
    rows = items.reshape(-1, items.shape[-1])
    learnt = rows if fit is None else _checks.vectors(fit, 2, name="fit")
    if learnt.shape[1] != rows.shape[1]:
        raise DataError(f"fit should have the dim of the embeddings, {rows.shape[1]}, got {learnt.shape[1]}")
    kind = "labels"
    if items.ndim == 3:
        kind = "pairs" if binary(_checks.as_array(labels, name="labels")) else "scores"
    names = tuple(measures) or (DEFAULT_OBJECTIVE[kind],)
    for name in names:
        if name not in MEASURES or kind not in MEASURES[name].supervisions or MEASURES[name].group == "cost":
            raise DataError(f"{name!r} is no figure that embeddings of {_KINDS[kind]} have")
    chosen = sorted({_checks.whole(dim, name="each of dims") for dim in dims}, reverse=True)
    whole = rows.shape[1]
    chosen = chosen or [2**power for power in range(whole.bit_length(), 0, -1) if 2**power < whole]
    if chosen and chosen[0] > whole:
        raise DataError(f"each of dims should be at most {whole}, the embeddings' own, got {chosen[0]}")
    comparison = _distances.resolve(metric)
    if getattr(comparison, "weights", ()):
        raise DataError(
            f"the metric {type(comparison).__name__} has learnt to compare vectors of {whole} numbers, and "
            "no shorter ones; name another metric, such as euclidean"
        )
    groups: frozenset[Group] = groups_of(names)
    found = []
    for how, dim, size, smaller in _smaller(rows, learnt, chosen):
        compared = Cosine() if how == "binary" else comparison
        judged = examine(smaller.reshape(*items.shape[:-1], -1), labels, compared, groups=groups).measures
        if how == "whole" and not np.isfinite(judged[names[0]]):
            raise DataError(
                f"{names[0]} is not defined of these {_KINDS[kind]}, so no size can be judged by it"
            )
        found.append(Size(how, dim, size, {name: float(judged[name]) for name in names}))
    return SizeCurve(tuple(found))


def _smaller(
    rows: NDArray[np.float32], learnt: NDArray[np.float32], dims: list[int]
) -> Iterator[tuple[str, int, float, NDArray[np.float32]]]:
    """Way, dimensions, bytes, and the vectors as they come back from being stored so."""
    whole = rows.shape[1]
    yield "whole", whole, 4 * whole, rows
    most = np.finfo(np.float16).max  # beyond it half precision knows infinity only
    yield "float16", whole, 2 * whole, np.clip(rows, -most, most).astype(np.float16).astype(np.float32)
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
