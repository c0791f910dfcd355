"""The trials of a study as its storage has them, counted as its budget counts them."""

from __future__ import annotations

import bisect
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from optuna.trial import FrozenTrial, TrialState

from siamkit.evaluation.measures import broken
from siamkit.runs.configuration import Configuration, Factor
from siamkit.runs.results import Objective
from siamkit.study.storage.leases import Lease, StoredLease

OUTCOMES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


class TrialAttributes(TypedDict, total=False):
    """The attributes that siamkit gives a trial in the storage."""

    lease: StoredLease
    configuration: Configuration | None
    factors: dict[str, Factor]
    token: str
    key: str
    attempt: int
    retries: int
    resume: str | None
    outcome: str
    cause: str
    duplicate_of: int
    interrupted: bool


@dataclass(frozen=True)
class StoredTrial:
    """A trial of the storage, with the attributes that siamkit gives it."""

    frozen: FrozenTrial

    def _attribute(self, name: str, default: Any = None) -> Any:
        return self.frozen.user_attrs.get(name, default)

    @property
    def number(self) -> int:
        """The number of the trial, from 0 in the order of creation."""
        return self.frozen.number

    @property
    def state(self) -> TrialState:
        """Optuna's state."""
        return self.frozen.state

    @property
    def values(self) -> list[float]:
        """The values of the objectives of a complete trial."""
        return list(self.frozen.values or [])

    @property
    def excesses(self) -> dict[str, float]:
        """How far a complete trial is beyond each constraint of the study."""
        return self.frozen.constraints

    @property
    def can_win(self) -> bool:
        """Whether it is complete, uses up budget and keeps all constraints."""
        return self.state == TrialState.COMPLETE and self.counts and not broken(self.excesses)

    @property
    def key(self) -> str | None:
        """The key of its configuration, once that is sampled and stored."""
        key: str | None = self._attribute("key")
        return key

    @property
    def configuration(self) -> Configuration | None:
        """Its configuration, once that is sampled."""
        configuration: Configuration | None = self._attribute("configuration")
        return configuration

    @property
    def token(self) -> str | None:
        """The token of the attempt, once it has a worker."""
        token: str | None = self._attribute("token")
        return token

    @property
    def attempt(self) -> int:
        """The number of the attempt at its configuration, from 1."""
        return int(self._attribute("attempt", 1))

    @property
    def retries(self) -> int | None:
        """The number of the trial that it repeats, if that one died."""
        number: int | None = self._attribute("retries")
        return number

    @property
    def resume(self) -> str | None:
        """The folder of the attempt whose checkpoint it continues from, relative to the run folder."""
        folder: str | None = self._attribute("resume")
        return folder

    @property
    def outcome(self) -> str | None:
        """`failed`, `duplicate`, `withdrawn`, `given up`, `earlier`; none of these for other trials."""
        outcome: str | None = self._attribute("outcome")
        return outcome

    @property
    def cause(self) -> str:
        """The reason why it failed or was pruned."""
        return str(self._attribute("cause", ""))

    @property
    def lease(self) -> Lease | None:
        """The lease of the owner that runs it."""
        return Lease.parse(self._attribute("lease"))

    @property
    def interrupted(self) -> bool:
        """Whether the user stopped it."""
        return bool(self._attribute("interrupted"))

    @property
    def counts(self) -> bool:
        """Whether it used up budget. A failure counts only if the configuration itself is the cause."""
        if self.state == TrialState.FAIL:
            return self.outcome == "failed"
        return self.state in (TrialState.COMPLETE, TrialState.PRUNED) and self.outcome is None

    @property
    def ended_early(self) -> bool:
        """Whether its attempt ended without an outcome: its process died, or the user stopped it."""
        return self.state == TrialState.FAIL and self.outcome is None


class TrialLog:
    """All trials of a study, read such that each finished trial is read once.

    Args:
        objective: the first objective of the study.

    Attributes:
        counted: the trials that used up budget, by the key of their configuration.
        open: the trials that wait or run, by number.
        given_up: the keys of configurations whose process died too often.
        duplicates: the number of samples whose configuration already existed.
        length: the number of trials of any state.
    """

    def __init__(self, objective: Objective) -> None:
        self.counted: dict[str, StoredTrial] = {}
        self.open: dict[int, StoredTrial] = {}
        self.given_up: set[str] = set()
        self.duplicates = 0
        self._objective = objective
        self.length = 0
        self._ranked: list[tuple[float, int, StoredTrial]] = []
        self._ended_early: dict[int, StoredTrial] = {}
        self._retries: dict[int, StoredTrial] = {}
        self._retried: set[int] = set()
        self._abandoned: dict[int, tuple[StoredTrial, float]] = {}  # not retried yet, and since when

    def update(self, trials: Sequence[FrozenTrial]) -> None:
        """Read the changed trials.

        Args:
            trials: all trials of the study, in order.
        """
        for number in [*self.open, *range(self.length, len(trials))]:
            trial = StoredTrial(trials[number])
            assert trial.number == number
            if trial.retries is not None:
                self._retries[trial.retries] = trial
                self.mark_retried(trial.retries)
            if trial.state.is_finished():
                self.open.pop(number, None)
                self._add_finished(trial)
            else:
                self.open[number] = trial
        self.length = len(trials)

    def _add_finished(self, trial: StoredTrial) -> None:
        if trial.counts:
            assert trial.key is not None
            self.counted.setdefault(trial.key, trial)
            if trial.can_win:
                worth = self._objective.worth(trial.values[0])
                bisect.insort(self._ranked, (-worth, trial.number, trial))
        elif trial.outcome == "given up":
            assert trial.key is not None
            self.given_up.add(trial.key)
        elif trial.outcome == "duplicate":
            self.duplicates += 1
        elif trial.ended_early:
            self._ended_early[trial.number] = trial
            if trial.key is not None and trial.number not in self._retried:
                self._abandoned[trial.number] = trial, time.monotonic()

    def mark_retried(self, number: int) -> None:
        """Record that a trial that ended early was queued again, or given up."""
        self._retried.add(number)
        self._abandoned.pop(number, None)

    def mark_given_up(self, key: str) -> None:
        """Record that a configuration is not tried again."""
        self.given_up.add(key)

    @property
    def running(self) -> list[StoredTrial]:
        """The trials that run."""
        return [trial for trial in self.open.values() if trial.state == TrialState.RUNNING]

    @property
    def waiting(self) -> list[StoredTrial]:
        """The trials that are queued and that no process has taken yet."""
        return [trial for trial in self.open.values() if trial.state == TrialState.WAITING]

    def ranked(self, limit: int | None = None) -> list[StoredTrial]:
        """Return the complete trials that keep all constraints, the best by the first objective first."""
        return [trial for _, _, trial in self._ranked[:limit]]

    def counted_with(self, outcome: str) -> list[StoredTrial]:
        """Return the counted trials that are complete, pruned or failed."""
        return [trial for trial in self.counted.values() if trial.state == OUTCOMES[outcome]]

    def died(self) -> list[StoredTrial]:
        """Return the trials whose process died."""
        return [trial for trial in self._ended_early.values() if self._has_died(trial)]

    def _has_died(self, trial: StoredTrial) -> bool:
        retry = self._retries.get(trial.number)
        if retry is not None:  # only a death counts as an attempt
            return retry.attempt > trial.attempt
        return not trial.interrupted

    def abandoned(self, seconds: float) -> Iterator[StoredTrial]:
        """Yield the trials that ended early at least `seconds` ago and were not queued again."""
        for trial, since in list(self._abandoned.values()):
            if time.monotonic() - since >= seconds and trial.key not in self.known_keys():
                yield trial

    def known_keys(self) -> set[str]:
        """Return the keys of all configurations that were tried, are queued or run."""
        keys = {trial.key for trial in self.open.values()}
        return {*self.counted, *self.given_up, *(key for key in keys if key)}
