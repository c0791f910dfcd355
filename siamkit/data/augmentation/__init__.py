"""Augmentation: random changes of prepared training items that leave what they are unchanged. No Keras.

An augmentation is a function of prepared items and a random generator, as `Preprocessor.vary` is, and a feed
applies both to each view of each batch. So two views of one item differ, and an item differs in each epoch.
Prepared numbers have mean 0 and deviation 1 in training: amounts are in these deviations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from siamkit.data.augmentation import images, rows
from siamkit.data.dataset import Leaf
from siamkit.data.preprocessing import Preprocessor
from siamkit.errors import DataError, listed, nearest
from siamkit.registry.parameters import Float, Int, Param

Rng = np.random.Generator
Vary = Callable[[Leaf, Rng], Leaf]
"""A function that changes prepared items at random; it keeps their shape and dtype."""

Recipe = str | Mapping[str, Mapping[str, Any] | None] | None
"""What to apply: a preset, the name of an augmentation, or `{name: parameters, …}`, applied in this order."""


@dataclass(frozen=True)
class Augmentation:
    """An augmentation that a study can name.

    Args:
        change: the function of items, a random generator and the parameters.
        kinds: the kinds of input that it is for.
        params: its parameters.
        is_raw: whether it changes items as they are before they are prepared.
    """

    change: Callable[..., Any]
    kinds: tuple[str, ...]
    params: Mapping[str, Param] = field(default_factory=dict)
    is_raw: bool = False


def _share(default: float, high: float) -> Float:
    return Float(default, low=0.0, high=high, minimum=0, maximum=1)


def _amount(default: float, high: float) -> Float:
    return Float(default, low=0.0, high=high, minimum=0)


def _smallest(default: float, low: float) -> Float:
    return Float(default, low=low, high=1.0, minimum=0.05, maximum=1)


_IMAGE, _SERIES, _ROW, _TOKENS = ("image",), ("series",), ("vector", "tabular"), ("tokens", "text")
_KNOTS = Int(4, minimum=2, maximum=100)

AUGMENTATIONS: Mapping[str, Augmentation] = {
    "crop": Augmentation(images.crop, _IMAGE, {"padding": _share(0.1, 0.25)}),
    "resized_crop": Augmentation(images.resized_crop, _IMAGE, {"smallest": _smallest(0.6, 0.4)}),
    "flip": Augmentation(images.flip, _IMAGE, {"probability": Float(0.5, minimum=0, maximum=1)}),
    "rotate": Augmentation(
        images.rotate, _IMAGE, {"degrees": Float(10, low=0, high=30, minimum=0, maximum=180)}
    ),
    "brightness": Augmentation(images.brightness, _IMAGE, {"amount": _amount(0.2, 0.5)}),
    "color": Augmentation(images.color, _IMAGE, {"amount": _amount(0.2, 0.5)}),
    "contrast": Augmentation(images.contrast, _IMAGE, {"amount": _share(0.2, 0.5)}),
    "erase": Augmentation(
        images.erase, _IMAGE, {"probability": _share(0.5, 1.0), "largest": _share(0.4, 0.6)}
    ),
    "randaugment": Augmentation(
        images.randaugment,
        _IMAGE,
        {
            "operations": Int(2, low=1, high=3, minimum=1, maximum=20),
            "magnitude": Float(9, low=3, high=15, minimum=0, maximum=30),
        },
    ),
    "noise": Augmentation(rows.noise, (*_IMAGE, *_SERIES, *_ROW), {"deviation": _amount(0.1, 0.5)}),
    "scale": Augmentation(rows.scale, _SERIES, {"deviation": _amount(0.1, 0.5)}),
    "window": Augmentation(rows.window, _SERIES, {"smallest": _smallest(0.8, 0.5)}),
    "time_warp": Augmentation(rows.time_warp, _SERIES, {"deviation": _amount(0.2, 0.5), "knots": _KNOTS}),
    "magnitude_warp": Augmentation(
        rows.magnitude_warp, _SERIES, {"deviation": _amount(0.2, 0.5), "knots": _KNOTS}
    ),
    "feature_dropout": Augmentation(rows.feature_dropout, _ROW, {"probability": _share(0.1, 0.5)}),
    "feature_swap": Augmentation(rows.feature_swap, _ROW, {"probability": _share(0.1, 0.5)}),
    "token_dropout": Augmentation(rows.token_dropout, _TOKENS, {"probability": _share(0.1, 0.5)}),
    "token_swap": Augmentation(rows.token_swap, _TOKENS, {"probability": _share(0.1, 0.5)}),
    "typos": Augmentation(rows.typos, ("text",), {"probability": _share(0.05, 0.2)}, is_raw=True),
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


def augmenter(recipe: Recipe, kind: str, preprocessor: Preprocessor | None = None) -> Vary | None:
    """Return the function that augments prepared items of a kind of input, or None for no augmentation.

    Args:
        recipe: a preset (`none`, `light`, `strong`), the name of an augmentation, or
            `{name: parameters, …}`, applied in this order; parameters that are left out have their defaults.
        kind: the kind of input, one of `siamkit.registry.specs.INPUTS`.
        preprocessor: the preprocessor of the items, which `typos` needs.

    Raises:
        DataError: an augmentation or parameter does not exist, or is not for this kind of input, or the
            preprocessor is missing.

    Example:
        >>> import numpy as np
        >>> from siamkit.data import augmenter
        >>> images = np.arange(4, dtype="float32").reshape(1, 1, 4, 1)
        >>> mirror = augmenter({"flip": {"probability": 1}}, "image")
        >>> mirror(images, np.random.default_rng(0)).ravel().tolist()
        [3.0, 2.0, 1.0, 0.0]
    """
    steps = [(_change(name, preprocessor), params) for name, params in recipe_steps(recipe, kind).items()]
    if not steps:
        return None

    def augment(leaf: Leaf, rng: Rng) -> Leaf:
        for change, params in steps:
            leaf = change(leaf, rng, **params)
        return leaf

    return augment


def _change(name: str, preprocessor: Preprocessor | None) -> Callable[..., Leaf]:
    """Return the function of an augmentation on prepared items."""
    augmentation = AUGMENTATIONS[name]
    if not augmentation.is_raw:
        return augmentation.change
    if preprocessor is None:
        raise DataError(
            f"the augmentation {name!r} changes texts before they are prepared; give it their preprocessor"
        )

    def change(leaf: Leaf, rng: Rng, **params: Any) -> Leaf:
        return preprocessor(augmentation.change(preprocessor.restored(leaf), rng, **params))

    return change


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
