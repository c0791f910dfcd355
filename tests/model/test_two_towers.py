"""Two towers: an encoder of its own for each side, wherever there are pairs."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import siamkit
from siamkit.errors import ModelError

pytestmark = pytest.mark.keras

N, CLASSES = 32, 4


def sides():
    """Vectors, and token ids or table rows that say the same: pairs of one class are alike."""
    rng = np.random.default_rng(0)
    kinds = np.arange(N) % CLASSES
    vectors = (np.eye(CLASSES)[kinds] + rng.normal(scale=0.05, size=(N, CLASSES))).astype("float32")
    y = (np.arange(N) // CLASSES % 2).astype("int32")
    others = np.where(y == 1, kinds, (kinds + 1) % CLASSES)
    tokens = np.stack([others + 1, rng.integers(5, 9, N), np.zeros(N)], axis=1).astype("int32")
    table = {
        "numeric": rng.normal(size=(N, 1)).astype("float32"),
        "missing": np.zeros((N, 1), "float32"),
        "categorical": (others + 2)[:, None].astype("int32"),
    }
    return vectors, tokens, table, y


def towers(right, metric="cosine"):
    left = siamkit.get_encoder("mlp", input_shape=(CLASSES,), embedding_dim=6, depth=1, width=16)
    if right == "lstm":
        other = siamkit.get_encoder(
            "lstm", input_shape=(3,), embedding_dim=6, vocabulary_size=9, units=16, token_dim=8
        )
    else:
        columns = {"numeric": ["n"], "categorical": {"c": CLASSES + 2}}
        shape = {"numeric": (1,), "missing": (1,), "categorical": (1,)}
        other = siamkit.get_encoder(
            "tabular", input_shape=shape, embedding_dim=6, columns=columns, depth=1, width=16
        )
    return siamkit.Siamese((left, other), metric)


@pytest.mark.parametrize(
    ("right", "loss", "metric"),
    [("lstm", "contrastive", "euclidean"), ("tabular", "cosine_mse", "cosine")],
)
def test_two_towers_learn_pairs_and_survive_saving(right, loss, metric, tmp_path):
    a, tokens, table, y = sides()
    b = tokens if right == "lstm" else table
    model = towers(right, metric)
    target = y if loss == "contrastive" else y.astype("float32")
    model.compile(keras.optimizers.Adam(0.03), siamkit.get_loss(loss))
    before = [[np.array(weight) for weight in encoder.get_weights()] for encoder in model.encoders]
    losses = model.fit((a, b), target, batch_size=16, epochs=15, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    for encoder, old in zip(model.encoders, before, strict=True):
        assert any(not np.array_equal(new, was) for new, was in zip(encoder.get_weights(), old, strict=True))
    left, right_side = model.embed(a, side=0), model.embed(b, side=1)
    assert left.shape == right_side.shape == (N, 6)
    compared = model.compare(a, b)
    dot = (left * right_side).sum(1)
    expected = dot if metric == "cosine" else np.linalg.norm(left - right_side, axis=1)
    np.testing.assert_allclose(compared, expected, atol=1e-5)
    measures = siamkit.evaluate(np.stack([left, right_side], axis=1), y, model.metric)
    assert measures["roc_auc"] > 0.9
    # Called on both, the views are stacked in the same order.
    called = keras.ops.convert_to_numpy(model((a, b)))
    np.testing.assert_allclose(called, np.stack([left, right_side], axis=1), atol=1e-5)
    model.threshold = measures["threshold"]
    assert (model.same(a, b) == (y == 1)).mean() > 0.9
    model.save(tmp_path / "model.keras")
    loaded = siamkit.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.compare(a, b), compared)
    if right == "tabular":
        assert np.isfinite(loaded.fit((a, b), target, batch_size=16, verbose=0).history["loss"]).all()


def test_a_side_that_is_not_there_and_one_view_alone_are_refused():
    a, tokens, _, _ = sides()
    model = towers("lstm")
    with pytest.raises(ModelError, match="side should be from 0 to 1, got 2"):
        model.embed(a, side=2)
    with pytest.raises(ModelError, match="takes two views"):
        model(a)
    with pytest.raises(ModelError, match="takes two views, got 3"):
        model((a, tokens, tokens))


def test_towers_of_different_dimensions_are_refused():
    left, right = (siamkit.get_encoder("mlp", input_shape=(3,), embedding_dim=dim) for dim in (4, 5))
    with pytest.raises(ModelError, match="both towers of one dim"):
        siamkit.Siamese((left, right), "cosine")
