"""Data made worse on purpose: as the papers define it, the same for the same seed, and never in place."""

from __future__ import annotations

import doctest
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats
from selection import examples

from siamkit.data import Dataset, fit_preprocessor
from siamkit.data import ablation as module
from siamkit.data.ablation import CORRUPTIONS, ChannelStats, ablate, corrupt, factor_misfit
from siamkit.errors import DataError


def labelled(target):
    target = np.asarray(target)
    items = np.arange(len(target), dtype=np.float32)[:, None]
    return Dataset((items,), target, "labels", "vector", {"twice": 2 * np.arange(len(target))})


def rows_of(dataset):
    """Where the items of a degraded `labelled` dataset came from."""
    return dataset.ids.astype(int)


def wrong_in(dataset, original):
    return rows_of(dataset)[dataset.target != original.target[rows_of(dataset)]]


TEN = labelled(np.repeat(np.arange(10), 30))


@pytest.mark.parametrize("checked", [module], ids=lambda each: each.__name__)
def test_the_examples_of_the_docstrings_are_true(checked):
    ran = doctest.testmod(checked)
    assert (ran.failed, ran.attempted > 0) == (0, True)


def test_nothing_asked_is_nothing_done():
    assert ablate(TEN, seed=3) is TEN
    assert ablate(TEN, items_per_class=30, num_classes=10, seed=3) is TEN


EVERY_WAY = [
    {"label_noise": 0.3},
    {"items_per_class": 7},
    {"num_classes": 4},
    {"imbalance": 10},
    {"label_noise": 0.2, "items_per_class": 9, "num_classes": 6, "imbalance": 3},
]


@pytest.mark.parametrize("asked", EVERY_WAY, ids=lambda asked: " ".join(asked))
def test_the_same_seed_gives_the_same_data_whatever_the_global_state(asked):
    first = ablate(TEN, **asked, seed=5)
    np.random.seed(1)
    again = ablate(TEN, **asked, seed=5)
    assert again.fingerprint() == first.fingerprint()
    assert again.ids.tolist() == first.ids.tolist()
    others = [ablate(TEN, **asked, seed=seed) for seed in (6, 7)]
    assert len({each.fingerprint() for each in (first, *others)}) == 3


@pytest.mark.parametrize("asked", EVERY_WAY, ids=lambda asked: " ".join(asked))
def test_an_items_view_column_and_id_stay_together_and_in_order(asked):
    worse = ablate(TEN, **asked, seed=2)
    rows = rows_of(worse)
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(worse.views[0][:, 0], rows)
    np.testing.assert_array_equal(worse.columns["twice"], 2 * rows)
    if "label_noise" not in asked:
        np.testing.assert_array_equal(worse.target, TEN.target[rows])


# ------------------------------------------------------------------ few items, few classes


def test_items_a_class_are_nested_and_the_same_whatever_else_is_asked():
    kept = {most: ablate(TEN, items_per_class=most, seed=1) for most in (2, 5, 20)}
    for most, each in kept.items():
        assert np.bincount(each.target).tolist() == [most] * 10
    assert set(rows_of(kept[2])) < set(rows_of(kept[5])) < set(rows_of(kept[20]))
    fewer = ablate(TEN, items_per_class=5, num_classes=3, label_noise=0.3, seed=1)
    assert set(rows_of(fewer)) < set(rows_of(kept[5]))


def test_a_class_that_has_fewer_items_keeps_them_all():
    data = labelled([0] * 9 + [1] * 3 + [2] * 2)
    assert np.bincount(ablate(data, items_per_class=5, seed=0).target).tolist() == [5, 3, 2]


def test_classes_are_nested_whole_and_drawn():
    data = labelled(np.repeat(list("abcdefgh"), 4))
    kept = {count: set(ablate(data, num_classes=count, seed=4).target) for count in (2, 3, 7, 100)}
    assert [len(each) for each in kept.values()] == [2, 3, 7, 8]
    assert kept[2] < kept[3] < kept[7]
    three = ablate(data, num_classes=3, seed=4)
    assert len(three) == 12
    # The codes that a loss gets run from 0 without gaps.
    assert sorted(set(three.codes.tolist())) == [0, 1, 2]
    drawn = {frozenset(ablate(data, num_classes=2, seed=seed).target) for seed in range(20)}
    assert len(drawn) > 10


# -------------------------------------------------------------------------------- imbalance


def test_imbalance_is_the_profile_of_cui_et_al():
    for ratio, size in ((10, 100), (50, 100), (100, 500), (3, 30)):
        data = labelled(np.repeat(np.arange(10), size))
        # As in the code of the paper: img_max * imb_factor ** (class / (classes - 1)), a whole number.
        wanted = [max(2, int(size * (1 / ratio) ** (i / 9) + 1e-6)) for i in range(10)]
        sizes = np.bincount(ablate(data, imbalance=ratio, seed=0).target)
        assert sorted(sizes.tolist(), reverse=True) == wanted
        assert sizes.max() == size
        assert sizes.min() == size / ratio


def test_which_class_is_large_is_drawn_and_a_smaller_ratio_keeps_more_of_the_same():
    kept = {ratio: ablate(TEN, imbalance=ratio, seed=8) for ratio in (2, 5, 15)}
    assert set(rows_of(kept[15])) < set(rows_of(kept[5])) < set(rows_of(kept[2]))
    largest = {int(np.bincount(ablate(TEN, imbalance=15, seed=seed).target).argmax()) for seed in range(30)}
    assert len(largest) > 5


def test_skewed_data_are_skewed_at_least_as_much_and_large_classes_stay_the_large_ones():
    data = labelled(np.repeat(np.arange(4), [6, 80, 3, 40]))
    # By hand: 80, 80/2, 80/4, 80/8 are allowed, from the largest class to the smallest.
    assert np.bincount(ablate(data, imbalance=8, seed=0).target).tolist() == [6, 80, 3, 40]
    # 80, 80/4, 80/16, 80/64 = 1.25, and 2 are the least.
    assert np.bincount(ablate(data, imbalance=64, seed=0).target).tolist() == [5, 80, 2, 20]


def test_imbalance_starts_from_the_items_a_class_that_are_asked_for():
    worse = ablate(TEN, items_per_class=16, imbalance=4, num_classes=3, seed=0)
    assert sorted(np.bincount(worse.codes).tolist()) == [4, 8, 16]


# ------------------------------------------------------------------------------ label noise


@pytest.mark.parametrize("share", [0.0, 0.004, 0.1, 0.25, 0.5, 0.999, 1.0])
def test_exactly_the_share_of_labels_is_wrong(share):
    worse = ablate(TEN, label_noise=share, seed=9)
    assert len(wrong_in(worse, TEN)) == round(share * 300)
    assert len(worse) == 300


def test_each_class_has_its_share_of_wrong_labels():
    wrong = wrong_in(ablate(TEN, label_noise=0.4, seed=1), TEN)
    assert np.abs(np.bincount(TEN.target[wrong]) - 12).max() <= 1


def test_a_wrong_label_is_any_other_class_evenly():
    data = labelled(np.repeat(np.arange(5), 4000))
    worse = ablate(data, label_noise=0.5, seed=0)
    wrong = wrong_in(worse, data)
    table = np.zeros((5, 5))
    np.add.at(table, (data.target[wrong], worse.target[wrong]), 1)
    assert np.diag(table).tolist() == [0] * 5
    for row, name in zip(table, range(5), strict=True):
        assert stats.chisquare(np.delete(row, name)).pvalue > 1e-4


def test_noise_is_nested_and_wrong_in_the_same_way():
    few, many = (ablate(TEN, label_noise=share, seed=2) for share in (0.1, 0.3))
    wrong = wrong_in(few, TEN)
    assert set(wrong) < set(wrong_in(many, TEN))
    np.testing.assert_array_equal(few.target[wrong], many.target[wrong])


def test_noise_leaves_texts_texts_and_the_items_alone():
    data = labelled(np.repeat(["cat", "dog", "elephant"], 20))
    worse = ablate(data, label_noise=0.5, seed=0)
    assert worse.target.dtype == data.target.dtype
    assert set(worse.target) == {"cat", "dog", "elephant"}
    assert worse.views[0] is data.views[0]  # nothing is copied that is the same


def test_two_items_a_class_stay_two_under_noise():
    data = labelled(np.repeat(np.arange(20), 2))
    for seed in range(30):
        worse = ablate(data, label_noise=0.4, seed=seed)
        assert np.bincount(worse.target, minlength=20).tolist() == [2] * 20
        assert len(wrong_in(worse, data)) == 16


def test_an_item_that_noise_leaves_alone_is_left_out():
    # One label of four classes with two items each: whoever loses an item has one only.
    worse = ablate(labelled(np.repeat(np.arange(4), 2)), label_noise=0.125, seed=0)
    assert sorted(np.bincount(worse.target, minlength=4).tolist()) == [0, 2, 2, 3]


@settings(max_examples=examples(150))
@given(
    st.lists(st.integers(2, 9), min_size=2, max_size=7),
    st.floats(0, 1),
    st.one_of(st.none(), st.integers(2, 9)),
    st.one_of(st.none(), st.integers(2, 9)),
    st.floats(1, 200),
    st.integers(0, 99),
)
def test_every_class_has_two_items_whatever_is_asked(sizes, noise, items, classes, ratio, seed):
    data = labelled(np.repeat(np.arange(len(sizes)), sizes))
    asked = {"items_per_class": items, "num_classes": classes, "imbalance": ratio}
    scarce = ablate(data, **asked, seed=seed)
    counts = np.unique(scarce.target, return_counts=True)[1]
    assert len(counts) == min(len(sizes), classes or 9)
    assert counts.min() >= 2
    assert counts.max() <= (items or 9)
    worse = ablate(data, label_noise=noise, **asked, seed=seed)
    assert np.unique(worse.target, return_counts=True)[1].min() >= 2
    wanted = round(noise * len(scarce))
    left_out = len(scarce) - len(worse)
    assert wanted - left_out <= len(wrong_in(worse, data)) <= wanted
    assert left_out <= 1


def test_noise_on_pairs_turns_the_target_round():
    target = np.array([1] * 10 + [0] * 30)
    views = (np.zeros((40, 2)), np.ones((40, 2)))
    pairs = Dataset(views, target, "pairs", "vector")
    worse = ablate(pairs, label_noise=0.3, seed=0)
    turned = np.flatnonzero(worse.target != target)
    assert len(turned) == 12
    assert int((target[turned] == 1).sum()) == 3  # of each kind its share
    assert all(ours is theirs for ours, theirs in zip(worse.views, views, strict=True))
    assert target.sum() == 10


# ------------------------------------------------------------------------------ corruptions

RNG = np.random.default_rng(0)
RAW = RNG.integers(0, 256, size=(12, 9, 11, 3)).astype(np.uint8)
RAW[0, 0, 0], RAW[0, 0, 1] = 0, 255


def images(raw=RAW, **more):
    target = np.arange(len(raw)) % 2
    return Dataset((raw,), target, "labels", "image", **more)


def prepared(raw):
    """As a study's trials get them: scaled to mean 0 and deviation 1 by channel."""
    dataset = images(raw)
    scaler = fit_preprocessor(dataset)
    return Dataset((scaler(raw),), dataset.target, "labels", "image"), scaler


def test_contrast_is_drawn_in_to_each_images_mean():
    worse = ablate(images(RAW.astype(np.float64)), corruption="contrast_3", seed=0).views[0]
    for image, changed in zip(RAW.astype(np.float64), worse, strict=True):
        for channel in range(3):
            mean = image[..., channel].mean()
            np.testing.assert_allclose(changed[..., channel], mean + 0.2 * (image[..., channel] - mean))


@pytest.mark.parametrize(("side", "pixels"), [(9, 0.7), (64, 1.4)])
def test_blur_is_scipys_of_each_channel_alone(side, pixels):
    raw = np.random.default_rng(1).random((2, side, side + 5, 2))
    worse = ablate(images(raw), corruption="blur_3", seed=0).views[0]
    for image, changed in zip(raw, worse, strict=True):
        for channel in range(2):
            wanted = ndimage.gaussian_filter(image[..., channel], pixels, mode="nearest")
            np.testing.assert_allclose(changed[..., channel], wanted, rtol=1e-6)


def test_noise_has_its_deviation_in_the_range_of_each_channel():
    raw = np.full((40, 16, 16, 2), 0.5)
    raw[0, 0, 0], raw[0, 0, 1] = (0, -100), (1, 101)  # ranges of 1 and of 201, with 0.5 in the middle
    worse = ablate(images(raw), corruption="noise_1", seed=0).views[0]
    changed = (worse - raw)[1:].reshape(-1, 2)
    np.testing.assert_allclose(changed.std(axis=0), [0.08, 0.08 * 201], rtol=0.03)
    np.testing.assert_allclose(changed.mean(axis=0) / [0.08, 0.08 * 201], 0, atol=0.03)


def test_impulse_turns_its_share_of_values_to_the_lowest_or_the_highest():
    raw = np.full((40, 16, 16, 3), 100, dtype=np.uint8)
    raw[0, 0, 0], raw[0, 0, 1] = 3, 250
    worse = ablate(images(raw), corruption="impulse_5", seed=0).views[0][1:]
    assert set(np.unique(worse)) == {3, 100, 250}
    for value in (3, 250):
        assert np.mean(worse == value) == pytest.approx(0.27 / 2, rel=0.05)


def test_occlusion_is_one_square_in_the_mean_colour_somewhere_inside():
    raw = np.random.default_rng(3).integers(0, 9, size=(200, 10, 15, 2)).astype(np.float64)
    worse = ablate(images(raw), corruption="occlusion_3", seed=0).views[0]
    mean = raw.mean(axis=(0, 1, 2))
    places = set()
    for image, changed in zip(raw, worse, strict=True):
        hidden = np.isclose(changed, mean, rtol=1e-9).all(axis=-1)
        assert hidden.sum() == 16  # 0.4 of the shorter side of 10 is 4
        rows, columns = np.nonzero(hidden)
        assert (np.ptp(rows), np.ptp(columns)) == (3, 3)
        np.testing.assert_array_equal(changed[~hidden], image[~hidden])
        places.add((rows.min(), columns.min()))
    assert {min(each) for each in zip(*places, strict=True)} == {0}
    assert tuple(max(each) for each in zip(*places, strict=True)) == (6, 11)


@pytest.mark.parametrize("corruption", CORRUPTIONS[1:])
def test_prepared_images_are_corrupted_as_raw_ones_are(corruption):
    raw = RAW.astype(np.float32)
    data, scaler = prepared(raw)
    worse = ablate(data, corruption=corruption, seed=4).views[0]
    assert worse.dtype == np.float32
    wanted = scaler(ablate(images(raw), corruption=corruption, seed=4).views[0])
    np.testing.assert_allclose(worse, wanted, atol=1e-4)
    low, high = (limit(data.views[0], axis=(0, 1, 2)) for limit in (np.min, np.max))
    assert (worse >= low).all()
    assert (worse <= high).all()


@pytest.mark.parametrize("kind", ["noise", "impulse", "blur", "contrast", "occlusion"])
def test_a_higher_severity_changes_more(kind):
    raw = np.random.default_rng(5).random((10, 20, 24, 1))
    changed = [
        np.abs(ablate(images(raw), corruption=f"{kind}_{severity}", seed=0).views[0] - raw).mean()
        for severity in range(1, 6)
    ]
    assert changed[0] > 0
    assert (np.diff(changed) > 0).all()


def test_bytes_stay_bytes_and_images_without_an_axis_of_channels_do_so():
    worse = ablate(images(RAW[..., 0]), corruption="noise_5", seed=0).views[0]
    assert (worse.dtype, worse.shape) == (np.uint8, (12, 9, 11))
    np.testing.assert_array_equal(
        worse[..., None], ablate(images(RAW[..., :1]), corruption="noise_5", seed=0).views[0]
    )


def test_bytes_are_rounded_to_the_nearest():
    bytes_, numbers = (
        ablate(images(RAW.astype(kind)), corruption="contrast_2", seed=0).views[0].astype(float)
        for kind in (np.uint8, np.float64)
    )
    assert 0.4 < np.abs(bytes_ - numbers).max() < 0.501


def test_many_images_are_worked_on_in_parts(monkeypatch):
    whole = ablate(images(), corruption="noise_2", seed=0).views[0]
    monkeypatch.setattr(module, "_CHUNK_VALUES", 500)
    np.testing.assert_array_equal(ablate(images(), corruption="noise_2", seed=0).views[0], whole)


def test_both_views_of_pairs_are_corrupted_each_in_its_own_way():
    pairs = Dataset((RAW, RAW), np.arange(12) % 2, "pairs", "image")
    worse = ablate(pairs, corruption="noise_3", label_noise=0.5, seed=0)
    assert (worse.views[0] != worse.views[1]).any()
    assert (worse.views[0] != RAW).any()
    assert int((worse.target != pairs.target).sum()) == 6


def test_an_unknown_corruption_is_refused():
    for wrong in ("none", "noise", "noise_6", "fog_1"):
        with pytest.raises(DataError, match="choose from noise_1"):
            corrupt(RAW, wrong, ChannelStats.of_images([RAW]), np.random.default_rng(0))


# ------------------------------------------------------------------- what is given is left alone


@pytest.mark.parametrize(
    "asked", [*EVERY_WAY, {"corruption": "impulse_4"}, {"corruption": "occlusion_2", "items_per_class": 3}]
)
def test_read_only_files_are_degraded_and_stay_as_they_are(tmp_path: Path, asked):
    raw = np.random.default_rng(2).random((60, 6, 6, 1)).astype(np.float32)
    np.save(tmp_path / "x.npy", raw)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    target = np.repeat(np.arange(6), 10)
    target.flags.writeable = False
    data = Dataset((mapped,), target, "labels", "image")
    before = data.fingerprint()
    worse = ablate(data, **asked, seed=0)
    assert data.fingerprint() == before
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), raw)
    in_memory = Dataset((raw.copy(),), target.copy(), "labels", "image")
    assert worse.fingerprint() == ablate(in_memory, **asked, seed=0).fingerprint()


# --------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"label_noise": 1.5}, "label_noise should be from 0 to 1, got 1.5"),
        ({"label_noise": float("nan")}, "label_noise should be a finite number, got nan"),
        ({"items_per_class": 1}, "items_per_class should be at least 2, got 1"),
        ({"items_per_class": 2.5}, "items_per_class should be a whole number, got 2.5"),
        ({"num_classes": 1}, "num_classes should be at least 2, got 1"),
        ({"imbalance": 0.5}, "imbalance should be at least 1, got 0.5"),
        ({"corruption": "noise"}, "corruption should be none, or a kind with its severity from 1 to 5"),
        ({"corruption": "noise_3"}, "corruption applies to images, but the data are vector; label_noise, "),
        ({"seed": -1}, "seed should be a whole number from 0, got -1"),
    ],
)
def test_a_value_out_of_range_is_refused_in_a_sentence(asked, sentence):
    with pytest.raises(DataError) as caught:
        ablate(TEN, **{"seed": 0, **asked})
    assert str(caught.value).startswith(sentence)


def test_noise_needs_another_class():
    with pytest.raises(DataError, match="label_noise needs at least 2 classes, got 1"):
        ablate(labelled([3, 3, 3]), label_noise=0.5, seed=0)


@pytest.mark.parametrize(
    ("factor", "supervision", "kind", "reason"),
    [
        ("label_noise", "labels", "text", None),
        ("label_noise", "pairs", "vector", None),
        ("imbalance", "labels", "vector", None),
        ("corruption", "scores", "image", None),
        (
            "label_noise",
            "scores",
            "image",
            "needs labels, but the data give scores; corruption can be varied",
        ),
        (
            "items_per_class",
            "pairs",
            "vector",
            "needs classes, but the data give pairs; label_noise can be varied",
        ),
        (
            "num_classes",
            "scores",
            "text",
            "needs classes, but the data give scores; no factor of such data can be varied",
        ),
    ],
)
def test_what_data_do_not_have_is_not_varied(factor, supervision, kind, reason):
    assert factor_misfit(factor, supervision, kind) == reason


def test_pairs_have_no_classes_to_be_few():
    view = np.zeros((4, 1))
    pairs = Dataset((view, view), np.array([0, 1, 0, 1]), "pairs", "vector")
    with pytest.raises(DataError, match="imbalance needs classes, but the data give pairs"):
        ablate(pairs, imbalance=2, seed=0)
