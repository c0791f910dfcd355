"""Feeds: balanced, of one shape, covering, and the same for the same seed, on any backend."""

from __future__ import annotations

import gc
import warnings
import weakref
from dataclasses import replace

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selection import examples

import siamkit
from siamkit.backend import beyond_keras
from siamkit.backend.beyond_keras import DeviceArray, DeviceItems
from siamkit.data import Dataset, fit_preprocessor
from siamkit.data.batches import EpochPlan, Feed, feed
from siamkit.data.preprocessing.scaling import Standardizer
from siamkit.errors import DataError

pytestmark = pytest.mark.keras


def labelled(target):
    """Items that are their own numbers, so that a batch tells which items it holds."""
    target = np.asarray(target)
    return Dataset((np.arange(len(target), dtype=np.float32)[:, None],), target, "labels", "vector")


def native(supervision, n, views, target=None):
    columns = tuple(np.arange(n, dtype=np.float32)[:, None] + 1000 * view for view in range(views))
    return Dataset(columns, target, supervision, "vector")


def items(view):
    return np.asarray(view)[:, 0].astype(int)


TEN = labelled(np.repeat(np.arange(10) * 7, 12))
UNEVEN = labelled([0] * 40 + [1] * 3 + [2] * 2 + [3] * 11)
FEW = labelled([6, 7, 5, 5, 5])
LONELY = labelled([0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 9])

FEEDS = {
    "labels": lambda size, seed=0, **options: feed(TEN, "labels", batch_size=size, seed=seed, **options),
    "pairs": lambda size, seed=0, **options: feed(TEN, "pairs", batch_size=size, seed=seed, **options),
    "triplets": lambda size, seed=0, **options: feed(TEN, "triplets", batch_size=size, seed=seed, **options),
    "views": lambda size, seed=0, **options: feed(TEN, "views", batch_size=size, seed=seed, **options),
    "native pairs": lambda size, seed=0, **options: feed(
        native("pairs", 50, 2, np.arange(50) % 2), "pairs", batch_size=size, seed=seed, **options
    ),
    "native scores": lambda size, seed=0, **options: feed(
        native("scores", 50, 2, np.arange(50) / 50), "scores", batch_size=size, seed=seed, **options
    ),
    "native triplets": lambda size, seed=0, **options: feed(
        native("triplets", 50, 3), "triplets", batch_size=size, seed=seed, **options
    ),
    "native views": lambda size, seed=0, **options: feed(
        native("views", 50, 4), "views", batch_size=size, seed=seed, **options
    ),
}
VIEWS = {
    "labels": 1,
    "pairs": 2,
    "triplets": 3,
    "views": 2,
    "native pairs": 2,
    "native scores": 2,
    "native triplets": 3,
    "native views": 4,
}
each_feed = pytest.mark.parametrize("name", FEEDS)


def flat(batch):
    return keras.tree.flatten(batch)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(flat(a), flat(b), strict=True))


@each_feed
def test_every_batch_has_one_shape_and_the_right_dtypes(name):
    made = FEEDS[name](16)
    batches = list(made)
    assert len(batches) == len(made) >= 1
    shapes = {tuple(leaf.shape for leaf in flat(batch)) for batch in batches}
    assert len(shapes) == 1
    x, y = batches[0][:2]
    assert isinstance(x, tuple) == (VIEWS[name] > 1)
    assert VIEWS[name] == (len(x) if isinstance(x, tuple) else 1)
    assert y.shape == (made.batch_size,)
    assert made.batch_size <= 16
    assert y.dtype == (np.float32 if name == "native scores" else np.int32)
    assert len(batches[0]) == (3 if name in ("native pairs", "native scores", "native triplets") else 2)


@each_feed
def test_a_batch_depends_on_seed_epoch_and_index_alone(name):
    whole, resumed = FEEDS[name](16), FEEDS[name](16)
    first = list(whole)
    whole.on_epoch_end()
    second = list(whole)
    np.random.seed(1)
    resumed.epoch = 1
    last = len(resumed) - 1
    assert same(resumed[last], second[last])
    assert same(list(resumed), second)
    assert not same(first, second)
    resumed.epoch = 0
    assert same(list(resumed), first)
    assert not same(list(FEEDS[name](16, seed=1)), first)
    with pytest.raises(IndexError):
        resumed[last + 1]


@each_feed
def test_fewer_items_than_a_batch_make_a_smaller_batch(name):
    made = FEEDS[name](1000)
    assert len(made) >= 1
    assert made.batch_size <= 120


# ---------------------------------------------------------------- sampled from labels


@settings(max_examples=examples(60))
@given(st.lists(st.integers(2, 9), min_size=2, max_size=9), st.integers(4, 40), st.integers(2, 6))
def test_labels_come_in_balanced_batches(sizes, batch_size, k):
    data = labelled(np.repeat(np.arange(len(sizes)), sizes))
    made = feed(data, "labels", batch_size=batch_size, seed=1, items_per_class=k)
    seen = np.zeros(len(sizes), dtype=int)
    for x, y in made:
        assert np.array_equal(data.codes[items(x)], y)
        held, counts = np.unique(y, return_counts=True)
        assert len(set(counts)) == 1
        assert 2 <= len(held) <= len(sizes)
        assert counts[0] >= 2
        assert len(y) == len(held) * counts[0] <= batch_size
        for name in held:
            chosen = items(x)[y == name]
            # All different where the class has enough, else each as often as the others.
            assert len(set(chosen)) == min(counts[0], sizes[name])
            assert np.ptp(np.unique(chosen, return_counts=True)[1]) <= 1
        seen[held] += 1
    assert np.ptp(seen) <= 1


def test_p_and_k_fill_the_batch():
    _, y = feed(TEN, "labels", batch_size=32, seed=0, items_per_class=4)[0]
    assert np.unique(y, return_counts=True)[1].tolist() == [4] * 8
    # No more classes than there are: K grows instead.
    _, y = feed(TEN, "labels", batch_size=64, seed=0, items_per_class=4)[0]
    assert np.unique(y, return_counts=True)[1].tolist() == [6] * 10


def test_over_an_epoch_all_items_of_even_classes_come_once():
    made = feed(TEN, "labels", batch_size=20, seed=0, items_per_class=4)
    batches = [items(x) for x, _ in made]
    assert sorted(np.concatenate(batches)) == list(range(120))
    # Which items of a class meet is chance too: not always its first four.
    assert len({frozenset(four) for batch in batches for four in batch.reshape(-1, 4) % 12}) > 20


@pytest.mark.parametrize("data", [TEN, UNEVEN, FEW, LONELY])
def test_pairs_are_half_alike_and_never_an_item_with_itself(data):
    made = feed(data, "pairs", batch_size=8, seed=0)
    anchored = []
    for (a, b), y in made:
        a, b = items(a), items(b)
        assert np.array_equal(data.codes[a] == data.codes[b], y == 1)
        assert y.sum() * 2 == len(y)
        assert (a != b).all()
        anchored += a.tolist()
    if data is not LONELY:
        # Where few items are alone in their class, none is an anchor twice.
        assert len(set(anchored)) == len(anchored) > len(data) - 8


@pytest.mark.parametrize("data", [TEN, UNEVEN, FEW, LONELY])
def test_triplets_have_a_positive_and_a_negative(data):
    anchored = []
    for (a, p, n), y in feed(data, "triplets", batch_size=4, seed=0):
        a, p, n = items(a), items(p), items(n)
        assert np.array_equal(data.codes[a], data.codes[p])
        assert (data.codes[a] != data.codes[n]).all()
        assert (a != p).all()
        assert not y.any()
        anchored += a.tolist()
    assert len(set(anchored)) == len(anchored)


def test_partners_are_drawn_evenly():
    data = labelled([0, 0, 0, 1, 1, 2])
    made = feed(data, "triplets", batch_size=5, seed=0)
    counts = np.zeros((6, 2, 6), dtype=int)
    for made.epoch in range(3000):
        for (a, p, n), _ in made:
            np.add.at(counts, (items(a), 0, items(p)), 1)
            np.add.at(counts, (items(a), 1, items(n)), 1)
    for anchor, positives, negatives in ((0, [1, 2], [3, 4, 5]), (3, [4], [0, 1, 2, 5])):
        for role, expected in ((0, positives), (1, negatives)):
            assert np.flatnonzero(counts[anchor, role]).tolist() == expected
            np.testing.assert_allclose(counts[anchor, role, expected] / 3000, 1 / len(expected), atol=0.05)


def test_views_are_two_items_of_a_class_and_classes_differ_in_a_batch():
    for (a, b), y in feed(TEN, "views", batch_size=7, seed=0):
        codes = TEN.codes[items(a)]
        assert np.array_equal(codes, TEN.codes[items(b)])
        assert len(set(codes)) == 7
        assert (items(a) != items(b)).all()
        assert not y.any()
    (a, b), _ = feed(TEN, "views", batch_size=25, seed=0)[0]
    assert np.bincount(TEN.codes[items(a)]).tolist() == [2] * 10
    assert len(set(items(a)) | set(items(b))) == 40
    for (a, b), _ in feed(LONELY, "views", batch_size=2, seed=0):
        assert {frozenset((p, q)) for p, q in zip(items(a), items(b), strict=True)} == {
            frozenset((5, 6)),
            frozenset((10, 11)),
        }


def test_what_cannot_be_sampled_is_refused_in_a_sentence():
    cases = [
        (labelled(["a", "a", "b"]), "labels", 8, "class 'b' has a single item; a class needs at least 2"),
        (labelled(["a", "a", "a"]), "labels", 8, "at least 2 classes, got only class 'a'"),
        (labelled(["a", "a", "a"]), "triplets", 8, "at least 2 classes"),
        (labelled(["a", "b", "c"]), "pairs", 8, "every class has a single one"),
        (labelled(["a", "a", "b"]), "views", 8, "2 classes with 2 items each .* got 1"),
        (TEN, "labels", 3, "room for 2 classes with 2 items each, got batch_size 3"),
        (TEN, "labels", 0, "batch_size should be a whole number from 1, got 0"),
        (
            TEN,
            "scores",
            8,
            "data of labels cannot feed a loss that learns from scores; choose a loss that "
            "learns from labels or pairs or triplets or views",
        ),
        (native("pairs", 4, 2, np.array([0, 1, 0, 1])), "labels", 8, "choose a loss that learns from pairs"),
        (TEN, "label", 8, "did you mean 'labels'"),
    ]
    for data, supervision, size, sentence in cases:
        with pytest.raises(DataError, match=sentence):
            feed(data, supervision, batch_size=size, seed=0)
    with pytest.raises(DataError, match="seed should be a whole number from 0"):
        feed(TEN, "labels", batch_size=8, seed=-1)


# ---------------------------------------------------------------- as they are


@pytest.mark.parametrize(("n", "size"), [(50, 16), (48, 16), (5, 16), (1, 1)])
def test_native_pairs_come_once_each_and_the_rest_has_weight_0(n, size):
    data = native("pairs", n, 2, np.arange(n) % 2)
    seen = []
    for (a, b), y, weight in feed(data, "pairs", batch_size=size, seed=0):
        assert np.array_equal(items(a) + 1000, items(b))
        assert np.array_equal(y, items(a) % 2)
        assert weight.dtype == np.float32
        seen += items(a)[weight == 1].tolist()
        assert np.isin(weight, (0, 1)).all()
    assert sorted(seen) == list(range(n))


def test_native_scores_keep_their_scores():
    for (a, _), y, _ in FEEDS["native scores"](16):
        np.testing.assert_allclose(y, items(a) / 50, rtol=1e-6)


def test_native_views_drop_the_rest():
    made = FEEDS["native views"](16)
    seen = np.concatenate([items(x[0]) for x, _ in made])
    assert len(made) == 3
    assert len(set(seen)) == len(seen) == 48


def test_the_preprocessor_prepares_the_views_once():
    calls = []
    scaler = fit_preprocessor(TEN)

    def prepare(leaf):
        calls.append(len(leaf))
        return scaler(leaf)

    made = feed(TEN, "pairs", batch_size=8, seed=0, preprocessor=prepare)
    values = np.concatenate([np.concatenate(x) for x, _ in made])
    assert calls == [120]
    assert values.dtype == np.float32
    assert abs(values).max() < 2
    texts = Dataset((np.array(["a", "b", "a", "b"]),), np.array([0, 1, 0, 1]), "labels", "text")
    with pytest.raises(DataError, match="texts need a preprocessor"):
        feed(texts, "labels", batch_size=4, seed=0)
    ids = feed(texts, "labels", batch_size=4, seed=0, preprocessor=fit_preprocessor(texts))[0][0]
    assert ids.dtype == np.int32


def test_dictionary_views_are_taken_field_by_field():
    view = {"a": np.arange(8.0), "b": np.arange(8)}
    x, _ = feed(Dataset((view,), np.arange(8) % 2, "labels", "records"), "labels", batch_size=4, seed=0)[0]
    assert x["a"].shape == (4,)
    assert np.array_equal(x["a"].astype(int), x["b"])
    with pytest.raises(DataError, match="columns of a table need a preprocessor, got None"):
        feed(Dataset((view,), np.arange(8) % 2, "labels", "tabular"), "labels", batch_size=4, seed=0)


def test_augmentation_changes_each_view_anew_and_leaves_targets_and_items():
    dataset = native("pairs", 8, 2, np.arange(8) % 2)
    before = [view.copy() for view in dataset.views]
    made = feed(dataset, "pairs", batch_size=8, seed=0, augment={"noise": {"deviation": 0.1}})
    (a, b), y, _ = made[0]
    np.testing.assert_array_equal(y, np.rint(a[:, 0]).astype(int) % 2)
    noise = a[:, 0] - np.rint(a[:, 0]), b[:, 0] - np.rint(b[:, 0])
    assert (np.abs(noise) > 0).all()
    assert not np.allclose(*noise)
    for view, original in zip(dataset.views, before, strict=True):
        np.testing.assert_array_equal(view, original)


def test_augmentations_of_a_batch_follow_from_seed_epoch_and_number():
    def noise(number, epoch=0, seed=0):
        """The noise alone: the items of another epoch differ in any case."""
        made = feed(TEN, "labels", batch_size=16, seed=seed, augment={"noise": {"deviation": 0.1}})
        made.epoch = epoch
        x = made[number][0]
        return np.round(x - np.rint(x), 4)

    np.testing.assert_array_equal(noise(2, epoch=3), noise(2, epoch=3))
    others = [noise(2, epoch=4), noise(1, epoch=3), noise(2, epoch=3, seed=1)]
    assert not any(np.array_equal(noise(2, epoch=3), other) for other in others)


def test_the_preprocessor_varies_what_is_augmented():
    class Rounding(Standardizer):
        def vary(self, leaf, rng):
            return np.rint(leaf)

    items = Dataset((np.zeros((40, 3), np.float32),), np.arange(40) % 2, "labels", "vector")
    made = feed(
        items,
        "labels",
        batch_size=40,
        seed=0,
        preprocessor=Rounding((3,), np.zeros(3), np.ones(3)),
        augment={"noise": {"deviation": 9}},
    )
    x, _ = made[0]
    assert (x == np.rint(x)).all()
    assert len(np.unique(x)) > 5


def test_typos_are_made_in_texts_before_they_are_tokenized():
    texts = np.array(["a red hat", "réd 🦊", "blue", "green shoes"] * 3, object)
    dataset = Dataset((texts,), np.arange(12) % 2, "labels", "text")
    prepare = fit_preprocessor(dataset, dropout=0.0)
    prepared = replace(dataset, views=(prepare(texts),), input="tokens")
    for items, is_prepared in ((dataset, False), (prepared, True)):
        made = feed(
            items, "labels", batch_size=12, seed=0, preprocessor=prepare, preprocessed=is_prepared,
            augment={"typos": {"probability": 0.3}},
        )  # fmt: skip
        x, _ = made[0]
        written = prepare.restored(x)
        assert (x.dtype, x.shape) == (np.int32, (12, prepare.max_length))
        assert set(written) - set(texts)
        assert set("".join(written)) <= set("".join(texts))
    with pytest.raises(DataError, match=r"'typos' is for text, but the data are tokens; token_dropout"):
        feed(prepared, "labels", batch_size=12, seed=0, augment="typos")


def test_augmentation_that_does_not_fit_is_refused():
    with pytest.raises(DataError, match="'flip' is for image, but the data are vector"):
        feed(TEN, "labels", batch_size=16, seed=0, augment="flip")
    bytes_ = Dataset((np.zeros((8, 4, 4, 1), np.uint8),), np.arange(8) % 2, "labels", "image")
    with pytest.raises(DataError, match="augmentation needs prepared items, in float32 or int32"):
        feed(bytes_, "labels", batch_size=4, seed=0, augment="light")


def test_two_augmented_views_of_an_item_without_a_label():
    dataset = native("views", 21, 1)
    made = feed(dataset, "views", batch_size=8, seed=0, augment={"noise": {"deviation": 0.1}})
    seen = []
    for (a, b), y in made:
        np.testing.assert_array_equal(np.rint(a), np.rint(b))
        assert (a != b).all()
        assert (y == 0).all()
        seen += np.rint(a[:, 0]).tolist()
    assert len(set(seen)) == len(seen) == 16
    with pytest.raises(DataError, match=r"two equal views .*, for example augment='strong'"):
        feed(dataset, "views", batch_size=8, seed=0, preprocessor=fit_preprocessor(dataset))


# ---------------------------------------------------------------- in Keras


@each_feed
def test_keras_fits_on_a_feed_and_resumes_it(name):
    """Each view reaches the model as it is in the feed; a fit resumed sees what it would have seen."""

    class Means(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, x):
            views = list(x) if isinstance(x, (tuple, list)) else [x]
            assert len(views) == VIEWS[name]
            assert all(view.shape[0] in (None, made.batch_size) for view in views)
            return self.dense(sum(views) / 1000)

    made = FEEDS[name](16)
    model = Means()
    model.compile(optimizer="sgd", loss="mse")
    epochs = []
    record = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, _: epochs.append((epoch, made.epoch))
    )
    history = model.fit(made, epochs=2, shuffle=False, verbose=0, callbacks=[record])
    made.epoch = 1
    model.fit(made, initial_epoch=1, epochs=3, shuffle=False, verbose=0, callbacks=[record])
    assert epochs == [(0, 1), (1, 2), (1, 2), (2, 3)]
    assert np.isfinite(history.history["loss"]).all()


def test_a_tokenizer_varies_each_batch_by_seed_epoch_and_number():
    texts = np.array([f"shoes {number}" for number in range(120)], object)
    data = Dataset((texts,), np.arange(120) % 10, "labels", "text")
    tokenizer = fit_preprocessor(data, max_length=20, dropout=0.3)

    def ids(made):
        return np.concatenate([x for x, *_ in (made[index] for index in range(len(made)))])

    made = feed(data, "labels", batch_size=24, seed=1, preprocessor=tokenizer)
    first = ids(made)
    np.testing.assert_array_equal(ids(made), first)
    np.testing.assert_array_equal(
        ids(feed(data, "labels", batch_size=24, seed=1, preprocessor=tokenizer)), first
    )
    # The same items with their pieces together, as evaluation sees them, and in the next epoch otherwise.
    prepared = Dataset((tokenizer(texts),), data.target, "labels", "tokens")
    whole = ids(feed(prepared, "labels", batch_size=24, seed=1))
    assert 0.1 < (whole != first).any(axis=1).mean() < 0.6
    varied = feed(prepared, "labels", batch_size=24, seed=1, preprocessor=tokenizer, preprocessed=True)
    np.testing.assert_array_equal(ids(varied), first)
    # The next epoch splits the pieces of the same rows in another way.
    plan = EpochPlan(np.arange(120).reshape(5, 24, 1), np.zeros((5, 24)))
    same_rows = Feed(prepared.views, lambda rng: plan, 1, [tokenizer.vary])
    before = ids(same_rows)
    same_rows.on_epoch_end()
    assert not np.array_equal(ids(same_rows), before)


# ---------------------------------------------------------------- on the device


@pytest.fixture
def with_room(monkeypatch):
    """Pretend that the host is an accelerator with free memory."""
    monkeypatch.setattr(beyond_keras, "free_memory", lambda: 1e6)


def on_host(batch):
    return keras.tree.map_structure(keras.ops.convert_to_numpy, batch)


def is_on_device(made):
    return all(map(keras.ops.is_tensor, flat(made[0][0])))


@pytest.mark.usefixtures("with_room")
@each_feed
def test_batches_are_the_same_when_they_are_gathered_on_the_device(name):
    host, device = FEEDS[name](16), FEEDS[name](16, on_device=True)
    assert is_on_device(device)
    assert not is_on_device(host)
    for _ in range(2):
        for expected, batch in zip(host, device, strict=True):
            assert all(isinstance(leaf, np.ndarray) for leaf in flat(batch[1:]))
            for a, b in zip(flat(expected), flat(on_host(batch)), strict=True):
                assert (a.shape, a.dtype) == (b.shape, b.dtype)
                np.testing.assert_array_equal(a, b)
        host.on_epoch_end()
        device.on_epoch_end()


@pytest.mark.usefixtures("with_room")
def test_records_are_gathered_on_the_device_field_by_field():
    rng = np.random.default_rng(0)
    view = {"b": rng.normal(size=(12, 2, 3)).astype(np.float32), "a": rng.integers(0, 9, 12, np.int32)}
    dataset = Dataset((view, {**view, "b": -view["b"]}), np.arange(12) % 2, "pairs", "records")
    made = feed(dataset, "pairs", batch_size=5, seed=0, on_device=True)
    assert is_on_device(made)
    ((first, second), *_), rows = on_host(made[1]), made._plan().rows[1]
    assert first["a"].dtype == np.int32
    for field, sign in (("a", 1), ("b", -1)):
        np.testing.assert_array_equal(first[field], np.stack([view[field][row] for row in rows[:, 0]]))
        np.testing.assert_array_equal(second[field], sign * first[field])


@pytest.mark.usefixtures("with_room")
@pytest.mark.parametrize(("name", "loss"), [("labels", "sup_con"), ("native triplets", "triplet")])
def test_a_model_learns_the_same_from_batches_of_the_device(name, loss):
    def learned(**options):
        keras.utils.set_random_seed(3)
        model = siamkit.build("mlp", "cosine", loss, embedding_dim=4, input_shape=(1,))
        model.fit(FEEDS[name](16, **options), epochs=2, shuffle=False, verbose=0)
        return [keras.ops.convert_to_numpy(variable.value) for variable in model.variables]

    for expected, weight in zip(learned(), learned(on_device=True), strict=True):
        np.testing.assert_array_equal(expected, weight)


def test_items_stay_on_the_host_where_they_must(monkeypatch):
    def stays(dataset, room, **options):
        monkeypatch.setattr(beyond_keras, "free_memory", lambda: room)
        made = feed(dataset, dataset.supervision, batch_size=16, seed=0, on_device=True, **options)
        return not is_on_device(made)

    # 120 float32 numbers; pairs have two views of 50.
    assert not stays(TEN, 4800)
    assert stays(TEN, 4799)
    pairs = native("pairs", 50, 2, np.arange(50) % 2)
    assert not stays(pairs, 4000)
    assert stays(pairs, 3999)
    assert stays(TEN, 0)
    assert stays(TEN, 1e6, augment={"noise": {"deviation": 0.1}})

    class Varying(Standardizer):
        def vary(self, leaf, rng):
            return leaf + 1

    assert stays(TEN, 1e6, preprocessor=Varying((1,), np.zeros(1), np.ones(1)))
    assert not stays(TEN, 1e6, preprocessor=Standardizer((1,), np.zeros(1), np.ones(1)))
    values = TEN.views[0]
    for changed in (values.astype(np.float64), values.astype(np.int32)):
        assert stays(replace(TEN, views=(changed,)), 1e6)
    for wrong in (np.nan, np.inf, -np.inf):
        # `fit` refuses the batch with this item.
        assert stays(TEN, 1e6, preprocessor=lambda leaf: np.where(leaf == 7, np.float32(wrong), leaf))  # noqa: B023
    monkeypatch.setattr(keras.distribution, "distribution", object)
    assert stays(TEN, 1e6)


@pytest.mark.skipif(beyond_keras.has_accelerator(), reason="the room of an accelerator")
def test_the_memory_of_the_host_is_no_room():
    assert beyond_keras.free_memory() == 0


@pytest.mark.usefixtures("with_room")
def test_feeds_share_the_items_on_the_device_until_others_take_their_place(monkeypatch):
    items = DeviceItems()
    first = feed(TEN, "labels", batch_size=16, seed=0, on_device=items)
    second = feed(TEN, "triplets", batch_size=16, seed=1, on_device=items)
    assert second._leaves[0] is first._leaves[0]
    copy = weakref.ref(first._leaves[0])
    assert isinstance(copy(), DeviceArray)
    del first, second
    feed(TEN, "labels", batch_size=16, seed=0, on_device=items)
    gc.collect()
    assert copy() is not None
    other = feed(UNEVEN, "labels", batch_size=16, seed=0, on_device=items)
    assert is_on_device(other)
    gc.collect()
    assert copy() is None
    copy = weakref.ref(other._leaves[0])
    monkeypatch.setattr(beyond_keras, "free_memory", lambda: 0)  # others do not fit
    other = feed(TEN, "labels", batch_size=16, seed=0, on_device=items)
    assert not is_on_device(other)
    gc.collect()
    assert copy() is None


@pytest.fixture
def warned_each_time():
    """torch warns once in a process otherwise."""
    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


@pytest.mark.usefixtures("with_room", "warned_each_time")
def test_read_only_items_are_copied_without_a_warning():
    items = TEN.views[0].copy()
    items.setflags(write=False)  # as memory maps of a study's workers are
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = feed(replace(TEN, views=(items,)), "labels", batch_size=16, seed=0, on_device=True)
    assert is_on_device(made)


@pytest.mark.usefixtures("with_room")
def test_the_memory_of_the_device_is_released_with_the_feed():
    made = feed(TEN, "labels", batch_size=16, seed=0, on_device=True)
    copy = weakref.ref(made._leaves[0])
    del made
    gc.collect()
    assert copy() is None
