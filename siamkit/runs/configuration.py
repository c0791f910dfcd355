"""A configuration, one point of a search space: as it is stored, by factor, and its key and seeds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NotRequired, TypeAlias, TypedDict

Factor: TypeAlias = str | int | float | bool | None
"""The level of a factor: a component's name or a parameter's value."""


class ComponentConfig(TypedDict):
    """A component of a configuration: its qualified name, and a value for each of its parameters.

    A value is plain, another `ComponentConfig` (a loss inside a loss), or in units of the metric's typical
    distance, as `{"typical_distance": 0.3}`.
    """

    name: str
    params: dict[str, Any]


class Configuration(TypedDict):
    """One point of the search space, as plain data.

    `data` exists only if the study varies its training data, as `{"label_noise": 0.2, …}`, and `augment` only
    if the study augments them.
    """

    encoder: ComponentConfig
    metric: ComponentConfig
    loss: ComponentConfig
    embedding_dim: int
    normalize: bool
    learning_rate: float
    batch_size: int
    optimizer: str
    schedule: str
    warmup: float | None
    momentum: float | None
    weight_decay: float | None
    clip_norm: float | None
    ema: float | None
    data: NotRequired[dict[str, Factor]]
    augment: NotRequired[ComponentConfig]


def factors_of(configuration: Mapping[str, Any]) -> dict[str, Factor]:
    """Return a configuration flat, by factor: `{"loss": "triplet", "loss.triplet.margin": 0.2, …}`."""
    flat: dict[str, Factor] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, dict) and "name" in value:
            short = value["name"].removeprefix("siamkit/")
            flat[name] = short
            for key, param in value["params"].items():
                add(f"{name}.{short}.{key}", param)
        elif isinstance(value, dict):  # a value with its unit
            flat[name] = next(iter(value.values()))
        else:
            flat[name] = value

    for name, value in configuration.items():
        if name == "data":
            flat.update({f"data.{factor}": level for factor, level in value.items()})
        else:
            add(name, value)
    return flat


def canonical(value: Any) -> str:
    """Return plain data as JSON that does not depend on the order of keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def key_of(value: Any) -> str:
    """Return a short key for plain data, the same on every machine."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


def derive_seed(*parts: Any) -> int:
    """Return a seed in [0, 2³²) derived from plain data; different data give unrelated seeds."""
    return int(hashlib.sha256(canonical(parts).encode()).hexdigest()[:8], 16)
