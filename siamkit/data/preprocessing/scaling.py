"""Preprocessors of images, vectors and series: standardized to mean 0 and deviation 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from siamkit.data.dataset import Array, Leaf, check_channels_last
from siamkit.data.preprocessing import Preprocessor, single
from siamkit.data.sources.images import Resizing, resize
from siamkit.errors import DataError, nearest
from siamkit.registry.specs import IMAGE_FITS

_CHUNK_VALUES = 1 << 22  # that are processed at a time


@dataclass(frozen=True, eq=False)
class ImageScaler(Preprocessor):
    """A preprocessor of images: resizes them to one size and standardizes each channel as in training.

    Takes `(n, height, width, channels)` or `(n, height, width)`, bytes or floats with the value range they
    had in training; also an object array of images of different sizes. Images whose size differs from the
    training images' are resized bilinearly, as `image_fit` says.

    Args:
        size: (height, width) of prepared images, in pixels.
        mean, std: `(channels,)`, mean and standard deviation, in the units of the raw images.
        low, high: the usual range that holds the values of the training images, such as 0 to 1 or 0 to 255;
            None in old files, where values are not checked.
        whole: whether the training images had whole numbers.
        image_fit: how images of another shape fit into `size`: `crop` at the center, `pad` with the highest
            value, or `stretch`, as in files of earlier versions.

    Raises:
        DataError: images have other values than in training, such as 0 to 1 instead of 0 to 255.
    """

    kind: ClassVar[str] = "image_scaler"

    size: tuple[int, int]
    mean: Array
    std: Array
    low: float | None = None
    high: float | None = None
    whole: bool = False
    image_fit: str = "stretch"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _sizes(self.size, 2))
        if self.image_fit not in IMAGE_FITS:
            raise DataError(f"unknown image_fit {self.image_fit!r}; {nearest(self.image_fit, IMAGE_FITS)}")
        _check(self.mean, self.std)

    @classmethod
    def fit(cls, views: Sequence[Leaf], image_fit: str = "crop") -> ImageScaler:
        """Fit on the training images of all views; their size becomes the size of prepared images."""
        images = [with_channel(single(view)) for view in views]
        lowest = min(float(view.min()) for view in images)
        highest = max(float(view.max()) for view in images)
        whole = all(view.dtype.kind in "iu" for view in images)
        # The usual scale that holds them: dark training images do not mean that bright ones are wrong.
        largest = max(abs(lowest), abs(highest))
        high = next((scale for scale in (1.0, 255.0, 65535.0) if largest <= scale), largest)
        low = 0.0 if lowest >= 0 else -high
        return cls(images[0].shape[1:3], *moments(_same(images)), low, high, whole, image_fit)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (*self.size, len(self.mean))

    def __call__(self, leaf: Leaf) -> Array:
        images = single(leaf)
        if images.dtype == object:
            resized = [self._resize(np.asarray(image)[None]) for image in images]
            images = np.concatenate(resized) if resized else np.empty((0, *self.input_shape))
        else:
            images = self._resize(images)
        return _scale(images, self.mean, self.std)

    def restored(self, leaf: Leaf) -> Array:
        return single(leaf) * self.std + self.mean

    def config(self) -> dict[str, Any]:
        return {
            "size": list(self.size),
            "low": self.low,
            "high": self.high,
            "whole": self.whole,
            "image_fit": self.image_fit,
        }

    def arrays(self) -> dict[str, Array]:
        return {"mean": self.mean, "std": self.std}

    def _resize(self, images: Array) -> Array:
        from PIL import Image

        if len(self.mean) == 1:
            images = with_channel(images)
        if images.ndim != 4 or images.shape[3] != len(self.mean) or images.dtype.kind not in "biuf":
            check_channels_last("images", images)
            raise DataError(
                f"images should have {len(self.mean)} channels, (n, height, width, "
                f"{len(self.mean)}), got {images.dtype} of shape {images.shape}"
            )
        self._check_range(images)
        if images.shape[1:3] == self.size:
            return images
        resizing, white = Resizing(self.size, self.image_fit), 255.0 if self.high is None else self.high
        resized = np.empty((len(images), *self.input_shape), dtype=np.float32)
        for image, result in zip(images, resized, strict=True):
            for channel in range(len(self.mean)):
                plane = Image.fromarray(np.ascontiguousarray(image[..., channel], dtype=np.float32))
                result[..., channel] = resize(plane, resizing, white)
        return resized

    def _check_range(self, images: Array) -> None:
        """Raise DataError for images whose values were scaled differently from the training images'."""
        if self.low is None or self.high is None or not images.size:
            return
        low, high = float(images.min()), float(images.max())
        slack = (self.high - self.low) / 2
        is_beyond = low < self.low - slack or high > self.high + slack
        # Fractions of a small range where training had whole numbers, such as 0 to 1 instead of 0 to 255.
        is_shrunk = (
            self.whole
            and images.dtype.kind == "f"
            and self.high > 100 * max(abs(low), abs(high))
            and bool((images != np.floor(images)).any())
        )
        if is_beyond or is_shrunk or (images.dtype.kind == "b" and self.high > 1):
            raise DataError(
                f"images should have values from {self.low:g} to {self.high:g}, as in training, got "
                f"{images.dtype} from {low:g} to {high:g}; scale them in the same way"
            )


@dataclass(frozen=True, eq=False)
class Standardizer(Preprocessor):
    """A preprocessor of vectors and series: standardizes each feature by its mean and deviation in training.

    A feature that is constant in training is only centered.

    Args:
        shape: shape of an item, `(features,)` or `(steps, features)`.
        mean, std: `(features,)`, mean and standard deviation.
    """

    kind: ClassVar[str] = "standardizer"

    shape: tuple[int, ...]
    mean: Array
    std: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _sizes(self.shape, len(self.shape)))
        _check(self.mean, self.std)
        if self.mean.shape != self.shape[-1:]:
            raise DataError(f"mean and std should be of shape {self.shape[-1:]}, got {self.mean.shape}")

    @classmethod
    def fit(cls, views: Sequence[Leaf]) -> Standardizer:
        """Fit on the training items of all views."""
        items = _same([single(view) for view in views])
        return cls(items[0].shape[1:], *moments(items))

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.shape

    @property
    def facts(self) -> dict[str, Any]:
        # A vector is also a row of a table of numbers without missing ones.
        numeric = [str(number) for number in range(*self.shape)] if len(self.shape) == 1 else None
        return {} if numeric is None else {"columns": {"numeric": numeric, "categorical": {}}}

    def __call__(self, leaf: Leaf) -> Array:
        items = single(leaf)
        if items.shape[1:] != self.shape or items.dtype.kind not in "biuf":
            raise DataError(
                f"items should be numbers of shape {self.shape}, got {items.dtype} of shape {items.shape[1:]}"
            )
        return _scale(items, self.mean, self.std)

    def restored(self, leaf: Leaf) -> Array:
        return single(leaf) * self.std + self.mean

    def config(self) -> dict[str, Any]:
        return {"shape": list(self.shape)}

    def arrays(self) -> dict[str, Array]:
        return {"mean": self.mean, "std": self.std}


def with_channel(images: Array) -> Array:
    """Return images `(n, height, width)` as `(n, height, width, 1)`, and others unchanged."""
    return images[..., None] if images.ndim == 3 else images


def _same(items: list[Array]) -> list[Array]:
    for view in items:
        if view.shape[1:] != items[0].shape[1:]:
            raise DataError(
                f"all views should hold items of one shape, got {items[0].shape[1:]} and {view.shape[1:]}"
            )
    return items


def _chunks(items: Array) -> Iterator[slice]:
    """Return slices of items that are small enough to be processed in float64."""
    step = max(1, _CHUNK_VALUES * len(items) // max(1, items.size))
    return (slice(start, start + step) for start in range(0, len(items), step))


def moments(views: Sequence[Array]) -> tuple[Array, Array]:
    """Return mean and deviation `(features,)` over all axes but the last; in two passes, for accuracy."""
    features = views[0].shape[-1]
    count = sum(view.size for view in views) // max(1, features)
    rows = [view[part].reshape(-1, features) for view in views for part in _chunks(view)]
    mean = sum(np.sum(chunk, axis=0, dtype=np.float64) for chunk in rows) / count
    variance = sum(np.sum((chunk - mean) ** 2, axis=0) for chunk in rows) / count
    std = np.sqrt(variance)
    # The mean of a constant feature is rounded, so its deviation may be slightly above 0.
    constant = std <= 8 * np.finfo(np.float64).eps * np.abs(mean)
    return mean, np.where(constant, 1.0, std)


def _scale(items: Array, mean: Array, std: Array) -> Array:
    scaled = np.empty(items.shape, dtype=np.float32)
    for part in _chunks(items):
        scaled[part] = (items[part] - mean) / std
    return scaled


def _sizes(shape: Sequence[int], axes: int) -> tuple[int, ...]:
    sizes = tuple(shape)
    if len(sizes) != axes or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise DataError(f"a shape should be {axes} whole numbers above 0, got {shape!r}")
    return sizes


def _check(mean: Array, std: Array) -> None:
    are_floats = all(isinstance(values, np.ndarray) and values.dtype.kind == "f" for values in (mean, std))
    if not are_floats or mean.ndim != 1 or mean.shape != std.shape or not np.isfinite(mean).all():
        raise DataError("mean and std should be one number per feature")
    if not (np.isfinite(std) & (std > 0)).all():
        raise DataError("std should be above 0")
