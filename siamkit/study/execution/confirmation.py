"""Confirmation: the finalists are trained again with more seeds; only here is the test split scored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siamkit.errors import StudyError
from siamkit.evaluation.measures import excesses
from siamkit.io.files import copy_file, disk_full_as_error, to_jsonable, write_atomic
from siamkit.runs.configuration import Configuration, derive_seed, factors_of
from siamkit.runs.results import RepeatResult, TrialResult, write_record
from siamkit.runs.run_folder import AttemptFolder, RunFolder
from siamkit.study.config.schema import Confirm
from siamkit.study.execution.session import StudySession
from siamkit.study.storage.trial_log import StoredTrial, TrialLog
from siamkit.study.storage.trial_queue import MAX_RETRIES
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
    RepeatJob,
    Started,
)


@dataclass(frozen=True)
class ConfirmationSize:
    """The number of finalists, and how many seeds each is trained with, on each fold."""

    top: int
    seeds: int


def confirmation_size(
    confirm: Confirm | None, ranked: list[TrialResult], spent: float, folds: int = 1
) -> ConfirmationSize | None:
    """Return the largest confirmation that takes at most the stated share of the search's training time.

    At least one finalist is trained with one seed. Of two equally large ones, that with more seeds is taken.

    Args:
        confirm: the section of the study file.
        ranked: the complete trials, the best first.
        spent: the training time of all trials in seconds.
        folds: the number of folds; each seed of a finalist is trained on all of them.
    """
    if confirm is None:
        return None
    # One training of each finalist.
    seconds = [(trial.seconds or 0.0) / max(1, len(trial.repeats)) for trial in ranked[: confirm.top]]
    affordable = [
        ConfirmationSize(top, seeds)
        for top in range(1, confirm.top + 1)
        for seeds in range(1, confirm.seeds + 1)
        if sum(seconds[:top]) * seeds * folds <= confirm.limit * spent
    ]
    smallest = ConfirmationSize(1, 1)
    return max(affordable, key=lambda size: (size.top * size.seeds, size.seeds), default=smallest)


class Confirmation:
    """A source of jobs: the repeats of the finalists. Stored repeats are not run again.

    Args:
        session: the session of this process.
        trials: the trials of the study; the best of them are the finalists.
        size: how many finalists and seeds; None for no confirmation.
    """

    def __init__(self, session: StudySession, trials: TrialLog, size: ConfirmationSize | None) -> None:
        self._session = session
        finalists = trials.ranked(size.top) if size is not None else []
        repeats = range(size.seeds * session.data.folds if size is not None else 0)
        stored = {(result.key, result.repeat) for result in session.folder.repeats()}
        self._waiting = [
            RepeatHandle(self, session, trial, repeat)
            for trial in finalists
            for repeat in repeats
            if (trial.key, repeat) not in stored
        ]
        self._total = len(finalists) * len(repeats)
        self._done = self._total - len(self._waiting)
        if size is not None:
            session.progress.begin("confirming", self._done, self._total, session.data.objective.name)

    def max_workers(self) -> int:
        """Return how many repeats are left."""
        return self._total - self._done

    def tick(self) -> None:
        """Do nothing: no other process works on the repeats."""

    def next_job(self) -> RepeatHandle | None:
        """Return the next repeat to run."""
        return self._waiting.pop(0) if self._waiting else None

    def is_done(self) -> bool:
        """Return whether all repeats have ended."""
        return self._done == self._total

    def record_end(self) -> int:
        """Record that a repeat has ended; return the number of ended repeats."""
        self._done += 1
        return self._done

    def retry(self, handle: RepeatHandle) -> None:
        """Queue a repeat again after its process died."""
        self._waiting.insert(0, handle)


class RepeatHandle:
    """One repeat of a finalist, on the supervisor's side.

    Args:
        confirmation: the confirmation that it belongs to.
        session: the session of this process.
        trial: the trial that made its configuration a finalist.
        repeat: its number, from 0; with folds, a seed is trained with each fold before the next seed.
    """

    is_lost = False  # no other process runs repeats

    def __init__(
        self, confirmation: Confirmation, session: StudySession, trial: StoredTrial, repeat: int
    ) -> None:
        assert trial.configuration is not None
        assert trial.key is not None
        self._confirmation, self._session = confirmation, session
        self._key, self._configuration = trial.key, trial.configuration
        self._seed_number, self._fold = divmod(repeat, session.data.folds)
        self._seed = _seed(session, trial.configuration, self._seed_number)
        self._files = AttemptFolder(session.folder.confirmation(trial.key, repeat))
        self._trial, self._repeat, self._deaths = trial.number, repeat, 0

    @property
    def attempt(self) -> Attempt:
        """The attempt: the training that this repeat is."""
        return Attempt(self._trial, self._repeat, self._key, 1, self._configuration)

    @property
    def job(self) -> RepeatJob:
        """The job for the worker; it continues from the checkpoint of an earlier attempt, if there is one."""
        folder = str(self._files.path)
        return RepeatJob(
            folder,
            self._configuration,
            self._seed,
            derive_seed(self._session.study.config.seed, "data", "confirm", self._seed_number),
            self._fold,
            resume=folder if self._files.checkpoint_state.is_file() else None,
        )

    def on_event(self, event: JobEvent) -> Cause | None:
        """Handle an event of the job."""
        progress, label = self._session.progress, self.attempt.label
        match event:
            case Started():
                progress.run(label, self._configuration)
                self._log("final started")
            case Epoch():
                progress.epoch(label, event.number, self._session.study.config.fixed.evaluations, event.row)
            case Finished(ended, seconds):
                self._on_finish(ended, seconds)
            case Died(cause):
                self._on_death(cause)
            case Lost():
                raise AssertionError("no other process confirms")
        return None

    def _on_finish(self, ended: Ended, seconds: float) -> None:
        cause, is_complete = ended.cause, ended.outcome == "complete"
        if cause is not None and cause.kind == "disk_full":
            raise StudyError(f"{str(self._files.path)!r} cannot be written: {cause.text}")
        outcome, text = "complete" if is_complete else "failed", cause.text if cause is not None else ""
        with disk_full_as_error(self._files.path):
            write_record(self._files.result, self._result(ended, outcome, seconds))
            remove_checkpoint(self._files.path)
        self._log("confirmed", outcome=outcome, cause=text, seconds=round(seconds, 2))
        done = self._confirmation.record_end()
        value = ended.measures[0][self._session.data.objective.name] if is_complete else None
        self._session.progress.ended(self.attempt.label, outcome, value, None, text, done)

    def _result(self, ended: Ended, outcome: str, seconds: float) -> RepeatResult:
        cause = ended.cause
        scores: dict[str, Any] = {}
        if outcome == "complete":
            scores["valid"] = to_jsonable(ended.measures[0])
            scores["test"] = to_jsonable(ended.test_measures)
            scores["resolved_params"] = ended.resolved_params
            scores["best_epoch"] = ended.epochs[0]
            if limits := self._session.study.config.limits:
                scores["excesses"] = excesses(limits, ended.measures[0])
        return RepeatResult(
            trial=self._trial,
            key=self._key,
            repeat=self._repeat,
            seed=self._seed,
            fold=self._fold,
            outcome=outcome,
            cause=cause.text if cause is not None else "",
            cause_kind=cause.kind if cause is not None else "",
            traceback=cause.traceback if cause is not None else "",
            configuration=to_jsonable(self._configuration),
            factors=factors_of(self._configuration),
            versions=self._session.versions,
            seconds=round(seconds, 3),
            **scores,
        )

    def _on_death(self, cause: Cause) -> None:
        self._deaths += 1
        self._log("final died", cause=cause.text)
        if self._deaths > MAX_RETRIES:
            text = f"{cause.text}, {self._deaths} times"
            self._on_finish(Ended("failed", Cause(cause.kind, text)), 0.0)
        else:
            self._session.progress.ended(self.attempt.label, "died", None, None, cause.text)
            self._confirmation.retry(self)

    def _log(self, event: str, **details: object) -> None:
        self._session.folder.log(event, trial=self._trial, key=self._key, repeat=self._repeat, **details)


def _seed(session: StudySession, configuration: Configuration, repeat: int) -> int:
    return derive_seed(session.study.config.seed, configuration, "confirm", repeat)


def publish_best(folder: RunFolder, model: Path) -> None:
    """Copy the winner's model to its place in the run folder.

    Args:
        folder: the run folder.
        model: the winner's model.

    Raises:
        StudyError: the model is missing, and no model was published before.
    """
    if not model.is_file():
        if folder.best_model.is_file():
            return  # it was published before its trial was removed
        raise StudyError(
            f"the model of the best trial, {str(model)!r}, is missing; train it with siamkit retrain"
        )
    write_atomic(folder.best_model, lambda path: copy_file(model, path))
