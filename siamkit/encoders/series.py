"""Encoders for time series, `(steps, features)`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from siamkit.encoders.base import finish, last_state, of_rank
from siamkit.metrics.base import Tensor

# Layer normalisation takes the place of the papers' weight and batch normalisation: an embedding must not
# depend on the rest of the batch. It drops how large a step's values are; the shortcuts, which are not
# normalised, keep that.

KERNEL = 9  # steps of a random kernel


def tcn(
    *,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    normalize: bool = True,
    depth: int = 4,
    filters: int = 32,
    kernel: int = 3,
    dropout: float = 0.0,
    z_norm: bool = False,
) -> keras.Model:
    """Return a temporal convolutional network: residual blocks of two dilated causal convolutions.

    The dilation doubles with each block, so the output at a step depends on the last
    `1 + 2 (kernel - 1) (2^depth - 1)` steps. The features are averaged over the steps: the last step alone,
    as in the paper, would not depend on the start of a longer series.

    Args:
        input_shape: `(steps, features)`.
        embedding_dim: number of dimensions of an embedding.
        normalize: whether to scale embeddings to unit length.
        depth: number of residual blocks.
        filters: number of filters of each convolution.
        kernel: length of a convolution, in steps.
        dropout: fraction of filters dropped in training, after each convolution.
        z_norm: whether to scale each feature of each series to mean 0 and deviation 1 first.

    Returns:
        A `keras.Model`, `(batch, steps, features)` -> `(batch, embedding_dim)`.

    Reference: Bai, Kolter, Koltun 2018.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder("tcn", input_shape=(50, 3), embedding_dim=8).output_shape
        (None, 8)
    """
    inputs, x = _inputs(input_shape, "tcn", z_norm)
    for block in range(depth):
        shortcut = x if x.shape[-1] == filters else _convolution(x, filters, 1)
        for _ in range(2):
            x = _convolution(x, filters, kernel, padding="causal", dilation_rate=2**block)
            x = keras.layers.ReLU()(keras.layers.LayerNormalization()(x))
            if dropout:
                x = keras.layers.SpatialDropout1D(dropout)(x)
        x = keras.layers.ReLU()(keras.layers.Add()([shortcut, x]))
    return finish(inputs, _averaged(x), embedding_dim, normalize, "tcn")


def inception_time(
    *,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    normalize: bool = True,
    depth: int = 3,
    filters: int = 16,
    kernel: int = 40,
    dropout: float = 0.0,
    z_norm: bool = False,
) -> keras.Model:
    """Return an InceptionTime network: modules of parallel convolutions of three lengths and a max pooling.

    A shortcut connection skips every three modules, or the remaining ones. This is a single network with half
    the depth and filters of the paper, which averages five networks; no convolution is longer than the
    series.

    Args:
        input_shape: `(steps, features)`.
        embedding_dim: number of dimensions of an embedding.
        normalize: whether to scale embeddings to unit length.
        depth: number of modules.
        filters: number of filters of each of a module's four branches.
        kernel: length of the longest convolution, in steps; the others have a half and a quarter of it.
        dropout: fraction of features dropped in training, before the projection.
        z_norm: whether to scale each feature of each series to mean 0 and deviation 1 first.

    Returns:
        A `keras.Model`, `(batch, steps, features)` -> `(batch, embedding_dim)`.

    Reference: Ismail Fawaz et al. 2020.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder("inception_time", input_shape=(50, 3), embedding_dim=8).output_shape
        (None, 8)
    """
    inputs, x = _inputs(input_shape, "inception_time", z_norm)
    bridged = x
    for module in range(1, depth + 1):
        x = _inception(x, filters, kernel)
        if module % 3 == 0 or module == depth:
            x = keras.layers.ReLU()(keras.layers.Add()([_convolution(bridged, 4 * filters, 1), x]))
            bridged = x
    x = _averaged(x)
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    return finish(inputs, x, embedding_dim, normalize, "inception_time")


def rnn(
    *,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    normalize: bool = True,
    cell: str = "gru",
    units: int = 64,
    bidirectional: bool = True,
    dropout: float = 0.0,
    z_norm: bool = False,
) -> keras.Model:
    """Return a recurrent network over the steps of a series: its last state, projected.

    Args:
        input_shape: `(steps, features)`.
        embedding_dim: number of dimensions of an embedding.
        normalize: whether to scale embeddings to unit length.
        cell: the recurrent cell, `"gru"` or `"lstm"`.
        units: number of units of the cell, in each direction.
        bidirectional: whether to also read the sequence backwards.
        dropout: fraction of the cell's inputs dropped in training.
        z_norm: whether to scale each feature of each series to mean 0 and deviation 1 first.

    Returns:
        A `keras.Model`, `(batch, steps, features)` -> `(batch, embedding_dim)`.

    Reference: Cho et al. 2014; Hochreiter, Schmidhuber 1997; Schuster, Paliwal 1997 for both directions.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder("rnn", input_shape=(50, 3), embedding_dim=8).output_shape
        (None, 8)
    """
    inputs, x = _inputs(input_shape, "rnn", z_norm)
    x = last_state(x, cell, units, bidirectional, dropout)
    return finish(inputs, x, embedding_dim, normalize, "rnn")


def kernels(
    *,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    normalize: bool = True,
    kernels: int = 512,
    dropout: float = 0.0,
    z_norm: bool = False,
) -> keras.Model:
    """Return random convolutions that are not trained, two numbers of each, and their trained projection.

    The numbers are the share of steps at which the convolution is positive, and its maximum. As in ROCKET,
    weights are normal with mean 0 in each kernel, and biases uniform from -1 to 1; dilations are powers of 2
    up to the length of the series. Every kernel has 9 steps, as in MiniROCKET, and reads all channels.

    Args:
        input_shape: `(steps, features)`.
        embedding_dim: number of dimensions of an embedding.
        normalize: whether to scale embeddings to unit length.
        kernels: number of random kernels.
        dropout: fraction of numbers dropped in training, before the projection.
        z_norm: whether to scale each feature of each series to mean 0 and deviation 1 first.

    Returns:
        A `keras.Model`, `(batch, steps, features)` -> `(batch, embedding_dim)`.

    Reference: Dempster, Petitjean, Webb 2020 (ROCKET); 2021 (MiniROCKET).

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder("kernels", input_shape=(50, 3), embedding_dim=8).output_shape
        (None, 8)
    """
    inputs, x = _inputs(input_shape, "kernels", z_norm)
    x = keras.layers.LayerNormalization()(RandomKernels(kernels)(x))
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    return finish(inputs, x, embedding_dim, normalize, "kernels")


@keras.saving.register_keras_serializable("siamkit")
class RandomKernels(keras.layers.Layer):
    """Random convolutions over the steps, `(batch, steps, features)` -> `(batch, 2 kernels)`; not trained.

    Args:
        kernels: number of kernels, shared out among the dilations.
    """

    def __init__(self, kernels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernels = kernels

    def build(self, input_shape: tuple[int, ...]) -> None:
        _, steps, features = input_shape
        dilations = [2**i for i in range(max(1, ((steps - 1) // (KERNEL - 1)).bit_length()))][: self.kernels]
        counts = [len(part) for part in np.array_split(np.arange(self.kernels), len(dilations))]
        self.dilations = list(zip(dilations, counts, strict=True))
        self.weight, self.bias = (
            self.add_weight(shape=shape, initializer=start, trainable=False, name=name)
            for name, shape, start in (
                ("weight", (KERNEL, features, self.kernels), centred),
                ("bias", (self.kernels,), keras.initializers.RandomUniform(-1.0, 1.0)),
            )
        )

    def call(self, inputs: Tensor) -> Tensor:
        shares, maxima, start = [], [], 0
        for dilation, count in self.dilations:
            rows = slice(start, start + count)
            start += count
            x = ops.conv(
                inputs,
                ops.cast(self.weight[:, :, rows], inputs.dtype),
                padding="same",
                data_format="channels_last",
                dilation_rate=dilation,
            )
            x = x + ops.cast(self.bias[rows], x.dtype)
            shares.append(ops.mean(ops.cast(x > 0, x.dtype), axis=1))
            maxima.append(ops.max(x, axis=1))
        return ops.concatenate([*shares, *maxima], axis=1)

    def flops(self, input_shape: tuple[int, ...]) -> int:
        return 2 * KERNEL * input_shape[1] * input_shape[2] * self.kernels

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (input_shape[0], 2 * self.kernels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kernels": self.kernels}


def centred(shape: tuple[int, ...], dtype: Any = None) -> Tensor:
    """Return normal weights `(steps, features, kernels)` with mean 0 over the steps of each kernel."""
    weights = keras.random.normal(shape, dtype=dtype, seed=keras.random.SeedGenerator()) / shape[1] ** 0.5
    return weights - ops.mean(weights, axis=0)


def _inputs(input_shape: tuple[int, ...], name: str, z_norm: bool) -> tuple[Tensor, Tensor]:
    """Return the input of an encoder, and the series as its first layer gets them."""
    inputs = keras.Input(of_rank(input_shape, 2, name, "(steps, features)"))
    if not z_norm:
        return inputs, inputs
    # As many groups as features: the statistics are those of the steps, of one series and feature.
    layer = keras.layers.GroupNormalization(-1, center=False, scale=False, epsilon=1e-6, name="z_norm")
    return inputs, layer(inputs)


def _inception(x: Tensor, filters: int, kernel: int) -> Tensor:
    steps = x.shape[1]
    narrow = _convolution(x, filters, 1) if x.shape[-1] > 1 else x
    branches = [_convolution(narrow, filters, min(max(1, kernel // part), steps)) for part in (1, 2, 4)]
    maximum = keras.layers.MaxPooling1D(3, strides=1, padding="same", data_format="channels_last")(x)
    x = keras.layers.Concatenate()([*branches, _convolution(maximum, filters, 1)])
    return keras.layers.ReLU()(keras.layers.LayerNormalization()(x))


def _averaged(x: Tensor) -> Tensor:
    return keras.layers.GlobalAveragePooling1D(data_format="channels_last")(x)


def _convolution(x: Tensor, filters: int, size: int, padding: str = "same", dilation_rate: int = 1) -> Tensor:
    return keras.layers.Conv1D(
        filters,
        size,
        padding=padding,
        dilation_rate=dilation_rate,
        kernel_initializer="he_normal",
        data_format="channels_last",
    )(x)
