"""ConvNeXt, for small images."""

from __future__ import annotations

import keras

from siamkit.encoders.common import finish, of_rank
from siamkit.encoders.image import SMALLEST
from siamkit.encoders.layers import LayerScale
from siamkit.metrics.base import Tensor


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
    """A ConvNeXt: blocks of depthwise convolution, layer normalisation and two dense layers with GELU.

    There are `depth` stages of `blocks`; each halves the image at its start, and doubles the filters of
    the one before. The last feature map is averaged over its places. For small images: the stem halves
    where the paper's quarters, and layer scale starts at 0.1, as Touvron et al. 2021 advise for
    shallow networks, not at 1e-6.

    Args:
        input_shape: `(height, width, channels)`.
        embedding_dim: numbers in an embedding.
        normalize: end in unit length.
        depth: stages.
        blocks: blocks a stage.
        filters: of the first stage.
        kernel: side of the depthwise convolutions.
        dropout: share of features dropped in training, before the projection.

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
