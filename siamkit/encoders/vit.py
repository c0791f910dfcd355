"""The vision transformer."""

from __future__ import annotations

import keras

from siamkit.encoders.attention import attend
from siamkit.encoders.common import finish, of_rank
from siamkit.encoders.layers import Positions


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
    """A vision transformer: the image in square patches, learnt positions, pre-norm blocks.

    The patches' last features are averaged, which does as well as a class token (Beyer et al. 2022). An
    image whose sides the patch does not divide is filled up with zeros on all sides.

    Args:
        input_shape: `(height, width, channels)`.
        embedding_dim: numbers in an embedding.
        normalize: end in unit length.
        patch: side of a patch, in pixels.
        depth: transformer blocks.
        width: numbers a patch is embedded in.
        heads: of the attention.
        dropout: share of what each block adds that is dropped in training.

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
        sides = tuple((each // 2, each - each // 2) for each in missing)
        x = keras.layers.ZeroPadding2D(sides, data_format="channels_last")(x)
    x = keras.layers.Conv2D(width, patch, strides=patch, data_format="channels_last")(x)
    x = Positions()(keras.layers.Reshape((-1, width))(x))
    for _ in range(depth):
        x = attend(x, heads, dropout)
    x = keras.layers.LayerNormalization()(x)
    x = keras.layers.GlobalAveragePooling1D(data_format="channels_last")(x)
    return finish(inputs, x, embedding_dim, normalize, "vit")
