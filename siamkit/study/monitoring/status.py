"""How a study stands, for those who only look on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from siamkit.study.monitoring._owners import Owner


@dataclass(frozen=True)
class Running:
    """A trial in somebody's hands; `epoch` and `value` are the last that the storage heard, if any."""

    trial: int
    configuration: str
    epoch: int | None
    value: float | None
    seconds: float
    owner: str


@dataclass(frozen=True)
class Best:
    """The best trial so far; `values` by objective, the first of which decides."""

    trial: int
    configuration: str
    values: dict[str, float]


@dataclass(frozen=True)
class Failure:
    """A trial that failed by its own fault, or one that `died`."""

    trial: int
    kind: Literal["failed", "died"]
    cause: str


@dataclass(frozen=True)
class Status:
    """How a study stands.

    Args:
        name: of the study.
        folder: its run folder.
        state: running; stopped, to be gone on with; done; or unsure, where it runs at most on other
            machines and those have given no sign of life since one began to look.
        why: why it stopped or is done, where that is not by its budget.
        owners: who works on it.
        objectives: figure to direction.
        counted: configurations that used up budget.
        target: how many there are to be.
        complete, pruned, failed: of those counted.
        duplicates: draws that were there already.
        died: attempts whose process died; they were or will be tried again.
        waiting: trials that are queued.
        epochs: of one training.
        running: trials under way.
        confirmed, confirming, to_confirm: repeats of finalists that are done, under way, and to be in all.
        best: the best so far.
        seconds_each: seconds for one more configuration, at the pace of this run of `tune`, else of all.
        end: when the search will be over at that pace, if it runs.
        worked: seconds that `tune` has spent on it.
        time: seconds it may spend, if limited.
        failures: the latest first.
        trust: of a study that is done, whether its numbers can be trusted, in a line.
    """

    name: str
    folder: str
    state: Literal["running", "stopped", "done", "unsure"]
    why: str
    owners: tuple[Owner, ...]
    objectives: dict[str, str]
    counted: int
    target: int
    complete: int
    pruned: int
    failed: int
    duplicates: int
    died: int
    waiting: int
    epochs: int
    running: tuple[Running, ...]
    confirmed: int
    confirming: int
    to_confirm: int
    best: Best | None
    seconds_each: float | None
    end: datetime | None
    worked: float
    time: float | None
    failures: tuple[Failure, ...]
    trust: str = ""

    def plain(self) -> dict[str, Any]:
        """For machines: the same as JSON takes it."""
        return {**asdict(self), "end": self.end.isoformat(timespec="seconds") if self.end else None}
