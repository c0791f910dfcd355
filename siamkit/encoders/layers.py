"""The layers that the encoders need and Keras has not."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamkit.metrics.base import Tensor


@keras.saving.register_keras_serializable("siamkit")
class RealTokens(keras.layers.Layer):
    """Token ids `(batch, length)` -> `(batch, length, 1)`, 1 where there is a token, 0 where padding."""

    def call(self, inputs: Tensor) -> Tensor:
        return ops.cast(ops.expand_dims(ops.not_equal(inputs, 0), -1), self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*input_shape, 1)


@keras.saving.register_keras_serializable("siamkit")
class RealMean(keras.layers.Layer):
    """The mean over real tokens: `(batch, length, dim)`, what `RealTokens` gave -> `(batch, dim)`.

    That of a text of nothing but padding is 0, not 0/0 as in `GlobalAveragePooling1D`.
    """

    def call(self, inputs: Tensor, real: Tensor) -> Tensor:
        share = real / ops.maximum(ops.sum(real, axis=1, keepdims=True), 1)
        return ops.sum(inputs * share, axis=1)

    def compute_output_shape(
        self, inputs_shape: tuple[int, ...], real_shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        return (inputs_shape[0], inputs_shape[2])


@keras.saving.register_keras_serializable("siamkit")
class Positions(keras.layers.Layer):
    """Adds to each place of `(batch, length, dim)` a vector of its own, learnt."""

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.positions = self.add_weight(
            shape=input_shape[1:], initializer=keras.initializers.TruncatedNormal(stddev=0.02)
        )

    def call(self, inputs: Tensor) -> Tensor:
        return inputs + self.positions

    def flops(self, input_shape: tuple[int, ...]) -> int:
        return 0  # no products

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape


@keras.saving.register_keras_serializable("siamkit")
class LayerScale(keras.layers.Layer):
    """Multiplies each channel by a factor of its own, learnt, small at first (Touvron et al. 2021).

    Args:
        start: the factors before training.
    """

    def __init__(self, start: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start = start

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.factors = self.add_weight(
            shape=input_shape[-1:], initializer=keras.initializers.Constant(self.start)
        )

    def call(self, inputs: Tensor) -> Tensor:
        return inputs * self.factors

    def flops(self, input_shape: tuple[int, ...]) -> int:
        return 0  # as for the scales of a normalisation

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "start": self.start}
