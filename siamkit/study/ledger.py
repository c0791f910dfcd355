"""The ledger of a study: what used up budget, who runs what, and who may go on. Its state is Optuna's.

Any number of processes on any number of machines work through one storage. What keeps them from doing too
much is the order of trial numbers, which the storage gives out one by one: whoever has drawn a configuration
writes it down, and then gives way to what stands before it (`settle`). What keeps a dead attempt from
interfering is that a trial can end only once: whoever ends it first has the say, and the other one is told.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from siamkit.report.store import read_json
from siamkit.study import leases
from siamkit.study.folder import RunFolder, new_token
from siamkit.study.identity import key_of
from siamkit.study.space import Configuration, Space, factors_of
from siamkit.study.storage import patiently

STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
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


@dataclass
class Ledger:
    """The trials of a study, as this process sees them.

    Args:
        storage: Optuna's study.
        folder: the run folder, where results of attempts lie.
        owner: this process, as `leases.new_owner` names it.
        lease: seconds after which a silent owner is taken for dead.
        maximize: whether higher first objectives are better.
        alone: whether no other `tune` can be running, so that what belongs to one is left from a dead one.
        tell: hears sentences for the user.
    """

    storage: optuna.Study
    folder: RunFolder
    owner: str
    lease: float
    maximize: bool
    alone: bool = False
    tell: Callable[[str], None] = lambda sentence: None
    counted: dict[str, FrozenTrial] = field(default_factory=dict)
    open: dict[int, FrozenTrial] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._length = 0
        self._ranked: list[tuple[float, int, FrozenTrial]] = []
        self._given_up: set[str] = set()
        self._dead: dict[int, FrozenTrial] = {}
        self._retried: set[int] = set()
        self._held: dict[int, Claim] = {}
        self._lock = threading.Lock()
        self._beats = 0
        self._watch = leases.Watch(self.lease)

    # ------------------------------------------------------------- what is there

    def look(self) -> None:
        """Reads what changed; what has ended is read once."""
        trials = patiently(self.storage.get_trials, deepcopy=False, tell=self.tell)
        for number in [*self.open, *range(self._length, len(trials))]:
            trial = trials[number]
            assert trial.number == number
            if (before := trial.user_attrs.get("retries")) is not None:
                self._retried.add(before)
            if trial.state.is_finished():
                self.open.pop(number, None)
                self._file(trial)
            else:
                self.open[number] = trial
        self._length = len(trials)

    def _file(self, trial: FrozenTrial) -> None:
        outcome, key = trial.user_attrs.get("outcome"), trial.user_attrs.get("key")
        if counts(trial):
            self.counted.setdefault(trial.user_attrs["key"], trial)
            if trial.state == TrialState.COMPLETE:
                value = trial.values[0]
                bisect.insort(self._ranked, (-value if self.maximize else value, trial.number, trial))
        elif outcome == "given up":
            self._given_up.add(trial.user_attrs["key"])
        elif outcome is None and trial.state == TrialState.FAIL and key is not None:
            self._dead[trial.number] = trial

    @property
    def length(self) -> int:
        """How many trials there are, of any state."""
        return self._length

    @property
    def running(self) -> list[FrozenTrial]:
        return [trial for trial in self.open.values() if trial.state == TrialState.RUNNING]

    @property
    def waiting(self) -> list[FrozenTrial]:
        """Trials that were queued and that nobody has taken yet."""
        return [trial for trial in self.open.values() if trial.state == TrialState.WAITING]

    def ranked(self, most: int | None = None) -> list[FrozenTrial]:
        """Completed trials, the best of the first objective first."""
        return [trial for _, _, trial in self._ranked[:most]]

    def known(self) -> set[str]:
        """The keys of all configurations that were tried or are queued or running."""
        keys = {trial.user_attrs.get("key") for trial in self.open.values()}
        return {*self.counted, *self._given_up, *(key for key in keys if key)}

    # ------------------------------------------------------------- drawing

    def draw(self, space: Space, target: float) -> Claim | str:
        """Takes a queued trial or draws a new one, and keeps it if it may.

        Args:
            space: what to draw from.
            target: how many configurations there are to be in all.

        Returns:
            The claim; or `repeated` where it was there already, `withdrawn` where it was one too many.
        """
        trial = patiently(self.storage.ask, tell=self.tell)
        write = trial.set_user_attr
        patiently(write, "lease", self._sign(), tell=self.tell)
        configuration = patiently(space.draw, trial, tell=self.tell)
        key, token = key_of(configuration), new_token()
        patiently(write, "configuration", configuration, tell=self.tell)
        patiently(write, "factors", factors_of(configuration), tell=self.tell)
        patiently(write, "token", token, tell=self.tell)
        patiently(write, "key", key, tell=self.tell)  # the last: from now on others give way to it
        verdict = self._settle(trial.number, key, target)
        if verdict is not None:
            self._turn_down(trial, key, verdict)
            return verdict
        attrs = patiently(lambda: trial.user_attrs, tell=self.tell)
        claim = Claim(trial, configuration, key, token, attrs.get("attempt", 1), attrs.get("resume"))
        with self._lock:
            self._held[trial.number] = claim
        return claim

    def _settle(self, number: int, key: str, target: float) -> str | None:
        """Whether a drawn configuration gives way: to one like it, or to others that fill the budget.

        Both must have been drawn before it, by their numbers. One that has not written down yet what it is
        is waited for. So of any two alike exactly one goes on, and no more than the budget asks for.
        """
        while True:
            self.look()
            if key in self.counted or key in self._given_up:
                return "repeated"
            ahead = [trial for trial in self.open.values() if trial.number < number]
            keys = {trial.user_attrs.get("key") for trial in ahead}
            if key in keys:
                return "repeated"
            if not any(t.state == TrialState.RUNNING and "key" not in t.user_attrs for t in ahead):
                return None if len({*self.counted, *keys} - {None}) < target else "withdrawn"
            self.reap()
            time.sleep(0.02)

    def _turn_down(self, trial: optuna.Trial, key: str, verdict: str) -> None:
        """Ends a trial that is not run; what is known of its configuration answers it."""
        known = self.counted.get(key)
        patiently(trial.set_user_attr, "outcome", "duplicate" if verdict == "repeated" else verdict)
        if known is not None:
            patiently(trial.set_user_attr, "duplicate_of", known.number)
        values = known.values if known is not None and known.state == TrialState.COMPLETE else None
        self._end(trial.number, "complete" if values else "failed", values)

    # ------------------------------------------------------------- ending

    def finish(self, claim: Claim, outcome: str, values: list[float] | None, cause: str = "") -> bool:
        """Ends a trial of this process; False where somebody else had ended it.

        Args:
            claim: the trial.
            outcome: complete, pruned, or failed by its own fault.
            values: of the objectives, if complete.
            cause: of a failure or a stop, in words.
        """
        try:
            if outcome == "failed":
                # What tells its own fault from a death: those are not marked, and are tried again.
                patiently(claim.trial.set_user_attr, "outcome", "failed", tell=self.tell)
            if cause:
                patiently(claim.trial.set_user_attr, "cause", cause, tell=self.tell)
            done = self._end(claim.trial.number, outcome, values)
        except UpdateFinishedTrialError:
            done = False
        self.drop(claim)
        return done

    def give_back(self, claim: Claim, died: bool) -> None:
        """Ends a trial that did not come to its end, and has it tried again.

        Args:
            claim: the trial.
            died: whether it counts as an attempt; not where the user stopped it.
        """
        self.look()
        trial = self.open.get(claim.trial.number)
        self.drop(claim)
        if trial is not None and self._end(trial.number, "failed", None):
            self._retry(trial, died)

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
                return again and trial.state == state and trial.state.is_finished()

        return patiently(tell, tell=self.tell)

    def _retry(self, trial: FrozenTrial, died: bool) -> None:
        """Queues a trial's configuration again, if it was not tried too often."""
        attrs = trial.user_attrs
        if "key" not in attrs:
            return  # it died before it was drawn whole: there is nothing to try again
        attempt = attrs.get("attempt", 1) + died
        self._retried.add(trial.number)
        resume = attrs.get("resume")
        if "token" in attrs:  # a queued one may have died before it got its own
            place = self.folder.attempt(trial.number, attrs["token"])
            resume = self.folder.inside(place) if (place / "resume.json").is_file() else resume
        more = {
            "key": attrs["key"],
            "configuration": attrs["configuration"],
            "attempt": attempt,
            "retries": trial.number,
            "resume": resume,
        }
        if attempt > 1 + ATTEMPTS:
            self._given_up.add(attrs["key"])
            self.tell(f"trial {trial.number} is given up: its process died {attempt - 1} times")
            patiently(self._note_given_up, trial, more, tell=self.tell)
        else:
            # What was queued and died before it was drawn has no parameters of its own yet.
            params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
            patiently(self.storage.enqueue_trial, params, user_attrs=more, tell=self.tell)

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
                patiently(claim.trial.set_user_attr, "lease", self._sign())
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

    def adopt(self) -> None:
        """Queues again what died and was not: whoever was to see to that died too."""
        for number, trial in list(self._dead.items()):
            if number not in self._retried and trial.user_attrs["key"] not in self.known():
                self._retry(trial, died=not trial.user_attrs.get("interrupted"))

    def _is_gone(self, owner: str) -> bool:
        return (self.alone and leases.role_of(owner) == "tune") or leases.is_gone(owner)

    def _bury(self, trial: FrozenTrial) -> None:
        stored = self.folder.attempt(trial.number, trial.user_attrs.get("token", "-")) / "result.json"
        if stored.is_file():
            # It died after its result was written, before the storage heard of it.
            self._tell_stored(trial, read_json(stored))
        elif self._end(trial.number, "failed", None):
            self.folder.log("trial died", trial=trial.number, owner=trial.user_attrs.get("lease"))
            self._retry(trial, died=True)

    def _tell_stored(self, trial: FrozenTrial, stored: dict[str, Any]) -> None:
        write = self.storage._storage.set_trial_user_attr
        try:
            if stored["outcome"] == "failed":
                patiently(write, trial._trial_id, "outcome", "failed")
        except UpdateFinishedTrialError:
            return
        self._end(trial.number, stored["outcome"], stored["values"])


def counts(trial: FrozenTrial) -> bool:
    """Whether a trial used up budget. A failure counts only if it was the configuration's own."""
    outcome = trial.user_attrs.get("outcome")  # "failed", "duplicate", "withdrawn", "given up", or nothing
    if trial.state == TrialState.FAIL:
        return outcome == "failed"
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) and outcome is None
