"""Engine inline: one worker in this process, for debuggers and notebooks. If it crashes, everything does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from siamkit.study.config.schema import StudyConfig
from siamkit.study.engines.base import Worker
from siamkit.study.worker.messages import Cause, Job, Message, Ready, Send, Setup
from siamkit.study.worker.process import runner_for
from siamkit.study.worker.runner import JobRunner


class InlineWorker:
    """A worker that runs its jobs when it gets them."""

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
    """One worker, in this process."""

    size = 1

    def __init__(self, config: StudyConfig, setup: Setup, scratch: Path) -> None:
        self._runner: JobRunner = runner_for(setup)

    def start(self, number: int) -> InlineWorker:
        return InlineWorker(self._runner)

    def wait(self, workers: Sequence[Worker], seconds: float) -> None:
        pass

    def close(self) -> None:
        pass
