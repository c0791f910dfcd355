"""The interface of engines and their workers, the engine that a study file names, and the simplest one."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from siamkit.errors import StudyError
from siamkit.study.config.schema import StudyConfig
from siamkit.study.worker.messages import Cause, Job, Message, Ready, Send, Setup
from siamkit.study.worker.process import make_runner
from siamkit.study.worker.runner import JobRunner

ENGINES = {
    "inline": "siamkit.study.engines:InlineEngine",
    "local": "siamkit.study.engines.local:LocalEngine",
    "ray": "siamkit.study.engines.ray_engine:RayEngine",
}


class Worker(Protocol):
    """A training process, as its supervisor sees it."""

    def assign(self, job: Job, send: Send) -> None:
        """Give the worker a job. A worker in this process runs it now and calls `send`; others send later."""

    def answer(self, cause: Cause | None) -> None:
        """Answer the message of an epoch: None to continue training, or the cause to stop it."""

    def poll(self) -> list[Message]:
        """Return the messages since the last call."""

    def death(self) -> Cause | None:
        """Return the cause if its process has ended, `crashed` or `killed`; None while it runs."""

    def is_suspended(self) -> bool:
        """Return whether its process exists but does not run (SIGSTOP)."""

    def memory(self) -> float:
        """Return the bytes that its process holds; 0 if unknown."""

    def error_output(self) -> str:
        """Return the end of its standard error."""

    def kill(self) -> None:
        """End its process at once."""


class Engine(Protocol):
    """A place where workers run.

    Attributes:
        size: the number of workers that should run.
    """

    size: int

    def warm_up(self, count: int) -> None:
        """Start up to so many workers while the data are prepared, if that is possible here.

        They import their backend meanwhile, which takes several seconds.
        """

    def open(self) -> None:
        """Use the data, which are now in the folder that the setup names; then workers can get jobs.

        Raises:
            StudyError: not even one worker fits.
        """

    def start(self, number: int) -> Worker:
        """Start a worker; the number, below `size`, decides which device and cores it gets."""

    def wait(self, workers: Sequence[Worker], seconds: float) -> None:
        """Wait until one of the workers has a message, at most `seconds`."""

    def close(self) -> None:
        """End all workers, and remove what they shared."""


def make_engine(config: StudyConfig, setup: Setup, scratch: Path, notify: Callable[[str], None]) -> Engine:
    """Return the engine that a study file names.

    Args:
        config: the parsed study file.
        setup: the settings of each worker, such as the backend and the study.
        scratch: a folder for temporary files.
        notify: function that reports a sentence to the user.

    Raises:
        StudyError: the engine's package is not installed, or this machine lacks an accelerator.
    """
    module_name, _, class_name = ENGINES[config.engine].partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != config.engine:
            raise
        raise StudyError(
            f"the engine {config.engine} needs the package {error.name}; pip install 'siamkit[{error.name}]'"
        ) from None
    engine: Engine = getattr(module, class_name)(config, setup, scratch, notify)
    return engine


# ------------------------------------------------------------------ in this process


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
    """The engine `inline`: one worker, in this process, for debuggers and notebooks.

    If it crashes, the whole process crashes.
    """

    size = 1

    def __init__(
        self, config: StudyConfig, setup: Setup, scratch: Path, notify: Callable[[str], None]
    ) -> None:
        self._setup = setup
        self._runner: JobRunner | None = None

    def warm_up(self, count: int) -> None:
        pass

    def open(self) -> None:
        self._runner = make_runner(self._setup)

    def start(self, number: int) -> InlineWorker:
        assert self._runner is not None
        return InlineWorker(self._runner)

    def wait(self, workers: Sequence[Worker], seconds: float) -> None:
        pass

    def close(self) -> None:
        pass
