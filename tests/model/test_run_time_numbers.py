"""Margins and temperatures are arguments of a compiled step on JAX: models that differ in them share it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import siamkit
from siamkit.losses import Loss
from siamkit.model.training_state import Numbers
from siamkit.registry.registry import components
from siamkit.testing._subject import Subject

pytestmark = [pytest.mark.keras, pytest.mark.one_backend("jax")]


def losses_with_numbers() -> list[Any]:
    """One case for each loss and supervision."""
    found = []
    for entry in components().losses.all():
        factory = entry.factory()
        if isinstance(factory, type) and issubclass(factory, Loss) and factory.numbers:
            found += [
                pytest.param(entry, supervision, id=f"{entry.spec.name}-{supervision}")
                for supervision in entry.spec.supervision
            ]
    return found


@pytest.mark.parametrize(("entry", "supervision"), losses_with_numbers())
def test_one_trace_computes_the_loss_of_any_numbers(entry: Any, supervision: Any) -> None:
    import jax

    subject = Subject(entry, supervision=supervision)
    loss, (target, embeddings) = subject.ready(), subject.batch()
    numbers = Numbers.of(loss)
    assert numbers is not None
    traces = []

    def value(values: Any, x: Any) -> Any:
        traces.append(1)
        with keras.StatelessScope([(numbers.variable, values)]), numbers.lent():
            return loss(target, x)

    compiled = jax.jit(jax.value_and_grad(value, argnums=1))
    own = [getattr(each, name) for each, name in numbers.places]
    compiled(np.array(own, "float32"), embeddings)
    # Other numbers than those of the trace.
    values = [0.8 * value if value else 0.2 for value in own]
    got, gradient = compiled(np.array(values, "float32"), embeddings)
    assert len(traces) == 1
    for number, (each, name) in zip(values, numbers.places, strict=True):
        setattr(each, name, number)
    expected, slope = jax.jit(jax.value_and_grad(lambda x: loss(target, x)))(embeddings)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gradient, slope, rtol=1e-3, atol=1e-5)


def model_of(margin: float) -> siamkit.Siamese:
    keras.utils.set_random_seed(0)
    encoder = siamkit.get_encoder("mlp", input_shape=(6,), embedding_dim=4, depth=1, width=8)
    model = siamkit.Siamese(encoder, "euclidean")
    model.compile(keras.optimizers.SGD(0.1), siamkit.get_loss("triplet", margin=margin))
    return model


def fit(model: siamkit.Siamese) -> list[np.ndarray]:
    x = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
    model.fit(x, np.arange(8) % 2, batch_size=8, verbose=0)
    return [np.asarray(weight) for weight in model.get_weights()]


def test_a_model_trains_with_the_numbers_that_its_loss_has_now_without_another_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    traced = []
    computed = Loss.of_checked
    monkeypatch.setattr(Loss, "of_checked", lambda *a, **k: traced.append(1) or computed(*a, **k))
    model = model_of(0.05)
    start = model.get_weights()
    first = fit(model)
    before = len(traced)
    fit(model)
    again = len(traced) - before  # Keras builds the model anew, which also traces
    model.set_weights(start)
    model.loss.margin = 1.5
    second = fit(model)
    assert len(traced) - before - again == again
    assert not np.allclose(first[0], second[0])
    monkeypatch.setattr(type(model.loss), "numbers", ())  # constants of the graph
    for got, expected in zip(second, fit(model_of(1.5)), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_the_numbers_are_no_weights_and_are_in_no_file_but_that_of_the_loss(tmp_path: Path) -> None:
    model = model_of(0.3)
    with_numbers = model.count_params(), len(model.get_weights())
    model.save(tmp_path / "model.keras")
    loaded = siamkit.load_model(tmp_path / "model.keras")
    assert (loaded.count_params(), len(loaded.get_weights())) == with_numbers
    assert with_numbers[0] == model.encoder.count_params()
    assert loaded.loss.margin == 0.3
    numbers = loaded.loss_state_holder.numbers
    assert numbers is not None
    assert ops.convert_to_numpy(numbers.variable).tolist() == [pytest.approx(0.3)]
