"""What a supervisor asks of an engine and of its workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from siamkit.study.worker.messages import Job, Said, Tell


class Worker(Protocol):
    """A training process, as its supervisor sees it."""

    def give(self, job: Job, tell: Tell) -> None:
        """Has it do a job; one that lives in this very process does it now, and tells as it goes."""

    def answer(self, verdict: str | None) -> None:
        """Answers an epoch: None to go on, or why not to."""

    def hear(self) -> list[Said]:
        """What it has said since."""

    def death(self) -> str | None:
        """How it died, in a few words; None while it lives."""

    def crashed(self) -> bool:
        """Whether it died of what it did itself, a segmentation fault say, and not by anybody's hand."""

    def stopped(self) -> bool:
        """Whether it lives but does not run (SIGSTOP)."""

    def memory(self) -> float:
        """Bytes that it holds; 0 where that cannot be told."""

    def trace(self) -> str:
        """The end of what it wrote to its standard error."""

    def kill(self) -> None:
        """Ends it at once."""


class Engine(Protocol):
    """Where workers live.

    Attributes:
        size: how many workers it is to have.
    """

    size: int

    def start(self, number: int) -> Worker:
        """Starts a worker."""

    def wait(self, workers: Sequence[Worker], seconds: float) -> None:
        """Waits until one of the workers has something to say, but no longer."""

    def close(self) -> None:
        """Ends all workers, and removes what they shared."""
