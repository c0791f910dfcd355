"""Full float32 instead of TF32: the switches are set, scoped where they can be, and set back."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest

import siamkit
from siamkit.backend.select import (
    backend_module,
    float32_required,
    is_full_float32,
    on_accelerator,
    require_float32,
)

pytestmark = pytest.mark.keras
BACKEND = keras.backend.backend()


def reduced():
    """What the backend itself says about products and convolutions, where True means less than float32."""
    if BACKEND == "jax":
        import jax

        return (jax.config.jax_default_matmul_precision != "highest",)
    if BACKEND == "torch":
        import torch

        return (torch.get_float32_matmul_precision() != "highest", torch.backends.cudnn.allow_tf32)
    import tensorflow as tf

    return (tf.config.experimental.tensor_float_32_execution_enabled(),)


@pytest.fixture
def default():
    """The backend as it starts, and afterwards as the tests have it."""
    if BACKEND == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", None)
    elif BACKEND == "torch":
        import torch

        torch.backends.cudnn.allow_tf32 = True
    else:
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(True)
    yield
    require_float32()


def test_a_process_can_ask_for_full_float32(default):
    assert any(reduced())
    assert not is_full_float32()
    require_float32()
    assert not any(reduced())
    assert is_full_float32()


def test_it_can_ask_for_a_while(default):
    before = reduced()

    def fail():
        with float32_required():
            assert not any(reduced())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert reduced() == before


def test_without_keras_nothing_is_imported():
    code = (
        "import sys\n"
        "from siamkit.backend.select import float32_required\n"
        "with float32_required(): pass\n"
        "print([name for name in ('keras', 'jax', 'torch', 'tensorflow') if name in sys.modules])"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "[]"


class Spy(siamkit.Metric):
    """A metric that notes the precision at which it computes."""

    def paired(self, a, b):
        self.seen = is_full_float32()
        return keras.ops.sum(keras.ops.square(a - b), axis=-1)


@pytest.mark.parametrize("how", ["evaluate", "embed", "study"])
def test_what_siamkit_runs_is_computed_in_full_float32(default, how, tmp_path, monkeypatch):
    seen = []
    if how == "evaluate":
        spy = Spy()
        siamkit.evaluate(np.random.default_rng(0).normal(size=(6, 3)), [0, 0, 0, 1, 1, 1], metric=spy)
        seen.append(spy.seen)
    elif how == "embed":
        from siamkit.inference.embed import embed_file

        model = siamkit.build("mlp", embedding_dim=2, input_shape=(3,))
        model.save(tmp_path / "model.keras")
        np.savez(tmp_path / "data.npz", x=np.zeros((4, 3), "float32"))
        predict = keras.Model.predict_on_batch
        monkeypatch.setattr(
            keras.Model,
            "predict_on_batch",
            lambda self, x: (seen.append(is_full_float32()), predict(self, x))[1],
        )
        embed_file(tmp_path / "model.keras", tmp_path / "data.npz", tmp_path / "out.parquet")
    else:
        from siamkit.study.worker import runner

        monkeypatch.setattr(runner.JobRunner, "_run", lambda *given: (seen.append(is_full_float32()), 1 / 0))
        runner.JobRunner(None, None, None).run(None, print)
    assert seen
    assert all(seen)
    assert not is_full_float32()  # and a user's own process goes on as before


@pytest.mark.skipif(BACKEND != "jax", reason="only JAX can limit it to a scope")
def test_on_jax_metrics_and_losses_ask_for_it_themselves_gradient_included(default):
    import jax
    import jax.numpy as jnp

    labels, points = np.array([0, 0, 1, 1]), jnp.ones((4, 3))

    def products(function):
        text = str(jax.make_jaxpr(jax.grad(function))(points))
        return text.count("dot_general["), text.count("precision=(Precision.HIGHEST, Precision.HIGHEST)")

    functions = [lambda x: jnp.sum(siamkit.get_metric("euclidean").matrix(x, x))]
    for name, needs in {"multi_similarity": {}, "proxy_anchor": {"num_classes": 2}}.items():
        loss = siamkit.get_loss(name, metric="cosine", **needs)
        loss(labels, points)  # builds its weights
        functions.append(lambda x, loss=loss: loss(labels, x))
    for function in (*functions, *map(jax.jit, functions)):
        count, full = products(function)
        assert count == full > 1
    assert products(lambda x: jnp.sum(x @ x.T)) == (3, 0)


def test_an_accelerator_is_where_tensors_are():
    _, devices = backend_module().version_and_devices()
    assert on_accelerator() == any("cpu" not in device.lower() for device in devices)
