"""The block of transformers, of images and of texts."""

from __future__ import annotations

from typing import Any

import keras

from siamkit.metrics.base import Tensor


def attend(x: Tensor, heads: int, dropout: float, mask: Tensor | None = None) -> Tensor:
    """One pre-norm block: attention among the places, then two dense layers at each, both added on.

    Args:
        x: `(batch, places, width)`.
        heads: of the attention, `width // heads` numbers each.
        dropout: share of what is added that is dropped in training.
        mask: `(batch, 1, places)`, 0 at places that nobody may look at; none where all may.

    Returns:
        `(batch, places, width)`.

    Reference: Vaswani et al. 2017; Xiong et al. 2020 for normalising first.
    """
    width = x.shape[-1]
    y = keras.layers.LayerNormalization()(x)
    # No biases: softmax is blind to the keys' own, so it would never learn.
    attention = attention_layer(heads, max(1, width // heads), use_bias=False)
    x = _add(x, attention(y, y, attention_mask=mask), dropout)
    y = keras.layers.LayerNormalization()(x)
    y = keras.layers.Dense(4 * width, activation="gelu")(y)
    return _add(x, keras.layers.Dense(width)(y), dropout)


def attention_layer(heads: int, size: int, **options: Any) -> keras.layers.Layer:
    """Multi-head attention that follows the dtype policy, but for float16.

    That is too narrow for attention's logits, and JAX has no attention in it on a CPU (seen).
    """
    narrow = keras.config.dtype_policy().compute_dtype == "float16"
    return keras.layers.MultiHeadAttention(heads, size, dtype="float32" if narrow else None, **options)


def _add(x: Tensor, y: Tensor, dropout: float) -> Tensor:
    return keras.layers.Add()([x, keras.layers.Dropout(dropout)(y) if dropout else y])
