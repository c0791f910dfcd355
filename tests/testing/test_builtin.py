"""Every built-in component through the conformance kit: new ones come in by themselves.

All checks run on torch. The backends that compile take several times as long: there, unless
SIAMKIT_CONFORMANCE=all (`make conformance`), run those whose outcome is the backend's affair.
"""

from __future__ import annotations

import os

import keras
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

EVERYTHING = keras.backend.backend() == "torch" or os.environ.get("SIAMKIT_CONFORMANCE") == "all"
OF_THE_BACKEND = {"edge_cases", "dtypes", "jit", "training"}


def wanted(case):
    """Whether a case runs on this backend."""
    subject, check = case.subject, case.check.__name__
    if EVERYTHING:
        return True
    if subject.kind == "loss" and subject.supervision != subject.spec.supervision[0]:
        return False
    if check == "training":
        # Compiled gradients are seen by edge_cases and jit, compiled training by test_model.py and for each
        # encoder by test_encoders*.py: here it is about weights of a component's own.
        return has_weights(subject)
    if subject.kind == "encoder" and check == "jit" and keras.backend.backend() == "jax":
        return False  # dtypes and edge_cases compile; eagerly that is done operation by operation
    return check in OF_THE_BACKEND


def has_weights(subject):
    if subject.kind == "loss":
        return subject.make().head is not None
    return subject.kind == "metric" and subject.spec.trainable


def built_in():
    """All cases of siamkit's own components."""
    for kind in ("encoder", "metric", "loss"):
        for entry in components().catalog(kind).all():
            if entry.origin.distribution == CORE:
                excuse = EXCUSED.get((kind, entry.spec.name))
                yield from cases(entry.qualified, kind=kind, excuse=excuse)


CASES = [case for case in built_in() if wanted(case)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_built_in_component_is_what_its_spec_says(case):
    case.run()
