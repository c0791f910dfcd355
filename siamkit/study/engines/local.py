"""Engine local: workers are processes of this machine, each with its device and its cores."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import cloudpickle
import psutil

from siamkit.study.config.schema import StudyConfig
from siamkit.study.engines.base import Worker
from siamkit.study.worker.messages import Job, Said, Setup, Tell

RESERVED = 2e9  # bytes of memory a trial is taken to want where the study does not say
TAIL = 4000  # bytes of a dead worker's standard error

# What a process dies of by its own doing.
FAULTS = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGSYS}


class LocalWorker:
    """A process, a socket to it, and the file that it writes its errors to.

    Args:
        setup: what it must know.
        environment: its environment variables.
        allowed: the processor cores it may use.
        errors: the file for its standard output and error.
    """

    def __init__(self, setup: Setup, environment: dict[str, str], allowed: set[int], errors: Path) -> None:
        ours, theirs = socket.socketpair()
        self._errors = errors
        with theirs, errors.open("ab") as sink:
            self._process = subprocess.Popen(
                # -P: what lies in the current folder is found only if the supervisor finds it too.
                [sys.executable, "-P", "-m", "siamkit.study.worker.process", str(theirs.fileno())],
                env=environment,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,  # Ctrl-C in a terminal is not for it
            )
        with contextlib.suppress(OSError, AttributeError):  # not on every system
            os.sched_setaffinity(self._process.pid, allowed)
        self.connection = Connection(ours.detach())
        self._send(setup)

    def _send(self, message: Any) -> None:
        with contextlib.suppress(OSError):  # it is dead, as will be seen
            self.connection.send_bytes(cloudpickle.dumps(message))

    def give(self, job: Job, tell: Tell) -> None:
        self._send(job)

    def answer(self, verdict: str | None) -> None:
        self._send(verdict)

    def hear(self) -> list[Said]:
        said: list[Said] = []
        with contextlib.suppress(EOFError, OSError):
            while self.connection.poll(0):
                said.append(cloudpickle.loads(self.connection.recv_bytes()))
        return said

    def death(self) -> str | None:
        code = self._process.poll()
        if code is None:
            return None
        return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"

    def crashed(self) -> bool:
        code = self._process.poll()
        return code is not None and (code > 0 or -code in FAULTS)

    def stopped(self) -> bool:
        return bool(self._ask(lambda process: process.status() == psutil.STATUS_STOPPED))

    def memory(self) -> float:
        return float(self._ask(lambda process: process.memory_info().rss))

    def _ask(self, question: Any) -> Any:
        try:
            return question(psutil.Process(self._process.pid))
        except psutil.Error:
            return 0

    def trace(self) -> str:
        with contextlib.suppress(OSError), self._errors.open("rb") as file:
            file.seek(max(0, self._errors.stat().st_size - TAIL))
            return file.read().decode("utf-8", "replace").strip()
        return ""

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self.connection.close()


class Local:
    """Processes of this machine: one an accelerator, else as many as its cores and memory allow."""

    def __init__(self, config: StudyConfig, setup: Setup, scratch: Path) -> None:
        self._setup, self._scratch, self._cpus = setup, scratch, config.resources.cpus
        self._share = 1.0 if config.resources.gpus is None else config.resources.gpus
        self._devices = accelerators() if self._share else []
        memory = config.budget.trial_memory
        auto = config.workers == "auto"
        self.size = how_many_workers(self._cpus, self._share, memory) if auto else int(config.workers)
        self._workers: list[LocalWorker] = []

    def start(self, number: int) -> LocalWorker:
        worker = LocalWorker(
            self._setup,
            self._environment(number),
            self._cores(number),
            self._scratch / f"worker-{number}.log",
        )
        self._workers.append(worker)
        return worker

    def _environment(self, number: int) -> dict[str, str]:
        threads = str(self._cpus)
        chosen = {
            "KERAS_BACKEND": self._setup.backend,
            "OMP_NUM_THREADS": threads,
            "TF_NUM_INTRAOP_THREADS": threads,
            "TF_NUM_INTEROP_THREADS": threads,
            "TMPDIR": str(self._scratch),  # a killed worker removes nothing; this is removed with the rest
            "PYTHONPATH": os.pathsep.join(folder or os.getcwd() for folder in sys.path),
        }
        if self._devices:
            first, many = int(number * self._share), max(1, int(self._share))
            mine = [self._devices[(first + each) % len(self._devices)] for each in range(many)]
            chosen |= dict.fromkeys(("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"), ",".join(mine))
        return {**os.environ, **chosen}

    def _cores(self, number: int) -> set[int]:
        """Cores of its own, or those of another where there are more workers than cores."""
        try:
            there = sorted(os.sched_getaffinity(0))
        except AttributeError:
            there = list(range(cores()))
        first = number * self._cpus
        return {there[(first + each) % len(there)] for each in range(min(self._cpus, len(there)))}

    def wait(self, workers: Sequence[Worker], seconds: float) -> None:
        wait([worker.connection for worker in workers if isinstance(worker, LocalWorker)], timeout=seconds)

    def close(self) -> None:
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.kill()


def cores() -> int:
    """The processor cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def accelerators() -> list[str]:
    """The names by which CUDA_VISIBLE_DEVICES or HIP_VISIBLE_DEVICES picks each accelerator."""
    for variable in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        given = os.environ.get(variable)
        if given is not None:
            return [each.strip() for each in given.split(",") if each.strip() not in ("", "-1")]
    tool = shutil.which("nvidia-smi")
    if tool is not None:
        told = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
        lines = [line for line in told.stdout.splitlines() if line.startswith("GPU ")]
        if told.returncode == 0 and lines:
            return [str(number) for number in range(len(lines))]
    return [str(number) for number, _ in enumerate(sorted(Path("/dev").glob("nvidia[0-9]*")))]


def how_many_workers(cpus: int, gpus: float, memory: float | None) -> int:
    """As many as there are accelerators, or else cores and free memory, for trials that take so much each."""
    devices = accelerators() if gpus else []
    if devices:
        return max(1, int(len(devices) / gpus))
    fits = int(psutil.virtual_memory().available // (memory or RESERVED))
    return max(1, min(cores() // cpus, fits))
