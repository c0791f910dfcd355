"""Encoders for vectors of numbers."""

from __future__ import annotations

import keras

from siamkit.encoders.common import finish
from siamkit.errors import ComponentError


def mlp(
    *,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    normalize: bool = True,
    depth: int = 2,
    width: int = 128,
    dropout: float = 0.0,
) -> keras.Model:
    """A multilayer perceptron: `depth` ReLU layers of `width` units, then the projection.

    Args:
        input_shape: of one item; anything but a vector is flattened.
        embedding_dim: numbers in an embedding.
        normalize: end in unit length.
        depth: hidden layers.
        width: units a layer.
        dropout: share of units dropped in training.

    Returns:
        A `keras.Model`, `(batch, *input_shape)` -> `(batch, embedding_dim)`.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder("mlp", input_shape=(10,), embedding_dim=4).output_shape
        (None, 4)
    """
    if not input_shape or any(size is None or size < 1 for size in input_shape):
        raise ComponentError(f"mlp takes items of a fixed shape, got input_shape={tuple(input_shape)}")
    inputs = keras.Input(tuple(input_shape))
    x = keras.layers.Flatten()(inputs) if len(input_shape) > 1 else inputs
    for _ in range(depth):
        x = keras.layers.Dense(width, activation="relu", kernel_initializer="he_normal")(x)
        if dropout:
            x = keras.layers.Dropout(dropout)(x)
    return finish(inputs, x, embedding_dim, normalize, "mlp")
