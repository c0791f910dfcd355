"""What is installed and what it runs on, for `siamkit doctor`; each backend is asked in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from typing import Any

from siamkit._version import __version__
from siamkit.backend import select
from siamkit.errors import BackendError
from siamkit.registry.registry import components

PATIENCE = 120  # seconds for a backend to tell its devices


def diagnose() -> dict[str, Any]:
    """Backends with versions and devices, which one would run and why, plugins, and problems."""
    problems = [str(problem) for problem in components().problems]
    try:
        chosen, why = select.choose_backend()
        why = f"{chosen} would run: {why}"
    except BackendError as error:
        chosen, why = None, str(error)
        problems.append(str(error))
    there = select.installed()
    found = [
        _ask(name)
        if name in there
        else {
            "name": name,
            "version": "",
            "devices": [],
            "error": f"not installed; pip install 'siamkit[{name}]'",
        }
        for name in select.BACKENDS
    ]
    problems += [
        f"{each['name']}: {each['error']}" for each in found if each["name"] in there and each["error"]
    ]
    return {
        "siamkit": __version__,
        "keras": metadata.version("keras"),
        "chosen": chosen,
        "why": why,
        "backends": found,
        "plugins": [str(origin) for origin in components().plugins.values()],
        "problems": problems,
    }


def _ask(name: str) -> dict[str, Any]:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    error = ""
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "siamkit.backend._device", name],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=environment,
            check=False,
        )
        if ran.returncode == 0:
            told: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
            return {"name": name, **told, "error": ""}
        error = (ran.stderr.strip().splitlines() or ["it ended without a word"])[-1]
    except (subprocess.TimeoutExpired, ValueError, IndexError) as failure:
        error = str(failure)
    return {"name": name, "version": "", "devices": [], "error": f"cannot be imported: {error}"}
