"""One `tune` at a time where the run folder has no lock that tells: it signs in the storage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna

from siamkit.errors import StudyError
from siamkit.study.storage import leases
from siamkit.study.storage.retry import with_retries

SIGN = "conductor"
PAUSE = 0.5  # seconds between two looks at another's sign


class CoordinatorLock:
    """The place of the one `tune` that conducts a study; workers need none.

    Args:
        storage: Optuna's study.
        owner: this process, as `leases.new_owner` names it.
        lease: seconds after which a silent one on another machine is taken for dead.
    """

    def __init__(self, storage: optuna.Study, owner: str, lease: float) -> None:
        self._storage, self._owner, self._lease = storage, owner, lease
        self._beats = 0

    @contextmanager
    def seat(self) -> Iterator[None]:
        """Takes the place, and leaves it in the end.

        Raises:
            StudyError: another one has it.
        """
        if self._is_taken():
            raise StudyError(
                f"another 'siamkit tune' is running this study ({self._read()['owner']}); "
                "'siamkit worker' lends it a hand"
            )
        self.beat()
        # Of two that begin at once the one that wrote last has it.
        time.sleep(PAUSE)
        if self._read()["owner"] != self._owner:
            raise StudyError("another 'siamkit tune' began to run this study at the same time")
        yield
        # Not after an error: it may be the storage's, and a dead process's sign disturbs nobody.
        with_retries(self._storage.set_user_attr, SIGN, None)

    def beat(self) -> None:
        """Renews the sign."""
        self._beats += 1
        with_retries(self._storage.set_user_attr, SIGN, {"owner": self._owner, "beat": self._beats})

    def _read(self) -> Any:
        return with_retries(lambda: self._storage.user_attrs).get(SIGN)

    def _is_taken(self) -> bool:
        sign = first = self._read()
        since = time.monotonic()
        while first is not None and not leases.is_gone(first["owner"]):
            if sign != first or leases.is_here(first["owner"]):
                return sign is not None
            if time.monotonic() - since > self._lease:
                break
            time.sleep(PAUSE)
            sign = self._read()
        return False
