"""Ablation of training data: wrong labels, few items or classes, class imbalance, corrupted images.

A study varies these factors of its data. NumPy only; the input dataset is never changed.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from siamkit.data.dataset import Array, Dataset
from siamkit.data.preprocessing import single
from siamkit.data.preprocessing.scaling import with_channel
from siamkit.data.splits import rank_in_group, stratified_order
from siamkit.errors import DataError, listed
from siamkit.registry.parameters import Choice, Float, Int, Param

Rng = np.random.Generator

_CHUNK_VALUES = 1 << 22  # values that are corrupted at a time


@dataclass(frozen=True, eq=False)
class ChannelStats:
    """The lowest, highest and mean value of each channel of a dataset's images.

    Corruptions use them as black, white and grey, because prepared images no longer have their original
    range. So scaling before corrupting gives the same images as scaling afterwards.

    Args:
        low, high, mean: `(channels,)`, the lowest, highest and mean value of each channel.
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
    """The parameter that names a corruption; its error lists only some of the many corruptions."""

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
        stats: channel statistics of the dataset that the images belong to.
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


FACTORS: Mapping[str, Param] = {
    "label_noise": Float(0.0, minimum=0, maximum=1, help="fraction of labels that are wrong"),
    "items_per_class": Int(None, minimum=2, help="maximum number of items per class; all if null"),
    "num_classes": Int(None, minimum=2, help="maximum number of classes; all if null"),
    "imbalance": Float(1.0, minimum=1, help="size of the largest class divided by that of the smallest"),
    "corruption": Corruption("none", options=CORRUPTIONS, help="corruption of the images"),
}
"""The factors that can be varied and their valid values; the defaults change nothing."""

MIN_CLASS_ITEMS = 2  # that ablation leaves in a class: a single item has no other item like it


def ablate(
    dataset: Dataset,
    *,
    label_noise: float = 0.0,
    items_per_class: int | None = None,
    num_classes: int | None = None,
    imbalance: float = 1.0,
    corruption: str = "none",
    seed: int,
) -> Dataset:
    """Return an ablated copy of a dataset; the same dataset, arguments and seed always give the same copy.

    The steps, in order: choose classes, choose their items, make labels wrong, corrupt images. With one
    seed the results are nested: 5 items per class are among the 20 items per class, 3 classes among the 8
    classes, and the labels wrong at a noise of 0.1 are among those wrong at 0.2. Each class keeps at least
    2 of its items.

    Args:
        dataset: the items, raw or prepared; not changed, and only the selected items are copied.
        label_noise: the fraction of items, from 0 to 1, whose label is wrong, rounded to a whole number of
            items, stratified by class. A wrong label is one of the other classes, with equal probability
            (symmetric noise: Patrini et al., Making Deep Neural Networks Robust to Label Noise, CVPR 2017); a
            wrong pair has the opposite target. If a class would be left with fewer than 2 items, other
            mislabelled items are assigned to it; if there are none, its last item is left out.
        items_per_class: the maximum number of items per class, from 2; None for all.
        num_classes: the maximum number of classes, from 2; None for all.
        imbalance: the size of the largest class divided by that of the smallest, from 1. The sizes in
            between decrease exponentially (Cui et al., Class-Balanced Loss Based on Effective Number of
            Samples, CVPR 2019). Larger classes come first, classes of equal size in random order. Data that
            are imbalanced already stay at least as imbalanced.
        corruption: the corruption of every image, one of `siamkit.data.ablation.CORRUPTIONS`.
        seed: random seed.

    Raises:
        DataError: a value is out of range, or the factor does not apply to such data.

    Example:
        >>> import numpy as np
        >>> from siamkit.data import Dataset, ablate
        >>> items = Dataset((np.zeros((80, 3)),), np.repeat([0, 1, 2, 3], 20), "labels", "vector")
        >>> np.bincount(ablate(items, imbalance=8, seed=0).target).tolist()
        [10, 5, 20, 2]
        >>> few = ablate(items, items_per_class=5, label_noise=0.2, seed=0)
        >>> len(few), int((few.target != items.target[few.ids.astype(int)]).sum())
        (20, 4)
    """
    values = {
        "label_noise": label_noise,
        "items_per_class": items_per_class,
        "num_classes": num_classes,
        "imbalance": imbalance,
        "corruption": corruption,
    }
    _check(dataset, values, seed)
    rows = np.arange(len(dataset))
    if (items_per_class, num_classes, imbalance) != (None, None, 1):
        rows = _kept_rows(dataset.codes, items_per_class, num_classes, imbalance, seed)
    changes: dict[str, Any] = {}
    if label_noise and dataset.supervision == "pairs":
        changes["target"] = _flipped(np.asarray(dataset.target), label_noise, _rng(seed, "labels"))
    elif label_noise:
        present, codes = np.unique(dataset.codes[rows], return_inverse=True)
        noisy, usable = _mislabeled(codes, label_noise, _rng(seed, "labels"))
        rows, changes["target"] = rows[usable], dataset.classes[present[noisy[usable]]]
    kept = dataset if len(rows) == len(dataset) else dataset.take(rows)
    if corruption != "none":
        stats = ChannelStats.of_images([with_channel(single(view)) for view in dataset.views])
        rng = _rng(seed, "images")
        changes["views"] = tuple(corrupt(single(view), corruption, stats, rng) for view in kept.views)
    return dataclasses.replace(kept, **changes) if changes else kept


def factor_misfit(factor: str, supervision: str, kind: str) -> str | None:
    """Return why a factor does not apply to data of this supervision and kind of input, or None if it does.

    The text is the end of a sentence that begins with the factor.
    """
    reason = _misfit(factor, supervision, kind)
    if reason is None:
        return None
    fitting = [name for name in FACTORS if _misfit(name, supervision, kind) is None]
    return f"{reason}; {listed(fitting) or 'no factor of such data'} can be varied"


def _misfit(factor: str, supervision: str, kind: str) -> str | None:
    if factor == "corruption":
        return None if kind == "image" else f"applies to images, but the data are {kind}"
    if supervision == "labels" or (supervision == "pairs" and factor == "label_noise"):
        return None
    required = "labels" if factor == "label_noise" else "classes"
    return f"needs {required}, but the data give {supervision}"


def _check(dataset: Dataset, values: Mapping[str, Any], seed: object) -> None:
    for name, value in values.items():
        try:
            FACTORS[name].validate(value)
        except ValueError as error:
            raise DataError(f"{name} {error}") from None
        reason = factor_misfit(name, dataset.supervision, dataset.input)
        if value != FACTORS[name].default and reason is not None:
            raise DataError(f"{name} {reason}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise DataError(f"seed should be a whole number from 0, got {seed!r}")


def _rng(seed: int, step: str) -> np.random.Generator:
    """Return a step's own random generator, so that one step does not change what another draws."""
    return np.random.default_rng((int(seed), ("classes", "items", "labels", "images").index(step)))


def _kept_rows(
    codes: Array, items_per_class: int | None, num_classes: int | None, imbalance: float, seed: int
) -> Array:
    """Return the rows of the selected items, `(m,)`, sorted."""
    sizes = np.bincount(codes)
    chosen = _rng(seed, "classes").permutation(len(sizes))[:num_classes]
    quota = np.zeros_like(sizes)
    quota[chosen] = np.minimum(sizes[chosen], len(codes) if items_per_class is None else items_per_class)
    if imbalance > 1:
        chosen = chosen[np.argsort(-quota[chosen], kind="stable")]
        divisors = imbalance ** (np.arange(len(chosen)) / max(1, len(chosen) - 1))
        # Rounded down as in the reference; the small number undoes rounding errors of the division.
        profile = np.maximum(MIN_CLASS_ITEMS, np.floor(quota.max() / divisors + 1e-9)).astype(quota.dtype)
        quota[chosen] = np.minimum(quota[chosen], profile)
    order = _rng(seed, "items").permutation(len(codes))
    shuffled = codes[order]
    return np.sort(order[rank_in_group(shuffled) < quota[shuffled]])


def _flipped(target: Array, fraction: float, rng: np.random.Generator) -> Array:
    wrong = stratified_order(target, rng)[: round(fraction * len(target))]
    flipped = target.copy()
    flipped[wrong] = 1 - flipped[wrong]
    return flipped


def _mislabeled(codes: Array, fraction: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the classes `(n,)` with wrong ones among them, and which items `(n,)` can still be used.

    An item can be used if its class has at least 2 items, or as many as before.
    """
    sizes_before = np.bincount(codes)
    if len(sizes_before) < 2:
        raise DataError("label_noise needs at least 2 classes, got 1")
    wrong = stratified_order(codes, rng)[: round(fraction * len(codes))]
    # Drawn for all items: those that are wrong at a smaller fraction get the same wrong label.
    steps = rng.integers(1, len(sizes_before), size=len(codes))
    noisy = codes.copy()
    noisy[wrong] = (codes[wrong] + steps[wrong]) % len(sizes_before)
    required = np.minimum(sizes_before, MIN_CLASS_ITEMS)
    sizes = np.bincount(noisy, minlength=len(sizes_before))
    for short in np.repeat(np.arange(len(sizes_before)), np.maximum(required - sizes, 0)):
        # Items that their present class can spare, and of these the ones that do not truly belong to `short`.
        spare = wrong[sizes[noisy[wrong]] > required[noisy[wrong]]]
        spare_others = spare[codes[spare] != short]
        others = wrong[(codes[wrong] != short) & (noisy[wrong] != short)]
        if not len(spare) or not len(others):
            continue
        if len(spare_others):
            moved = giver = rng.choice(spare_others)
        else:
            moved, giver = rng.choice(others), rng.choice(spare)
        sizes[noisy[giver]] -= 1
        sizes[short] += 1
        # If all spare items truly belong to `short`, one of them replaces the item that moves there.
        noisy[giver], noisy[moved] = noisy[moved], short
    return noisy, sizes[noisy] >= required[noisy]
