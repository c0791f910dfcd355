"""Augmentations: right by hand or by SciPy, of the same shape and dtype, and the same for the same seed."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from scipy import interpolate, ndimage

from siamkit.data import augmentation as module
from siamkit.data.augmentation import AUGMENTATIONS, PRESETS, augmentation_misfit, augmenter
from siamkit.errors import DataError
from siamkit.registry.specs import INPUTS

RNG = np.random.default_rng(5)
TABLE = {
    "numeric": np.array([[0.5, 0.0], [1.5, -2.0], [2.5, 3.0], [0.0, 4.0]], np.float32),
    "missing": np.array([[0, 1], [0, 0], [0, 0], [1, 0]], np.float32),
    "categorical": np.array([[2], [0], [3], [4]], np.int32),
}
IDS = np.zeros((40, 9), np.int32)
for row, size in enumerate(RNG.integers(1, 10, size=40)):
    IDS[row, :size] = RNG.integers(1, 50, size=size)
ITEMS = {
    "image": RNG.normal(size=(6, 9, 7, 3)).astype(np.float32),
    "series": RNG.normal(size=(6, 20, 2)).astype(np.float32),
    "vector": RNG.normal(size=(30, 8)).astype(np.float32),
    "tabular": TABLE,
    "tokens": IDS,
    "text": IDS,
}
EACH = [(name, kind) for name, each in AUGMENTATIONS.items() for kind in each.kinds]
PRESET = [(name, kind) for name, kinds in PRESETS.items() for kind in kinds]


def rng(seed=0):
    return np.random.default_rng(seed)


class Scripted:
    """A generator whose next draws are given, whatever the distribution."""

    def __init__(self, *draws):
        self._draws = [np.asarray(draw) for draw in draws]

    def random(self, size=None):
        return np.broadcast_to(self._draws.pop(0), size)

    def uniform(self, low, high, size=None):
        return self.random(size)

    def integers(self, low, high=None, size=None):
        return self.random(np.shape(high) if size is None else size)

    def standard_normal(self, size=None, dtype=np.float64):
        return self.random(size).astype(dtype)


def arrays(leaf):
    return leaf if isinstance(leaf, dict) else {"": leaf}


def test_the_examples_of_the_docstrings_are_true():
    ran = doctest.testmod(module)
    assert (ran.failed, ran.attempted > 0) == (0, True)


# ------------------------------------------------------------------ what all of them keep


@pytest.mark.parametrize(("recipe", "kind"), [*EACH, *PRESET])
def test_shape_and_dtype_stay_and_items_are_not_changed_in_place(recipe, kind):
    items = ITEMS[kind]
    copies = {name: values.copy() for name, values in arrays(items).items()}
    augment = augmenter(recipe, kind)
    found = arrays(augment(items, rng()))
    for name, values in arrays(items).items():
        assert (found[name].shape, found[name].dtype) == (values.shape, values.dtype)
        np.testing.assert_array_equal(values, copies[name])
        assert np.isfinite(found[name]).all()
    assert list(found) == list(arrays(items))


@pytest.mark.parametrize(("recipe", "kind"), [*EACH, *PRESET])
def test_the_seed_decides(recipe, kind):
    augment = augmenter(recipe, kind)
    results = [arrays(augment(ITEMS[kind], rng(seed))) for seed in (1, 1, *range(2, 8))]
    for name in results[0]:
        np.testing.assert_array_equal(results[0][name], results[1][name])
    assert any(not np.array_equal(results[0][name], other[name]) for other in results for name in other)


@pytest.mark.parametrize(("recipe", "kind"), [*EACH, *PRESET])
def test_one_item_of_one_step_or_pixel_can_be_augmented(recipe, kind):
    small = {
        "image": np.ones((1, 1, 1, 1), np.float32),
        "series": np.ones((1, 1, 1), np.float32),
        "vector": np.ones((1, 1), np.float32),
        "tabular": {name: values[:1, :1] for name, values in TABLE.items()},
        "tokens": np.ones((1, 1), np.int32),
        "text": np.ones((1, 1), np.int32),
    }
    found = arrays(augmenter(recipe, kind)(small[kind], rng()))
    assert all(np.isfinite(values).all() for values in found.values())


# ------------------------------------------------------------------ images


def test_crop_moves_an_image_and_repeats_its_edge():
    image = np.arange(12, dtype=np.float32).reshape(1, 3, 4, 1)
    found = module.crop(image, Scripted([[1]], [[-2]]), padding=0.5)
    assert found[0, :, :, 0].tolist() == [[4, 4, 4, 5], [8, 8, 8, 9], [8, 8, 8, 9]]


def test_crop_moves_up_to_its_padding_and_at_least_a_pixel():
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32)[:, None, None], (400, 40, 5, 1))
    found = module.crop(ramp, rng(), padding=0.1)
    assert np.unique(found[:, 20, 0, 0] - 20).tolist() == list(range(-4, 5))
    wide = np.broadcast_to(np.arange(5, dtype=np.float32)[:, None], (400, 40, 5, 1))
    assert np.unique(module.crop(wide, rng(), padding=0.01)[:, 0, 2, 0]).tolist() == [1, 2, 3]
    np.testing.assert_array_equal(module.crop(wide, rng(), padding=0.0), wide)


def test_flip_mirrors_left_to_right():
    image = ITEMS["image"]
    np.testing.assert_array_equal(module.flip(image, rng(), probability=1), np.flip(image, axis=2))
    np.testing.assert_array_equal(module.flip(image, rng(), probability=0), image)
    many = np.broadcast_to(np.arange(2, dtype=np.float32)[:, None], (4000, 1, 2, 1))
    assert abs(module.flip(many, rng(), probability=0.3)[:, 0, 0, 0].mean() - 0.3) < 0.03


@pytest.mark.parametrize("angle", [-20.0, 7.5, 90.0])
def test_rotate_is_scipys_affine_transformation(angle):
    image = ITEMS["image"][:1]
    found = module.rotate(image, Scripted(angle), degrees=90)
    turn = np.deg2rad(angle)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    center = (np.array(image.shape[1:3]) - 1) / 2
    for channel in range(3):
        expected = ndimage.affine_transform(
            image[0, :, :, channel], matrix, center - matrix @ center, order=1, mode="nearest"
        )
        np.testing.assert_allclose(found[0, :, :, channel], expected, atol=1e-5)


def test_a_resized_crop_is_scipys_zoom_of_the_part():
    image = ITEMS["image"][:1]
    found = module.resized_crop(image, Scripted(0.5, 0.4, 1.0), smallest=0.5)
    # Half of the sides; it starts at 0.4 and 1.0 of what is left. Pixels have their centers at halves.
    rows = (0.4 * 0.5 * 9 + (np.arange(9) + 0.5) * 0.5) - 0.5
    columns = (1.0 * 0.5 * 7 + (np.arange(7) + 0.5) * 0.5) - 0.5
    at = np.meshgrid(rows, columns, indexing="ij")
    for channel in range(3):
        expected = ndimage.map_coordinates(image[0, :, :, channel], at, order=1, mode="nearest")
        np.testing.assert_allclose(found[0, :, :, channel], expected, atol=1e-5)


def test_brightness_color_and_contrast_by_hand():
    image = np.array([[1, 2], [3, 6]], np.float32).reshape(1, 2, 1, 2)
    found = module.brightness(image, Scripted(0.5))
    assert found.ravel().tolist() == [1.5, 2.5, 3.5, 6.5]
    found = module.color(image, Scripted([0.5, -1.0]))
    assert found.ravel().tolist() == [1.5, 1.0, 3.5, 5.0]
    found = module.contrast(image, Scripted(-0.5))  # the mean is 3
    assert found.ravel().tolist() == [2.0, 2.5, 3.0, 4.5]


def test_erase_covers_one_rectangle_with_the_mean_color():
    image = np.ones((1, 4, 5, 2), np.float32)
    found = module.erase(image, Scripted([[2]], [[1]], [[3]], [[0]], 0.4), probability=0.5, largest=0.6)
    expected = np.ones((4, 5))
    expected[1:3, 0:3] = 0
    np.testing.assert_array_equal(found[0, :, :, 0], expected)
    np.testing.assert_array_equal(found[0, :, :, 1], expected)
    many = np.ones((2000, 10, 10, 1), np.float32)
    covered = (module.erase(many, rng(), probability=0.3, largest=0.4) == 0).sum(axis=(1, 2, 3))
    assert abs((covered > 0).mean() - 0.3) < 0.04
    assert covered.max() == 16


# ------------------------------------------------------------------ series


def test_scale_multiplies_each_feature():
    series = np.array([[[1, 10], [2, 20]]], np.float32)
    found = module.scale(series, Scripted([[[1.0, -2.0]]]), deviation=0.1)
    np.testing.assert_allclose(found, [[[1.1, 8], [2.2, 16]]], rtol=1e-6)


def test_a_window_is_stretched_as_by_numpys_interpolation():
    series = ITEMS["series"][:1]
    found = module.window(series, Scripted([[0.6]], [[0.25]]), smallest=0.5)
    at = np.linspace(0.25 * 0.4, 0.25 * 0.4 + 0.6, 20) * 19
    for feature in range(2):
        expected = np.interp(at, np.arange(20), series[0, :, feature])
        np.testing.assert_allclose(found[0, :, feature], expected, atol=1e-5)


def spline(heights, steps):
    return interpolate.CubicSpline(np.linspace(0, 1, len(heights)), heights)(np.linspace(0, 1, steps))


def test_time_warp_passes_the_series_at_the_speed_of_its_spline():
    draws = np.array([1.0, -2.0, 0.5, 3.0])
    series = ITEMS["series"][:1]
    found = module.time_warp(series, Scripted(draws[:, None]), deviation=0.2, knots=4)
    speed = np.maximum(spline(1 + 0.2 * draws, 20), 0.1)
    at = np.array([sum(speed[1 : step + 1]) for step in range(20)]) * 19 / sum(speed[1:])
    for feature in range(2):
        expected = np.interp(at, np.arange(20), series[0, :, feature])
        np.testing.assert_allclose(found[0, :, feature], expected, atol=1e-5)
    np.testing.assert_allclose(found[0, [0, -1]], series[0, [0, -1]], atol=1e-5)


def test_time_warp_never_goes_back():
    ramp = np.broadcast_to(np.arange(30, dtype=np.float32)[:, None], (200, 30, 1))
    found = module.time_warp(ramp, rng(), deviation=2.0)
    assert (np.diff(found[..., 0], axis=1) > 0).all()


def test_magnitude_warp_multiplies_by_its_splines():
    draws = np.array([[1.0, 0.0], [-2.0, 1.0], [0.5, 0.0]])  # (knots, features)
    series = ITEMS["series"][:1]
    found = module.magnitude_warp(series, Scripted(draws[:, None, :]), deviation=0.3, knots=3)
    for feature in range(2):
        expected = series[0, :, feature] * spline(1 + 0.3 * draws[:, feature], 20)
        np.testing.assert_allclose(found[0, :, feature], expected, rtol=1e-5)


# ------------------------------------------------------------------ vectors and tables


def test_noise_has_its_deviation():
    found = module.noise(np.zeros((2000, 50), np.float32), rng(), deviation=0.3)
    assert abs(found.std() - 0.3) < 0.005
    assert abs(found.mean()) < 0.005


def test_noise_leaves_what_is_missing_and_categories():
    found = module.noise(TABLE, rng(), deviation=1.0)
    gone = TABLE["missing"] > 0
    assert (found["numeric"][gone] == 0).all()
    assert (found["numeric"][~gone] != TABLE["numeric"][~gone]).all()
    np.testing.assert_array_equal(found["missing"], TABLE["missing"])
    np.testing.assert_array_equal(found["categorical"], TABLE["categorical"])


def test_feature_dropout_sets_features_to_their_mean():
    found = module.feature_dropout(np.ones((3000, 5), np.float32), rng(), probability=0.2)
    assert set(np.unique(found)) == {0, 1}
    np.testing.assert_allclose((found == 0).mean(axis=0), 0.2, atol=0.03)


def test_in_a_table_a_dropped_feature_is_missing():
    draws = np.array([[0.0, 0.9], [0.9, 0.0], [0.9, 0.9], [0.9, 0.9]])
    found = module.feature_dropout(TABLE, Scripted(draws, [[0.9], [0.9], [0.0], [0.9]]), probability=0.5)
    assert found["numeric"].tolist() == [[0, 0], [1.5, 0], [2.5, 3], [0, 4]]
    assert found["missing"].tolist() == [[1, 1], [0, 1], [0, 0], [1, 0]]
    assert found["categorical"].ravel().tolist() == [2, 0, 0, 4]


def test_a_swapped_feature_comes_from_the_same_column_of_the_batch():
    vectors = np.arange(12, dtype=np.float32).reshape(3, 4)
    givers = [[2, 0, 0, 1], [0, 0, 0, 0], [0, 1, 2, 0]]
    draws = [[0.0, 0.9, 0.0, 0.9], [0.9, 0.9, 0.9, 0.0], [0.9, 0.0, 0.0, 0.9]]
    found = module.feature_swap(vectors, Scripted(givers, draws), probability=0.1)
    assert found.tolist() == [[8, 1, 2, 3], [4, 5, 6, 3], [8, 5, 10, 11]]


def test_a_swapped_number_brings_its_mark_of_a_missing_one():
    found = module.feature_swap(TABLE, rng(), probability=1.0)
    for column in range(2):
        pairs = set(zip(TABLE["numeric"][:, column], TABLE["missing"][:, column], strict=True))
        assert set(zip(found["numeric"][:, column], found["missing"][:, column], strict=True)) <= pairs
    assert set(found["categorical"].ravel()) <= {0, 2, 3, 4}


# ------------------------------------------------------------------ tokens


def test_tokens_that_stay_move_together():
    ids = np.array([[5, 6, 7, 8, 0, 0]], np.int32)
    found = module.token_dropout(ids, Scripted([[0.9, 0.05, 0.5, 0.01, 0.0, 0.9]]), probability=0.1)
    assert found.tolist() == [[5, 7, 0, 0, 0, 0]]


def test_a_token_stays_and_padding_stays_padding():
    found = module.token_dropout(IDS, rng(), probability=1.0)
    assert ((found > 0).sum(axis=1) == 1).all()
    assert (found[:, 0] > 0).all()
    found = module.token_dropout(IDS, rng(), probability=0.3)
    lengths = (found > 0).sum(axis=1)
    assert (lengths <= (IDS > 0).sum(axis=1)).all()
    np.testing.assert_array_equal(found > 0, np.arange(9) < lengths[:, None])
    share = 1 - lengths.sum() / (IDS > 0).sum()
    assert abs(share - 0.3) < 0.12
    empty = np.zeros((2, 3), np.int32)
    np.testing.assert_array_equal(module.token_dropout(empty, rng(), probability=0.5), empty)


def test_swapped_tokens_are_neighbors():
    ids = np.array([[1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [1, 2, 3, 0, 0]], np.int32)
    found = module.token_swap(ids, Scripted([[0], [1], [0]], 0.0), probability=0.5)
    assert found.tolist() == [[2, 1, 4, 3, 5], [1, 3, 2, 5, 4], [2, 1, 3, 0, 0]]


def test_swaps_keep_the_tokens_and_the_padding():
    found = module.token_swap(IDS, rng(), probability=0.5)
    np.testing.assert_array_equal(np.sort(found, axis=1), np.sort(IDS, axis=1))
    np.testing.assert_array_equal(found > 0, IDS > 0)
    assert (found != IDS).any()
    np.testing.assert_array_equal(module.token_swap(IDS, rng(), probability=0.0), IDS)


# ------------------------------------------------------------------ recipes


def test_steps_are_applied_in_their_order():
    half = {"erase": {"probability": 1.0, "largest": 1.0}, "brightness": {"amount": 0.5}}
    image = np.ones((64, 2, 2, 1), np.float32)
    after = augmenter(half, "image")(image, rng())
    before = augmenter(dict(reversed(half.items())), "image")(image, rng())
    assert (before == 0).any()  # erased last: exactly 0
    assert not (after == 0).any()


@pytest.mark.parametrize("kind", INPUTS)
def test_none_is_for_every_kind_and_no_augmentation(kind):
    assert augmenter(None, kind) is None
    assert augmenter("none", kind) is None


def test_prepared_tables_are_records():
    assert augmenter("strong", "records") is not None


@pytest.mark.parametrize(
    ("recipe", "kind", "message"),
    [
        ("flip", "series", "'flip' is for image, but the data are series; noise, scale, window, time_warp"),
        (
            {"noise": {}},
            "text",
            "'noise' is for image, series, vector, tabular, but the data are text; token_d",
        ),
        ("flop", "image", "unknown augmentation 'flop'; did you mean 'flip'"),
        ({"light": {}}, "image", "unknown augmentation 'light'"),
        ({"crop": {"pad": 1}}, "image", "'crop' has no parameter 'pad'; did you mean 'padding'"),
        (
            {"crop": {"padding": 2}},
            "image",
            "padding of the augmentation 'crop' should be from 0 to 1, got 2",
        ),
        ({"noise": {"deviation": "much"}}, "image", "should be a finite number, got 'much'"),
    ],
)
def test_what_does_not_fit_is_refused(recipe, kind, message):
    with pytest.raises(DataError, match=message):
        augmenter(recipe, kind)


def test_every_kind_with_augmentations_has_every_preset():
    kinds = {kind for each in AUGMENTATIONS.values() for kind in each.kinds}
    assert kinds == {"image", "series", "vector", "tabular", "tokens", "text"}
    assert all(augmentation_misfit(preset, kind) is None for preset in PRESETS for kind in kinds)
