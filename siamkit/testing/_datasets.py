"""Checks of a dataset: what its factory reads, and whether a model can learn from it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from siamkit.data.dataset import Dataset
from siamkit.testing import _common as common
from siamkit.testing._numbers import require, told
from siamkit.testing._subject import Subject

MIN_ITEMS = 4  # two to learn from, and two to compare


def _read(subject: Subject) -> Dataset:
    with told(f"reading {subject}"):
        made = subject.make()
    require(
        isinstance(made, Dataset),
        f"{subject} should come from a factory that returns a siamkit.Dataset, got {type(made).__name__}",
    )
    dataset: Dataset = made
    return dataset


def kinds(subject: Subject) -> None:
    """Check that supervision and input are those of the spec."""
    dataset, spec = _read(subject), subject.spec
    for name, got, stated in (
        ("supervision", dataset.supervision, spec.supervision),
        ("inputs", dataset.input, spec.inputs),
    ):
        require(
            got in stated,
            f"{subject} should have {name} of its spec, {', '.join(stated) or 'which names none'}, "
            f"got {got!r}; write {name}=({got!r},) into the spec",
        )


def items(subject: Subject) -> None:
    """Check that there are items, with ids of their own, and not all the same."""
    dataset = _read(subject)
    require(len(dataset) >= MIN_ITEMS, f"{subject} should have {MIN_ITEMS} items or more, got {len(dataset)}")
    names, counts = np.unique(dataset.ids, return_counts=True)
    require(
        len(names) == len(dataset),
        f"{subject} should have an id of its own for each item, got {str(names[counts.argmax()])!r} "
        f"{counts.max()} times; leave out ids= to number the items",
    )
    for number, view in enumerate(dataset.views, start=1):
        leaves = view.values() if isinstance(view, dict) else [view]
        differ = any(np.any(leaf[i] != leaf[0]) for leaf in leaves for i in range(1, len(leaf)))
        require(differ, f"view {number} of {subject} should have items that differ, got the same each time")


def target(subject: Subject) -> None:
    """Check that there is something to learn: classes of two items, pairs of both kinds, different scores."""
    dataset = _read(subject)
    if dataset.supervision == "labels":
        _, counts = np.unique(dataset.codes, return_counts=True)
        require(len(counts) > 1, f"{subject} should have two classes or more, got one")
        require(
            counts.max() > 1,
            f"{subject} should have a class of two items or more, got one item in each of {len(counts)} "
            "classes; labels are the classes, not the ids, of items",
        )
    elif dataset.target is not None:
        require(
            len(np.unique(dataset.target)) > 1,
            f"{subject} should have targets that differ, got {dataset.target[0]!r} for all "
            f"{len(dataset)} items",
        )


def determinism(subject: Subject) -> None:
    """Check that reading twice gives the same, so that a study can be resumed."""
    first, second = _read(subject), _read(subject)
    same = first.fingerprint() == second.fingerprint() and np.array_equal(first.ids, second.ids)
    require(
        same,
        f"{subject} should read the same items in the same order each time, got others; sort what a folder "
        "lists, and seed what is drawn",
    )


CHECKS: tuple[Callable[[Subject], None], ...] = (
    common.spec_matches_factory,
    kinds,
    items,
    target,
    determinism,
)
