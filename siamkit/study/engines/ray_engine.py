"""Engine ray: workers are actors of a Ray cluster, which places, queues and ends them."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayError

from siamkit.errors import StudyError
from siamkit.io.files import write_text
from siamkit.io.paths import as_path
from siamkit.study.config.schema import StudyConfig
from siamkit.study.engines import Worker, _ray
from siamkit.study.engines._ray import Actor, JobRequest, NodeRejected, WorkerCrashed, WorkerUpdate
from siamkit.study.worker.messages import BaselinesJob, Cause, CauseKind, FeedsJob, Job, Message, Send, Setup
from siamkit.study.worker.shared_arrays import pack

LISTEN_SECONDS = 1.0  # seconds after which a worker without messages answers
SUSPENDED_SECONDS = 10.0  # seconds without an answer after which a worker counts as suspended
SIZE_SECONDS = 5.0  # seconds between two counts of the workers that the cluster has room for

# The supervisor's environment variables on which results can depend, without folders of its machine.
PASSED_ON = ("SIAMKIT_", "KERAS_", "XLA_", "JAX_", "TF_", "PYTORCH_")
FOLDERS = ("_HOME", "_DIR", "_PATH")


class RayWorker:
    """The supervisor's side of an actor on a Ray cluster.

    Args:
        actor: Ray's handle of an `Actor`.
        marker: the file that shows workers that they see the run folder.
    """

    def __init__(self, actor: Any, marker: FolderMarker) -> None:
        self._actor, self._marker = actor, marker
        self._received = self._sent = 0
        self._unconfirmed: tuple[Any, int, Any] | None = None  # the last message, until it has arrived
        self._death: Cause | None = None
        self._error_output = ""
        self._memory, self._last_answer, self._pause_until = 0, 0.0, 0.0
        self.listening: Any = None
        self._listen()

    def _listen(self) -> None:
        self.listening = self._actor.listen.remote(self._received, LISTEN_SECONDS)

    def _send(self, message: JobRequest | Cause | None) -> None:
        self._sent += 1
        self._send_numbered(self._sent, message)

    def _send_numbered(self, number: int, message: JobRequest | Cause | None) -> None:
        self._unconfirmed = self._actor.receive.remote(number, message), number, message

    def assign(self, job: Job, send: Send) -> None:
        self._send(
            JobRequest(job, None if isinstance(job, (FeedsJob, BaselinesJob)) else self._marker.path())
        )

    def answer(self, cause: Cause | None) -> None:
        self._send(cause)

    def poll(self) -> list[Message]:
        if self._death is not None:
            return []
        if self.listening is None and time.monotonic() > self._pause_until:
            self._listen()
        try:
            self._confirm()
            return [] if self.listening is None or not _is_done(self.listening) else self._messages()
        except ActorUnavailableError:
            # Its node does not answer now; Ray reports later whether it does again, or has failed.
            self.listening, self._pause_until = None, time.monotonic() + LISTEN_SECONDS
        except RayError as error:
            self._set_death(error)
        return []

    def _messages(self) -> list[Message]:
        update: WorkerUpdate = ray.get(self.listening)
        self._memory, self._last_answer = update.memory, time.monotonic()
        self._received += len(update.messages)
        messages: list[Message] = []
        for message in update.messages:
            if isinstance(message, NodeRejected):
                raise StudyError(
                    f"the node {message.node!r} of the Ray cluster cannot take part: {message.reason}"
                )
            if isinstance(message, WorkerCrashed):
                self._death = Cause("crashed", f"its process ended by {message.error}")
                self._error_output = message.traceback
            else:
                messages.append(message)
        self._listen()
        return messages

    def _confirm(self) -> None:
        """Send the last message again if it may not have arrived; the worker ignores a repeated number."""
        if self._unconfirmed is None or not _is_done(self._unconfirmed[0]):
            return
        reference, number, message = self._unconfirmed
        self._unconfirmed = None
        try:
            ray.get(reference)
        except ActorUnavailableError:
            self._send_numbered(number, message)
            raise

    def _set_death(self, error: RayError) -> None:
        """Record the cause of a death from the text of Ray's error, which does not name a signal."""
        text = str(error)
        kind: CauseKind = "killed"
        if isinstance(error, OutOfMemoryError):
            how = "because its node is out of memory"
        elif "its node has died" in text:
            how = "with its node"
        elif "killed by `ray.kill`" in text:
            how = "by ray.kill"
        elif "worker process has died" in text:
            kind, how = "crashed", "unexpectedly, by a crash or a signal"
        else:
            how = f"by {type(error).__name__}"
        self._death = Cause(kind, f"its process ended {how}")
        self._error_output = text.strip()

    def death(self) -> Cause | None:
        return self._death

    def is_suspended(self) -> bool:
        return self._last_answer > 0 and time.monotonic() - self._last_answer > SUSPENDED_SECONDS

    def memory(self) -> float:
        return float(self._memory)

    def error_output(self) -> str:
        return self._error_output

    def kill(self) -> None:
        with contextlib.suppress(RayError, ValueError):
            ray.kill(self._actor, no_restart=True)


def _is_done(reference: Any) -> bool:
    return bool(ray.wait([reference], timeout=0)[0])


class FolderMarker:
    """A file that shows another machine that it sees this run folder, not another one of the same name.

    Args:
        folder: the path or URL of the run folder.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._file: Path | None = None

    def path(self) -> str:
        """Return the path or URL of the file; the first call writes it."""
        if self._file is None:
            self._file = as_path(self._folder) / f".sign-{secrets.token_hex(8)}"
            write_text(self._file, "")
        return str(self._file)

    def remove(self) -> None:
        """Remove the file."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.unlink(missing_ok=True)
            self._file = None


class RayEngine:
    """The engine `ray`: actors of a cluster, each with the CPUs and accelerators of one trial."""

    def __init__(
        self, config: StudyConfig, setup: Setup, scratch: Path, notify: Callable[[str], None]
    ) -> None:
        self._cpus, self._memory = config.resources.cpus or 1, config.budget.trial_memory
        self._config, self._setup = config, setup
        self._marker = FolderMarker(setup.run_folder)
        self._workers: list[RayWorker] = []
        self._connected = False
        self.size, self._counted, self._gpus = 0, 0.0, 0.0

    def warm_up(self, count: int) -> None:
        pass  # actors get the data when they are created

    def open(self) -> None:
        packed = pack(Path(self._setup.data_folder))
        self._connected = _ray.connect(packed.nbytes)
        gpus = self._config.resources.gpus
        self._gpus = float(_ray.has_gpus()) if gpus is None else gpus
        self._count_workers()
        # The actors do not use the storage, so its password stays here.
        config = self._config.model_copy(update={"storage": "sqlite"})
        share = min(self._gpus, 1.0) or 1.0
        self._shared = ray.put(replace(self._setup, config=config, data_folder="", memory_share=share))
        self._packed = ray.put(packed)
        self._environment = _environment(self._setup.backend, self._cpus, self._gpus)

    def _count_workers(self) -> None:
        """Set how many workers there should be; those of a lost node start again when there is room."""
        room = _ray.room(self._cpus, self._gpus, self._memory)
        if not room and not self.size:
            memory = f" and {self._memory / 1e9:g} GB" if self._memory else ""
            raise StudyError(
                f"no node of the Ray cluster has room for a worker of {self._cpus} CPUs, {self._gpus:g} GPUs"
                f"{memory}: {_ray.largest_node()}"
            )
        is_auto = self._config.workers == "auto"
        self.size = max(self.size, room) if is_auto else int(self._config.workers)
        self._counted = time.monotonic()

    def start(self, number: int) -> RayWorker:
        options = {
            "num_cpus": self._cpus,
            "num_gpus": self._gpus,
            "memory": int(self._memory) if self._memory else None,
            "max_restarts": 0,  # the queue decides what is tried again
            "max_concurrency": 4,  # to listen and to receive, also while a lost call still runs
            "scheduling_strategy": "SPREAD",
            "runtime_env": {"env_vars": self._environment},
        }
        actor = ray.remote(Actor).options(**options).remote(self._shared, self._packed)
        worker = RayWorker(actor, self._marker)
        self._workers.append(worker)
        return worker

    def wait(self, workers: Sequence[Worker], seconds: float) -> None:
        if time.monotonic() - self._counted > SIZE_SECONDS:
            self._count_workers()
        references = [
            worker.listening for worker in workers if isinstance(worker, RayWorker) and worker.listening
        ]
        if references:
            ray.wait(references, num_returns=1, timeout=seconds)
        else:
            time.sleep(seconds)

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()
        self._workers.clear()
        self._marker.remove()
        if self._connected:
            self._connected = False
            _ray.disconnect()


def _environment(backend: str, cpus: int, gpus: float) -> dict[str, str]:
    """Return the environment variables that an actor's process needs before it imports anything."""
    passed_on = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(PASSED_ON) and not name.endswith(FOLDERS)
    }
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), str(cpus)
    )
    variables = {"KERAS_BACKEND": backend}
    if not gpus:
        variables |= {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}
    return {**passed_on, **threads, **variables}
