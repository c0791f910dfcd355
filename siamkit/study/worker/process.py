"""The training process: `python -m siamkit.study.worker.process FD`, started by a supervisor.

It holds a backend, the data and one socket to its supervisor, and runs one job after another. It knows
nothing of the storage. When the supervisor exits, so does the worker, whatever it is doing.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import importlib
import os
import pickle
import queue
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from siamkit.study.worker.messages import Cause, Epoch, Job, Message, Ready, Setup

ORPHANED = 70  # the exit code of a worker whose supervisor has exited


def prepare(setup: Setup) -> None:
    """Prepare this process for the jobs of a study: its plugins and its backend. This needs no data yet."""
    from siamkit.backend import select
    from siamkit.registry.registry import components

    for folder in setup.path:
        if folder not in sys.path:
            sys.path.append(folder)
    select.activate(setup.backend)
    select.keep_compiled()
    select.limit_memory(setup.memory_share)
    for module in setup.modules:
        components().load_module(module)
    for spec in setup.specs:
        components().register(spec)
    _trainer_class(setup)
    gc.collect()
    gc.freeze()  # what is imported stays: to go through it again before each trial took 0.3 s


def make_runner(setup: Setup, data: Any = None) -> Any:
    """Return what runs the jobs of a study in a process that has its plugins and its backend.

    Args:
        setup: the settings of the worker, such as the backend and the study.
        data: the prepared data, if they are not in the folder that the setup names.

    Returns:
        A `siamkit.study.worker.runner.JobRunner`.
    """
    from siamkit.study.worker.runner import JobRunner
    from siamkit.study.worker.shared_arrays import map_data

    data = data or map_data(Path(setup.data_folder))
    return JobRunner(setup.config, data, _trainer_class(setup))


def _trainer_class(setup: Setup) -> Any:
    """Return the class that trains; what it imports must not take the time of the first trial."""
    module, _, name = setup.trainer.partition(":")
    trainer_class = getattr(importlib.import_module(module), name)
    importlib.import_module("siamkit.study.worker.runner")
    trainer_class.prepare()
    return trainer_class


class SupervisorConnection:
    """The socket to the supervisor, read by a thread so that its end is noticed at once."""

    def __init__(self, descriptor: int) -> None:
        self._connection = Connection(descriptor)
        self._received: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                received = self._connection.recv_bytes()
            except (EOFError, OSError):
                os._exit(ORPHANED)
            self._received.put(pickle.loads(received))  # from the process that started this one

    def receive(self) -> Any:
        """Wait for a message."""
        return self._received.get()

    def send(self, message: Message) -> Cause | None:
        """Send a message; after an epoch wait for the answer."""
        self._connection.send_bytes(pickle.dumps(message))
        if not isinstance(message, Epoch):
            return None
        answer: Cause | None = self.receive()
        return answer


def main(descriptor: int) -> None:
    """Run jobs until the supervisor exits."""
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor handles Ctrl-C
    _die_with_parent()
    connection = SupervisorConnection(descriptor)
    setup: Setup = connection.receive()
    prepare(setup)
    connection.receive()  # that the data are written
    runner = make_runner(setup)
    connection.send(Ready(os.getpid()))
    while True:
        job: Job = connection.receive()
        connection.send(runner.run(job, connection.send))


def _die_with_parent() -> None:
    """On Linux, let the kernel end this process with its parent, even if it is suspended or in a library."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]))
