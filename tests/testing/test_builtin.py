"""Every built-in component through the conformance kit: new ones come in by themselves."""

from __future__ import annotations

import pytest

from siamkit.registry.catalog import CORE
from siamkit.registry.registry import components
from siamkit.testing import cases

pytestmark = pytest.mark.keras

# What a component is not held to, by kind and name, and why.
DETACHED = "its weights are held constant by design, so its gradient is not the derivative of its value"
EXCUSED = {
    ("loss", "circle"): {"finite_differences": DETACHED},
    ("loss", "dynamic_soft_margin"): {"finite_differences": DETACHED},
    ("loss", "manifold"): {
        "finite_differences": "it counts the proxies past a threshold, which jumps",
        "class_ids": "a class's proxy is that of its id, modulo their number",
    },
    ("loss", "cross_batch_memory"): {
        "finite_differences": "the batch is in the memory too, where it is held constant",
        "class_ids": "it refuses ids beyond 32 bits, which each batch would number differently",
    },
    ("loss", "instance"): {"class_ids": "the order of the ids chooses the targets, as in the reference"},
}


def built_in():
    """All cases of siamkit's own components."""
    for kind in ("encoder", "metric", "loss", "dataset"):
        for entry in components().catalog(kind).all():
            reads_files = kind == "dataset" and "path" in entry.spec.params
            if entry.origin.distribution == CORE and not reads_files:
                excuse = EXCUSED.get((kind, entry.spec.name))
                yield from cases(entry.qualified, kind=kind, excuse=excuse)


CASES = list(built_in())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_built_in_component_is_what_its_spec_says(case):
    case.run()
