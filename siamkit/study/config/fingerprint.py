"""Seeds, keys and versions: what makes two runs the same."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from siamkit.runs.results import Versions

PACKAGES = ("siamkit", "keras", "optuna", "numpy")
BACKEND_PACKAGES = {"tensorflow": ("tensorflow", "tensorflow-cpu"), "torch": ("torch",), "jax": ("jax",)}


def canonical(value: Any) -> str:
    """Return plain data as JSON that does not depend on the order of keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def key_of(value: Any) -> str:
    """Return a short key for plain data, the same on every machine."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


def derive_seed(*parts: Any) -> int:
    """Return a seed in [0, 2³²) derived from plain data; different data give unrelated seeds."""
    return int(hashlib.sha256(canonical(parts).encode()).hexdigest()[:8], 16)


def versions(backend: str, plugins: Mapping[str, str | None]) -> Versions:
    """Return the installed versions.

    Args:
        backend: the Keras backend of the study.
        plugins: the distributions whose components the study uses, with their versions.
    """
    packages: dict[str, str | None] = {name: metadata.version(name) for name in PACKAGES}
    for name in BACKEND_PACKAGES[backend]:
        try:
            packages[backend] = metadata.version(name)
            break
        except metadata.PackageNotFoundError:
            continue
    return Versions(
        python=platform.python_version(), backend=backend, packages=packages, plugins=dict(plugins)
    )


def differences(here: Versions, there: Versions) -> list[str]:
    """Return the differences between two machines, such as `keras 3.15.1 here, 3.12.0 there`."""
    ours, theirs = _flat(here), _flat(there)
    return [
        f"{name} {_displayed(ours.get(name))} here, {_displayed(theirs.get(name))} there"
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    ]


def _flat(versions: Versions) -> dict[str, str | None]:
    return {"python": versions.python, **versions.packages, **versions.plugins}


def _displayed(version: str | None) -> str:
    return "missing" if version is None else version or "present"
