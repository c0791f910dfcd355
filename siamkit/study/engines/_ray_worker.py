"""A worker on a Ray cluster, as it is on its node. It does not import Ray; Ray calls it."""

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
from siamkit.study.config.fingerprint import differences, versions
from siamkit.study.worker.messages import Epoch, Job, Ready, Said, Setup
from siamkit.study.worker.process import make_runner
from siamkit.study.worker.shared_arrays import PackedData, unpack


@dataclass(frozen=True)
class NodeRejected:
    """Why this node cannot take part in the study, and its name."""

    why: str
    node: str = field(default_factory=socket.gethostname)


@dataclass(frozen=True)
class WorkerCrashed:
    """The worker has come to an end of its own; the name of the error, and its traceback."""

    error: str
    trace: str


@dataclass(frozen=True)
class JobRequest:
    """A job, and a file that its folder's study has for a sign that this node sees the same one."""

    job: Job
    sign: str


@dataclass(frozen=True)
class WorkerUpdate:
    """What a worker has said since, and the bytes that its process holds."""

    said: tuple[Said | NodeRejected | WorkerCrashed, ...]
    memory: int


class Actor:
    """A process on a node, made by Ray.

    Args:
        setup: what it must know.
        parcel: the data.
    """

    def __init__(self, setup: Setup, parcel: PackedData) -> None:
        self._said: list[Said | NodeRejected | WorkerCrashed] = []
        self._first = 0  # the number of the first of these
        self._changed = threading.Condition()
        self._told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._next = 0
        threading.Thread(target=self._live, args=(setup, parcel), daemon=True, name="siamkit-work").start()

    # ------------------------------------------------------------- what Ray calls, in threads of its own

    def listen(self, heard: int, seconds: float) -> WorkerUpdate:
        """What was said after the first `heard`; if nothing was, waits for it so many seconds."""
        with self._changed:
            del self._said[: max(0, heard - self._first)]
            self._first = max(heard, self._first)
            self._changed.wait_for(lambda: self._said, seconds)
            said = tuple(self._said)
        return WorkerUpdate(said, psutil.Process().memory_info().rss)

    def tell(self, number: int, message: JobRequest | str | None) -> None:
        """An errand, or the answer to an epoch; one that was told before is not heard twice."""
        with self._changed:
            if number < self._next:
                return
            self._next = number + 1
        self._told.put(message)

    # ------------------------------------------------------------- the thread that works

    def _live(self, setup: Setup, parcel: PackedData) -> None:
        try:
            why = unlike(setup)
            if why is None:
                bench = make_runner(setup, unpack(parcel))
                why = unlike_plugins(setup)
            if why is not None:
                self._say(NodeRejected(why))
                return
            self._say(Ready(os.getpid()))
            while True:
                errand: JobRequest = self._told.get()
                if errand.job.place and not as_path(errand.sign).is_file():
                    self._say(NodeRejected(_unseen(errand)))
                    return
                self._say(bench.do(errand.job, self._tell))
        except SiamkitError as error:
            self._say(NodeRejected(str(error)))
        except BaseException as error:
            self._say(WorkerCrashed(type(error).__name__, "".join(traceback.format_exception(error))))

    def _tell(self, said: Said) -> str | None:
        self._say(said)
        return self._told.get() if isinstance(said, Epoch) else None

    def _say(self, said: Said | NodeRejected | WorkerCrashed) -> None:
        with self._changed:
            self._said.append(said)
            self._changed.notify_all()


def unlike(setup: Setup) -> str | None:
    """What of the installed packages differs from the supervisor's, in a sentence."""
    there = versions(setup.backend, setup.versions["plugins"])
    return _sentence(differences(setup.versions, there))


def unlike_plugins(setup: Setup) -> str | None:
    """What of the plugins that take part differs or is missing, in a sentence."""
    found = {
        entry.origin.distribution: entry.origin.version
        for catalog in components().catalogs()
        for entry in catalog.all()
    }
    asked = setup.versions["plugins"]
    plugins = {name: found.get(name, "" if name == SESSION else None) for name in asked}
    return _sentence(differences(setup.versions, {**setup.versions, "plugins": plugins}))


def _sentence(found: list[str]) -> str | None:
    return f"{'; '.join(found)}; install the same on all nodes" if found else None


def _unseen(errand: JobRequest) -> str:
    folder = str(as_path(errand.sign).parent)
    return (
        f"it does not see the run folder {folder!r}; let artifacts be a folder that all nodes "
        "share, or a URL (s3://…)"
    )
