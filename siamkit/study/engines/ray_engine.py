"""Engine ray: workers are actors of a Ray cluster. Ray places, queues and ends them; no scheduler of ours."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import ray

from siamkit.errors import StudyError
from siamkit.study.config.schema import StudyConfig
from siamkit.study.engines import ray_cluster
from siamkit.study.engines._ray_handle import RayWorker
from siamkit.study.engines._signs import Signs
from siamkit.study.engines.base import Worker
from siamkit.study.engines.ray_worker import Actor
from siamkit.study.worker._packed import pack, weight
from siamkit.study.worker.messages import Setup

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
        self._connected = ray_cluster.connect(weight(parcel.task))
        self._signs = Signs()
        self._workers: list[RayWorker] = []
        try:
            gpus = config.resources.gpus
            self._gpus = float(ray_cluster.has_gpus()) if gpus is None else gpus
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
        room = ray_cluster.room(self._cpus, self._gpus, self._memory)
        if not room and not self.size:
            memory = f" and {self._memory / 1e9:g} GB" if self._memory else ""
            raise StudyError(
                f"no node of the Ray cluster has room for a worker of {self._cpus} CPUs, {self._gpus:g} GPUs"
                f"{memory}: {ray_cluster.largest()}"
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
            ray_cluster.leave()


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
    elif gpus < 1:  # backends take a whole accelerator's memory unless they are told
        chosen |= {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 * gpus:.3f}", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    return {**handed_on, **threads, **chosen}
