"""Processes by names that no other one has: of this machine, and of one run of `tune` or `worker`."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path

import psutil


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
