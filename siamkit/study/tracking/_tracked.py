"""A source of jobs whose events go to trackers, too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from siamkit.runs.configuration import factors_of
from siamkit.runs.results import mean_measures
from siamkit.study.execution.supervisor import JobHandle, Source
from siamkit.study.tracking.base import Attempt, TrackerThread
from siamkit.study.worker.messages import Ended, Job


class TrackedSource:
    """A source of jobs that passes every event on to trackers.

    It stands between the supervisor and the source, so neither knows of trackers.

    Args:
        source: of the jobs.
        trackers: that get the events.
    """

    def __init__(self, source: Source, trackers: Sequence[TrackerThread]) -> None:
        self._source, self._trackers = source, trackers
        self._open: dict[int, TrackedJob] = {}

    def tick(self) -> None:
        self._source.tick()

    def next(self) -> JobHandle | None:
        work = self._source.next()
        return TrackedJob(work, self) if work is not None else None

    def room(self) -> int:
        return self._source.room()

    def done(self) -> bool:
        return self._source.done()

    def interrupted(self) -> None:
        """Tell trackers that the jobs under way were interrupted."""
        for work in list(self._open.values()):
            self.send(work, "ended", "interrupted", "", {})

    def send(self, work: TrackedJob, event: str, *facts: object) -> None:
        """Send an event of a job to all trackers."""
        if event == "started":
            self._open[id(work)] = work
        elif event == "ended" and self._open.pop(id(work), None) is None:
            return
        for tracker in self._trackers:
            tracker.send(event, work.attempt, *facts)


class TrackedJob:
    """A job whose events go to its own handle and to trackers."""

    def __init__(self, work: JobHandle, source: TrackedSource) -> None:
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
        self._source.send(self, "started")

    def resumed(self, history: list[dict[str, float]]) -> None:
        self._work.resumed(history)
        for row in history:
            self._source.send(self, "epoch", int(row.get("repeat", 0)), dict(row))

    def epoch(self, repeat: int, number: int, row: dict[str, float]) -> str | None:
        self._source.send(self, "epoch", repeat, dict(row))
        return self._work.epoch(repeat, number, row)

    def ended(self, ended: Ended, seconds: float) -> None:
        self._work.ended(ended, seconds)
        outcome = "interrupted" if ended.outcome == "outside" else ended.outcome
        measures = mean_measures(ended.measures) if outcome == "complete" and ended.measures else {}
        measures |= {f"test/{name}": value for name, value in ended.test.items()}
        self._source.send(self, "ended", outcome, ended.cause, {**measures, "seconds": seconds})

    def gone(self) -> None:
        self._work.gone()
        self._source.send(self, "ended", "interrupted", "", {})

    def died(self, cause: str, crashed: bool) -> None:
        self._work.died(cause, crashed)
        self._source.send(self, "ended", "died", cause, {})


def attempt_of(work: JobHandle) -> Attempt:
    """Return the training that a job stands for, as trackers show it."""
    job = work.job
    parent, last = PurePosixPath(job.place.replace("\\", "/")).parts[-2:]
    factors = factors_of(job.configuration)
    claim = getattr(work, "claim", None)
    if job.kind == "confirm":
        trial = int(getattr(work, "trial", -1))
        return Attempt(f"final {trial}/{last}", trial, int(last), parent, 1, factors)
    return Attempt(f"trial {parent}", int(parent), None, last, getattr(claim, "attempt", 1), factors)
