"""Augmentation: random changes of prepared training items that leave what they are unchanged. NumPy only.

An augmentation is a function of prepared items and a random generator, as `Preprocessor.vary` is, and a feed
applies both to each view of each batch. So two views of one item differ, and an item differs in each epoch.
Prepared numbers have mean 0 and deviation 1 in training: amounts are in these deviations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from siamkit.data.dataset import Array, Leaf
from siamkit.errors import DataError, listed, nearest
from siamkit.registry.parameters import Float, Int, Param

Rng = np.random.Generator
Vary = Callable[[Leaf, Rng], Leaf]
"""A function that changes prepared items at random; it keeps their shape and dtype."""

Recipe = str | Mapping[str, Mapping[str, Any] | None] | None
"""What to apply: a preset, the name of an augmentation, or `{name: parameters, …}`, applied in this order."""

# ------------------------------------------------------------------ images (n, height, width, channels)


def crop(images: Array, rng: Rng, padding: float = 0.1) -> Array:
    """Pad images with copies of their edge, and cut out their size at a random place.

    Args:
        images: the images; not changed.
        rng: random generator.
        padding: the width of the padding, as a fraction of each side; at least 1 pixel if it is above 0.
    """
    count, height, width, _ = images.shape
    rows, columns = (
        np.clip(np.arange(side) + _whole_shift(padding * side, count, rng), 0, side - 1)
        for side in (height, width)
    )
    return np.asarray(images[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]])


def _whole_shift(largest: float, count: int, rng: Rng) -> Array:
    pixels = max(1, round(largest)) if largest > 0 else 0
    return rng.integers(-pixels, pixels + 1, size=(count, 1))


def resized_crop(images: Array, rng: Rng, smallest: float = 0.6) -> Array:
    """Cut out a random part of images, and resize it to their size (bilinear).

    Args:
        images: the images; not changed.
        rng: random generator.
        smallest: the smallest side of the part, as a fraction of the side of the image.
    """
    count, height, width, _ = images.shape
    share = rng.uniform(smallest, 1, size=(count, 1))
    rows, columns = (
        rng.random((count, 1)) * (1 - share) * side + (np.arange(side) + 0.5) * share - 0.5
        for side in (height, width)
    )
    return _bilinear(images, rows[:, :, None], columns[:, None, :])


def flip(images: Array, rng: Rng, probability: float = 0.5) -> Array:
    """Mirror images left to right, each with this probability; not for digits, letters or text."""
    mirrored = rng.random((len(images), 1, 1, 1)) < probability
    return np.where(mirrored, images[:, :, ::-1], images)


def rotate(images: Array, rng: Rng, degrees: float = 10.0) -> Array:
    """Rotate images around their center by a random angle up to this one, either way; edges are extended."""
    count, height, width, _ = images.shape
    angle = np.deg2rad(rng.uniform(-degrees, degrees, size=(count, 1, 1)))
    y, x = np.arange(height)[:, None] - (height - 1) / 2, np.arange(width) - (width - 1) / 2
    rows = np.cos(angle) * y - np.sin(angle) * x + (height - 1) / 2
    columns = np.sin(angle) * y + np.cos(angle) * x + (width - 1) / 2
    return _bilinear(images, rows, columns)


def brightness(images: Array, rng: Rng, amount: float = 0.2) -> Array:
    """Add a random number up to this amount, either way, to all pixels of an image."""
    return images + _uniform(amount, (len(images), 1, 1, 1), images, rng)


def color(images: Array, rng: Rng, amount: float = 0.2) -> Array:
    """Add a random number up to this amount, either way, to each channel of an image."""
    return images + _uniform(amount, (len(images), 1, 1, images.shape[3]), images, rng)


def contrast(images: Array, rng: Rng, amount: float = 0.2) -> Array:
    """Multiply the differences to an image's mean by a random factor from 1 - amount to 1 + amount."""
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    return np.asarray(mean + (1 + _uniform(amount, mean.shape, images, rng)) * (images - mean))


def erase(images: Array, rng: Rng, probability: float = 0.5, largest: float = 0.4) -> Array:
    """Cover a random rectangle of images with the mean color of training (Zhong et al. 2020).

    Args:
        images: the images; not changed.
        rng: random generator.
        probability: the probability that an image is changed.
        largest: the largest side of the rectangle, as a fraction of the side of the image.
    """
    count = len(images)
    inside = []
    for side in images.shape[1:3]:
        size = rng.integers(1, max(1, round(largest * side)) + 1, size=(count, 1))
        start = rng.integers(0, side - size + 1)
        inside.append((start <= np.arange(side)) & (np.arange(side) < start + size))
    chosen = rng.random((count, 1, 1)) < probability
    covered = chosen & inside[0][:, :, None] & inside[1][:, None, :]
    return np.where(covered[..., None], images.dtype.type(0), images)


def _bilinear(images: Array, rows: Array, columns: Array) -> Array:
    """Return images at coordinates `(n, height, width)` in pixels; beyond an image, its edge."""
    count, height, width, channels = images.shape
    top, bottom, down = _between(rows, height, images.dtype)
    left, right, across = _between(columns, width, images.dtype)
    pixels = images.reshape(-1, channels)  # one index a pixel is much faster than three
    first = (np.arange(count) * height * width)[:, None, None]
    corners = [
        np.take(pixels, first + row * width + column, axis=0)
        for row in (top, bottom)
        for column in (left, right)
    ]
    upper, lower = (start + across * (end - start) for start, end in (corners[:2], corners[2:]))
    return np.asarray(upper * (1 - down) + lower * down)


def _between(at: Array, size: int, dtype: np.dtype[Any]) -> tuple[Array, Array, Array]:
    """Return the places before and after coordinates, and the weight `(…, 1)` of the place after."""
    at = np.clip(at, 0, size - 1)
    before = at.astype(np.intp)
    return before, np.minimum(before + 1, size - 1), (at - before).astype(dtype)[..., None]


# ------------------------------------------------------------------ series (n, steps, features)


def scale(series: Array, rng: Rng, deviation: float = 0.1) -> Array:
    """Multiply each feature of a series by a random factor of mean 1 and this deviation."""
    shape = (len(series), 1, series.shape[2])
    factors = 1 + deviation * rng.standard_normal(shape, dtype=np.float32)
    return np.asarray(series * factors.astype(series.dtype))


def window(series: Array, rng: Rng, smallest: float = 0.8) -> Array:
    """Cut out a random part of series, and stretch it to their length (linear; Le Guennec et al. 2016).

    Args:
        series: the series; not changed.
        rng: random generator.
        smallest: the smallest length of the part, as a fraction of the series.
    """
    count, steps, _ = series.shape
    share = rng.uniform(smallest, 1, size=(count, 1))
    start = rng.random((count, 1)) * (1 - share)
    return _at_steps(series, (start + share * np.linspace(0, 1, steps)) * (steps - 1))


def time_warp(series: Array, rng: Rng, deviation: float = 0.2, knots: int = 4) -> Array:
    """Let series pass faster and slower: at a smooth random speed of mean 1 (Um et al. 2017).

    Args:
        series: the series; not changed.
        rng: random generator.
        deviation: the deviation of the speed at a knot; no speed is below a tenth.
        knots: the number of knots of the speed's curve, 2 or more.
    """
    count, steps, _ = series.shape
    speed = np.maximum(_smooth_curves((count,), steps, deviation, knots, rng), 0.1)
    passed = np.cumsum(speed, axis=1) - speed[:, :1]  # the first step stays the first
    return _at_steps(series, passed / np.maximum(passed[:, -1:], 1e-9) * (steps - 1))


def magnitude_warp(series: Array, rng: Rng, deviation: float = 0.2, knots: int = 4) -> Array:
    """Multiply each feature of a series by a smooth random curve around 1 (Um et al. 2017).

    Args:
        series: the series; not changed.
        rng: random generator.
        deviation: the deviation of the factor at a knot.
        knots: the number of knots of the curve, 2 or more.
    """
    count, steps, features = series.shape
    curves = _smooth_curves((count, features), steps, deviation, knots, rng)
    return np.asarray(series * np.moveaxis(curves, 1, 2).astype(series.dtype))


def _smooth_curves(shape: tuple[int, ...], steps: int, deviation: float, knots: int, rng: Rng) -> Array:
    """Return cubic splines `(*shape, steps)` through evenly spaced knots of mean 1."""
    from scipy.interpolate import CubicSpline  # late: slow to import

    heights = 1 + deviation * rng.standard_normal((knots, *shape))
    curves = CubicSpline(np.linspace(0, 1, knots), heights, axis=0)(np.linspace(0, 1, steps))
    return np.moveaxis(curves, 0, -1)


def _at_steps(series: Array, at: Array) -> Array:
    """Return series at times `(n, steps)`, in steps from 0, interpolated linearly."""
    before, after, share = _between(at, series.shape[1], series.dtype)
    item = np.arange(len(series))[:, None]
    return np.asarray(series[item, before] * (1 - share) + series[item, after] * share)


# ------------------------------------------------------------------ vectors (n, features), and rows of tables


def noise(items: Leaf, rng: Rng, deviation: float = 0.1) -> Leaf:
    """Add normal noise of this deviation to all numbers; missing numbers of a table stay missing."""
    if isinstance(items, dict):
        if "numeric" not in items:
            return items
        changed = _noisy(items["numeric"], rng, deviation)
        return {**items, "numeric": np.where(items["missing"] > 0, items["numeric"], changed)}
    return _noisy(items, rng, deviation)


def _noisy(numbers: Array, rng: Rng, deviation: float) -> Array:
    return np.asarray(numbers + np.float32(deviation) * rng.standard_normal(numbers.shape, np.float32))


def feature_dropout(items: Leaf, rng: Rng, probability: float = 0.1) -> Leaf:
    """Replace each feature, with this probability, by its mean in training; in a table it becomes missing."""

    def dropped(values: Array) -> Array:
        return np.asarray(rng.random(values.shape) < probability)

    if not isinstance(items, dict):
        return np.where(dropped(items), items.dtype.type(0), items)
    changed = dict(items)
    if "numeric" in items:
        gone = dropped(items["numeric"])
        changed["numeric"] = np.where(gone, np.float32(0), items["numeric"])
        changed["missing"] = np.where(gone, np.float32(1), items["missing"])
    if "categorical" in items:  # code 0: missing
        changed["categorical"] = np.where(dropped(items["categorical"]), np.int32(0), items["categorical"])
    return changed


def feature_swap(items: Leaf, rng: Rng, probability: float = 0.1) -> Leaf:
    """Replace each feature, with this probability, by that of a random item of the batch (swap noise).

    As in SCARF (Bahri et al. 2022), each feature comes from an item of its own.
    """

    def givers(values: Array) -> Array:
        count, features = values.shape
        other = rng.integers(0, count, size=(count, features))
        return np.where(rng.random(values.shape) < probability, other, np.arange(count)[:, None])

    def taken(values: Array, rows: Array) -> Array:
        return np.take_along_axis(values, rows, axis=0)

    if not isinstance(items, dict):
        return taken(items, givers(items))
    changed = dict(items)
    for names in (("numeric", "missing"), ("categorical",)):  # a number moves with its mark of a missing one
        if names[0] in items:
            rows = givers(items[names[0]])
            changed |= {name: taken(items[name], rows) for name in names}
    return changed


# ------------------------------------------------------------------ token ids (n, length), padded with 0


def token_dropout(ids: Array, rng: Rng, probability: float = 0.1) -> Array:
    """Remove each token with this probability; the others move together, and one stays at least."""
    draw = np.where(ids > 0, rng.random(ids.shape), -1)
    removed = (draw >= 0) & (draw < probability) & (draw < draw.max(axis=1, keepdims=True, initial=-1))
    order = np.argsort(removed, axis=1, kind="stable")
    return np.take_along_axis(np.where(removed, ids.dtype.type(0), ids), order, axis=1)


def token_swap(ids: Array, rng: Rng, probability: float = 0.1) -> Array:
    """Exchange neighboring tokens: each token is in one pair at most, and a pair has this probability."""
    count, length = ids.shape
    first = rng.integers(0, 2, size=(count, 1))  # of the pairs: 0 1, 2 3, … or 1 2, 3 4, …
    places = np.broadcast_to(np.arange(length), ids.shape)
    partner = ((places - first) ^ 1) + first
    inside = (partner >= 0) & (partner < length)
    partner = np.where(inside, partner, places)
    draw = np.asarray(rng.random(ids.shape))
    draw = np.take_along_axis(draw, np.minimum(places, partner), axis=1)
    both = (ids > 0) & (np.take_along_axis(ids, partner, axis=1) > 0)
    return np.take_along_axis(ids, np.where(both & (draw < probability), partner, places), axis=1)


def _uniform(amount: float, shape: tuple[int, ...], like: Array, rng: Rng) -> Array:
    return rng.uniform(-amount, amount, size=shape).astype(like.dtype)


# ------------------------------------------------------------------ names, parameters and presets


@dataclass(frozen=True)
class Augmentation:
    """An augmentation that a study can name.

    Args:
        change: the function of items, a random generator and the parameters.
        kinds: the kinds of input that it is for.
        params: its parameters.
    """

    change: Callable[..., Any]
    kinds: tuple[str, ...]
    params: Mapping[str, Param] = field(default_factory=dict)


def _probability(default: float, high: float) -> Float:
    return Float(default, low=0.0, high=high, minimum=0, maximum=1)


def _amount(default: float, high: float) -> Float:
    return Float(default, low=0.0, high=high, minimum=0)


def _smallest(default: float, low: float) -> Float:
    return Float(default, low=low, high=1.0, minimum=0.05, maximum=1)


_IMAGE, _SERIES, _ROW, _TOKENS = ("image",), ("series",), ("vector", "tabular"), ("tokens", "text")
_KNOTS = Int(4, minimum=2, maximum=100)

AUGMENTATIONS: Mapping[str, Augmentation] = {
    "crop": Augmentation(crop, _IMAGE, {"padding": Float(0.1, low=0.0, high=0.25, minimum=0, maximum=1)}),
    "resized_crop": Augmentation(resized_crop, _IMAGE, {"smallest": _smallest(0.6, 0.4)}),
    "flip": Augmentation(flip, _IMAGE, {"probability": Float(0.5, minimum=0, maximum=1)}),
    "rotate": Augmentation(rotate, _IMAGE, {"degrees": Float(10, low=0, high=30, minimum=0, maximum=180)}),
    "brightness": Augmentation(brightness, _IMAGE, {"amount": _amount(0.2, 0.5)}),
    "color": Augmentation(color, _IMAGE, {"amount": _amount(0.2, 0.5)}),
    "contrast": Augmentation(contrast, _IMAGE, {"amount": Float(0.2, low=0, high=0.5, minimum=0, maximum=1)}),
    "erase": Augmentation(
        erase, _IMAGE, {"probability": _probability(0.5, 1.0), "largest": _probability(0.4, 0.6)}
    ),
    "noise": Augmentation(noise, (*_IMAGE, *_SERIES, *_ROW), {"deviation": _amount(0.1, 0.5)}),
    "scale": Augmentation(scale, _SERIES, {"deviation": _amount(0.1, 0.5)}),
    "window": Augmentation(window, _SERIES, {"smallest": _smallest(0.8, 0.5)}),
    "time_warp": Augmentation(time_warp, _SERIES, {"deviation": _amount(0.2, 0.5), "knots": _KNOTS}),
    "magnitude_warp": Augmentation(
        magnitude_warp, _SERIES, {"deviation": _amount(0.2, 0.5), "knots": _KNOTS}
    ),
    "feature_dropout": Augmentation(feature_dropout, _ROW, {"probability": _probability(0.1, 0.5)}),
    "feature_swap": Augmentation(feature_swap, _ROW, {"probability": _probability(0.1, 0.5)}),
    "token_dropout": Augmentation(token_dropout, _TOKENS, {"probability": _probability(0.1, 0.5)}),
    "token_swap": Augmentation(token_swap, _TOKENS, {"probability": _probability(0.1, 0.5)}),
}
"""The augmentations, by name."""

_LIGHT_ROW: Mapping[str, Mapping[str, Any]] = {
    "feature_dropout": {"probability": 0.05},
    "noise": {"deviation": 0.05},
}
_STRONG_ROW: Mapping[str, Mapping[str, Any]] = {
    "feature_dropout": {"probability": 0.2},
    "feature_swap": {},
    "noise": {},
}
_LIGHT_TOKENS: Mapping[str, Mapping[str, Any]] = {"token_dropout": {"probability": 0.05}}
_STRONG_TOKENS: Mapping[str, Mapping[str, Any]] = {"token_dropout": {"probability": 0.2}, "token_swap": {}}

PRESETS: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    "none": {},
    "light": {
        "image": {
            "crop": {},
            "rotate": {"degrees": 5.0},
            "brightness": {"amount": 0.1},
            "contrast": {"amount": 0.1},
        },
        "series": {"scale": {}, "noise": {"deviation": 0.05}},
        **dict.fromkeys(_ROW, _LIGHT_ROW),
        **dict.fromkeys(_TOKENS, _LIGHT_TOKENS),
    },
    "strong": {
        "image": {
            "resized_crop": {},
            "flip": {},
            "rotate": {"degrees": 15.0},
            "color": {},
            "contrast": {"amount": 0.4},
            "erase": {},
        },
        "series": {"window": {}, "time_warp": {}, "magnitude_warp": {}, "noise": {}},
        **dict.fromkeys(_ROW, _STRONG_ROW),
        **dict.fromkeys(_TOKENS, _STRONG_TOKENS),
    },
}
"""The augmentations of each preset with their parameters, by kind of input."""


def augmentation_misfit(name: str, kind: str) -> str | None:
    """Return why a preset or an augmentation is not for a kind of input, or None if it is.

    The text is the end of a sentence that begins with the augmentation.
    """
    kind = _PREPARED.get(kind, kind)
    if name in PRESETS and (not PRESETS[name] or kind in PRESETS[name]):
        return None
    kinds = PRESETS[name] if name in PRESETS else AUGMENTATIONS[name].kinds
    if kind in kinds:
        return None
    fitting = [each for each, augmentation in AUGMENTATIONS.items() if kind in augmentation.kinds]
    return (
        f"is for {listed(list(kinds))}, but the data are {kind}; "
        f"{listed(fitting) or 'no augmentation'} would fit"
    )


def augmenter(recipe: Recipe, kind: str) -> Vary | None:
    """Return the function that augments prepared items of a kind of input, or None for no augmentation.

    Args:
        recipe: a preset (`none`, `light`, `strong`), the name of an augmentation, or
            `{name: parameters, …}`, applied in this order; parameters that are left out have their defaults.
        kind: the kind of input, one of `siamkit.registry.specs.INPUTS`.

    Raises:
        DataError: an augmentation or parameter does not exist, or is not for this kind of input.

    Example:
        >>> import numpy as np
        >>> from siamkit.data import augmenter
        >>> images = np.arange(4, dtype="float32").reshape(1, 1, 4, 1)
        >>> mirror = augmenter({"flip": {"probability": 1}}, "image")
        >>> mirror(images, np.random.default_rng(0)).ravel().tolist()
        [3.0, 2.0, 1.0, 0.0]
    """
    steps = [(AUGMENTATIONS[name].change, params) for name, params in recipe_steps(recipe, kind).items()]
    if not steps:
        return None

    def augment(leaf: Leaf, rng: Rng) -> Leaf:
        for change, params in steps:
            leaf = change(leaf, rng, **params)
        return leaf

    return augment


_PREPARED: Mapping[str, str] = {"records": "tabular"}
"""Prepared rows of a table are records of arrays."""


def recipe_steps(recipe: Recipe, kind: str) -> dict[str, Mapping[str, Any]]:
    """Return the augmentations of a recipe in their order, each with all its parameters.

    Args:
        recipe, kind: as for `augmenter`.

    Raises:
        DataError: as `augmenter`.

    Example:
        >>> recipe_steps("light", "series")
        {'scale': {'deviation': 0.1}, 'noise': {'deviation': 0.05}}
    """
    if recipe is None:
        return {}
    kind = _PREPARED.get(kind, kind)
    listed_steps = {recipe: None} if isinstance(recipe, str) else recipe
    for name in listed_steps:
        if name not in AUGMENTATIONS and not (isinstance(recipe, str) and name in PRESETS):
            raise DataError(f"unknown augmentation {name!r}; {nearest(name, (*PRESETS, *AUGMENTATIONS))}")
        if (reason := augmentation_misfit(name, kind)) is not None:
            raise DataError(f"the augmentation {name!r} {reason}")
    if isinstance(recipe, str) and recipe in PRESETS:
        listed_steps = PRESETS[recipe].get(kind, {})
    return {name: _valid(name, params or {}) for name, params in listed_steps.items()}


def _valid(name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    known = AUGMENTATIONS[name].params
    valid = {key: param.default for key, param in known.items()}
    for key, value in params.items():
        if key not in known:
            raise DataError(f"the augmentation {name!r} has no parameter {key!r}; {nearest(key, known)}")
        try:
            valid[key] = known[key].validate(value)
        except ValueError as error:
            raise DataError(f"{key} of the augmentation {name!r} {error}") from None
    return valid
