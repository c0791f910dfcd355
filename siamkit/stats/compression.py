"""Quality against size: an embedding truncated, rotated and cut (PCA), or rounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamkit.errors import DataError
from siamkit.evaluation import examine
from siamkit.evaluation.distances import Cosine, Metric, resolve_metric
from siamkit.evaluation.measures import DEFAULT_OBJECTIVE, MEASURES, Group, groups_of
from siamkit.io.targets import is_graded
from siamkit.io.values import as_array, as_vectors, positive_int
from siamkit.plotting import ReferenceLine, SizePoint, measure_axis, size_plot
from siamkit.stats.results import front

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_KINDS = {"labels": "labeled items", "pairs": "pairs", "scores": "graded pairs"}


@dataclass(frozen=True)
class Size:
    """An embedding at one size, and its quality.

    Args:
        how: the method: `whole`, `truncated`, `pca`, `float16`, `int8`, `binary`, or `retrained`.
        dim: the number of remaining dimensions.
        bytes_per_vector: number of bytes to store one vector.
        measures: values of measures, by name.
        pareto_optimal: whether no embedding of at most this size is better in the first measure.
    """

    how: str
    dim: int
    bytes_per_vector: float
    measures: dict[str, float]
    pareto_optimal: bool = False


@dataclass(frozen=True)
class SizeCurve(Sequence[Size]):
    """Several sizes of an embedding, the largest first, with those on the Pareto front marked.

    Args:
        sizes: the sizes, in any order.

    Example:
        >>> from siamkit.stats import Size, SizeCurve
        >>> whole, half = Size("whole", 8, 32, {"map_at_r": 0.5}), Size("pca", 4, 16, {"map_at_r": 0.6})
        >>> [(size.how, size.pareto_optimal) for size in SizeCurve((half, whole))]
        [('whole', False), ('pca', True)]
    """

    sizes: tuple[Size, ...]

    def __post_init__(self) -> None:
        ordered = sorted(self.sizes, key=lambda size: -size.bytes_per_vector)
        name = next(iter(ordered[0].measures))
        direction = MEASURES[name].direction or "maximize"
        values = [[size.measures[name], size.bytes_per_vector] for size in ordered]
        optimal = set(front(values, [direction, "minimize"]))
        marked = tuple(replace(size, pareto_optimal=row in optimal) for row, size in enumerate(ordered))
        object.__setattr__(self, "sizes", marked)

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, index: int) -> Size: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Size, ...]: ...

    def __getitem__(self, index: int | slice) -> Size | tuple[Size, ...]:
        return self.sizes[index]

    @property
    def measure(self) -> str:
        """The name of the first measure, which decides about the Pareto front."""
        return next(iter(self.sizes[0].measures))

    def with_sizes(self, others: Iterable[Size]) -> SizeCurve:
        """Return a curve with further sizes added, such as those of `siamkit.comparison.retrained_sizes`."""
        return SizeCurve((*self.sizes, *others))

    def to_frame(self) -> pd.DataFrame:
        """Return a pandas table with one row for each size."""
        import pandas as pd  # late: slow to import

        return pd.DataFrame(
            {"how": size.how, "dim": size.dim, "bytes_per_vector": size.bytes_per_vector}
            | size.measures
            | {"pareto_optimal": size.pareto_optimal}
            for size in self.sizes
        )

    def plot(self, lines: Sequence[ReferenceLine] = ()) -> go.Figure:
        """Return a Plotly figure of the first measure against bytes per vector, with the Pareto front.

        Args:
            lines: lines across the figure, such as the value of a baseline.
        """
        name = self.measure
        better = "lower" if MEASURES[name].direction == "minimize" else "higher"
        points = [
            SizePoint(
                size.how,
                size.bytes_per_vector,
                size.measures[name],
                size.pareto_optimal,
                f"{size.how}, {size.dim} dimensions",
            )
            for size in self.sizes
        ]
        figure = size_plot(points, f"{name} ({better} is better)")
        if MEASURES[name].has_zero:
            measure_axis(figure, "y", lines)
        return figure


def size_curve(
    embeddings: ArrayLike,
    labels: ArrayLike,
    metric: str | Metric = "cosine",
    *,
    dims: Iterable[int] = (),
    measures: Iterable[str] = (),
    fit: ArrayLike | None = None,
) -> SizeCurve:
    """Return the quality of embeddings at several sizes, all derived from the given embedding.

    - truncated: the first numbers of each vector, which Matryoshka losses train for (Kusupati et al. 2022,
      https://arxiv.org/abs/2205.13147); for other embeddings it shows how little information the first
      dimensions contain;
    - pca: rotated so that the directions of most variance come first, then truncated;
    - float16: rounded to half precision;
    - int8: each number rounded to one of 255 steps between the extremes of its dimension in `fit`;
    - binary: the sign of each number minus its mean in `fit`, compared by cosine (equivalent to the Hamming
      distance) under any metric.

    To retrain at other sizes, run a study with `embedding_dim` under `search`, and add
    `siamkit.comparison.retrained_sizes`.

    Args:
        embeddings: `(n, dim)`, or for pairs `(n, 2, dim)`.
        labels: `(n,)`, classes; for pairs 1 (alike) or 0 (not alike), or scores.
        metric: a metric that takes vectors of any length, or its name.
        dims: the sizes to cut to; by default the powers of two below `dim`.
        measures: names of the measures; the first decides about the Pareto front. By default the default
            objective of a study: `map_at_r`, `roc_auc` or `spearman`.
        fit: `(m, dim)` embeddings to fit directions, steps and means to. Use training items, or the measures
            are too optimistic. By default the embeddings themselves.

    Returns:
        One size for each method and dimension, the largest first.

    Raises:
        DataError: a size is impossible, a measure does not fit the data, or the metric has weights of one
            vector length.

    Example:
        >>> import numpy as np
        >>> from siamkit.stats import size_curve
        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat(np.arange(20), 6)
        >>> rows = rng.normal(size=(20, 8))[labels] + rng.normal(0, 0.1, (120, 8))
        >>> curve = size_curve(rows, labels, dims=[4])
        >>> [(size.how, size.bytes_per_vector) for size in curve]
        [('whole', 32), ('float16', 16), ('truncated', 16), ('pca', 16), ('int8', 8), ('binary', 1.0)]
    """
    array = as_array(embeddings)
    items = as_vectors(array, 3 if array.ndim == 3 else 2, least=2)
    rows = items.reshape(-1, items.shape[-1])
    fitted = rows if fit is None else as_vectors(fit, 2, name="fit")
    if fitted.shape[1] != rows.shape[1]:
        raise DataError(f"fit should have the dim of the embeddings, {rows.shape[1]}, got {fitted.shape[1]}")
    kind = "labels"
    if items.ndim == 3:
        kind = "scores" if is_graded(labels, name="labels of pairs") else "pairs"
    names = tuple(measures) or (DEFAULT_OBJECTIVE[kind],)
    for name in names:
        if name not in MEASURES or kind not in MEASURES[name].supervisions or MEASURES[name].group == "cost":
            raise DataError(f"measure {name!r} does not exist for embeddings of {_KINDS[kind]}")
    whole = rows.shape[1]
    cuts = sorted({positive_int(dim, name="each of dims") for dim in dims}, reverse=True)
    cuts = cuts or [2**power for power in range(whole.bit_length(), 0, -1) if 2**power < whole]
    if cuts and cuts[0] > whole:
        raise DataError(f"each of dims should be at most {whole}, the dim of the embeddings, got {cuts[0]}")
    resolved = resolve_metric(metric)
    if getattr(resolved, "weights", ()):
        raise DataError(
            f"the metric {type(resolved).__name__} has weights for vectors of {whole} numbers and cannot "
            "compare shorter ones; use another metric, such as euclidean"
        )
    groups: frozenset[Group] = groups_of(names)
    sizes = []
    for how, dim, size, smaller in _smaller(rows, fitted, cuts):
        compared = Cosine() if how == "binary" else resolved
        values = examine(smaller.reshape(*items.shape[:-1], -1), labels, compared, groups=groups).measures
        if how == "whole" and not np.isfinite(values[names[0]]):
            raise DataError(f"{names[0]} is undefined for these {_KINDS[kind]}, so sizes cannot be compared")
        sizes.append(Size(how, dim, size, {name: float(values[name]) for name in names}))
    return SizeCurve(tuple(sizes))


def _smaller(
    rows: NDArray[np.float32], fitted: NDArray[np.float32], dims: list[int]
) -> Iterator[tuple[str, int, float, NDArray[np.float32]]]:
    """Yield the method, dimensions, bytes, and the vectors restored from that storage."""
    whole = rows.shape[1]
    yield "whole", whole, 4 * whole, rows
    most = np.finfo(np.float16).max  # larger numbers would become infinite
    yield "float16", whole, 2 * whole, np.clip(rows, -most, most).astype(np.float16).astype(np.float32)
    mean = fitted.mean(axis=0, dtype=np.float64)
    centered = fitted - mean
    # The directions of most variance: eigenvectors of a dim x dim matrix, whatever the number of items.
    directions = np.linalg.eigh(centered.T @ centered)[1][:, ::-1]
    for dim in dims:
        yield "truncated", dim, 4 * dim, np.ascontiguousarray(rows[:, :dim])
        yield "pca", dim, 4 * dim, ((rows - mean) @ directions[:, :dim]).astype(np.float32)
    low, high = fitted.min(axis=0), fitted.max(axis=0)
    step = np.where(high > low, (high - low) / 254, 1)
    codes = np.clip(np.rint((rows - low) / step), 0, 254)
    yield "int8", whole, whole, (low + codes * step).astype(np.float32)
    yield "binary", whole, whole / 8, np.where(rows > mean, 1, -1).astype(np.float32)
