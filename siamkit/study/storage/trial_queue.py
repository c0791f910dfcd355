"""The ledger of a study: what used up budget, who runs what, and who may go on. Its state is Optuna's.

Any number of processes on any number of machines work through one storage. What keeps them from doing too
much is the order of trial numbers, which the storage gives out one by one: whoever has drawn a configuration
writes it down, and then gives way to what stands before it (`settle`). What keeps a dead attempt from
interfering is that a trial can end only once: whoever ends it first has the say, and the other one is told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from siamkit.runs.configuration import Configuration, factors_of
from siamkit.runs.results import read_json
from siamkit.runs.run_folder import RunFolder, new_token
from siamkit.study.config.fingerprint import key_of
from siamkit.study.config.search_space import SearchSpace
from siamkit.study.storage import leases
from siamkit.study.storage.open import write_attrs
from siamkit.study.storage.retry import with_retries
from siamkit.study.storage.trial_log import TrialLog, counts

STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
LONGEST_CAUSE = 2000  # characters; the result has the whole of it
ATTEMPTS = 3  # how often a trial that died from outside is tried again


@dataclass
class Claim:
    """A trial that this process may run.

    Args:
        trial: Optuna's.
        configuration: what was drawn.
        key: of the configuration.
        token: of the attempt.
        attempt: from 1; later ones follow those that died.
        resume: the folder of an earlier attempt that left a checkpoint, inside the run folder.
        lost: set once somebody else ended the trial.
    """

    trial: optuna.Trial
    configuration: Configuration
    key: str
    token: str
    attempt: int
    resume: str | None
    lost: bool = False


@dataclass(kw_only=True)
class TrialQueue(TrialLog):
    """The book of a study, and the right to write in it.

    Args:
        folder: the run folder, where results of attempts lie.
        owner: this process, as `leases.new_owner` names it.
        lease: seconds after which a silent owner is taken for dead.
        alone: whether no other `tune` can be running, so that what belongs to one is left from a dead one.
    """

    folder: RunFolder
    owner: str
    lease: float
    alone: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._held: dict[int, Claim] = {}
        self._lock = threading.Lock()
        self._beats = 0
        self._watch = leases.Watch(self.lease)

    # ------------------------------------------------------------- drawing

    def draw(
        self, space: SearchSpace, target: float, sampler: Callable[[int], optuna.samplers.BaseSampler]
    ) -> Claim | str:
        """Takes a queued trial or draws a new one, and keeps it if it may.

        Args:
            space: what to draw from.
            target: how many configurations there are to be in all.
            sampler: makes the sampler of a trial from its number.

        Returns:
            The claim; or `repeated` where it was there already, `withdrawn` where it was one too many, `lost`
            where this process was stopped so long that others took it for dead.
        """
        trial = with_retries(self.storage.ask, tell=self.tell)
        self.storage.sampler = sampler(trial.number)
        try:
            return self._claim(trial, space, target)
        except UpdateFinishedTrialError:
            return "lost"

    def _claim(self, trial: optuna.Trial, space: SearchSpace, target: float) -> Claim | str:
        self._write(trial._trial_id, {"lease": self._sign()})
        configuration = with_retries(space.sample, trial, tell=self.tell)
        key, token = key_of(configuration), new_token()
        written = {"configuration": configuration, "factors": factors_of(configuration), "token": token}
        # The key is the last: from now on others give way to it.
        self._write(trial._trial_id, {**written, "key": key})
        verdict = self._settle(trial.number, key, target)
        if verdict is not None:
            self._turn_down(trial, key, verdict)
            return verdict
        attrs = with_retries(lambda: trial.user_attrs, tell=self.tell)
        claim = Claim(trial, configuration, key, token, attrs.get("attempt", 1), attrs.get("resume"))
        with self._lock:
            self._held[trial.number] = claim
        return claim

    def _settle(self, number: int, key: str, target: float) -> str | None:
        """Whether a drawn configuration gives way: to one like it, or to others that fill the budget.

        Both must have been drawn before it, by their numbers. One that has not written down yet what it is
        is waited for. So of any two alike exactly one goes on, and no more than the budget asks for.
        """
        pause = 0.01
        while True:
            self.look()
            if key in self.counted or key in self._given_up:
                return "repeated"
            if number not in self.open:
                return "lost"
            ahead = [trial for trial in self.open.values() if trial.number < number]
            keys = {trial.user_attrs.get("key") for trial in ahead} - {None}
            if key in keys:
                return "repeated"
            if not any(t.state == TrialState.RUNNING and "key" not in t.user_attrs for t in ahead):
                filled = len(self.counted) + sum(each not in self.counted for each in keys)
                return None if filled < target else "withdrawn"
            self.reap()
            time.sleep(pause)
            pause = min(2 * pause, 0.25)

    def _turn_down(self, trial: optuna.Trial, key: str, verdict: str) -> None:
        """Ends a trial that is not run; what is known of its configuration answers it."""
        if verdict == "lost":
            return
        known = self.counted.get(key)
        attrs: dict[str, Any] = {"outcome": "duplicate" if verdict == "repeated" else verdict}
        if known is not None:
            attrs["duplicate_of"] = known.number
        self._write(trial._trial_id, attrs)
        values = known.values if known is not None and known.state == TrialState.COMPLETE else None
        self._end(trial.number, "complete" if values else "failed", values)

    def _write(self, trial_id: int, attrs: dict[str, Any]) -> None:
        with_retries(write_attrs, self.storage, trial_id, attrs, tell=self.tell)

    # ------------------------------------------------------------- ending

    def finish(self, claim: Claim, outcome: str, values: list[float] | None, cause: str = "") -> bool:
        """Ends a trial of this process; False where somebody else had ended it otherwise.

        Args:
            claim: the trial.
            outcome: complete, pruned, or failed by its own fault.
            values: of the objectives, if complete.
            cause: of a failure or a stop, in words.
        """
        attrs = {"cause": cause[:LONGEST_CAUSE]} if cause else {}
        if outcome == "failed":
            # What tells its own fault from a death: those are not marked, and are tried again.
            attrs["outcome"] = "failed"
        try:
            if attrs:
                self._write(claim.trial._trial_id, attrs)
            done = self._end(claim.trial.number, outcome, values)
        except UpdateFinishedTrialError:
            done = False
        self.drop(claim)
        return done or self._stands(claim.trial.number, outcome)

    def _stands(self, number: int, outcome: str) -> bool:
        """Whether a trial has ended in just this way: who took its owner for dead found its result."""
        trial = with_retries(self.storage.get_trials, deepcopy=False, tell=self.tell)[number]
        return counts(trial) and trial.state == STATES[outcome]

    def give_back(self, claim: Claim, died: bool) -> None:
        """Ends a trial that did not come to its end, and has it tried again.

        Args:
            claim: the trial.
            died: whether it counts as an attempt; not where the user stopped it.
        """
        self.drop(claim)
        try:
            if not died:
                self._write(claim.trial._trial_id, {"interrupted": True})
            self.look()
            trial = self.open.get(claim.trial.number)
            if trial is not None and self._end(trial.number, "failed", None):
                self._retry(trial, died)
        except UpdateFinishedTrialError:
            pass  # who ended it has it tried again

    def drop(self, claim: Claim) -> None:
        """Renews a lease no more; for what somebody else has ended."""
        with self._lock:
            self._held.pop(claim.trial.number, None)

    def _end(self, number: int, outcome: str, values: Any) -> bool:
        """Ends a running trial; False if it had ended, unless in just this way (an answer that got lost)."""
        state = STATES[outcome]
        asked_again = False

        def tell() -> bool:
            nonlocal asked_again
            again, asked_again = asked_again, True
            try:
                self.storage.tell(number, values, state=state)
                return True
            except (UpdateFinishedTrialError, ValueError):
                trial = self.storage.get_trials(deepcopy=False)[number]
                if not trial.state.is_finished():
                    raise
                return again and trial.state == state

        return with_retries(tell, tell=self.tell)

    def _retry(self, trial: FrozenTrial, died: bool) -> None:
        """Queues a trial's configuration again, if it was not tried too often."""
        attrs = trial.user_attrs
        if "key" not in attrs:
            return  # it died before it was drawn whole: there is nothing to try again
        attempt = attrs.get("attempt", 1) + died
        self._retried.add(trial.number)
        self._dead.pop(trial.number, None)
        more = {
            "key": attrs["key"],
            "configuration": attrs["configuration"],
            "attempt": attempt,
            "retries": trial.number,
            "resume": self._left(trial),
        }
        if attempt > 1 + ATTEMPTS:
            self._given_up.add(attrs["key"])
            self.tell(f"trial {trial.number} is given up: its process died {attempt - 1} times")
            with_retries(self._note_given_up, trial, more, tell=self.tell)
        else:
            # What was queued and died before it was drawn has no parameters of its own yet.
            params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
            with_retries(self.storage.enqueue_trial, params, user_attrs=more, tell=self.tell)

    def _left(self, trial: FrozenTrial) -> str | None:
        """The folder of the attempt that came furthest, if one has left a checkpoint."""
        # A queued one that was taken, and died before it was drawn, has no folder of its own.
        if "token" in trial.user_attrs:
            place = self.folder.attempt(trial.number, trial.user_attrs["token"])
            if (place / "resume.json").is_file():
                return self.folder.inside(place)
        earlier: str | None = trial.user_attrs.get("resume")
        return earlier

    def _note_given_up(self, trial: FrozenTrial, attrs: dict[str, Any]) -> None:
        # The dead trial itself can no longer be written.
        self.storage.add_trial(
            optuna.create_trial(
                state=TrialState.FAIL,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs={**attrs, "outcome": "given up"},
            )
        )

    # ------------------------------------------------------------- the living and the dead

    def beat(self) -> None:
        """Renews this process's leases; a trial that somebody else has ended is marked as lost."""
        self._beats += 1
        with self._lock:
            held = list(self._held.values())
        for claim in held:
            try:
                # Soon after a storage is back, or others would take this process for dead.
                with_retries(claim.trial.set_user_attr, "lease", self._sign(), most=self.lease / 10)
            except UpdateFinishedTrialError:
                with self._lock:
                    claim.lost = self._held.pop(claim.trial.number, None) is not None

    def _sign(self) -> dict[str, Any]:
        return {"owner": self.owner, "beat": self._beats}

    def reap(self) -> None:
        """Ends the trials of owners that are dead, and has them tried again; call it after a `look`."""
        self._watch.begin()
        for trial in self.running:
            sign = trial.user_attrs.get("lease")
            owner = sign["owner"] if sign else ""
            if owner != self.owner and (
                (owner and self._is_gone(owner)) or self._watch.is_silent(trial.number, sign)
            ):
                self._bury(trial)

    def queue(self, plan: Iterable[tuple[dict[str, Any], Configuration]], target: float) -> None:
        """Has configurations tried before others are drawn: those not there yet, while the budget has room.

        Args:
            plan: parameters, as Optuna queues them, and what the space makes of them.
            target: how many configurations there are to be in all.
        """
        self.look()
        known, room = self.known(), target - len(self.counted) - len(self.open)
        for params, configuration in plan:
            key = key_of(configuration)
            if key not in known and room > 0:
                attrs = {"key": key, "configuration": configuration}
                with_retries(self.storage.enqueue_trial, params, user_attrs=attrs, tell=self.tell)
                known.add(key)
                room -= 1

    def adopt(self, after: float = 0.0) -> None:
        """Queues again what died and was not: whoever was to see to that died too.

        Args:
            after: seconds that are left to whoever ended it.
        """
        for trial, since in list(self._dead.values()):
            if time.monotonic() - since >= after and trial.user_attrs["key"] not in self.known():
                self._retry(trial, died=not trial.user_attrs.get("interrupted"))

    def _is_gone(self, owner: str) -> bool:
        return (self.alone and leases.role_of(owner) == "tune") or leases.is_gone(owner)

    def _bury(self, trial: FrozenTrial) -> None:
        stored = self.folder.attempt(trial.number, trial.user_attrs.get("token", "-")) / "result.json"
        if stored.is_file():
            # It died after its result was written, before the storage heard of it.
            self._tell_stored(trial, read_json(stored))
        elif self._end(trial.number, "failed", None):
            self.folder.log("trial died", trial=trial.number, lease=trial.user_attrs.get("lease"))
            self._retry(trial, died=True)

    def _tell_stored(self, trial: FrozenTrial, stored: dict[str, Any]) -> None:
        try:
            if stored["outcome"] == "failed":
                self._write(trial._trial_id, {"outcome": "failed"})
        except UpdateFinishedTrialError:
            return
        self._end(trial.number, stored["outcome"], stored["values"])
