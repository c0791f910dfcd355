"""Training data made worse on purpose: labels wrong, items or classes few, classes skewed, images corrupted.

What a study varies of its data. NumPy alone; the dataset that is given is never changed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from siamkit.data.corruptions import CORRUPTIONS, Corruption, Tones, corrupt
from siamkit.data.dataset import Array, Dataset
from siamkit.data.preprocessing.base import single
from siamkit.data.preprocessing.scaling import with_channel
from siamkit.data.splits import ranks, spread
from siamkit.errors import DataError, listed
from siamkit.registry.parameters import Float, Int, Param

FACTORS: Mapping[str, Param] = {
    "label_noise": Float(0.0, minimum=0, maximum=1, help="share of labels that are wrong"),
    "items_per_class": Int(None, minimum=2, help="at most so many items a class; all if null"),
    "num_classes": Int(None, minimum=2, help="at most so many classes; all if null"),
    "imbalance": Float(1.0, minimum=1, help="items of the largest class to those of the smallest"),
    "corruption": Corruption("none", options=CORRUPTIONS, help="what is done to images"),
}
"""What can be made worse, and by what values; the default leaves it as it is."""

LEAST = 2  # items that a class keeps: with one alone there is nothing alike


def degrade(
    dataset: Dataset,
    *,
    label_noise: float = 0.0,
    items_per_class: int | None = None,
    num_classes: int | None = None,
    imbalance: float = 1.0,
    corruption: str = "none",
    seed: int,
) -> Dataset:
    """A worse copy of a dataset; the same dataset, arguments and seed always give the same one.

    Classes are chosen first, then their items, then labels go wrong, then images are corrupted. What one
    seed keeps is nested: of 5 items a class all are among its 20, of 3 classes all among its 8, and what is
    wrong at a noise of 0.1 is wrong at 0.2. Each class keeps at least 2 of its items.

    Args:
        dataset: the items, raw or prepared; left alone, and only what is kept is copied.
        label_noise: the share of items, from 0 to 1, whose label is wrong: exactly the nearest whole number,
            shared out fairly among the classes. The wrong one is any of the other classes, evenly
            (symmetric noise: Patrini et al., Making Deep Neural Networks Robust to Label Noise, CVPR 2017);
            of pairs it is the other one. Where a class would be left with fewer than 2 items, others that
            are wrong anyway go to it; the last item of a class for which there are none is left out.
        items_per_class: the most items that a class has, from 2; None for all.
        num_classes: the most classes, from 2; None for all.
        imbalance: how many times as many items the largest class has as the smallest, from 1. In between
            they fall exponentially (Cui et al., Class-Balanced Loss Based on Effective Number of Samples,
            CVPR 2019). Larger classes come first, and those of one size in the order of the seed. Data that
            are skewed already are so at least as much.
        corruption: what is done to every image, one of `siamkit.data.corruptions.CORRUPTIONS`.
        seed: what chance starts from.

    Raises:
        DataError: a value that is out of range, or is not for such data.

    Example:
        >>> import numpy as np
        >>> from siamkit.data import Dataset
        >>> from siamkit.data import degrade
        >>> items = Dataset((np.zeros((80, 3)),), np.repeat([0, 1, 2, 3], 20), "labels", "vector")
        >>> np.bincount(degrade(items, imbalance=8, seed=0).target).tolist()
        [10, 5, 20, 2]
        >>> scarce = degrade(items, items_per_class=5, label_noise=0.2, seed=0)
        >>> len(scarce), int((scarce.target != items.target[scarce.ids.astype(int)]).sum())
        (20, 4)
    """
    asked = {
        "label_noise": label_noise,
        "items_per_class": items_per_class,
        "num_classes": num_classes,
        "imbalance": imbalance,
        "corruption": corruption,
    }
    _check(dataset, asked, seed)
    rows = np.arange(len(dataset))
    if (items_per_class, num_classes, imbalance) != (None, None, 1):
        rows = _kept(dataset.codes, items_per_class, num_classes, imbalance, seed)
    changes: dict[str, Any] = {}
    if label_noise and dataset.supervision == "pairs":
        changes["target"] = _flipped(np.asarray(dataset.target), label_noise, _rng(seed, "labels"))
    elif label_noise:
        present, codes = np.unique(dataset.codes[rows], return_inverse=True)
        noisy, fine = _mislabelled(codes, label_noise, _rng(seed, "labels"))
        rows, changes["target"] = rows[fine], dataset.classes[present[noisy[fine]]]
    taken = dataset if len(rows) == len(dataset) else dataset.take(rows)
    if corruption != "none":
        tones = Tones.of([with_channel(single(view)) for view in dataset.views])
        rng = _rng(seed, "images")
        changes["views"] = tuple(corrupt(single(view), corruption, tones, rng) for view in taken.views)
    return dataclasses.replace(taken, **changes) if changes else taken


def misfit(factor: str, supervision: str, kind: str) -> str | None:
    """Why data of this supervision and kind of input do not have a factor, the end of a sentence; or None."""
    reason = _misfit(factor, supervision, kind)
    if reason is None:
        return None
    fit = [name for name in FACTORS if _misfit(name, supervision, kind) is None]
    return f"{reason}; {listed(fit) or 'nothing of such data'} can be varied"


def _misfit(factor: str, supervision: str, kind: str) -> str | None:
    if factor == "corruption":
        return None if kind == "image" else f"is done to images, but the data are {kind}"
    if supervision == "labels" or (supervision == "pairs" and factor == "label_noise"):
        return None
    wanted = "wants labels" if factor == "label_noise" else "is about classes"
    return f"{wanted}, but the data give {supervision}"


def _check(dataset: Dataset, asked: Mapping[str, Any], seed: object) -> None:
    for name, value in asked.items():
        try:
            FACTORS[name].validate(value)
        except ValueError as error:
            raise DataError(f"{name} {error}") from None
        reason = misfit(name, dataset.supervision, dataset.input)
        if value != FACTORS[name].default and reason is not None:
            raise DataError(f"{name} {reason}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise DataError(f"seed should be a whole number from 0, got {seed!r}")


def _rng(seed: int, what: str) -> np.random.Generator:
    """Chance of its own for each step, so that one step does not change what another draws."""
    return np.random.default_rng((int(seed), ("classes", "items", "labels", "images").index(what)))


def _kept(codes: Array, most: int | None, classes: int | None, ratio: float, seed: int) -> Array:
    """`(m,)` the items that are kept, sorted."""
    sizes = np.bincount(codes)
    chosen = _rng(seed, "classes").permutation(len(sizes))[:classes]
    quota = np.zeros_like(sizes)
    quota[chosen] = np.minimum(sizes[chosen], len(codes) if most is None else most)
    if ratio > 1:
        chosen = chosen[np.argsort(-quota[chosen], kind="stable")]
        falling = ratio ** (np.arange(len(chosen)) / max(1, len(chosen) - 1))
        # Whole numbers as the reference has them, rounded down; what rounding errors took is given back.
        profile = np.maximum(LEAST, np.floor(quota.max() / falling + 1e-9)).astype(quota.dtype)
        quota[chosen] = np.minimum(quota[chosen], profile)
    order = _rng(seed, "items").permutation(len(codes))
    shuffled = codes[order]
    return np.sort(order[ranks(shuffled) < quota[shuffled]])


def _flipped(target: Array, share: float, rng: np.random.Generator) -> Array:
    wrong = spread(target, rng)[: round(share * len(target))]
    flipped = target.copy()
    flipped[wrong] = 1 - flipped[wrong]
    return flipped


def _mislabelled(codes: Array, share: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """The classes `(n,)` with wrong ones among them, and `(n,)` which items have one like them still."""
    before = np.bincount(codes)
    if len(before) < 2:
        raise DataError("label_noise wants 2 classes at least to take one for another")
    wrong = spread(codes, rng)[: round(share * len(codes))]
    # Drawn for all items: those that are wrong at a smaller share are wrong in the same way.
    steps = rng.integers(1, len(before), size=len(codes))
    noisy = codes.copy()
    noisy[wrong] = (codes[wrong] + steps[wrong]) % len(before)
    least = np.minimum(before, LEAST)
    sizes = np.bincount(noisy, minlength=len(before))
    for poor in np.repeat(np.arange(len(before)), np.maximum(least - sizes, 0)):
        rich = wrong[sizes[noisy[wrong]] > least[noisy[wrong]]]
        spare = rich[codes[rich] != poor]
        others = wrong[(codes[wrong] != poor) & (noisy[wrong] != poor)]
        if not len(rich) or not len(others):
            continue
        moved, giver = (rng.choice(spare),) * 2 if len(spare) else (rng.choice(others), rng.choice(rich))
        sizes[noisy[giver]] -= 1
        sizes[poor] += 1
        # Where all that could be spared are this class's own, one of them takes another's place.
        noisy[giver], noisy[moved] = noisy[moved], poor
    return noisy, sizes[noisy] >= least[noisy]
