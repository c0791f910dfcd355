"""Leases: which owner runs which trial, and which `tune` runs the study.

An owner renews its lease; others judge it by their own clocks.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypedDict

import optuna
import psutil

from siamkit.errors import StudyError
from siamkit.study.storage.retry import with_retries


@dataclass(frozen=True)
class Owner:
    """One run of `tune` or `worker`, as leases and the log name it.

    Args:
        role: `tune` or `worker`.
        machine: the machine's name, as `machine_name` returns it.
        process: the process's name, as `process_name` returns it.
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
    """Return a name of this machine; two processes with one name see each other's process ids."""
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


RENEWALS = 5  # number of renewals while a lease lasts


class StoredLease(TypedDict):
    """A lease as plain data."""

    owner: str
    beat: int


@dataclass(frozen=True)
class Lease:
    """The right of an owner, as the storage has it; each renewal increases `beat` by one."""

    owner: Owner
    beat: int

    @classmethod
    def parse(cls, stored: StoredLease | None) -> Lease | None:
        """Return a stored lease, or None if there is none."""
        owner = Owner.parse(stored["owner"]) if stored else None
        return cls(owner, stored["beat"]) if stored and owner else None

    def stored(self) -> StoredLease:
        """Return the lease as plain data."""
        return {"owner": str(self.owner), "beat": self.beat}


class LeaseMonitor:
    """A monitor that finds leases not renewed for too long, by this process's monotonic clock.

    Clocks that are set do not matter, and neither does time in which this process could not look itself,
    because the storage did not answer or the process was stopped.

    Args:
        seconds: seconds that a lease lasts without a renewal.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._unchanged: dict[int, tuple[Lease | None, float]] = {}
        self._now = time.monotonic()

    def start_round(self) -> None:
        """Start to look at all leases."""
        now = time.monotonic()
        if now - self._now > self._seconds / 2:
            self._unchanged.clear()
        self._now = now

    def is_expired(self, trial: int, lease: Lease | None) -> bool:
        """Return whether a trial's lease, or the lack of a lease, has been the same for too long."""
        seen, since = self._unchanged.get(trial, (None, 0.0))
        if trial not in self._unchanged or seen != lease:
            self._unchanged[trial] = lease, self._now
            return False
        return self._now - since > self._seconds


class HeartbeatThread:
    """A thread that renews leases or a lock at regular intervals, so that the training loop need not.

    Args:
        renew: function called at each interval; its error is stored in `error` and ends the thread.
        interval: seconds between two renewals.
    """

    def __init__(self, renew: Callable[[], None], interval: float) -> None:
        self.error: BaseException | None = None
        self._renew, self._interval = renew, interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="siamkit-heartbeat")

    def __enter__(self) -> HeartbeatThread:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(timeout=self._interval)

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                self._renew()
            except BaseException as error:
                self.error = error
                return


ATTRIBUTE = "conductor"
POLL_SECONDS = 0.5


class CoordinatorLock:
    """The lock of the one `tune` that coordinates a study; workers need none.

    Args:
        optuna_study: the study in its storage.
        owner: this process.
        seconds: seconds that the lock of an owner on another machine lasts without a renewal.
    """

    def __init__(self, optuna_study: optuna.Study, owner: Owner, seconds: float) -> None:
        self._optuna_study, self._owner, self._seconds = optuna_study, owner, seconds
        self._beats = 0

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """Hold the lock.

        Raises:
            StudyError: another `tune` holds it.
        """
        if (holder := self._holder()) is not None:
            raise StudyError(
                f"another 'siamkit tune' is running this study ({holder}); to help it, use 'siamkit worker'"
            )
        self.renew()
        # Of two that start at the same time, the one that wrote last has the lock.
        time.sleep(POLL_SECONDS)
        lease = self._read()
        if lease is None or lease.owner != self._owner:
            raise StudyError("another 'siamkit tune' started to run this study at the same time")
        yield
        # Not after an error: it may be the storage's, and the lock of an exited process blocks no other.
        with_retries(self._optuna_study.set_user_attr, ATTRIBUTE, None)

    def renew(self) -> None:
        """Renew the lock."""
        self._beats += 1
        lease = Lease(self._owner, self._beats)
        with_retries(self._optuna_study.set_user_attr, ATTRIBUTE, lease.stored())

    def _read(self) -> Lease | None:
        return Lease.parse(with_retries(lambda: self._optuna_study.user_attrs).get(ATTRIBUTE))

    def _holder(self) -> Owner | None:
        """Return the owner that holds the lock; an owner on another machine holds it while it renews it."""
        lease = first = self._read()
        since = time.monotonic()
        while first is not None and not first.owner.has_exited:
            if lease != first or first.owner.is_running:
                return lease.owner if lease is not None else None
            if time.monotonic() - since > self._seconds:
                break
            time.sleep(POLL_SECONDS)
            lease = self._read()
        return None
