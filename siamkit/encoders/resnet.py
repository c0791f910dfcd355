"""The residual network, for small images."""

from __future__ import annotations

import keras

from siamkit.encoders.common import finish, of_rank
from siamkit.encoders.image import SMALLEST
from siamkit.metrics.base import Tensor


def resnet(
    *,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    normalize: bool = True,
    depth: int = 3,
    blocks: int = 1,
    filters: int = 16,
    dropout: float = 0.0,
) -> keras.Model:
    """A residual network of pre-activation blocks, `x + conv(relu(norm(conv(relu(norm(x))))))`.

    There are `depth` stages; each after the first halves the image and doubles the filters. Layer
    normalisation takes the place of batch normalisation: an embedding must not depend on what else is
    in the batch. The last feature map is averaged over its places.

    Args:
        input_shape: `(height, width, channels)`.
        embedding_dim: numbers in an embedding.
        normalize: end in unit length.
        depth: stages.
        blocks: residual blocks a stage.
        filters: of the first stage.
        dropout: share of features dropped in training, before the projection.

    Returns:
        A `keras.Model`, `(batch, height, width, channels)` -> `(batch, embedding_dim)`.

    Reference: He et al. 2016, Identity mappings in deep residual networks.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder("resnet", input_shape=(28, 28, 1), embedding_dim=16).output_shape
        (None, 16)
    """
    shape = of_rank(input_shape, 3, "resnet", "(height, width, channels)")
    inputs = keras.Input(shape)
    x = _convolution(inputs, filters)
    for stage in range(depth):
        for block in range(blocks):
            halve = stage > 0 and block == 0 and min(x.shape[1:3]) >= 2 * SMALLEST
            x = _residual(x, filters * 2**stage, strides=2 if halve else 1)
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_last")(_activated(x))
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    return finish(inputs, x, embedding_dim, normalize, "resnet")


def _residual(x: Tensor, filters: int, strides: int) -> Tensor:
    same = strides == 1 and x.shape[-1] == filters
    shortcut = x if same else _convolution(x, filters, 1, strides)
    x = _convolution(_activated(x), filters, strides=strides)
    x = _convolution(_activated(x), filters)
    return keras.layers.Add()([shortcut, x])


def _activated(x: Tensor) -> Tensor:
    return keras.layers.ReLU()(keras.layers.LayerNormalization()(x))


def _convolution(x: Tensor, filters: int, size: int = 3, strides: int = 1) -> Tensor:
    return keras.layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        data_format="channels_last",
    )(x)
