"""The scheduler: gives the workers trials to run until the budget is spent."""

from __future__ import annotations

import math
import time
import warnings
from functools import cached_property
from pathlib import Path

import optuna

from siamkit.runs.configuration import derive_seed
from siamkit.runs.run_folder import AttemptFolder
from siamkit.study.execution.session import StudySession
from siamkit.study.execution.trial import ActiveTrials, TrialHandle
from siamkit.study.sampling.pruners import compares
from siamkit.study.sampling.samplers import RepeatCounter
from siamkit.study.storage.leases import RENEWALS, HeartbeatThread
from siamkit.study.storage.retry import with_retries
from siamkit.study.storage.trial_log import StoredTrial
from siamkit.study.storage.trial_queue import Claim, TrialQueue
from siamkit.study.worker.messages import TrialJob

MAX_REPEATS = 200  # consecutive samples that already existed, after which the search ends
MAX_SAMPLES = 20  # samples between two readings of the workers' messages
REFRESH_SECONDS = 1.0
MAX_WORKERS = 1_000_000


class WorkClock:
    """A clock of the seconds that `tune` spends on a study, in this run and those before it.

    Args:
        optuna_study: the study whose storage holds the time.
        is_tune: whether this process is `tune`; the time of workers does not count.
    """

    ATTRIBUTE = "worked"

    def __init__(self, optuna_study: optuna.Study, is_tune: bool) -> None:
        self._optuna_study, self._is_tune = optuna_study, is_tune
        self._before = float(with_retries(lambda: optuna_study.user_attrs).get(self.ATTRIBUTE, 0.0))
        self._start = time.monotonic()

    def seconds(self) -> float:
        """Return the seconds spent so far."""
        return self._before + time.monotonic() - self._start

    def store(self) -> None:
        """Store the time for later runs."""
        if self._is_tune:
            with_retries(self._optuna_study.set_user_attr, self.ATTRIBUTE, self.seconds())


class Scheduler:
    """The search of a study, as one process takes part in it: a source of jobs.

    Args:
        session: the session of this process.
        queue: the queue of the study.
        clock: the time spent on it.
        repeats: counter of samples whose configuration already existed; the sampler reads it.
        heartbeat: thread that renews the leases; its error ends the search.
        planned: the number of trials in a complete plan; infinite if a sampler chooses.
    """

    def __init__(
        self,
        session: StudySession,
        queue: TrialQueue,
        clock: WorkClock,
        repeats: RepeatCounter,
        heartbeat: HeartbeatThread,
        planned: float = math.inf,
    ) -> None:
        self._session, self._queue, self._clock = session, queue, clock
        self._repeats, self._heartbeat, self._planned = repeats, heartbeat, planned
        self._active = ActiveTrials()
        self._size = session.study.space.count()
        self._refreshed = -math.inf

    # ------------------------------------------------------------- a source of jobs

    def max_workers(self) -> int:
        """Return how many workers could have a trial."""
        return int(min(self.target - len(self._queue.trials.counted), MAX_WORKERS))

    def tick(self) -> None:
        """Read the changes by other processes, often enough to see whether they renew their leases."""
        if self._heartbeat.error is not None:
            raise self._heartbeat.error  # without it the trials of this process would be taken for dead
        queue = self._queue
        if time.monotonic() - self._refreshed >= min(REFRESH_SECONDS, queue.lease_seconds / RENEWALS):
            queue.refresh()
            queue.expire()
            queue.requeue(queue.lease_seconds)
            self._refreshed = time.monotonic()

    def next_job(self) -> TrialHandle | None:
        """Return a trial to run, or None if there is none now."""
        for _ in range(MAX_SAMPLES):
            self._queue.refresh()
            if not self._may_claim():
                return None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                claim = self._queue.claim_next(self._session.study.space, self.target)
            if isinstance(claim, Claim):
                self._repeats.reset()
                return self._handle(claim)
            if claim == "repeated":
                self._repeats.add()
        return None

    def is_done(self) -> bool:
        """Return whether there will be no more trials for this process."""
        if self._active.handles:
            return False
        if len(self._queue.trials.counted) >= self.target:
            return True
        if self._queue.trials.open and not self.is_time_over():
            return False  # another process may die, and then its trial is run here
        return self._is_exhausted() or self.is_time_over()

    def release(self) -> None:
        """Give all trials back because the user stops."""
        for handle in list(self._active.handles.values()):
            handle.interrupt()

    # ------------------------------------------------------------- the end

    @property
    def target(self) -> float:
        """The number of configurations that the study will try."""
        return min(self._session.study.config.budget.trials, self._size, self._planned)

    def is_time_over(self) -> bool:
        """Return whether the time of the budget is spent."""
        limit = self._session.study.config.budget.time
        return limit is not None and self._clock.seconds() >= limit

    def early_end(self) -> str | None:
        """Return why the search ends before its budget of trials is spent, as a sentence, or None."""
        budget, counted = self._session.study.config.budget, len(self._queue.trials.counted)
        if counted >= budget.trials:
            return None
        if self.is_time_over():
            return f"the time of {budget.time:g} s is spent"
        if counted >= self._size:
            return f"the space has only {self._size:.0f} configurations"
        if counted >= self._planned:
            return f"the plan has only {self._planned:.0f} configurations"
        return (
            f"{MAX_REPEATS} consecutive samples were repeats; {counted} of {self._size:.0f} configurations "
            "were tried"
        )

    def _is_exhausted(self) -> bool:
        return self._repeats.count >= MAX_REPEATS or math.isfinite(self._planned)

    def _may_claim(self) -> bool:
        trials = self._queue.trials
        counted = len(trials.counted)
        if self.is_time_over() or counted + len(trials.running) >= self.target:
            return False
        return bool(trials.waiting) or (not self._is_exhausted() and counted + len(trials.open) < self.target)

    # ------------------------------------------------------------- one trial

    def _handle(self, claim: Claim) -> TrialHandle:
        session, config = self._session, self._session.study.config
        finalists = config.confirm.top if config.confirm else 1
        top = self._queue.trials.ranked(finalists)
        # With several objectives any trial can be on the Pareto front.
        is_full = len(top) == finalists and len(session.data.objectives) == 1
        folded = session.data.folds > 1  # the embeddings are of one fold, the value is the mean of all
        # A seed is trained with each fold in turn before the next seed.
        repeats = [(seed, fold) for seed in range(config.seeds) for fold in range(session.data.folds)]
        best = top[0] if top and config.seeds > 1 else None
        folder = session.folder
        job = TrialJob(
            folder=str(folder.attempt(claim.number, claim.token)),
            configuration=claim.configuration,
            seeds=tuple(derive_seed(config.seed, claim.configuration, seed) for seed, _ in repeats),
            data_seeds=tuple(derive_seed(config.seed, "data", seed) for seed, _ in repeats),
            folds=tuple(fold for _, fold in repeats),
            resume=str(folder.path / claim.resume) if claim.resume else None,
            best_queries=str(self._queries(best)) if best is not None else None,
            baseline_queries=str(self._baseline_queries) if top and self._baseline_queries else None,
            seed_std=self._active.seed_std,
            keep_above=session.data.objective.worth(top[-1].values[0]) if is_full and not folded else None,
        )
        return TrialHandle(session, self._queue, claim, job, self._active)

    @cached_property
    def _baseline_queries(self) -> Path | None:
        """The scores by query of the best baseline, if trials may be stopped because of it.

        The first trials are not compared with it, until one is complete: a study in which nothing beats the
        baseline has a winner too, and says so of it.
        """
        folder, data = self._session.folder, self._session.data
        known = [each for each in folder.baselines() if each.value(data.objective.name) is not None]
        if not known or not compares(self._session.study, len(data.objectives)):
            return None
        best = max(known, key=lambda each: data.objective.worth(each.value(data.objective.name)))
        return folder.baseline(best.name).queries

    def _queries(self, trial: StoredTrial) -> object:
        return AttemptFolder(self._session.folder.attempt(trial.number, trial.token or "")).queries
