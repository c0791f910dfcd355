"""What encoders share: layers that are safe with padding, zeros and half precision; encoders by name."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops, tree

from siamkit.data.dataset import Leaf
from siamkit.errors import ComponentError, ModelError, listed
from siamkit.io.values import native, rows_not_finite
from siamkit.metrics.base import Tensor, unit
from siamkit.registry.lookup import get_component


@keras.saving.register_keras_serializable("siamkit")
class RealTokens(keras.layers.Layer):
    """A mask of token ids, `(batch, length)` -> `(batch, length, 1)`: 1 for a token, 0 for padding."""

    def call(self, inputs: Tensor) -> Tensor:
        return ops.cast(ops.expand_dims(ops.not_equal(inputs, 0), -1), self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*input_shape, 1)


@keras.saving.register_keras_serializable("siamkit")
class RealMean(keras.layers.Layer):
    """The mean over real tokens: `(batch, length, dim)` and the output of `RealTokens` -> `(batch, dim)`.

    It is 0 for a text of padding only, not 0/0 as in `GlobalAveragePooling1D`.
    """

    def call(self, inputs: Tensor, real: Tensor) -> Tensor:
        share = real / ops.maximum(ops.sum(real, axis=1, keepdims=True), 1)
        return ops.sum(inputs * share, axis=1)

    def compute_output_shape(
        self, inputs_shape: tuple[int, ...], real_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        return (inputs_shape[0], inputs_shape[2])


@keras.saving.register_keras_serializable("siamkit")
class Positions(keras.layers.Layer):
    """Adds a learned vector to each position of `(batch, length, dim)`."""

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.positions = self.add_weight(
            shape=input_shape[1:], initializer=keras.initializers.TruncatedNormal(stddev=0.02)
        )

    def call(self, inputs: Tensor) -> Tensor:
        return inputs + self.positions

    def flops(self, input_shape: tuple[int, ...]) -> int:
        return 0  # no products

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape


@keras.saving.register_keras_serializable("siamkit")
class LayerScale(keras.layers.Layer):
    """Multiplies each channel by a learned factor that starts small (Touvron et al. 2021).

    Args:
        start: the initial value of the factors.
    """

    def __init__(self, start: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start = start

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.factors = self.add_weight(
            shape=input_shape[-1:], initializer=keras.initializers.Constant(self.start)
        )

    def call(self, inputs: Tensor) -> Tensor:
        return inputs * self.factors

    def flops(self, input_shape: tuple[int, ...]) -> int:
        return 0  # as for the scales of a normalisation

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "start": self.start}


# ------------------------------------------------------------------ blocks


def attend(x: Tensor, heads: int, dropout: float, mask: Tensor | None = None) -> Tensor:
    """Return one pre-norm block: attention among the positions, then two dense layers at each, both residual.

    Args:
        x: `(batch, positions, width)`.
        heads: number of attention heads, each of `width // heads` dimensions.
        dropout: fraction of the residuals dropped in training.
        mask: `(batch, 1, positions)`, 0 at positions to ignore; None ignores none.

    Returns:
        `(batch, positions, width)`.

    Reference: Vaswani et al. 2017; Xiong et al. 2020 for normalising first.
    """
    width = x.shape[-1]
    y = keras.layers.LayerNormalization()(x)
    # No biases: softmax cancels that of the keys, so it would never learn.
    attention = attention_layer(heads, max(1, width // heads), use_bias=False)
    x = _add(x, attention(y, y, attention_mask=mask), dropout)
    y = keras.layers.LayerNormalization()(x)
    y = keras.layers.Dense(4 * width, activation="gelu")(y)
    return _add(x, keras.layers.Dense(width)(y), dropout)


def attention_layer(heads: int, size: int, **options: Any) -> keras.layers.Layer:
    """Return multi-head attention in the dtype policy, but in float32 under float16.

    float16 is too narrow for the logits, and JAX has no attention in it on a CPU (seen).
    """
    narrow = keras.config.dtype_policy().compute_dtype == "float16"
    return keras.layers.MultiHeadAttention(heads, size, dtype="float32" if narrow else None, **options)


def _add(x: Tensor, y: Tensor, dropout: float) -> Tensor:
    return keras.layers.Add()([x, keras.layers.Dropout(dropout)(y) if dropout else y])


# ------------------------------------------------------------------ first and last layers


@keras.saving.register_keras_serializable("siamkit")
class UnitNormalization(keras.layers.Layer):
    """Scales each embedding to length 1, in float32 whatever the dtype policy; zero stays zero."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, inputs: Tensor) -> Tensor:
        return unit(inputs)

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape


def finish(
    inputs: Tensor,
    features: Tensor,
    embedding_dim: int,
    normalize: bool,
    name: str,
    shortcut: Tensor | None = None,
) -> keras.Model:
    """Return the encoder from its inputs and last features `(batch, n)`: a projection, then unit length.

    Args:
        inputs: the encoder's inputs.
        features: its last features.
        embedding_dim: number of dimensions of an embedding.
        normalize: whether to scale embeddings to unit length.
        name: the name of the model.
        shortcut: earlier features `(batch, m)` of which a linear function is added to the projection. The
            projection then starts at a tenth: the encoder is almost linear at first.
    """
    if embedding_dim < 1:
        raise ComponentError(f"embedding_dim should be at least 1, got {embedding_dim!r}")
    scale = 1.0 if shortcut is None else 0.01  # variances
    start = keras.initializers.VarianceScaling(scale, mode="fan_avg", distribution="uniform")
    outputs = keras.layers.Dense(embedding_dim, kernel_initializer=start, name="projection")(features)
    if shortcut is not None:
        linear = keras.layers.Dense(embedding_dim, use_bias=False, name="shortcut")(shortcut)
        outputs = keras.layers.Add()([linear, outputs])
    if normalize:
        outputs = UnitNormalization(name="unit")(outputs)
    return keras.Model(inputs, outputs, name=name)


def of_rank(input_shape: tuple[int, ...], rank: int, name: str, meaning: str) -> tuple[int, ...]:
    """Return the shape of one item, checked."""
    shape = tuple(input_shape)
    if len(shape) != rank or any(size is None or size < 1 for size in shape):
        raise ComponentError(f"{name} takes items of shape {meaning}, got input_shape={shape}")
    return shape


def last_state(x: Tensor, cell: str, units: int, bidirectional: bool, dropout: float) -> Tensor:
    layer = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[cell](units, dropout=dropout)
    return keras.layers.Bidirectional(layer)(x) if bidirectional else layer(x)


# ------------------------------------------------------------------ encoders by name, and their items


def get_encoder(encoder: Any, /, **params: Any) -> keras.Model:
    """Return an encoder by name, or the given encoder itself.

    Args:
        encoder: a name, a mapping `{name: parameters}`, or a `keras.Model` (returned as it is).
        **params: `input_shape` and `embedding_dim`, `normalize` (True by default), the encoder's own
            parameters, and the facts about the data that it needs (`vocabulary_size`, for example).

    Raises:
        ComponentError: no such encoder or parameter, or a value that is not valid.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder("mlp", input_shape=(10,), embedding_dim=4, depth=1).output_shape
        (None, 4)
    """
    return get_component("encoder", encoder, params, keras.Model)


def as_items(encoder: keras.Model, items: Any) -> Leaf:
    """Return n items as the arrays that an encoder takes.

    Args:
        encoder: the encoder.
        items: an array or a tensor `(n, …)`, or a dict of them.

    Raises:
        ModelError: these are not items of this encoder.
    """
    leaf: Leaf = tree.map_structure(lambda array: native(np.asarray(array)), on_host(items))
    for array in tree.flatten(leaf):
        if array.dtype.kind not in "biuf" and "float" not in str(array.dtype):  # bfloat16 is of kind V
            raise ModelError(f"expected items as arrays of numbers, got {array.dtype} {str(items)[:40]!r}")
    check_items(encoder, leaf)
    counts = {len(array) if array.ndim else 0 for array in tree.flatten(leaf)}
    if len(counts) != 1 or counts == {0}:
        raise ModelError(f"expected one view of n items, got arrays of lengths {sorted(counts)}")
    return leaf


def on_host(items: Any) -> Any:
    """Return items with an array for each tensor, also for one that needs gradients or is on a device."""
    return tree.map_structure(lambda leaf: ops.convert_to_numpy(leaf) if ops.is_tensor(leaf) else leaf, items)


def check_items(encoder: keras.Model, items: Any) -> None:
    """Refuse arrays that are not items of an encoder or not finite, and name the probable mistake.

    Args:
        encoder: the encoder; one that is not functional may state no input shape, and is not checked.
        items: an array or a tensor, or a dict of them.
    """
    for array in tree.flatten(items):
        _check_finite(array)
    expected = _input_shape(encoder)
    if isinstance(expected, dict) != isinstance(items, dict) and isinstance(expected, (dict, tuple)):
        takes = f"a dict of {listed(expected)}" if isinstance(expected, dict) else _shown(expected[1:])
        if isinstance(items, dict):
            raise ModelError(
                f"the encoder takes {takes}, got a dict of {listed(items)}; two sides go to fit as a tuple "
                "(a, b), to compare as compare(a, b), and to embed one by one"
            )
        raise ModelError(f"the encoder takes {takes}, got an array {tuple(items.shape)}")
    if not isinstance(expected, tuple):
        return  # Keras names the missing fields of a dict
    item, shape = expected[1:], tuple(items.shape)
    if _fits(shape[1:], item):
        return
    hint = ""
    if _like(shape, item):
        hint = "; this is one item, write x[None]"
    elif len(shape) > 2 and _like(shape[2:], item):
        hint = "; these are stacked views, give fit the tuple (x[:, 0], x[:, 1]), and embed one by one"
    raise ModelError(f"the encoder takes {_shown(item)}, got {shape}{hint}")


def _check_finite(array: Any) -> None:
    """Refuse an array of texts, or with NaN or infinity, which some backends embed like any other."""
    if isinstance(array, np.ndarray) and array.dtype.kind in "USO":
        raise ModelError(
            f"the encoder takes arrays of numbers, got {array.dtype}; model.embed takes raw items, and "
            "model.preprocessor prepares them for fit"
        )
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or not array.ndim:
        return
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(array.sum(dtype=np.float64)):  # needs no second array
            return
    rows = rows_not_finite(array)
    if rows.size:
        raise ModelError(
            f"items should be finite, got NaN or infinity in {rows.size} of {len(array)} items, the first is "
            f"item {rows[0]}"
        )


def _input_shape(encoder: keras.Model) -> Any:
    """Return the shape of an encoder's input, or a dict of shapes; None if it is not functional."""
    try:
        return tree.map_structure(lambda tensor: tuple(tensor.shape), encoder.input)
    except (AttributeError, ValueError):
        return None


def _shown(item: tuple[int | None, ...]) -> str:
    return f"items ({', '.join(['n', *('any' if size is None else str(size) for size in item)])})"


def _fits(shape: tuple[int, ...], item: tuple[int | None, ...]) -> bool:
    """Return whether a functional model takes items of a shape: Keras adds or removes a last axis of 1."""
    return (
        _like(shape, item)
        or (item[-1:] == (1,) and _like(shape, item[:-1]))
        or (shape[-1:] == (1,) and _like(shape[:-1], item))
    )


def _like(shape: tuple[int, ...], item: tuple[int | None, ...]) -> bool:
    """Return whether a shape is that of an item, in which None stands for any size."""
    return len(shape) == len(item) and all(b in (a, None) for a, b in zip(shape, item, strict=True))
