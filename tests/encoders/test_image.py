"""Encoders of images: sizes that their downsampling does not fit, and what their parts do."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from scipy.signal import convolve2d

import siamkit
from siamkit.encoders import cost
from siamkit.encoders.base import LayerScale, Positions
from siamkit.encoders.image import GeneralizedMean, Scattering

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


@pytest.mark.parametrize(
    ("side", "blocks", "last"), [(3, 3, 3), (8, 3, 4), (28, 3, 7), (64, 4, 4), (96, 5, 6), (224, 6, 7)]
)
def test_the_depth_of_a_cnn_follows_the_side_of_the_image(side, blocks, last):
    encoder = siamkit.get_encoder("cnn", input_shape=(side, side + 3, 1), embedding_dim=2, filters=2)
    maps = [layer.output.shape for layer in encoder.layers if isinstance(layer, keras.layers.ReLU)]
    assert len(maps) == blocks
    # At most 4 to 7 pixels; half a pixel is left out.
    assert last <= maps[-1][1] <= min(side, 7)
    assert maps[-1][3] == 2 * 2 ** min(blocks - 1, 3)


def test_a_cnn_that_halves_by_strides_costs_a_third():
    by_strides, by_maximum = (
        siamkit.get_encoder("cnn", input_shape=(64, 64, 3), embedding_dim=4, strides=strides)
        for strides in (2, 1)
    )
    assert by_strides.count_params() == by_maximum.count_params()
    assert cost(by_maximum).flops > 3 * cost(by_strides).flops


def test_the_shortcut_of_a_cnn_is_a_linear_function_of_at_most_64_pixels_a_side():
    encoder = siamkit.get_encoder(
        "cnn",
        input_shape=(130, 70, 2),
        embedding_dim=3,
        normalize=False,
        filters=2,
        depth=1,
        pooling="average",
    )
    kernel, bias = encoder.get_layer("projection").get_weights()
    assert np.abs(kernel).max() <= 0.1 * math.sqrt(6 / (2 + 3))  # a tenth of Glorot's limit
    encoder.get_layer("projection").set_weights([np.zeros_like(kernel), bias + 1])
    x = np.random.default_rng(7).normal(size=(2, 130, 70, 2)).astype("float32")
    # 3 by 2 pixels become one; the last row, which has no two others, is left out.
    pixels = x[:, :129].astype("float64").reshape(2, 43, 3, 35, 2, 2).mean(axis=(2, 4)).reshape(2, -1)
    (linear,) = encoder.get_layer("shortcut").get_weights()
    np.testing.assert_allclose(encoder.predict(x, verbose=0), pixels @ linear + 1, rtol=1e-4, atol=1e-5)
    without = siamkit.get_encoder("cnn", input_shape=(8, 8, 1), embedding_dim=3, shortcut=False)
    assert "shortcut" not in [layer.name for layer in without.layers]


def test_half_of_cnn_pca_are_principal_components_that_training_leaves():
    rng = np.random.default_rng(5)
    x = (rng.normal(size=(20, 9, 8, 1)) + rng.normal(size=(9, 8, 1))).astype("float32")
    arguments = {"input_shape": (9, 8, 1), "training_items": x, "filters": 2, "depth": 1}
    encoder = siamkit.get_encoder("cnn_pca", embedding_dim=7, **arguments)
    flat = x.reshape(20, -1).astype("float64")
    _, sizes, axes = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    components = (flat - flat.mean(axis=0)) @ axes[:3].T / np.sqrt(sizes[:3] / np.sqrt(19))
    components /= np.linalg.norm(components, axis=1, keepdims=True)

    def half():
        found = np.asarray(encoder.predict(x, verbose=0), dtype="float64")
        np.testing.assert_allclose(np.linalg.norm(found[:, :4], axis=1), math.sqrt(0.5), rtol=1e-5)
        return found[:, 4:] * math.sqrt(2)

    # The sign of an axis is free.
    np.testing.assert_allclose(np.abs(half()), np.abs(components), atol=1e-4)
    encoder.compile(keras.optimizers.Adam(0.1), "mse")
    encoder.fit(x, np.zeros((20, 7), dtype="float32"), epochs=1, verbose=0)
    np.testing.assert_allclose(np.abs(half()), np.abs(components), atol=1e-4)

    free = siamkit.get_encoder("cnn_pca", embedding_dim=7, normalize=False, **arguments)
    lengths = np.linalg.norm(free.predict(x, verbose=0), axis=1)
    np.testing.assert_allclose(lengths, math.sqrt(2), rtol=1e-5)
    assert siamkit.get_encoder("cnn_pca", embedding_dim=1, **arguments).output_shape == (None, 1)


def test_components_beyond_those_of_the_training_items_are_zero():
    x = np.random.default_rng(6).normal(size=(3, 9, 8, 1)).astype("float32")
    encoder = siamkit.get_encoder(
        "cnn_pca", input_shape=(9, 8, 1), embedding_dim=20, training_items=x, filters=2, depth=1
    )
    found = encoder.predict(x, verbose=0)
    assert np.isfinite(found).all()
    assert not found[:, 13:].any()


def cells(sides, grid):
    """The rows or columns of each place of a grid, as PyTorch's adaptive pooling has them."""
    return [slice(math.floor(i * sides / grid), math.ceil((i + 1) * sides / grid)) for i in range(grid)]


POOLINGS = {
    "flatten": lambda x: x.reshape(len(x), -1),
    "grid": lambda x: np.stack(
        [x[:, rows, columns].mean(axis=(1, 2)) for rows in cells(7, 3) for columns in cells(5, 3)], axis=1
    ).reshape(len(x), -1),
    "average": lambda x: x.mean(axis=(1, 2)),
    "average_max": lambda x: np.concatenate([x.mean(axis=(1, 2)), x.max(axis=(1, 2))], axis=1),
    "gem": lambda x: (np.maximum(x, 1e-6) ** 3).mean(axis=(1, 2)) ** (1 / 3),
}


@pytest.mark.parametrize("pooling", list(POOLINGS))
def test_a_pooling_makes_one_vector_of_a_feature_map(pooling):
    encoder = siamkit.get_encoder(
        "cnn", input_shape=(7, 5, 2), embedding_dim=2, filters=3, depth=1, pooling=pooling, grid=3
    )
    parts = keras.Model(
        encoder.inputs, [encoder.get_layer("projection").input, encoder.get_layer(index=3).output]
    )
    assert isinstance(encoder.get_layer(index=3), keras.layers.ReLU)
    x = np.random.default_rng(1).normal(size=(4, 7, 5, 2)).astype("float32")
    vector, feature_map = (np.asarray(part, dtype="float64") for part in parts.predict(x, verbose=0))
    np.testing.assert_allclose(vector, POOLINGS[pooling](feature_map), rtol=1e-5, atol=1e-6)


def test_a_generalized_mean_runs_from_the_average_to_the_maximum_and_learns_where_between():
    x = np.random.default_rng(2).uniform(0, 2, size=(3, 4, 5, 2)).astype("float32")
    layer = GeneralizedMean()
    value = lambda: keras.ops.convert_to_numpy(layer(x))  # noqa: E731
    np.testing.assert_allclose(value(), (x**3.0).mean(axis=(1, 2)) ** (1 / 3), rtol=1e-5)
    layer.set_weights([np.array(1.0)])
    np.testing.assert_allclose(value(), x.mean(axis=(1, 2)), rtol=1e-5)
    layer.set_weights([np.array(200.0)])
    np.testing.assert_allclose(value(), x.max(axis=(1, 2)), rtol=2e-2)
    layer.set_weights([np.array(0.0)])  # stays 1 or above
    np.testing.assert_allclose(value(), x.mean(axis=(1, 2)), rtol=1e-5)
    assert GeneralizedMean.from_config(GeneralizedMean(start=4.0).get_config()).start == 4.0
    # Under any policy in float32, in which the third power of a large half would not fit.
    large = keras.ops.convert_to_numpy(
        GeneralizedMean(dtype="float16")(np.full((1, 2, 2, 1), 6e4, "float16"))
    )
    np.testing.assert_allclose(large, [[6e4]], rtol=1e-3)


@pytest.mark.parametrize(
    ("normalization", "kind"),
    [
        ("layer", keras.layers.LayerNormalization),
        ("batch", keras.layers.BatchNormalization),
        ("group", keras.layers.GroupNormalization),
        ("none", None),
    ],
)
def test_a_cnn_has_the_normalisation_asked_for_after_each_convolution(normalization, kind):
    encoder = siamkit.get_encoder(
        "cnn", input_shape=(8, 8, 1), embedding_dim=2, filters=6, strides=2, normalization=normalization
    )
    after = [encoder.layers[i + 1] for i, layer in enumerate(encoder.layers) if "conv2d" in layer.name]
    assert len(after) == 3
    assert all(isinstance(layer, kind or keras.layers.ReLU) for layer in after)
    if normalization == "group":
        assert [layer.groups for layer in after] == [2, 4, 8]  # divisors of 6, 12 and 24


def test_batch_normalisation_learns_its_moments_in_a_siamese_model_and_uses_them_alone():
    keras.utils.set_random_seed(1)
    model = siamkit.build(
        {"cnn": {"normalization": "batch", "filters": 2, "depth": 1}},
        "cosine",
        "triplet",
        input_shape=(8, 8, 1),
        embedding_dim=4,
    )
    x = np.random.default_rng(2).normal(3, 2, size=(16, 8, 8, 1)).astype("float32")
    model.fit(x, np.arange(16) % 4, batch_size=16, epochs=3, verbose=0)
    (layer,) = (each for each in model.encoder.layers if isinstance(each, keras.layers.BatchNormalization))
    assert np.abs(keras.ops.convert_to_numpy(layer.moving_mean)).max() > 1e-3
    np.testing.assert_allclose(model.embed(x[:1])[0], model.embed(x)[0], atol=1e-5)


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


def moduli(image, orientations):
    """|x * ψ| of each orientation, `(height, width, orientations)`, pixel by pixel from the formula."""
    found = []
    for number in range(orientations):
        angle = math.pi * number / orientations
        window, wave = np.zeros((7, 7)), np.zeros((7, 7), dtype=complex)
        for row in range(-3, 4):
            for column in range(-3, 4):
                along = column * math.cos(angle) + row * math.sin(angle)
                across = row * math.cos(angle) - column * math.sin(angle)
                window[row + 3, column + 3] = math.exp(
                    -(along**2 + (4 / orientations * across) ** 2) / (2 * 0.8**2)
                )
                wave[row + 3, column + 3] = np.exp(0.75j * math.pi * along)
        kappa = (window * wave).sum() / window.sum()
        wavelet = window * (wave - kappa)
        found.append(np.abs(convolve2d(image, wavelet / np.abs(wavelet).sum(), mode="same")))
    return np.stack(found, axis=-1)


def scattered(images, orientations, grid):
    """The first order of the scattering transform of images, item by item."""
    features = []
    for image in images:
        found = []
        x = np.moveaxis(image.astype("float64"), -1, 0)
        while True:
            height, width = x.shape[1:]
            for channel in x:
                of_channel = moduli(channel, orientations)
                for rows in cells(height, min(grid, height)):
                    for columns in cells(width, min(grid, width)):
                        found.extend(of_channel[rows, columns].mean(axis=(0, 1)))
            if min(height, width) < 2 * grid:
                break
            x = x[:, : height // 2 * 2, : width // 2 * 2]
            x = x.reshape(len(x), height // 2, 2, width // 2, 2).mean(axis=(2, 4))
        features.append(np.sqrt(found))
    return np.array(features)


def test_scattering_is_what_its_formula_says():
    x = np.random.default_rng(8).normal(size=(3, 17, 12, 2)).astype("float32")
    layer = Scattering(orientations=6, grid=3)
    found = keras.ops.convert_to_numpy(layer(x))  # octaves of 17 by 12, 8 by 6 and 4 by 3 pixels
    assert found.shape == tuple(layer.compute_output_shape((3, 17, 12, 2))) == (3, 3 * 9 * 2 * 6)
    np.testing.assert_allclose(found, scattered(x, 6, 3), rtol=2e-3, atol=1e-3)


def test_scattering_starts_with_the_cosine_similarities_of_its_features():
    x = np.random.default_rng(9).normal(size=(6, 9, 8, 1)).astype("float32")
    encoder = siamkit.get_encoder(
        "scattering", input_shape=(9, 8, 1), embedding_dim=8, training_items=x, grid=2, orientations=3
    )
    features = scattered(x, 3, 2)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    found = encoder.predict(x, verbose=0).astype("float64")  # 6 items have at most 6 singular vectors
    np.testing.assert_allclose(found @ found.T, features @ features.T, atol=2e-3)
    assert not found[:, 6:].any()


def test_an_image_that_moves_a_little_stays_near_in_scattering():
    image = np.zeros((1, 28, 28, 1), dtype="float32")
    image[0, 8:20, 10:14] = 1.0
    moved, turned = np.roll(image, 1, axis=2), np.moveaxis(image, 1, 2)
    layer = Scattering()
    vectors = np.stack([keras.ops.convert_to_numpy(layer(each))[0] for each in (image, moved, turned)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    flat = np.stack([each.ravel() / np.linalg.norm(each) for each in (image, moved, turned)])
    assert vectors[0] @ vectors[1] > 0.97 > 0.8 > flat[0] @ flat[1]
    assert vectors[0] @ vectors[2] < vectors[0] @ vectors[1] - 0.03


def test_a_black_image_has_a_finite_embedding_by_scattering():
    x = np.random.default_rng(9).normal(size=(6, 9, 8, 1)).astype("float32")
    encoder = siamkit.get_encoder("scattering", input_shape=(9, 8, 1), embedding_dim=4, training_items=x)
    assert np.isfinite(encoder.predict(np.zeros((1, 9, 8, 1), dtype="float32"), verbose=0)).all()
