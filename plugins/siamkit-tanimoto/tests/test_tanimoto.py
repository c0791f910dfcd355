"""Tanimoto through its entry point, as a user has it: by name."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import keras
import numpy as np
import pytest
from keras import ops

import siamkit

pytestmark = pytest.mark.keras


def numpy(x):
    return np.asarray(ops.convert_to_numpy(x), dtype="float64")


def by_hand(a, b):
    """One pair at a time."""
    result = np.zeros((len(a), len(b)))
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            union = x @ x + y @ y - x @ y
            result[i, j] = x @ y / union if union else 0.0
    return result


def test_it_is_listed_with_its_distribution_and_version():
    entry = siamkit.components().metrics["tanimoto"]
    assert entry.qualified == "siamkit-tanimoto/tanimoto"
    assert entry.origin.version == metadata.version("siamkit-tanimoto")
    assert "siamkit-tanimoto" in siamkit.components().plugins
    assert [p for p in siamkit.components().problems if p.origin == entry.origin] == []


def test_being_listed_imports_no_keras():
    script = "import sys, siamkit; siamkit.components().metrics['tanimoto']; sys.exit('keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_values_are_those_worked_out_by_hand():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 4)), rng.normal(size=(3, 4))
    metric = siamkit.get_metric("tanimoto")
    np.testing.assert_allclose(numpy(metric.matrix(a, b)), by_hand(a, b), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(numpy(metric(a[:3], b)), np.diag(by_hand(a[:3], b)), rtol=1e-5, atol=1e-6)


def test_on_sets_it_is_the_jaccard_index():
    one, other = np.array([[1, 1, 1, 0, 0]]), np.array([[0, 1, 1, 1, 0]])
    assert numpy(siamkit.get_metric("tanimoto")(one, other))[0] == pytest.approx(2 / 4)


def test_the_range_is_reached_at_both_ends_and_never_left():
    metric = siamkit.get_metric("tanimoto")
    a = np.random.default_rng(1).normal(size=(50, 3))
    values = numpy(metric.matrix(a, np.concatenate([a, -a])))
    np.testing.assert_allclose(np.diag(values), 1, rtol=1e-5)
    np.testing.assert_allclose(np.diag(values[:, 50:]), -1 / 3, rtol=1e-5)
    assert metric.range[0] - 1e-6 <= values.min() <= values.max() <= metric.range[1] + 1e-6
    assert siamkit.components().metrics["tanimoto"].spec.range == metric.range


def test_two_zero_vectors_have_similarity_zero():
    zero = np.zeros((2, 3))
    metric = siamkit.get_metric("tanimoto")
    assert not numpy(metric(zero, zero)).any()
    assert not numpy(metric.matrix(zero, np.ones((1, 3)))).any()


def test_a_model_trains_through_zero_and_identical_embeddings_and_is_loaded_again(tmp_path):
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(2).normal(size=(12, 6)).astype("float32")
    x[0] = 0  # without biases its embedding is zero: the gradient must be finite there
    x[2] = x[4]
    encoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, use_bias=False)])
    model = siamkit.Siamese(encoder, "tanimoto")
    model.compile(keras.optimizers.Adam(0.01), siamkit.get_loss("triplet", margin=0.5))
    loss = model.fit(x, np.arange(12) % 2, batch_size=12, epochs=10, verbose=0).history["loss"]
    assert np.isfinite(loss).all()
    assert loss[-1] < loss[0]
    model.save(tmp_path / "model.keras")
    again = siamkit.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.compare(x, x[::-1]), model.compare(x, x[::-1]), atol=1e-6)
