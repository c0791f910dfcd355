"""Encoders of series: shorter than a convolution, and what the steps tell."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import siamkit
from siamkit.encoders.series import RandomKernels

pytestmark = pytest.mark.keras

SMALL = {
    "tcn": {"filters": 4, "depth": 3},
    "inception_time": {"filters": 2, "depth": 2},
    "kernels": {"kernels": 16},
    "rnn": {"units": 4, "cell": "lstm"},
}


@pytest.mark.parametrize("name", list(SMALL))
def test_series_shorter_than_a_convolution_have_an_embedding(name):
    encoder = siamkit.get_encoder(name, input_shape=(1, 1), embedding_dim=2, **SMALL[name])
    assert np.isfinite(encoder.predict(np.ones((1, 1, 1), dtype="float32"), verbose=0)).all()


@pytest.mark.parametrize("name", list(SMALL))
def test_series_that_differ_in_their_height_alone_differ_in_their_embedding(name):
    encoder = siamkit.get_encoder(name, input_shape=(12, 1), embedding_dim=4, **SMALL[name])
    # As after training: at its start, an encoder without biases knows directions only.
    rng = np.random.default_rng(2)
    encoder.set_weights([weight + rng.normal(size=weight.shape) / 5 for weight in encoder.get_weights()])
    heights = np.array([1, 3], dtype="float32")[:, None, None] * np.ones((2, 12, 1), dtype="float32")
    found = encoder.predict(heights, verbose=0)
    assert np.abs(found[0] - found[1]).max() > 1e-2


@pytest.mark.parametrize("name", list(SMALL))
def test_z_normalisation_scales_each_feature_of_each_series_over_its_steps(name):
    encoder = siamkit.get_encoder(name, input_shape=(12, 2), embedding_dim=4, z_norm=True, **SMALL[name])
    rng = np.random.default_rng(3)
    x = (rng.normal(size=(3, 12, 2)) * [1, 20] + [0, 7]).astype("float32")
    x[2, :, 0] = 4  # a feature that never changes becomes 0
    found = keras.Model(encoder.input, encoder.get_layer("z_norm").output).predict(x, verbose=0)
    centered = x - x.mean(axis=1, keepdims=True)
    expected = centered / np.maximum(x.std(axis=1, keepdims=True), 1e-9)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    embeddings = encoder.predict(x, verbose=0)
    np.testing.assert_allclose(encoder.predict(5 * x - 3, verbose=0), embeddings, atol=1e-4)
    assert np.abs(embeddings[0] - embeddings[1]).max() > 1e-3
    assert not encoder.get_layer("z_norm").weights


@pytest.fixture(scope="module")
def steps_of_a_tcn():
    """Which steps a change of the fifth of 24 reaches, before they are averaged: 3 blocks, kernel 2."""
    encoder = siamkit.get_encoder("tcn", input_shape=(24, 1), embedding_dim=4, depth=3, kernel=2, filters=16)
    (average,) = (layer for layer in encoder.layers if "average" in layer.name)
    steps = keras.Model(encoder.inputs, average.input)
    x = np.random.default_rng(1).normal(size=(2, 24, 1)).astype("float32")
    x[1, :] = x[0, :]
    x[1, 4] += 5
    found = steps.predict(x, verbose=0)
    return np.flatnonzero(np.abs(found[1] - found[0]).max(axis=1) > 1e-6)


def test_a_tcn_looks_back_only_and_as_far_as_its_dilations_reach(steps_of_a_tcn):
    # 1 + 2 (2 - 1) (2³ - 1) = 15 steps.
    np.testing.assert_array_equal(steps_of_a_tcn, np.arange(4, 4 + 15))


def test_an_inception_module_has_convolutions_of_three_lengths_none_longer_than_the_series():
    def lengths(steps):
        encoder = siamkit.get_encoder("inception_time", input_shape=(steps, 2), embedding_dim=2, depth=1)
        return {layer.kernel_size[0] for layer in encoder.layers if "conv1d" in layer.name}

    assert lengths(100) == {40, 20, 10, 1}
    assert lengths(15) == {15, 10, 1}


def test_an_inception_time_bridges_every_three_modules_and_the_rest():
    def bridges(depth):
        encoder = siamkit.get_encoder(
            "inception_time", input_shape=(9, 2), embedding_dim=2, depth=depth, filters=1
        )
        return sum(layer.name.startswith("add") for layer in encoder.layers)

    assert [bridges(depth) for depth in (1, 3, 4)] == [1, 1, 2]


@pytest.mark.parametrize(("cell", "gates"), [("gru", 3), ("lstm", 4)])
@pytest.mark.parametrize("directions", [1, 2])
def test_an_rnn_has_the_cell_and_the_directions_asked_for(cell, gates, directions):
    encoder = siamkit.get_encoder(
        "rnn", input_shape=(5, 2), embedding_dim=2, cell=cell, units=3, bidirectional=directions == 2
    )
    assert encoder.get_weights()[0].shape == (2, gates * 3)
    assert encoder.get_layer("projection").kernel.shape == (3 * directions, 2)


def test_random_kernels_give_the_share_of_positive_steps_and_the_maximum():
    layer = RandomKernels(5)
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, 40, 3)).astype("float32")
    found = keras.ops.convert_to_numpy(layer(x))
    weight, bias = layer.get_weights()
    # 40 steps hold 9 steps at a dilation of 1, 2 and 4; the first dilations get the spare kernels.
    assert layer.dilations == [(1, 2), (2, 2), (4, 1)]
    np.testing.assert_allclose(weight.mean(axis=0), 0, atol=1e-6)
    assert not layer.trainable_variables
    for kernel, dilation in enumerate((1, 1, 2, 2, 4)):
        for item in range(2):
            values = [
                bias[kernel]
                + sum(
                    x[item, step + (tap - 4) * dilation] @ weight[tap, :, kernel]
                    for tap in range(9)
                    if 0 <= step + (tap - 4) * dilation < 40
                )
                for step in range(40)
            ]
            np.testing.assert_allclose(found[item, 5 + kernel], np.max(values), rtol=1e-4)
            np.testing.assert_allclose(found[item, kernel], np.mean(np.array(values) > 0), atol=1e-6)
