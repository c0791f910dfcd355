"""Engines of this machine: workers in processes of their own (`local`), or one in this process (`inline`).

An inline worker is for debuggers and notebooks: if it crashes, the whole process crashes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

import cloudpickle
import psutil

from siamkit.errors import StudyError
from siamkit.study.config.schema import StudyConfig
from siamkit.study.engines import Worker
from siamkit.study.worker.messages import Cause, Job, Message, Ready, Send, Setup
from siamkit.study.worker.process import runner_for
from siamkit.study.worker.runner import JobRunner

DEFAULT_TRIAL_MEMORY = 2e9  # bytes, if the study sets no limit
ERROR_OUTPUT_BYTES = 4000

# The signals that end a process because of an error of its own.
FAULTS = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGSYS}

T = TypeVar("T")


class LocalWorker:
    """A worker in a process of this machine, with a socket to it and a file for its error output.

    Args:
        setup: the settings of the worker, such as the backend and the study.
        environment: its environment variables.
        cores: the processor cores that it may use.
        errors: the file for its standard output and error.
    """

    def __init__(self, setup: Setup, environment: dict[str, str], cores: set[int], errors: Path) -> None:
        ours, theirs = socket.socketpair()
        self._errors = errors
        with theirs, errors.open("ab") as sink:
            self._process = subprocess.Popen(
                # -P: modules in the current folder are found only if the supervisor also finds them.
                [sys.executable, "-P", "-m", "siamkit.study.worker.process", str(theirs.fileno())],
                env=environment,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,  # Ctrl-C in a terminal does not reach it
            )
        with contextlib.suppress(OSError, AttributeError):  # not on every system
            os.sched_setaffinity(self._process.pid, cores)
        self.connection = Connection(ours.detach())
        self._send(setup)

    def _send(self, message: Any) -> None:
        with contextlib.suppress(OSError):  # it has exited, which `death` reports
            self.connection.send_bytes(cloudpickle.dumps(message))

    def assign(self, job: Job, send: Send) -> None:
        self._send(job)

    def answer(self, cause: Cause | None) -> None:
        self._send(cause)

    def poll(self) -> list[Message]:
        messages: list[Message] = []
        with contextlib.suppress(EOFError, OSError):
            while self.connection.poll(0):
                messages.append(cloudpickle.loads(self.connection.recv_bytes()))
        return messages

    def death(self) -> Cause | None:
        code = self._process.poll()
        if code is None:
            return None
        if code < 0:
            kind, how = "crashed" if -code in FAULTS else "killed", f"by {signal.Signals(-code).name}"
        else:
            kind, how = "crashed" if code else "killed", f"with exit code {code}"
        return Cause(kind, f"its process ended {how}")  # type: ignore[arg-type]

    def is_suspended(self) -> bool:
        return self._inspect(lambda process: process.status() == psutil.STATUS_STOPPED, False)

    def memory(self) -> float:
        return self._inspect(lambda process: float(process.memory_info().rss), 0.0)

    def _inspect(self, question: Callable[[Any], T], default: T) -> T:
        try:
            return question(psutil.Process(self._process.pid))
        except psutil.Error:
            return default

    def error_output(self) -> str:
        with contextlib.suppress(OSError), self._errors.open("rb") as file:
            file.seek(max(0, self._errors.stat().st_size - ERROR_OUTPUT_BYTES))
            return file.read().decode("utf-8", "replace").strip()
        return ""

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self.connection.close()


class LocalEngine:
    """The engine `local`: one process for each accelerator, else as many as cores and memory allow."""

    def __init__(self, config: StudyConfig, setup: Setup, scratch: Path) -> None:
        self._setup, self._scratch, self._cpus = setup, scratch, config.resources.cpus
        self._gpus = 1.0 if config.resources.gpus is None else config.resources.gpus
        self._devices = accelerators() if self._gpus else []
        if len(self._devices) < (config.resources.gpus or 0):
            raise StudyError(
                f"resources.gpus asks for {self._gpus:g} accelerators for each trial, but this machine has "
                f"{len(self._devices)}; lower it or leave it out"
            )
        memory = config.budget.trial_memory
        auto = config.workers == "auto"
        self.size = max_workers(self._cpus, self._gpus, memory) if auto else int(config.workers)
        self._workers: list[LocalWorker] = []

    def start(self, number: int) -> LocalWorker:
        errors = self._scratch / f"worker-{number}.log"
        worker = LocalWorker(self._setup, self._environment(number), self._cores(number), errors)
        self._workers.append(worker)
        return worker

    def _environment(self, number: int) -> dict[str, str]:
        threads = str(self._cpus)
        variables = {
            "KERAS_BACKEND": self._setup.backend,
            "OMP_NUM_THREADS": threads,
            "TF_NUM_INTRAOP_THREADS": threads,
            "TF_NUM_INTEROP_THREADS": threads,
            "TMPDIR": str(self._scratch),  # removed at the end; a killed worker removes nothing
            "PYTHONPATH": os.pathsep.join(folder or os.getcwd() for folder in sys.path),
        }
        if self._devices:
            first, count = int(number * self._gpus), max(1, int(self._gpus))
            devices = [self._devices[(first + offset) % len(self._devices)] for offset in range(count)]
            variables |= dict.fromkeys(("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"), ",".join(devices))
        return {**os.environ, **variables}

    def _cores(self, number: int) -> set[int]:
        """Return the cores of a worker: its own, or shared ones if there are more workers than cores."""
        try:
            available = sorted(os.sched_getaffinity(0))
        except AttributeError:
            available = list(range(core_count()))
        first, count = number * self._cpus, min(self._cpus, len(available))
        return {available[(first + offset) % len(available)] for offset in range(count)}

    def wait(self, workers: Sequence[Worker], seconds: float) -> None:
        wait([worker.connection for worker in workers if isinstance(worker, LocalWorker)], timeout=seconds)

    def close(self) -> None:
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.kill()


# ------------------------------------------------------------------ what the machine has


def core_count() -> int:
    """Return the number of processor cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def accelerators() -> list[str]:
    """Return the names by which CUDA_VISIBLE_DEVICES or HIP_VISIBLE_DEVICES selects each accelerator."""
    for variable in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        value = os.environ.get(variable)
        if value is not None:
            return [name.strip() for name in value.split(",") if name.strip() not in ("", "-1")]
    tool = shutil.which("nvidia-smi")
    if tool is not None:
        listing = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
        lines = [line for line in listing.stdout.splitlines() if line.startswith("GPU ")]
        if listing.returncode == 0 and lines:
            return [str(number) for number in range(len(lines))]
    return [str(number) for number, _ in enumerate(sorted(Path("/dev").glob("nvidia[0-9]*")))]


def max_workers(cpus: int, gpus: float, memory: float | None) -> int:
    """Return how many workers this machine has room for: by its accelerators, else by cores and free memory.

    Args:
        cpus, gpus: the cores and accelerators of each worker.
        memory: the bytes of each worker; by default 2 GB.
    """
    devices = accelerators() if gpus else []
    if devices:
        return max(1, int(len(devices) / gpus))
    by_memory = int(psutil.virtual_memory().available // (memory or DEFAULT_TRIAL_MEMORY))
    return max(1, min(core_count() // cpus, by_memory))


class InlineWorker:
    """A worker in the supervisor's own process: it runs a job as soon as it gets it."""

    def __init__(self, runner: JobRunner) -> None:
        self._runner = runner
        self._messages: list[Message] = [Ready(0)]

    def assign(self, job: Job, send: Send) -> None:
        self._messages.append(self._runner.run(job, send))

    def answer(self, cause: Cause | None) -> None:
        raise AssertionError("`send` has returned the answer")

    def poll(self) -> list[Message]:
        messages, self._messages = self._messages, []
        return messages

    def death(self) -> Cause | None:
        return None

    def is_suspended(self) -> bool:
        return False

    def memory(self) -> float:
        return 0.0

    def error_output(self) -> str:
        return ""

    def kill(self) -> None:
        pass


class InlineEngine:
    """The engine `inline`: one worker, in this process."""

    size = 1

    def __init__(self, config: StudyConfig, setup: Setup, scratch: Path) -> None:
        self._runner: JobRunner = runner_for(setup)

    def start(self, number: int) -> InlineWorker:
        return InlineWorker(self._runner)

    def wait(self, workers: Sequence[Worker], seconds: float) -> None:
        pass

    def close(self) -> None:
        pass
