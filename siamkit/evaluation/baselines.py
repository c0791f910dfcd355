"""Baselines: embeddings that need no training, which a trained one has to beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamkit.data.dataset import Dataset, Leaf, length, take
from siamkit.errors import DataError
from siamkit.io.files import read_embeddings_file
from siamkit.io.values import rows_not_finite

MAX_FITTED = 10_000
"""The most training items that a baseline is fitted on."""

MAX_NCA_ITEMS = 1_000
"""The same for neighborhood components, whose time grows with the square, and for the scale of kernels."""

MAX_DIM = 64
"""The most dimensions of projections."""

MAX_SIDE = 32
"""The longest side of an image whose pixels are compared; larger ones are averaged."""

MAX_TERMS = 4_096
"""The most n-grams that are counted, those of the most texts."""

KERNELS, KERNEL = 512, 9  # random kernels of series, and their steps

KERNEL_VALUES = 2**19
"""The most values of a convolution that are in memory at a time; few, so that they are in the cache."""

Vectors = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Items:
    """n items of one view.

    Args:
        raw: the items as read.
        prepared: the same items as an encoder gets them.
        codes: `(n,)` the class of each item as a whole number, if there are labels.
    """

    raw: Leaf
    prepared: Leaf
    codes: NDArray[np.integer[Any]] | None = None

    def sample(self, most: int) -> Items:
        """Return at most this many of the items, always the same ones."""
        count = length(self.prepared)
        if count <= most:
            return self
        rows = np.sort(np.random.default_rng(0).permutation(count)[:most])
        codes = None if self.codes is None else self.codes[rows]
        return Items(take(self.raw, rows), take(self.prepared, rows), codes)


Embed = Callable[[Items], Vectors]
"""Function of n items that returns their embeddings `(n, dim)`."""


@dataclass(frozen=True)
class Baseline:
    """A way to embed items without training a network.

    Args:
        summary: what it is, in a few words.
        inputs: the kinds of input that it is for.
        fit: function of training items that returns the function that embeds items; None if it cannot be
            fitted to them.
        needs_labels: whether it needs the classes of the training items.
    """

    summary: str
    inputs: tuple[str, ...]
    fit: Callable[[Items], Embed | None]
    needs_labels: bool = False


def baselines_for(kind: str, has_labels: bool) -> dict[str, Baseline]:
    """Return the baselines for a kind of input, by name.

    Args:
        kind: the kind of input, one of `siamkit.registry.specs.INPUTS`.
        has_labels: whether the training items have classes.
    """
    return {
        name: baseline
        for name, baseline in BASELINES.items()
        if kind in baseline.inputs and (has_labels or not baseline.needs_labels)
    }


# ------------------------------------------------------------------ the values themselves


def _raw(train: Items) -> Embed:
    vectors = _vectorizer(train)
    return lambda items: vectors(items.prepared)


def _vectorizer(train: Items) -> Callable[[Leaf], Vectors]:
    """Return the function that flattens items; whole numbers in a record are codes, and become one-hot."""
    if not isinstance(train.prepared, dict):
        return lambda leaf: _flat(_smaller(np.asarray(leaf)))
    sizes = {
        name: int(values.max(initial=0)) + 1
        for name, values in train.prepared.items()
        if values.dtype.kind in "iu"
    }

    def of_record(leaf: Leaf) -> Vectors:
        assert isinstance(leaf, dict)
        parts = []
        for name, values in leaf.items():
            if name in sizes:  # a code that training does not have is a row of zeros
                one_hot = np.asarray(values).reshape(len(values), -1, 1) == np.arange(sizes[name])
                parts.append(_flat(one_hot))
            else:
                parts.append(_flat(np.asarray(values)))
        return np.concatenate(parts, axis=1)

    return of_record


def _smaller(array: NDArray[Any]) -> NDArray[Any]:
    """Return images as means over squares, no side longer than `MAX_SIDE`; other items as they are."""
    if array.ndim != 4 or max(array.shape[1:3]) <= MAX_SIDE:
        return array
    size = -(-max(array.shape[1:3]) // MAX_SIDE)
    count, height, width, channels = array.shape
    tall, wide = min(size, height), min(size, width)
    rows, columns = height // tall, width // wide
    cut = array[:, : rows * tall, : columns * wide]
    squares = cut.reshape(count, rows, tall, columns, wide, channels)
    return np.asarray(squares.mean(axis=(2, 4)))


def _flat(array: NDArray[Any]) -> Vectors:
    return np.asarray(array.reshape(len(array), -1), np.float32)


def _znorm(train: Items) -> Embed:
    """z-normalize each feature of each series over its steps, as nearest neighbors of series usually do."""

    def embed(items: Items) -> Vectors:
        series = np.asarray(items.prepared, np.float64)
        centered = series - series.mean(axis=1, keepdims=True)
        return _flat(centered / np.maximum(centered.std(axis=1, keepdims=True), 1e-9))

    return embed


@dataclass(frozen=True)
class Kernels:
    """Random kernels of one dilation: weights `(9, features, count)` of mean 0 over the steps, and biases."""

    dilation: int
    weights: Vectors
    biases: Vectors


def random_kernels(steps: int, features: int) -> list[Kernels]:
    """Return 512 kernels for series of a length, always the same ones, in equal parts for each dilation."""
    rng = np.random.default_rng(0)
    dilations = [2**power for power in range(max(1, ((steps - 1) // (KERNEL - 1)).bit_length()))]
    kernels = []
    for part, dilation in zip(np.array_split(np.arange(KERNELS), len(dilations)), dilations, strict=True):
        weights = rng.normal(size=(KERNEL, features, len(part))) / features**0.5
        biases = rng.uniform(-1, 1, len(part)).astype(np.float32)
        kernels.append(Kernels(dilation, (weights - weights.mean(axis=0)).astype(np.float32), biases))
    return kernels


def _kernels(train: Items) -> Embed:
    """Convolve with random kernels (Dempster et al. 2020, ROCKET): shares of positive steps, and maxima.

    Each is scaled to mean 0 and deviation 1 over the training items.
    """
    train = train.sample(MAX_NCA_ITEMS)
    kernels = random_kernels(*np.asarray(train.prepared).shape[1:])

    def features(items: Items) -> Vectors:
        series = np.asarray(items.prepared, np.float32)
        size = max(1, KERNEL_VALUES // (series.shape[1] * max(KERNEL * series.shape[2], KERNELS)))
        chunks = [series[start : start + size] for start in range(0, len(series), size)]
        return np.concatenate([_convolved(chunk, kernels) for chunk in chunks])

    found = features(train)
    mean, deviation = found.mean(axis=0), np.maximum(found.std(axis=0), 1e-6)
    return lambda items: (features(items) - mean) / deviation


def _convolved(series: Vectors, kernels: Sequence[Kernels]) -> Vectors:
    shares, maxima, steps = [], [], series.shape[1]
    for each in kernels:
        half = each.dilation * (KERNEL // 2)
        padded = np.pad(series, ((0, 0), (half, half), (0, 0)))
        shifted = [padded[:, each.dilation * tap :][:, :steps] for tap in range(KERNEL)]
        weights = each.weights.reshape(-1, each.weights.shape[2])
        values = np.concatenate(shifted, axis=2) @ weights + each.biases
        shares.append(np.count_nonzero(values > 0, axis=1) / steps)
        maxima.append(values.max(axis=1))
    return np.concatenate([*shares, *maxima], axis=1).astype(np.float32)


# ------------------------------------------------------------------ projections, fitted on training items


def _pca(train: Items) -> Embed | None:
    from sklearn.decomposition import PCA  # late: slow to import

    return _projection(train, lambda x, _: PCA(min(MAX_DIM, *x.shape), random_state=0).fit(x))


def _lda(train: Items) -> Embed | None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    def fit(x: Vectors, codes: Any) -> Any:
        dim = min(MAX_DIM, len(np.unique(codes)) - 1, x.shape[1])
        # Shrinkage: there may be fewer items than dimensions.
        return LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto", n_components=dim).fit(x, codes)

    return _projection(train, fit)


def _nca(train: Items) -> Embed | None:
    from sklearn.neighbors import NeighborhoodComponentsAnalysis

    def fit(x: Vectors, codes: Any) -> Any:
        dim = min(MAX_DIM, *x.shape)
        return NeighborhoodComponentsAnalysis(dim, init="pca", max_iter=50, random_state=0).fit(x, codes)

    return _projection(train.sample(MAX_NCA_ITEMS), fit)


def _projection(train: Items, fit: Callable[[Vectors, Any], Any]) -> Embed | None:
    """Return the embedding by a projection of scikit-learn; None of values that are all the same."""
    train = train.sample(MAX_FITTED)
    vectors = _vectorizer(train)
    x = vectors(train.prepared)
    if not x.std(axis=0).any():
        return None
    fitted = fit(x, train.codes)
    return lambda items: np.asarray(fitted.transform(vectors(items.prepared)), np.float32)


# ------------------------------------------------------------------ features of one kind of input


def _tfidf(train: Items) -> Embed | None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    are_tokens = np.asarray(train.raw).dtype.kind in "iu"
    documents = _tokens if are_tokens else _texts
    grams = {"analyzer": _itself} if are_tokens else {"analyzer": "char_wb", "ngram_range": (2, 4)}
    fitted = TfidfVectorizer(**grams, max_features=MAX_TERMS, sublinear_tf=True, dtype=np.float32)
    try:
        fitted.fit(documents(train.sample(MAX_FITTED).raw))
    except ValueError:  # all texts are empty
        return None
    return lambda items: np.asarray(fitted.transform(documents(items.raw)).toarray(), np.float32)


def _itself(tokens: list[int]) -> list[int]:
    return tokens


def _tokens(leaf: Leaf) -> list[list[int]]:
    """Return the token ids of each item without its padding, 0."""
    return [row[row != 0].tolist() for row in np.asarray(leaf)]


def _texts(leaf: Leaf) -> list[str]:
    """Return a text for each item; of a record, its fields one after the other."""
    columns = leaf.values() if isinstance(leaf, dict) else [leaf]
    rows = zip(*(np.asarray(column).tolist() for column in columns), strict=True)
    return [" ".join("" if value is None else str(value) for value in row) for row in rows]


def _hog(train: Items) -> Embed | None:
    """Histograms of oriented gradients (Dalal and Triggs 2005) in 4 to 8 cells a side."""
    from skimage.feature import hog

    height, width = np.asarray(train.prepared).shape[1:3]
    if min(height, width) < 2 * MIN_CELL:
        return None
    cell = tuple(max(MIN_CELL, side // 8) for side in (height, width))

    def embed(items: Items) -> Vectors:
        images = np.asarray(items.prepared, np.float32)
        rows = [hog(image, pixels_per_cell=cell, cells_per_block=(2, 2), channel_axis=-1) for image in images]
        return np.asarray(rows, np.float32)

    return embed


MIN_CELL = 4  # pixels a side

_TEXTS = ("text", "tabular", "tokens")
_NUMBERS = ("vector", "image", "series", "tabular", "records")

BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        "raw": Baseline("the values themselves, scaled as an encoder gets them", _NUMBERS, _raw),
        "pca": Baseline("principal components of the training items", _NUMBERS, _pca),
        "lda": Baseline("linear discriminants of the training classes", ("vector",), _lda, True),
        "nca": Baseline("neighborhood components of the training classes", ("vector",), _nca, True),
        "tfidf": Baseline("TF-IDF of 2 to 4 characters in a row, or of tokens", _TEXTS, _tfidf),
        "znorm": Baseline("series, each scaled to mean 0 and deviation 1", ("series",), _znorm),
        "kernels": Baseline("random convolutions, as in ROCKET", ("series",), _kernels),
        "hog": Baseline("histograms of oriented gradients", ("image",), _hog),
    }
)
"""The baselines by name, but for `UNTRAINED`, which needs the encoders of a study."""

UNTRAINED = "random"
"""The name of the baseline that embeds by the untrained encoders of a search space."""

CHANCE = "chance"
"""The name of the baseline of random vectors, which no study leaves out."""


def random_vectors(items: int, views: int) -> Vectors:
    """Return random vectors, `(items, 64)`, or `(items, views, 64)` of several views."""
    shape = (items, MAX_DIM) if views == 1 else (items, views, MAX_DIM)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


# ------------------------------------------------------------------ embeddings from elsewhere


def read_embeddings(file: Path, data: Dataset) -> Callable[[Sequence[str]], Vectors]:
    """Return the function that gives the embeddings of items by their ids, from a file.

    Args:
        file: a file of embeddings (`siamkit.io.files.read_embeddings_file`). Without ids it has a row for
            each item of the data, in their order.
        data: the data that the embeddings are of; `(n, dim)`, or `(n, 2, dim)` for pairs.

    Raises:
        DataError: the file cannot be read, or is not of these data.
    """
    stored, shown, views = read_embeddings_file(file), repr(str(file)), len(data.views)
    embeddings = stored.embeddings
    if stored.ids is None and len(embeddings) != len(data):
        raise DataError(f"{shown} should have a row for each of {len(data):,} items, got {len(embeddings):,}")
    ids: Sequence[str] = data.ids.tolist() if stored.ids is None else stored.ids
    if embeddings.ndim != (2 if views == 1 else 3):
        words = "(n, dim)" if views == 1 else f"(n, {views}, dim)"
        raise DataError(f"{shown} should hold numbers {words}, got {embeddings.shape}")
    if len(bad := rows_not_finite(embeddings)):
        raise DataError(f"{shown} has NaN or infinity in the embedding of item {ids[bad[0]]!r}")
    rows = {id: row for row, id in enumerate(ids)}
    if len(rows) < len(ids):
        raise DataError(f"some items of {shown} have the same id")

    def embedding_of(wanted: Sequence[str]) -> Vectors:
        missing = [id for id in wanted if id not in rows]
        if missing:
            raise DataError(f"{shown} has no embedding of {len(missing):,} items, such as {missing[0]!r}")
        return embeddings[[rows[id] for id in wanted]]

    return embedding_of
