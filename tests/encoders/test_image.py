"""Encoders of images: sizes that their downsampling does not fit, and what their parts do."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import siamkit
from siamkit.encoders.base import LayerScale, Positions

pytestmark = pytest.mark.keras

SMALL = {
    "cnn": {"filters": 2, "depth": 4},
    "resnet": {"filters": 2, "depth": 3},
    "convnext": {"filters": 2, "depth": 3, "blocks": 1},
    "vit": {"width": 4, "depth": 1, "heads": 1},
}


@pytest.mark.parametrize("name", list(SMALL))
def test_images_smaller_than_the_downsampling_have_an_embedding(name):
    for size in ((1, 1), (3, 7), (1, 5)):
        encoder = siamkit.get_encoder(name, input_shape=(*size, 1), embedding_dim=2, **SMALL[name])
        assert encoder.output_shape == (None, 2)
    found = encoder.predict(np.ones((1, 1, 5, 1), dtype="float32"), verbose=0)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(("name", "smallest"), [("resnet", (7, 7)), ("convnext", (7, 7)), ("cnn", (7, 7))])
def test_each_stage_halves_the_image_until_it_is_small(name, smallest):
    encoder = siamkit.get_encoder(name, input_shape=(28, 28, 1), embedding_dim=2, **SMALL[name])
    sides = [layer.output.shape[1:3] for layer in encoder.layers if "conv2d" in layer.name]
    assert sides[-1] == smallest
    assert sides == sorted(sides, reverse=True)


def test_a_vision_transformer_sees_every_pixel_of_an_image_that_its_patches_do_not_divide():
    encoder = siamkit.get_encoder(
        "vit", input_shape=(6, 5, 1), embedding_dim=4, patch=4, width=8, depth=1, heads=2
    )
    assert next(layer for layer in encoder.layers if isinstance(layer, Positions)).output.shape[1] == 4
    blank = np.zeros((1, 6, 5, 1), dtype="float32")
    one_lit = np.eye(30, dtype="float32").reshape(30, 6, 5, 1)
    found = encoder.predict(np.concatenate([blank, one_lit]), verbose=0, batch_size=31)
    assert (np.abs(found[1:] - found[0]).max(axis=1) > 1e-4).all()


def test_a_vision_transformer_knows_where_a_patch_stands():
    encoder = siamkit.get_encoder("vit", input_shape=(8, 8, 1), embedding_dim=4, width=8, depth=1, heads=2)
    x = np.random.default_rng(1).normal(size=(1, 8, 8, 1)).astype("float32")
    swapped = np.concatenate([x[:, 4:], x[:, :4]], axis=1)
    found = encoder.predict(np.concatenate([x, swapped]), verbose=0)
    assert not np.allclose(found[0], found[1], atol=1e-4)


def test_layer_scale_multiplies_each_channel_and_keeps_its_start():
    layer = LayerScale(start=0.5)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(layer(np.ones((1, 3), dtype="float32"))), [[0.5] * 3]
    )
    layer.set_weights([np.array([1.0, 2.0, 3.0])])
    x = np.full((1, 2, 2, 3), 2.0, dtype="float32")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x))[0, 1, 1], [2, 4, 6])
    assert LayerScale.from_config(layer.get_config()).start == 0.5
