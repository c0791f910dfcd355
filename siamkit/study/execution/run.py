"""One process's run of a study: the search, the confirmation of the finalists, and the report."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Literal

from siamkit.data.thumbnails import items_table
from siamkit.errors import SiamkitError
from siamkit.io.files import write_json, write_table
from siamkit.io.paths import is_database, is_local
from siamkit.report import write_report
from siamkit.runs.outcome import StudyOutcome, read_outcome
from siamkit.runs.run_folder import AttemptFolder, RunFolder
from siamkit.study.execution.confirmation import (
    Confirmation,
    ConfirmationSize,
    confirmation_size,
    publish_best,
)
from siamkit.study.execution.scheduler import Scheduler, WorkClock
from siamkit.study.execution.session import SingleJob, StudySession
from siamkit.study.execution.signals import StoppedAtOnce
from siamkit.study.execution.supervisor import JobSource
from siamkit.study.execution.trial import remove_attempt
from siamkit.study.sampling.plan import default_of_each_encoder, is_fully_planned, planned_trials, warm_start
from siamkit.study.sampling.pruners import make_pruner
from siamkit.study.sampling.samplers import RepeatCounter, StudySampler
from siamkit.study.storage.leases import RENEWALS, CoordinatorLock, HeartbeatThread
from siamkit.study.storage.open import open_storage
from siamkit.study.storage.retry import StorageUnavailable, with_retries
from siamkit.study.storage.trial_log import StoredTrial
from siamkit.study.storage.trial_queue import TrialQueue
from siamkit.study.tracking.trackers import Trackers, open_trackers
from siamkit.study.worker.checkpoint import remove_checkpoint, remove_temporary_files
from siamkit.study.worker.messages import BaselinesJob


@dataclass(frozen=True)
class RunEnd:
    """The end of a run: whether all work is done, and the outcome.

    Args:
        is_finished: whether all work was done; False if the user stopped it.
        early_end: the reason, as a sentence, if the search ended before its budget was spent; else empty.
        outcome: the winner and its results, once `tune` has ended and a trial can win.
    """

    is_finished: bool
    early_end: str = ""
    outcome: StudyOutcome | None = None


class StudyRun:
    """A process's run of a study; `open_run` opens it.

    Args:
        session: the session of this process.
        queue: the trials of the study.
        repeats: counter of samples whose configuration already existed; the study's sampler reads it.
        lock: the lock in the storage that a running `tune` holds; None for workers, or if the lock of the
            run folder is enough.
    """

    def __init__(
        self, session: StudySession, queue: TrialQueue, repeats: RepeatCounter, lock: CoordinatorLock | None
    ) -> None:
        self._session, self._queue, self._repeats, self._lock = session, queue, repeats, lock
        self._clock = WorkClock(queue.storage.optuna_study, session.is_tune)

    def tune(self) -> RunEnd:
        """Run the study to its report; after Ctrl-C, report the results so far.

        Raises:
            StudyError: another `tune` runs the study.
        """
        with self._locked():
            return self._logged(self._tune)

    def help(self) -> RunEnd:
        """Take part in the search of a study that another process runs."""
        return self._logged(self._help)

    def _locked(self) -> AbstractContextManager[None]:
        return self._lock.acquire() if self._lock is not None else nullcontext()

    def _logged(self, run: Callable[[], RunEnd]) -> RunEnd:
        """Call `run`, and log that this process stops, and why; other processes read this log."""
        folder = self._session.folder
        try:
            end = run()
        except BaseException as error:
            cause = f"{type(error).__name__}: {error}"[:500]
            folder.log("stopped", finished=False, cause=cause)
            raise
        folder.log("stopped", finished=end.is_finished, cause=end.early_end)
        return end

    # ------------------------------------------------------------- phases

    def _tune(self) -> RunEnd:
        session, folder = self._session, self._session.folder
        write_json(folder.snapshot_file, session.snapshot)
        write_table(folder.items, items_table(session.valid_items))
        with session.interrupts:
            with session.progress, self._trackers() as trackers:
                is_compared = self._evaluate_baselines("valid", trackers)
                end = self._search(trackers) if is_compared else RunEnd(False)
                is_finished = end.is_finished and self._confirm(trackers)
                if is_finished and any(repeat.complete for repeat in folder.repeats()):
                    is_finished = self._evaluate_baselines("test", trackers)
            session.supervisor.close()
            # After the display has ended. This is short: a first Ctrl-C lets it finish.
            clean_up(folder, self._queue, is_finished)
            can_win = any(trial.complete and not trial.broken for trial in folder.trials())
            outcome = read_outcome(folder.path) if can_win else None
            if outcome is not None:
                publish_best(folder, outcome.model)
            write_report(folder.path)
        return RunEnd(is_finished, end.early_end, outcome)

    def _help(self) -> RunEnd:
        session = self._session
        with session.interrupts, session.progress, self._trackers() as trackers:
            return self._search(trackers)

    def _trackers(self) -> AbstractContextManager[Trackers]:
        session = self._session
        return open_trackers(
            session.study,
            session.folder,
            session.versions,
            self._queue.storage,
            is_tune=session.is_tune,
            notify=session.progress.note,
        )

    def _search(self, trackers: Trackers) -> RunEnd:
        """Take part in the search until it is over."""
        session, queue = self._session, self._queue
        heartbeat = HeartbeatThread(self._renew, queue.lease_seconds / RENEWALS)
        is_planned = is_fully_planned(session.study.config)
        planned = sum(1 for _ in planned_trials(session.study)) if is_planned else math.inf
        scheduler = Scheduler(session, queue, self._clock, self._repeats, heartbeat, planned)
        target = scheduler.target
        queue.refresh()
        session.folder.log("started", counted=len(queue.trials.counted), target=int(target))
        queue.expire()
        queue.refresh()
        queue.requeue()
        if session.is_tune:
            self._enqueue_plan(target)
        counted, objective = len(queue.trials.counted), session.data.objective.name
        session.progress.begin("trials", counted, int(target), objective)
        with heartbeat:
            is_finished = self._work(scheduler, trackers, scheduler.release)
        self._clock.store()
        early_end = scheduler.early_end() if is_finished else None
        if early_end is not None:
            session.progress.note(early_end)
        return RunEnd(is_finished, early_end or "")

    def _evaluate_baselines(self, split: Literal["valid", "test"], trackers: Trackers) -> bool:
        """Evaluate the baselines that have no result on the split yet; return False if the user stopped."""
        session, baselines = self._session, self._session.study.config.baselines
        if baselines is None:
            return True
        names = tuple(name for name in baselines if isinstance(name, str))
        job = BaselinesJob(
            str(session.folder.path), names, tuple(default_of_each_encoder(session.study.space)), split
        )
        source = SingleJob(job)
        words = "validation" if split == "valid" else "test"
        session.progress.note(f"evaluating the baselines on the {words} split")
        if not self._work(source, trackers):
            return False
        if source.ended is not None and (cause := source.ended.cause) is not None:
            session.progress.note(f"the baselines could not be evaluated: {cause.text}")
        objective = session.data.objective
        if (best := session.folder.best_baseline(objective, split)) is not None:
            value = best.value(objective.name, split)
            session.progress.note(f"the best baseline: {best.description}, {objective.name} {value:.4f}")
        return True

    def _renew(self) -> None:
        self._queue.renew()
        if self._lock is not None:
            self._lock.renew()
        self._clock.store()

    def _enqueue_plan(self, target: float) -> None:
        """Queue the trials to try first, and add those of an earlier study; repeated runs add none twice."""
        session, queue = self._session, self._queue
        note, optuna_study = session.progress.note, queue.storage.optuna_study
        earlier = warm_start(session.study, session.snapshot)
        if earlier.known and not with_retries(lambda: optuna_study.user_attrs).get("warm"):
            for trial in earlier.known:
                with_retries(optuna_study.add_trial, trial)
            with_retries(optuna_study.set_user_attr, "warm", len(earlier.known))
            note(f"known from an earlier study: {len(earlier.known)} complete trials")
        if earlier.left_out:
            note(f"{earlier.left_out} trials of the earlier study are outside this search space")
        plan = [*earlier.retried, *planned_trials(session.study)]
        queue.enqueue(((trial.params, trial.configuration) for trial in plan), target)

    def _confirm(self, trackers: Trackers) -> bool:
        """Train the finalists again; return whether all repeats are done."""
        interval = self._queue.lease_seconds / RENEWALS
        with HeartbeatThread(self._lock.renew, interval) if self._lock is not None else nullcontext():
            confirmation = Confirmation(self._session, self._queue.trials, self._confirmation_size())
            return self._work(confirmation, trackers)

    def _confirmation_size(self) -> ConfirmationSize | None:
        """Return the size of the confirmation, and store it, since readers of the run folder need it."""
        session, confirm = self._session, self._session.study.config.confirm
        results = {trial.trial: trial for trial in session.folder.trials()}
        ranked = [results[each.number] for each in self._queue.trials.ranked() if each.number in results]
        spent = sum(trial.seconds or 0.0 for trial in results.values())
        size = confirmation_size(confirm, ranked, spent, session.data.folds)
        if confirm is None or size is None or (size.top, size.seeds) == (confirm.top, confirm.seeds):
            return size
        session.progress.note(
            f"confirming finalists x seeds: {size.top} x {size.seeds}; {confirm.top} x {confirm.seeds} would "
            f"take more than {confirm.limit:.0%} of the search's training time (confirm.share)"
        )
        settings: Any = session.snapshot["settings"]
        settings["confirm"] |= asdict(size)
        write_json(session.folder.snapshot_file, session.snapshot)
        return size

    def _work(
        self, source: JobSource, trackers: Trackers, release: Callable[[], None] = lambda: None
    ) -> bool:
        """Have the workers run all jobs of a source; return False if the user stopped.

        Args:
            source: the source of jobs.
            trackers: the trackers that get the events of the jobs.
            release: function that gives back the jobs that are not done.
        """
        session = self._session
        try:
            session.supervisor.run(source, [trackers])
        except StoppedAtOnce:
            session.supervisor.close()
            raise
        except KeyboardInterrupt:
            session.progress.note("stopping; the same command resumes the study")
            session.supervisor.close()
            release()
            return False
        except StorageUnavailable:
            raise  # nothing can be given back now; the next `tune` finds it
        except SiamkitError:
            session.supervisor.close()
            release()
            raise
        return True


@contextmanager
def open_run(session: StudySession) -> Iterator[StudyRun]:
    """Open the study in its storage, and close the storage at the end.

    `tune` creates a study that does not exist yet.

    Raises:
        StudyError: the study cannot be opened, does not exist, or was started differently.
    """
    study, config = session.study, session.study.config
    repeats = RepeatCounter()
    storage = open_storage(
        config.name,
        session.folder,
        config.storage,
        list(session.data.objectives.values()) if session.is_tune else None,
        session.snapshot,
        sampler=StudySampler(study, repeats),
        pruner=make_pruner(study, len(session.data.objectives)),
        notify=session.progress.note,
    )
    try:
        # The lock of the run folder locks the study only if the storage is also in that folder.
        is_locked = session.is_tune and is_local(session.folder.path) and not is_database(config.storage)
        queue = TrialQueue(
            storage,
            session.data.objective,
            session.folder,
            session.owner,
            config.lease,
            is_only_tune=is_locked,
            notify=session.progress.note,
        )
        needs_lock = session.is_tune and not is_locked
        lock = CoordinatorLock(storage.optuna_study, session.owner, config.lease) if needs_lock else None
        yield StudyRun(session, queue, repeats, lock)
    finally:
        storage.close()


# ------------------------------------------------------------------ cleanup


def clean_up(folder: RunFolder, queue: TrialQueue, is_finished: bool) -> None:
    """Remove the folders of ended trials, except the attempt that the storage knows, with its results.

    An attempt that was taken over may have written a result before it noticed; it must not be read.

    Args:
        folder: the run folder.
        queue: the queue of the study.
        is_finished: whether the whole study is done; if not, repeats of finalists can be continued.
    """
    # List the folders before the trials, so that a trial that starts in between keeps its folder.
    attempts = [*folder.path.glob("trials/*/*")]
    queue.refresh()
    frozen = with_retries(queue.storage.optuna_study.get_trials, deepcopy=False)
    trials = {trial.number: StoredTrial(trial) for trial in frozen}
    unfinished = {number for number, trial in trials.items() if not trial.state.is_finished()}
    resumed_from = {trials[number].resume for number in unfinished}
    for attempt in attempts:
        number = int(attempt.parent.name) if attempt.parent.name.isdecimal() else -1
        if number in unfinished or folder.inside(attempt) in resumed_from:
            continue
        trial = trials.get(number)
        if trial is not None and trial.counts and trial.token == attempt.name:
            remove_checkpoint(attempt)
        else:
            remove_attempt(attempt)
    for repeat in [*folder.path.glob("confirm/*/*")]:
        if AttemptFolder(repeat).result.is_file():
            remove_checkpoint(repeat)
        elif is_finished:  # of a configuration that is no longer a finalist
            remove_attempt(repeat)
        else:
            remove_temporary_files(repeat)
    for parent in [*folder.path.glob("trials/*")]:
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
    remove_temporary_files(folder.path)
