"""The interface of trackers, and the thread in which a tracker cannot harm the study."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from siamkit.study.worker.messages import Attempt, Row

MAX_QUEUED_EVENTS = 10_000
CLOSE_SECONDS = 20.0  # seconds to write the events that are queued at the end

Outcome = Literal["complete", "pruned", "failed", "died", "interrupted"]


@dataclass(frozen=True)
class AttemptStarted:
    """An event: a worker has started the attempt."""

    attempt: Attempt


@dataclass(frozen=True)
class EpochEnded:
    """An event: an epoch of a repeat has ended; the row has `epoch`, `loss` and measures."""

    attempt: Attempt
    repeat: int
    row: Row


@dataclass(frozen=True)
class AttemptEnded:
    """An event: the attempt has ended.

    Args:
        attempt: the attempt.
        outcome: the outcome of the attempt.
        cause: the reason why it is not complete, as a sentence.
        measures: final measures, `seconds` among them; those on the test split begin with `test/`.
    """

    attempt: Attempt
    outcome: Outcome
    cause: str
    measures: dict[str, float]


TrackerEvent = AttemptStarted | EpochEnded | AttemptEnded


class Tracker(Protocol):
    """A receiver of the events of all attempts on this machine, one after the other, in its own thread."""

    def on_event(self, event: TrackerEvent) -> None:
        """Record an event."""

    def close(self) -> None:
        """Finish after the last event."""


class TrackerThread:
    """A thread that runs a tracker. A tracker that fails is reported once and gets no more events.

    A full disk or a server that does not answer must neither delay a trial nor end it.

    Args:
        key: the tracker's key in the study file, for messages.
        make: function that creates the tracker, in its thread.
        notify: function that gets sentences for the user.
    """

    def __init__(self, key: str, make: Callable[[], Tracker], notify: Callable[[str], None]) -> None:
        self._key, self._make, self._notify = key, make, notify
        self._events: queue.Queue[TrackerEvent | None] = queue.Queue(MAX_QUEUED_EVENTS)
        self._is_off = False
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"siamkit-{key}")
        self._thread.start()

    def on_event(self, event: TrackerEvent) -> None:
        """Pass an event on, unless the tracker is off."""
        if self._is_off:
            return
        try:
            self._events.put_nowait(event)
        except queue.Full:
            self._switch_off(f"it is {MAX_QUEUED_EVENTS} events behind")

    def close(self) -> None:
        """Give the tracker some time to write what is queued."""
        until = time.monotonic() + CLOSE_SECONDS
        while not self._is_off and time.monotonic() < until:
            try:
                self._events.put_nowait(None)
                break
            except queue.Full:
                time.sleep(0.05)
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            self._switch_off(f"it did not finish within {CLOSE_SECONDS:g} s")

    def _run(self) -> None:
        try:
            tracker = self._make()
            while (event := self._events.get()) is not None:
                tracker.on_event(event)
            tracker.close()
        except Exception as error:
            first = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            self._switch_off(f"{first:.300}")

    def _switch_off(self, reason: str) -> None:
        if not self._is_off:
            self._is_off = True
            self._notify(f"{self._key}: tracking is switched off; the study continues ({reason})")


def is_finite_number(value: object) -> bool:
    """Return whether a value can be plotted: a finite number, and not a truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
