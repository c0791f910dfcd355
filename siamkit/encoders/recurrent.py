"""Recurrent encoders, of token ids and of series."""

from __future__ import annotations

import keras

from siamkit.encoders._layers import finish, of_rank
from siamkit.encoders.tokens import token_ids
from siamkit.metrics.base import Tensor

CELLS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}


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
    inputs = token_ids(input_shape, vocabulary_size, "lstm")
    x = _last_state(_masked(inputs, vocabulary_size, token_dim), "lstm", units, bidirectional, dropout)
    return finish(inputs, x, embedding_dim, normalize, "lstm")


def gru(
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
    """A GRU over token ids: its state after the last token that is not padding, projected.

    Args:
        input_shape: `(length,)`.
        embedding_dim: numbers in an embedding.
        vocabulary_size: token ids run from 0 (padding) to vocabulary_size - 1.
        normalize: end in unit length.
        units: of the GRU, one direction.
        token_dim: numbers a token is embedded in.
        bidirectional: read backwards too.
        dropout: share of the GRU's inputs dropped in training.

    Returns:
        A `keras.Model`, int32 `(batch, length)` -> `(batch, embedding_dim)`.

    Reference: Cho et al. 2014.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder("gru", input_shape=(50,), embedding_dim=8, vocabulary_size=100).output_shape
        (None, 8)
    """
    inputs = token_ids(input_shape, vocabulary_size, "gru")
    x = _last_state(_masked(inputs, vocabulary_size, token_dim), "gru", units, bidirectional, dropout)
    return finish(inputs, x, embedding_dim, normalize, "gru")


def rnn(
    *,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    normalize: bool = True,
    cell: str = "gru",
    units: int = 64,
    bidirectional: bool = True,
    dropout: float = 0.0,
) -> keras.Model:
    """A recurrent network over the steps of a series: its last state, projected.

    Args:
        input_shape: `(steps, features)`.
        embedding_dim: numbers in an embedding.
        normalize: end in unit length.
        cell: `"gru"` or `"lstm"`.
        units: of the cell, one direction.
        bidirectional: read backwards too.
        dropout: share of the cell's inputs dropped in training.

    Returns:
        A `keras.Model`, `(batch, steps, features)` -> `(batch, embedding_dim)`.

    Reference: Cho et al. 2014; Hochreiter, Schmidhuber 1997; Schuster, Paliwal 1997 for both directions.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder("rnn", input_shape=(50, 3), embedding_dim=8).output_shape
        (None, 8)
    """
    inputs = keras.Input(of_rank(input_shape, 2, "rnn", "(steps, features)"))
    x = _last_state(inputs, cell, units, bidirectional, dropout)
    return finish(inputs, x, embedding_dim, normalize, "rnn")


def _masked(inputs: Tensor, vocabulary_size: int, token_dim: int) -> Tensor:
    """Embedded tokens with Keras's own mask: at padding, a recurrent layer keeps its state."""
    return keras.layers.Embedding(vocabulary_size, token_dim, mask_zero=True)(inputs)


def _last_state(x: Tensor, cell: str, units: int, bidirectional: bool, dropout: float) -> Tensor:
    layer = CELLS[cell](units, dropout=dropout)
    return keras.layers.Bidirectional(layer)(x) if bidirectional else layer(x)
