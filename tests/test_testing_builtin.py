"""Every built-in component through the conformance kit: new ones come in by themselves."""

from __future__ import annotations

import pytest

from siamkit.catalogue import CORE
from siamkit.registry import components
from siamkit.testing import cases

pytestmark = pytest.mark.keras

# What a component is not held to, by kind and name, and why.
DETACHED = "its weights are held constant by design, so its gradient is not the derivative of its value"
EXCUSED = {
    ("loss", "circle"): {"finite_differences": DETACHED},
    ("loss", "dynamic_soft_margin"): {"finite_differences": DETACHED},
    ("loss", "manifold"): {
        "finite_differences": "the diffusion over the batch is solved in float32, and rounds too much",
        "class_ids": "it draws a proxy for each class in the order of their ids",
    },
    ("loss", "cross_batch_memory"): {
        "finite_differences": "the batch is in the memory too, where it is held constant"
    },
    ("loss", "instance"): {"class_ids": "a class's id is the number of its coordinate"},
}

KINDS = ("encoder", "metric", "loss")
BUILT_IN = [
    entry
    for kind in KINDS
    for entry in components().catalogue(kind).all()
    if entry.origin.distribution == CORE
]
CASES = [
    case
    for entry in BUILT_IN
    for case in cases(
        entry.qualified, kind=entry.spec.kind, excuse=EXCUSED.get((entry.spec.kind, entry.spec.name))
    )
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_built_in_component_is_what_its_spec_says(case):
    case.run()
