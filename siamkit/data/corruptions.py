"""Corruptions of images, by kind and severity: NumPy and SciPy, in the images' own range of values.

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

from siamkit.data.preprocessing.scaling import with_channel
from siamkit.errors import DataError
from siamkit.registry.parameters import Choice

Array = np.ndarray[Any, np.dtype[Any]]
Rng = np.random.Generator

_CHUNK = 1 << 22  # values that are worked on at once


@dataclass(frozen=True, eq=False)
class Tones:
    """The values that the images of a dataset take, by channel: what 0, 1 and grey are to them.

    Prepared images have no range of their own any more; what they take tells it. So images that were
    scaled first and corrupted then are the same as the other way round.

    Args:
        low, high, mean: `(channels,)`.
    """

    low: Array
    high: Array
    mean: Array

    @classmethod
    def of(cls, views: Sequence[Array]) -> Tones:
        """Those of all images `(n, height, width, channels)` of all views."""
        rows = [view.reshape(-1, view.shape[-1]) for view in views]
        return cls(
            np.min([each.min(axis=0) for each in rows], axis=0),
            np.max([each.max(axis=0) for each in rows], axis=0),
            np.mean([each.mean(axis=0, dtype=np.float64) for each in rows], axis=0),
        )


def _noise(images: Array, deviation: float, tones: Tones, rng: Rng) -> Array:
    span = np.subtract(tones.high, tones.low, dtype=images.dtype)
    return images + deviation * span * rng.standard_normal(images.shape, dtype=np.float32)


def _impulse(images: Array, share: float, tones: Tones, rng: Rng) -> Array:
    """Salt and pepper: so many of the values are the highest or the lowest there is."""
    chance = rng.random(images.shape, dtype=np.float32)
    salted = np.where(chance < share / 2, tones.high, images)
    return np.where(chance >= 1 - share / 2, tones.low, salted)


def _blur(images: Array, sigma: float, tones: Tones, rng: Rng) -> Array:
    from scipy.ndimage import gaussian_filter

    # The severities are of images 32 pixels wide; larger ones are blurred as much for their size, smaller
    # ones by as many pixels, for below that nothing would be seen.
    pixels = sigma * max(1.0, min(images.shape[1:3]) / 32)
    blurred: Array = gaussian_filter(images, (0, pixels, pixels, 0), mode="nearest")
    return blurred


def _contrast(images: Array, share: float, tones: Tones, rng: Rng) -> Array:
    grey: Array = images.mean(axis=(1, 2), keepdims=True)
    return grey + share * (images - grey)


def _occlusion(images: Array, share: float, tones: Tones, rng: Rng) -> Array:
    """A square somewhere inside, of so much of the shorter side, in the mean colour."""
    count, *sides, _ = images.shape
    side = max(1, round(share * min(sides)))
    first = rng.integers(0, [length - side + 1 for length in sides], size=(count, 2))
    # (n, height) and (n, width): whether a row, a column runs through the square.
    down, along = (
        (start[:, None] <= np.arange(length)) & (np.arange(length) < start[:, None] + side)
        for start, length in zip(first.T, sides, strict=True)
    )
    return np.where((down[:, :, None] & along[:, None, :])[..., None], tones.mean, images)


# Of each kind what it does, and with how much at severity 1 to 5.
_KINDS: Mapping[str, tuple[Callable[[Array, float, Tones, Rng], Array], tuple[float, ...]]] = {
    "noise": (_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),  # deviation, of the range; ImageNet-C
    "impulse": (_impulse, (0.03, 0.06, 0.09, 0.17, 0.27)),  # share of values; ImageNet-C
    "blur": (_blur, (0.4, 0.6, 0.7, 0.8, 1.0)),  # deviation, of 1/32 of the side; CIFAR-10-C
    "contrast": (_contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),  # what is left of it; ImageNet-C
    "occlusion": (_occlusion, (0.2, 0.3, 0.4, 0.5, 0.6)),  # side of the square, of the shorter side
}

CORRUPTIONS = ("none", *(f"{kind}_{severity}" for kind in _KINDS for severity in range(1, 6)))
"""All there are, as a study file has them: `none`, `noise_1`, … `occlusion_5`."""


@dataclass(frozen=True)
class Corruption(Choice):
    """One of the corruptions; too many to list them all in an error."""

    def validate(self, value: object) -> Any:
        if value in self.options:
            return value
        kinds = ", ".join(_KINDS)
        raise ValueError(
            f"should be none, or a kind with its severity from 1 to 5 such as noise_3 (kinds: {kinds}), "
            f"got {value!r}"
        )


def corrupt(images: Array, corruption: str, tones: Tones, rng: Rng) -> Array:
    """Corrupted copies of images, clipped to the range of values that the images have.

    Args:
        images: `(n, height, width, channels)` or `(n, height, width)` numbers, raw or prepared; left alone.
        corruption: one of `CORRUPTIONS`: its kind and severity.
        tones: of the dataset that the images are of.
        rng: where the chance comes from.

    Returns:
        Images of the same shape and dtype.

    Raises:
        DataError: there is no such corruption.

    Example:
        >>> import numpy as np
        >>> from siamkit.data import Tones, corrupt
        >>> images = np.array([[0, 0], [0, 255]], dtype="uint8").reshape(1, 2, 2, 1)
        >>> corrupt(images, "contrast_1", Tones.of([images]), np.random.default_rng(0)).ravel().tolist()
        [38, 38, 38, 140]
    """
    match = re.fullmatch(r"([a-z]+)_([1-5])", corruption)
    if match is None or match[1] not in _KINDS:
        raise DataError(f"no corruption {corruption!r}; choose from {', '.join(CORRUPTIONS[1:])}")
    change, amounts = _KINDS[match[1]]
    items = with_channel(images)
    result = np.empty_like(items, subok=False)
    step = max(1, _CHUNK * len(items) // max(1, items.size))
    for start in range(0, len(items), step):
        part = items[start : start + step]
        # Bytes become float32, float64 stays.
        worked = part.astype(np.result_type(part.dtype, np.float32))
        worked = np.clip(change(worked, amounts[int(match[2]) - 1], tones, rng), tones.low, tones.high)
        result[start : start + step] = worked if items.dtype.kind == "f" else np.rint(worked)
    return result.reshape(images.shape)
