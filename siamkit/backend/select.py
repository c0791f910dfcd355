"""Which Keras backend to run, decided before Keras is imported. Imports none of them."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

from siamkit.errors import BackendError, nearest

BACKENDS = ("jax", "torch", "tensorflow")  # in the order in which one is picked where nobody says


def installed() -> list[str]:
    """The backends whose package is there, found without importing them."""
    return [name for name in BACKENDS if importlib.util.find_spec(name) is not None]


def choose_backend(
    option: str | None = None, study: str | None = None, begun: str | None = None
) -> tuple[str, str]:
    """The backend to run, and why: of these the first that says one, then Keras's own file, or one installed.

    Args:
        option: `--backend`, or the argument of `tune`.
        study: what the study file says, behind KERAS_BACKEND.
        begun: what the study was begun with.

    Returns:
        Its name, and where it was said.

    Raises:
        BackendError: no such backend, none installed, or another one runs already.
    """
    said = [
        (option, "--backend"),
        (os.environ.get("KERAS_BACKEND"), "KERAS_BACKEND"),
        (study, "the study file"),
        (begun, "the run folder"),
    ]
    there = installed()
    for name, where in said:
        if name:
            _check(name, where, there)
            return _running(name, where)
    if not there:
        raise BackendError("no backend is installed; pip install 'siamkit[jax]', [torch] or [tensorflow]")
    configured = _configured()
    if configured in there:
        return _running(configured, "Keras's own configuration")
    return _running(there[0], "the first one installed")


def activate(name: str) -> None:
    """Makes Keras, when it is imported, take this backend."""
    os.environ["KERAS_BACKEND"] = name
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow greets at length otherwise


def prepare() -> None:
    """Chooses a backend before Keras does, which would take TensorFlow, installed or not."""
    if "keras" not in sys.modules:
        activate(choose_backend()[0])


def _check(name: str, where: str, there: list[str]) -> None:
    if name not in BACKENDS:
        raise BackendError(f"{where} names the unknown backend {name!r}; {nearest(name, BACKENDS)}")
    if name not in there:
        others = f" (installed: {', '.join(there)})" if there else ""
        raise BackendError(
            f"{where} names the backend {name!r}, which is not installed; "
            f"pip install 'siamkit[{name}]'{others}"
        )


def _running(name: str, where: str) -> tuple[str, str]:
    """Keras reads its backend once, when it is imported; after that only this one can be had."""
    keras = sys.modules.get("keras")
    running = keras.backend.backend() if keras is not None else name
    if running == name:
        return name, where
    if where in ("--backend", "the study file"):
        raise BackendError(
            f"{where} names the backend {name!r}, but Keras runs on {running!r} already; "
            "set KERAS_BACKEND before Python starts"
        )
    return running, "the backend Keras runs on already"


def _configured() -> str | None:
    home = os.environ.get("KERAS_HOME") or str(Path.home() / ".keras")
    try:
        found = json.loads((Path(home) / "keras.json").read_text(encoding="utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None
