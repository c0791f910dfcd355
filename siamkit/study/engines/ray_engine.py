"""Engine ray: workers are actors of a Ray cluster, which places, queues and ends them."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayError

from siamkit.errors import StudyError
from siamkit.io.files import write_text
from siamkit.io.paths import as_path
from siamkit.study.config.schema import StudyConfig
from siamkit.study.engines import _ray_cluster
from siamkit.study.engines._ray_worker import Actor, JobRequest, NodeRejected, WorkerCrashed, WorkerUpdate
from siamkit.study.engines.base import Worker
from siamkit.study.worker.messages import Job, Said, Setup, Tell
from siamkit.study.worker.shared_arrays import pack, weight


class Signs:
    """The signs that one supervisor has put up."""

    def __init__(self) -> None:
        self._up: dict[str, Path] = {}

    def of(self, job: Job) -> str:
        """The sign in the run folder that a job writes to, a path or URL; empty where it writes nothing."""
        if not job.place:
            return ""
        folder = as_path(job.place).parents[2]  # it writes to <run folder>/trials/<trial>/<token>, say
        sign = self._up.get(str(folder))
        if sign is None:
            sign = self._up[str(folder)] = folder / f".sign-{secrets.token_hex(8)}"
            write_text(sign, "")
        return str(sign)

    def take_down(self) -> None:
        for sign in self._up.values():
            with contextlib.suppress(OSError):
                sign.unlink(missing_ok=True)
        self._up.clear()


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
        self._unsure: tuple[Any, int, Any] | None = None  # the last message to it, until that has arrived
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


LOOKS = 5.0  # seconds between two looks at the cluster

# Of the supervisor's environment what a worker's numbers may hang on, but for folders of its machine.
HANDED_ON = ("SIAMKIT_", "KERAS_", "XLA_", "JAX_", "TF_", "PYTORCH_")
FOLDERS = ("_HOME", "_DIR", "_PATH")


class Ray:
    """Actors of a cluster, each with the CPUs and accelerators that it declares."""

    def __init__(self, config: StudyConfig, setup: Setup, scratch: Path) -> None:
        self._cpus, self._memory, self._wanted = (
            config.resources.cpus,
            config.budget.trial_memory,
            config.workers,
        )
        parcel = pack(Path(setup.task))
        if config.resources.gpus is not None and config.resources.gpus > 1 and config.resources.gpus % 1:
            raise StudyError(
                f"resources.gpus should be a fraction of one accelerator or a whole number of them, "
                f"got {config.resources.gpus:g}"
            )
        self._connected = _ray_cluster.connect(weight(parcel.task))
        self._signs = Signs()
        self._workers: list[RayWorker] = []
        try:
            gpus = config.resources.gpus
            self._gpus = float(_ray_cluster.has_gpus()) if gpus is None else gpus
            self.size, self._looked = 0, 0.0
            self._look()
            # The actors have no use for the storage, so its password stays here.
            self._setup = ray.put(
                replace(setup, config=config.model_copy(update={"storage": "sqlite"}), task="")
            )
            self._parcel = ray.put(parcel)
        except BaseException:
            self.close()
            raise
        self._environment = _environment(setup.backend, self._cpus, self._gpus)

    def _look(self) -> None:
        """How many workers there are to be; a lost node's are started again when there is room for them."""
        room = _ray_cluster.room(self._cpus, self._gpus, self._memory)
        if not room and not self.size:
            memory = f" and {self._memory / 1e9:g} GB" if self._memory else ""
            raise StudyError(
                f"no node of the Ray cluster has room for a worker of {self._cpus} CPUs, {self._gpus:g} GPUs"
                f"{memory}: {_ray_cluster.largest()}"
            )
        self.size = max(self.size, room) if self._wanted == "auto" else int(self._wanted)
        self._looked = time.monotonic()

    def start(self, number: int) -> RayWorker:
        options = {
            "num_cpus": self._cpus,
            "num_gpus": self._gpus,
            "memory": int(self._memory) if self._memory else None,
            "max_restarts": 0,  # the ledger says what is tried again
            "max_concurrency": 4,  # to listen and to tell, and again while a lost call is still there
            "scheduling_strategy": "SPREAD",
            "runtime_env": {"env_vars": self._environment},
        }
        actor = ray.remote(Actor).options(**options).remote(self._setup, self._parcel)
        worker = RayWorker(actor, self._signs)
        self._workers.append(worker)
        return worker

    def wait(self, workers: Sequence[Worker], seconds: float) -> None:
        if time.monotonic() - self._looked > LOOKS:
            self._look()
        refs = [each.listening for each in workers if isinstance(each, RayWorker) and each.listening]
        if refs:
            ray.wait(refs, num_returns=1, timeout=seconds)
        else:
            time.sleep(seconds)

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()
        self._workers.clear()
        self._signs.take_down()
        if self._connected:
            self._connected = False
            _ray_cluster.leave()


def _environment(backend: str, cpus: int, gpus: float) -> dict[str, str]:
    """What an actor's process must find in its environment before it imports anything."""
    handed_on = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(HANDED_ON) and not name.endswith(FOLDERS)
    }
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), str(cpus)
    )
    chosen = {"KERAS_BACKEND": backend}
    if not gpus:
        chosen |= {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}
    elif gpus < 1:  # backends take a whole accelerator's memory unless a setting limits them
        chosen |= {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 * gpus:.3f}", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    return {**handed_on, **threads, **chosen}
