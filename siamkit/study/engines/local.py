"""The engine of this machine: workers in processes of their own, which share its cores and accelerators."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

import cloudpickle
import psutil

from siamkit.backend.diagnosis import Use, accelerators, read_use
from siamkit.errors import StudyError
from siamkit.study.config.schema import StudyConfig
from siamkit.study.engines import Worker
from siamkit.study.worker.messages import Cause, DataWritten, Ended, Job, Message, Send, Setup, TrialJob

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

    Attributes:
        trial_seconds: when its first trial began and ended, by the monotonic clock; 0 until then, and again
            if the trial failed.
    """

    def __init__(self, setup: Setup, environment: dict[str, str], cores: set[int], errors: Path) -> None:
        self.trial_seconds = (0.0, 0.0)
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

    def open(self) -> None:
        """Let the worker read the data, which are now in the folder that its setup names."""
        self._send(DataWritten())

    def assign(self, job: Job, send: Send) -> None:
        if isinstance(job, TrialJob) and not self.trial_seconds[1]:
            self.trial_seconds = time.monotonic(), 0.0
        self._send(job)

    def answer(self, cause: Cause | None) -> None:
        self._send(cause)

    def poll(self) -> list[Message]:
        messages: list[Message] = []
        with contextlib.suppress(EOFError, OSError):
            while self.connection.poll(0):
                messages.append(cloudpickle.loads(self.connection.recv_bytes()))
                self._note_end(messages[-1])
        return messages

    def _note_end(self, message: Message) -> None:
        start, end = self.trial_seconds
        if isinstance(message, Ended) and start and not end:
            self.trial_seconds = (0.0, 0.0) if message.outcome == "failed" else (start, time.monotonic())

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
    """The engine `local`: workers share the accelerators, else as many as cores and memory allow.

    By default each accelerator gets a worker. With `workers: auto`, the first trial shows how many fit.
    """

    def __init__(
        self, config: StudyConfig, setup: Setup, scratch: Path, notify: Callable[[str], None]
    ) -> None:
        resources, workers = config.resources, config.workers
        self._scratch, self._notify = scratch, notify
        self._cpus, self._memory = resources.cpus, config.budget.trial_memory
        self._is_auto, self._is_without = workers == "auto", resources.gpus == 0
        self._devices = [] if self._is_without else accelerators()
        count = len(self._devices)
        if count < (resources.gpus or 0):
            raise StudyError(
                f"resources.gpus asks for {resources.gpus:g} accelerators for each trial, but this machine "
                f"has {count}; lower it or leave it out"
            )
        self._gpus = resources.gpus or 1.0
        if resources.gpus is None and workers != "auto" and count:
            self._gpus = 1 / -(-int(workers) // count) if int(workers) > count else 1.0
        if not count:
            room = max_workers(self._cpus or 1, self._memory)
            self.size = room if self._is_auto else int(workers)
        else:
            room = room_on(count, self._gpus)
            self.size = room if workers == "auto" else min(int(workers), room)
            if workers != "auto" and int(workers) > room:
                notify(
                    f"{self.size} workers run at a time, not {workers}: resources.gpus is {self._gpus:g}, "
                    f"and this machine has {count} accelerator{'s' * (count > 1)}"
                )
        self._recorder: UseRecorder | None = None
        share: float | None = min(1.0, self._gpus)
        if count and workers == "auto" and resources.gpus is None:
            before = read_use(self._devices[0])
            if before is not None:
                self._recorder, share = UseRecorder(self._devices[0], before), None
        self._setup = replace(setup, memory_share=share)
        self._workers: list[LocalWorker] = []
        self._warm: dict[int, LocalWorker] = {}  # by number

    def warm_up(self, count: int) -> None:
        self._warm = {number: self._begin(number) for number in range(min(count, self.size))}

    def open(self) -> None:
        if self._is_auto and not self._devices:  # the data have taken memory since
            held = sum(worker.memory() for worker in self._warm.values())
            self.size = min(self.size, max_workers(self._cpus or 1, self._memory, held=held))
        for number, worker in list(self._warm.items()):
            if number < self.size:
                worker.open()
            else:
                self._warm.pop(number).kill()

    def _begin(self, number: int) -> LocalWorker:
        errors = self._scratch / f"worker-{number}.log"
        worker = LocalWorker(self._setup, self._environment(number), self._cores(number), errors)
        self._workers.append(worker)
        return worker

    def start(self, number: int) -> LocalWorker:
        worker = self._warm.pop(number, None)
        if worker is None:
            worker = self._begin(number)
            worker.open()
        if number == 0 and self._recorder is not None:
            self._recorder.watch(worker)
        return worker

    def _environment(self, number: int) -> dict[str, str]:
        threads = str(self._threads())
        variables = {
            "KERAS_BACKEND": self._setup.backend,
            "OMP_NUM_THREADS": threads,
            "TF_NUM_INTRAOP_THREADS": threads,
            "TF_NUM_INTEROP_THREADS": threads,
            "TMPDIR": str(self._scratch),  # removed at the end; a killed worker removes nothing
            "PYTHONPATH": os.pathsep.join(folder or os.getcwd() for folder in sys.path),
        }
        if self._devices or self._is_without:
            each = max(1, int(self._gpus)) if self._devices else 0
            devices = [self._devices[(number * each + i) % len(self._devices)] for i in range(each)]
            variables |= dict.fromkeys(("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"), ",".join(devices))
        return {**os.environ, **variables}

    def _threads(self) -> int:
        """Return how many threads a worker uses: with an accelerator, an equal share of the cores."""
        return self._cpus or (max(1, core_count() // self.size) if self._devices else 1)

    def _cores(self, number: int) -> set[int]:
        """Return the cores of a worker: its own, or shared ones if there are more workers than cores.

        Workers with an accelerator share all cores: they compile on several, and use one at other times.
        """
        try:
            available = sorted(os.sched_getaffinity(0))
        except AttributeError:
            available = list(range(core_count()))
        if self._devices and self._cpus is None:
            return set(available)
        cpus = self._cpus or 1
        first, count = number * cpus, min(cpus, len(available))
        return {available[(first + offset) % len(available)] for offset in range(count)}

    def _fill(self) -> None:
        """Start more workers if the first trial left room on its accelerator."""
        if self._recorder is None or (use := self._recorder.result()) is None:
            return
        self._recorder = None
        count = len(self._devices)
        fit = count * use.room()
        on_host = count + max_workers(self._cpus or 1, self._memory, running=count)
        self.size = max(count, min(fit, on_host))
        limit = ""
        if self.size < fit:
            limit = f"; {fit} would fit on it, but the machine's cores and memory allow no more"
        self._notify(
            f"the first trial took {use.taken / 1e9:.2g} GB of its accelerator and kept it busy for "
            f"{use.busy:.0%} of the time: {self.size} worker{'s' * (self.size > 1)} at a time" + limit
        )

    def wait(self, workers: Sequence[Worker], seconds: float) -> None:
        wait([worker.connection for worker in workers if isinstance(worker, LocalWorker)], timeout=seconds)
        self._fill()

    def close(self) -> None:
        if self._recorder is not None:
            self._recorder.stop()
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.kill()
        self._warm.clear()


# ------------------------------------------------------------------ what the machine has


def core_count() -> int:
    """Return the number of processor cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def room_on(count: int, gpus: float) -> int:
    """Return how many workers fit on accelerators; a fraction must fit on one of them.

    Args:
        count: the number of accelerators.
        gpus: the accelerators of each worker.
    """
    return int(count // gpus) if gpus >= 1 else count * int(1 / gpus + 1e-9)


def max_workers(cpus: int, memory: float | None, running: int = 0, held: float = 0.0) -> int:
    """Return how many workers the cores and the free memory of this machine allow; at least one if none runs.

    Args:
        cpus: the cores of each worker.
        memory: the bytes of each worker; by default 2 GB.
        running: the number of workers that run already, and are not counted.
        held: the bytes of workers that run already, and are counted.
    """
    by_memory = int((psutil.virtual_memory().available + held) // (memory or DEFAULT_TRIAL_MEMORY))
    return max(0 if running else 1, min(core_count() // cpus - running, by_memory))


# ------------------------------------------------------------------ how an accelerator is used

SAMPLE_SECONDS = 0.5
FILLED_SHARE = 0.5  # of the free memory of an accelerator; other trials may need more than the first


@dataclass(frozen=True)
class TrialUse:
    """What a trial took of an accelerator.

    Args:
        taken: bytes, at their peak.
        free: bytes that were free before it.
        busy: the share of its time in which the accelerator computed.
    """

    taken: float
    free: float
    busy: float

    def room(self) -> int:
        """Return how many workers share the accelerator; at least one."""
        by_memory = int(FILLED_SHARE * self.free / self.taken) if self.taken > 0 else 1
        return max(1, min(by_memory, int(1 / max(self.busy, 0.01))))


class UseRecorder:
    """A record of how an accelerator is used until the first trial of a worker has ended.

    It counts all memory that comes into use, since nvidia-smi does not see the processes of a container.

    Args:
        device: the name of the accelerator.
        before: how it is used before the worker starts.
    """

    def __init__(self, device: str, before: Use) -> None:
        self._device, self._before = device, before
        self._samples: list[tuple[float, Use]] = []
        self._worker: LocalWorker | None = None
        self._is_over = threading.Event()

    def watch(self, worker: LocalWorker) -> None:
        """Record while this worker runs, or its successor."""
        is_first, self._worker = self._worker is None, worker
        if is_first:
            threading.Thread(target=self._record, daemon=True).start()

    def _record(self) -> None:
        while not self._is_over.wait(SAMPLE_SECONDS):
            if (use := read_use(self._device)) is not None:
                self._samples.append((time.monotonic(), use))

    def stop(self) -> None:
        """End the record."""
        self._is_over.set()

    def result(self) -> TrialUse | None:
        """Return what the first trial took; None until it has ended."""
        start, end = self._worker.trial_seconds if self._worker is not None else (0.0, 0.0)
        samples = [*self._samples]
        later = [(when, use) for when, use in samples if when > start]
        if not end or not later:
            return None
        self.stop()
        # A trial that is shorter than the time between two samples is probably like the next one.
        during = [(when, use) for when, use in later if when <= end] or later[:1]
        peak = max(use.used for when, use in samples if when <= during[-1][0])
        busy = sum(use.busy for _, use in during) / len(during)
        return TrialUse(peak - self._before.used, self._before.total - self._before.used, busy)
