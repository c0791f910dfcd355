"""Encoders for token ids; id 0 is padding and masked."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from siamkit.encoders.base import Positions, RealMean, RealTokens, attend, finish, last_state, of_rank
from siamkit.errors import ComponentError, DataError
from siamkit.io.values import as_array
from siamkit.metrics.base import Tensor


def bag(
    *,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    vocabulary_size: int,
    normalize: bool = True,
    token_dim: int = 64,
    dropout: float = 0.0,
) -> keras.Model:
    """Return a bag of tokens: the mean of their embeddings, regardless of their order, projected.

    Args:
        input_shape: `(length,)`.
        embedding_dim: number of dimensions of an embedding.
        vocabulary_size: token ids run from 0 (padding) to vocabulary_size - 1.
        normalize: whether to scale embeddings to unit length.
        token_dim: number of dimensions of a token's embedding.
        dropout: fraction of features dropped in training, before the projection.

    Returns:
        A `keras.Model`, int32 `(batch, length)` -> `(batch, embedding_dim)`.

    Reference: Wieting et al. 2016.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder("bag", input_shape=(50,), embedding_dim=8, vocabulary_size=100).output_shape
        (None, 8)
    """
    inputs = _token_ids(input_shape, vocabulary_size, "bag")
    x = keras.layers.Embedding(vocabulary_size, token_dim)(inputs)
    x = RealMean()(x, RealTokens()(inputs))
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    return finish(inputs, x, embedding_dim, normalize, "bag")


def ngrams(
    *,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    vocabulary_size: int,
    normalize: bool = True,
    longest: int = 3,
    buckets: int = 16384,
    token_dim: int = 128,
    dropout: float = 0.0,
) -> keras.Model:
    """Return a bag of n-grams: the mean embedding of all pieces plus that of all longer n-grams, projected.

    A piece has an embedding of its own. As in fastText, that of an n-gram of 2 to `longest` pieces is a row
    of one table, chosen by a hash. These rows start at 0: at first the encoder is a bag of pieces, and
    n-grams that training did not have say nothing. Texts with few words have pieces of a character or two
    (see `data.text`), so these are character n-grams.

    Args:
        input_shape: `(length,)`.
        embedding_dim: number of dimensions of an embedding.
        vocabulary_size: token ids run from 0 (padding) to vocabulary_size - 1.
        normalize: whether to scale embeddings to unit length.
        longest: number of pieces in the longest n-gram.
        buckets: number of rows of the table; n-grams of one row share their embedding.
        token_dim: number of dimensions of an embedding of a piece or an n-gram.
        dropout: fraction of features dropped in training, before the projection.

    Returns:
        A `keras.Model`, int32 `(batch, length)` -> `(batch, embedding_dim)`.

    Reference: Bojanowski et al. 2017.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder(
        ...     "ngrams", input_shape=(50,), embedding_dim=8, vocabulary_size=100).output_shape
        (None, 8)
    """
    inputs = _token_ids(input_shape, vocabulary_size, "ngrams")
    x = RealMean()(keras.layers.Embedding(vocabulary_size, token_dim)(inputs), RealTokens()(inputs))
    if inputs.shape[1] > 1:
        rows = HashedNgrams(longest, buckets)(inputs)
        table = keras.layers.Embedding(buckets, token_dim, embeddings_initializer="zeros")
        x = keras.layers.Add()([x, RealMean()(table(rows), RealTokens()(rows))])
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    return finish(inputs, x, embedding_dim, normalize, "ngrams")


@keras.saving.register_keras_serializable("siamkit")
class HashedNgrams(keras.layers.Layer):
    """The hash of each run of 2 to `longest` ids, `(batch, length)` -> `(batch, n-grams)`; 0 with padding.

    h₀ = n, hₖ = (31337 hₖ₋₁ + idₖ) mod 65521, row = 1 + h mod (buckets - 1): all within 32 bits.

    Args:
        longest: number of ids in the longest run.
        buckets: one more than the highest hash, 2 to 65,521.
    """

    def __init__(self, longest: int, buckets: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.longest, self.buckets = longest, buckets

    def call(self, inputs: Tensor) -> Tensor:
        ids, length = ops.cast(inputs, "int32"), inputs.shape[1]
        found = []
        for size in range(2, min(self.longest, length) + 1):
            parts = [ids[:, start : length - size + 1 + start] for start in range(size)]
            value, real = ops.full_like(parts[0], size), ops.not_equal(parts[0], 0)
            for part in parts:
                value = ops.mod(value * 31337 + part, 65521)
                real = ops.logical_and(real, ops.not_equal(part, 0))
            found.append(ops.where(real, 1 + ops.mod(value, self.buckets - 1), 0))
        return ops.concatenate(found, axis=1)

    def compute_output_spec(self, inputs: Tensor) -> keras.KerasTensor:
        batch, length = inputs.shape
        count = sum(length - size + 1 for size in range(2, min(self.longest, length) + 1))
        return keras.KerasTensor((batch, count), dtype="int32")

    def flops(self, input_shape: tuple[int, ...]) -> int:
        return 0  # of whole numbers only

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "longest": self.longest, "buckets": self.buckets}


def text_cnn(
    *,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    vocabulary_size: int,
    normalize: bool = True,
    token_dim: int = 64,
    filters: int = 64,
    narrowest: int = 3,
    widths: int = 3,
    dropout: float = 0.0,
) -> keras.Model:
    """Return parallel convolutions of several widths over the tokens, each filter's maximum over time.

    The paper's widths 3, 4 and 5 are `narrowest=3, widths=3`. A window is centred on each token, with
    zeros beyond the text's ends, so that a text shorter than a window also has an embedding.

    Args:
        input_shape: `(length,)`.
        embedding_dim: number of dimensions of an embedding.
        vocabulary_size: token ids run from 0 (padding) to vocabulary_size - 1.
        normalize: whether to scale embeddings to unit length.
        token_dim: number of dimensions of a token's embedding.
        filters: number of filters of each width.
        narrowest: width of the narrowest window, in tokens.
        widths: number of widths, each one token wider than the previous one.
        dropout: fraction of features dropped in training, before the projection.

    Returns:
        A `keras.Model`, int32 `(batch, length)` -> `(batch, embedding_dim)`.

    Reference: Kim 2014.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder(
        ...     "text_cnn", input_shape=(50,), embedding_dim=8, vocabulary_size=100).output_shape
        (None, 8)
    """
    inputs = _token_ids(input_shape, vocabulary_size, "text_cnn")
    real = RealTokens()(inputs)
    x = keras.layers.Multiply()([keras.layers.Embedding(vocabulary_size, token_dim)(inputs), real])
    maxima = [_strongest(x, real, filters, narrowest + wider) for wider in range(widths)]
    x = keras.layers.Concatenate()(maxima) if widths > 1 else maxima[0]
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    return finish(inputs, x, embedding_dim, normalize, "text_cnn")


def transformer(
    *,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    vocabulary_size: int,
    normalize: bool = True,
    depth: int = 2,
    width: int = 64,
    heads: int = 4,
    dropout: float = 0.0,
) -> keras.Model:
    """Return a transformer encoder: learnt positions, pre-norm blocks, the mean over the real tokens.

    Positions are counted from the first id, so padding belongs at the end.

    Args:
        input_shape: `(length,)`.
        embedding_dim: number of dimensions of an embedding.
        vocabulary_size: token ids run from 0 (padding) to vocabulary_size - 1.
        normalize: whether to scale embeddings to unit length.
        depth: number of transformer blocks.
        width: number of dimensions of a token's embedding.
        heads: number of attention heads.
        dropout: fraction of the residuals dropped in training.

    Returns:
        A `keras.Model`, int32 `(batch, length)` -> `(batch, embedding_dim)`.

    Reference: Vaswani et al. 2017; Reimers, Gurevych 2019 for the mean.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder(
        ...     "transformer", input_shape=(50,), embedding_dim=8, vocabulary_size=100).output_shape
        (None, 8)
    """
    inputs = _token_ids(input_shape, vocabulary_size, "transformer")
    real = RealTokens()(inputs)
    mask = keras.layers.Permute((2, 1))(real)
    x = Positions()(keras.layers.Embedding(vocabulary_size, width)(inputs))
    for _ in range(depth):
        x = attend(x, heads, dropout, mask)
    x = RealMean()(keras.layers.LayerNormalization()(x), real)
    return finish(inputs, x, embedding_dim, normalize, "transformer")


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
    """Return an LSTM over token ids: its state after the last token that is not padding, projected.

    Args:
        input_shape: `(length,)`.
        embedding_dim: number of dimensions of an embedding.
        vocabulary_size: token ids run from 0 (padding) to vocabulary_size - 1.
        normalize: whether to scale embeddings to unit length.
        units: number of units of the LSTM, in each direction.
        token_dim: number of dimensions of a token's embedding.
        bidirectional: whether to also read the sequence backwards.
        dropout: fraction of the LSTM's inputs dropped in training.

    Returns:
        A `keras.Model`, int32 `(batch, length)` -> `(batch, embedding_dim)`.

    Reference: Hochreiter, Schmidhuber 1997; Mueller, Thyagarajan 2016 for the Siamese use.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder("lstm", input_shape=(50,), embedding_dim=8, vocabulary_size=100).output_shape
        (None, 8)
    """
    inputs = _token_ids(input_shape, vocabulary_size, "lstm")
    x = last_state(_masked(inputs, vocabulary_size, token_dim), "lstm", units, bidirectional, dropout)
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
    """Return a GRU over token ids: its state after the last token that is not padding, projected.

    Args:
        input_shape: `(length,)`.
        embedding_dim: number of dimensions of an embedding.
        vocabulary_size: token ids run from 0 (padding) to vocabulary_size - 1.
        normalize: whether to scale embeddings to unit length.
        units: number of units of the GRU, in each direction.
        token_dim: number of dimensions of a token's embedding.
        bidirectional: whether to also read the sequence backwards.
        dropout: fraction of the GRU's inputs dropped in training.

    Returns:
        A `keras.Model`, int32 `(batch, length)` -> `(batch, embedding_dim)`.

    Reference: Cho et al. 2014.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder("gru", input_shape=(50,), embedding_dim=8, vocabulary_size=100).output_shape
        (None, 8)
    """
    inputs = _token_ids(input_shape, vocabulary_size, "gru")
    x = last_state(_masked(inputs, vocabulary_size, token_dim), "gru", units, bidirectional, dropout)
    return finish(inputs, x, embedding_dim, normalize, "gru")


def check_token_ids(encoder: keras.Model, items: Any) -> None:
    """Raise DataError for token ids that an encoder does not have; an encoder of other items takes any.

    On a device some backends wrap such ids around, some give zeros or NaN, and some end the process.

    Args:
        encoder: an encoder.
        items: one view of n items, for token ids an array `(n, length)`.
    """
    size = vocabulary_of(encoder)
    if size is None or isinstance(items, dict):
        return
    ids = as_array(items, name="token ids")
    if ids.dtype.kind not in "biuf":
        return
    valid = (ids >= 0) & (ids < size) & (ids == np.floor(ids))
    if not valid.all():
        wrong = tuple(np.argwhere(~valid)[0])
        count = int((~valid).reshape(len(ids), -1).any(axis=1).sum())
        raise DataError(
            f"token ids should be whole numbers from 0 to {size - 1} (vocabulary_size {size}), got "
            f"{ids[wrong]:g} in item {wrong[0]}, the first of {count:,}"
        )


def vocabulary_of(encoder: keras.Model) -> int | None:
    """Return the number of token ids that an encoder has, by the layer that embeds its input; else None."""
    inputs = getattr(encoder, "inputs", None) or []
    for layer in getattr(encoder, "layers", ()):
        if isinstance(layer, keras.layers.Embedding):
            try:
                embeds_input = len(inputs) == 1 and layer.input is inputs[0]
            except (AttributeError, ValueError):  # it is called never, or several times
                continue
            if embeds_input:
                return int(layer.input_dim)
    return None


def _token_ids(input_shape: tuple[int, ...], vocabulary_size: int, name: str) -> Tensor:
    """Return the input of an encoder of token ids, its sizes checked."""
    shape = of_rank(input_shape, 1, name, "(length,) of token ids")
    if vocabulary_size < 2:
        raise ComponentError(f"vocabulary_size should be at least 2, got {vocabulary_size!r}")
    return keras.Input(shape, dtype="int32")


def _strongest(x: Tensor, real: Tensor, filters: int, width: int) -> Tensor:
    """Return each filter's maximum over the windows around real tokens, `(batch, filters)`."""
    x = keras.layers.Conv1D(filters, width, padding="same", activation="relu", data_format="channels_last")(x)
    # After ReLU nothing is below 0, so 0 masks as well as minus infinity. For GlobalMaxPooling1D's fault see
    # `siamkit.encoders.image.cnn`.
    x = keras.layers.Multiply()([x, real])
    return keras.layers.Flatten()(keras.layers.MaxPooling1D(x.shape[1], data_format="channels_last")(x))


def _masked(inputs: Tensor, vocabulary_size: int, token_dim: int) -> Tensor:
    """Return embedded tokens with Keras's own mask: at padding, a recurrent layer keeps its state."""
    return keras.layers.Embedding(vocabulary_size, token_dim, mask_zero=True)(inputs)
