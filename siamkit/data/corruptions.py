"""Image corruptions by kind and severity, with NumPy and SciPy, within the value range of the images.

The kinds and most severities are those of ImageNet-C and CIFAR-10-C (Hendrycks and Dietterich, Benchmarking
Neural Network Robustness to Common Corruptions and Perturbations, ICLR 2019); occlusion is the square of
Cutout (DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, 2017).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from siamkit.data.dataset import Array
from siamkit.data.preprocessing.scaling import with_channel
from siamkit.errors import DataError
from siamkit.registry.parameters import Choice

Rng = np.random.Generator

_CHUNK_VALUES = 1 << 22  # values that are corrupted at a time


@dataclass(frozen=True, eq=False)
class ChannelStats:
    """The lowest, highest and mean value of each channel of a dataset's images.

    They stand for black, white and grey: prepared images have lost their own range. So scaling before
    corrupting gives the same images as scaling afterwards.

    Args:
        low, high, mean: `(channels,)`.
    """

    low: Array
    high: Array
    mean: Array

    @classmethod
    def of_images(cls, views: Sequence[Array]) -> ChannelStats:
        """Return the statistics of all images `(n, height, width, channels)` of all views."""
        pixels = [view.reshape(-1, view.shape[-1]) for view in views]
        return cls(
            np.min([view.min(axis=0) for view in pixels], axis=0),
            np.max([view.max(axis=0) for view in pixels], axis=0),
            np.mean([view.mean(axis=0, dtype=np.float64) for view in pixels], axis=0),
        )


def _noise(images: Array, deviation: float, stats: ChannelStats, rng: Rng) -> Array:
    span = np.subtract(stats.high, stats.low, dtype=images.dtype)
    return images + deviation * span * rng.standard_normal(images.shape, dtype=np.float32)


def _impulse(images: Array, fraction: float, stats: ChannelStats, rng: Rng) -> Array:
    """Set this fraction of the values to the lowest or the highest value (salt and pepper)."""
    draw = rng.random(images.shape, dtype=np.float32)
    salted = np.where(draw < fraction / 2, stats.high, images)
    return np.where(draw >= 1 - fraction / 2, stats.low, salted)


def _blur(images: Array, sigma: float, stats: ChannelStats, rng: Rng) -> Array:
    from scipy.ndimage import gaussian_filter

    # The severities are for images 32 pixels wide. In larger images sigma grows with the size; in smaller
    # ones it stays the same number of pixels, because less would be invisible.
    pixels = sigma * max(1.0, min(images.shape[1:3]) / 32)
    blurred: Array = gaussian_filter(images, (0, pixels, pixels, 0), mode="nearest")
    return blurred


def _contrast(images: Array, factor: float, stats: ChannelStats, rng: Rng) -> Array:
    grey: Array = images.mean(axis=(1, 2), keepdims=True)
    return grey + factor * (images - grey)


def _occlusion(images: Array, fraction: float, stats: ChannelStats, rng: Rng) -> Array:
    """Cover a square at a random position, this fraction of the shorter side wide, with the mean color."""
    count, *sides, _ = images.shape
    side = max(1, round(fraction * min(sides)))
    first = rng.integers(0, [length - side + 1 for length in sides], size=(count, 2))
    # (n, height) and (n, width): whether the square covers a row, a column.
    rows, columns = (
        (start[:, None] <= np.arange(length)) & (np.arange(length) < start[:, None] + side)
        for start, length in zip(first.T, sides, strict=True)
    )
    return np.where((rows[:, :, None] & columns[:, None, :])[..., None], stats.mean, images)


# The function of each kind, and its amount at severity 1 to 5.
_KINDS: Mapping[str, tuple[Callable[[Array, float, ChannelStats, Rng], Array], tuple[float, ...]]] = {
    "noise": (_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),  # deviation / value range; ImageNet-C
    "impulse": (_impulse, (0.03, 0.06, 0.09, 0.17, 0.27)),  # fraction of the values; ImageNet-C
    "blur": (_blur, (0.4, 0.6, 0.7, 0.8, 1.0)),  # deviation in 1/32 of the side; CIFAR-10-C
    "contrast": (_contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),  # factor; ImageNet-C
    "occlusion": (_occlusion, (0.2, 0.3, 0.4, 0.5, 0.6)),  # side of the square / shorter side
}

CORRUPTIONS = ("none", *(f"{kind}_{severity}" for kind in _KINDS for severity in range(1, 6)))
"""All corruptions, as a study file names them: `none`, `noise_1`, … `occlusion_5`."""


@dataclass(frozen=True)
class Corruption(Choice):
    """The parameter that names a corruption; there are too many to list them all in an error."""

    def validate(self, value: object) -> Any:
        if value in self.options:
            return value
        kinds = ", ".join(_KINDS)
        raise ValueError(
            f"should be none, or a kind with its severity from 1 to 5 such as noise_3 (kinds: {kinds}), "
            f"got {value!r}"
        )


def corrupt(images: Array, corruption: str, stats: ChannelStats, rng: Rng) -> Array:
    """Return corrupted copies of images, clipped to the value range of the dataset.

    Args:
        images: `(n, height, width, channels)` or `(n, height, width)` numbers, raw or prepared; not changed.
        corruption: one of `CORRUPTIONS` except `none`.
        stats: of the dataset that the images belong to.
        rng: random generator.

    Returns:
        Images of the same shape and dtype.

    Raises:
        DataError: the corruption does not exist.

    Example:
        >>> import numpy as np
        >>> from siamkit.data import ChannelStats, corrupt
        >>> images = np.array([[0, 0], [0, 255]], dtype="uint8").reshape(1, 2, 2, 1)
        >>> stats = ChannelStats.of_images([images])
        >>> corrupt(images, "contrast_1", stats, np.random.default_rng(0)).ravel().tolist()
        [38, 38, 38, 140]
    """
    match = re.fullmatch(r"([a-z]+)_([1-5])", corruption)
    if match is None or match[1] not in _KINDS:
        raise DataError(f"unknown corruption {corruption!r}; choose from {', '.join(CORRUPTIONS[1:])}")
    change, amounts = _KINDS[match[1]]
    items = with_channel(images)
    result = np.empty_like(items, subok=False)
    step = max(1, _CHUNK_VALUES * len(items) // max(1, items.size))
    for start in range(0, len(items), step):
        chunk = items[start : start + step]
        # Bytes become float32, float64 stays.
        values = chunk.astype(np.result_type(chunk.dtype, np.float32))
        values = np.clip(change(values, amounts[int(match[2]) - 1], stats, rng), stats.low, stats.high)
        result[start : start + step] = values if items.dtype.kind == "f" else np.rint(values)
    return result.reshape(images.shape)
