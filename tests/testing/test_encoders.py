"""The kit can fail: for each check of an encoder, a wrong encoder that it catches."""

from __future__ import annotations

import math

import keras
import pytest
from keras import ops

import siamkit
from siamkit.encoders.base import finish
from siamkit.testing import cases

pytestmark = [pytest.mark.keras, pytest.mark.one_backend]


def built(layer=None, *, input_shape, embedding_dim, normalize=True, width=8):
    """One hidden layer, with a planted one after it."""
    inputs = keras.Input(input_shape)
    x = keras.layers.Dense(width, activation="tanh")(inputs)
    return finish(inputs, x if layer is None else layer(x), embedding_dim, normalize, "planted")


def right(*, input_shape, embedding_dim, normalize=True, width=8):
    return built(input_shape=input_shape, embedding_dim=embedding_dim, normalize=normalize, width=width)


def spec(factory, **changes):
    width = siamkit.Int(8, low=4, high=16, help="units")
    told = {"inputs": "vector", "summary": "a planted encoder", "params": {"width": width}}
    return siamkit.EncoderSpec(**{"name": "planted", "factory": factory, **told, **changes})


def planted(layer):
    """The spec of an encoder with this layer in it."""

    def factory(*, input_shape, embedding_dim, normalize=True, width=8):
        return built(
            layer(), input_shape=input_shape, embedding_dim=embedding_dim, normalize=normalize, width=width
        )

    return spec(factory)


def test_a_right_encoder_passes():
    for case in cases(spec(right)):
        if case.check.__name__ != "fresh_process":
            case.run()


@keras.saving.register_keras_serializable("planted")
class Unconnected(keras.layers.Layer):
    def call(self, x):
        return 0.5 * x + 0.5 * ops.stop_gradient(x)


@keras.saving.register_keras_serializable("planted")
class NaNAtZero(keras.layers.Layer):
    """The root of a sum of squares, whose gradient at 0 is none."""

    def call(self, x):
        return x / ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True))


@keras.saving.register_keras_serializable("planted")
class NaNGradient(keras.layers.Layer):
    def call(self, x):
        return x + ops.sqrt(ops.square(x - x))


@keras.saving.register_keras_serializable("planted")
class OverTheBatch(keras.layers.Layer):
    def call(self, x):
        return x - ops.mean(x, axis=0, keepdims=True)


@keras.saving.register_keras_serializable("planted")
class Overflowing(keras.layers.Layer):
    """Beyond float16's 65504."""

    def call(self, x):
        return (x + 1.0) * 300.0 * 300.0 / 300.0 / 300.0


@keras.saving.register_keras_serializable("planted")
class EagerOnly(keras.layers.Layer):
    def call(self, x):
        return x if float(ops.convert_to_numpy(ops.sum(x))) > -math.inf else -x

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


@keras.saving.register_keras_serializable("planted")
class Unrepeatable(keras.layers.Layer):
    calls = 0

    def call(self, x):
        Unrepeatable.calls += 1
        return x + 0.1 * (Unrepeatable.calls % 5)

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


@keras.saving.register_keras_serializable("planted")
class Forgetful(keras.layers.Layer):
    """Its config does not tell its power."""

    def __init__(self, power=1, **kwargs):
        super().__init__(**kwargs)
        self.power = power

    def call(self, x):
        return x**self.power

    def get_config(self):
        return {"name": self.name}


@keras.saving.register_keras_serializable("planted")
class NaNInTraining(keras.layers.Layer):
    def call(self, x, training=False):
        return x * math.nan if training else x


def wide(*, input_shape, embedding_dim, normalize=True, width=8):
    return built(input_shape=input_shape, embedding_dim=embedding_dim + 1, normalize=normalize, width=width)


def always_unit(*, input_shape, embedding_dim, normalize=True, width=8):
    return built(input_shape=input_shape, embedding_dim=embedding_dim, normalize=True, width=width)


def narrow(*, input_shape, embedding_dim, normalize=True, width=8):
    if width > 10:
        raise ValueError("no wider than 10")
    return right(input_shape=input_shape, embedding_dim=embedding_dim, normalize=normalize, width=width)


PLANTED = [
    (
        spec(narrow),
        "spec_matches_factory",
        "making the encoder 'planted' with width=16 fails with ValueError",
    ),
    (spec(wide), "shapes", r"over vector should give \(8, 8\) for 8 items, got shape \(8, 9\)"),
    (spec(always_unit), "shapes", "should not give unit length with normalize=False"),
    (planted(NaNGradient), "gradients", "should give a finite gradient by"),
    (planted(Unconnected), "finite_differences", "by its weights|by the input"),
    (planted(NaNAtZero), "edge_cases", "on zeros should give a finite"),
    (planted(OverTheBatch), "independence", "should embed an item alike whatever else is in the batch"),
    (planted(Overflowing), "dtypes", "under mixed_float16 should give finite embeddings"),
    (planted(Unrepeatable), "determinism", "should give the same"),
    (planted(lambda: Forgetful(3)), "config", "should make one of the same embeddings"),
    (planted(NaNInTraining), "training", "should give a finite loss, got nan"),
]


@pytest.mark.parametrize(
    ("wrong", "check", "words"), PLANTED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_wrong_encoder_is_caught_in_a_sentence(wrong, check, words):
    (case,) = [each for each in cases(wrong) if each.check.__name__ == check]
    with pytest.raises(AssertionError, match=words) as caught:
        case.run()
    assert "the encoder 'planted'" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.one_backend("jax", "tensorflow")
@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="Keras runs torch eagerly: nothing is compiled"
)
def test_an_encoder_that_only_runs_eagerly_is_caught():
    (case,) = [each for each in cases(planted(EagerOnly)) if each.check.__name__ == "jit"]
    with pytest.raises(AssertionError, match="compiling the encoder 'planted' fails with"):
        case.run()
