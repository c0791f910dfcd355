"""Encoders: shapes, unit length, masks, and what they refuse."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import siamkit
from siamkit.errors import ComponentError

pytestmark = pytest.mark.keras

SMALL = {
    "mlp": {"input_shape": (5,), "width": 8},
    "cnn": {"input_shape": (8, 8, 2), "filters": 4, "depth": 2},
    "lstm": {"input_shape": (6,), "vocabulary_size": 20, "units": 8, "token_dim": 4},
}
NAMES = sorted(SMALL)


@pytest.fixture
def bfloat16_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def items(name, n=3):
    rng = np.random.default_rng(2)
    if name == "lstm":
        return rng.integers(1, 20, size=(n, 6)).astype("int32")
    return rng.normal(size=(n, *SMALL[name]["input_shape"])).astype("float32")


def embed(encoder, x):
    return np.asarray(encoder.predict(x, verbose=0), dtype="float64")


def test_every_built_in_encoder_is_tested_here():
    core = [e.spec.name for e in siamkit.components().encoders.all() if e.origin.distribution == "siamkit"]
    assert sorted(core) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_have_the_size_asked_for_and_unit_length(name):
    encoder = siamkit.get_encoder(name, embedding_dim=4, **SMALL[name])
    embeddings = embed(encoder, items(name))
    assert embeddings.shape == (3, 4)
    assert encoder.output_shape == (None, 4)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_without_normalisation_the_length_is_free(name):
    encoder = siamkit.get_encoder(name, embedding_dim=4, normalize=False, **SMALL[name])
    assert not np.allclose(np.linalg.norm(embed(encoder, items(name)), axis=1), 1, rtol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_under_mixed_precision_embeddings_are_still_float32_of_unit_length(name, bfloat16_policy):
    encoder = siamkit.get_encoder(name, embedding_dim=4, **SMALL[name])
    embeddings = encoder.predict(items(name), verbose=0)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-6)
    assert (
        encoder.get_layer("projection").compute_dtype == "bfloat16"
    )  # the encoder itself follows the policy


def test_an_embedding_does_not_depend_on_what_else_is_in_the_batch():
    for name in NAMES:
        encoder = siamkit.get_encoder(name, embedding_dim=4, dropout=0.3, **SMALL[name])
        x = items(name, 4)
        np.testing.assert_allclose(embed(encoder, x)[:1], embed(encoder, x[:1]), atol=1e-5)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_does_not_change_the_embedding_of_a_text(bidirectional):
    encoder = siamkit.get_encoder("lstm", embedding_dim=4, bidirectional=bidirectional, **SMALL["lstm"])
    short, rest = [7, 3, 9], [0, 0, 0]
    x = np.array([[*short, *rest], [*rest, *short], [0, 7, 0, 3, 9, 0], [*short, 1, 1, 1]], dtype="int32")
    embeddings = embed(encoder, x)
    np.testing.assert_allclose(embeddings[1], embeddings[0], atol=1e-5)
    np.testing.assert_allclose(embeddings[2], embeddings[0], atol=1e-5)
    assert not np.allclose(embeddings[3], embeddings[0], atol=1e-3)  # a real token does


def test_a_text_of_nothing_but_padding_has_a_finite_embedding():
    encoder = siamkit.get_encoder("lstm", embedding_dim=4, **SMALL["lstm"])
    x = np.array([[0] * 6, [1, 2, 3, 4, 5, 6]], dtype="int32")
    assert np.isfinite(embed(encoder, x)).all()
    # And none spoils training.
    model = siamkit.Siamese(encoder, "cosine")
    model.compile("adam", siamkit.get_loss("cosine_mse"))
    history = model.fit((x, x[::-1].copy()), np.array([0.5, 0.2]), epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.mark.parametrize("size", [1, 3, 7])
def test_a_cnn_takes_images_smaller_than_its_pooling(size):
    encoder = siamkit.get_encoder("cnn", input_shape=(size, size, 1), embedding_dim=2, depth=4, filters=2)
    assert embed(encoder, np.ones((1, size, size, 1), dtype="float32")).shape == (1, 2)


def test_an_mlp_flattens_what_is_no_vector():
    encoder = siamkit.get_encoder("mlp", input_shape=(3, 2), embedding_dim=2, depth=0)
    assert embed(encoder, np.ones((4, 3, 2), dtype="float32")).shape == (4, 2)


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("mpl", {}, "unknown encoder 'mpl'; did you mean 'mlp'"),
        ("mlp", {"embedding_dim": 4}, "the encoder 'mlp' wants input_shape"),
        ("mlp", {"input_shape": (3,)}, "the encoder 'mlp' wants embedding_dim"),
        ("mlp", {"input_shape": (3,), "embedding_dim": 0}, "embedding_dim.* should be at least 1, got 0"),
        (
            "mlp",
            {"input_shape": (3,), "embedding_dim": 2.5},
            "embedding_dim.* should be a whole number, got 2.5",
        ),
        (
            "mlp",
            {"input_shape": (3,), "embedding_dim": 2, "normalize": "yes"},
            "normalize.* true or false, got 'yes'",
        ),
        (
            "mlp",
            {"input_shape": (), "embedding_dim": 2},
            r"mlp takes items of a fixed shape, got input_shape=\(\)",
        ),
        ("mlp", {"input_shape": (None,), "embedding_dim": 2}, "mlp takes items of a fixed shape"),
        ("mlp", {"input_shape": (-3,), "embedding_dim": 2}, "mlp takes items of a fixed shape"),
        ("mlp", {"input_shape": 10, "embedding_dim": 2}, r"input_shape.* should be a tuple of sizes, got 10"),
        (
            "cnn",
            {"input_shape": (8, 8), "embedding_dim": 2},
            r"cnn takes items of shape \(height, width, channels\)",
        ),
        ("cnn", {"input_shape": (8, 0, 1), "embedding_dim": 2}, "cnn takes items of shape"),
        (
            "lstm",
            {"input_shape": (8, 8), "embedding_dim": 2, "vocabulary_size": 9},
            "lstm takes items of shape",
        ),
        ("lstm", {"input_shape": (8,), "embedding_dim": 2}, "the encoder 'lstm' wants vocabulary_size"),
        (
            "lstm",
            {"input_shape": (8,), "embedding_dim": 2, "vocabulary_size": 1},
            "vocabulary_size should be at least 2",
        ),
        (
            "mlp",
            {"input_shape": (3,), "embedding_dim": 2, "depth": -1},
            "depth of encoder 'mlp' should be at least 0",
        ),
        (
            "mlp",
            {"input_shape": (3,), "embedding_dim": 2, "dept": 1},
            "'mlp' has no parameter 'dept'; did you mean 'depth'",
        ),
        (object(), {}, "an encoder is given by name or as a keras.Model"),
    ],
)
def test_a_bad_encoder_is_refused_in_one_sentence(name, params, words):
    with pytest.raises(ComponentError, match=words) as caught:
        siamkit.get_encoder(name, **params)
    assert "\n" not in str(caught.value)
