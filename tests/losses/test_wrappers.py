"""Losses around losses, in models: each loss inside gets the metric, is trained and saved, stepped once."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import siamkit
from siamkit.errors import ComponentError, ModelError
from siamkit.model.training_state import multiplied

pytestmark = pytest.mark.keras

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 5)).astype("float32")
Y = np.arange(24) % 4

MEMORY = {"cross_batch_memory": {"loss": {"matryoshka": {"loss": "multi_similarity"}}, "memory_size": 20}}
DEEP = {
    "weighted_sum": {
        "first": {"weighted_sum": {"first": "arcface", "second": "center", "weight": 0.1}},
        "second": MEMORY,
    }
}


def model_with(loss, **needs):
    keras.utils.set_random_seed(0)
    return siamkit.build("mlp", "cosine", loss, embedding_dim=8, input_shape=(5,), num_classes=4, **needs)


def numpy(x):
    return np.asarray(ops.convert_to_numpy(x))


def memory_of(loss):
    return loss.memory if hasattr(loss, "memory") else next(filter(None, map(memory_of, loss.wrapped)), None)


@pytest.mark.one_backend
def test_losses_nested_deep_train_everything_and_come_back_from_a_file(tmp_path):
    model = model_with(DEEP)
    states = [numpy(weight) for weight in model.loss_state_holder.trainable_variables]
    assert len(states) == 2  # proxies and centers
    model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    for before, after in zip(states, model.loss_state_holder.trainable_variables, strict=True):
        assert np.any(before != numpy(after))
    model.save(tmp_path / "model.keras")
    again = siamkit.load_model(tmp_path / "model.keras")
    for mine, theirs in zip(model.weights, again.weights, strict=True):
        np.testing.assert_allclose(numpy(mine), numpy(theirs), atol=1e-6)
    for each in (model, again):
        each.fit(X, Y, batch_size=8, epochs=1, shuffle=False, verbose=0)
    np.testing.assert_allclose(model.embed(X), again.embed(X), atol=1e-5)


def test_a_memory_fills_and_wraps_in_training_and_stays_as_it_is_in_evaluation():
    model = model_with({"cross_batch_memory": {"loss": "contrastive", "memory_size": 20}})
    memory = memory_of(model.loss)
    assert numpy(memory.filled).sum() == 0
    model.fit(X[:8], Y[:8], batch_size=8, epochs=1, shuffle=False, verbose=0)
    assert numpy(memory.filled).sum() == 8
    np.testing.assert_array_equal(numpy(memory.labels)[:8], Y[:8])
    model.fit(X, Y, batch_size=8, epochs=1, shuffle=False, verbose=0)
    assert numpy(memory.filled).sum() == 20
    assert int(numpy(memory.next_row)) == 32 % 20
    held = numpy(memory.embeddings).copy()
    model.evaluate(X, Y, batch_size=8, verbose=0)
    np.testing.assert_array_equal(numpy(memory.embeddings), held)


def test_every_state_inside_keeps_its_multiplier_and_is_stepped_once():
    shared = siamkit.get_loss("arcface", num_classes=4)
    loss = siamkit.get_loss(
        "weighted_sum",
        first={"weighted_sum": {"first": shared, "second": {"center": {"learning_rate_multiplier": 7.0}}}},
        second={"matryoshka": {"loss": shared}},
        num_classes=4,
    )
    siamkit.Siamese(model_with("triplet").encoder, "cosine").compile("adam", loss)
    assert sorted(factor for _, factor in multiplied(loss.state)) == [7.0, 100.0]


def test_a_sum_with_a_batch_coupled_loss_refuses_a_sample_weight():
    loss = siamkit.get_loss("weighted_sum", first="contrastive", second="online_contrastive", metric="cosine")
    pairs = RNG.normal(size=(4, 2, 3)).astype("float32")
    with pytest.raises(ModelError, match="compares the items of a batch with one another"):
        loss(np.array([1, 0, 1, 0]), pairs, sample_weight=np.ones(4))


def test_a_loss_inside_another_is_compiled_into_one_model_only():
    inner = siamkit.get_loss("arcface", num_classes=4)
    model = model_with(siamkit.get_loss("matryoshka", loss=inner, smallest=2))
    with pytest.raises(ModelError, match="'arcface' is already compiled into another model"):
        model_with(inner)
    assert model.loss.wrapped[0] is inner
    with pytest.raises(ModelError, match="'triplet' has a metric of its own"):
        model_with(siamkit.get_loss("matryoshka", loss=siamkit.get_loss("triplet", metric="euclidean")))


def test_a_metric_of_a_losss_own_that_equals_the_models_is_no_obstacle():
    model = model_with(siamkit.get_loss("triplet", metric="cosine"))
    assert model.loss.metric is model.metric


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: siamkit.get_loss("cross_batch_memory", loss="arcface", num_classes=3),
            "which 'arcface' is not",
        ),
        (lambda: siamkit.get_loss("cross_batch_memory", loss="n_pairs"), "which 'n_pairs' is not"),
        (
            lambda: siamkit.get_loss("matryoshka", loss="cross_batch_memory"),
            "put cross_batch_memory around matryoshka",
        ),
        (
            lambda: siamkit.get_loss("weighted_sum", first="triplet", second="cosent"),
            "'triplet' learns from labels or triplets; 'cosent' learns from",
        ),
        (
            lambda: siamkit.get_loss("matryoshka", loss="snr_contrastive", metric="cosine"),
            "compares through snr only, not through 'cosine'",
        ),
        (
            lambda: siamkit.get_loss("matryoshka", loss="arcface"),
            "the loss 'arcface' is missing the argument num_classes",
        ),
        (lambda: siamkit.get_loss("matryoshka", dims=[0]), "dims of loss 'matryoshka' should be at least 1"),
    ],
)
def test_losses_that_do_not_go_together_are_refused_in_one_sentence(make, words):
    with pytest.raises(ComponentError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------ labels on their way through fit


@pytest.mark.one_backend
@pytest.mark.parametrize("rename", [lambda y: y.astype("int64") * 2**32, lambda y: np.array(list("abcd"))[y]])
def test_labels_of_any_type_may_be_fitted(rename):
    losses = []
    for labels in (Y, rename(Y)):
        model = model_with("triplet")
        history = model.fit(
            X, labels, batch_size=8, epochs=1, shuffle=False, verbose=0, validation_data=(X, labels)
        )
        losses.append([history.history["loss"][0], history.history["val_loss"][0]])
        model.evaluate(X, labels, verbose=0)
    assert losses[0][0] > 0
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


@pytest.mark.parametrize("labels", [Y + 5, Y - 1, np.array(list("abcd"))[Y]])
def test_labels_without_a_proxy_are_refused_before_training(labels):
    with pytest.raises(ModelError, match="has proxies for 4 classes, so it needs class ids from 0 to 3"):
        model_with("arcface").fit(X, labels, verbose=0)


def test_a_memory_refuses_labels_that_mean_something_else_in_each_batch():
    loss = siamkit.get_loss("cross_batch_memory", metric="cosine", memory_size=8)
    for labels in (["a"], [10**12]):
        with pytest.raises(ModelError, match="keeps labels from batch to batch"):
            loss(np.array(labels), X[:1])
