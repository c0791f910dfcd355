"""Owners: the runs of `tune` and `worker`, each with the machine and the process that it runs in."""

from __future__ import annotations

import os
import re
import secrets
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Owner:
    """One run of `tune` or `worker`, as leases and the log name it.

    Args:
        role: `tune` or `worker`.
        machine: as `machine_name` returns it.
        process: as `process_name` returns it.
        token: a random name, since one process can run several studies.
    """

    role: str
    machine: str
    process: str
    token: str

    @classmethod
    def new(cls, role: str) -> Owner:
        """Return the owner for a new run in this process."""
        return cls(role, machine_name(), process_name(), secrets.token_hex(2))

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """Return the owner with this stored name, or None if it is not the name of an owner."""
        parts = text.split(":")
        return cls(*parts) if len(parts) == 4 else None

    def __str__(self) -> str:
        return f"{self.role}:{self.machine}:{self.process}:{self.token}"

    @property
    def is_local(self) -> bool:
        """Whether it runs on this machine, where its process can be seen."""
        return self.machine == machine_name()

    @property
    def is_running(self) -> bool:
        """Whether its process runs on this machine."""
        return self.is_local and is_running(self.process)

    @property
    def has_exited(self) -> bool:
        """Whether it ran on this machine and its process has exited; of other machines nothing is known."""
        return self.is_local and not is_running(self.process)

    @property
    def host(self) -> str:
        """The host name of its machine."""
        return re.sub(r"-(?:[0-9a-f]{1,8}-)?\d+$", "", self.machine)

    @property
    def pid(self) -> int:
        """The id of its process on its machine."""
        return int(self.process.partition("-")[0])


@cache
def machine_name() -> str:
    """Return a name that only processes that see each other's process ids share."""
    parts = [socket.gethostname().split(".")[0]]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
        parts.append(str(os.stat("/proc/self/ns/pid").st_ino))  # containers have their own
    except OSError:
        parts.append(str(int(psutil.boot_time())))
    return "-".join(parts)


def process_name(pid: int | None = None) -> str:
    """Return a name for a process that no later process gets: its id and its start, since ids are reused."""
    pid = os.getpid() if pid is None else pid
    return f"{pid}-{_start(pid)}"


def is_running(name: str) -> bool:
    """Return whether the process with this `process_name` still runs."""
    pid, _, start = name.partition("-")
    try:
        return _start(int(pid)) == int(start)
    except (OSError, psutil.Error, ValueError, IndexError):
        return False


def _start(pid: int) -> int:
    """Return when a process started, in ticks since boot: the time of day would change with the clock."""
    try:
        # After the name, which may contain anything: the state is the 1st field, the ticks are the 20th.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            raise
        return int(psutil.Process(pid).create_time() * 100)
    if fields[0] in "ZX":
        raise ProcessLookupError(f"process {pid} has exited")
    return int(fields[19])
