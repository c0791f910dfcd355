"""Engine inline: one worker, here; for debuggers and notebooks. A crash of it is a crash of all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from siamkit.study.config.schema import StudyConfig
from siamkit.study.engines.base import Worker
from siamkit.study.worker.messages import Job, Ready, Said, Setup, Tell
from siamkit.study.worker.runner import JobRunner


class InlineWorker:
    """Does its jobs when they are given to it."""

    def __init__(self, bench: JobRunner) -> None:
        self._bench = bench
        self._said: list[Said] = [Ready(0)]

    def give(self, job: Job, tell: Tell) -> None:
        self._said.append(self._bench.do(job, tell))

    def answer(self, verdict: str | None) -> None:
        raise AssertionError("it was answered already")

    def hear(self) -> list[Said]:
        said, self._said = self._said, []
        return said

    def death(self) -> str | None:
        return None

    def crashed(self) -> bool:
        return False

    def stopped(self) -> bool:
        return False

    def memory(self) -> float:
        return 0.0

    def trace(self) -> str:
        return ""

    def kill(self) -> None:
        pass


class Inline:
    """One worker, in this process."""

    size = 1

    def __init__(self, config: StudyConfig, setup: Setup, scratch: Path) -> None:
        from siamkit.study.worker.shared_arrays import shared

        self._bench = JobRunner(config, shared(Path(setup.task)))

    def start(self, number: int) -> InlineWorker:
        return InlineWorker(self._bench)

    def wait(self, workers: Sequence[Worker], seconds: float) -> None:
        pass

    def close(self) -> None:
        pass
