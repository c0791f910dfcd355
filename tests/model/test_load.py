"""Saving and loading: what comes back, and what no file can make siamkit do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import zipfile

import keras
import numpy as np
import pytest
from keras import ops

import siamkit
from siamkit.data.dataset import Dataset
from siamkit.data.preprocessing.columns import fit_preprocessor
from siamkit.errors import ModelError
from siamkit.metrics.base import Metric
from siamkit.registry.registry import record_of

pytestmark = pytest.mark.keras


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(8, 5)).astype("float32")


def model_of(loss="triplet", metric="mahalanobis", **params):
    encoder = siamkit.get_encoder("mlp", input_shape=(5,), embedding_dim=3, depth=1, width=8)
    model = siamkit.Siamese(encoder, metric)
    model.compile(keras.optimizers.Adam(0.01), siamkit.get_loss(loss, **params))
    return model


def saved(model, folder):
    path = folder / "model.keras"
    model.save(path)
    return path


def rewritten(path, change):
    """A copy of a model file whose config went through `change`."""
    other = path.with_name("changed.keras")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                change(config)
                data = json.dumps(config).encode()
            new.writestr(name, data)
    return other


# ----------------------------------------------------------------- what comes back


@pytest.mark.one_backend
def test_a_model_comes_back_in_a_fresh_process(tmp_path, x):
    model = model_of()
    model.fit((x, x + 1, x[::-1].copy()), epochs=2, verbose=0)
    model.threshold = 0.25
    path = saved(model, tmp_path)
    np.savez(tmp_path / "x.npz", x=x)
    script = f"""
        import numpy as np, siamkit
        model = siamkit.load_model({str(path)!r})
        x = np.load({str(tmp_path / "x.npz")!r})["x"]
        np.savez({str(tmp_path / "out.npz")!r}, embeddings=model.embed(x), values=model.compare(x, x[::-1]))
        assert model.threshold == 0.25 and model._loss.margin == 0.05, model._loss.margin
        assert isinstance(model, siamkit.Siamese)
        model.fit((x, x, x), verbose=0)
    """
    told = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, env=dict(os.environ)
    )
    assert told.returncode == 0, told.stderr
    out = np.load(tmp_path / "out.npz")
    np.testing.assert_allclose(out["embeddings"], model.embed(x), atol=1e-6)
    np.testing.assert_allclose(out["values"], model.compare(x, x[::-1]), atol=1e-6)


def test_training_goes_on_where_it_stopped_with_its_head_and_optimizer(tmp_path, x):
    y = np.arange(8) % 3
    model = model_of("proxy_anchor", "cosine", num_classes=3, alpha=16.0, learning_rate_multiplier=7.0)
    model.fit(x, y, epochs=3, batch_size=8, verbose=0, shuffle=False)
    again = siamkit.load_model(saved(model, tmp_path))
    assert again.loss_state_holder.state is again._loss.state
    assert again.loss_state_holder.state.learning_rate_multiplier == 7.0
    assert again._loss.alpha == 16.0
    assert len(again.variables) == len(model.variables)
    assert int(again.optimizer.iterations) == 3
    for before, after in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(after), ops.convert_to_numpy(before), rtol=1e-6)
    # The next two epochs are those that the first model goes through.
    one, two = (
        m.fit(x, y, epochs=2, batch_size=8, verbose=0, shuffle=False).history["loss"] for m in (model, again)
    )
    np.testing.assert_allclose(one, two, rtol=1e-5)
    np.testing.assert_allclose(
        ops.convert_to_numpy(again._loss.state.proxies),
        ops.convert_to_numpy(model._loss.state.proxies),
        atol=1e-5,
    )


@pytest.mark.one_backend
def test_components_are_known_again_and_a_model_saved_twice_stays_the_same(tmp_path, x):
    model = model_of("contrastive", neg_margin=2.0)
    again = siamkit.load_model(saved(model, tmp_path))
    third = siamkit.load_model(saved(again, tmp_path))
    for each in (model, again, third):
        assert record_of(each.encoder) == {"name": "siamkit/mlp", "version": siamkit.__version__}
        assert record_of(each.metric)["name"] == "siamkit/mahalanobis"
        assert record_of(each._loss)["name"] == "siamkit/contrastive"
    np.testing.assert_allclose(third.embed(x), model.embed(x), atol=1e-6)
    # And still told apart: a loss that does not fit is refused after loading too.
    with pytest.raises(siamkit.SiamkitError, match="'cosine_mse' needs a similarity"):
        third.compile("adam", "cosine_mse")


def test_without_its_compilation_a_model_still_embeds(tmp_path, x):
    model = model_of("proxy_anchor", "cosine", num_classes=3)
    again = siamkit.load_model(saved(model, tmp_path), compile=False)
    np.testing.assert_allclose(again.embed(x), model.embed(x), atol=1e-6)
    assert again.loss_state_holder.state is None


def test_two_towers_and_mixed_precision_come_back(tmp_path, x):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        towers = [
            siamkit.get_encoder("mlp", input_shape=(5,), embedding_dim=3, depth=1, width=8) for _ in range(2)
        ]
        model = siamkit.Siamese(towers, "cosine")
    finally:
        keras.config.set_dtype_policy("float32")
    again = siamkit.load_model(saved(model, tmp_path))
    for side in (0, 1):
        np.testing.assert_allclose(again.embed(x, side), model.embed(x, side), atol=1e-6)
    assert again.encoder.get_layer("projection").compute_dtype == "bfloat16"


def test_an_encoder_built_by_its_first_batch_comes_back(tmp_path, x):
    model = siamkit.Siamese(keras.Sequential([keras.layers.Dense(3)]), "mahalanobis")
    model.compile("adam", siamkit.get_loss("triplet", margin=1.0))
    model.fit((x, x, x), verbose=0)
    again = siamkit.load_model(saved(model, tmp_path))
    np.testing.assert_allclose(again.embed(x), model.embed(x), atol=1e-6)


def test_the_preprocessor_is_inside_the_file(tmp_path):
    raw = np.random.default_rng(1).normal(5, 3, size=(20, 5)).astype("float32")
    preprocessor = fit_preprocessor(Dataset((raw,), np.arange(20) % 2, "labels", "vector"))
    encoder = siamkit.get_encoder("mlp", input_shape=(5,), embedding_dim=3, depth=0)
    model = siamkit.Siamese(encoder, "cosine", preprocessor=preprocessor)
    again = siamkit.load_model(saved(model, tmp_path))
    np.testing.assert_allclose(again.preprocessor(raw), (raw - raw.mean(0)) / raw.std(0), atol=1e-4)
    np.testing.assert_allclose(again.embed(raw), model.embed(raw), atol=1e-6)
    assert not np.allclose(again.embed(raw), again.embed(raw, preprocessed=True), atol=1e-3)


# --------------------------------------------------------- what no file can bring about


def test_a_lambda_layer_is_refused(tmp_path):
    inputs = keras.Input((5,))
    encoder = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Lambda(lambda t: t * 2)(inputs)))
    path = saved(siamkit.Siamese(encoder, "cosine"), tmp_path)
    with pytest.raises(ModelError, match=r"model.keras' cannot be loaded: .*Lambda"):
        siamkit.load_model(path)


@pytest.mark.one_backend
@pytest.mark.parametrize("place", ["encoder", "metric", "loss", "compile"])
def test_a_module_that_a_file_names_is_not_imported(tmp_path, monkeypatch, place):
    trace = tmp_path / "was_imported"
    (tmp_path / "planted.py").write_text(f"open({str(trace)!r}, 'w').close()\nclass Thing: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    planted = {"module": "planted", "class_name": "Thing", "config": {}, "registered_name": None}

    def change(config):
        if place == "encoder":
            config["config"]["encoders"] = [planted]
        elif place == "compile":
            config["compile_config"]["loss"] = planted
        elif place == "metric":
            config["config"]["metric"] = planted
        else:
            config["config"]["components"]["loss"] = [{"name": "planted/Thing", "version": "1"}]

    path = rewritten(saved(model_of(), tmp_path), change)
    with pytest.raises(ModelError, match=r"changed\.keras"):
        siamkit.load_model(path)
    assert not trace.exists()
    assert "planted" not in sys.modules


@pytest.mark.one_backend
def test_a_component_of_a_distribution_that_is_missing_is_named(tmp_path):
    def change(config):
        config["config"]["components"]["metric"] = [{"name": "acme-things/warped", "version": "2"}]

    path = rewritten(saved(model_of(), tmp_path), change)
    with pytest.raises(
        ModelError,
        match=r"uses the metric 'acme-things/warped', which is not installed; "
        r"install the plugin 'acme-things'",
    ):
        siamkit.load_model(path)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("siamkit/of_tomorrow", "this version of siamkit does not have it"),
        ("session/mine", r"register it with siamkit.register"),
    ],
)
def test_a_component_that_is_not_known_here_says_what_to_do(tmp_path, name, words):
    def change(config):
        config["config"]["components"]["loss"] = [{"name": name, "version": "2"}]

    path = rewritten(saved(model_of(), tmp_path), change)
    with pytest.raises(ModelError, match=f"uses the loss '{name}'.*{words}"):
        siamkit.load_model(path)


@keras.saving.register_keras_serializable("tests")
class Halved(Metric):
    def paired(self, a, b):
        return ops.sum(ops.abs(a - b), axis=-1) / 2


@pytest.mark.one_backend
def test_a_component_of_the_session_comes_back_where_it_is_registered(tmp_path, x):
    siamkit.register(siamkit.MetricSpec(name="halved", factory=Halved, orientation="distance"))
    model = model_of(metric="halved")
    again = siamkit.load_model(saved(model, tmp_path))
    assert record_of(again.metric) == {"name": "session/halved", "version": ""}
    np.testing.assert_allclose(again.compare(x, x + 1), model.compare(x, x + 1), atol=1e-6)


# ------------------------------------------------------------------------ bad files


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def text(path):
    path.write_text("not a model")


def empty(path):
    path.write_bytes(b"")


def no_config(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")


def config_of(content, method=zipfile.ZIP_STORED):
    def write(path):
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("config.json", content)

    return write


def bad_deflate(path):
    config_of("[]" * 500, zipfile.ZIP_DEFLATED)(path)
    data = bytearray(path.read_bytes())
    data[30 + len("config.json")] ^= 0xFF  # the first byte of the compressed stream
    path.write_bytes(bytes(data))


def no_weights(path):
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in ("config.json", "metadata.json")}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in kept.items():
            archive.writestr(name, data)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "damage",
    [
        truncated,
        text,
        empty,
        no_config,
        config_of("[1, 2]"),
        config_of("{"),
        config_of("{}"),
        config_of("\xff"),
        config_of('{"registered_name": "siamkit>Siamese", "config": {"components": 3}}'),
        config_of("[" * 100_000),
        bad_deflate,
        no_weights,
    ],
    ids=lambda f: f.__name__,
)
def test_a_damaged_file_is_told_in_a_sentence(tmp_path, damage):
    path = saved(model_of(), tmp_path)
    damage(path)
    with pytest.raises(
        ModelError, match=r"model.keras' (is not a siamkit model file|cannot be loaded)"
    ) as caught:
        siamkit.load_model(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_told(tmp_path):
    for path in (tmp_path / "nowhere.keras", tmp_path):
        with pytest.raises(ModelError, match="does not exist"):
            siamkit.load_model(path)


def test_another_keras_model_is_told_apart(tmp_path):
    path = tmp_path / "other.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(path)
    with pytest.raises(
        ModelError, match=r"holds a Sequential, not a siamkit model; load it with keras.saving"
    ):
        siamkit.load_model(path)
