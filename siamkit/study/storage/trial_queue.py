"""The queue of a study: gives each process trials to run, and decides which of them count.

Any number of processes on any number of machines share one storage, which holds the whole state. The budget
is enforced by the order of trial numbers, which the storage assigns one by one: a process that has sampled a
configuration stores it, and then gives way to the trials before it (`_verdict`). A dead attempt cannot
interfere, because a trial can end only once: the process that ends it first decides, and the other one sees
that it lost the trial.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from siamkit.runs.configuration import Configuration, Factor, factors_of, key_of
from siamkit.runs.results import Objective, TrialResult, read_record
from siamkit.runs.run_folder import AttemptFolder, RunFolder, new_token
from siamkit.study.config.search_space import SearchSpace
from siamkit.study.storage.leases import Lease, LeaseMonitor, Owner, StoredLease
from siamkit.study.storage.open import StudyStorage
from siamkit.study.storage.retry import with_retries
from siamkit.study.storage.trial_log import OUTCOMES, StoredTrial, TrialAttributes, TrialLog

MAX_CAUSE_LENGTH = 2000  # the result has the whole cause
MAX_RETRIES = 3  # attempts after the first one of a trial whose process died

Refusal = Literal["repeated", "withdrawn", "lost"]
"""Why a sampled configuration is not run: it existed, the budget is full, or another process ended it."""


@dataclass
class Claim:
    """A trial that this process may run.

    Args:
        trial: Optuna's trial.
        configuration: the sampled configuration.
        key: the key of the configuration.
        token: the random name of the attempt.
        attempt: the number of the attempt, from 1; later attempts follow those that died.
        resume: the folder of an earlier attempt that left a checkpoint, relative to the run folder.
        lost: whether another process has ended the trial.
    """

    trial: optuna.Trial
    configuration: Configuration
    key: str
    token: str
    attempt: int
    resume: str | None
    lost: bool = False

    @property
    def number(self) -> int:
        """The number of the trial."""
        return self.trial.number


class TrialQueue:
    """The trials of a study, and the right of this process to run some of them.

    Args:
        storage: the study in its storage; its sampler samples configurations.
        objective: the first objective of the study.
        folder: the run folder.
        owner: this process.
        lease_seconds: seconds that the lease of a trial lasts without a renewal.
        is_only_tune: whether no other `tune` can run; then the running trials of any other `tune` are dead.
        notify: function that gets sentences for the user.

    Attributes:
        trials: all trials of the study, as this process last read them.
    """

    def __init__(
        self,
        storage: StudyStorage,
        objective: Objective,
        folder: RunFolder,
        owner: Owner,
        lease_seconds: float,
        *,
        is_only_tune: bool = False,
        notify: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.storage, self.folder, self.owner = storage, folder, owner
        self.lease_seconds, self.is_only_tune = lease_seconds, is_only_tune
        self.trials = TrialLog(objective)
        self._notify = notify
        self._claims: dict[int, Claim] = {}
        self._lock = threading.Lock()  # protects the claims, which the heartbeat thread also reads
        self._beats = 0
        self._monitor = LeaseMonitor(lease_seconds)

    def refresh(self) -> None:
        """Read the changes in the storage."""
        self.trials.update(self._read())

    def _read(self) -> Sequence[optuna.trial.FrozenTrial]:
        return with_retries(self.storage.optuna_study.get_trials, deepcopy=False, notify=self._notify)

    def _write(self, number: int, attributes: TrialAttributes) -> None:
        with_retries(self.storage.write_trial, number, attributes, notify=self._notify)

    def _constrain(self, number: int, excesses: Mapping[str, float]) -> None:
        with_retries(self.storage.set_constraints, number, excesses, notify=self._notify)

    # ------------------------------------------------------------- claiming

    def enqueue(self, plan: Iterable[tuple[Mapping[str, Factor], Configuration]], target: float) -> None:
        """Queue new configurations to try before others are sampled, while the budget has room.

        Args:
            plan: parameters, as Optuna queues them, with the configurations that the space makes of them.
            target: the number of configurations that the study will try.
        """
        self.refresh()
        known = self.trials.known_keys()
        room = target - len(self.trials.counted) - len(self.trials.open)
        for params, configuration in plan:
            key = key_of(configuration)
            if key not in known and room > 0:
                self._enqueue(params, {"key": key, "configuration": configuration})
                known.add(key)
                room -= 1

    def _enqueue(self, params: Mapping[str, Factor], attributes: TrialAttributes) -> None:
        study = self.storage.optuna_study
        with_retries(study.enqueue_trial, dict(params), user_attrs=dict(attributes), notify=self._notify)

    def claim_next(self, space: SearchSpace, target: float) -> Claim | Refusal:
        """Take a queued trial or sample a new one, and keep it if the budget allows.

        Args:
            space: the search space.
            target: the number of configurations that the study will try.

        Returns:
            The claim, or why there is none: `repeated` if the configuration existed, `withdrawn` if the
            budget is full, `lost` if this process was stopped for so long that others took it for dead.
        """
        trial = with_retries(self.storage.optuna_study.ask, notify=self._notify)
        try:
            return self._claim(trial, space, target)
        except UpdateFinishedTrialError:
            return "lost"

    def _claim(self, trial: optuna.Trial, space: SearchSpace, target: float) -> Claim | Refusal:
        self._write(trial.number, {"lease": self._lease()})
        configuration = with_retries(space.sample, trial, notify=self._notify)
        key, token = key_of(configuration), new_token()
        attributes: TrialAttributes = {
            "configuration": configuration,
            "factors": factors_of(configuration),
            "token": token,
            "key": key,  # the last: from now on other processes give way to it
        }
        self._write(trial.number, attributes)
        refusal = self._verdict(trial.number, key, target)
        if refusal is not None:
            self._decline(trial.number, key, refusal)
            return refusal
        stored = self.trials.open[trial.number]
        claim = Claim(trial, configuration, key, token, stored.attempt, stored.resume)
        with self._lock:
            self._claims[trial.number] = claim
        return claim

    def _verdict(self, number: int, key: str, target: float) -> Refusal | None:
        """Return why a sampled configuration gives way: to an equal one, or to others that fill the budget.

        Only trials with lower numbers count. A trial that has not stored its configuration is waited for.
        So of any two equal configurations exactly one runs, and no more run than the budget allows.
        """
        pause = 0.01
        while True:
            self.refresh()
            trials = self.trials
            if key in trials.counted or key in trials.given_up:
                return "repeated"
            if number not in trials.open:
                return "lost"
            earlier = [trial for trial in trials.open.values() if trial.number < number]
            keys = {trial.key for trial in earlier} - {None}
            if key in keys:
                return "repeated"
            if not any(trial.state == TrialState.RUNNING and trial.key is None for trial in earlier):
                filled = len(trials.counted) + sum(other not in trials.counted for other in keys)
                return None if filled < target else "withdrawn"
            self.expire()
            time.sleep(pause)
            pause = min(2 * pause, 0.25)

    def _decline(self, number: int, key: str, refusal: Refusal) -> None:
        """End a trial that is not run; a repeated one gets the values of the trial that it repeats."""
        if refusal == "lost":
            return
        known = self.trials.counted.get(key)
        attributes: TrialAttributes = {"outcome": "duplicate" if refusal == "repeated" else refusal}
        if known is not None:
            attributes["duplicate_of"] = known.number
        self._write(number, attributes)
        values = known.values if known is not None and known.state == TrialState.COMPLETE else None
        self._constrain(number, known.excesses if known is not None and values else {})
        self._end(number, "complete" if values else "failed", values)

    # ------------------------------------------------------------- ending

    def finish(
        self,
        claim: Claim,
        outcome: str,
        values: list[float] | None,
        cause: str = "",
        excesses: Mapping[str, float] = MappingProxyType({}),
    ) -> bool:
        """End a trial of this process.

        Args:
            claim: the trial.
            outcome: `complete`, `pruned`, or `failed` if the configuration itself is the cause.
            values: the values of the objectives, if complete.
            cause: the cause of a failure or a stop, as a sentence.
            excesses: how far it is beyond each constraint of the study, if complete.

        Returns:
            True if it ended with this outcome; False if another process had ended it differently.
        """
        attributes: TrialAttributes = {"cause": cause[:MAX_CAUSE_LENGTH]} if cause else {}
        if outcome == "failed":
            # The mark distinguishes it from a death, which is tried again.
            attributes["outcome"] = "failed"
        try:
            if attributes:
                self._write(claim.number, attributes)
            self._constrain(claim.number, excesses)
            ended = self._end(claim.number, outcome, values)
        except UpdateFinishedTrialError:
            ended = False
        self.forget(claim)
        return ended or self._has_ended(claim.number, outcome)

    def _has_ended(self, number: int, outcome: str) -> bool:
        """Return whether a trial has this outcome: another process that expired it found its result."""
        trial = StoredTrial(self._read()[number])
        return trial.counts and trial.state == OUTCOMES[outcome]

    def release(self, claim: Claim, died: bool) -> None:
        """End a trial whose attempt did not finish, and queue its configuration again.

        Args:
            claim: the trial.
            died: whether the process died, which counts as an attempt; False if the user stopped it.
        """
        self.forget(claim)
        try:
            if not died:
                self._write(claim.number, {"interrupted": True})
            self.refresh()
            trial = self.trials.open.get(claim.number)
            if trial is not None and self._end(trial.number, "failed", None):
                self._retry(trial, died)
        except UpdateFinishedTrialError:
            pass  # the process that ended it queues it again

    def forget(self, claim: Claim) -> None:
        """Stop renewing the lease of a trial that another process has ended."""
        with self._lock:
            self._claims.pop(claim.number, None)

    def _end(self, number: int, outcome: str, values: Sequence[float] | None) -> bool:
        """End a running trial; return False if it had ended, unless by a call whose answer was lost."""
        study, state = self.storage.optuna_study, OUTCOMES[outcome]
        was_called = False

        def tell() -> bool:
            nonlocal was_called
            is_repeated, was_called = was_called, True
            try:
                study.tell(number, values, state=state)
                return True
            except (UpdateFinishedTrialError, ValueError):
                trial = study.get_trials(deepcopy=False)[number]
                if not trial.state.is_finished():
                    raise
                return is_repeated and trial.state == state

        return with_retries(tell, notify=self._notify)

    def _retry(self, trial: StoredTrial, died: bool) -> None:
        """Queue the configuration of a trial again, unless it was tried too often."""
        if trial.key is None:
            return  # it ended before its configuration was stored: there is nothing to try again
        attempt = trial.attempt + died
        self.trials.mark_retried(trial.number)
        attributes: TrialAttributes = {
            "key": trial.key,
            "configuration": trial.configuration,
            "attempt": attempt,
            "retries": trial.number,
            "resume": self._checkpoint(trial),
        }
        if attempt > 1 + MAX_RETRIES:
            self.trials.mark_given_up(trial.key)
            self._notify(f"trial {trial.number} is given up: its process died {attempt - 1} times")
            with_retries(self._store_given_up, trial, attributes, notify=self._notify)
        else:
            # A queued trial that was taken and died before it was sampled has no parameters of its own yet.
            fixed_params = trial.frozen.system_attrs.get("fixed_params", {})
            self._enqueue({**fixed_params, **trial.frozen.params}, attributes)

    def _checkpoint(self, trial: StoredTrial) -> str | None:
        """Return the folder of the attempt that came furthest, if one has left a checkpoint."""
        # A queued trial that was taken and died before it was sampled has no folder of its own.
        if trial.token is not None:
            folder = AttemptFolder(self.folder.attempt(trial.number, trial.token))
            if folder.checkpoint_state.is_file():
                return self.folder.inside(folder.path)
        return trial.resume

    def _store_given_up(self, trial: StoredTrial, attributes: TrialAttributes) -> None:
        # The dead trial itself can no longer be written.
        self.storage.optuna_study.add_trial(
            optuna.create_trial(
                state=TrialState.FAIL,
                params=trial.frozen.params,
                distributions=trial.frozen.distributions,
                user_attrs={**attributes, "outcome": "given up"},
            )
        )

    # ------------------------------------------------------------- leases

    def renew(self) -> None:
        """Renew the leases of this process; mark the claims of trials that other processes have ended."""
        self._beats += 1
        with self._lock:
            claims = list(self._claims.values())
        for claim in claims:
            try:
                # With short pauses: soon after a storage is back, or others would take this process for dead.
                with_retries(
                    claim.trial.set_user_attr, "lease", self._lease(), max_pause=self.lease_seconds / 10
                )
            except UpdateFinishedTrialError:
                with self._lock:
                    claim.lost = self._claims.pop(claim.number, None) is not None

    def _lease(self) -> StoredLease:
        return Lease(self.owner, self._beats).stored()

    def expire(self) -> None:
        """End the trials of dead owners, and queue them again; call it after `refresh`."""
        self._monitor.start_round()
        for trial in self.trials.running:
            lease = trial.lease
            if lease is not None and lease.owner == self.owner:
                continue
            if (lease is not None and self._is_dead(lease.owner)) or self._monitor.is_expired(
                trial.number, lease
            ):
                self._expire(trial)

    def _is_dead(self, owner: Owner) -> bool:
        return owner.has_exited or (self.is_only_tune and owner.role == "tune")

    def _expire(self, trial: StoredTrial) -> None:
        file = AttemptFolder(self.folder.attempt(trial.number, trial.token or "-")).result
        if file.is_file():
            # Its process died after it wrote the result, before it ended the trial in the storage.
            self._end_as_stored(trial.number, read_record(file, TrialResult))
        elif self._end(trial.number, "failed", None):
            lease = trial.lease.stored() if trial.lease is not None else None
            self.folder.log("trial died", trial=trial.number, lease=lease)
            self._retry(trial, died=True)

    def _end_as_stored(self, number: int, result: TrialResult) -> None:
        try:
            if result.outcome == "failed":
                self._write(number, {"outcome": "failed"})
            self._constrain(number, result.excesses)
        except UpdateFinishedTrialError:
            return
        self._end(number, result.outcome, result.values)

    def requeue(self, after: float = 0.0) -> None:
        """Queue again the trials that ended early, if the process that should have queued them has also died.

        Args:
            after: seconds after the end of a trial that are left to that process.
        """
        for trial in self.trials.abandoned(after):
            self._retry(trial, died=not trial.interrupted)
