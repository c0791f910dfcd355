"""This machine: who runs here, what it has, and the scratch folder of a process. Imports no backend."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import psutil

RESERVED = 2e9  # bytes of memory a trial is taken to want where the study does not say


@cache
def machine() -> str:
    """A name that only processes which see each other's process ids share."""
    parts = [socket.gethostname().split(".")[0]]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
        parts.append(str(os.stat("/proc/self/ns/pid").st_ino))  # containers have their own
    except OSError:
        parts.append(str(int(psutil.boot_time())))
    return "-".join(parts)


def process(pid: int | None = None) -> str:
    """A name for a process that no later one gets: process ids come again, with another start."""
    pid = os.getpid() if pid is None else pid
    return f"{pid}-{_start(pid)}"


def is_running(name: str) -> bool:
    """Whether the process that `process` named so still is."""
    pid, _, start = name.partition("-")
    try:
        return _start(int(pid)) == int(start)
    except (OSError, psutil.Error, ValueError, IndexError):
        return False


def _start(pid: int) -> int:
    """When a process began, by a clock that nobody sets: the time of day of that moves with the clock."""
    try:
        # Behind the name, which may hold anything: the state first, the twentieth the ticks since boot.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            raise
        return int(psutil.Process(pid).create_time() * 100)
    if fields[0] in "ZX":
        raise ProcessLookupError(f"process {pid} is dead")
    return int(fields[19])


def cores() -> int:
    """The processor cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def accelerators() -> list[str]:
    """The names by which CUDA_VISIBLE_DEVICES or HIP_VISIBLE_DEVICES picks each accelerator."""
    for variable in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        given = os.environ.get(variable)
        if given is not None:
            return [each.strip() for each in given.split(",") if each.strip() not in ("", "-1")]
    tool = shutil.which("nvidia-smi")
    if tool is not None:
        told = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
        lines = [line for line in told.stdout.splitlines() if line.startswith("GPU ")]
        if told.returncode == 0 and lines:
            return [str(number) for number in range(len(lines))]
    return [str(number) for number, _ in enumerate(sorted(Path("/dev").glob("nvidia[0-9]*")))]


def how_many_workers(cpus: int, gpus: float, memory: float | None) -> int:
    """As many as there are accelerators, or else cores and free memory, for trials that take so much each."""
    devices = accelerators() if gpus else []
    if devices:
        return max(1, int(len(devices) / gpus))
    fits = int(psutil.virtual_memory().available // (memory or RESERVED))
    return max(1, min(cores() // cpus, fits))


def scratch() -> Path:
    """A folder for this process's temporary files; those of processes that are no more are removed.

    A killed process removes nothing, so the next one on its machine does.
    """
    root = Path(tempfile.gettempdir())
    prefix = f"siamkit.{machine()}-"
    for left in root.glob(f"{prefix}*"):
        if not is_running(left.name.removeprefix(prefix)):
            shutil.rmtree(left, ignore_errors=True)
    folder = root / f"{prefix}{process()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
