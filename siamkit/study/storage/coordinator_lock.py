"""A lock in the storage: one `tune` runs a study at a time, also where the run folder has no lock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import optuna

from siamkit.errors import StudyError
from siamkit.study.storage.leases import Lease
from siamkit.study.storage.owner import Owner
from siamkit.study.storage.retry import with_retries

ATTRIBUTE = "conductor"
POLL_SECONDS = 0.5


class CoordinatorLock:
    """The lock of the one `tune` that coordinates a study; workers need none.

    Args:
        optuna_study: the study in its storage.
        owner: this process.
        seconds: how long the lock of an owner on another machine lasts without a renewal.
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
        """Return the owner that holds the lock; on another machine, the one that renews it."""
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
