"""Work whose every event loggers hear of too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from siamkit.runs.configuration import factors_of
from siamkit.study.execution.supervisor import JobHandle, Source
from siamkit.study.execution.trial import mean_measures
from siamkit.study.tracking.base import Aside, Attempt
from siamkit.study.worker.messages import Ended, Job


class Watched:
    """A source of work for a pool; what comes from it is heard by loggers as it goes on.

    It stands between the pool and the work, so neither knows of loggers.

    Args:
        source: where the work comes from.
        loggers: who hears.
    """

    def __init__(self, source: Source, loggers: Sequence[Aside]) -> None:
        self._source, self._loggers = source, loggers
        self._open: dict[int, WatchedWork] = {}

    def tick(self) -> None:
        self._source.tick()

    def next(self) -> JobHandle | None:
        work = self._source.next()
        return WatchedWork(work, self) if work is not None else None

    def room(self) -> int:
        return self._source.room()

    def done(self) -> bool:
        return self._source.done()

    def interrupted(self) -> None:
        """What is under way now is not brought to its end."""
        for work in list(self._open.values()):
            self.tell(work, "ended", "interrupted", "", {})

    def tell(self, work: WatchedWork, event: str, *facts: object) -> None:
        """Has all loggers hear of an event of some work."""
        if event == "started":
            self._open[id(work)] = work
        elif event == "ended" and self._open.pop(id(work), None) is None:
            return
        for logger in self._loggers:
            logger.hear(event, work.attempt, *facts)


class WatchedWork:
    """An assignment; all is handed on, and told."""

    def __init__(self, work: JobHandle, source: Watched) -> None:
        self._work, self._source = work, source
        self.attempt = attempt_of(work)

    @property
    def job(self) -> Job:
        return self._work.job

    @property
    def lost(self) -> bool:
        return self._work.lost

    def started(self) -> None:
        self._work.started()
        self._source.tell(self, "started")

    def resumed(self, history: list[dict[str, float]]) -> None:
        self._work.resumed(history)
        for row in history:
            self._source.tell(self, "epoch", int(row.get("repeat", 0)), dict(row))

    def epoch(self, repeat: int, number: int, row: dict[str, float]) -> str | None:
        self._source.tell(self, "epoch", repeat, dict(row))
        return self._work.epoch(repeat, number, row)

    def ended(self, ended: Ended, seconds: float) -> None:
        self._work.ended(ended, seconds)
        outcome = "interrupted" if ended.outcome == "outside" else ended.outcome
        measures = mean_measures(ended.measures) if outcome == "complete" and ended.measures else {}
        measures |= {f"test/{name}": value for name, value in ended.test.items()}
        self._source.tell(self, "ended", outcome, ended.cause, {**measures, "seconds": seconds})

    def gone(self) -> None:
        self._work.gone()
        self._source.tell(self, "ended", "interrupted", "", {})

    def died(self, cause: str, crashed: bool) -> None:
        self._work.died(cause, crashed)
        self._source.tell(self, "ended", "died", cause, {})


def attempt_of(work: JobHandle) -> Attempt:
    """What loggers are told of some work: read from its job and its place, `…/trials/3/0a1b2c3d`."""
    job = work.job
    parent, last = PurePosixPath(job.place.replace("\\", "/")).parts[-2:]
    factors = factors_of(job.configuration)
    claim = getattr(work, "claim", None)
    if job.kind == "confirm":
        trial = int(getattr(work, "trial", -1))
        return Attempt(f"final {trial}/{last}", trial, int(last), parent, 1, factors)
    return Attempt(f"trial {parent}", int(parent), None, last, getattr(claim, "attempt", 1), factors)
