"""Siamese: calling, training, heads, and what it refuses."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
from keras import ops

import siamkit
from siamkit.encoders import as_items
from siamkit.errors import ComponentError, ModelError

pytestmark = pytest.mark.keras


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def policy():
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


def small(dim=3, features=5, **params):
    return siamkit.get_encoder("mlp", input_shape=(features,), embedding_dim=dim, depth=1, width=8, **params)


def data(rng, n=16, features=5):
    return rng.normal(size=(n, features)).astype("float32")


def test_every_public_name_is_there():
    for name in set(siamkit.__all__) - {"tune"}:
        assert getattr(siamkit, name) is not None


# --------------------------------------------------------------------- calling


def test_one_view_gives_embeddings_and_several_give_one_for_each(rng):
    model = siamkit.Siamese(small(), "euclidean")
    x = [data(rng, 4) for _ in range(4)]
    single = [ops.convert_to_numpy(model.encoder(each)) for each in x]
    assert ops.convert_to_numpy(model(x[0])).shape == (4, 3)
    for views in (2, 3, 4):
        for container in (tuple, list):
            together = ops.convert_to_numpy(model(container(x[:views])))
            assert together.shape == (4, views, 3)
            np.testing.assert_allclose(together, np.stack(single[:views], axis=1), atol=1e-6)


@pytest.mark.parametrize("views", [2, 3, 4])
def test_the_shared_encoder_is_called_once_for_all_views(views, rng):
    sizes = []

    class Counting(keras.layers.Layer):
        def call(self, x):
            sizes.append(x.shape[0])
            return x

    inputs = keras.Input((5,))
    model = siamkit.Siamese(keras.Model(inputs, keras.layers.Dense(2)(Counting()(inputs))), "cosine")
    sizes.clear()
    model(tuple(data(rng, 4) for _ in range(views)))
    assert sizes == [4 * views]


def columns(rng, n):
    return {
        "age": rng.normal(size=(n, 1)).astype("float32"),
        "town": rng.integers(0, 4, size=(n,)).astype("int32"),
    }


def of_columns():
    inputs = {"age": keras.Input((1,), name="age"), "town": keras.Input((), dtype="int32", name="town")}
    town = keras.layers.Embedding(4, 2)(inputs["town"])
    x = keras.layers.Concatenate()([inputs["age"], town])
    return keras.Model(inputs, keras.layers.Dense(3)(x))


@pytest.mark.one_backend
def test_a_view_may_be_a_dict_of_columns(rng):
    model = siamkit.Siamese(of_columns(), "euclidean")
    a, b = columns(rng, 8), columns(rng, 8)
    assert model.embed(a).shape == (8, 3)
    together = ops.convert_to_numpy(model((a, b)))
    np.testing.assert_allclose(together[:, 1], model.embed(b), atol=1e-5)
    model.compile("adam", "contrastive")
    history = model.fit((a, b), np.array([0, 1] * 4), epochs=2, batch_size=4, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    # One view of several columns is one view, not several.
    model.compile("adam", siamkit.get_loss("triplet", margin=1.0))
    assert np.isfinite(model.fit(a, np.array([0, 1] * 4), verbose=0).history["loss"]).all()
    assert model.compare(a, b).shape == (8,)


@pytest.mark.one_backend
def test_two_towers_embed_their_own_sides(rng):
    model = siamkit.Siamese((small(features=5), small(features=7)), "euclidean")
    a, b = data(rng, 6, 5), data(rng, 6, 7)
    left, right = model.embed(a, side=0), model.embed(b, side=1)
    np.testing.assert_allclose(model.compare(a, b), np.linalg.norm(left - right, axis=1), rtol=1e-5)
    np.testing.assert_allclose(
        ops.convert_to_numpy(model((a, b))), np.stack([left, right], axis=1), atol=1e-6
    )
    model.compile("adam", "contrastive")
    before = [w.copy() for w in model.get_weights()]
    model.fit((a, b), np.array([0, 1] * 3), verbose=0)
    assert len(before) == 8
    assert all((new != old).any() for new, old in zip(model.get_weights(), before, strict=True))


# ------------------------------------------------------------ embed, compare, same


@pytest.mark.parametrize("count", [1, 3, 10])
def test_embed_gives_every_item_whatever_the_batch_size(count, rng):
    model = siamkit.Siamese(small(), "cosine")
    x = data(rng, count)
    expected = ops.convert_to_numpy(model.encoder(x))
    for size in (1, 4, 256):
        embeddings = model.embed(x, batch_size=size)
        assert embeddings.dtype == np.float32
        np.testing.assert_allclose(embeddings, expected, atol=1e-5)


@pytest.mark.one_backend
def test_compare_speaks_in_the_metrics_own_orientation(rng):
    a, b = data(rng, 5), data(rng, 5)
    encoder = siamkit.get_encoder("mlp", input_shape=(5,), embedding_dim=3, depth=0, normalize=False)
    left, right = (siamkit.Siamese(encoder, "cosine").embed(each) for each in (a, b))
    cosine = np.sum(left * right, axis=1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
    np.testing.assert_allclose(siamkit.Siamese(encoder, "cosine").compare(a, b), cosine, atol=1e-5)
    np.testing.assert_allclose(
        siamkit.Siamese(encoder, "manhattan").compare(a, b), np.abs(left - right).sum(axis=1), rtol=1e-5
    )


@pytest.mark.one_backend
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_same_is_by_the_threshold_and_the_threshold_itself_counts(metric, rng):
    model = siamkit.Siamese(small(), metric)
    a, b = data(rng, 7), data(rng, 7)
    values = model.compare(a, b)
    model.threshold = float(np.sort(values)[3])
    same = model.same(a, b)
    assert same.dtype == bool
    # Four of seven lie at or below the fourth smallest, and four at or above it.
    assert same.sum() == 4
    assert same[np.argmin(values)] == (metric == "euclidean")


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda m, x: m.same(x, x), "the model has no threshold; call model.calibrate"),
        (lambda m, x: m.embed(x, side=1), "side should be from 0 to 0, got 1"),
        (lambda m, x: m.embed(x[:0]), "expected one view of n items"),
        (lambda m, x: m.embed((x, x)), "expected one view of n items"),
        (lambda m, x: m.embed(x.tolist()), "expected one view of n items"),
        (lambda m, x: m.embed({"a": x, "b": x[:2]}), "got a dict of a, b; two sides go to fit"),
        (lambda m, x: m.compare(x, x[:2]), "as many items on both sides, got 4 and 2"),
        (lambda m, x: m((x, x[:, :3])), "the views of one item should be alike"),
        (lambda m, x: m((x, {"a": x})), "the views of one item should be alike"),
        (lambda m, x: siamkit.Siamese([m.encoder] * 3, "cosine"), "one shared encoder or two towers, got 3"),
        (lambda m, x: siamkit.Siamese("mlp", "cosine"), "an encoder is a keras.Model, got 'mlp'"),
        (lambda m, x: siamkit.Siamese((small(dim=3), small(dim=4)), "cosine"), "both towers of one dim; got"),
        (
            lambda m, x: siamkit.Siamese(
                keras.Sequential([keras.Input((4, 2)), keras.layers.Dense(3)]), "cosine"
            ),
            r"embeddings \(batch, dim\)",
        ),
        (
            lambda m, x: siamkit.Siamese((small(), small()), "cosine")(x),
            "a model of two towers takes two views",
        ),
        (lambda m, x: siamkit.Siamese((small(), small()), "cosine")((x, x, x)), "takes two views, got 3"),
    ],
)
def test_what_the_model_cannot_do_is_told_in_a_sentence(ask, words, rng):
    with pytest.raises(ModelError, match=words):
        ask(siamkit.Siamese(small(), "cosine"), data(rng, 4))


# -------------------------------------------------------------------- encoders given


@pytest.mark.one_backend
def test_a_sequential_that_is_not_built_is_built_by_the_first_batch(rng):
    model = siamkit.Siamese(keras.Sequential([keras.layers.Dense(4)]), "mahalanobis")
    model.compile("adam", siamkit.get_loss("proxy_anchor", num_classes=2))
    model.fit(data(rng, 8), np.array([0, 1] * 4), verbose=0)
    assert model.embedding_dim == 4
    assert model.loss_state_holder.state.built
    assert model.metric.built
    assert len(model.trainable_variables) == 4  # kernel, bias, factor, proxies


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(4)

    def call(self, x):
        return self.dense(x)


@pytest.mark.one_backend
@pytest.mark.parametrize("built", [False, True])
def test_a_subclassed_encoder_works_built_or_not(built, rng):
    encoder = Subclassed()
    x = data(rng, 8)
    if built:
        encoder(x)
    model = siamkit.Siamese(encoder, "cosine")
    model.compile("adam", siamkit.get_loss("triplet", margin=0.5))
    model.fit((x, x[::-1].copy(), x + 1), verbose=0)
    assert model.embed(x).shape == (8, 4)
    assert model.embedding_dim == 4


# ---------------------------------------------------------------------- training

TRAINABLE = [
    ("triplet", {"margin": 1.0}, 3, None),
    ("triplet", {"margin": 1.0, "mining": "hard"}, 1, "labels"),
    ("contrastive", {}, 2, "pairs"),
    ("cosine_mse", {}, 2, "scores"),
    ("nt_xent", {}, 2, None),
    ("multi_similarity", {}, 1, "labels"),
    ("proxy_anchor", {"num_classes": 4}, 1, "labels"),
]


def batch(rng, views, kind, n=16):
    x = tuple(data(rng, n) for _ in range(views))
    y = {None: None, "labels": np.arange(n) % 4, "pairs": np.arange(n) % 2, "scores": np.linspace(-1, 1, n)}[
        kind
    ]
    return (x if views > 1 else x[0]), y


@pytest.mark.parametrize(("loss", "params", "views", "kind"), TRAINABLE)
def test_fit_on_arrays_lowers_the_loss_and_evaluate_gives_it(loss, params, views, kind, rng):
    keras.utils.set_random_seed(1)
    model = siamkit.Siamese(small(), "cosine")
    made = siamkit.get_loss(loss, **params)
    model.compile(keras.optimizers.Adam(0.01), made)
    x, y = batch(rng, views, kind)
    history = model.fit(x, y, batch_size=16, epochs=6, verbose=0, shuffle=False).history["loss"]
    assert history[-1] < history[0]
    after = model.evaluate(x, y, batch_size=16, verbose=0)
    embeddings = model(x if views == 1 else tuple(x))
    assert after == pytest.approx(float(ops.convert_to_numpy(made(y, embeddings))), rel=1e-4)


def test_compiled_and_eager_training_agree(rng):
    if keras.backend.backend() == "torch":
        pytest.skip("torch.compile agrees too, but takes a minute and a C++ compiler")
    x, y = batch(rng, 1, "labels")
    losses = []
    for jit in (False, True):
        keras.utils.set_random_seed(3)
        model = siamkit.Siamese(small(), "mahalanobis")
        loss = siamkit.get_loss("proxy_anchor", num_classes=4)
        model.compile(keras.optimizers.Adam(0.01), loss, jit_compile=jit, run_eagerly=not jit)
        history = model.fit(x, y, batch_size=8, epochs=2, verbose=0, shuffle=False)
        losses.append(history.history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_a_partial_last_batch_and_sample_weights_pass_through_fit(rng):
    model = siamkit.Siamese(small(), "euclidean")
    model.compile("sgd", siamkit.get_loss("triplet", margin=1.0))
    x, _ = batch(rng, 3, None, n=10)
    weights = np.linspace(0, 1, 10)
    single = np.array(
        [
            float(ops.convert_to_numpy(model._loss(None, model(tuple(v[i : i + 1] for v in x)))))
            for i in range(10)
        ]
    )
    nothing = np.zeros(10)  # without a y, Keras drops the weights
    got = model.evaluate(x, nothing, sample_weight=weights, batch_size=10, verbose=0)
    assert got == pytest.approx(np.average(single, weights=weights), rel=1e-4)
    assert np.isfinite(
        model.fit(x, nothing, sample_weight=weights, batch_size=4, verbose=0).history["loss"]
    ).all()


class Batches(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


@pytest.mark.parametrize(("loss", "params", "views", "kind"), TRAINABLE[:3])
def test_fit_takes_a_feed_of_batches(loss, params, views, kind, rng):
    batches = []
    for _ in range(3):
        x, y = batch(rng, views, kind, n=8)
        batches.append((x, np.zeros(8) if y is None else y))
    model = siamkit.Siamese(small(), "euclidean")
    model.compile("adam", siamkit.get_loss(loss, **params))
    history = model.fit(Batches(batches), validation_data=Batches(batches[:1]), epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert np.isfinite(history["val_loss"]).all()


@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_with_metric_loss_and_head_in_float32(name, policy, rng):
    policy(name)
    keras.utils.set_random_seed(1)
    model = siamkit.Siamese(small(), "mahalanobis")
    model.compile(keras.optimizers.Adam(0.01), siamkit.get_loss("proxy_anchor", num_classes=4))
    x, y = batch(rng, 1, "labels")
    proxies = np.array(ops.convert_to_numpy(model.loss_state_holder.state.proxies))
    history = model.fit(x, y, batch_size=16, epochs=10, verbose=0, shuffle=False).history["loss"]
    assert np.isfinite(history).all()
    assert history[-1] < history[0]
    assert model.metric.compute_dtype == model.loss_state_holder.state.compute_dtype == "float32"
    assert (
        np.abs(ops.convert_to_numpy(model.loss_state_holder.state.proxies) - proxies).max() > 0.1
    )  # 100 × 0.01 × steps


def test_the_metrics_weights_are_trained(rng):
    model = siamkit.Siamese(small(), "mahalanobis")
    model.compile("adam", siamkit.get_loss("triplet", margin=1.0))
    x, _ = batch(rng, 3, None)
    model.fit(x, verbose=0)
    assert not np.allclose(ops.convert_to_numpy(model.metric.factor), np.eye(3), atol=1e-6)


def test_regularisers_of_the_encoder_count(rng):
    x, _ = batch(rng, 3, None)
    losses = []
    for strength in (0.0, 10.0):
        keras.utils.set_random_seed(1)
        encoder = keras.Sequential(
            [keras.Input((5,)), keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(strength))]
        )
        model = siamkit.Siamese(encoder, "euclidean")
        model.compile("sgd", siamkit.get_loss("triplet"))
        losses.append(model.evaluate(x, verbose=0))
    assert losses[1] == pytest.approx(losses[0] + 10 * np.sum(encoder.get_weights()[0] ** 2), rel=1e-4)


def test_a_loss_of_keras_own_kind_is_trained_as_it_is(rng):
    class Spread(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return ops.sum(ops.square(y_pred - ops.cast(y_true, "float32")), axis=-1)

    model = siamkit.Siamese(small(), "euclidean")
    loss = Spread()
    model.compile("adam", loss)
    x = data(rng)
    target = np.zeros((16, 3), dtype="float32")
    assert model.evaluate(x, target, verbose=0) == pytest.approx(
        np.mean(np.sum(model.embed(x) ** 2, axis=1)), rel=1e-4
    )
    model.fit(x, target, verbose=0)


# ------------------------------------------------------------------------- heads


def moved(optimizer, multiplier, rng_seed=0):
    """How far proxies and encoder move in one step."""
    keras.utils.set_random_seed(4)
    model = siamkit.Siamese(small(), "cosine")
    model.compile(
        optimizer(), siamkit.get_loss("proxy_anchor", num_classes=4, learning_rate_multiplier=multiplier)
    )
    x, y = batch(np.random.default_rng(rng_seed), 1, "labels")
    before = (
        np.array(ops.convert_to_numpy(model.loss_state_holder.state.proxies)),
        model.encoder.get_weights()[0].copy(),
    )
    model.fit(x, y, batch_size=16, verbose=0)
    after = ops.convert_to_numpy(model.loss_state_holder.state.proxies), model.encoder.get_weights()[0]
    return [np.asarray(new, "float64") - old for new, old in zip(after, before, strict=True)]


@pytest.mark.parametrize(
    "optimizer",
    [lambda: keras.optimizers.Adam(1e-3), lambda: keras.optimizers.SGD(1e-3)],
    ids=["adam", "sgd"],
)
def test_a_heads_step_is_its_multiplier_times_as_long(optimizer):
    proxies, kernel = moved(optimizer, 1.0)
    assert np.abs(proxies).min() > 1e-8
    far, same = moved(optimizer, 50.0)
    np.testing.assert_allclose(far, 50 * proxies, rtol=2e-2, atol=50 * 3e-7)
    np.testing.assert_allclose(same, kernel, atol=1e-7)
    still, _ = moved(optimizer, 0.0)
    assert not still.any()


@pytest.mark.one_backend
def test_a_head_is_adopted_also_by_a_model_that_is_built_and_trained(rng):
    model = siamkit.Siamese(small(), "cosine")
    x, y = batch(rng, 1, "labels")
    model.compile("adam", siamkit.get_loss("triplet", margin=1.0))
    model.fit(x, y, verbose=0)
    assert model.loss_state_holder.weights == []
    model.compile("adam", siamkit.get_loss("proxy_anchor", num_classes=4))
    assert [v.path.split("/")[-1] for v in model.loss_state_holder.trainable_variables] == ["proxies"]
    before = np.array(ops.convert_to_numpy(model.loss_state_holder.state.proxies))
    model.fit(x, y, verbose=0)
    assert np.abs(ops.convert_to_numpy(model.loss_state_holder.state.proxies) - before).max() > 1e-3


@pytest.mark.one_backend
def test_compiling_again_with_another_loss_drops_the_old_head_and_keeps_the_encoder(rng):
    model = siamkit.Siamese(small(), "cosine")
    x, y = batch(rng, 1, "labels")
    model.compile("adam", siamkit.get_loss("proxy_anchor", num_classes=4))
    model.fit(x, y, verbose=0)
    encoder = model.encoder.get_weights()
    model.compile("adam", siamkit.get_loss("proxy_anchor", num_classes=7))
    assert [tuple(v.shape) for v in model.loss_state_holder.trainable_variables] == [(7, 3)]
    model.compile("adam", siamkit.get_loss("multi_similarity"))
    assert model.loss_state_holder.trainable_variables == []
    assert len(model.trainable_variables) == len(encoder)
    for old, new in zip(encoder, model.encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    model.fit(x, y, verbose=0)


def test_compiling_again_with_the_same_optimizer_does_not_multiply_twice(rng):
    x, y = batch(rng, 1, "labels")
    steps = []
    for times in (1, 3):
        keras.utils.set_random_seed(4)
        model = siamkit.Siamese(small(), "cosine")
        optimizer, loss = keras.optimizers.SGD(1e-3), siamkit.get_loss("proxy_anchor", num_classes=4)
        for _ in range(times):
            model.compile(optimizer, loss)
        before = np.array(ops.convert_to_numpy(model.loss_state_holder.state.proxies))
        model.fit(x, y, batch_size=16, verbose=0)
        steps.append(ops.convert_to_numpy(model.loss_state_holder.state.proxies) - before)
    np.testing.assert_allclose(steps[0], steps[1], rtol=1e-4)


# -------------------------------------------------------------------- what does not fit


@pytest.mark.one_backend
def test_a_loss_compiled_into_one_model_is_refused_by_another():
    loss = siamkit.get_loss("triplet")
    first, second = siamkit.Siamese(small(), "cosine"), siamkit.Siamese(small(), "cosine")
    first.compile("adam", loss)
    first.compile("adam", loss)  # its own model may compile it again
    with pytest.raises(
        ModelError, match="the loss 'triplet' is already compiled into another model; create a new"
    ):
        second.compile("adam", loss)


@pytest.mark.one_backend
def test_a_loss_whose_model_was_deleted_may_be_compiled_again():
    import gc

    loss = siamkit.get_loss("triplet")
    siamkit.Siamese(small(), "cosine").compile("adam", loss)
    gc.collect()
    model = siamkit.Siamese(small(), "euclidean")
    model.compile("adam", loss)
    assert loss.metric is model.metric


def test_a_loss_with_a_metric_of_its_own_is_refused():
    with pytest.raises(ModelError, match="has a metric of its own; create it without metric="):
        siamkit.Siamese(small(), "cosine").compile("adam", siamkit.get_loss("triplet", metric="euclidean"))


def test_a_loss_that_cannot_compare_by_the_metric_is_refused_with_what_would_fit():
    with pytest.raises(
        ComponentError,
        match=r"'cosine_mse' needs a similarity, but the metric 'euclidean' is a distance; cosine.* would",
    ) as caught:
        siamkit.Siamese(small(), "euclidean").compile("adam", "cosine_mse")
    assert "manhattan" not in str(caught.value).rpartition(";")[2]


@pytest.mark.one_backend
def test_a_refused_loss_leaves_the_model_as_it_was(rng):
    model = siamkit.Siamese(small(), "euclidean")
    model.compile("adam", siamkit.get_loss("triplet", margin=1.0))
    kept = model._loss
    wrong = siamkit.get_loss("cosine_mse")
    with pytest.raises(ComponentError):
        model.compile("adam", wrong)
    assert model._loss is kept
    assert wrong.bound_model() is None
    with pytest.raises(ModelError, match="has no metric"):
        _ = wrong.metric
    model.fit(batch(rng, 3, None)[0], verbose=0)


# ------------------------------------------------------------------------- build


@pytest.mark.one_backend
def test_build_makes_a_compiled_model_from_names(rng):
    model = siamkit.build("mlp", "euclidean", {"triplet": {"margin": 1.0}}, embedding_dim=8, input_shape=(5,))
    assert model.embedding_dim == 8
    assert model._loss.margin == 1.0
    assert np.isfinite(model.fit(batch(rng, 3, None)[0], verbose=0).history["loss"]).all()


@pytest.mark.one_backend
def test_build_hands_needs_to_the_components_that_want_them():
    model = siamkit.build(
        {"lstm": {"units": 8}},
        "cosine",
        "proxy_anchor",
        embedding_dim=4,
        input_shape=(6,),
        vocabulary_size=20,
        num_classes=3,
    )
    assert model.loss_state_holder.state.num_classes == 3
    assert model.embed(np.ones((2, 6), dtype="int32")).shape == (2, 4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"encoder": "mpl"}, "unknown encoder 'mpl'; did you mean 'mlp'"),
        ({"metric": "cosin"}, "unknown metric 'cosin'; did you mean 'cosine'"),
        ({"loss": "tripple"}, "unknown loss 'tripple'; did you mean 'triplet'"),
        ({"loss": "proxy_anchor"}, "the loss 'proxy_anchor' is missing the argument num_classes"),
        ({"input_shape": None}, "the encoder 'mlp' is missing the argument input_shape"),
        ({"embeding_dim": 3}, "build has no argument 'embeding_dim'"),
        ({"num_clases": 3}, "build has no argument 'num_clases'; did you mean 'num_classes'"),
        ({"metric": "euclidean", "loss": "cosine_mse"}, "'cosine_mse' needs a similarity"),
        ({"input_shape": 5}, "input_shape.* should be a tuple of sizes, got 5"),
    ],
)
def test_build_refuses_in_one_sentence(arguments, words):
    with pytest.raises(ComponentError, match=words) as caught:
        siamkit.build(
            **{
                "encoder": "mlp",
                "metric": "cosine",
                "loss": "triplet",
                "embedding_dim": 4,
                "input_shape": (5,),
            }
            | arguments
        )
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------ inputs in the wrong form


@pytest.mark.one_backend
def test_tensors_that_need_gradients_are_items_like_any_other(rng):
    model = siamkit.Siamese(small(), "cosine")
    x = data(rng, 4)
    needs_gradients = keras.Variable(x)  # PyTorch's NumPy refuses these
    for given in (needs_gradients.value, ops.convert_to_tensor(x)):
        np.testing.assert_array_equal(model.embed(given), model.embed(x))
        np.testing.assert_array_equal(model.compare(given, given), model.compare(x, x))
    e = keras.Variable(model.embed(x))
    assert siamkit.evaluate(e.value, [0, 0, 1, 1]) == siamkit.evaluate(model.embed(x), [0, 0, 1, 1])


WRONG = {
    "one item": (lambda x: x[0], r"takes items \(n, 5\), got \(5,\); this is one item, write x\[None\]"),
    "stacked views": (
        lambda x: np.stack([x, x], axis=1),
        r"takes items \(n, 5\), got \(16, 2, 5\); these are stacked views, give fit the tuple \(x\[:, 0\]",
    ),
    "a dict of sides": (
        lambda x: {"a": x, "b": x},
        r"takes items \(n, 5\), got a dict of a, b; two sides go to fit as a tuple \(a, b\), to compare",
    ),
    "other items": (lambda x: x[:, :3], r"takes items \(n, 5\), got \(16, 3\)$"),
}


@pytest.mark.one_backend
@pytest.mark.parametrize("wrong", WRONG)
def test_items_in_the_wrong_form_are_refused_in_one_sentence(wrong, rng):
    change, words = WRONG[wrong]
    x, y = data(rng), np.arange(16) % 2
    model = siamkit.Siamese(small(), "cosine")
    model.compile("adam", "contrastive")
    for call in (
        lambda: model.embed(change(x)),
        lambda: model.compare(change(x), x),
        lambda: model.fit(change(x), y, verbose=0),
        lambda: model.fit((change(x), x), y, verbose=0),
        lambda: model.fit((x, x), y, validation_data=((x, change(x)), y), verbose=0),
        lambda: model.evaluate((x, change(x)), y, verbose=0),
        lambda: model.predict((x, change(x)), verbose=0),
    ):
        with pytest.raises(ModelError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.one_backend
def test_things_that_are_not_items_are_refused(rng):
    model = siamkit.Siamese(small(), "cosine")
    for wrong in (None, "photo.png", np.array(["a", "b"])):
        with pytest.raises(ModelError, match="expected items as arrays of numbers, got"):
            model.embed(wrong)
    with pytest.raises(ModelError, match=r"takes a dict of age, town, got an array \(16, 5\)"):
        siamkit.Siamese(of_columns(), "cosine").embed(data(rng))
    with pytest.raises(ModelError, match=r"arrays of lengths \[3, 4\]"):
        siamkit.Siamese(of_columns(), "cosine").embed(columns(rng, 4) | {"town": np.zeros(3, "int32")})


def test_keras_may_add_or_remove_a_last_axis_of_one(rng):
    inputs = keras.Input((6, 1))
    encoder = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    for x in (data(rng, 4, 6), data(rng, 4, 6)[..., None]):
        assert as_items(encoder, x) is x


@pytest.mark.one_backend
def test_texts_are_not_items_of_an_encoder(rng):
    model = siamkit.Siamese(small(), "cosine")
    model.compile("adam", "triplet")
    for texts in (np.array(["a"] * 8), np.array(["a"] * 8, object)):
        for call in (
            lambda texts=texts: model.fit(texts, np.arange(8) % 2, verbose=0),
            lambda texts=texts: model.predict(texts, verbose=0),
        ):
            with pytest.raises(ModelError, match=r"takes arrays of numbers, got .*; model.embed"):
                call()


@pytest.mark.one_backend
def test_a_model_whose_optimizer_keras_dropped_says_so(rng, tmp_path):
    model = siamkit.build("mlp", "cosine", "triplet", embedding_dim=4, input_shape=(5,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras's advice against HDF5
        keras.saving.save_model(model, tmp_path / "model.h5")
    with pytest.raises(ModelError, match="dropped its optimizer; compile the model again"):
        model.save(tmp_path / "model.keras")


def test_the_byte_order_of_items_does_not_matter(rng):
    x, y = data(rng), np.arange(16) % 2
    swapped = x.astype(">f4")
    model = siamkit.Siamese(small(), "cosine")
    # Items are made the machine's own before a step, and TensorFlow compiles each of these for seconds.
    model.compile("adam", "triplet", run_eagerly=keras.backend.backend() == "tensorflow")
    loss = model.evaluate(x, y, verbose=0)
    assert model.evaluate(swapped, y, verbose=0) == pytest.approx(loss)
    np.testing.assert_array_equal(model.embed(swapped), model.embed(x))
    np.testing.assert_array_equal(model.predict(swapped, verbose=0), model.predict(x, verbose=0))
    model.fit(swapped, y, validation_data=(swapped, y), verbose=0)


# ------------------------------------------------------------------ files, exports and the summary


@pytest.mark.one_backend
@pytest.mark.parametrize("name", ["model.h5", "model.hdf5", "model", "model.zip"])
def test_a_file_that_could_not_be_loaded_is_not_written(name, tmp_path):
    model = siamkit.build("mlp", "cosine", "triplet", embedding_dim=2, input_shape=(5,))
    with pytest.raises(ModelError, match=r"one \.keras file, got .*; write model.save\('model.keras'\)"):
        model.save(tmp_path / name)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ModelError, match=r"saved as one \.keras file"):
        model.save(tmp_path / "folder.keras", zipped=False)


@pytest.mark.one_backend
def test_export_names_what_exports(rng, tmp_path):
    model = siamkit.build("mlp", "cosine", "triplet", embedding_dim=2, input_shape=(5,))
    model.fit(data(rng), np.arange(16) % 4, verbose=0)
    with pytest.raises(ModelError, match=r"siamkit\.export\.export_encoder\(model, .*siamkit best"):
        model.export(tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.one_backend
def test_the_summarys_total_is_that_of_the_model(rng):
    encoder = small()
    parameters = sum(int(np.prod(weight.shape)) for weight in encoder.weights)
    model = siamkit.Siamese(encoder, "cosine")
    model.compile("adam", "triplet")
    model.fit(data(rng), np.arange(16) % 4, verbose=0)
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    assert f"Total params: {parameters:,} " in "\n".join(lines)
    assert model.compiled
