"""What the encoders share: the head that ends every one of them."""

from __future__ import annotations

from typing import Any

import keras

from siamkit.errors import ComponentError
from siamkit.metrics.base import Tensor
from siamkit.metrics.functions import unit


@keras.saving.register_keras_serializable("siamkit")
class UnitNormalization(keras.layers.Layer):
    """Scales each embedding to length 1, in float32 whatever the dtype policy; zero stays zero."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, inputs: Tensor) -> Tensor:
        return unit(inputs)

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape


def finish(inputs: Tensor, features: Tensor, embedding_dim: int, normalize: bool, name: str) -> keras.Model:
    """The encoder from its inputs and last features `(batch, n)`: a projection, then unit length."""
    if embedding_dim < 1:
        raise ComponentError(f"embedding_dim should be at least 1, got {embedding_dim!r}")
    outputs = keras.layers.Dense(embedding_dim, name="projection")(features)
    if normalize:
        outputs = UnitNormalization(name="unit")(outputs)
    return keras.Model(inputs, outputs, name=name)


def of_rank(input_shape: tuple[int, ...], rank: int, name: str, meaning: str) -> tuple[int, ...]:
    """The shape of one item, checked."""
    shape = tuple(input_shape)
    if len(shape) != rank or any(size is None or size < 1 for size in shape):
        raise ComponentError(f"{name} takes items of shape {meaning}, got input_shape={shape}")
    return shape
