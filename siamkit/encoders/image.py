"""Encoders for images."""

from __future__ import annotations

import keras

from siamkit.encoders.base import LayerScale, Positions, attend, finish, of_rank
from siamkit.metrics.base import Tensor

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
    """Return a plain convolutional network: `depth` blocks of convolution, pooling, normalisation and ReLU.

    The number of filters doubles with each block. Layer normalisation, not batch normalisation: an
    embedding must not depend on what else is in the batch. The last feature map is averaged and
    maximised over its positions.

    Args:
        input_shape: `(height, width, channels)`.
        embedding_dim: number of dimensions of an embedding.
        normalize: whether to scale embeddings to unit length.
        depth: number of blocks.
        filters: number of filters of the first block.
        dropout: fraction of features dropped in training, before the projection.

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
        # Pooled before normalising: a quarter of the work.
        if min(x.shape[1:3]) >= 2 * SMALLEST:
            x = keras.layers.MaxPooling2D(2, data_format="channels_last")(x)
        x = keras.layers.LayerNormalization()(x)
        x = keras.layers.ReLU()(x)
    average = keras.layers.GlobalAveragePooling2D(data_format="channels_last")(x)
    # Not GlobalMaxPooling2D: on JAX its gradient divides by the number of positions that equal the maximum.
    # Where XLA computes them twice, rounded differently, none does, and the gradient is NaN (seen).
    maximum = keras.layers.MaxPooling2D(x.shape[1:3], data_format="channels_last")(x)
    x = keras.layers.Concatenate()([average, keras.layers.Flatten()(maximum)])
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    return finish(inputs, x, embedding_dim, normalize, "cnn")


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
    """Return a residual network of pre-activation blocks, `x + conv(relu(norm(conv(relu(norm(x))))))`.

    There are `depth` stages; each after the first halves the image and doubles the filters. Layer
    normalisation takes the place of batch normalisation: an embedding must not depend on what else is
    in the batch. The last feature map is averaged over its positions.

    Args:
        input_shape: `(height, width, channels)`.
        embedding_dim: number of dimensions of an embedding.
        normalize: whether to scale embeddings to unit length.
        depth: number of stages.
        blocks: number of residual blocks per stage.
        filters: number of filters of the first stage.
        dropout: fraction of features dropped in training, before the projection.

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


def convnext(
    *,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    normalize: bool = True,
    depth: int = 2,
    blocks: int = 2,
    filters: int = 32,
    kernel: int = 5,
    dropout: float = 0.0,
) -> keras.Model:
    """Return a ConvNeXt: blocks of depthwise convolution, layer normalisation and two dense layers with GELU.

    There are `depth` stages of `blocks`; each halves the image at its start, and doubles the filters of
    the one before. The last feature map is averaged over its positions. For small images: the stem halves
    where the paper's quarters, and layer scale starts at 0.1, as Touvron et al. 2021 advise for
    shallow networks, not at 1e-6.

    Args:
        input_shape: `(height, width, channels)`.
        embedding_dim: number of dimensions of an embedding.
        normalize: whether to scale embeddings to unit length.
        depth: number of stages.
        blocks: number of blocks per stage.
        filters: number of filters of the first stage.
        kernel: side of the depthwise convolutions, in pixels.
        dropout: fraction of features dropped in training, before the projection.

    Returns:
        A `keras.Model`, `(batch, height, width, channels)` -> `(batch, embedding_dim)`.

    Reference: Liu et al. 2022.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder("convnext", input_shape=(28, 28, 1), embedding_dim=16).output_shape
        (None, 16)
    """
    shape = of_rank(input_shape, 3, "convnext", "(height, width, channels)")
    inputs = x = keras.Input(shape)
    for stage in range(depth):
        if stage:
            x = keras.layers.LayerNormalization()(x)
        halve = min(x.shape[1:3]) >= 2 * SMALLEST
        x = keras.layers.Conv2D(
            filters * 2**stage, 2, strides=2 if halve else 1, padding="same", data_format="channels_last"
        )(x)
        if not stage:
            x = keras.layers.LayerNormalization()(x)
        for _ in range(blocks):
            x = _block(x, kernel)
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_last")(x)
    x = keras.layers.LayerNormalization()(x)
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    return finish(inputs, x, embedding_dim, normalize, "convnext")


def _block(x: Tensor, kernel: int) -> Tensor:
    filters = x.shape[-1]
    y = keras.layers.DepthwiseConv2D(kernel, padding="same", data_format="channels_last")(x)
    y = keras.layers.LayerNormalization()(y)
    y = keras.layers.Dense(4 * filters, activation="gelu")(y)
    y = keras.layers.Dense(filters)(y)
    return keras.layers.Add()([x, LayerScale()(y)])


def vit(
    *,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    normalize: bool = True,
    patch: int = 4,
    depth: int = 3,
    width: int = 64,
    heads: int = 4,
    dropout: float = 0.0,
) -> keras.Model:
    """Return a vision transformer: the image in square patches, learnt positions, pre-norm blocks.

    The patches' last features are averaged, which does as well as a class token (Beyer et al. 2022). An
    image whose sides are not a multiple of the patch is padded with zeros on all sides.

    Args:
        input_shape: `(height, width, channels)`.
        embedding_dim: number of dimensions of an embedding.
        normalize: whether to scale embeddings to unit length.
        patch: side of a patch, in pixels.
        depth: number of transformer blocks.
        width: number of dimensions of a patch's embedding.
        heads: number of attention heads.
        dropout: fraction of the residuals dropped in training.

    Returns:
        A `keras.Model`, `(batch, height, width, channels)` -> `(batch, embedding_dim)`.

    Reference: Dosovitskiy et al. 2021.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder("vit", input_shape=(28, 28, 1), embedding_dim=16).output_shape
        (None, 16)
    """
    shape = of_rank(input_shape, 3, "vit", "(height, width, channels)")
    inputs = x = keras.Input(shape)
    missing = [-size % patch for size in shape[:2]]
    if any(missing):
        sides = tuple((pixels // 2, pixels - pixels // 2) for pixels in missing)
        x = keras.layers.ZeroPadding2D(sides, data_format="channels_last")(x)
    x = keras.layers.Conv2D(width, patch, strides=patch, data_format="channels_last")(x)
    x = Positions()(keras.layers.Reshape((-1, width))(x))
    for _ in range(depth):
        x = attend(x, heads, dropout)
    x = keras.layers.LayerNormalization()(x)
    x = keras.layers.GlobalAveragePooling1D(data_format="channels_last")(x)
    return finish(inputs, x, embedding_dim, normalize, "vit")
