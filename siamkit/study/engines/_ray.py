"""Both ends of a Ray cluster: its nodes and their room, and what runs on a node.

A thread of the node's process runs the jobs, so that it can receive and send messages meanwhile. Messages in
both directions are numbered, because a call whose answer was lost may have arrived all the same.
"""

from __future__ import annotations

import logging
import math
import os
import queue
import socket
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import psutil
import ray

from siamkit.errors import SiamkitError, StudyError
from siamkit.io.paths import as_path
from siamkit.registry.catalog import SESSION
from siamkit.registry.registry import components
from siamkit.runs.results import Versions, differences, versions
from siamkit.study.worker.messages import Cause, Epoch, Job, Message, Ready, Setup
from siamkit.study.worker.process import make_runner, prepare
from siamkit.study.worker.shared_arrays import PackedData, unpack

CONNECT_SECONDS = 5.0  # Ray itself would try for many minutes
MIN_OBJECT_STORE_BYTES = 100_000_000
CLUSTER_SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def connect(data_bytes: int) -> bool:
    """Connect this process to a cluster: that of RAY_ADDRESS, one that runs on this machine, or a new one.

    Args:
        data_bytes: the size of the data that a new cluster must hold.

    Returns:
        Whether this call connected the process. If so, `disconnect` disconnects it, and ends a new cluster.

    Raises:
        StudyError: no cluster answers at RAY_ADDRESS, or Ray does not start.
    """
    if ray.is_initialized():
        return False
    named = os.environ.get("RAY_ADDRESS", "")
    try:
        address = named if named not in ("", "auto", "local") else None
        if address is None and named != "local":
            address = _running_address()
        is_private = address is None or _listens_on_loopback_only(address)
        options = {} if address else _new_cluster_options(data_bytes)
        with _loopback_only() if is_private else nullcontext():
            ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **options)
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        subject = (
            f"the Ray cluster {named!r} (RAY_ADDRESS) cannot be joined" if named else "Ray does not start"
        )
        raise StudyError(f"{subject}: {str(error).strip().splitlines()[0]}") from error
    return True


def _new_cluster_options(data_bytes: int) -> dict[str, bool | int]:
    store = int(1.5 * data_bytes) + MIN_OBJECT_STORE_BYTES
    return {"include_dashboard": False, "object_store_memory": store}


def disconnect() -> None:
    """Disconnect from the cluster, and end it if `connect` started it."""
    ray.shutdown()


def _running_address() -> str | None:
    """Return the address of the cluster that `ray start` made this machine part of; None if none answers."""
    address: str = ray._private.utils.read_ray_address()
    try:
        if address:
            _open_connection(*_split(address))
    except OSError:
        return None
    return address or None


def _listens_on_loopback_only(address: str) -> bool:
    """Return whether a cluster listens on 127.0.0.1 only; Ray resolves that to the machine's address.

    Raises:
        OSError, ValueError: the cluster does not answer, or the address is not valid.
    """
    host, port = _split(address)
    _open_connection(host, port)
    if host not in ("127.0.0.1", "localhost"):
        return False
    try:
        _open_connection(ray.util.get_node_ip_address(), port)
    except OSError:
        return True
    return False


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition("://")[2].rpartition(":")
    return host.strip("[]"), int(port)


def _open_connection(host: str, port: int) -> None:
    with socket.create_connection((host, port), CONNECT_SECONDS):
        pass


@contextmanager
def _loopback_only() -> Iterator[None]:
    """Make Ray listen on 127.0.0.1 only; by default, on Linux, it accepts code from the whole network."""
    constants = ray._private.ray_constants
    enabled, switch = constants.ENABLE_RAY_CLUSTER, os.environ.get(CLUSTER_SWITCH)
    constants.ENABLE_RAY_CLUSTER = False  # Ray read the switch when it was imported
    os.environ[CLUSTER_SWITCH] = "0"  # for the processes that it starts
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = enabled
        os.environ.pop(CLUSTER_SWITCH)
        if switch is not None:
            os.environ[CLUSTER_SWITCH] = switch


# ------------------------------------------------------------------ nodes


def has_gpus() -> bool:
    """Return whether any node has an accelerator."""
    return any(node.get("GPU", 0) for node in _nodes())


def room(cpus: int, gpus: float, memory: float | None) -> int:
    """Return how many workers of this size the cluster has room for when it is idle."""
    return sum(_room_on(node, cpus, gpus, memory) for node in _nodes())


def largest_node() -> str:
    """Return the resources of the largest node, as the end of a sentence."""
    nodes = sorted(_nodes(), key=lambda node: (node.get("GPU", 0), node.get("CPU", 0)))
    if not nodes:
        return "it has no nodes"
    node = nodes[-1]
    return (
        f"its largest node has {node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs and "
        f"{node.get('memory', 0) / 1e9:.1f} GB of memory"
    )


def _nodes() -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _room_on(node: dict[str, float], cpus: int, gpus: float, memory: float | None) -> int:
    limits = [math.inf, node.get("CPU", 0) // cpus]
    if gpus:
        available, rounding = node.get("GPU", 0), 1e-9
        # A fraction is of a single accelerator: 0.4 fits twice on each.
        limits.append(available * int(1 / gpus + rounding) if gpus < 1 else available // gpus)
    if memory:
        limits.append(node.get("memory", 0) // memory)
    return int(min(limits))


# ------------------------------------------------------------------ on a node; Ray calls it


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
                prepare(setup)
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
