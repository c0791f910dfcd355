"""Encoders for images."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from siamkit.encoders.base import LayerScale, Positions, UnitNormalization, attend, finish, of_rank
from siamkit.encoders.tabular import fitted_items, principal_components
from siamkit.metrics.base import Tensor

SMALLEST = 4  # a feature map narrower than twice this is not pooled any further
SHORTCUT_SIDE = 64  # pixels a side that a linear shortcut reads
# Of the smallest Morlet wavelets of Bruna & Mallat 2013, in pixels and radians a pixel.
WAVELET_SIDE, WAVELET_WIDTH, WAVELET_FREQUENCY = 7, 0.8, 0.75 * math.pi
FITTED_AT_ONCE = 256  # images


def cnn(
    *,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    normalize: bool = True,
    depth: int | None = None,
    filters: int = 16,
    strides: int = 1,
    normalization: str = "group",
    pooling: str = "flatten",
    grid: int = 4,
    dropout: float = 0.0,
    shortcut: bool = True,
) -> keras.Model:
    """Return a plain convolutional network: blocks of convolution, normalisation and ReLU, then pooling.

    Each block halves the image until a side has 4 to 7 pixels, and doubles the filters, at most three times.
    The default pooling keeps the places of the last feature map apart, so the embedding depends on where
    something is; the other poolings know what is in the image, and less of where it is. On classes that are
    not in the training data, `"gem"` was better (benchmarks/results/encoders.md).

    A linear function of the image is added to the projection, which starts at a tenth: training starts with
    an almost linear encoder, and keeps what maxima lose, such as the sum over many noisy pixels.

    Args:
        input_shape: `(height, width, channels)`.
        embedding_dim: number of dimensions of an embedding.
        normalize: whether to scale embeddings to unit length.
        depth: number of blocks; by default enough to halve the image down to 4 pixels, and at least 3.
        filters: number of filters of the first block.
        strides: how a block halves the image: 1, by a maximum over 2 by 2 pixels after the convolution; 2,
            its convolution looks at every second pixel, in about a third of the time, and sees less.
        normalization: `"group"`, over all places and each of up to 8 groups of filters; `"batch"`;
            `"layer"`, over the filters of each place; or `"none"`. Layer normalisation forgets how bright a
            place is. With batch normalisation, what an item adds to the loss depends on the rest of the
            batch, and small batches make it noisy.
        pooling: how the last feature map becomes one vector: `"flatten"`; `"grid"`, averages of `grid` by
            `grid` places; `"average"` over all places; `"average_max"`, average and maximum; `"gem"`, the
            generalized mean (Radenović et al. 2018).
        grid: number of places a side of `pooling="grid"`.
        dropout: fraction of features dropped in training, before the projection.
        shortcut: whether to add a linear function of the image, averaged to at most 64 pixels a side.

    Returns:
        A `keras.Model`, `(batch, height, width, channels)` -> `(batch, embedding_dim)`.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder("cnn", input_shape=(28, 28, 1), embedding_dim=16).output_shape
        (None, 16)
    """
    shape = of_rank(input_shape, 3, "cnn", "(height, width, channels)")
    inputs = x = keras.Input(shape)
    if depth is None:
        depth = max(3, math.ceil(math.log2(min(shape[:2]) / SMALLEST)))
    for block in range(depth):
        halve = min(x.shape[1:3]) >= 2 * SMALLEST
        x = _convolution(x, filters * 2 ** min(block, 3), strides=strides if halve else 1)
        if halve and strides == 1:
            # Pooled before normalising: a quarter of the work.
            x = keras.layers.MaxPooling2D(2, data_format="channels_last")(x)
        x = keras.layers.ReLU()(_normalized(x, normalization))
    x = _pooled(x, pooling, grid)
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    return finish(inputs, x, embedding_dim, normalize, "cnn", shortcut=_pixels(inputs) if shortcut else None)


def _pixels(x: Tensor) -> Tensor:
    """Return the values of an image, averaged to at most `SHORTCUT_SIDE` pixels a side, as one vector."""
    height, width = x.shape[1:3]
    size = tuple(-(-side // SHORTCUT_SIDE) for side in (height, width))
    if max(size) > 1:
        x = keras.layers.AveragePooling2D(size, data_format="channels_last")(x)
    return keras.layers.Flatten()(x)


def cnn_pca(
    *,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    training_items: Any,
    normalize: bool = True,
    depth: int | None = None,
    filters: int = 32,
    pooling: str = "gem",
    dropout: float = 0.0,
) -> keras.Model:
    """Return a `cnn` next to the principal components of the training items, which are not trained.

    Each of the two has half of the dimensions and unit length, so the cosine similarity of two images is the
    mean of theirs. Training cannot forget in what the images differ without labels: meant for classes that
    the training data do not have. A component is divided by the square root of its standard deviation, so
    that the first few do not decide alone; those beyond the number of components are 0.

    Args:
        input_shape: `(height, width, channels)`.
        embedding_dim: number of dimensions of an embedding; 1 leaves no place for components.
        training_items: prepared training items, `(n, height, width, channels)`.
        normalize: whether to scale embeddings to unit length; else each half has unit length.
        depth: number of blocks of the network, as for `cnn`.
        filters: number of filters of the first block.
        pooling: how the last feature map becomes one vector, as for `cnn`.
        dropout: fraction of features dropped in training, before the projection.

    Returns:
        A `keras.Model`, `(batch, height, width, channels)` -> `(batch, embedding_dim)`.

    Raises:
        ComponentError: training items of another shape.

    Example:
        >>> import numpy as np, siamkit
        >>> x = np.random.default_rng(0).normal(size=(50, 28, 28, 1))
        >>> siamkit.get_encoder(
        ...     "cnn_pca", input_shape=(28, 28, 1), embedding_dim=16, training_items=x).output_shape
        (None, 16)
    """
    shape = of_rank(input_shape, 3, "cnn_pca", "(height, width, channels)")
    count = embedding_dim // 2
    network = cnn(
        input_shape=shape,
        embedding_dim=embedding_dim - count,
        depth=depth,
        filters=filters,
        strides=2,
        pooling=pooling,
        dropout=dropout,
        shortcut=False,
    )
    if not count:
        return network
    axes, mean, deviation = principal_components(fitted_items(training_items, shape, "cnn_pca"), count)
    axes = (axes / np.sqrt(np.where(deviation > 0, deviation, 1))).astype(np.float32)
    layer = keras.layers.Dense(count, trainable=False, name="components")
    components = layer(keras.layers.Flatten()(network.input))
    layer.set_weights([axes, -mean @ axes])
    x = keras.layers.Concatenate()([network.output, UnitNormalization()(components)])
    if normalize:
        x = UnitNormalization()(x)
    return keras.Model(network.input, x, name="cnn_pca")


def scattering(
    *,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    training_items: Any,
    normalize: bool = True,
    orientations: int = 8,
    grid: int = 7,
) -> keras.Model:
    """Return one dense layer on the first order of the scattering transform, which is not trained.

    The transform says how strong edges of each orientation and size are in each place, so an image that is
    moved or deformed by a little hardly changes. The dense layer starts as the singular vectors of the
    transformed training items: training starts at an embedding that has as much of them as fits. Meant for
    classes that the training data do not have, and for few images.

    Args:
        input_shape: `(height, width, channels)`.
        embedding_dim: number of dimensions of an embedding.
        training_items: prepared training items, `(n, height, width, channels)`.
        normalize: whether to scale embeddings to unit length.
        orientations: number of orientations of the wavelets.
        grid: number of places a side.

    Returns:
        A `keras.Model`, `(batch, height, width, channels)` -> `(batch, embedding_dim)`.

    Raises:
        ComponentError: training items of another shape, or that are all the same.

    Reference: Bruna, Mallat 2013, "Invariant Scattering Convolution Networks".

    Example:
        >>> import numpy as np, siamkit
        >>> x = np.random.default_rng(0).normal(size=(50, 28, 28, 1))
        >>> siamkit.get_encoder(
        ...     "scattering", input_shape=(28, 28, 1), embedding_dim=16, training_items=x).output_shape
        (None, 16)
    """
    shape = of_rank(input_shape, 3, "scattering", "(height, width, channels)")
    items = fitted_items(training_items, shape, "scattering")
    layer = Scattering(orientations, grid)
    chunks = np.array_split(items, -(-len(items) // FITTED_AT_ONCE))
    features = np.concatenate([ops.convert_to_numpy(layer(chunk)) for chunk in chunks])
    axes, _, _ = principal_components(features, embedding_dim, center=False)
    inputs = keras.Input(shape)
    encoder = finish(inputs, layer(inputs), embedding_dim, normalize, "scattering")
    encoder.get_layer("projection").set_weights([axes, np.zeros(embedding_dim)])
    return encoder


@keras.saving.register_keras_serializable("siamkit")
class Scattering(keras.layers.Layer):
    """The first order of the scattering transform, `(batch, height, width, channels)` -> `(batch, features)`.

    √ of the mean of |x * ψ| over each place of a grid, for each channel, orientation and octave. At u pixels
    along an orientation and v across,

        ψ(u, v) = e^(-(u² + (4 v / orientations)²) / 2σ²) (e^(iξu) - κ) / Σ |ψ|,  σ = 0.8, ξ = 3π/4,

    where κ makes its sum 0. The next octave has the image halved, as long as its shorter side has two pixels
    a place. Nothing is trained. In float32 whatever the dtype policy.

    Args:
        orientations: number of orientations in half a turn.
        grid: number of places a side.
    """

    def __init__(self, orientations: int = 8, grid: int = 7, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.orientations, self.grid = orientations, grid

    def call(self, inputs: Tensor) -> Tensor:
        # One image a channel, so that one convolution serves any number of channels.
        channels = inputs.shape[3]
        x = ops.transpose(inputs, (0, 3, 1, 2))
        x = ops.reshape(x, (-1, *inputs.shape[1:3], 1))
        wavelets = ops.convert_to_tensor(self._wavelets())
        features = []
        for octave, (height, width) in enumerate(self._octaves(inputs.shape)):
            if octave:
                x = ops.average_pool(x, 2, strides=2, data_format="channels_last")
            waves = ops.conv(x, wavelets, padding="same", data_format="channels_last")
            real, imaginary = waves[..., : self.orientations], waves[..., self.orientations :]
            moduli = _grid_means(ops.sqrt(real**2 + imaginary**2 + 1e-12), self.grid, "float32")
            size = min(self.grid, height) * min(self.grid, width) * self.orientations
            features.append(ops.reshape(moduli, (-1, channels * size)))
        return ops.sqrt(ops.concatenate(features, axis=1) + 1e-6)

    def _wavelets(self) -> np.ndarray:
        """Return the real and the imaginary parts of all wavelets, `(7, 7, 1, 2 orientations)`."""
        places = np.arange(WAVELET_SIDE) - WAVELET_SIDE // 2
        rows, columns = np.meshgrid(places, places, indexing="ij")
        angles = np.pi * np.arange(self.orientations) / self.orientations
        along = columns[..., None] * np.cos(angles) + rows[..., None] * np.sin(angles)
        across = rows[..., None] * np.cos(angles) - columns[..., None] * np.sin(angles)
        window = np.exp(-(along**2 + (4 / self.orientations * across) ** 2) / (2 * WAVELET_WIDTH**2))
        waves = window * np.exp(1j * WAVELET_FREQUENCY * along)
        waves = waves - waves.sum((0, 1)) / window.sum((0, 1)) * window
        waves = waves / np.abs(waves).sum((0, 1))
        return np.concatenate([waves.real, waves.imag], axis=2)[:, :, None].astype("float32")

    def _octaves(self, input_shape: tuple[int, ...]) -> list[tuple[int, int]]:
        """Return the height and the width of the image in each octave."""
        sizes = [(input_shape[1], input_shape[2])]
        while min(sizes[-1]) >= 2 * self.grid:
            sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
        return sizes

    def flops(self, input_shape: tuple[int, ...]) -> int:
        pixels = sum(height * width for height, width in self._octaves(input_shape))
        return 2 * WAVELET_SIDE**2 * 2 * self.orientations * pixels * input_shape[3]

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        places = sum(min(self.grid, h) * min(self.grid, w) for h, w in self._octaves(input_shape))
        return (input_shape[0], places * input_shape[3] * self.orientations)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "orientations": self.orientations, "grid": self.grid}


def _normalized(x: Tensor, normalization: str) -> Tensor:
    if normalization == "none":
        return x
    if normalization == "group":
        return keras.layers.GroupNormalization(math.gcd(8, x.shape[-1]))(x)
    return {"layer": keras.layers.LayerNormalization, "batch": keras.layers.BatchNormalization}[
        normalization
    ]()(x)


def _pooled(x: Tensor, pooling: str, grid: int = 4) -> Tensor:
    """Return the features of a map `(batch, height, width, channels)` as one vector an item."""
    if pooling == "flatten":
        return keras.layers.Flatten()(x)
    if pooling == "grid":
        return keras.layers.Flatten()(GridMean(grid)(x))
    if pooling == "gem":
        return GeneralizedMean()(x)
    average = keras.layers.GlobalAveragePooling2D(data_format="channels_last")(x)
    if pooling == "average":
        return average
    # Not GlobalMaxPooling2D: on JAX its gradient divides by the number of positions that equal the maximum.
    # Where XLA computes them twice, rounded differently, none does, and the gradient is NaN (seen).
    maximum = keras.layers.MaxPooling2D(x.shape[1:3], data_format="channels_last")(x)
    return keras.layers.Concatenate()([average, keras.layers.Flatten()(maximum)])


@keras.saving.register_keras_serializable("siamkit")
class GridMean(keras.layers.Layer):
    """The means of a grid of places, `(batch, height, width, channels)` -> `(batch, grid, grid, channels)`.

    Place i of a side of n pixels has those from ⌊i n / grid⌋ to ⌈(i + 1) n / grid⌉, so neighbouring places
    may share a pixel, and all places have almost the same size. A shorter side has a place a pixel.

    Args:
        grid: number of places a side.
    """

    def __init__(self, grid: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.grid = grid

    def call(self, inputs: Tensor) -> Tensor:
        return _grid_means(inputs, self.grid, self.compute_dtype)

    def flops(self, input_shape: tuple[int, ...]) -> int:
        return 0  # as for other poolings

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        batch, height, width, channels = input_shape
        return (batch, min(self.grid, height), min(self.grid, width), channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "grid": self.grid}


def _grid_means(x: Tensor, grid: int, dtype: str) -> Tensor:
    rows, columns = (ops.cast(_shares(side, grid), dtype) for side in x.shape[1:3])
    return ops.einsum("ih,bhwc,jw->bijc", rows, x, columns)


def _shares(side: int, grid: int) -> np.ndarray:
    """Return the weight of each pixel of a side in each place, `(places, side)`."""
    places = min(grid, side)
    weights = np.zeros((places, side), dtype="float32")
    for place in range(places):
        cell = slice(place * side // places, -(-(place + 1) * side // places))
        weights[place, cell] = 1 / (cell.stop - cell.start)
    return weights


@keras.saving.register_keras_serializable("siamkit")
class GeneralizedMean(keras.layers.Layer):
    """The generalized mean over places, f_k = (1/n Σᵢ xᵢₖᵖ)^(1/p), with a learned p (Radenović et al. 2018).

    It is the average for p = 1 and nears the maximum as p grows; p stays 1 or above. Features below 1e-6
    count as 1e-6. In float32 whatever the dtype policy, since powers leave the range of half precision.

    Args:
        start: the initial p.
    """

    def __init__(self, start: float = 3.0, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.start = start

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.power = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(self.start), name="power"
        )

    def call(self, inputs: Tensor) -> Tensor:
        power = ops.maximum(self.power, 1.0)
        # By logarithms: a power of a large feature would overflow.
        logs = power * ops.log(ops.maximum(inputs, 1e-6))
        places = inputs.shape[1] * inputs.shape[2]
        return ops.exp((ops.logsumexp(logs, axis=(1, 2)) - math.log(places)) / power)

    def flops(self, input_shape: tuple[int, ...]) -> int:
        return 0  # no products that are summed up

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (input_shape[0], input_shape[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "start": self.start}


def resnet(
    *,
    input_shape: tuple[int, ...],
    embedding_dim: int,
    normalize: bool = True,
    depth: int = 3,
    blocks: int = 1,
    filters: int = 16,
    pooling: str = "flatten",
    dropout: float = 0.0,
) -> keras.Model:
    """Return a residual network of pre-activation blocks, `x + conv(relu(norm(conv(relu(norm(x))))))`.

    There are `depth` stages; each after the first halves the image and doubles the filters. Group
    normalisation takes the place of batch normalisation: an embedding must not depend on what else is
    in the batch.

    Args:
        input_shape: `(height, width, channels)`.
        embedding_dim: number of dimensions of an embedding.
        normalize: whether to scale embeddings to unit length.
        depth: number of stages.
        blocks: number of residual blocks per stage.
        filters: number of filters of the first stage.
        pooling: how the last feature map becomes one vector, as for `cnn`; the paper has `"average"`.
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
    x = _pooled(_activated(x), pooling)
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
    return keras.layers.ReLU()(_normalized(x, "group"))


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
    shallow networks, not at 1e-6. It learns slowly: after 200 steps on 1,000 images `cnn` is far better.

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
    image whose sides are not a multiple of the patch is padded with zeros on all sides. For many images and
    many steps: after 200 steps on 1,000 images `cnn` is far better.

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
