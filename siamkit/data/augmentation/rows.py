"""Augmentations of rows of values: vectors, tables, series, token ids, and texts."""

from __future__ import annotations

import numpy as np

from siamkit.data.augmentation.images import between
from siamkit.data.dataset import Array, Leaf

Rng = np.random.Generator


# ------------------------------------------------------------------ vectors (n, features), and tables


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
    before, after, share = between(at, series.shape[1], series.dtype)
    item = np.arange(len(series))[:, None]
    return np.asarray(series[item, before] * (1 - share) + series[item, after] * share)


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


# ------------------------------------------------------------------ texts (n,), before they become token ids


def typos(texts: Array, rng: Rng, probability: float = 0.05) -> Array:
    """Change each character with this probability: insert one before it, delete, replace or swap it.

    A swap is with the next character. New characters are drawn from those of all the texts, so they are of
    the same script. No text becomes empty.
    """
    letters = sorted(set("".join(texts)))
    changed = texts.copy()
    for number, text in enumerate(texts):
        characters = list(text)
        places = np.flatnonzero(rng.random(len(text)) < probability)
        kinds, drawn = rng.integers(0, 4, len(places)), rng.integers(0, max(1, len(letters)), len(places))
        # From the end, so that earlier places stay what they are.
        for place, kind, letter in reversed(list(zip(places.tolist(), kinds, drawn, strict=True))):
            if kind == 0:
                characters.insert(place, letters[letter])
            elif kind == 1:
                del characters[place]
            elif kind == 2:
                characters[place] = letters[letter]
            else:
                characters[place : place + 2] = characters[place : place + 2][::-1]
        changed[number] = "".join(characters) or text
    return changed
