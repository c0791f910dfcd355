"""The supervisor of a machine's workers: gives them work, hears them, keeps the limits, replaces the dead."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from siamkit.errors import StudyError
from siamkit.study.engines import Engine, Worker
from siamkit.study.worker.messages import Ended, Epoch, Job, Ready, Resumed

TICK = 0.25  # seconds between two looks at everything
STALL = 1.0  # seconds that one round may take; in longer ones nobody was heard
GRACE = 2.0  # seconds in which a worker itself may end a trial that has passed its limit
GROWTH = 1.5e9  # bytes by which a worker may grow beyond its first trial before it is replaced


class JobHandle(Protocol):
    """A job in somebody's hands, and what is to happen as it goes on."""

    @property
    def job(self) -> Job:
        """What the worker is told."""

    @property
    def lost(self) -> bool:
        """Whether it is somebody else's by now: then its worker is stopped."""

    def started(self) -> None:
        """A worker has it."""

    def resumed(self, history: list[dict[str, float]]) -> None:
        """It goes on behind these epochs."""

    def epoch(self, repeat: int, number: int, row: dict[str, float]) -> str | None:
        """An epoch ended; None to go on, or why not to."""

    def ended(self, ended: Ended, seconds: float) -> None:
        """It ended by itself, or by a limit."""

    def gone(self) -> None:
        """It was somebody else's, and its worker is at it no more."""

    def died(self, cause: str, crashed: bool) -> None:
        """Its worker died; `crashed` if by its own doing."""


class Source(Protocol):
    """Where work comes from."""

    def tick(self) -> None:
        """Called a few times a second."""

    def next(self) -> JobHandle | None:
        """Work for a free worker; None if there is none now."""

    def room(self) -> int:
        """How many workers could have something to do, at most."""

    def done(self) -> bool:
        """Whether there will be no work any more."""


@dataclass
class WorkerSlot:
    """A worker and what it has to do."""

    number: int
    worker: Worker
    ready: bool = False
    work: JobHandle | None = None
    since: float = 0.0
    stopped_since: float | None = None
    first_memory: float = 0.0


@dataclass
class Limits:
    """Of one trial: seconds, bytes of its process, and seconds that a stopped process is left alone."""

    seconds: float | None = None
    memory: float | None = None
    stopped: float = 60.0


@dataclass
class Supervisor:
    """The workers of one engine.

    Args:
        engine: where they live.
        limits: of a trial.
        interrupted: asked each round; once it is true, KeyboardInterrupt is raised.
    """

    engine: Engine
    limits: Limits
    interrupted: Callable[[], bool] = lambda: False
    desks: list[WorkerSlot] = field(default_factory=list)
    _still_born: int = 0

    def run(self, source: Source) -> None:
        """Has the workers do all the work of a source.

        Raises:
            StudyError: no worker comes to life.
            KeyboardInterrupt: the user wants no more.
        """
        while True:
            if self.interrupted():
                raise KeyboardInterrupt
            began = time.monotonic()
            source.tick()
            for desk in list(self.desks):
                self._hear(desk)
                self._guard(desk)
            busy = self._give(source)
            if not busy and source.done():
                return
            self.engine.wait([desk.worker for desk in self.desks], TICK)
            if (took := time.monotonic() - began) > STALL:
                # The storage was silent, or this process stopped: not the time of any trial.
                for desk in self.desks:
                    desk.since += took

    def close(self) -> None:
        """Ends all workers; what they were at is for its owner to give back."""
        self.desks.clear()
        self.engine.close()

    def _give(self, source: Source) -> bool:
        """Gives work to those who have none; whether anybody has some.

        One that is not ready yet is no reason to wait: where there is no room for it, it never is.
        """
        while True:
            free = next((desk for desk in self.desks if desk.ready and desk.work is None), None)
            if free is None and len(self.desks) >= min(self.engine.size, source.room()):
                break
            if free is None:
                self._new_desk()
                self._hear(self.desks[-1])
                continue
            work = source.next()
            if work is None:
                break
            free.work, free.since = work, time.monotonic()
            work.started()
            free.worker.give(work.job, lambda said, work=work: self._told(work, said))  # type: ignore[misc]
            self._hear(free)
        return any(desk.work is not None for desk in self.desks)

    def _new_desk(self) -> None:
        # A number of its own, so that the one whose place it takes leaves it its device and cores.
        taken = {desk.number for desk in self.desks}
        number = next(each for each in range(self.engine.size) if each not in taken)
        self.desks.append(WorkerSlot(number, self.engine.start(number)))

    @staticmethod
    def _told(work: JobHandle, said: object) -> str | None:
        if isinstance(said, Epoch):
            return work.epoch(said.repeat, said.number, said.row)
        if isinstance(said, Resumed):
            work.resumed(said.history)
        return None

    def _hear(self, desk: WorkerSlot) -> None:
        for said in desk.worker.hear():
            if isinstance(said, Ready):
                desk.ready, self._still_born = True, 0
            elif desk.work is None:
                continue
            elif isinstance(said, Ended):
                work, desk.work = desk.work, None
                if work.lost:
                    work.gone()
                else:
                    work.ended(said, time.monotonic() - desk.since)
                self._retire(desk, said.memory)
            elif isinstance(said, Epoch):
                desk.worker.answer(self._told(desk.work, said))
            else:
                self._told(desk.work, said)

    def _retire(self, desk: WorkerSlot, memory: float) -> None:
        """A worker that has grown too much is ended while it has nothing to do."""
        desk.first_memory = desk.first_memory or memory
        if memory > desk.first_memory + GROWTH and desk.work is None:
            self._end(desk)

    def _end(self, desk: WorkerSlot) -> None:
        desk.worker.kill()
        if desk in self.desks:
            self.desks.remove(desk)

    def _guard(self, desk: WorkerSlot) -> None:
        """Sees to a worker that is dead, over a limit, stopped, or at somebody else's work."""
        if desk not in self.desks:
            return
        how = desk.worker.death()
        if how is not None:
            self._bury(desk, how)
            return
        work = desk.work
        if work is None:
            return
        if work.lost:
            self._end(desk)
            work.gone()
        elif (passed := self._passed(desk)) is not None:
            self._end(desk)
            work.ended(Ended("failed", passed), time.monotonic() - desk.since)
        elif self._stopped_for(desk) > self.limits.stopped:
            self._end(desk)
            work.died(f"its process was stopped for more than {self.limits.stopped:g} s", False)

    def _bury(self, desk: WorkerSlot, how: str) -> None:
        self._hear(desk)  # its last words
        trace, crashed, work = desk.worker.trace(), desk.worker.crashed(), desk.work
        self._end(desk)
        if work is not None:
            if work.lost:
                work.gone()
            else:
                work.died(f"its process ended {how}", crashed)
        elif not desk.ready:
            self._still_born += 1
            if self._still_born >= 3:
                last = trace.splitlines()[-1] if trace else "it said nothing"
                raise StudyError(f"no worker comes to life: its process ended {how}: {last:.300}")

    def _passed(self, desk: WorkerSlot) -> str | None:
        """The limit that a worker has passed, in words."""
        seconds, memory = self.limits.seconds, self.limits.memory
        if seconds is not None and time.monotonic() - desk.since > seconds + GRACE:
            return f"took longer than the trial_time of {seconds:g} s"
        if memory is not None and desk.worker.memory() > memory:
            return f"took more memory than the trial_memory of {memory / 1e9:g} GB"
        return None

    def _stopped_for(self, desk: WorkerSlot) -> float:
        now = time.monotonic()
        if not desk.worker.stopped():
            desk.stopped_since = None
            return 0.0
        desk.stopped_since = now if desk.stopped_since is None else desk.stopped_since
        return now - desk.stopped_since
