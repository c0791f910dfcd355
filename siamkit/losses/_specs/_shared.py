"""Parameters that the specs of several families share."""

from collections.abc import Mapping
from typing import Any

from siamkit.registry.specs import Choice, Float, LossSpec, Param

MINING = Choice(
    "all",
    options=("all", "hard", "semihard", "easy_positive", "distance_weighted", "multi_similarity"),
    search=("all", "multi_similarity"),
    help="which pairs of a batch",
)


def sharpness(default: float, low: float, high: float, help: str) -> Float:
    """Return a positive factor in an exponent."""
    return Float(default, low=low, high=high, log=True, minimum=1e-6, help=help)


def margins(pos: float = 0.0, neg: float = 1.0) -> dict[str, Param]:
    """Return the two margins of a loss over pairs, with their defaults."""
    return {
        "neg_margin": Float(
            neg,
            low=0.5,
            high=2.0,
            unit="typical_distance",
            help="distance beyond which unlike pairs cost nothing",
        ),
        "pos_margin": Float(pos, help="distance within which alike pairs cost nothing"),
    }


ANGLES: Mapping[str, Any] = {"orientation": "similarity", "range": (-1.0, 1.0)}
"""What losses of angles need: a metric that gives cosines."""

STEPS = Float(100.0, low=10.0, high=300.0, log=True, minimum=0.0, help="of the proxies")

SCALE = Float(20.0, low=5.0, high=50.0, log=True, minimum=1e-6, help="inverse softmax temperature")


def of_proxies(name: str, factory: str, params: Mapping[str, Param], **more: Any) -> LossSpec:
    """Return the spec of a loss with class proxies."""
    return LossSpec(
        name=name,
        factory=f"siamkit.losses.{factory}",
        supervision=("labels",),
        needs=("num_classes",),
        params={**params, "learning_rate_multiplier": STEPS},
        **more,
    )
