"""What is installed and which devices it sees, for `siamkit doctor`; the accelerators of this machine.

Each backend is imported in its own process: `python -m siamkit.backend.diagnosis NAME`. Accelerators are
found without any backend.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from siamkit._version import __version__
from siamkit.backend import select
from siamkit.backend.select import backend_module
from siamkit.errors import BackendError
from siamkit.registry.registry import components

TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class BackendDiagnosis:
    """One backend: its version and devices, or why it cannot be used."""

    name: str
    version: str = ""
    devices: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """What `siamkit doctor` shows.

    Args:
        siamkit: the version of siamkit.
        keras: the version of Keras.
        chosen: the backend that would run; None if none can.
        why: the reason for that choice.
        backends: all backends that siamkit supports.
        plugins: the installed plugins.
        problems: one sentence for each problem.
    """

    siamkit: str
    keras: str
    chosen: str | None
    why: str
    backends: tuple[BackendDiagnosis, ...]
    plugins: tuple[str, ...]
    problems: tuple[str, ...]


def diagnose() -> Diagnosis:
    """Return backends with versions and devices, the backend that would run, plugins, and problems."""
    problems = [str(problem) for problem in components().problems]
    chosen: str | None = None
    try:
        chosen, why = select.choose_backend()
        why = f"{chosen} would run: {why}"
    except BackendError as error:
        why = str(error)
        problems.append(why)
    installed = select.installed()
    backends = []
    for name in select.BACKENDS:
        if name not in installed:
            backends.append(BackendDiagnosis(name, error=f"not installed; pip install 'siamkit[{name}]'"))
            continue
        backends.append(_diagnose(name))
        if backends[-1].error:
            problems.append(f"{name}: {backends[-1].error}")
    return Diagnosis(
        siamkit=__version__,
        keras=metadata.version("keras"),
        chosen=chosen,
        why=why,
        backends=tuple(backends),
        plugins=tuple(str(origin) for origin in components().plugins.values()),
        problems=tuple(problems),
    )


def _diagnose(name: str) -> BackendDiagnosis:
    try:
        process = subprocess.run(
            [sys.executable, "-m", "siamkit.backend.diagnosis", name],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            check=False,
        )
        if process.returncode == 0:
            answer = json.loads(process.stdout.splitlines()[-1])
            return BackendDiagnosis(name, answer["version"], tuple(answer["devices"]))
        error = (process.stderr.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
    except (subprocess.TimeoutExpired, ValueError, IndexError) as failure:
        error = str(failure)
    return BackendDiagnosis(name, error=f"cannot be imported: {error}")


# ------------------------------------------------------------------ the accelerators of this machine

QUERY = "--query-gpu=memory.used,memory.total,utilization.gpu"


def accelerators() -> list[str]:
    """Return the names by which CUDA_VISIBLE_DEVICES or HIP_VISIBLE_DEVICES selects each accelerator."""
    for variable in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        value = os.environ.get(variable)
        if value is not None:
            return [name.strip() for name in value.split(",") if name.strip() not in ("", "-1")]
    tool = shutil.which("nvidia-smi")
    if tool is not None:
        with suppress(OSError, subprocess.SubprocessError):
            listing = subprocess.run([tool, "-L"], capture_output=True, text=True, check=True, timeout=10)
            if lines := [line for line in listing.stdout.splitlines() if line.startswith("GPU ")]:
                return [str(number) for number in range(len(lines))]
    return [str(number) for number, _ in enumerate(sorted(Path("/dev").glob("nvidia[0-9]*")))]


@dataclass(frozen=True)
class Use:
    """How an accelerator is used.

    Args:
        used: bytes in use.
        total: bytes that it has.
        busy: the share of the last moments in which it computed.
    """

    used: float
    total: float
    busy: float


def read_use(device: str) -> Use | None:
    """Return how an accelerator is used now, as nvidia-smi says; None without it, or if it does not say."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    command = [tool, QUERY, "--format=csv,noheader,nounits", "-i", device]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
        used, total, percent = map(float, said.stdout.split(","))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return Use(used * 2**20, total * 2**20, percent / 100)


def main(name: str) -> None:
    """Print the version and devices of a backend, as one line of JSON."""
    version, devices = backend_module(name).version_and_devices()
    print(json.dumps({"version": str(version), "devices": devices}))


if __name__ == "__main__":
    main(sys.argv[1])
