"""Leases: which owner runs which trial. The owner renews its lease; others judge it by their own clocks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

from siamkit.study.storage.owner import Owner

RENEWALS = 5  # while a lease lasts


class StoredLease(TypedDict):
    """A lease as plain data."""

    owner: str
    beat: int


@dataclass(frozen=True)
class Lease:
    """The right of an owner, as the storage has it; each renewal counts one more beat."""

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
    """Finds leases that have not changed for too long by this process's monotonic clock.

    Clocks that are set do not matter, and neither does time in which this process could not look itself,
    because the storage did not answer or the process was stopped.

    Args:
        seconds: how long a lease lasts without a renewal.
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
        """Return whether the lease of a trial has been the same for too long; no lease counts as one, too."""
        seen, since = self._unchanged.get(trial, (None, 0.0))
        if trial not in self._unchanged or seen != lease:
            self._unchanged[trial] = lease, self._now
            return False
        return self._now - since > self._seconds


class HeartbeatThread:
    """A thread that renews something at regular intervals, so that the training loop need not.

    Args:
        renew: called at each interval; an error is kept in `error` and ends the thread.
        interval: seconds.
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
