"""Specs: descriptions of components that are cheap to import; and the hooks that return them.

A spec imports no backend: it names its factory as `"module:attribute"`, which is imported only when the
component is made. A plugin is a module named by an entry point of the group `siamkit`,

    [project.entry-points.siamkit]
    acme = "acme_siamkit"

that implements any of the four hooks, each of which returns a list of specs. It must not import a backend or
Keras.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import pluggy

from siamkit.registry.parameters import Bool, Choice, Component, Float, Int, Ints, Kind, Param, Text

__all__ = [
    "API",
    "IMAGE_FITS",
    "INPUTS",
    "SUPERVISIONS",
    "Bool",
    "Choice",
    "Component",
    "DatasetSpec",
    "EncoderSpec",
    "Float",
    "Int",
    "Ints",
    "Kind",
    "LossSpec",
    "MetricSpec",
    "Orientation",
    "Param",
    "Spec",
    "Supervision",
    "Text",
    "hookimpl",
]

API = 1
"""The version of the plugin contract."""

Supervision = Literal["labels", "pairs", "scores", "triplets", "views"]
Orientation = Literal["distance", "similarity"]

SUPERVISIONS: tuple[Supervision, ...] = ("labels", "pairs", "scores", "triplets", "views")
INPUTS = ("image", "tokens", "text", "series", "tabular", "records", "vector")
IMAGE_FITS = ("crop", "pad", "stretch")
"""How an image can fit into a size of another shape."""

INFINITE = (-math.inf, math.inf)

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_FACTORY = re.compile(r"[\w.]+:[\w.]+")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The fields that the specs of all kinds of components have.

    Args:
        name: the component's name: lower-case letters, digits and underscores.
        factory: function that makes the component: `"module:attribute"`, or a callable in your own code;
            called with the parameters and the values of `needs`, all by keyword.
        api: the version of the plugin contract that it was written for; this siamkit has 1.
        summary: description in one line.
        reference: the paper or implementation that it follows.
        formula: formula in one line; empty if there is none.
        params: the component's parameters, each with default, search range and meaning.
        needs: the facts about the training data that the component needs: `num_classes`, `vocabulary_size`,
            `columns`, `max_length`, `training_items` (the prepared items themselves, of the first view),
            `training_labels` (the class of each of them as an integer, -1 where it is unknown).
    """

    kind: ClassVar[Kind]

    name: str
    factory: str | Callable[..., Any]
    api: int = API
    summary: str = ""
    reference: str = ""
    formula: str = ""
    params: Mapping[str, Param] = field(default_factory=dict)
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ValueError(f"name should be lower case letters, digits and underscores, got {self.name!r}")
        if not callable(self.factory) and not _FACTORY.fullmatch(str(self.factory)):
            raise ValueError(f'factory should be "module:attribute" or a callable, got {self.factory!r}')
        object.__setattr__(self, "needs", _texts("needs", self.needs))
        if not isinstance(self.params, Mapping):
            raise ValueError(f"params should be a mapping from names to parameters, got {self.params!r}")
        for key, param in self.params.items():
            if not isinstance(param, Param):
                raise ValueError(
                    f"parameter {key!r} should be a Float, Int, Choice, Bool, Text, Ints or "
                    f"Component, got {param!r}"
                )

    def defaults(self) -> dict[str, Any]:
        """Return every parameter at its default."""
        return {key: param.default for key, param in self.params.items()}


@dataclass(frozen=True, kw_only=True)
class EncoderSpec(Spec):
    """An encoder's spec: `inputs` are the kinds of input, `pretrained` whether it is pretrained.

    Its factory also gets `input_shape`, `embedding_dim` and `normalize`.
    """

    kind: ClassVar[Kind] = "encoder"
    inputs: tuple[str, ...]
    pretrained: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "inputs", _some_of("inputs", self.inputs, INPUTS))


@dataclass(frozen=True, kw_only=True)
class MetricSpec(Spec):
    """A metric's spec: `range` is its (lowest, highest) value, `trainable` whether it has weights."""

    kind: ClassVar[Kind] = "metric"
    orientation: Orientation
    range: tuple[float, float] = INFINITE
    trainable: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.orientation not in ("distance", "similarity"):
            raise ValueError(f"orientation should be distance or similarity, got {self.orientation!r}")
        if not isinstance(self.range, tuple) or len(self.range) != 2 or not self.range[0] < self.range[1]:
            raise ValueError(f"range should be (lowest, highest), got {self.range!r}")

    @property
    def orientations(self) -> tuple[str, ...]:
        """The orientations to read the metric in: a bounded similarity s is also the distance high - s."""
        if self.orientation == "similarity" and math.isfinite(self.range[1]):
            return ("similarity", "distance")
        return (self.orientation,)


@dataclass(frozen=True, kw_only=True)
class LossSpec(Spec):
    """A loss's spec: the supervision that it learns from, and the metrics that it can compare through.

    Args:
        supervision: one supervision or several; the first one that the data can feed is used.
        orientation: the required orientation of the metric: `"any"`, readable as a `"distance"`, or a
            `"similarity"`.
        range: the range that the metric's values must be in, for example (-1, 1) for a loss of angles.
        metrics: the names of the only metrics that it can compare through; any, if empty.
        uses_metric: whether the loss compares through the metric; otherwise it cannot train a metric's
            weights.
        normalized: whether the loss needs unit vectors.
        wrapped: the specs of the wrapped losses, if the loss wraps others; set by `compatibility.wrapping`
            only.
    """

    kind: ClassVar[Kind] = "loss"
    supervision: tuple[Supervision, ...]
    orientation: Literal["any", "distance", "similarity"] = "any"
    range: tuple[float, float] = INFINITE
    metrics: tuple[str, ...] = ()
    uses_metric: bool = True
    normalized: bool = False
    wrapped: tuple[LossSpec, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "supervision", _some_of("supervision", self.supervision, SUPERVISIONS))
        if not self.supervision:
            raise ValueError(f"supervision should be of {', '.join(SUPERVISIONS)}, got none")
        if self.orientation not in ("any", "distance", "similarity"):
            raise ValueError(f"orientation should be any, distance or similarity, got {self.orientation!r}")
        object.__setattr__(self, "metrics", _texts("metrics", self.metrics))


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec):
    """A data source's spec: `suffixes` are the endings of files that it reads (`"/"` for a folder)."""

    kind: ClassVar[Kind] = "dataset"
    supervision: tuple[Supervision, ...] = ("labels",)
    inputs: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "supervision", _some_of("supervision", self.supervision, SUPERVISIONS))
        object.__setattr__(self, "inputs", _some_of("inputs", self.inputs, INPUTS))
        object.__setattr__(self, "suffixes", _texts("suffixes", self.suffixes))


# ------------------------------------------------------------------ hooks

PROJECT = "siamkit"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def siamkit_encoders() -> list[EncoderSpec]:  # type: ignore[empty-body]
    """Encoders: Keras models that turn one input into one embedding."""


@hookspec
def siamkit_metrics() -> list[MetricSpec]:  # type: ignore[empty-body]
    """Metrics: Keras layers that compare two embeddings."""


@hookspec
def siamkit_losses() -> list[LossSpec]:  # type: ignore[empty-body]
    """Losses on `(y_true, embeddings)` that compare through a metric."""


@hookspec
def siamkit_datasets() -> list[DatasetSpec]:  # type: ignore[empty-body]
    """Sources of data."""


# ------------------------------------------------------------------ values of specs


def _texts(name: str, value: str | Sequence[str]) -> tuple[str, ...]:
    values = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(text, str) for text in values):
        raise ValueError(f"{name} should be texts, got {value!r}")
    return values


def _some_of(name: str, value: str | Sequence[str], valid: Sequence[str]) -> tuple[str, ...]:
    values = _texts(name, value)
    unknown = [text for text in values if text not in valid]
    if unknown:
        raise ValueError(f"{name} should be of {', '.join(valid)}, got {unknown[0]!r}")
    return values
