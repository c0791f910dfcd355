"""Encoders for token ids; id 0 is padding and masked."""

from __future__ import annotations

import keras

from siamkit.encoders.common import finish, of_rank
from siamkit.errors import ComponentError


def lstm(
    *,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    vocabulary_size: int,
    normalize: bool = True,
    units: int = 64,
    token_dim: int = 64,
    bidirectional: bool = False,
    dropout: float = 0.0,
) -> keras.Model:
    """An LSTM over token ids: its state after the last token that is not padding, projected.

    Args:
        input_shape: `(length,)`.
        embedding_dim: numbers in an embedding.
        vocabulary_size: token ids run from 0 (padding) to vocabulary_size - 1.
        normalize: end in unit length.
        units: of the LSTM, one direction.
        token_dim: numbers a token is embedded in.
        bidirectional: read backwards too.
        dropout: share of the LSTM's inputs dropped in training.

    Returns:
        A `keras.Model`, int32 `(batch, length)` -> `(batch, embedding_dim)`.

    Reference: Hochreiter, Schmidhuber 1997; Mueller, Thyagarajan 2016 for the Siamese use.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder("lstm", input_shape=(50,), embedding_dim=8, vocabulary_size=100).output_shape
        (None, 8)
    """
    shape = of_rank(input_shape, 1, "lstm", "(length,) of token ids")
    if vocabulary_size < 2:
        raise ComponentError(f"vocabulary_size should be at least 2, got {vocabulary_size!r}")
    inputs = keras.Input(shape, dtype="int32")
    x = keras.layers.Embedding(vocabulary_size, token_dim, mask_zero=True)(inputs)
    layer = keras.layers.LSTM(units, dropout=dropout)
    x = keras.layers.Bidirectional(layer)(x) if bidirectional else layer(x)
    return finish(inputs, x, embedding_dim, normalize, "lstm")
