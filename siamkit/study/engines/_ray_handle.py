"""The supervisor's end of a worker on a Ray cluster."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayError

from siamkit.errors import StudyError
from siamkit.study.engines._signs import Signs
from siamkit.study.engines.ray_worker import JobRequest, NodeRejected, WorkerCrashed, WorkerUpdate
from siamkit.study.worker.messages import Job, Said, Tell

LISTEN = 1.0  # seconds after which a worker that has nothing to say says so
SILENT = 10.0  # seconds after which one that does not is taken for stopped


class RayWorker:
    """An actor, as its supervisor sees it.

    Args:
        actor: Ray's handle of an `Actor`.
        signs: marks the run folders that this study writes to.
    """

    def __init__(self, actor: Any, signs: Signs) -> None:
        self._actor, self._signs = actor, signs
        self._heard = self._told = 0
        self._unsure: tuple[Any, int, Any] | None = None  # what it was told last, until that has arrived
        self._death: str | None = None
        self._trace, self._crashed = "", False
        self._memory, self._last, self._pause = 0, 0.0, 0.0
        self.listening: Any = None
        self._listen()

    def _listen(self) -> None:
        self.listening = self._actor.listen.remote(self._heard, LISTEN)

    def _tell(self, number: int, message: JobRequest | str | None) -> None:
        self._unsure = self._actor.tell.remote(number, message), number, message

    def give(self, job: Job, tell: Tell) -> None:
        self._told += 1
        self._tell(self._told, JobRequest(job, self._signs.of(job)))

    def answer(self, verdict: str | None) -> None:
        self._told += 1
        self._tell(self._told, verdict)

    def hear(self) -> list[Said]:
        if self._death is not None:
            return []
        if self.listening is None and time.monotonic() > self._pause:
            self._listen()
        try:
            self._make_sure()
            return [] if self.listening is None or not _is_done(self.listening) else self._news()
        except ActorUnavailableError:
            # Its node does not answer now; Ray will tell whether it does again, or is dead.
            self.listening, self._pause = None, time.monotonic() + LISTEN
        except RayError as error:
            self._died(error)
        return []

    def _news(self) -> list[Said]:
        news: WorkerUpdate = ray.get(self.listening)
        self._memory, self._last = news.memory, time.monotonic()
        self._heard += len(news.said)
        said: list[Said] = []
        for each in news.said:
            if isinstance(each, NodeRejected):
                raise StudyError(f"the node {each.node!r} of the Ray cluster cannot take part: {each.why}")
            if isinstance(each, WorkerCrashed):
                self._death, self._trace, self._crashed = f"by {each.error}", each.trace, True
            else:
                said.append(each)
        self._listen()
        return said

    def _make_sure(self) -> None:
        """Tells it again what may not have arrived; it knows by the number if it has."""
        if self._unsure is None or not _is_done(self._unsure[0]):
            return
        ref, number, message = self._unsure
        self._unsure = None
        try:
            ray.get(ref)
        except ActorUnavailableError:
            self._tell(number, message)
            raise

    def _died(self, error: RayError) -> None:
        """What Ray knows of a death; a signal's number it does not."""
        text = str(error)
        if isinstance(error, OutOfMemoryError):
            self._death = "for want of memory on its node"
        elif "its node has died" in text:
            self._death = "with its node"
        elif "killed by `ray.kill`" in text:
            self._death = "by ray.kill"
        elif "worker process has died" in text:
            self._death, self._crashed = "unexpectedly, by a crash or a signal", True
        else:
            self._death = f"by {type(error).__name__}"
        self._trace = text.strip()

    def death(self) -> str | None:
        return self._death

    def crashed(self) -> bool:
        return self._crashed

    def stopped(self) -> bool:
        return self._last > 0 and time.monotonic() - self._last > SILENT

    def memory(self) -> float:
        return float(self._memory)

    def trace(self) -> str:
        return self._trace

    def kill(self) -> None:
        with contextlib.suppress(RayError, ValueError):
            ray.kill(self._actor, no_restart=True)


def _is_done(ref: Any) -> bool:
    return bool(ray.wait([ref], timeout=0)[0])
