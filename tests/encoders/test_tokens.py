"""Encoders of token ids: what padding does not change, and what the formulas say."""

from __future__ import annotations

import functools
import re

import keras
import numpy as np
import pytest

import siamkit
from siamkit.encoders.tokens import HashedNgrams

pytestmark = pytest.mark.keras

SMALL = {
    "bag": {"token_dim": 4},
    "text_cnn": {"token_dim": 4, "filters": 4},
    "lstm": {"units": 8, "token_dim": 4},
    "gru": {"units": 8, "token_dim": 4, "bidirectional": True},
    "transformer": {"width": 8, "depth": 2, "heads": 2},
}
NAMES = [*SMALL, "lstm, both ways"]
WHEREVER = [name for name in NAMES if name not in ("text_cnn", "transformer")]
TEXTS = np.array(
    [
        [7, 3, 9, 0, 0, 0],
        [7, 3, 9, 5, 5, 5],
        [9, 3, 7, 0, 0, 0],
        [0, 0, 0, 7, 3, 9],
        [0, 7, 0, 3, 9, 0],
        [0, 0, 0, 0, 0, 0],
    ],
    dtype="int32",
)


@functools.cache
def made(name, length=6):
    given, _, both = name.partition(", ")
    params = {**SMALL[given], **({"bidirectional": True} if both else {})}
    return siamkit.get_encoder(given, input_shape=(length,), vocabulary_size=20, embedding_dim=4, **params)


@functools.cache
def embeddings(name):
    """Of the texts above: padded behind, with other tokens there, turned round, padded elsewhere, empty."""
    return np.asarray(made(name).predict(TEXTS, verbose=0), dtype="float64")


@pytest.mark.parametrize("name", list(SMALL))
def test_padding_at_the_end_does_not_change_the_embedding(name):
    alone = made(name, length=3)
    for theirs, ours in zip(made(name).weights, alone.weights, strict=True):
        ours.assign(keras.ops.convert_to_numpy(theirs)[: ours.shape[0]])  # of six positions the first three
    found = alone.predict(TEXTS[:1, :3], verbose=0)
    np.testing.assert_allclose(found[0], embeddings(name)[0], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_real_token_changes_the_embedding(name):
    found = embeddings(name)
    assert not np.allclose(found[1], found[0], atol=1e-3)


@pytest.mark.parametrize("name", WHEREVER)
def test_padding_anywhere_does_not_change_the_embedding(name):
    found = embeddings(name)
    np.testing.assert_allclose(found[3], found[0], atol=1e-5)
    np.testing.assert_allclose(found[4], found[0], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_text_of_nothing_but_padding_has_a_finite_embedding(name):
    assert np.isfinite(embeddings(name)).all()


@pytest.mark.parametrize("name", NAMES)
def test_only_a_bag_is_blind_to_the_order_of_the_tokens(name):
    found = embeddings(name)
    assert np.allclose(found[2], found[0], atol=1e-4) == (name == "bag")


def with_random_biases(encoder):
    rng = np.random.default_rng(3)
    encoder.set_weights([rng.normal(size=weight.shape) for weight in encoder.get_weights()])
    return [weight.astype("float64") for weight in encoder.get_weights()]


def test_a_bag_is_the_projected_mean_of_the_embedded_tokens():
    encoder = siamkit.get_encoder(
        "bag", input_shape=(6,), vocabulary_size=20, embedding_dim=4, token_dim=3, normalize=False
    )
    table, projection, bias = with_random_biases(encoder)
    expected = table[[7, 3, 9]].mean(axis=0) @ projection + bias
    np.testing.assert_allclose(encoder.predict(TEXTS[4:5], verbose=0)[0], expected, atol=1e-5)


def test_a_text_cnn_is_the_maximum_over_all_windows_around_a_token():
    encoder = siamkit.get_encoder(
        "text_cnn",
        input_shape=(6,),
        vocabulary_size=20,
        embedding_dim=4,
        token_dim=3,
        filters=5,
        narrowest=2,
        widths=2,
        normalize=False,
    )
    table, *kernels, projection, bias = with_random_biases(encoder)
    ids = [7, 3, 9, 2]
    strongest = []
    for kernel, shift in (kernels[:2], kernels[2:]):
        width = len(kernel)
        # As many zeros before the text as behind it, or one fewer.
        before = (width - 1) // 2
        rows = np.concatenate([np.zeros((before, 3)), table[ids], np.zeros((width - 1 - before, 3))])
        windows = [rows[i : i + width] for i in range(len(ids))]
        heights = [np.maximum(0, np.tensordot(window, kernel, 2) + shift) for window in windows]
        strongest.append(np.max(heights, axis=0))
    expected = np.concatenate(strongest) @ projection + bias
    found = encoder.predict(np.array([[*ids, 0, 0]], dtype="int32"), verbose=0)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.one_backend
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("bad", [50, -1, 0.5, np.nan, 2.0**40])
def test_token_ids_that_the_encoder_does_not_have_are_refused_on_the_host(name, bad):
    encoder = siamkit.get_encoder(name, input_shape=(6,), embedding_dim=4, vocabulary_size=50, **SMALL[name])
    model = siamkit.Siamese(encoder, "cosine")
    assert np.isfinite(model.embed(np.full((2, 6), 49))).all()
    ids = np.ones((3, 6))
    ids[1, 2] = bad
    whole = rf"whole numbers from 0 to 49 \(vocabulary_size 50\), got {re.escape(f'{bad:g}')} in item 1"
    words = "NaN or infinity in 1 of 3 items, the first is item 1" if np.isnan(bad) else whole
    with pytest.raises(siamkit.SiamkitError, match=words):
        model.embed(ids)


def test_only_encoders_of_token_ids_have_a_vocabulary():
    model = siamkit.Siamese(siamkit.get_encoder("mlp", input_shape=(6,), embedding_dim=4), "cosine")
    assert model.embed(np.full((2, 6), -3.5)).shape == (2, 4)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "how", ["arrays", "pairs", "validation", "generator", "PyDataset", "evaluate", "predict"]
)
def test_unknown_token_ids_never_reach_a_device(how):
    encoder = siamkit.get_encoder("bag", input_shape=(6,), embedding_dim=4, vocabulary_size=50)
    model = siamkit.Siamese(encoder, "euclidean")
    model.compile("sgd", siamkit.get_loss("contrastive" if how == "pairs" else "triplet"))
    good = np.random.default_rng(0).integers(0, 50, (16, 6))
    bad, labels = good.copy(), np.arange(16) % 2
    bad[3, 1] = 50

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return bad, labels

    def batches():
        yield bad, labels

    calls = {
        "arrays": lambda: model.fit(bad, labels, verbose=0),
        "pairs": lambda: model.fit((good, bad), labels, verbose=0),
        "validation": lambda: model.fit(good, labels, validation_data=(bad, labels), verbose=0),
        "generator": lambda: model.fit(batches(), steps_per_epoch=1, shuffle=False, verbose=0),
        "PyDataset": lambda: model.fit(Batches(), verbose=0),
        "evaluate": lambda: model.evaluate(bad, labels, verbose=0),
        "predict": lambda: model.predict((good, bad), verbose=0),
    }
    with pytest.raises(siamkit.errors.DataError, match=r"vocabulary_size 50.*, got 50 in item 3"):
        calls[how]()


def test_hashed_ngrams_are_those_of_a_loop_and_leave_out_padding():
    ids = np.array([[7, 8, 7, 8, 0], [3, 0, 0, 0, 0], [0, 0, 0, 0, 0]], dtype="int32")
    layer = HashedNgrams(longest=3, buckets=40)
    found = keras.ops.convert_to_numpy(layer(ids))
    shape = layer.compute_output_spec(keras.KerasTensor((3, 5), "int32")).shape
    assert found.shape == tuple(shape) == (3, 7)
    for row, tokens in zip(found, ids.tolist(), strict=True):
        expected = []
        for size in (2, 3):
            for start in range(5 - size + 1):
                ngram, value = tokens[start : start + size], size
                for token in ngram:
                    value = (31337 * value + token) % 65521
                expected.append(0 if 0 in ngram else 1 + value % 39)
        np.testing.assert_array_equal(row, expected)
    assert found[0, 0] == found[0, 2] != found[0, 1]  # 7 8, 7 8 and 8 7
    # The largest hash and id stay within 32 bits.
    large = keras.ops.convert_to_numpy(HashedNgrams(2, 65521)(np.full((1, 4), 1_000_000, dtype="int32")))
    assert large.min() > 0


def test_a_bag_of_ngrams_starts_as_a_bag_of_pieces_and_learns_their_order():
    encoder = siamkit.get_encoder(
        "ngrams", input_shape=(4,), embedding_dim=4, vocabulary_size=5, buckets=500, token_dim=8
    )
    x = np.array([[1, 2, 3, 0], [2, 1, 3, 0], [3, 1, 2, 0], [4, 4, 0, 0]], dtype="int32")
    embed = lambda: encoder.predict(x, verbose=0)  # noqa: E731
    pieces, rows = (layer for layer in encoder.layers if isinstance(layer, keras.layers.Embedding))
    # Independently: the mean of the pieces' embeddings, projected, of unit length.
    table = keras.ops.convert_to_numpy(pieces.embeddings)
    kernel, bias = encoder.get_layer("projection").get_weights()
    means = np.stack([table[row[row > 0]].mean(axis=0) for row in x]) @ kernel + bias
    np.testing.assert_allclose(embed(), means / np.linalg.norm(means, axis=1, keepdims=True), atol=1e-5)

    rows.set_weights([np.random.default_rng(0).normal(size=(500, 8)).astype("float32")])
    found = embed()
    assert np.abs(found[0] - found[1]).max() > 1e-2
    assert np.abs(found[0] - found[2]).max() > 1e-2
    # A text of one piece has no longer n-grams.
    single = siamkit.get_encoder("ngrams", input_shape=(1,), embedding_dim=4, vocabulary_size=5)
    assert single.predict(np.array([[1]], dtype="int32"), verbose=0).shape == (1, 4)
