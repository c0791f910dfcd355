"""What is tried before the first trial: whether the training data can feed every loss of a study."""

from __future__ import annotations

from dataclasses import dataclass

from siamkit.errors import DataError, StudyError
from siamkit.study.config.load import ResolvedStudy
from siamkit.study.execution.supervisor import JobHandle, Supervisor
from siamkit.study.storage.trial_queue import ATTEMPTS
from siamkit.study.worker.messages import Ended, Job
from siamkit.study.worker.prepared_data import PreparedData


def try_feeds(pool: Supervisor, study: ResolvedStudy, task: PreparedData) -> None:
    """Has a worker try all feeds that a study may need; the supervisor itself holds no backend.

    Raises:
        DataError: the training part cannot feed one of them, or a loss cannot go around another.
    """
    sizes = study.space.factors["batch_size"]
    tried = [int(size) for size in (sizes.options or (sizes.low, sizes.high))]
    losses = [spec for loss in study.space.loss.alternatives.values() for spec, _ in loss.specs()]
    trial = _Trial(Job("feeds", losses=tuple(losses), batch_sizes=tuple(sorted(set(tried)))))
    pool.run(_Once(trial))
    assert trial.answer is not None
    if trial.answer.traceback:
        raise StudyError(f"the data could not be tried: {trial.answer.cause}\n{trial.answer.traceback}")
    if trial.answer.outcome != "complete":
        raise DataError(trial.answer.cause)


@dataclass
class _Trial:
    """The one job of it."""

    job: Job
    lost: bool = False
    answer: Ended | None = None
    given: bool = False
    deaths: int = 0

    def started(self) -> None:
        pass

    def resumed(self, history: list[dict[str, float]]) -> None:
        pass

    def epoch(self, repeat: int, number: int, row: dict[str, float]) -> str | None:
        return None

    def ended(self, ended: Ended, seconds: float) -> None:
        self.answer = ended

    def gone(self) -> None:
        raise AssertionError("nobody else has it")

    def died(self, cause: str, crashed: bool) -> None:
        self.deaths += 1
        self.given = False
        if crashed or self.deaths > ATTEMPTS:
            raise StudyError(f"the worker that tried the data died: {cause}")


class _Once:
    """A source of one job."""

    def __init__(self, trial: _Trial) -> None:
        self._trial = trial

    def room(self) -> int:
        return 1

    def tick(self) -> None:
        pass

    def next(self) -> JobHandle | None:
        given, self._trial.given = self._trial.given, True
        return None if given else self._trial

    def done(self) -> bool:
        return self._trial.answer is not None
