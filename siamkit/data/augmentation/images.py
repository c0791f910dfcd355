"""Augmentations of prepared images `(n, height, width, channels)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from siamkit.data.dataset import Array

Rng = np.random.Generator


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
    return _rotated(images, np.deg2rad(rng.uniform(-degrees, degrees, size=(len(images), 1, 1))))


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


# ------------------------------------------------------------------ RandAugment

MAX_MAGNITUDE = 30


def randaugment(images: Array, rng: Rng, operations: int = 2, magnitude: float = 9.0) -> Array:
    """Apply operations to each image that are drawn from 14, all of one magnitude (Cubuk et al. 2020).

    They are those of the paper, as strong as in torchvision: nothing, autocontrast, equalize, rotate,
    solarize, color, posterize, contrast, brightness, sharpness, and shear and translate along both axes.
    Prepared images have no black and no white, so the lowest and the highest number of an image stand for
    them. Beyond an image its edge is extended.

    Args:
        images: the images; not changed.
        rng: random generator.
        operations: the number of operations, one after the other.
        magnitude: their strength, from 0 to 30.
    """
    low = images.min(axis=(1, 2, 3), keepdims=True)
    span = images.max(axis=(1, 2, 3), keepdims=True) - low
    scaled = (images - low) / np.where(span > 0, span, 1)
    for _ in range(operations):
        drawn = rng.integers(0, len(OPERATIONS), size=len(images))
        strength = (2 * rng.integers(0, 2, size=(len(images), 1, 1, 1)) - 1) * (magnitude / MAX_MAGNITUDE)
        for number, operation in enumerate(OPERATIONS):
            if len(chosen := np.flatnonzero(drawn == number)):
                scaled[chosen] = operation(scaled[chosen], strength[chosen].astype(images.dtype))
    return np.asarray(scaled * span + low)


# Functions of images from 0 to 1, and of a strength (n, 1, 1, 1) from -1 to 1.


def _autocontrast(images: Array, strength: Array) -> Array:
    low, high = (function(images, axis=(1, 2), keepdims=True) for function in (np.min, np.max))
    return np.where(high > low, (images - low) / np.where(high > low, high - low, 1), images)


def _equalize(images: Array, strength: Array) -> Array:
    planes = np.moveaxis(images, 3, 1).reshape(-1, images.shape[1] * images.shape[2])
    levels = np.round(planes * 255).astype(np.intp)
    counts = np.zeros((len(planes), 256), np.intp)
    np.add.at(counts, (np.arange(len(planes))[:, None], levels), 1)
    # As in Pillow: a level gets the pixels below it, of all but those of the highest level, in 255 steps.
    last = np.take_along_axis(counts, levels.max(axis=1, keepdims=True), axis=1)
    step = (planes.shape[1] - last) // 255
    below = np.cumsum(counts, axis=1) - counts
    table = np.where(step > 0, np.minimum((below + step // 2) // np.maximum(step, 1), 255), np.arange(256))
    equal = np.take_along_axis(table, levels, axis=1).astype(images.dtype) / 255
    return np.moveaxis(equal.reshape(len(images), -1, *images.shape[1:3]), 1, 3)


def _solarize(images: Array, strength: Array) -> Array:
    return np.where(images >= 1 - np.abs(strength), 1 - images, images)


def _posterize(images: Array, strength: Array) -> Array:
    step = 2 ** np.round(4 * np.abs(strength))  # 8 bits lose up to 4
    return np.asarray(np.floor(np.round(images * 255) / step) * step / 255)


def _blended(images: Array, base: Array | float, strength: Array) -> Array:
    """Move images away from a base, or towards it."""
    return np.clip(base + (1 + 0.9 * strength) * (images - base), 0, 1)


def _color(images: Array, strength: Array) -> Array:
    return _blended(images, images.mean(axis=3, keepdims=True), strength)


def _contrast(images: Array, strength: Array) -> Array:
    return _blended(images, images.mean(axis=(1, 2, 3), keepdims=True), strength)


def _brightness(images: Array, strength: Array) -> Array:
    return _blended(images, 0.0, strength)


def _sharpness(images: Array, strength: Array) -> Array:
    smooth = images.copy()
    height, width = (max(0, side - 2) for side in images.shape[1:3])  # the border stays as it is
    around = [images[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    smooth[:, 1:-1, 1:-1] = (np.sum(around, axis=0) + 4 * around[4]) / 13
    return _blended(images, smooth, strength)


OPERATIONS: tuple[Callable[[Array, Array], Array], ...] = (
    lambda images, strength: images,
    _autocontrast,
    _equalize,
    lambda images, strength: _rotated(images, np.deg2rad(30) * strength[..., 0]),
    _solarize,
    _color,
    _posterize,
    _contrast,
    _brightness,
    _sharpness,
    lambda images, strength: _moved(images, ((1, 0), (0.3 * strength[..., 0], 1))),
    lambda images, strength: _moved(images, ((1, 0.3 * strength[..., 0]), (0, 1))),
    lambda images, strength: _moved(images, shift=(0, 0.45 * strength[..., 0])),
    lambda images, strength: _moved(images, shift=(0.45 * strength[..., 0], 0)),
)
"""The operations of RandAugment; the last four shear and translate along x and y."""


# ------------------------------------------------------------------ pixels at other places


def _rotated(images: Array, angle: Array) -> Array:
    return _moved(images, ((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))))


Matrix = tuple[tuple[Array | float, Array | float], tuple[Array | float, Array | float]]


def _moved(
    images: Array, matrix: Matrix = ((1, 0), (0, 1)), shift: tuple[Array | float, Array | float] = (0, 0)
) -> Array:
    """Return images whose pixel at (y, x) from the center comes from `matrix @ (y, x) + shift * sides`."""
    sides = images.shape[1:3]
    y, x = np.arange(sides[0])[:, None] - (sides[0] - 1) / 2, np.arange(sides[1]) - (sides[1] - 1) / 2
    rows, columns = (
        by_y * y + by_x * x + part * side + (side - 1) / 2
        for (by_y, by_x), part, side in zip(matrix, shift, sides, strict=True)
    )
    return _bilinear(images, np.asarray(rows), np.asarray(columns))


def _bilinear(images: Array, rows: Array, columns: Array) -> Array:
    """Return images at coordinates `(n, height, width)` in pixels; beyond an image, its edge."""
    count, height, width, channels = images.shape
    top, bottom, down = between(rows, height, images.dtype)
    left, right, across = between(columns, width, images.dtype)
    pixels = images.reshape(-1, channels)  # one index a pixel is much faster than three
    first = (np.arange(count) * height * width)[:, None, None]
    corners = [
        np.take(pixels, first + row * width + column, axis=0)
        for row in (top, bottom)
        for column in (left, right)
    ]
    upper, lower = (start + across * (end - start) for start, end in (corners[:2], corners[2:]))
    return np.asarray(upper * (1 - down) + lower * down)


def between(at: Array, size: int, dtype: np.dtype[Any]) -> tuple[Array, Array, Array]:
    """Return the places before and after coordinates, and the weight `(…, 1)` of the place after."""
    at = np.clip(at, 0, size - 1)
    before = at.astype(np.intp)
    return before, np.minimum(before + 1, size - 1), (at - before).astype(dtype)[..., None]


def _uniform(amount: float, shape: tuple[int, ...], like: Array, rng: Rng) -> Array:
    return rng.uniform(-amount, amount, size=shape).astype(like.dtype)
