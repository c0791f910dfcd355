"""The check before the first trial: whether the training data can feed every loss of a study."""

from __future__ import annotations

from siamkit.errors import DataError, StudyError
from siamkit.study.config.load import ResolvedStudy
from siamkit.study.execution.session import StudySession
from siamkit.study.storage.trial_queue import MAX_RETRIES
from siamkit.study.worker.messages import Cause, Died, Ended, FeedsJob, Finished, JobEvent, Lost


def check_feeds(session: StudySession) -> None:
    """Have a worker check all feeds that a study can need; the supervisor itself imports no backend.

    Raises:
        DataError: the training data cannot feed a loss, or a loss cannot wrap another.
    """
    check = FeedsCheck(session.study)
    session.supervisor.run(check)
    assert check.ended is not None
    cause = check.ended.cause
    if cause is None:
        return
    if cause.traceback:
        raise StudyError(f"the data could not be checked: {cause.text}\n{cause.traceback}")
    raise DataError(cause.text)


class FeedsCheck:
    """The check: a source of one job, and its handle."""

    attempt = None
    is_lost = False

    def __init__(self, study: ResolvedStudy) -> None:
        sizes = study.space.factors["batch_size"]
        batch_sizes = {int(size) for size in (sizes.options or (sizes.low, sizes.high))}
        losses = [spec for loss in study.space.loss.alternatives.values() for spec, _ in loss.specs()]
        self.job = FeedsJob(tuple(losses), tuple(sorted(batch_sizes)))
        self.ended: Ended | None = None
        self._is_assigned = False
        self._deaths = 0

    def max_workers(self) -> int:
        return 1

    def tick(self) -> None:
        pass

    def next_job(self) -> FeedsCheck | None:
        if self._is_assigned:
            return None
        self._is_assigned = True
        return self

    def is_done(self) -> bool:
        return self.ended is not None

    def on_event(self, event: JobEvent) -> Cause | None:
        match event:
            case Finished(ended, _):
                self.ended = ended
            case Died(cause):
                self._deaths += 1
                self._is_assigned = False
                if cause.kind == "crashed" or self._deaths > MAX_RETRIES:
                    raise StudyError(f"the worker that checks the data died: {cause.text}")
            case Lost():
                raise AssertionError("no other process has the job")
        return None
