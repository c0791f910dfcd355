"""The supervisor of a machine's workers: gives them jobs, reads their messages, enforces limits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from siamkit.errors import StudyError
from siamkit.study.engines import Engine, Worker
from siamkit.study.execution.signals import Interrupts
from siamkit.study.worker.messages import (
    Attempt,
    Cause,
    Died,
    Ended,
    Epoch,
    Finished,
    Job,
    JobEvent,
    Lost,
    Message,
    Ready,
    Resumed,
    Started,
)
from siamkit.study.worker.trainer import Limits

TICK_SECONDS = 0.25
STALL_SECONDS = 1.0  # seconds; in a longer round no messages were read
GRACE_SECONDS = 2.0  # seconds in which a worker itself can end a trial that exceeds its limit
MAX_GROWTH = 1.5e9  # bytes that a worker may grow after its first trial before it is replaced
MAX_START_FAILURES = 3  # consecutive processes that exit at startup


class JobHandle(Protocol):
    """The supervisor's side of a job: it handles the job's events."""

    @property
    def job(self) -> Job:
        """The job for the worker."""

    @property
    def attempt(self) -> Attempt | None:
        """The training that the job is; None for other jobs."""

    @property
    def is_lost(self) -> bool:
        """Whether another process took the job over; then its worker is ended."""

    def on_event(self, event: JobEvent) -> Cause | None:
        """Handle an event; return None to continue, or after an epoch the cause to stop."""


class JobSource(Protocol):
    """A source of jobs for workers."""

    def tick(self) -> None:
        """Do regular work; the supervisor calls this a few times a second."""

    def next_job(self) -> JobHandle | None:
        """Return a job for an idle worker, or None if there is none now."""

    def max_workers(self) -> int:
        """Return how many workers could have a job."""

    def is_done(self) -> bool:
        """Return whether there will be no more jobs."""


class Listener(Protocol):
    """A receiver of the events of all trainings."""

    def on_event(self, attempt: Attempt, event: JobEvent) -> None:
        """Record an event."""


@dataclass
class WorkerSlot:
    """A worker and its job.

    Args:
        number: the worker's number, which decides its device and cores.
        worker: the worker.
        is_ready: whether it is ready for jobs.
        handle: its job.
        since: the time when it got the job, in seconds of the monotonic clock.
        suspended_since: the time when its process was first seen suspended; None if it runs.
        first_memory: bytes that its process held after its first job.
    """

    number: int
    worker: Worker
    is_ready: bool = False
    handle: JobHandle | None = None
    since: float = 0.0
    suspended_since: float | None = None
    first_memory: float = 0.0

    @property
    def seconds(self) -> float:
        """The seconds since it got its job."""
        return time.monotonic() - self.since


class Supervisor:
    """The supervisor of a machine's workers: it gives them jobs and handles their messages.

    Args:
        engine: starts the workers.
        limits: the time and memory limits of each job.
        max_suspended: seconds after which a suspended worker is ended.
        interrupts: the handler that knows whether the user pressed Ctrl-C.
    """

    def __init__(self, engine: Engine, limits: Limits, max_suspended: float, interrupts: Interrupts) -> None:
        self._engine, self._limits = engine, limits
        self._max_suspended, self._interrupts = max_suspended, interrupts
        self._slots: list[WorkerSlot] = []
        self._start_failures = 0
        self._listeners: Sequence[Listener] = ()

    @property
    def size(self) -> int:
        """The number of workers that run at once."""
        return self._engine.size

    def run(self, source: JobSource, listeners: Sequence[Listener] = ()) -> None:
        """Have the workers run all jobs of a source.

        Args:
            source: the source of jobs.
            listeners: the receivers of the events of all trainings.

        Raises:
            StudyError: no worker can be started.
            KeyboardInterrupt: the user pressed Ctrl-C.
        """
        self._listeners = listeners
        while True:
            if self._interrupts.requested:
                raise KeyboardInterrupt
            start = time.monotonic()
            source.tick()
            for slot in list(self._slots):
                self._read(slot)
                self._check(slot)
            is_busy = self._assign(source)
            if not is_busy and source.is_done():
                return
            self._engine.wait([slot.worker for slot in self._slots], TICK_SECONDS)
            if (seconds := time.monotonic() - start) > STALL_SECONDS:
                # The storage did not answer, or this process was suspended: that is not a trial's time.
                for slot in self._slots:
                    slot.since += seconds

    def close(self) -> None:
        """End all workers; the jobs that they had are not reported."""
        self._slots.clear()
        self._engine.close()

    # ------------------------------------------------------------- giving jobs

    def _assign(self, source: JobSource) -> bool:
        """Give jobs to idle workers; return whether any worker has one.

        A worker that is not ready yet is not waited for: without room for it, it never becomes ready.
        """
        while True:
            idle = next((slot for slot in self._slots if slot.is_ready and slot.handle is None), None)
            if idle is None and len(self._slots) >= min(self._engine.size, source.max_workers()):
                break
            if idle is None:
                self._start_worker()
                continue
            handle = source.next_job()
            if handle is None:
                break
            idle.handle, idle.since = handle, time.monotonic()
            self._notify(handle, Started())
            idle.worker.assign(handle.job, lambda message, handle=handle: self._on_message(handle, message))  # type: ignore[misc]
            self._read(idle)
        return any(slot.handle is not None for slot in self._slots)

    def _start_worker(self) -> None:
        # A number of its own, so that a worker's successor gets its device and cores.
        numbers = {slot.number for slot in self._slots}
        number = next(number for number in range(self._engine.size) if number not in numbers)
        self._slots.append(WorkerSlot(number, self._engine.start(number)))
        self._read(self._slots[-1])

    # ------------------------------------------------------------- reading messages

    def _notify(self, handle: JobHandle, event: JobEvent) -> Cause | None:
        answer = handle.on_event(event)
        if handle.attempt is not None:
            for listener in self._listeners:
                listener.on_event(handle.attempt, event)
        return answer

    def _on_message(self, handle: JobHandle, message: Message) -> Cause | None:
        """Handle a message during a job; return the answer."""
        return self._notify(handle, message) if isinstance(message, (Epoch, Resumed)) else None

    def _read(self, slot: WorkerSlot) -> None:
        for message in slot.worker.poll():
            if isinstance(message, Ready):
                slot.is_ready, self._start_failures = True, 0
            elif slot.handle is None:
                continue
            elif isinstance(message, Ended):
                handle, slot.handle = slot.handle, None
                self._notify(handle, Lost() if handle.is_lost else Finished(message, slot.seconds))
                self._replace_if_grown(slot, message.memory)
            else:
                answer = self._on_message(slot.handle, message)
                if isinstance(message, Epoch):
                    slot.worker.answer(answer)

    def _replace_if_grown(self, slot: WorkerSlot, memory: float) -> None:
        """End a worker that has grown too much while it has no job."""
        slot.first_memory = slot.first_memory or memory
        if memory > slot.first_memory + MAX_GROWTH and slot.handle is None:
            self._kill(slot)

    # ------------------------------------------------------------- checking workers

    def _check(self, slot: WorkerSlot) -> None:
        """End a worker that exceeds a limit, is suspended, or has a lost job; report one that has exited."""
        if slot not in self._slots:
            return
        death = slot.worker.death()
        if death is not None:
            self._report_death(slot, death)
            return
        handle = slot.handle
        if handle is None:
            return
        if handle.is_lost:
            self._kill(slot)
            self._notify(handle, Lost())
        elif (cause := self._limits.exceeded(slot.seconds - GRACE_SECONDS, slot.worker.memory)) is not None:
            seconds = slot.seconds
            self._kill(slot)
            self._notify(handle, Finished(Ended("failed", cause), seconds))
        elif self._suspended_seconds(slot) > self._max_suspended:
            self._kill(slot)
            text = f"its process was suspended for more than {self._max_suspended:g} s"
            self._notify(handle, Died(Cause("stopped", text)))

    def _report_death(self, slot: WorkerSlot, death: Cause) -> None:
        self._read(slot)  # its last messages
        output, handle = slot.worker.error_output(), slot.handle
        self._kill(slot)
        if handle is not None:
            self._notify(handle, Lost() if handle.is_lost else Died(death))
        elif not slot.is_ready:
            self._start_failures += 1
            if self._start_failures >= MAX_START_FAILURES:
                last = output.splitlines()[-1] if output else "(none)"
                raise StudyError(
                    f"cannot start a worker: {self._start_failures} processes exited at startup "
                    f"({death.text}); last stderr line: {last:.300}"
                )

    def _kill(self, slot: WorkerSlot) -> None:
        slot.worker.kill()
        if slot in self._slots:
            self._slots.remove(slot)

    def _suspended_seconds(self, slot: WorkerSlot) -> float:
        now = time.monotonic()
        if not slot.worker.is_suspended():
            slot.suspended_since = None
            return 0.0
        slot.suspended_since = now if slot.suspended_since is None else slot.suspended_since
        return now - slot.suspended_since
