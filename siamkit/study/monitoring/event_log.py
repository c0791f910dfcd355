"""The event log of a study, for readers: which processes take part, whether they live, why they stopped."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from siamkit.io.paths import is_local
from siamkit.runs.run_folder import RunFolder
from siamkit.study.storage import leases as owners


@dataclass(frozen=True)
class Owner:
    """One run of `tune` or `worker`.

    Args:
        name: the owner's name, as in the leases.
        role: `tune` or `worker`.
        host: the name of its machine.
        pid: the id of its process there.
        alive: whether its process lives; None while that is unknown.
    """

    name: str
    role: str
    host: str
    pid: int
    alive: bool | None


class Owners:
    """A judge of whether owners live: on this machine by their process, elsewhere by renewed leases.

    Args:
        patience: seconds without a sign of life after which an owner elsewhere counts as dead.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._seen: dict[str, tuple[Any, float, bool]] = {}

    def judge(self, signs: Iterable[tuple[str, Any]]) -> list[Owner]:
        """Return the owners of leases and of lines of the log.

        Args:
            signs: pairs of an owner's name and a value that changes while the owner lives.
        """
        by_name: dict[str, list[Any]] = {}
        for name, sign in signs:
            by_name.setdefault(name, []).append(sign)
        statuses = []
        for name, sign in by_name.items():
            parsed = owners.Owner.parse(name)
            if parsed is not None:
                alive = parsed.is_running if parsed.is_local else self._shows_life(name, sign)
                statuses.append(Owner(name, parsed.role, parsed.host, parsed.pid, alive))
        return statuses

    def _shows_life(self, name: str, sign: Any) -> bool | None:
        now = time.monotonic()
        before, since, moved = self._seen.get(name, (sign, now, False))
        if before != sign:
            since, moved = now, True
        self._seen[name] = sign, since, moved
        if now - since > self._patience:
            return False
        return True if moved else None


def role_of(name: str) -> str:
    """Return the role in the name of an owner; empty if the name is not an owner's."""
    owner = owners.Owner.parse(name)
    return owner.role if owner is not None else ""


def is_here(name: str) -> bool:
    """Return whether an owner is a living process of this machine."""
    owner = owners.Owner.parse(name)
    return owner is not None and owner.is_running


class Event(BaseModel):
    """A line of the log: what happened, when, and to which trial."""

    model_config = ConfigDict(frozen=True, extra="allow")

    time: float
    event: str
    owner: str = ""
    trial: int = -1
    repeat: int = -1
    cause: str = ""
    target: int | None = None
    counted: int | None = None
    finished: bool | None = None


@dataclass
class EventLog:
    """The events of a run folder; `refresh` reads those that are new.

    Args:
        folder: the run folder.
        started: the event of each owner's start, by owner.
        stopped: the event of each owner's stop, by owner.
        causes: the cause of death of each trial's process, by trial number.
        repeats: the start of each repeat of a finalist that has not ended, by trial and repeat.
    """

    folder: Path
    started: dict[str, Event] = field(default_factory=dict)
    stopped: dict[str, Event] = field(default_factory=dict)
    causes: dict[int, str] = field(default_factory=dict)
    repeats: dict[tuple[int, int], Event] = field(default_factory=dict)
    _read: int = 0

    def refresh(self) -> None:
        """Read new events. Damaged lines, and a missing log, are skipped."""
        for line in self._lines():
            owner, event = line.owner, line.event
            if event == "started":
                self.started[owner] = line
                self.stopped.pop(owner, None)
            elif event == "stopped":
                self.stopped[owner] = line
                self.repeats = {key: start for key, start in self.repeats.items() if start.owner != owner}
            elif event == "trial died":
                self.causes[line.trial] = line.cause or self.causes.get(line.trial, "")
            elif event == "final started":
                self.repeats[line.trial, line.repeat] = line
            elif event in ("confirmed", "final died"):
                self.repeats.pop((line.trial, line.repeat), None)

    def last_start(self) -> Event | None:
        """Return the last start of `tune`."""
        starts = [event for owner, event in self.started.items() if role_of(owner) == "tune"]
        return max(starts, key=lambda event: event.time, default=None)

    def _lines(self) -> Iterator[Event]:
        try:
            if is_local(self.folder):
                with RunFolder(self.folder).log_file.open("rb") as file:
                    file.seek(self._read)
                    new = file.read()
                new = new[: new.rfind(b"\n") + 1]  # the last line may be half-written
                self._read += len(new)
            else:
                new = b"".join(file.read_bytes() for file in RunFolder(self.folder).log_files())
        except OSError:
            return
        events = []
        for text in new.splitlines():
            with suppress(ValidationError):
                events.append(Event.model_validate_json(text))
        yield from events if is_local(self.folder) else sorted(events, key=lambda event: event.time)
