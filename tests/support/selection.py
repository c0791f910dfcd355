"""Which tests run where: the one place that decides.

Three marks say what a test needs:

- `keras`: a backend; it runs on each of them, since its outcome may depend on the backend
- `one_backend`: a backend, but one is enough: `MAIN`, or those that the mark names
- `waits`: it mostly waits for processes, servers or a browser; it runs in a stream of its own

On `MAIN` every test of a component runs. On the other backends those of a third of the components do, another
third on each backend, and of one component of each family (that is, of each module, so each base class is
there). Where a test has several cases of one component, JAX runs half of them and TensorFlow the other half.
Every test that needs a backend runs on each for at least one component. `SIAMKIT_TESTS=all` (`make nightly`)
runs every test on every backend, and draws all examples of property tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from functools import cache
from typing import Any

import pytest

MAIN = "torch"
TURNS = {"torch": 0, "jax": 1, "tensorflow": 2}
IN_TURN = ("edge_cases", "jit")
"""Checks of the conformance kit that also run on one of the other backends, for every component."""

BACKEND = os.environ.get("KERAS_BACKEND", MAIN)
EVERYTHING = os.environ.get("SIAMKIT_TESTS") == "all"


def examples(count: int) -> int:
    """Return how many examples a property test draws: all of them in `make nightly`, else a third."""
    return count if EVERYTHING else max(20, count // 3)


@cache
def families() -> dict[str, str]:
    """Return the module of each of siamkit's own components, by its name."""
    from siamkit.registry.registry import components

    catalogs = components().catalogs()
    return {
        entry.spec.name: entry.spec.factory.partition(":")[0]
        for catalog in catalogs
        for entry in catalog.all()
        if str(entry.spec.factory).startswith("siamkit.")  # a class, of a component that a test registered
    }


@cache
def components_on(backend: str) -> frozenset[str]:
    """Return the components whose tests run on a backend."""
    names = sorted(families())
    if backend == MAIN:
        return frozenset(names)
    here = [name for name in names if zlib.crc32(name.encode()) % len(TURNS) == TURNS[backend]]
    covered = {families()[name] for name in here}
    for name in names:
        if families()[name] not in covered:
            covered.add(families()[name])
            here.append(name)
    return frozenset(here)


def component_of(item: Any) -> str | None:
    """Return the component that a test is about, by its parameters; None where there is none."""
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return None
    params = callspec.params
    for key in sorted(
        params, key=lambda key: key not in ("name", "title", "case")
    ):  # before `metric` and others
        value = params[key]
        subject = getattr(value, "subject", None)
        name = value if isinstance(value, str) else getattr((subject and subject.spec) or value, "name", None)
        if isinstance(name, str) and (name := name.rpartition("/")[2].split(" ")[0]) in families():
            return name
    return None


def runs_on(backend: str, item: Any) -> bool:
    """Return whether a test runs on a backend, by its marks and its component."""
    if not item.get_closest_marker("keras"):
        return True
    if mark := item.get_closest_marker("one_backend"):
        return backend in (mark.args or (MAIN,))
    if backend == MAIN:
        return True
    case = item.callspec.params.get("case") if hasattr(item, "callspec") else None
    if hasattr(case, "check"):
        subject, check = case.subject, case.check.__name__
        first = subject.kind != "loss" or subject.supervision == subject.spec.supervision[0]
        turn = zlib.crc32(subject.spec.name.encode()) % 2 == TURNS[backend] - 1
        return first and check in IN_TURN and turn
    name = component_of(item)
    return name is None or name in components_on(backend)


def half_of_the_cases(backend: str, items: list[Any]) -> set[Any]:
    """Return half of the cases of each test and component, at least one; JAX and TensorFlow differ."""
    cases: dict[tuple[str, str], list[Any]] = {}
    for item in items:
        name = component_of(item)
        is_kit = name is not None and hasattr(item.callspec.params.get("case"), "check")
        is_whole = name is None or is_kit or item.get_closest_marker("one_backend")
        test = item.nodeid if is_whole else item.nodeid.partition("[")[0]
        cases.setdefault((test, name or ""), []).append(item)
    half = set()
    for group in cases.values():
        turn = TURNS[backend] % 2
        here = [item for item in group if zlib.crc32(item.nodeid.encode()) % 2 == turn]
        half.update(group if len(group) == 1 else here or group[:1])
    return half


def chosen(backend: str, items: list[Any]) -> list[Any]:
    """Return the tests that run on a backend, in their order."""
    here = {item for item in items if runs_on(backend, item)}
    if backend != MAIN:
        here = half_of_the_cases(backend, [item for item in items if item in here])
    cases: dict[str, list[Any]] = {}
    for item in items:
        if not item.get_closest_marker("one_backend"):
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    # A test of components that all have their turn elsewhere has one here too.
    here |= {group[TURNS[backend] % len(group)] for group in cases.values() if here.isdisjoint(group)}
    return [item for item in items if item in here]


def select(config: pytest.Config, items: list[Any]) -> None:
    """Deselect the tests that do not run in this process."""
    if EVERYTHING:
        return
    here = chosen(BACKEND, items)
    kept = set(here)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = here


def known_xla_flags(*flags: str) -> str:
    """Return those flags that the installed XLA knows: an unknown one ends the process."""

    def known(some: str) -> bool:
        command = [sys.executable, "-c", "import jax; jax.devices()"]
        environment = {**os.environ, "XLA_FLAGS": some, "JAX_PLATFORMS": "cpu"}
        return not subprocess.run(command, env=environment, capture_output=True, check=False).returncode

    return every if known(every := " ".join(flags)) else " ".join(filter(known, flags))
