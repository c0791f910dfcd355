"""Encoders for images."""

from __future__ import annotations

import keras

from siamkit.encoders.common import finish, of_rank

SMALLEST = 4  # a feature map narrower than twice this is not pooled any further


def cnn(
    *,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    normalize: bool = True,
    depth: int = 3,
    filters: int = 32,
    dropout: float = 0.0,
) -> keras.Model:
    """A plain convolutional network: `depth` blocks of convolution, pooling, normalisation and ReLU.

    The number of filters doubles with each block. Layer normalisation, not batch normalisation: an
    embedding must not depend on what else is in the batch. The last feature map is averaged and
    maximised over its places.

    Args:
        input_shape: `(height, width, channels)`.
        embedding_dim: numbers in an embedding.
        normalize: end in unit length.
        depth: blocks.
        filters: of the first block.
        dropout: share of features dropped in training, before the projection.

    Returns:
        A `keras.Model`, `(batch, height, width, channels)` -> `(batch, embedding_dim)`.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder("cnn", input_shape=(28, 28, 1), embedding_dim=16).output_shape
        (None, 16)
    """
    shape = of_rank(input_shape, 3, "cnn", "(height, width, channels)")
    inputs = x = keras.Input(shape)
    for block in range(depth):
        x = keras.layers.Conv2D(
            filters * 2**block,
            3,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            data_format="channels_last",
        )(x)
        # Pooled before it is normalised: a quarter of the work, and ReLU does not mind the order.
        if min(x.shape[1:3]) >= 2 * SMALLEST:
            x = keras.layers.MaxPooling2D(2, data_format="channels_last")(x)
        x = keras.layers.LayerNormalization()(x)
        x = keras.layers.ReLU()(x)
    average = keras.layers.GlobalAveragePooling2D(data_format="channels_last")(x)
    # Not GlobalMaxPooling2D: on JAX its gradient divides by how many places equal the maximum, and where
    # XLA computes the places twice, rounded differently, none does and the gradient is NaN (seen).
    maximum = keras.layers.MaxPooling2D(x.shape[1:3], data_format="channels_last")(x)
    x = keras.layers.Concatenate()([average, keras.layers.Flatten()(maximum)])
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    return finish(inputs, x, embedding_dim, normalize, "cnn")
