"""The interface of trackers, and a thread for each, so that a slow or failing one cannot hurt the study."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

MAX_WAITING_EVENTS = 10_000
CLOSING_SECONDS = 20.0  # that a tracker has at the end to catch up


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
        """A short name, suitable for a folder."""
        return str(self.trial) if self.repeat is None else f"final-{self.trial}-{self.repeat}"


class Tracker(Protocol):
    """Gets the events of all attempts of this machine, one after the other, in a thread of its own."""

    def started(self, attempt: Attempt) -> None:
        """A worker started it."""

    def epoch(self, attempt: Attempt, repeat: int, row: dict[str, Any]) -> None:
        """An epoch ended; `row` has `epoch`, `loss` and measures."""

    def ended(self, attempt: Attempt, outcome: str, cause: str, measures: dict[str, float]) -> None:
        """It ended: complete, pruned, failed, died or interrupted."""

    def close(self) -> None:
        """Close: no event follows."""


class TrackerThread:
    """Runs a tracker in a thread of its own. If it fails, it reports why once and is switched off.

    A full disk or a server that does not answer must not delay a trial, nor end it.

    Args:
        key: of the study file, for messages.
        make: creates the tracker, in the thread.
        note: reports a sentence to the user.
    """

    def __init__(self, key: str, make: Callable[[], Tracker], note: Callable[[str], None]) -> None:
        self._key, self._make, self._note = key, make, note
        self._events: queue.Queue[tuple[str, tuple[Any, ...]] | None] = queue.Queue(MAX_WAITING_EVENTS)
        self._off = False
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"siamkit-{key}")
        self._thread.start()

    def send(self, event: str, *facts: Any) -> None:
        """Pass an event on, unless the tracker is switched off."""
        if self._off:
            return
        try:
            self._events.put_nowait((event, facts))
        except queue.Full:
            self._switch_off(f"it is {MAX_WAITING_EVENTS} events behind")

    def close(self) -> None:
        """Wait a while for the tracker to catch up, then close it."""
        until = time.monotonic() + CLOSING_SECONDS
        while not self._off and time.monotonic() < until:
            try:
                self._events.put_nowait(None)
                break
            except queue.Full:
                time.sleep(0.05)
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            self._switch_off(f"it did not catch up within {CLOSING_SECONDS:g} s")

    def _run(self) -> None:
        try:
            tracker = self._make()
            while (event := self._events.get()) is not None:
                getattr(tracker, event[0])(*event[1])
            tracker.close()
        except Exception as error:
            first = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            self._switch_off(f"{first:.300}")

    def _switch_off(self, why: str) -> None:
        if not self._off:
            self._off = True
            self._note(f"{self._key} is switched off, the study continues: {why}")


def is_number(value: Any) -> bool:
    """Return whether a value can be plotted: a finite number, not a bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
