"""The specs of siamkit's own losses: a module for each family, with the family's name. No Keras here.

A new module of this folder is collected if it has a list `SPECS`; nothing else names it. The parameters that
several families have are here.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from siamkit.registry.specs import Choice, Float, Int, LossSpec, Param

MINING = Choice(
    "all",
    options=("all", "hard", "semihard", "easy_positive", "distance_weighted", "multi_similarity"),
    search=("all", "multi_similarity"),
    help="rule that selects pairs of a batch",
)

CHUNK_SIZE = Int(None, minimum=1, help="items compared at once; by default all, or few of a very large batch")

SCALE = Float(20.0, low=5.0, high=50.0, log=True, minimum=1e-6, help="inverse softmax temperature")

ANGLES: Mapping[str, Any] = {"orientation": "similarity", "range": (-1.0, 1.0)}
"""The metric that losses of angles need: one that returns cosines."""


def sharpness(default: float, low: float, high: float, help: str) -> Float:
    """Return the parameter for a positive factor in an exponent."""
    return Float(default, low=low, high=high, log=True, minimum=1e-6, help=help)


def margins(pos: float = 0.0, neg: float = 1.0) -> dict[str, Param]:
    """Return the two margins of a loss over pairs, with their defaults."""
    return {
        "neg_margin": Float(
            neg,
            low=0.5,
            high=2.0,
            unit="typical_distance",
            help="distance beyond which a negative pair costs nothing",
        ),
        "pos_margin": Float(pos, help="distance within which a positive pair costs nothing"),
    }


CLASS_CHUNKS: Mapping[str, Param] = {
    "chunk_size": Int(None, minimum=1, help="classes compared at once; by default all, or few of very many")
}
"""The parameter of the losses that compare items with few classes at a time."""


def proxy_loss(name: str, factory: str, params: Mapping[str, Param], **fields: Any) -> LossSpec:
    """Return the spec of a loss with class proxies."""
    steps = Float(
        100.0, low=10.0, high=300.0, log=True, minimum=0.0, help="factor on the proxies' learning rate"
    )
    return LossSpec(
        name=name,
        factory=factory,
        supervision=("labels",),
        needs=("num_classes",),
        params={**params, "learning_rate_multiplier": steps},
        **fields,
    )


def softmax_loss(name: str, factory: str, params: Mapping[str, Param], **fields: Any) -> LossSpec:
    """Return the spec of a loss by a softmax over classes, which can smooth its targets."""
    smoothing = Float(
        0.0, minimum=0.0, maximum=0.999, help="label smoothing: the share spread over all classes"
    )
    return proxy_loss(name, factory, {**params, "label_smoothing": smoothing, **CLASS_CHUNKS}, **fields)


# Last, since the families import what is above.
LOSSES: list[LossSpec] = [
    spec
    for module in iter_modules(__path__)
    if not module.name.startswith("_")
    for spec in import_module(f"{__name__}.{module.name}").SPECS
]
