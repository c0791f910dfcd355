"""What is logged elsewhere, and how a logger is kept from hurting the study."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

ROOM = 10_000  # events that a logger may be behind
PARTING = 20.0  # seconds that it has at the end to catch up


@dataclass(frozen=True)
class Attempt:
    """One training, of a trial or of a finalist.

    Args:
        label: as the user sees it, `trial 3` or `final 3/0`.
        trial: the number of the trial.
        repeat: of a finalist; None for a trial.
        token: of the attempt; of a finalist, its configuration's key.
        number: which attempt of its trial it is, from 1.
        factors: its configuration, flat.
    """

    label: str
    trial: int
    repeat: int | None
    token: str
    number: int
    factors: dict[str, Any]

    @property
    def name(self) -> str:
        """A short name, such as does for a folder."""
        return str(self.trial) if self.repeat is None else f"final-{self.trial}-{self.repeat}"


class Logger(Protocol):
    """Hears of all attempts of this machine, one event after the other, in a thread of its own."""

    def started(self, attempt: Attempt) -> None:
        """A worker has it."""

    def epoch(self, attempt: Attempt, repeat: int, row: dict[str, Any]) -> None:
        """An epoch ended; `row` has `epoch`, `loss` and figures."""

    def ended(self, attempt: Attempt, outcome: str, cause: str, measures: dict[str, float]) -> None:
        """It ended: complete, pruned, failed, died or interrupted."""

    def close(self) -> None:
        """Nothing more will come."""


class Aside:
    """Has a logger hear in a thread of its own. One that fails is told of once, and hears no more.

    A disk that is full or a server that does not answer must not keep a trial waiting, nor end it.

    Args:
        key: of the study file, for the user.
        make: makes the logger, in its thread.
        tell: hears sentences for the user.
    """

    def __init__(self, key: str, make: Callable[[], Logger], tell: Callable[[str], None]) -> None:
        self._key, self._make, self._tell = key, make, tell
        self._events: queue.Queue[tuple[str, tuple[Any, ...]] | None] = queue.Queue(ROOM)
        self._off = False
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"siamkit-{key}")
        self._thread.start()

    def hear(self, event: str, *facts: Any) -> None:
        """Hands an event on, unless the logger is off."""
        if self._off:
            return
        try:
            self._events.put_nowait((event, facts))
        except queue.Full:
            self._switch_off(f"it is {ROOM} events behind")

    def close(self) -> None:
        """Gives it some time to catch up."""
        until = time.monotonic() + PARTING
        while not self._off and time.monotonic() < until:
            try:
                self._events.put_nowait(None)
                break
            except queue.Full:
                time.sleep(0.05)
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            self._switch_off(f"it did not catch up within {PARTING:g} s")

    def _run(self) -> None:
        try:
            logger = self._make()
            while (event := self._events.get()) is not None:
                getattr(logger, event[0])(*event[1])
            logger.close()
        except Exception as error:
            first = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            self._switch_off(f"{first:.300}")

    def _switch_off(self, why: str) -> None:
        if not self._off:
            self._off = True
            self._tell(f"{self._key}: logging there is switched off; the study goes on ({why})")


def is_number(value: Any) -> bool:
    """Whether a value can be drawn: finite, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
