"""Leases: who runs which trial, renewed by the machine that does, and judged by the others' own clocks."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from siamkit.study.storage.owner import is_running, machine, process

RENEWALS = 5  # in the time that a lease lasts


def new_owner(role: str) -> str:
    """A name for one run of `tune` or `worker`, in which its machine and process can be read."""
    return f"{role}:{machine()}:{process()}:{secrets.token_hex(2)}"


def role_of(owner: str) -> str:
    return owner.partition(":")[0]


def is_here(owner: str) -> bool:
    """Whether an owner's process runs on this machine."""
    _, where, name, _ = owner.split(":")
    return where == machine() and is_running(name)


def is_gone(owner: str) -> bool:
    """Whether an owner ran on this machine and its process is no more; of others nothing is known."""
    _, where, name, _ = owner.split(":")
    return where == machine() and not is_running(name)


class Watch:
    """Tells how long a sign has not changed, by this process's monotonic clock, while it looks.

    Clocks that are set don't matter to it, nor do times in which it could not look itself, because the
    storage did not answer or it was stopped.

    Args:
        patience: seconds of silence after which an owner is taken for dead.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._since: dict[int, tuple[Any, float]] = {}
        self._looked = time.monotonic()

    def begin(self) -> None:
        """To be called at the start of each look."""
        now = time.monotonic()
        if now - self._looked > self.patience / 2:
            self._since.clear()
        self._looked = now

    def is_silent(self, trial: int, sign: Any) -> bool:
        """Whether the sign of a trial has stayed the same for too long."""
        seen, since = self._since.get(trial, (None, 0.0))
        if trial not in self._since or seen != sign:
            self._since[trial] = sign, self._looked
            return False
        return self._looked - since > self.patience


class HeartbeatThread:
    """A thread that does something at regular intervals, so that the training loop need not.

    Args:
        beat: what to do; an error it raises is kept and ends the thread.
        every: seconds.
    """

    def __init__(self, beat: Callable[[], None], every: float) -> None:
        self.error: BaseException | None = None
        self._beat, self._every = beat, every
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="siamkit-pulse")

    def __enter__(self) -> HeartbeatThread:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join(timeout=self._every)

    def _run(self) -> None:
        while not self._end.wait(self._every):
            try:
                self._beat()
            except BaseException as error:
                self.error = error
                return
