"""Encoders for vectors, and for the columns of a table: numbers, which may be missing, and categories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from siamkit.encoders.base import attention_layer, finish
from siamkit.errors import ComponentError
from siamkit.metrics.base import Tensor

MAX_FITTED = 5000  # training items on which a start is fitted
MAX_LDA_INPUTS = 256  # principal components that discriminants are made of
SCALE_OF_THE_REST = 0.1  # of dimensions beyond the discriminants


def mlp(
    *,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    normalize: bool = True,
    depth: int = 2,
    width: int = 128,
    dropout: float = 0.0,
) -> keras.Model:
    """Return a multilayer perceptron: `depth` ReLU layers of `width` units, then the projection.

    Args:
        input_shape: shape of one item; anything but a vector is flattened.
        embedding_dim: number of dimensions of an embedding.
        normalize: whether to scale embeddings to unit length.
        depth: number of hidden layers.
        width: units per layer.
        dropout: fraction of units dropped in training.

    Returns:
        A `keras.Model`, `(batch, *input_shape)` -> `(batch, embedding_dim)`.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder("mlp", input_shape=(10,), embedding_dim=4).output_shape
        (None, 4)
    """
    inputs, x = _flattened(input_shape, "mlp")
    for _ in range(depth):
        x = keras.layers.Dense(width, activation="relu", kernel_initializer="he_normal")(x)
        if dropout:
            x = keras.layers.Dropout(dropout)(x)
    return finish(inputs, x, embedding_dim, normalize, "mlp")


def linear(*, input_shape: tuple[int, ...], embedding_dim: int, normalize: bool = True) -> keras.Model:
    """Return one dense layer, W x + b: the plainest encoder, and as quick as one can be.

    Args:
        input_shape: shape of one item; anything but a vector is flattened.
        embedding_dim: number of dimensions of an embedding.
        normalize: whether to scale embeddings to unit length.

    Returns:
        A `keras.Model`, `(batch, *input_shape)` -> `(batch, embedding_dim)`.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder("linear", input_shape=(10,), embedding_dim=4).output_shape
        (None, 4)
    """
    inputs, x = _flattened(input_shape, "linear")
    return finish(inputs, x, embedding_dim, normalize, "linear")


def linear_pca(
    *,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    training_items: Any,
    normalize: bool = True,
    center: bool = True,
) -> keras.Model:
    """Return one dense layer that starts as the principal components of the training items, W (x - mean).

    So learning starts at the embeddings of PCA and not at random ones. Dimensions beyond the number of
    components start at 0. More than 5,000 training items are sampled.

    Without the mean it starts as W x of the singular vectors, which keep the cosine similarities of the items
    themselves, as on images with a dark background.

    Args:
        input_shape: shape of one item; anything but a vector is flattened.
        embedding_dim: number of dimensions of an embedding.
        training_items: prepared training items, `(n, *input_shape)`.
        normalize: whether to scale embeddings to unit length.
        center: whether the mean of the training items is subtracted.

    Returns:
        A `keras.Model`, `(batch, *input_shape)` -> `(batch, embedding_dim)`.

    Raises:
        ComponentError: training items of another shape, or that are all the same.

    Reference: Pearson 1901; Hotelling 1933.

    Example:
        >>> import numpy as np, siamkit
        >>> x = np.random.default_rng(0).normal(size=(50, 10))
        >>> siamkit.get_encoder(
        ...     "linear_pca", input_shape=(10,), embedding_dim=4, training_items=x).output_shape
        (None, 4)
    """
    inputs, x = _flattened(input_shape, "linear_pca")
    items = fitted_items(training_items, input_shape, "linear_pca")
    kernel, mean, _ = principal_components(items, embedding_dim, center)
    encoder = finish(inputs, x, embedding_dim, normalize, "linear_pca")
    encoder.get_layer("projection").set_weights([kernel, -mean @ kernel])
    return encoder


def linear_lda(
    *,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    training_items: Any,
    training_labels: Any,
    normalize: bool = True,
) -> keras.Model:
    """Return one dense layer that starts as the linear discriminants of the training classes, W (x - mean).

    The discriminants are those of the first 256 principal components, with the covariance in classes shrunk
    (Ledoit, Wolf 2004). k classes have k - 1 of them, each with the deviation 1 within classes. Further
    dimensions start as principal components with the deviation 0.1. Then all are scaled by one factor, so
    that the weights of discriminants have a median length of 1. More than 5,000 training items are sampled.

    Args:
        input_shape: shape of one item; anything but a vector is flattened.
        embedding_dim: number of dimensions of an embedding.
        training_items: prepared training items, `(n, *input_shape)`.
        training_labels: `(n,)` the class of each training item as an integer, -1 for an unknown class.
        normalize: whether to scale embeddings to unit length.

    Returns:
        A `keras.Model`, `(batch, *input_shape)` -> `(batch, embedding_dim)`.

    Raises:
        ComponentError: training items of another shape, another number of labels, fewer than two classes of
            two items, or items that do not differ within their class.

    Reference: Fisher 1936; Rao 1948.

    Example:
        >>> import numpy as np, siamkit
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.normal(size=(50, 10)), rng.integers(0, 3, 50)
        >>> siamkit.get_encoder(
        ...     "linear_lda", input_shape=(10,), embedding_dim=4, training_items=x, training_labels=y
        ... ).output_shape
        (None, 4)
    """
    inputs, x = _flattened(input_shape, "linear_lda")
    items, labels = np.asarray(training_items), np.asarray(training_labels)
    if labels.shape != items.shape[:1]:
        raise ComponentError(f"linear_lda needs a label for each of {len(items)} items, got {labels.shape}")
    classes, sizes = np.unique(labels[labels >= 0], return_counts=True)
    rows = _sample(np.flatnonzero(np.isin(labels, classes[sizes > 1])))
    if len(np.unique(labels[rows])) < 2:
        raise ComponentError("linear_lda needs training_labels with two classes of two items or more")
    count = max(embedding_dim, MAX_LDA_INPUTS)
    axes, mean, deviation = principal_components(fitted_items(items, input_shape, "linear_lda"), count)
    flat = items[rows].reshape(len(rows), -1).astype("float32")
    real = deviation > 1e-6 * deviation[0]
    axes, deviation = axes[:, real], deviation[real]
    basis = axes[:, :MAX_LDA_INPUTS]
    directions = basis @ _discriminants((flat - mean) @ basis, labels[rows])
    columns = np.concatenate([directions, SCALE_OF_THE_REST * axes / deviation], axis=1)[:, :embedding_dim]
    # A unit embedding does not depend on the length of these vectors, but how quickly they learn does.
    columns = columns / np.median(np.linalg.norm(directions, axis=0))
    kernel = np.pad(columns, ((0, 0), (0, embedding_dim - columns.shape[1])))
    encoder = finish(inputs, x, embedding_dim, normalize, "linear_lda")
    encoder.get_layer("projection").set_weights([kernel, -mean @ kernel])
    return encoder


def _discriminants(items: NDArray[np.float32], labels: NDArray[Any]) -> NDArray[np.float32]:
    """Return the linear discriminants of items `(n, dim)`, `(dim, classes - 1)`."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    try:
        fitted = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(items, labels)
    except np.linalg.LinAlgError as error:
        raise ComponentError("linear_lda needs training_items that differ within their class") from error
    return np.asarray(fitted.scalings_[:, : len(fitted.classes_) - 1], "float32")


def fitted_items(training_items: Any, input_shape: tuple[int, ...], name: str) -> NDArray[np.float32]:
    """Return the training items on which a start is fitted: all, or 5,000 random ones.

    Args:
        training_items: prepared items, `(n, *input_shape)`.
        input_shape: shape of one item.
        name: the encoder, for messages.

    Raises:
        ComponentError: training items of another shape, or that are all the same.
    """
    items = np.asarray(training_items)
    if items.shape[1:] != tuple(input_shape) or not len(items):
        raise ComponentError(f"{name} needs training_items of shape {('n', *input_shape)}, got {items.shape}")
    sample: NDArray[np.float32] = items[_sample(np.arange(len(items)))].astype("float32")
    if not np.ptp(sample, axis=0).any():
        raise ComponentError(f"{name} needs training_items that differ")
    return sample


def principal_components(
    items: NDArray[np.float32], count: int, center: bool = True
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return axes `(size, count)`, mean `(size,)` and deviations `(count,)` of flattened items.

    Axes beyond the number of components are 0.

    Args:
        items: `(n, …)`.
        count: number of axes.
        center: whether the mean is subtracted; else it is 0, and axes are the right singular vectors.
    """
    from sklearn.decomposition import PCA, TruncatedSVD

    flat = items.reshape(len(items), -1)
    found = min(count, *flat.shape)
    axes, deviation = np.zeros((flat.shape[1], count), "float32"), np.zeros(count, "float32")
    if center:
        pca = PCA(found, random_state=0).fit(flat)
        mean, deviation[:found] = pca.mean_, np.sqrt(pca.explained_variance_)
        axes[:, :found] = pca.components_.T
    else:
        mean = np.zeros(flat.shape[1], "float32")
        if flat.shape[1] == 1:  # TruncatedSVD needs two features
            axes[0, 0], deviation[0] = 1.0, np.sqrt(np.mean(flat**2))
        else:
            svd = TruncatedSVD(found, random_state=0).fit(flat)
            axes[:, :found] = svd.components_.T
            deviation[:found] = svd.singular_values_ / len(flat) ** 0.5
    return axes, mean, deviation


def _sample(rows: NDArray[Any]) -> NDArray[Any]:
    """Return these rows, or `MAX_FITTED` random ones of them, always the same."""
    if len(rows) <= MAX_FITTED:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, MAX_FITTED, replace=False))


def _flattened(input_shape: tuple[int, ...], name: str) -> tuple[Tensor, Tensor]:
    """Return the input of an encoder of items of any shape, and the items as vectors."""
    if not input_shape or any(size is None or size < 1 for size in input_shape):
        raise ComponentError(f"{name} takes items of a fixed shape, got input_shape={tuple(input_shape)}")
    inputs = keras.Input(tuple(input_shape))
    return inputs, keras.layers.Flatten()(inputs) if len(input_shape) > 1 else inputs


Shape = tuple[int, ...] | Mapping[str, tuple[int, ...]]
KEYS = ("numeric", "missing", "categorical")


def tabular(
    *,
    input_shape: Shape,
    embedding_dim: int,
    columns: Mapping[str, Any] | None = None,
    normalize: bool = True,
    category_dim: int = 8,
    depth: int = 2,
    width: int = 128,
    dropout: float = 0.0,
    shortcut: bool = True,
) -> keras.Model:
    """Return a multilayer perceptron over embedded categories, numbers, and flags of missing numbers.

    h₀ = [x₁, …, x_k, missing₁, …, missing_k, E₁[c₁], …, E_c[c_c]], each column with a table E of its own;
    then `depth` ReLU layers and the projection, to which a linear shortcut adds V h₀. The projection starts
    at a tenth, so that training starts with an almost linear encoder.

    Args:
        input_shape: shape of one row, `{"numeric": (k,), "missing": (k,), "categorical": (c,)}` without the
            keys that have no columns; or `(k,)`, for numbers only, none of them missing.
        embedding_dim: number of dimensions of an embedding.
        columns: the columns according to a table's preprocessor,
            `{"numeric": names, "categorical": {name: codes}}`; may be None without categorical columns.
        normalize: whether to scale embeddings to unit length.
        category_dim: number of dimensions of a category's embedding.
        depth: number of hidden layers.
        width: units per layer.
        dropout: fraction of units dropped in training.
        shortcut: whether to add a linear function of h₀ to the projection.

    Returns:
        A `keras.Model`, a dict of `(batch, ·)` (or an array) -> `(batch, embedding_dim)`.

    Raises:
        ComponentError: the shapes do not describe a table, or do not fit the columns.

    Reference: Guo, Berkhahn 2016 (entity embeddings).

    Example:
        >>> import siamkit
        >>> columns = {"numeric": ["price"], "categorical": {"color": 5}}
        >>> shape = {"numeric": (1,), "missing": (1,), "categorical": (1,)}
        >>> siamkit.get_encoder("tabular", input_shape=shape, embedding_dim=4, columns=columns).output_shape
        (None, 4)
    """
    inputs, parts, codes = _inputs(input_shape, columns, "tabular")
    features = [part for part in (parts.get("numeric"), parts.get("missing")) if part is not None]
    if codes is not None:
        features.append(keras.layers.Flatten()(_embedded(codes, category_dim)))
    x = start = keras.layers.Concatenate()(features) if len(features) > 1 else features[0]
    for _ in range(depth):
        x = keras.layers.Dense(width, activation="relu", kernel_initializer="he_normal")(x)
        if dropout:
            x = keras.layers.Dropout(dropout)(x)
    linear_path = start if shortcut and depth else None
    return finish(inputs, x, embedding_dim, normalize, "tabular", shortcut=linear_path)


def ft_transformer(
    *,
    input_shape: Shape,
    embedding_dim: int,
    columns: Mapping[str, Any] | None = None,
    normalize: bool = True,
    depth: int = 3,
    token_dim: int = 64,
    heads: int = 8,
    dropout: float = 0.0,
) -> keras.Model:
    """Return a transformer over columns, each of them a token; the embedding comes from a further token.

    A number x becomes x w_j + b_j, or an embedding m_j if it is missing; a category c becomes E_j[c]. A
    learned token [CLS] comes first. Each block is x + attention(norm(x)), then x + W₂(W₁ᵃ norm(x) · relu(W₁ᵇ
    norm(x))) with 4/3 token_dim hidden units; the first attention has no norm before it, as in the paper. The
    embedding is projected from relu(norm([CLS])). A category has no bias, because its embedding could absorb
    it, and dropout is the same in attention and in hidden units.

    Args:
        input_shape: shape of one row, as for `tabular`.
        embedding_dim: number of dimensions of an embedding.
        columns: the columns, as for `tabular`.
        normalize: whether to scale embeddings to unit length.
        depth: number of blocks.
        token_dim: number of dimensions of a token.
        heads: number of attention heads, each of token_dim / heads dimensions, rounded up.
        dropout: fraction of attention weights and of hidden units dropped in training.

    Returns:
        A `keras.Model`, a dict of `(batch, ·)` (or an array) -> `(batch, embedding_dim)`.

    Raises:
        ComponentError: the shapes do not describe a table, or do not fit the columns.

    Reference: Gorishniy, Rubachev, Khrulkov, Babenko 2021 (Revisiting Deep Learning Models for Tabular Data).

    Example:
        >>> import siamkit
        >>> encoder = siamkit.get_encoder("ft_transformer", input_shape=(5,), embedding_dim=4, columns=None)
        >>> encoder.output_shape
        (None, 4)
    """
    inputs, parts, codes = _inputs(input_shape, columns, "ft_transformer")
    layers, start = keras.layers, keras.initializers.RandomUniform(-(token_dim**-0.5), token_dim**-0.5)
    first = next(iter(parts.values()))
    # [CLS] is the one row of a table that every item looks up.
    cls = layers.Embedding(1, token_dim, embeddings_initializer=start.clone(), name="cls")
    tokens = [cls(ops.zeros_like(first[:, :1], dtype="int32"))]
    if "numeric" in parts:
        tokens.append(_weighted(parts["numeric"], token_dim, start, "numeric_tokens"))
        if "missing" in parts:
            # A missing number is 0, of which b_j is left; so this makes it b_j + w'_j, free to be anything.
            absent = _weighted(parts["missing"], token_dim, start, "missing_tokens", bias=False)
            tokens[-1] = layers.Add()([tokens[-1], absent])
    if codes is not None:
        tokens.append(_embedded(codes, token_dim, start.clone()))
    x = layers.Concatenate(axis=1)(tokens)
    hidden = max(1, token_dim * 4 // 3)
    for block in range(depth):
        y = layers.LayerNormalization()(x) if block else x
        attention = attention_layer(heads, -(-token_dim // heads), dropout=dropout)
        x = layers.Add()([x, attention(y, y)])
        y = layers.LayerNormalization()(x)
        y = layers.Multiply()([layers.Dense(hidden)(y), layers.Dense(hidden, activation="relu")(y)])
        if dropout:
            y = layers.Dropout(dropout)(y)
        x = layers.Add()([x, layers.Dense(token_dim)(y)])
    x = layers.ReLU()(layers.LayerNormalization()(x[:, 0]))
    return finish(inputs, x, embedding_dim, normalize, "ft_transformer")


def _weighted(x: Tensor, dim: int, start: Any, name: str, bias: bool = True) -> Tensor:
    """`(batch, k)` -> `(batch, k, dim)`: x_j w_j + b_j, each column with weights of its own."""
    layer = keras.layers.EinsumDense(
        "bk,kd->bkd",
        (x.shape[1], dim),
        bias_axes="kd" if bias else None,
        kernel_initializer=start.clone(),
        bias_initializer=start.clone() if bias else "zeros",
        name=name,
    )
    return layer(x)


def _embedded(codes: tuple[Tensor, list[int]], dim: int, start: Any = "uniform") -> Tensor:
    """`(batch, c)` codes -> `(batch, c, dim)`; one table holds those of all columns, one after the other."""
    x, cardinalities = codes
    starts = np.cumsum([0, *cardinalities[:-1]]).astype("int32")
    table = keras.layers.Embedding(
        sum(cardinalities), dim, embeddings_initializer=start, name="category_tokens"
    )
    return table(ops.add(x, starts))


def _inputs(
    input_shape: Shape, columns: Mapping[str, Any] | None, name: str
) -> tuple[Any, dict[str, Tensor], tuple[Tensor, list[int]] | None]:
    """Return the inputs as the model takes them, by key, and the codes with each column's number of codes."""
    shapes = dict(input_shape) if isinstance(input_shape, Mapping) else {"numeric": tuple(input_shape)}
    valid = bool(shapes) and all(
        key in KEYS and len(shape) == 1 and isinstance(shape[0], int) and shape[0] > 0
        for key, shape in shapes.items()
    )
    if not valid or shapes.get("missing", shapes.get("numeric")) != shapes.get("numeric"):
        raise ComponentError(
            f"{name} takes rows of shape (k,), or of shapes {{'numeric': (k,), 'missing': (k,), "
            f"'categorical': (c,)}}, got input_shape={input_shape}"
        )
    cardinalities = [int(count) for count in (columns or {}).get("categorical", {}).values()]
    expected = shapes.get("categorical", (0,))[0]
    if len(cardinalities) != expected:
        raise ComponentError(
            f"{name} needs the number of codes of each of {expected} categorical columns, got "
            f"columns={columns!r:.80}"
        )
    parts = {
        key: keras.Input(shape, dtype="int32" if key == "categorical" else None, name=key)
        for key, shape in shapes.items()
    }
    inputs = parts if isinstance(input_shape, Mapping) else parts["numeric"]
    codes = (parts["categorical"], cardinalities) if "categorical" in parts else None
    return inputs, parts, codes
