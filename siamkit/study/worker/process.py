"""The training process: `python -m siamkit.study.worker.process FD`, started by a supervisor.

It holds a backend, the data and one socket to its supervisor, and does one job after another. It knows
nothing of the storage. When the supervisor is gone, so is the worker, whatever it is doing.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import pickle
import queue
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from siamkit.study.worker.messages import Epoch, Job, Ready, Said, Setup

ORPHANED = 70  # the exit code of a worker whose supervisor is gone


def make_runner(setup: Setup, task: Any = None) -> Any:
    """Readies this process for a study's jobs: its plugins, its backend, its data.

    Args:
        setup: what it must know.
        task: the data, where they don't lie in the setup's folder.
    """
    from siamkit.backend import select
    from siamkit.registry.registry import components

    for folder in setup.path:
        if folder not in sys.path:
            sys.path.append(folder)
    select.activate(setup.backend)
    for module in setup.modules:
        components().load_module(module)
    for spec in setup.specs:
        components().register(spec)
    from siamkit.study.worker import train as training  # noqa: F401  # the backend now, not in the first trial's time
    from siamkit.study.worker.runner import JobRunner
    from siamkit.study.worker.shared_arrays import shared

    return JobRunner(setup.config, task or shared(Path(setup.task)))


class Line:
    """The socket to the supervisor, read by a thread so that its end is noticed at once."""

    def __init__(self, descriptor: int) -> None:
        self._connection = Connection(descriptor)
        self._heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                heard = self._connection.recv_bytes()
            except (EOFError, OSError):
                os._exit(ORPHANED)
            self._heard.put(pickle.loads(heard))  # from the process that started this one

    def hear(self) -> Any:
        return self._heard.get()

    def say(self, said: Said) -> str | None:
        """Says something; of an epoch it waits for the answer."""
        self._connection.send_bytes(pickle.dumps(said))
        return self.hear() if isinstance(said, Epoch) else None


def main(descriptor: int) -> None:
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to hear
    _die_with_parent()
    line = Line(descriptor)
    bench = make_runner(line.hear())
    line.say(Ready(os.getpid()))
    while True:
        job: Job = line.hear()
        line.say(bench.do(job, line.say))


def _die_with_parent() -> None:
    """On Linux, also while stopped or deep in a library: the kernel sees to it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]))
