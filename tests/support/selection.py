"""Which tests run where: the one place that decides.

Three marks say what a test needs:

- `keras`: a backend; it runs on each of them, since its outcome may be the backend's affair
- `one_backend`: a backend, but which one does not matter; it runs on `MAIN` only
- `waits`: it mostly waits for processes, servers or a browser; it runs in a stream of its own

On `MAIN` every test of a component runs. On the other backends those of some components do: the first of each
family (that is, of each module, so each base class is there) and a third of the rest, another third on each
backend. `SIAMKIT_TESTS=all` (`make nightly`) runs every test on every backend.
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
EVERYWHERE = ("edge_cases", "jit")
"""Checks of the conformance kit that run for every component on each backend."""

BACKEND = os.environ.get("KERAS_BACKEND", MAIN)
EVERYTHING = os.environ.get("SIAMKIT_TESTS") == "all"


@cache
def families() -> dict[str, str]:
    """Return the module of each of siamkit's own components, by its name."""
    from siamkit.registry.registry import components

    catalogs = components().catalogs()
    return {
        entry.spec.name: entry.spec.factory.partition(":")[0]
        for catalog in catalogs
        for entry in catalog.all()
        if entry.spec.factory.startswith("siamkit.")
    }


@cache
def chosen_here() -> frozenset[str]:
    """Return the components whose tests run on this backend."""
    first: dict[str, str] = {}
    for name, family in sorted(families().items()):
        first.setdefault(family, name)
    here = {name for name in families() if zlib.crc32(name.encode()) % len(TURNS) == TURNS[BACKEND]}
    return frozenset(here | set(first.values()))


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


def runs_here(item: Any) -> bool:
    """Return whether a test runs in this process."""
    if EVERYTHING or BACKEND == MAIN or not item.get_closest_marker("keras"):
        return True
    if item.get_closest_marker("one_backend"):
        return False
    case = item.callspec.params.get("case") if hasattr(item, "callspec") else None
    if hasattr(case, "check"):
        subject, check = case.subject, case.check.__name__
        first = subject.kind != "loss" or subject.supervision == subject.spec.supervision[0]
        return first and check in EVERYWHERE
    name = component_of(item)
    return name is None or name in chosen_here()


def select(config: pytest.Config, items: list[Any]) -> None:
    """Deselect the tests that do not run in this process."""
    here = [item for item in items if runs_here(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(here)])
    items[:] = here


def known_xla_flags(flags: str) -> str:
    """Return the flags if the installed XLA knows them, else none: an unknown flag ends the process."""
    ask = [sys.executable, "-c", "import jax; jax.devices()"]
    asked = subprocess.run(ask, env={**os.environ, "XLA_FLAGS": flags}, capture_output=True, check=False)
    return flags if asked.returncode == 0 else ""
