"""Seeds, keys and versions: what makes two runs the same."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib import metadata
from typing import Any

PACKAGES = ("siamkit", "keras", "optuna", "numpy")
BACKEND_PACKAGES = {"tensorflow": ("tensorflow", "tensorflow-cpu"), "torch": ("torch",), "jax": ("jax",)}


def canonical(value: Any) -> str:
    """Plain data as text, the same whatever the order of keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def key_of(value: Any) -> str:
    """A short name for plain data, the same on every machine."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


def derive_seed(*parts: Any) -> int:
    """A seed in [0, 2³²) from anything plain; other parts, an unrelated seed."""
    return int(hashlib.sha256(canonical(parts).encode()).hexdigest()[:8], 16)


def versions(backend: str, plugins: dict[str, str]) -> dict[str, Any]:
    """What was installed: Python, siamkit, Keras, the backend, and the plugins that take part."""
    found = {name: metadata.version(name) for name in PACKAGES}
    for name in BACKEND_PACKAGES[backend]:
        try:
            found[backend] = metadata.version(name)
            break
        except metadata.PackageNotFoundError:
            continue
    return {"python": platform.python_version(), "backend": backend, "packages": found, "plugins": plugins}


def differences(here: dict[str, Any], there: dict[str, Any]) -> list[str]:
    """What differs between the versions of two machines, each as `keras 3.15.1 here, 3.12.0 there`."""
    ours, theirs = _flat(here), _flat(there)
    return [
        f"{name} {_shown(ours.get(name))} here, {_shown(theirs.get(name))} there"
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    ]


def _flat(found: dict[str, Any]) -> dict[str, str | None]:
    return {"python": found["python"], **found["packages"], **found["plugins"]}


def _shown(version: str | None) -> str:
    return "missing" if version is None else version or "present"
