"""Siamese.compile(micro_batch=...): the gradients of the whole batch with the memory of a micro-batch."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import siamkit
from siamkit.backend.beyond_keras import DRAWS
from siamkit.errors import ModelError

pytestmark = pytest.mark.keras

FEATURES, DIM, BATCH, PART = 5, 4, 12, 4


def encoder(*layers, dropout=0.0, dtype=None):
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(8, "tanh", kernel_regularizer="l2", dtype=dtype),
            *layers,
            keras.layers.Dropout(dropout, seed=7),
            keras.layers.Dense(DIM, dtype=dtype),
        ]
    )


class Parts(keras.Model):
    """The same without recomputation: an encoder called part by part, with all kept for the backward pass."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.output_shape, self.built = (None, DIM), True

    def call(self, x, training=None):
        states = [each for each in self.encoder.variables if each.name == "seed_generator_state"]
        starts = [state.value + 0 for state in states]
        embeddings = []
        for number, part in enumerate([*ops.split(x, x.shape[0] // PART), None]):
            for state, start in zip(states, starts, strict=True):
                state.assign(start + ops.cast(ops.stack([0, number * DRAWS]), state.dtype))
            if part is not None:
                embeddings.append(self.encoder(part, training=training))
        return ops.concatenate(embeddings)


def data(supervision, n):
    views = {"labels": 1, "pairs": 2, "views": 3}[supervision]
    x = np.random.default_rng(0).normal(size=(views, n, FEATURES)).astype("float32")
    y = {"labels": np.arange(n) % 3, "pairs": np.arange(n) % 2}.get(supervision)
    return (x[0] if views == 1 else tuple(x)), y


def sgd():
    return keras.optimizers.SGD(0.05, momentum=0.9)


def adamw():
    return keras.optimizers.AdamW(0.01, weight_decay=0.01, epsilon=1e-3, use_ema=True)


def trained(towers, loss, optimizer, x, y, micro_batch=None, *, compile=None, **fit):
    """Return the weights and the logs of two epochs."""
    model = siamkit.Siamese(towers, "cosine")
    model.compile(optimizer, siamkit.get_loss(loss), micro_batch=micro_batch, **(compile or {}))
    logs = model.fit(x, y, batch_size=BATCH, epochs=2, shuffle=False, verbose=0, **fit).history
    values = [*model.variables, *model.optimizer.variables]
    values = [each for each in values if each.name != "seed_generator_state"]
    return [np.asarray(ops.convert_to_numpy(each.value)) for each in values], logs


def assert_alike(one, other, **tolerance):
    for a, b in zip(one[0], other[0], strict=True):
        np.testing.assert_allclose(a, b, **{"rtol": 1e-4, "atol": 3e-6, **tolerance})
    for name, values in one[1].items():
        np.testing.assert_allclose(values, other[1][name], **{"rtol": 1e-4, "atol": 3e-6, **tolerance})


@pytest.mark.parametrize(
    ("supervision", "loss", "optimizer"),
    [
        ("labels", "multi_similarity", sgd),
        ("labels", {"proxy_anchor": {"num_classes": 3}}, adamw),
        ("labels", {"cross_batch_memory": {"loss": "contrastive", "memory_size": 32}}, sgd),
        ("pairs", "contrastive", sgd),
        ("views", "nt_xent", adamw),
    ],
)
def test_training_is_that_of_the_whole_batch(supervision, loss, optimizer):
    x, y = data(supervision, 2 * BATCH + 7)  # an incomplete last batch, of an incomplete micro-batch
    plain = trained(encoder(), loss, optimizer(), x, y)
    assert_alike(trained(encoder(), loss, optimizer(), x, y, 5), plain)


@pytest.mark.parametrize(
    ("supervision", "loss", "optimizer"), [("labels", "contrastive", adamw), ("views", "nt_xent", sgd)]
)
def test_both_passes_have_the_same_dropout(supervision, loss, optimizer):
    x, y = data(supervision, 2 * BATCH)
    kept = trained(Parts(encoder(dropout=0.5)), loss, optimizer(), x, y)
    assert_alike(trained(encoder(dropout=0.5), loss, optimizer(), x, y, PART), kept)
    without = trained(encoder(), loss, optimizer(), x, y)
    assert abs(without[0][0] - kept[0][0]).max() > 1e-3


def test_micro_batches_and_steps_have_different_dropout():
    dropout = keras.Sequential([keras.Input((50,)), keras.layers.Dropout(0.5)])
    model = siamkit.Siamese(dropout, "cosine")
    model.compile("sgd", "contrastive", micro_batch=2)
    masks = [ops.convert_to_numpy(model(np.ones((4, 50), "float32"), training=True)) for _ in range(2)]
    rows = np.concatenate(masks) > 0
    assert len(np.unique(rows, axis=0)) == 8


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="the same step, each operation compiled alone")
def test_without_compilation():
    x, y = data("labels", BATCH + 3)
    plain = trained(encoder(), "contrastive", sgd(), x, y)
    assert_alike(trained(encoder(), "contrastive", sgd(), x, y, 5, compile={"jit_compile": False}), plain)


@pytest.mark.one_backend
def test_weights_of_items_measures_and_towers():
    (a, b), y = data("pairs", 2 * BATCH + 5)
    weight = np.linspace(0, 2, len(y)).astype("float32")
    options = {"sample_weight": weight, "validation_data": ((a, b), y)}

    def run(micro_batch):
        towers = [encoder(), encoder(keras.layers.Dense(6))]
        compile = {"metrics": siamkit.metrics_for("roc_auc")}
        return trained(towers, "contrastive", sgd(), (a, b), y, micro_batch, compile=compile, **options)

    assert set(run(5)[1]) == {"loss", "roc_auc", "val_loss", "val_roc_auc"}
    assert_alike(run(5), run(None))


def test_mixed_precision():
    """The gradients of micro-batches are rounded before they are added, so equality is only rough."""
    x, y = data("views", 2 * BATCH)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        plain, parts = (
            trained(
                encoder(keras.layers.Dense(6, kernel_initializer="identity", dtype="float32")),
                "nt_xent",
                # Keras's own initial scale overflows in one of the two, which then skips the step.
                keras.optimizers.LossScaleOptimizer(sgd(), initial_scale=64.0),
                x,
                y,
                size,
            )
            for size in (None, PART)
        )
    finally:
        keras.config.set_dtype_policy("float32")
    assert_alike(parts, plain, rtol=0.01, atol=0.03)


@pytest.mark.one_backend
def test_a_view_of_columns_and_a_single_batch():
    inputs = {"age": keras.Input((2,), name="age"), "town": keras.Input((), dtype="int32", name="town")}

    def model(micro_batch):
        keras.utils.set_random_seed(5)
        both = keras.layers.Concatenate()([inputs["age"], keras.layers.Embedding(4, 2)(inputs["town"])])
        made = siamkit.Siamese(keras.Model(inputs, keras.layers.Dense(DIM)(both)), "euclidean")
        made.compile(sgd(), siamkit.get_loss("contrastive", neg_margin=1.0), micro_batch=micro_batch)
        return made

    rng = np.random.default_rng(0)
    x = {"age": rng.normal(size=(11, 2)).astype("float32"), "town": (np.arange(11) % 4).astype("int32")}
    plain, parts = model(None), model(3)
    for _ in range(3):
        losses = [each.train_on_batch(x, np.arange(11) % 2) for each in (plain, parts)]
        np.testing.assert_allclose(*losses, rtol=1e-4)
    for a, b in zip(plain.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=3e-6)
    np.testing.assert_allclose(
        plain.evaluate(x, np.arange(11) % 2, verbose=0), parts.evaluate(x, np.arange(11) % 2, verbose=0), 1e-4
    )


@pytest.mark.one_backend
def test_a_file_keeps_it(tmp_path):
    x, y = data("labels", BATCH)
    model = siamkit.Siamese(encoder(), "cosine")
    model.compile(keras.optimizers.AdamW(0.01, epsilon=1e-3), "contrastive", micro_batch=PART)
    model.fit(x, y, batch_size=BATCH, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = siamkit.load_model(tmp_path / "model.keras")
    assert loaded.get_compile_config()["micro_batch"] == PART
    for each in (model, loaded):
        each.fit(x, y, batch_size=BATCH, verbose=0)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=3e-6)


# ------------------------------------------------------------------ refusals


@keras.saving.register_keras_serializable("tests")
class Unseeded(keras.layers.Layer):
    def call(self, x):
        return x + keras.random.normal(ops.shape(x))


def test_batch_normalisation_is_refused():
    x, y = data("labels", BATCH)
    keras.utils.clear_session()
    with pytest.raises(
        ModelError,
        match="^the encoder 'sequential' changes its variable 'sequential/norm/moving_mean' in each call, as "
        "batch normalisation does, so micro-batches would not give the gradients of the whole batch; use "
        r"layer or group normalisation, freeze that layer \(layer.trainable = False\), or leave out "
        "micro_batch",
    ):
        trained(encoder(keras.layers.BatchNormalization(name="norm")), "contrastive", sgd(), x, y, PART)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: keras.layers.ActivityRegularization(0.1), "adds a loss of its activations"),
        (Unseeded, "draws random numbers without a keras.random.SeedGenerator"),
    ],
)
def test_an_encoder_that_cannot_be_repeated_is_refused(layer, message):
    x, y = data("labels", BATCH)
    with pytest.raises(ModelError, match=message):
        trained(encoder(layer()), "contrastive", sgd(), x, y, PART)


@pytest.mark.one_backend
def test_frozen_batch_normalisation_is_not_refused():
    x, y = data("labels", BATCH)

    def frozen():
        layer = keras.layers.BatchNormalization()
        layer.trainable = False
        return encoder(layer)

    assert_alike(*(trained(frozen(), "contrastive", sgd(), x, y, size) for size in (PART, None)))


@pytest.mark.one_backend
@pytest.mark.parametrize("size", [0, -1, 2.5, "64", True])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(ModelError, match=f"micro_batch should be an integer of at least 1, got {size!r}"):
        siamkit.Siamese(encoder(), "cosine").compile("sgd", "triplet", micro_batch=size)
