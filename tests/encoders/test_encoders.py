"""Encoders, whatever they encode: shapes, unit length, independence, training, saving, refusals."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
from selection import EVERYTHING
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import siamkit
from siamkit.errors import ComponentError

pytestmark = pytest.mark.keras

IMAGE = {"input_shape": (9, 8, 2)}
TOKENS = {"input_shape": (6,), "vocabulary_size": 20}
SERIES = {"input_shape": (7, 2)}
SMALL = {
    "linear": {"input_shape": (5,)},
    "linear_pca": {
        "input_shape": (5,),
        "training_items": np.random.default_rng(3).normal(size=(9, 5)).astype("float32"),
    },
    "linear_lda": {
        "input_shape": (5,),
        "training_items": np.random.default_rng(5).normal(size=(9, 5)).astype("float32"),
        "training_labels": np.arange(9) % 3,
    },
    "mlp": {"input_shape": (5,), "width": 8},
    "cnn": {**IMAGE, "filters": 4, "depth": 2},
    "cnn_pca": {
        **IMAGE,
        "filters": 4,
        "depth": 2,
        "training_items": np.random.default_rng(4).normal(size=(9, *IMAGE["input_shape"])).astype("float32"),
    },
    "scattering": {
        **IMAGE,
        "grid": 3,
        "training_items": np.random.default_rng(6).normal(size=(9, *IMAGE["input_shape"])).astype("float32"),
    },
    "resnet": {**IMAGE, "filters": 4, "depth": 2},
    "convnext": {**IMAGE, "filters": 4, "blocks": 1, "kernel": 3},
    "vit": {**IMAGE, "width": 8, "depth": 1, "heads": 2},
    "bag": {**TOKENS, "token_dim": 4},
    "ngrams": {**TOKENS, "token_dim": 4, "buckets": 50},
    "text_cnn": {**TOKENS, "token_dim": 4, "filters": 4},
    "lstm": {**TOKENS, "units": 8, "token_dim": 4},
    "gru": {**TOKENS, "units": 8, "token_dim": 4},
    "transformer": {**TOKENS, "width": 8, "depth": 1, "heads": 2},
    "tcn": {**SERIES, "filters": 4, "depth": 2},
    "inception_time": {**SERIES, "filters": 2},
    "kernels": {**SERIES, "kernels": 8},
    "rnn": {**SERIES, "units": 4},
}
FROZEN = {"kernels": ("weight", "bias"), "cnn_pca": ("kernel", "bias")}  # by design
FITTED = ("linear_pca", "linear_lda", "scattering")  # what they start as is not random
NAMES = sorted(SMALL)
OF_TOKENS = {name for name in NAMES if SMALL[name]["input_shape"] == (6,)}
OF_COLUMNS = {"tabular", "ft_transformer"}  # tested beside the preprocessor of tables


@pytest.fixture
def policy(request):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


@functools.cache
def made(name):
    """One encoder of each name for all tests that only look at it: compiling takes longer than running."""
    dropout = {"dropout": 0.3} if "dropout" in siamkit.components().encoders[name].spec.params else {}
    return siamkit.get_encoder(name, embedding_dim=4, **dropout, **SMALL[name])


def items(name, n=4):
    rng = np.random.default_rng(2)
    if name in OF_TOKENS:
        return rng.integers(1, 20, size=(n, 6)).astype("int32")
    return rng.normal(size=(n, *SMALL[name]["input_shape"])).astype("float32")


def embed(encoder, x):
    return np.asarray(encoder.predict(x, verbose=0), dtype="float64")


def test_every_built_in_encoder_is_tested_here():
    core = {e.spec.name for e in siamkit.components().encoders.all() if e.origin.distribution == "siamkit"}
    assert core - OF_COLUMNS == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_have_the_size_asked_for_and_unit_length(name):
    embeddings = embed(made(name), items(name))
    assert embeddings.shape == (4, 4)
    assert made(name).output_shape == (None, 4)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-6)
    assert np.abs(embeddings[1:] - embeddings[0]).max() > 1e-3  # and tell the items apart


@pytest.mark.parametrize("name", [name for name in NAMES if name != "cnn_pca"])  # see test_image.py
def test_without_normalisation_the_length_is_free(name):
    encoder = siamkit.get_encoder(name, embedding_dim=4, normalize=False, **SMALL[name])
    assert not any(isinstance(layer, siamkit.encoders.UnitNormalization) for layer in encoder.layers)


@pytest.mark.parametrize(
    ("name", "policy"),
    [(name, "mixed_bfloat16") for name in ("mlp", "cnn", "convnext", "lstm", "tcn")]
    + [(name, "mixed_float16") for name in ("text_cnn", "transformer")],  # those that mask by hand
    indirect=["policy"],
)
def test_under_mixed_precision_embeddings_are_still_float32_of_unit_length(name, policy):
    encoder = siamkit.get_encoder(name, embedding_dim=4, **SMALL[name])
    embeddings = encoder.predict(items(name), verbose=0)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"], indirect=True)
def test_encoders_follow_the_policy_up_to_their_unit_length(policy):
    for name in NAMES:
        encoder = siamkit.get_encoder(name, embedding_dim=4, **SMALL[name])
        assert f"mixed_{encoder.get_layer('projection').compute_dtype}" == policy
        assert encoder.output.dtype == "float32"


@pytest.mark.parametrize("name", NAMES)
def test_one_step_of_compiled_training_moves_every_weight_and_leaves_it_finite(name):
    encoder = siamkit.get_encoder(name, embedding_dim=4, **SMALL[name])
    x = items(name)
    if name in OF_TOKENS:
        x[1, 3:] = 0
        x[2] = 0  # nothing but padding
    before = encoder.get_weights()
    # torch.compile wants a C++ compiler, and TensorFlow's XLA takes five seconds for each encoder.
    jit = keras.backend.backend() in ("jax", "tensorflow" if EVERYTHING else "")
    encoder.compile(keras.optimizers.Adam(0.01), "mse", jit_compile=jit)
    history = encoder.fit(x, np.eye(4, dtype="float32"), batch_size=4, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    frozen = {variable.name for variable in encoder.non_trainable_variables if "seed" not in variable.path}
    assert frozen == set(FROZEN.get(name, ()))
    for variable, old in zip(encoder.weights, before, strict=True):
        new = keras.ops.convert_to_numpy(variable)
        assert np.isfinite(new).all(), variable.path
        assert (np.abs(new - old).max() > 1e-4) == variable.trainable, variable.path


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_encoder_is_loaded_whole(name, tmp_path):
    made(name).save(tmp_path / "encoder.keras")
    loaded = keras.saving.load_model(tmp_path / "encoder.keras", safe_mode=True)
    for theirs, ours in zip(loaded.get_weights(), made(name).get_weights(), strict=True):
        np.testing.assert_array_equal(theirs, ours)
    if name in ("convnext", "vit", "gru", "transformer"):  # layers of our own, a mask of Keras's
        x = items(name)
        np.testing.assert_allclose(embed(loaded, x), embed(made(name), x), atol=1e-5)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FITTED])
def test_a_seed_decides_the_weights(name):
    def weights(seed):
        keras.utils.set_random_seed(seed)
        return siamkit.get_encoder(name, embedding_dim=4, **SMALL[name]).get_weights()

    first, again, other = weights(1), weights(1), weights(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_every_encoder_and_every_parameter_says_what_it_means(name):
    spec = siamkit.components().encoders[name].spec
    assert spec.summary
    assert spec.formula
    assert all(param.help for param in spec.params.values())


def test_an_mlp_flattens_what_is_no_vector():
    encoder = siamkit.get_encoder("mlp", input_shape=(3, 2), embedding_dim=2, depth=0)
    assert embed(encoder, np.ones((4, 3, 2), dtype="float32")).shape == (4, 2)


def test_a_linear_encoder_starts_as_the_principal_components_of_the_training_items():
    rng = np.random.default_rng(4)
    x = (rng.normal(size=(40, 3, 2)) @ rng.normal(size=(2, 2)) + 5).astype("float32")
    encoder = siamkit.get_encoder(
        "linear_pca", input_shape=(3, 2), embedding_dim=8, normalize=False, training_items=x
    )
    found = embed(encoder, x)
    flat = x.reshape(40, 6).astype("float64")
    _, _, axes = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    expected = (flat - flat.mean(axis=0)) @ axes.T
    # The sign of an axis is free.
    np.testing.assert_allclose(np.abs(found[:, :6]), np.abs(expected), atol=1e-4)
    assert not found[:, 6:].any()
    encoder = siamkit.get_encoder(
        "linear_pca", input_shape=(3, 2), embedding_dim=8, normalize=False, training_items=x, center=False
    )
    found = embed(encoder, x)
    np.testing.assert_allclose(np.abs(found[:, :6]), np.abs(flat @ np.linalg.svd(flat)[2].T), atol=1e-3)
    assert not found[:, 6:].any()


def test_a_linear_encoder_of_one_number_starts_as_that_number():
    x = np.arange(1, 6, dtype="float32")[:, None]
    encoder = siamkit.get_encoder(
        "linear_pca", input_shape=(1,), embedding_dim=2, normalize=False, training_items=x, center=False
    )
    np.testing.assert_allclose(embed(encoder, x), np.concatenate([x, 0 * x], axis=1), atol=1e-6)


def of_three_classes():
    rng = np.random.default_rng(6)
    labels = np.arange(90) % 3
    x = (rng.normal(size=(90, 3, 2)) @ rng.normal(size=(2, 2)) + 5).astype("float32")
    x[:, 0, 0] += labels
    x[:, 1, 1] -= labels == 1
    return x, labels


def start_of_lda(x, labels, embedding_dim=8):
    encoder = siamkit.get_encoder(
        "linear_lda",
        input_shape=x.shape[1:],
        embedding_dim=embedding_dim,
        normalize=False,
        training_items=x,
        training_labels=labels,
    )
    return embed(encoder, x)


def test_a_linear_encoder_starts_as_the_discriminants_of_the_training_classes():
    x, labels = of_three_classes()
    found = start_of_lda(x, labels)
    components = PCA().fit_transform(x.reshape(90, 6).astype("float64"))
    fitted = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(components, labels)
    scale = 1 / np.linalg.norm(fitted.scalings_[:, :2], axis=0).mean()  # of two numbers, the median too
    expected = components @ fitted.scalings_[:, :2] * scale
    np.testing.assert_allclose(np.abs(found[:, :2]), np.abs(expected), atol=2e-4)
    # The other dimensions can learn: components of a small deviation. An item has no more than six of them.
    scaled = components / components.std(axis=0, ddof=1) / 10 * scale
    np.testing.assert_allclose(np.abs(found[:, 2:]), np.abs(scaled), atol=1e-4)
    np.testing.assert_allclose(start_of_lda(x, labels, 3), found[:, :3], atol=1e-6)
    assert not start_of_lda(x, labels, 12)[:, 8:].any()


def test_discriminants_are_those_of_the_known_labels_of_classes_with_two_items():
    x, labels = of_three_classes()
    hidden = np.where(np.arange(90) < 60, labels, -1)
    alone = np.where(np.arange(90) == 70, 3, hidden)
    known = slice(0, 60)
    found = start_of_lda(x, alone, 2)
    components = PCA().fit(x.reshape(90, 6).astype("float64")).transform(x.reshape(90, 6))
    fitted = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(
        components[known], labels[known]
    )
    scale = 1 / np.linalg.norm(fitted.scalings_[:, :2], axis=0).mean()
    np.testing.assert_allclose(np.abs(found), np.abs(components @ fitted.scalings_[:, :2]) * scale, atol=2e-4)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x, labels: (x, labels[:-1]), r"linear_lda needs a label for each of 90 items, got \(89,\)"),
        (lambda x, labels: (x, labels[:, None]), "linear_lda needs a label for each of 90 items"),
        (lambda x, labels: (x, np.arange(90)), "needs training_labels with two classes of two items or more"),
        (lambda x, labels: (x, 0 * labels), "needs training_labels with two classes of two items or more"),
        (
            lambda x, labels: (x, 0 * labels - 1),
            "needs training_labels with two classes of two items or more",
        ),
        (
            lambda x, labels: (x[labels], labels),
            "linear_lda needs training_items that differ within their class",
        ),
        (lambda x, labels: (0 * x, labels), "linear_lda needs training_items that differ"),
    ],
)
def test_labels_and_items_without_discriminants_are_refused(change, sentence):
    with pytest.raises(ComponentError, match=sentence):
        start_of_lda(*change(*of_three_classes()))


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("mpl", {}, "unknown encoder 'mpl'; did you mean 'mlp'"),
        ("mlp", {"embedding_dim": 4}, "the encoder 'mlp' is missing the argument input_shape"),
        ("mlp", {"input_shape": (3,)}, "the encoder 'mlp' is missing the argument embedding_dim"),
        ("mlp", {"input_shape": (3,), "embedding_dim": 0}, "embedding_dim.* should be at least 1, got 0"),
        (
            "mlp",
            {"input_shape": (3,), "embedding_dim": 2.5},
            "embedding_dim.* should be a whole number, got 2.5",
        ),
        (
            "mlp",
            {"input_shape": (3,), "embedding_dim": 2, "normalize": "yes"},
            "normalize.* true or false, got 'yes'",
        ),
        (
            "mlp",
            {"input_shape": (), "embedding_dim": 2},
            r"mlp takes items of a fixed shape, got input_shape=\(\)",
        ),
        ("mlp", {"input_shape": (None,), "embedding_dim": 2}, "mlp takes items of a fixed shape"),
        ("mlp", {"input_shape": (-3,), "embedding_dim": 2}, "mlp takes items of a fixed shape"),
        ("mlp", {"input_shape": 10, "embedding_dim": 2}, r"input_shape.* should be a tuple of sizes, got 10"),
        (
            "cnn",
            {"input_shape": (8, 8), "embedding_dim": 2},
            r"cnn takes items of shape \(height, width, channels\)",
        ),
        ("cnn", {"input_shape": (8, 0, 1), "embedding_dim": 2}, "cnn takes items of shape"),
        (
            "lstm",
            {"input_shape": (8, 8), "embedding_dim": 2, "vocabulary_size": 9},
            "lstm takes items of shape",
        ),
        (
            "lstm",
            {"input_shape": (8,), "embedding_dim": 2},
            "'lstm' is missing the argument vocabulary_size",
        ),
        (
            "lstm",
            {"input_shape": (8,), "embedding_dim": 2, "vocabulary_size": 1},
            "vocabulary_size should be at least 2",
        ),
        (
            "mlp",
            {"input_shape": (3,), "embedding_dim": 2, "depth": -1},
            "depth of encoder 'mlp' should be at least 0",
        ),
        (
            "mlp",
            {"input_shape": (3,), "embedding_dim": 2, "dept": 1},
            "'mlp' has no parameter 'dept'; did you mean 'depth'",
        ),
        (
            "resnet",
            {"input_shape": (8, 8), "embedding_dim": 2},
            r"resnet takes items of shape \(height, width, channels\), got input_shape=\(8, 8\)",
        ),
        ("convnext", {"input_shape": (8,), "embedding_dim": 2}, "convnext takes items of shape"),
        ("vit", {"input_shape": (8, 8), "embedding_dim": 2}, "vit takes items of shape"),
        (
            "vit",
            {"input_shape": (8, 8, 1), "embedding_dim": 2, "patch": 0},
            "patch of encoder 'vit' should be at least 1, got 0",
        ),
        (
            "bag",
            {"input_shape": (8, 2), "embedding_dim": 2, "vocabulary_size": 9},
            "bag takes items of shape",
        ),
        (
            "transformer",
            {"input_shape": (8,), "embedding_dim": 2},
            "is missing the argument vocabulary_size",
        ),
        (
            "text_cnn",
            {"input_shape": (8,), "embedding_dim": 2, "vocabulary_size": 0},
            "vocabulary_size should be at least 2, got 0",
        ),
        (
            "tcn",
            {"input_shape": (8,), "embedding_dim": 2},
            r"tcn takes items of shape \(steps, features\), got input_shape=\(8,\)",
        ),
        (
            "inception_time",
            {"input_shape": (0, 2), "embedding_dim": 2},
            "inception_time takes items of shape",
        ),
        ("rnn", {"input_shape": (None, 2), "embedding_dim": 2}, "rnn takes items of shape"),
        (
            "rnn",
            {"input_shape": (4, 2), "embedding_dim": 2, "cell": "elman"},
            "cell of encoder 'rnn' should be one of gru, lstm, got 'elman'",
        ),
        (
            "linear_pca",
            {"input_shape": (3,), "embedding_dim": 2},
            "'linear_pca' is missing the argument training_items",
        ),
        (
            "cnn_pca",
            {"input_shape": (8, 8, 1), "embedding_dim": 2, "training_items": np.ones((5, 8, 8, 3))},
            r"cnn_pca needs training_items of shape \('n', 8, 8, 1\), got \(5, 8, 8, 3\)",
        ),
        (
            "linear_pca",
            {"input_shape": (3,), "embedding_dim": 2, "training_items": np.ones((5, 4))},
            r"linear_pca needs training_items of shape \('n', 3\), got \(5, 4\)",
        ),
        (
            "cnn",
            {"input_shape": (8, 8, 1), "embedding_dim": 2, "pooling": "max"},
            "pooling of encoder 'cnn' should be one of flatten, grid, average, average_max, gem, got 'max'",
        ),
        (object(), {}, "an encoder is given by name or as a keras.Model"),
    ],
)
def test_a_bad_encoder_is_refused_in_one_sentence(name, params, words):
    with pytest.raises(ComponentError, match=words) as caught:
        siamkit.get_encoder(name, **params)
    assert "\n" not in str(caught.value)


@pytest.mark.one_backend
def test_a_study_gives_an_encoder_the_training_items_that_it_starts_from(tmp_path):
    (tmp_path / "study.yaml").write_text(
        """\
version: 1
name: start
data: {source: digits, split: {by: item, train: 0.1, valid: 0.1, test: 0.1}}
fixed: {batch_size: 32, epochs: 1, learning_rate: 1.0e-8}
search: {encoder: [linear_pca], metric: [cosine], loss: [triplet], embedding_dim: [8]}
objectives: {map_at_r: maximize}
budget: {trials: 1}
confirm: null
engine: inline
artifacts: runs
"""
    )
    results = siamkit.tune(tmp_path / "study.yaml")
    # Eight random directions of these digits reach about 0.3, their principal components about 0.5.
    assert results.measures["valid"]["map_at_r"] > 0.45
