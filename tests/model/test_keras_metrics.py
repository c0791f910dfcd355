"""metrics_for: measures of embeddings in `compile(metrics=...)`, and Keras's own metrics refused."""

from __future__ import annotations

import re
import warnings

import keras
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import cosine_similarity, manhattan_distances

import siamkit
from siamkit.errors import ComponentError, ModelError

pytestmark = pytest.mark.keras


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def small(loss="contrastive", metric="cosine"):
    return siamkit.build("mlp", metric, loss, embedding_dim=4, input_shape=(5,))


def labelled(rng, n=37, classes=5):
    y = rng.integers(classes, size=n)
    return (rng.normal(size=(classes, 5))[y] + rng.normal(size=(n, 5))).astype("float32"), y


def map_at_r(similarity, labels):
    """Musgrave et al. 2020, by loops."""
    scores = []
    for i in range(len(labels)):
        others = [j for j in np.argsort(-similarity[i], kind="stable") if j != i]
        r = sum(labels[j] == labels[i] for j in others)
        hits, total = 0, 0.0
        for rank, j in enumerate(others[:r], start=1):
            if labels[j] == labels[i]:
                hits += 1
                total += hits / rank
        if r:
            scores.append(total / r)
    return np.mean(scores)


@pytest.mark.parametrize("eagerly", [False, pytest.param(True, marks=pytest.mark.one_backend)])
@pytest.mark.parametrize("metric", ["cosine", "manhattan"])
def test_values_are_those_of_all_items_that_were_evaluated(metric, eagerly, rng):
    model = small(metric=metric)
    names = ("map_at_r", "recall_at_1", "roc_auc", "mrr")
    model.compile("adam", "contrastive", metrics=siamkit.metrics_for(*names), run_eagerly=eagerly)
    (x, y), (vx, vy) = labelled(rng), labelled(rng, n=29)
    vy = vy + 2**24  # float32 does not tell these apart
    history = model.fit(
        x, y, validation_data=(vx, vy), batch_size=8, epochs=2, validation_batch_size=8, verbose=0
    ).history
    assert set(history) == {"loss", "val_loss", *names, *(f"val_{name}" for name in names)}
    embeddings = model.embed(vx)
    similarity = cosine_similarity(embeddings) if metric == "cosine" else -manhattan_distances(embeddings)
    np.testing.assert_allclose(history["val_map_at_r"][-1], map_at_r(similarity, vy), rtol=1e-6)
    rows, columns = np.triu_indices(len(vy), 1)
    auc = roc_auc_score(vy[rows] == vy[columns], similarity[rows, columns])
    np.testing.assert_allclose(history["val_roc_auc"][-1], auc, atol=1e-4)
    expected = siamkit.evaluate(embeddings, vy, metric)
    evaluated = model.evaluate(vx, vy, batch_size=8, return_dict=True, verbose=0)
    for name in names:
        assert history[f"val_{name}"][-1] == pytest.approx(expected[name], abs=1e-6)
        assert evaluated[name] == pytest.approx(expected[name], abs=1e-6)
        assert np.isfinite(history[name]).all()


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("measure", "values", "epochs"),
    [
        ("recall_at_1", [0.1, 0.2, 0.3, 0.3, 0.2], 5),  # larger is better: two epochs without progress
        ("eer", [0.1, 0.2, 0.3, 0.3, 0.2], 3),
    ],
)
def test_early_stopping_knows_the_better_direction(measure, values, epochs, rng, monkeypatch):
    model = small()
    model.compile("adam", "contrastive", metrics=siamkit.metrics_for(measure))
    x, y = labelled(rng)
    name, left = f"val_{measure}", iter(values)
    replace = keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: logs.update({name: next(left)}))
    callbacks = [replace, keras.callbacks.EarlyStopping(name, patience=2)]
    model.fit(x, y, validation_data=(x, y), epochs=len(values), callbacks=callbacks, verbose=0)
    assert len(list(left)) == len(values) - epochs


@pytest.mark.parametrize("loss", ["contrastive", "cosent"])
def test_pairs_and_scores(loss, rng):
    model = small(loss)
    names = ("roc_auc", "eer") if loss == "contrastive" else ("spearman",)
    model.compile("adam", loss, metrics=siamkit.metrics_for(*names))
    a, b = rng.normal(size=(2, 21, 5)).astype("float32")
    y = rng.integers(2, size=21) if loss == "contrastive" else rng.uniform(size=21).astype("float32")
    model.fit((a, b), y, batch_size=7, verbose=0)
    got = model.evaluate((a, b), y, batch_size=7, return_dict=True, verbose=0)
    expected = siamkit.evaluate(np.stack([model.embed(a), model.embed(b)], axis=1), y)
    for name in names:
        assert got[name] == pytest.approx(expected[name], abs=1e-6)
    model.compile("adam", loss, metrics=siamkit.metrics_for("map_at_r", *names))
    with pytest.raises(ModelError, match=r"'map_at_r' is not one of (pairs|scores); choose from"):
        model.fit((a, b), y, verbose=0)


@pytest.mark.one_backend
def test_the_models_learned_metric_is_used(rng):
    model = small(metric="mahalanobis")
    model.compile("adam", "contrastive", metrics=siamkit.metrics_for("roc_auc"))
    x, y = labelled(rng)
    model.fit(x, y, verbose=0)
    model.metric.set_weights([np.diag([9.0, 0.1, 0.1, 0.1])])
    expected = siamkit.evaluate(model.embed(x), y, model.metric)["roc_auc"]
    assert abs(expected - siamkit.evaluate(model.embed(x), y, "euclidean")["roc_auc"]) > 1e-3
    assert model.evaluate(x, y, return_dict=True, verbose=0)["roc_auc"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.one_backend
def test_a_plain_keras_model_and_a_metric_alone(rng):
    inputs = keras.Input((5,))
    model = keras.Model(inputs, keras.layers.Dense(4)(inputs))
    loss = siamkit.get_loss("triplet", metric="euclidean")
    model.compile("adam", loss, metrics=siamkit.metrics_for("map_at_r", metric="euclidean"))
    x, y = labelled(rng)
    model.fit(x, y, validation_data=(x, y), batch_size=8, verbose=0)
    expected = siamkit.evaluate(model.predict(x, verbose=0), y, "euclidean")["map_at_r"]
    got = model.evaluate(x, y, batch_size=8, return_dict=True, verbose=0)["map_at_r"]
    assert got == pytest.approx(expected, abs=1e-6)

    alone, _ = siamkit.metrics_for(metric="cosine")
    for part in (slice(0, 20), slice(20, None)):
        alone.update_state(y[part], x[part])
    expected = siamkit.evaluate(x, y)
    assert alone.result() == pytest.approx(expected["map_at_r"])
    alone.reset_state()
    assert np.isnan(alone.result())


def test_of_more_items_the_last_ones_count_and_a_warning_says_so(rng):
    x, y = labelled(rng)
    (alone,) = siamkit.metrics_for("map_at_r", metric="cosine", max_items=16)
    for start in range(0, len(x), 6):
        alone.update_state(y[start : start + 6], x[start : start + 6])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        value = alone.result()
        alone.result()
    (warning,) = (each for each in caught if each.category is UserWarning)
    assert re.search(r"last 16 of 37 items; write .*max_items=37", str(warning.message))
    assert value == pytest.approx(siamkit.evaluate(x[-16:], y[-16:])["map_at_r"])
    alone.reset_state()
    alone.update_state(y, x)  # one batch larger than the memory
    assert alone.result() == pytest.approx(value)


def test_a_training_that_diverged_has_no_measures(rng):
    x, y = labelled(rng)
    (alone,) = siamkit.metrics_for("map_at_r", metric="cosine")
    alone.update_state(y, np.full_like(x, np.nan))
    assert np.isnan(alone.result())


@pytest.mark.one_backend
def test_a_saved_model_keeps_its_measures(rng, tmp_path):
    model = small()
    model.compile("adam", "contrastive", metrics=siamkit.metrics_for("map_at_r", max_items=500))
    x, y = labelled(rng)
    model.fit(x, y, verbose=0)
    expected = model.evaluate(x, y, return_dict=True, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = siamkit.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(x, y, return_dict=True, verbose=0) == pytest.approx(expected, abs=1e-5)


@pytest.mark.one_backend
def test_what_is_refused(rng):
    x, y = labelled(rng)
    for given in ("accuracy", "acc", keras.metrics.AUC(), keras.metrics.binary_accuracy, "mse"):
        for how in ("metrics", "weighted_metrics"):
            with pytest.raises(
                ModelError, match=r"gives embeddings; write metrics=siamkit.metrics_for\('map_at_r'"
            ):
                small().compile("adam", "triplet", **{how: [given]})
    with pytest.raises(ComponentError, match=r"unknown measure 'map_at_k'; did you mean"):
        siamkit.metrics_for("map_at_k")
    with pytest.raises(ComponentError, match=r"unknown measure 'flops'"):
        siamkit.metrics_for("flops")
    with pytest.raises(ModelError, match=r"no metric to compare through; write siamkit.metrics_for\("):
        siamkit.metrics_for("map_at_r")[0].update_state(y, x)
    with pytest.raises(ModelError, match=r"class ids, which are whole numbers, got labels of type float32"):
        siamkit.metrics_for("map_at_r", metric="dot")[0].update_state(y.astype("float32"), x)
    with pytest.raises(ModelError, match=r"no sample weight"):
        siamkit.metrics_for("map_at_r", metric="dot")[0].update_state(y, x, np.ones(len(y)))


@pytest.mark.one_backend
def test_metrics_of_ones_own_are_taken(rng):
    class Norm(keras.metrics.Mean):
        def update_state(self, y_true, y_pred, sample_weight=None):
            return super().update_state(keras.ops.norm(y_pred, axis=-1))

    model = small()
    model.compile("adam", "triplet", metrics=[Norm(name="norm"), *siamkit.metrics_for("map_at_r")])
    x, y = labelled(rng)
    history = model.fit(x, y, verbose=0).history
    assert history["norm"] == pytest.approx([1.0], abs=1e-5)
    assert "map_at_r" in history
