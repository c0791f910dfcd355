"""The node's side of a worker on a Ray cluster. It does not import Ray; Ray calls it.

A thread runs the jobs, so that the process can receive and send messages meanwhile. Messages in both
directions are numbered, because a call whose answer was lost may have arrived all the same.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
import traceback
from dataclasses import dataclass, field
from typing import Any

import psutil

from siamkit.errors import SiamkitError
from siamkit.io.paths import as_path
from siamkit.registry.catalog import SESSION
from siamkit.registry.registry import components
from siamkit.runs.results import Versions, differences, versions
from siamkit.study.worker.messages import Cause, Epoch, Job, Message, Ready, Setup
from siamkit.study.worker.process import make_runner
from siamkit.study.worker.shared_arrays import PackedData, unpack


@dataclass(frozen=True)
class NodeRejected:
    """A rejected node: why it cannot take part in the study, and its host name."""

    reason: str
    node: str = field(default_factory=socket.gethostname)


@dataclass(frozen=True)
class WorkerCrashed:
    """An error that ended the worker: its name and its traceback."""

    error: str
    traceback: str


@dataclass(frozen=True)
class JobRequest:
    """A job, with a marker file that the node sees if it sees the run folder; None for jobs without files."""

    job: Job
    marker: str | None


@dataclass(frozen=True)
class WorkerUpdate:
    """The messages of a worker since the last update, and the memory of its process in bytes."""

    messages: tuple[Message | NodeRejected | WorkerCrashed, ...]
    memory: int


class Actor:
    """A process on a node, started by Ray.

    Args:
        setup: the settings of the worker, such as the backend and the study.
        packed: the prepared data.
    """

    def __init__(self, setup: Setup, packed: PackedData) -> None:
        self._outbox: list[Message | NodeRejected | WorkerCrashed] = []
        self._first = 0  # number of the first message in the outbox
        self._changed = threading.Condition()
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._next = 0
        thread = threading.Thread(target=self._work, args=(setup, packed), daemon=True, name="siamkit-work")
        thread.start()

    # ------------------------------------------------------------- called by Ray, in threads of its own

    def listen(self, received: int, seconds: float) -> WorkerUpdate:
        """Return the messages after the first `received` ones; wait at most `seconds` for one."""
        with self._changed:
            del self._outbox[: max(0, received - self._first)]
            self._first = max(received, self._first)
            self._changed.wait_for(lambda: self._outbox, seconds)
            messages = tuple(self._outbox)
        return WorkerUpdate(messages, psutil.Process().memory_info().rss)

    def receive(self, number: int, message: JobRequest | Cause | None) -> None:
        """Accept a job, or the answer to an epoch; ignore a number that was received before."""
        with self._changed:
            if number < self._next:
                return
            self._next = number + 1
        self._inbox.put(message)

    # ------------------------------------------------------------- the thread that works

    def _work(self, setup: Setup, packed: PackedData) -> None:
        try:
            reason = version_mismatch(setup)
            if reason is None:
                runner = make_runner(setup, unpack(packed))
                reason = plugin_mismatch(setup)
            if reason is not None:
                self._post(NodeRejected(reason))
                return
            self._post(Ready(os.getpid()))
            while True:
                request: JobRequest = self._inbox.get()
                if request.marker is not None and not as_path(request.marker).is_file():
                    self._post(NodeRejected(_folder_not_visible(request.marker)))
                    return
                self._post(runner.run(request.job, self._send))
        except SiamkitError as error:
            self._post(NodeRejected(str(error)))
        except BaseException as error:
            self._post(WorkerCrashed(type(error).__name__, "".join(traceback.format_exception(error))))

    def _send(self, message: Message) -> Cause | None:
        self._post(message)
        if not isinstance(message, Epoch):
            return None
        answer: Cause | None = self._inbox.get()
        return answer

    def _post(self, message: Message | NodeRejected | WorkerCrashed) -> None:
        with self._changed:
            self._outbox.append(message)
            self._changed.notify_all()


def version_mismatch(setup: Setup) -> str | None:
    """Return which installed packages differ from the supervisor's, as a sentence, or None."""
    return _mismatch(setup.versions, versions(setup.backend, setup.versions.plugins))


def plugin_mismatch(setup: Setup) -> str | None:
    """Return which plugins of the study differ or are missing, as a sentence, or None."""
    installed = {
        entry.origin.distribution: entry.origin.version
        for catalog in components().catalogs()
        for entry in catalog.all()
    }
    installed.setdefault(SESSION, "")
    plugins = {name: installed[name] for name in setup.versions.plugins if name in installed}
    return _mismatch(setup.versions, setup.versions.model_copy(update={"plugins": plugins}))


def _mismatch(expected: Versions, actual: Versions) -> str | None:
    texts = differences(expected, actual)
    return f"{'; '.join(texts)}; install the same versions on all nodes" if texts else None


def _folder_not_visible(marker: str) -> str:
    folder = str(as_path(marker).parent)
    return (
        f"it does not see the run folder {folder!r}; set artifacts to a folder that all nodes share, or to a "
        "URL (s3://…)"
    )
