"""A trial that a worker runs: its events go to the storage, the run folder and the user."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from optuna.exceptions import UpdateFinishedTrialError

from siamkit.errors import StudyError
from siamkit.evaluation.measures import broken, excesses
from siamkit.io.files import disk_full_as_error, to_jsonable, write_table
from siamkit.io.paths import is_local
from siamkit.runs.configuration import factors_of
from siamkit.runs.results import TrialResult, mean_measures, write_record
from siamkit.runs.run_folder import AttemptFolder
from siamkit.study.execution.session import StudySession
from siamkit.study.sampling.pruners import collapsed, prunes_collapsed
from siamkit.study.storage.retry import with_retries
from siamkit.study.storage.trial_queue import MAX_RETRIES, Claim, TrialQueue
from siamkit.study.worker.checkpoint import remove_checkpoint
from siamkit.study.worker.messages import (
    Attempt,
    Cause,
    Died,
    Ended,
    Epoch,
    Finished,
    JobEvent,
    Lost,
    Resumed,
    Row,
    Started,
    TrialJob,
)

MAX_CONSECUTIVE_CRASHES = 20


class ActiveTrials:
    """The running trials of this process's workers, and statistics of those that have ended."""

    def __init__(self) -> None:
        self.handles: dict[int, TrialHandle] = {}
        self._crashes = 0
        self._variances: list[float] = []  # of the objective between the seeds of one configuration

    @property
    def seed_std(self) -> float:
        """The standard deviation of the objective between seeds, over the ended trials; 0 if unknown."""
        return math.sqrt(sum(self._variances) / len(self._variances)) if self._variances else 0.0

    def add(self, handle: TrialHandle) -> None:
        """Add a trial that starts."""
        self.handles[handle.claim.number] = handle

    def remove(self, handle: TrialHandle) -> None:
        """Remove a trial that no longer runs."""
        self.handles.pop(handle.claim.number, None)

    def record_end(self, values: Sequence[float], folds: Sequence[int]) -> None:
        """Record a trial that has ended by itself, with the value and the fold of each of its repeats."""
        self._crashes = 0
        by_fold: dict[int, list[float]] = {}
        for value, fold in zip(values, folds, strict=False):
            by_fold.setdefault(fold, []).append(value)
        variances = [np.var(seeds, ddof=1) for seeds in by_fold.values() if len(seeds) > 1]
        if variances:
            self._variances.append(float(np.mean(variances)))

    def record_crash(self, cause: Cause) -> None:
        """Record a trial whose process died.

        Raises:
            StudyError: so many consecutive trials have died that the trials themselves are not the cause.
        """
        self._crashes += 1
        if self._crashes >= MAX_CONSECUTIVE_CRASHES:
            raise StudyError(
                f"{self._crashes} consecutive trials crashed (last: {cause.text}). Check memory; lower "
                "`workers` or raise `resources`."
            )


class TrialHandle:
    """One attempt at a trial, on the supervisor's side.

    Args:
        session: the session of this process.
        queue: the queue of the study.
        claim: the right to run the trial.
        job: the job for the worker.
        active: the running trials of this process.
    """

    def __init__(
        self, session: StudySession, queue: TrialQueue, claim: Claim, job: TrialJob, active: ActiveTrials
    ) -> None:
        self.claim, self.job = claim, job
        self.attempt = Attempt(claim.number, None, claim.token, claim.attempt, claim.configuration)
        self._session, self._queue, self._active = session, queue, active
        self._files = AttemptFolder(session.folder.attempt(claim.number, claim.token))
        self._history: list[Row] = []

    @property
    def is_lost(self) -> bool:
        """Whether another process has ended the trial."""
        return self.claim.lost

    def on_event(self, event: JobEvent) -> Cause | None:
        """Handle an event of the job."""
        match event:
            case Started():
                self._on_start()
            case Resumed(history):
                self._on_resume(history)
            case Epoch():
                return self._on_epoch(event)
            case Finished(ended, seconds):
                self._on_finish(ended, seconds)
            case Lost():
                self._on_loss()
            case Died(cause):
                self._on_death(cause)
        return None

    def interrupt(self) -> None:
        """Give the trial back because the user stops; it will be continued another time."""
        self._active.remove(self)
        self._log("trial interrupted")
        self._queue.release(self.claim, died=False)

    # ------------------------------------------------------------- while it runs

    def _on_start(self) -> None:
        self._active.add(self)
        self._session.progress.run(self.attempt.label, self.claim.configuration)
        self._log("trial started", configuration=self.claim.configuration, attempt=self.claim.attempt)

    def _on_resume(self, history: list[Row]) -> None:
        """Report the epochs of the earlier attempt to the storage, since pruners use them."""
        for row in history:
            self._history.append(row)
            self._report(row)
        self._log("trial resumed", epochs=len(history), earlier=self.claim.resume)

    def _on_epoch(self, epoch: Epoch) -> Cause | None:
        study, data = self._session.study, self._session.data
        epochs = study.config.fixed.evaluations
        last = self._history[-1] if self._history else {"repeat": -1, "epoch": 0}
        if (epoch.repeat, epoch.number) <= (last["repeat"], last["epoch"]):
            return None  # reported twice, because an answer was lost
        row: Row = {"repeat": epoch.repeat, **epoch.row}
        self._history.append(row)
        self._session.progress.epoch(self.attempt.label, epoch.number, epochs, epoch.row)
        if not self._report(row):
            return Cause("lost", "another process ended the trial")
        if epoch.number >= epochs:
            return None
        if prunes_collapsed(study):
            text = collapsed(epoch.row, self.claim.configuration["embedding_dim"], epoch.number)
            if text is not None:
                return Cause("collapsed", text)
        if epoch.repeat or len(data.objectives) > 1:
            return None
        if with_retries(self.claim.trial.should_prune, notify=self._session.progress.note):
            return Cause("worse", f"worse than the other trials after epoch {epoch.number}")
        return None

    def _report(self, row: Row) -> bool:
        """Report the value of an epoch to the storage; return False if another process ended the trial."""
        data = self._session.data
        if row["repeat"] or len(data.objectives) > 1:
            return True
        try:
            with_retries(
                self.claim.trial.report,
                row[data.objective.name],
                int(row["epoch"]),
                notify=self._session.progress.note,
            )
        except UpdateFinishedTrialError:
            self.claim.lost = True
        return not self.claim.lost

    # ------------------------------------------------------------- when it ends

    def _on_finish(self, ended: Ended, seconds: float) -> None:
        """Write the result, then end the trial in the storage: so the result of an ended trial exists."""
        cause = ended.cause
        if cause is not None and cause.kind == "disk_full":
            self.interrupt()
            raise StudyError(f"{str(self._files.path)!r} cannot be written: {cause.text}")
        is_complete = ended.outcome == "complete"
        measures = mean_measures(ended.measures) if is_complete else {}
        beyond = excesses(self._session.study.config.limits, measures) if is_complete else {}
        try:
            with disk_full_as_error(self._files.path):
                self._write(ended, seconds, measures, beyond)
        except StudyError:
            self.interrupt()
            raise
        objective = self._session.data.objective.name
        self._active.record_end([measures[objective] for measures in ended.measures], self.job.folds)
        self._active.remove(self)
        values = ended.values if is_complete else None
        text = cause.text if cause is not None else ""
        if not self._queue.finish(self.claim, ended.outcome, values, text, beyond):
            self._on_loss()
            return
        remove_checkpoint(self._files.path)  # only now that the result exists
        self._queue.refresh()
        self._log(
            "trial ended",
            outcome=ended.outcome,
            cause=text,
            seconds=round(seconds, 2),
            memory=ended.memory,  # bytes that its worker holds now
            **({"broken": broken(beyond)} if beyond else {}),
        )
        last = self._history[-1][objective] if self._history else None
        self._end_progress(
            ended.outcome,
            values[0] if values else last,
            text if ended.outcome == "failed" else _breaks(beyond),
            done=len(self._queue.trials.counted),
        )

    def _on_loss(self) -> None:
        """Leave the trial to another process, and remove its folder unless that process continues from it."""
        self._active.remove(self)
        self._queue.forget(self.claim)
        self._log("trial lost")
        self._queue.refresh()
        folder = self._session.folder.inside(self._files.path)
        if all(trial.resume != folder for trial in self._queue.trials.open.values()):
            remove_attempt(self._files.path)
        self._end_progress("lost", None, "another process took it over")

    def _on_death(self, cause: Cause) -> None:
        """Queue the trial again; if its process crashes at each attempt, it fails and uses up budget."""
        self._log("trial died", cause=cause.text)
        if cause.kind == "crashed" and self.claim.attempt > MAX_RETRIES:
            text = f"{cause.text}, {self.claim.attempt} times"
            self._on_finish(Ended("failed", Cause("crashed", text)), 0.0)
            return
        self._active.remove(self)
        self._queue.release(self.claim, died=True)
        self._end_progress("died", None, cause.text)
        self._active.record_crash(cause)

    def _end_progress(self, state: str, value: float | None, cause: str, done: int | None = None) -> None:
        best = next((trial.values[0] for trial in self._queue.trials.ranked(1)), None)
        self._session.progress.ended(self.attempt.label, state, value, best, cause, done)

    def _log(self, event: str, **details: object) -> None:
        self._session.folder.log(event, trial=self.claim.number, token=self.claim.token, **details)

    def _write(
        self, ended: Ended, seconds: float, measures: dict[str, float], beyond: dict[str, float]
    ) -> None:
        """Write the history and, last, the result."""
        if self._history:
            best = {(repeat, epoch): ended.measures[repeat] for repeat, epoch in enumerate(ended.epochs)}
            for row in self._history:
                kept = best.get((int(row["repeat"]), int(row["epoch"])))
                row["is_best"] = kept is not None
                if kept is not None:  # all of them, on all queries
                    row.pop("standard_error", None)
                    row |= kept
            names = list(dict.fromkeys(name for row in self._history for name in row))
            columns = {name: [row.get(name) for row in self._history] for name in names}
            write_table(self._files.history, columns)
        is_complete, cause = ended.outcome == "complete", ended.cause
        result = TrialResult(
            trial=self.claim.number,
            token=self.claim.token,
            key=self.claim.key,
            outcome=ended.outcome,
            cause=cause.text if cause is not None else "",
            cause_kind=cause.kind if cause is not None else "",
            traceback=cause.traceback if cause is not None else "",
            configuration=to_jsonable(self.claim.configuration),
            factors=factors_of(self.claim.configuration),
            resolved_params=ended.resolved_params,
            values=ended.values if is_complete else None,
            measures=to_jsonable(measures),
            repeats=to_jsonable(ended.measures),
            best_epochs=ended.epochs,
            seconds=round(seconds, 3),
            versions=self._session.versions,
            attempt=self.claim.attempt,
            **({"excesses": beyond} if beyond else {}),
        )
        write_record(self._files.result, result)


def _breaks(beyond: Mapping[str, float]) -> str:
    """Return which constraints are broken, for the line of the trial; empty if none is."""
    names = broken(beyond)
    return f"breaks {', '.join(names)}" if names else ""


def remove_attempt(folder: Path) -> None:
    """Remove the folder of an attempt that no process needs any more."""
    if is_local(folder):
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # another attempt is in it
            folder.parent.rmdir()
    elif folder.exists():
        folder.fs.rm(folder.path, recursive=True)  # type: ignore[attr-defined]
