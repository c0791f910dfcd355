"""Targets of any container and loader: a loss learns from the classes that were meant, or refuses them."""

from __future__ import annotations

import errno
import sys
import warnings
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pandas as pd
import polars as pl
import pytest
from keras import ops

import siamkit
from siamkit.errors import DataError, ModelError, SiamkitError

pytestmark = pytest.mark.keras

CLASSES = np.tile([0, 1, 2, 3], 6)
LARGE = np.array([2**40, 2**40 + 2**32, 2**41, 2**41 + 2**32])[CLASSES]  # equal in 32 bits
NAMES = np.array(["a", "b", "c", "d"])[CLASSES]


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(24, 5)).astype("float32")


def compiled(loss="contrastive", **params):
    keras.utils.set_random_seed(0)
    encoder = siamkit.get_encoder("mlp", input_shape=(5,), embedding_dim=3, depth=1, width=8)
    model = siamkit.Siamese(encoder, "euclidean")
    model.compile("sgd", siamkit.get_loss(loss, **params))
    return model


def losses(model, x, y, **options):
    options = {"batch_size": 24, "epochs": 2, "shuffle": False, "verbose": 0, **options}
    return model.fit(x, y, **options).history["loss"]


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "target",
    [
        LARGE,
        LARGE.astype(">i8"),
        LARGE.tolist(),
        LARGE.astype(float),
        LARGE.astype(object),
        pd.Series(LARGE),
        pd.Series(LARGE, dtype="Int64", index=range(100, 124)),
        pd.Series(NAMES),
        pd.Series(NAMES, dtype="category"),
        pd.Series(NAMES, dtype="string"),
        pd.DataFrame({"label": NAMES}),
        pl.Series(NAMES),
        NAMES[:, None],
        CLASSES.astype(np.uint8),
    ],
    ids=lambda target: f"{type(target).__name__}-{getattr(target, 'dtype', '')}",
)
def test_fit_learns_from_the_classes_in_any_container(target, x):
    expected = losses(compiled(), x, CLASSES)
    assert losses(compiled(), x, target) == pytest.approx(expected, rel=1e-5)
    model = compiled()
    history = model.fit(x, CLASSES, validation_data=(x, target), batch_size=24, shuffle=False, verbose=0)
    assert history.history["val_loss"] == pytest.approx([model.evaluate(x, target, batch_size=24, verbose=0)])


def test_a_target_as_a_tensor_of_the_backend_is_the_same_target(x):
    expected = losses(compiled(), x, CLASSES)
    assert losses(compiled(), x, ops.convert_to_tensor(CLASSES)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.one_backend
def test_a_missing_label_is_refused_before_training(x):
    model = compiled()
    before = model.embed(x)
    target = pd.Series(CLASSES, dtype="Int64").mask(CLASSES == 3)
    with pytest.raises(
        DataError, match="labels should not be missing, but 6 of 24 are; the first is in row 3"
    ):
        model.fit(x, target, verbose=0)
    with pytest.raises(DataError, match=r"got 0\.5 in row 1"):
        model.fit(x, CLASSES * 0.5, verbose=0)
    with pytest.raises(DataError, match="not be missing"):
        model.fit(x, CLASSES, None, 1, 0, None, 0.0, (x, target))  # validation_data by position
    np.testing.assert_array_equal(model.embed(x), before)


# ------------------------------------------------------------------ loaders


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y, **options):
        super().__init__(**options)
        self.x, self.y = x, y

    def __len__(self):
        return 2

    def __getitem__(self, index):
        rows = slice(12 * index, 12 * index + 12)
        return self.x[rows], self.y[rows]


def generator(x, y):
    while True:
        yield from ((x[rows], y[rows]) for rows in (slice(0, 12), slice(12, 24)))


def tf_dataset(x, y):
    others = [finder for finder in sys.meta_path if type(finder).__name__ != "OtherBackend"]
    with mock.patch.object(sys, "meta_path", others):  # `support/processes` refuses it on other backends
        tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(12)


def torch_loader(x, y, **options):
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(np.asarray(y)))
    return torch.utils.data.DataLoader(data, batch_size=12, **options)


LOADERS = {
    "PyDataset": Batches,
    "PyDataset in threads": lambda x, y: Batches(x, y, workers=2),
    "generator": generator,
    "tf.data": tf_dataset,
    "DataLoader": torch_loader,
    # JAX must not fork.
    "DataLoader with workers": lambda x, y: torch_loader(
        x, y, num_workers=1, multiprocessing_context="spawn" if keras.backend.backend() == "jax" else "fork"
    ),
}


# Importing another backend takes long: TensorFlow would import PyTorch, and JAX TensorFlow.
ELSEWHERE = {"tf.data": ("torch", "tensorflow"), "DataLoader": ("torch", "jax")}
LOADER_NAMES = [
    pytest.param(name, marks=pytest.mark.one_backend(*ELSEWHERE[kind])) if kind in ELSEWHERE else name
    for name in LOADERS
    for kind in [name.removesuffix(" with workers")]
]


def fit_loader(model, loader):
    return model.fit(loader, epochs=2, steps_per_epoch=2, shuffle=False, verbose=0).history["loss"]


@pytest.mark.parametrize("loader", LOADER_NAMES)
def test_a_loader_of_small_ids_trains_as_arrays_do(loader, x):
    expected = losses(compiled(), x, CLASSES, batch_size=12)
    epochs = 1 if "threads" in loader else 2  # there Keras starts its second epoch at another batch
    trained = fit_loader(compiled(), LOADERS[loader](x, CLASSES))
    assert trained[:epochs] == pytest.approx(expected[:epochs], rel=1e-4)


@pytest.mark.parametrize("loader", LOADER_NAMES)
@pytest.mark.parametrize("target", [LARGE, LARGE.astype(float)], ids=["int64", "float64"])
def test_a_loader_of_ids_beyond_32_bits_is_refused(loader, target, x):
    with pytest.raises(
        ModelError, match="batch by batch, so it needs whole numbers of 32 bits, got ids from 1"
    ):
        fit_loader(compiled(), LOADERS[loader](x, target))


@pytest.mark.parametrize("loader", LOADER_NAMES)
def test_a_loader_of_other_targets_of_pairs_is_refused(loader, x):
    wrong = np.where(CLASSES < 2, -1.0, 1.0).astype("float32")
    if "DataLoader" in loader:
        pytest.skip("a TensorDataset cannot nest a pair of views")
    batches = tf_dataset((x, x), wrong) if loader == "tf.data" else _pair_batches(loader, x, wrong)
    with pytest.raises(DataError, match=r"1 \(alike\) or 0 \(not\), got -1\.0, 1\.0"):
        fit_loader(compiled("contrastive"), batches)


def _pair_batches(loader, x, y):
    if loader == "generator":
        return (((xs, xs), ys) for xs, ys in generator(x, y))

    class Pairs(Batches):
        def __getitem__(self, index):
            xs, ys = super().__getitem__(index)
            return (xs, xs), ys

    return Pairs(x, y, workers=2 if "threads" in loader else 1)


@pytest.mark.one_backend
def test_a_loader_as_validation_data_is_checked_too(x):
    with pytest.raises(ModelError, match="whole numbers of 32 bits"):
        compiled().fit(x, CLASSES, validation_data=Batches(x, LARGE), verbose=0)
    with pytest.raises(ModelError, match="whole numbers of 32 bits"):
        compiled().evaluate(Batches(x, LARGE), verbose=0)


@pytest.mark.one_backend
def test_the_users_loader_stays_as_it_was(x):
    loader = torch_loader(x, LARGE)
    with pytest.raises(ModelError):
        fit_loader(compiled(), loader)
    assert type(loader).__name__ == "DataLoader"
    assert len(list(loader)) == 2


# ------------------------------------------------------------------ single batches, and losses alone


def test_a_single_batch_is_checked(x):
    model = compiled()
    for method in (model.train_on_batch, model.test_on_batch):
        assert float(method(x, pd.Series(CLASSES))) == pytest.approx(
            float(compiled().test_on_batch(x, CLASSES)), abs=0.1
        )
        with pytest.raises(ModelError, match="32 bits"):
            method(x, LARGE)
        with pytest.raises(DataError, match="not be missing"):
            method(x, [None, *CLASSES[1:]])


@pytest.mark.one_backend
@pytest.mark.parametrize("loss", ["triplet", "contrastive", "multi_similarity"])
@pytest.mark.parametrize(
    "target", [LARGE, NAMES, pd.Series(NAMES), LARGE.astype(float)], ids=["ids", "names", "series", "floats"]
)
def test_a_loss_alone_takes_labels_of_any_container(loss, target, x):
    alone = siamkit.get_loss(loss, metric="euclidean")
    assert float(alone(target, x)) == pytest.approx(float(alone(CLASSES, x)))


def test_a_loss_alone_takes_tensors_of_64_bits(x):
    if keras.backend.backend() == "jax":
        pytest.skip("JAX has no integers of 64 bits by default")
    alone = siamkit.get_loss("triplet", metric="euclidean")
    assert float(alone(ops.convert_to_tensor(LARGE), x)) == pytest.approx(float(alone(CLASSES, x)))
    # The same when it is traced, where the values are not known.
    np.testing.assert_array_equal(
        np.unique(
            ops.convert_to_numpy(alone._as_target(ops.convert_to_tensor(LARGE), x)), return_inverse=True
        )[1],
        CLASSES,
    )


@pytest.mark.one_backend
@pytest.mark.parametrize("loss", ["contrastive", "online_contrastive", "binary_cross_entropy"])
@pytest.mark.parametrize(
    ("target", "words"),
    [
        ([-1, 1], r"got -1, 1; pass \(targets > 0\)"),
        ([1, 2], "got 1, 2"),
        ([0, 255], "got 0, 255"),
        ([1.0, 4.0], "got 1.0, 4.0"),
        ([np.nan, 1.0], "should not be missing"),
    ],
)
def test_a_loss_over_pairs_refuses_other_targets(loss, target, words, x):
    pairs = np.stack([x[:2], x[2:4]], axis=1)
    alone = siamkit.get_loss(loss, metric="euclidean")
    for given in (target, np.array(target), ops.convert_to_tensor(np.array(target))):
        with pytest.raises(SiamkitError, match=words):
            alone(given, pairs)
    with pytest.raises(SiamkitError, match=words):
        compiled(loss).fit((x[:2], x[2:4]), np.array(target), verbose=0)


@pytest.mark.one_backend
def test_a_loss_over_scores_takes_grades(x):
    pairs = np.stack([x[:3], x[3:6]], axis=1)
    assert np.isfinite(float(siamkit.get_loss("cosent", metric="cosine")([1, 3, 5], pairs)))


@pytest.mark.one_backend
def test_a_wrapped_loss_has_the_rule_of_the_loss_inside(x):
    pairs = np.stack([x[:2], x[2:4]], axis=1)
    wrapped = siamkit.get_loss("matryoshka", loss="contrastive", metric="euclidean", dims=[2])
    with pytest.raises(DataError, match="got -1, 1"):
        wrapped([-1, 1], pairs)


@pytest.mark.one_backend
def test_a_loss_with_proxies_names_the_ids_that_it_cannot_use(x):
    loss = siamkit.get_loss("arcface", num_classes=3, metric="cosine")
    with pytest.raises(ModelError, match="class ids from 0 to 2, got ids from 0 to 3"):
        loss(CLASSES, x)
    with pytest.raises(ModelError, match="class ids from 0 to 2, got labels such as a"):
        loss(NAMES, x)


# ------------------------------------------------------------------ targets that a loss would ignore


@pytest.mark.one_backend
@pytest.mark.parametrize("loss", ["multi_similarity", "nt_xent", "info_nce", "vicreg", "margin"])
def test_a_loss_that_ignores_the_targets_of_pairs_refuses_them(loss, x):
    model = compiled(loss)
    with pytest.raises(
        DataError, match=r"would ignore these targets \(0, 1\).*over pairs, such as contrastive"
    ):
        model.fit((x[:12], x[12:]), CLASSES[:12] % 2, verbose=0)
    model.fit((x[:12], x[12:]), np.zeros(12), verbose=0)  # as a feed without targets has them


@pytest.mark.one_backend
def test_online_contrastive_keeps_a_single_hard_pair_of_each_kind():
    alone = siamkit.get_loss("online_contrastive", metric="euclidean", margin=0.5)
    pairs = np.array([[[0.0], [0.4]], [[0.0], [0.1]]])  # the alike pair is farther than the other one
    assert float(alone([1, 0], pairs)) == pytest.approx(0.4**2 + (0.5 - 0.1) ** 2)


@pytest.mark.one_backend
def test_scores_outside_the_metrics_range_are_refused(x):
    pairs = np.stack([x[:3], x[3:6]], axis=1)
    with pytest.raises(
        DataError, match="should be from -1 to 1, as the metric's values are, got 0 to 5; scale"
    ):
        siamkit.get_loss("cosine_mse", metric="cosine")([0, 3, 5], pairs)
    encoder = siamkit.get_encoder("mlp", input_shape=(5,), embedding_dim=3)
    model = siamkit.Siamese(encoder, "cosine")
    model.compile("sgd", "cosine_mse")
    with pytest.raises(DataError, match="got 0 to 5"):
        model.fit((x[:3], x[3:6]), [0, 3, 5], verbose=0)


def test_targets_and_embeddings_are_as_many(x):
    with pytest.raises(ModelError, match="got 1 targets for 24 embeddings"):
        siamkit.get_loss("triplet", metric="euclidean")([0], x)
    pairs = np.stack([x[:4], x[4:8]], axis=1)
    with pytest.raises(ModelError, match="got 1 targets for 4 embeddings"):
        siamkit.get_loss("contrastive", metric="euclidean")([1], pairs)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros(24, int), "all 24 items have one class"),
        (np.arange(24), "each of the 24 items has a class"),
    ],
)
def test_labels_that_teach_nothing_are_refused(labels, words, x):
    with pytest.raises(DataError, match=words):
        compiled().fit(x, labels, verbose=0)
    with pytest.raises(DataError, match=words):
        compiled().fit(x, CLASSES, validation_data=(x, labels), verbose=0)
    if labels.any():  # each class has a proxy to be near to
        encoder = siamkit.get_encoder("mlp", input_shape=(5,), embedding_dim=3)
        model = siamkit.Siamese(encoder, "cosine")
        model.compile("sgd", siamkit.get_loss("arcface", num_classes=24))
        assert np.isfinite(model.fit(x, labels, verbose=0).history["loss"]).all()


@pytest.mark.one_backend
@pytest.mark.parametrize("weight", [np.full(12, -1.0), np.full(12, np.nan)])
def test_weights_that_weigh_nothing_are_refused(weight, x):
    model = compiled("contrastive")
    with pytest.raises(DataError, match="sample_weight should"):
        model.fit((x[:12], x[12:]), CLASSES[:12] % 2, sample_weight=weight, verbose=0)


@pytest.mark.one_backend
def test_data_without_items_are_refused(x):
    with pytest.raises(DataError, match="the data have no items"):
        compiled().fit(x[:0], [], verbose=0)


@pytest.mark.one_backend
def test_a_validation_split_of_one_class_is_refused(x):
    order = np.sort(CLASSES)
    with pytest.raises(DataError, match=r"all 5 items of the validation split .* have one class"):
        compiled().fit(x, order, validation_split=0.2, verbose=0)
    compiled().fit(x, CLASSES, validation_split=0.2, verbose=0)


@pytest.mark.one_backend
def test_weights_of_classes_are_by_id():
    x = np.random.default_rng(0).normal(size=(24, 5)).astype("float32")
    encoder = siamkit.get_encoder("mlp", input_shape=(5,), embedding_dim=3)
    model = siamkit.Siamese(encoder, "cosine")
    model.compile("sgd", siamkit.get_loss("arcface", num_classes=4))
    model.fit(x, CLASSES, class_weight={0: 2.0, 1: 1.0, 2: 1.0, 3: 1.0}, verbose=0)
    with pytest.raises(DataError, match="class_weight should be a dict from class id to weight, got list"):
        model.fit(x, CLASSES, class_weight=[2.0, 1.0, 1.0, 1.0], verbose=0)
    with pytest.raises(DataError, match="class_weight needs class ids"):
        compiled("contrastive").fit(x, NAMES, class_weight={"a": 2.0}, verbose=0)


@pytest.mark.one_backend
def test_items_that_are_not_finite_are_named(x):
    broken = x.copy()
    broken[[3, 7], 1] = [np.nan, np.inf]
    words = "NaN or infinity in 2 of 24 items, the first is item 3"
    model = compiled()
    for use in (
        lambda: model.fit(broken, CLASSES, verbose=0),
        lambda: model.fit(x, CLASSES, validation_data=(broken, CLASSES), verbose=0),
        lambda: model.evaluate(broken, CLASSES, verbose=0),
        lambda: model.train_on_batch(broken, CLASSES),
        lambda: model.embed(broken),
        lambda: model.compare(broken, x),
        lambda: model.same(x, broken, threshold=1.0),
    ):
        with pytest.raises(SiamkitError, match=words):
            use()
    with pytest.raises(SiamkitError, match="NaN or infinity in 2 of 12 items"):
        fit_loader(model, generator(broken, CLASSES))


@pytest.mark.one_backend
def test_weights_in_a_loader_and_of_classes_are_checked(x):
    weighted = (((x[:12], x[12:]), CLASSES[:12] % 2, np.full(12, -1.0)) for _ in range(4))
    with pytest.raises(DataError, match="sample_weight should be at least 0"):
        fit_loader(compiled("contrastive"), weighted)
    encoder = siamkit.get_encoder("mlp", input_shape=(5,), embedding_dim=3)
    model = siamkit.Siamese(encoder, "cosine")
    model.compile("sgd", siamkit.get_loss("arcface", num_classes=4))
    with pytest.raises(DataError, match="class_weight should be at least 0, got -1 in row 1"):
        model.fit(x, CLASSES, class_weight={0: 1.0, 1: -1.0, 2: 1.0, 3: 1.0}, verbose=0)


@pytest.mark.one_backend
def test_embeddings_of_another_rank_are_refused(x):
    with pytest.raises(ModelError, match=r"takes embeddings \(batch, dim\) or .* got shape \(24,\)"):
        siamkit.get_loss("triplet", metric="euclidean")(CLASSES, x[:, 0])


@pytest.mark.one_backend
def test_ids_of_the_type_bfloat16_are_refused_above_256(x):
    torch = pytest.importorskip("torch")
    with pytest.raises(DataError, match="of type bfloat16 are rounded above 256"):
        siamkit.evaluate(x, torch.tensor(CLASSES + 500).to(torch.bfloat16), "euclidean")
    assert siamkit.evaluate(x, torch.tensor(CLASSES).to(torch.bfloat16), "euclidean") == siamkit.evaluate(
        x, CLASSES, "euclidean"
    )


def plain():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    model.compile("sgd", siamkit.get_loss("triplet", metric="euclidean"))
    return model


def test_floats_that_merge_in_a_plain_keras_model_are_refused(x):
    merged = CLASSES + 2.0**25
    words = (
        "rounded above"
        if keras.backend.backend() == "torch"
        else "as float32, in which 4 classes become 2; number"
    )
    for call in (plain().fit, plain().evaluate):
        with pytest.raises(DataError, match=words):
            call(x, merged, batch_size=24, verbose=0)
    with pytest.raises(DataError, match=words):
        plain().fit(x, CLASSES, validation_data=(x, merged), batch_size=24, verbose=0)


def test_ids_of_64_bits_in_a_plain_keras_model_are_the_same_classes_or_refused(x):
    weights = plain().get_weights()

    def loss_of(labels):
        model = plain()
        model.set_weights(weights)
        return model.evaluate(x, labels, batch_size=24, verbose=0)

    expected = loss_of(CLASSES)
    if keras.backend.backend() == "jax":  # which has integers of 32 bits
        with pytest.raises(DataError, match="the labels as int32, in which 4 classes become 1; number"):
            loss_of(LARGE)
    else:
        assert loss_of(LARGE) == pytest.approx(expected, rel=1e-5)
    assert loss_of(CLASSES + 2**30) == pytest.approx(expected, rel=1e-5)


def test_a_learned_metric_of_a_loss_in_a_plain_keras_model_is_warned_of(x):
    plain = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    plain.compile("sgd", siamkit.get_loss("triplet", metric="mahalanobis"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plain.fit(x, CLASSES, batch_size=24, epochs=2, verbose=0)
    found = [str(each.message) for each in caught if "weights of its own" in str(each.message)]
    assert len(found) == 1
    assert found[0].startswith("the metric of the loss 'triplet' has weights of its own")


@pytest.mark.one_backend
@pytest.mark.parametrize("loader", ["PyDataset", "generator"])
def test_a_loader_of_labels_as_objects_trains_as_arrays_do(loader, x):
    expected = losses(compiled(), x, CLASSES, batch_size=12)
    trained = fit_loader(compiled(), LOADERS[loader](x, CLASSES.astype(object)))
    assert trained == pytest.approx(expected, rel=1e-4)


def test_metrics_do_not_merge_ids_of_64_bits(x):
    if keras.backend.backend() == "jax":
        pytest.skip("JAX has no integers of 64 bits by default")
    (metric,) = siamkit.metrics_for("map_at_r", metric="euclidean")
    with pytest.raises(ModelError, match="takes class ids of 32 bits, got ids from"):
        metric.update_state(LARGE, x)


@pytest.mark.one_backend
def test_a_failed_save_leaves_the_older_model(x, tmp_path, monkeypatch):
    model, path = compiled(), tmp_path / "model.keras"
    model.save(path)
    before = path.read_bytes()

    def torn(self, filepath, *arguments, **options):
        Path(filepath).write_bytes(b"half")
        raise OSError(errno.EFBIG, "File too large")

    monkeypatch.setattr(keras.Model, "save", torn)
    with pytest.raises(SiamkitError, match=r"model\.keras' cannot be written: File too large"):
        model.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
