"""Augmentations: right by hand or by SciPy, of the same shape and dtype, and the same for the same seed."""

from __future__ import annotations

import doctest
from collections import Counter
from difflib import SequenceMatcher

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy import interpolate, ndimage

from siamkit.data import augmentation
from siamkit.data.augmentation import AUGMENTATIONS, PRESETS, augmentation_misfit, augmenter, images, rows
from siamkit.data.preprocessing.text import TextTokenizer
from siamkit.errors import DataError
from siamkit.registry.specs import INPUTS

RNG = np.random.default_rng(5)
TABLE = {
    "numeric": np.array([[0.5, 0.0], [1.5, -2.0], [2.5, 3.0], [0.0, 4.0]], np.float32),
    "missing": np.array([[0, 1], [0, 0], [0, 0], [1, 0]], np.float32),
    "categorical": np.array([[2], [0], [3], [4]], np.int32),
}
IDS = np.zeros((40, 9), np.int32)
for number, size in enumerate(RNG.integers(1, 10, size=40)):
    IDS[number, :size] = RNG.integers(1, 50, size=size)
TEXTS = np.array(["a red hat", "réd 🦊 hats", "blue", "x"] * 3, object)
TOKENIZER = TextTokenizer.fit([TEXTS])
ITEMS = {
    "image": RNG.normal(size=(6, 9, 7, 3)).astype(np.float32),
    "series": RNG.normal(size=(6, 20, 2)).astype(np.float32),
    "vector": RNG.normal(size=(30, 8)).astype(np.float32),
    "tabular": TABLE,
    "tokens": IDS,
    "text": TOKENIZER(TEXTS),
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


def made(recipe, kind):
    return augmenter(recipe, kind, TOKENIZER if kind == "text" else None)


def arrays(leaf):
    return leaf if isinstance(leaf, dict) else {"": leaf}


def test_the_examples_of_the_docstrings_are_true():
    ran = doctest.testmod(augmentation)
    assert (ran.failed, ran.attempted > 0) == (0, True)


# ------------------------------------------------------------------ what all of them keep


@pytest.mark.parametrize(("recipe", "kind"), [*EACH, *PRESET])
def test_shape_and_dtype_stay_and_items_are_not_changed_in_place(recipe, kind):
    items = ITEMS[kind]
    copies = {name: values.copy() for name, values in arrays(items).items()}
    augment = made(recipe, kind)
    found = arrays(augment(items, rng()))
    for name, values in arrays(items).items():
        assert (found[name].shape, found[name].dtype) == (values.shape, values.dtype)
        np.testing.assert_array_equal(values, copies[name])
        assert np.isfinite(found[name]).all()
    assert list(found) == list(arrays(items))


@pytest.mark.parametrize(("recipe", "kind"), [*EACH, *PRESET])
def test_the_seed_decides(recipe, kind):
    augment = made(recipe, kind)
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
    found = arrays(made(recipe, kind)(small[kind], rng()))
    assert all(np.isfinite(values).all() for values in found.values())


# ------------------------------------------------------------------ images


def test_crop_moves_an_image_and_repeats_its_edge():
    image = np.arange(12, dtype=np.float32).reshape(1, 3, 4, 1)
    found = images.crop(image, Scripted([[1]], [[-2]]), padding=0.5)
    assert found[0, :, :, 0].tolist() == [[4, 4, 4, 5], [8, 8, 8, 9], [8, 8, 8, 9]]


def test_crop_moves_up_to_its_padding_and_at_least_a_pixel():
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32)[:, None, None], (400, 40, 5, 1))
    found = images.crop(ramp, rng(), padding=0.1)
    assert np.unique(found[:, 20, 0, 0] - 20).tolist() == list(range(-4, 5))
    wide = np.broadcast_to(np.arange(5, dtype=np.float32)[:, None], (400, 40, 5, 1))
    assert np.unique(images.crop(wide, rng(), padding=0.01)[:, 0, 2, 0]).tolist() == [1, 2, 3]
    np.testing.assert_array_equal(images.crop(wide, rng(), padding=0.0), wide)


def test_flip_mirrors_left_to_right():
    image = ITEMS["image"]
    np.testing.assert_array_equal(images.flip(image, rng(), probability=1), np.flip(image, axis=2))
    np.testing.assert_array_equal(images.flip(image, rng(), probability=0), image)
    many = np.broadcast_to(np.arange(2, dtype=np.float32)[:, None], (4000, 1, 2, 1))
    assert abs(images.flip(many, rng(), probability=0.3)[:, 0, 0, 0].mean() - 0.3) < 0.03


@pytest.mark.parametrize("angle", [-20.0, 7.5, 90.0])
def test_rotate_is_scipys_affine_transformation(angle):
    image = ITEMS["image"][:1]
    found = images.rotate(image, Scripted(angle), degrees=90)
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
    found = images.resized_crop(image, Scripted(0.5, 0.4, 1.0), smallest=0.5)
    # Half of the sides; it starts at 0.4 and 1.0 of what is left. Pixels have their centers at halves.
    rows = (0.4 * 0.5 * 9 + (np.arange(9) + 0.5) * 0.5) - 0.5
    columns = (1.0 * 0.5 * 7 + (np.arange(7) + 0.5) * 0.5) - 0.5
    at = np.meshgrid(rows, columns, indexing="ij")
    for channel in range(3):
        expected = ndimage.map_coordinates(image[0, :, :, channel], at, order=1, mode="nearest")
        np.testing.assert_allclose(found[0, :, :, channel], expected, atol=1e-5)


def test_brightness_color_and_contrast_by_hand():
    image = np.array([[1, 2], [3, 6]], np.float32).reshape(1, 2, 1, 2)
    found = images.brightness(image, Scripted(0.5))
    assert found.ravel().tolist() == [1.5, 2.5, 3.5, 6.5]
    found = images.color(image, Scripted([0.5, -1.0]))
    assert found.ravel().tolist() == [1.5, 1.0, 3.5, 5.0]
    found = images.contrast(image, Scripted(-0.5))  # the mean is 3
    assert found.ravel().tolist() == [2.0, 2.5, 3.0, 4.5]


def test_erase_covers_one_rectangle_with_the_mean_color():
    image = np.ones((1, 4, 5, 2), np.float32)
    found = images.erase(image, Scripted([[2]], [[1]], [[3]], [[0]], 0.4), probability=0.5, largest=0.6)
    expected = np.ones((4, 5))
    expected[1:3, 0:3] = 0
    np.testing.assert_array_equal(found[0, :, :, 0], expected)
    np.testing.assert_array_equal(found[0, :, :, 1], expected)
    many = np.ones((2000, 10, 10, 1), np.float32)
    covered = (images.erase(many, rng(), probability=0.3, largest=0.4) == 0).sum(axis=(1, 2, 3))
    assert abs((covered > 0).mean() - 0.3) < 0.04
    assert covered.max() == 16


# ------------------------------------------------------------------ series


def test_scale_multiplies_each_feature():
    series = np.array([[[1, 10], [2, 20]]], np.float32)
    found = rows.scale(series, Scripted([[[1.0, -2.0]]]), deviation=0.1)
    np.testing.assert_allclose(found, [[[1.1, 8], [2.2, 16]]], rtol=1e-6)


def test_a_window_is_stretched_as_by_numpys_interpolation():
    series = ITEMS["series"][:1]
    found = rows.window(series, Scripted([[0.6]], [[0.25]]), smallest=0.5)
    at = np.linspace(0.25 * 0.4, 0.25 * 0.4 + 0.6, 20) * 19
    for feature in range(2):
        expected = np.interp(at, np.arange(20), series[0, :, feature])
        np.testing.assert_allclose(found[0, :, feature], expected, atol=1e-5)


def spline(heights, steps):
    return interpolate.CubicSpline(np.linspace(0, 1, len(heights)), heights)(np.linspace(0, 1, steps))


def test_time_warp_passes_the_series_at_the_speed_of_its_spline():
    draws = np.array([1.0, -2.0, 0.5, 3.0])
    series = ITEMS["series"][:1]
    found = rows.time_warp(series, Scripted(draws[:, None]), deviation=0.2, knots=4)
    speed = np.maximum(spline(1 + 0.2 * draws, 20), 0.1)
    at = np.array([sum(speed[1 : step + 1]) for step in range(20)]) * 19 / sum(speed[1:])
    for feature in range(2):
        expected = np.interp(at, np.arange(20), series[0, :, feature])
        np.testing.assert_allclose(found[0, :, feature], expected, atol=1e-5)
    np.testing.assert_allclose(found[0, [0, -1]], series[0, [0, -1]], atol=1e-5)


def test_time_warp_never_goes_back():
    ramp = np.broadcast_to(np.arange(30, dtype=np.float32)[:, None], (200, 30, 1))
    found = rows.time_warp(ramp, rng(), deviation=2.0)
    assert (np.diff(found[..., 0], axis=1) > 0).all()


def test_magnitude_warp_multiplies_by_its_splines():
    draws = np.array([[1.0, 0.0], [-2.0, 1.0], [0.5, 0.0]])  # (knots, features)
    series = ITEMS["series"][:1]
    found = rows.magnitude_warp(series, Scripted(draws[:, None, :]), deviation=0.3, knots=3)
    for feature in range(2):
        expected = series[0, :, feature] * spline(1 + 0.3 * draws[:, feature], 20)
        np.testing.assert_allclose(found[0, :, feature], expected, rtol=1e-5)


# ------------------------------------------------------------------ vectors and tables


def test_noise_has_its_deviation():
    found = rows.noise(np.zeros((2000, 50), np.float32), rng(), deviation=0.3)
    assert abs(found.std() - 0.3) < 0.005
    assert abs(found.mean()) < 0.005


def test_noise_leaves_what_is_missing_and_categories():
    found = rows.noise(TABLE, rng(), deviation=1.0)
    gone = TABLE["missing"] > 0
    assert (found["numeric"][gone] == 0).all()
    assert (found["numeric"][~gone] != TABLE["numeric"][~gone]).all()
    np.testing.assert_array_equal(found["missing"], TABLE["missing"])
    np.testing.assert_array_equal(found["categorical"], TABLE["categorical"])


def test_feature_dropout_sets_features_to_their_mean():
    found = rows.feature_dropout(np.ones((3000, 5), np.float32), rng(), probability=0.2)
    assert set(np.unique(found)) == {0, 1}
    np.testing.assert_allclose((found == 0).mean(axis=0), 0.2, atol=0.03)


def test_in_a_table_a_dropped_feature_is_missing():
    draws = np.array([[0.0, 0.9], [0.9, 0.0], [0.9, 0.9], [0.9, 0.9]])
    found = rows.feature_dropout(TABLE, Scripted(draws, [[0.9], [0.9], [0.0], [0.9]]), probability=0.5)
    assert found["numeric"].tolist() == [[0, 0], [1.5, 0], [2.5, 3], [0, 4]]
    assert found["missing"].tolist() == [[1, 1], [0, 1], [0, 0], [1, 0]]
    assert found["categorical"].ravel().tolist() == [2, 0, 0, 4]


def test_a_swapped_feature_comes_from_the_same_column_of_the_batch():
    vectors = np.arange(12, dtype=np.float32).reshape(3, 4)
    givers = [[2, 0, 0, 1], [0, 0, 0, 0], [0, 1, 2, 0]]
    draws = [[0.0, 0.9, 0.0, 0.9], [0.9, 0.9, 0.9, 0.0], [0.9, 0.0, 0.0, 0.9]]
    found = rows.feature_swap(vectors, Scripted(givers, draws), probability=0.1)
    assert found.tolist() == [[8, 1, 2, 3], [4, 5, 6, 3], [8, 5, 10, 11]]


def test_a_swapped_number_brings_its_mark_of_a_missing_one():
    found = rows.feature_swap(TABLE, rng(), probability=1.0)
    for column in range(2):
        pairs = set(zip(TABLE["numeric"][:, column], TABLE["missing"][:, column], strict=True))
        assert set(zip(found["numeric"][:, column], found["missing"][:, column], strict=True)) <= pairs
    assert set(found["categorical"].ravel()) <= {0, 2, 3, 4}


# ------------------------------------------------------------------ tokens


def test_tokens_that_stay_move_together():
    ids = np.array([[5, 6, 7, 8, 0, 0]], np.int32)
    found = rows.token_dropout(ids, Scripted([[0.9, 0.05, 0.5, 0.01, 0.0, 0.9]]), probability=0.1)
    assert found.tolist() == [[5, 7, 0, 0, 0, 0]]


def test_a_token_stays_and_padding_stays_padding():
    found = rows.token_dropout(IDS, rng(), probability=1.0)
    assert ((found > 0).sum(axis=1) == 1).all()
    assert (found[:, 0] > 0).all()
    found = rows.token_dropout(IDS, rng(), probability=0.3)
    lengths = (found > 0).sum(axis=1)
    assert (lengths <= (IDS > 0).sum(axis=1)).all()
    np.testing.assert_array_equal(found > 0, np.arange(9) < lengths[:, None])
    share = 1 - lengths.sum() / (IDS > 0).sum()
    assert abs(share - 0.3) < 0.12
    empty = np.zeros((2, 3), np.int32)
    np.testing.assert_array_equal(rows.token_dropout(empty, rng(), probability=0.5), empty)


def test_swapped_tokens_are_neighbors():
    ids = np.array([[1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [1, 2, 3, 0, 0]], np.int32)
    found = rows.token_swap(ids, Scripted([[0], [1], [0]], 0.0), probability=0.5)
    assert found.tolist() == [[2, 1, 4, 3, 5], [1, 3, 2, 5, 4], [2, 1, 3, 0, 0]]


def test_swaps_keep_the_tokens_and_the_padding():
    found = rows.token_swap(IDS, rng(), probability=0.5)
    np.testing.assert_array_equal(np.sort(found, axis=1), np.sort(IDS, axis=1))
    np.testing.assert_array_equal(found > 0, IDS > 0)
    assert (found != IDS).any()
    np.testing.assert_array_equal(rows.token_swap(IDS, rng(), probability=0.0), IDS)


# ------------------------------------------------------------------ recipes


def test_steps_are_applied_in_their_order():
    half = {"erase": {"probability": 1.0, "largest": 1.0}, "brightness": {"amount": 0.5}}
    image = np.ones((64, 2, 2, 1), np.float32)
    after = augmenter(half, "image")(image, rng())
    before = augmenter(dict(reversed(half.items())), "image")(image, rng())
    assert (before == 0).any()  # erased last: exactly 0
    assert not (after == 0).any()


# ------------------------------------------------------------------ RandAugment

# Full range in each image, so that its own black and white are those of Pillow.
PIXELS = RNG.integers(0, 256, (5, 12, 9, 3), dtype=np.uint8)
PIXELS[:, 0, 0], PIXELS[:, 0, 1] = 0, 255
NAMES = (
    "identity", "autocontrast", "equalize", "rotate", "solarize", "color", "posterize", "contrast",
    "brightness", "sharpness", "shear_x", "shear_y", "translate_x", "translate_y",
)  # fmt: skip


def by_pillow(name, picture, magnitude):
    """An operation at a magnitude from 0 to 30, by Pillow; enhancements become stronger."""
    factor = 1 + 0.9 * magnitude / 30
    return {
        "identity": lambda: picture,
        "autocontrast": lambda: ImageOps.autocontrast(picture),
        "equalize": lambda: ImageOps.equalize(picture),
        "solarize": lambda: ImageOps.solarize(picture, round(255 * (1 - magnitude / 30))),
        "posterize": lambda: ImageOps.posterize(picture, 8 - round(4 * magnitude / 30)),
        "brightness": lambda: ImageEnhance.Brightness(picture).enhance(factor),
        "sharpness": lambda: ImageEnhance.Sharpness(picture).enhance(factor),
    }[name]()


def applied(name, magnitude, sign=1, pixels=PIXELS):
    """One operation on all images, in the units of prepared images."""
    count, number = len(pixels), NAMES.index(name)
    prepared = (pixels.astype(np.float32) - 100) / 60
    draws = Scripted(np.full(count, number), np.full((count, 1, 1, 1), (sign + 1) // 2))
    return images.randaugment(prepared, draws, operations=1, magnitude=magnitude) * 60 + 100


@pytest.mark.parametrize("magnitude", [3.0, 15.0, 30.0])
@pytest.mark.parametrize(
    "name", ["identity", "autocontrast", "equalize", "solarize", "posterize", "brightness", "sharpness"]
)
def test_operations_of_randaugment_are_pillows(name, magnitude):
    assert len(images.OPERATIONS) == len(NAMES)
    expected = [np.asarray(by_pillow(name, Image.fromarray(pixels), magnitude)) for pixels in PIXELS]
    # Pillow works in whole numbers, and rounds the smoothed image before it is subtracted.
    np.testing.assert_allclose(applied(name, magnitude), expected, atol=1.5 if name == "sharpness" else 1.01)


@pytest.mark.parametrize("sign", [-1, 1])
def test_other_operations_of_randaugment_by_hand(sign):
    pixels, part = PIXELS.astype(float), 0.45 * sign * 20 / 30
    factor = 1 + 0.9 * sign * 20 / 30
    gray = pixels.mean(axis=3, keepdims=True)
    mean = pixels.mean(axis=(1, 2, 3), keepdims=True)
    for name, base in (("color", gray), ("contrast", mean)):
        expected = np.clip(base + factor * (pixels - base), 0, 255)
        np.testing.assert_allclose(applied(name, 20, sign), expected, atol=0.01)
    y, x = np.mgrid[:12, :9].astype(float)
    angle = np.deg2rad(30 * sign * 20 / 30)
    shear, down, across = 0.3 * sign * 20 / 30, y - 5.5, x - 4
    places = {
        "translate_x": (y, x + part * 9),
        "translate_y": (y + part * 12, x),
        "shear_x": (y, x + shear * down),
        "shear_y": (y + shear * across, x),
        "rotate": (
            np.cos(angle) * down - np.sin(angle) * across + 5.5,
            np.sin(angle) * down + np.cos(angle) * across + 4,
        ),
    }
    for name, place in places.items():
        for image, expected in zip(applied(name, 20, sign), pixels, strict=True):
            for channel in range(3):
                by_scipy = ndimage.map_coordinates(expected[..., channel], place, order=1, mode="nearest")
                np.testing.assert_allclose(image[..., channel], by_scipy, atol=0.02, err_msg=name)


def test_randaugment_draws_each_operation_for_each_image_and_applies_several():
    many = np.repeat(ITEMS["image"][:1], 4000, axis=0)
    counts = Counter(image.tobytes() for image in images.randaugment(many, rng(), 1, 10.0))
    # 14 operations equally often, nine of them with either sign.
    assert sorted(count > 3 / 4 * 4000 / 14 for count in counts.values()) == [False] * 18 + [True] * 5
    assert len({image.tobytes() for image in images.randaugment(many, rng(), 2, 10.0)}) > 100


# ------------------------------------------------------------------ texts


def test_typos_insert_delete_replace_and_swap():
    texts = np.array(["abcdefgh", "xy"], object)
    # From the left: insert before b, delete d, replace f, swap g and h; of "xy" nothing.
    chosen = np.array([0.9, 0.0, 0.9, 0.0, 0.9, 0.0, 0.0, 0.9])
    draws = Scripted(chosen, [0, 1, 2, 3], [8, 0, 9, 0], [0.9, 0.9], [], [])
    assert rows.typos(texts, draws, probability=0.5).tolist() == ["axbceyhg", "xy"]
    assert texts.tolist() == ["abcdefgh", "xy"]


def test_typos_are_as_frequent_as_they_should_be():
    texts = np.array(["".join(rng().choice(list("abcdefghijkl"), 1000))], object)
    written = rows.typos(texts, rng(), probability=0.05)[0]
    same = sum(block.size for block in SequenceMatcher(None, texts[0], written, False).get_matching_blocks())
    # An insertion leaves all characters, each other typo misses one.
    assert abs(same / 1000 - (1 - 0.05 * 3 / 4)) < 0.015
    assert rows.typos(texts, rng(), probability=0.0)[0] == texts[0]


def test_no_text_becomes_empty():
    texts = np.array(["a", "", "b"] * 30, object)
    written = rows.typos(texts, rng(), probability=1.0)
    assert [bool(text) for text in written] == [True, False, True] * 30


def test_typos_need_the_preprocessor():
    with pytest.raises(
        DataError, match="'typos' changes texts before they are prepared; give it their prepr"
    ):
        augmenter("typos", "text")


# ------------------------------------------------------------------ names


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
