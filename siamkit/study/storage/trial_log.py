"""The trials of a study as its storage has them, counted as its budget counts them."""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import optuna
from optuna.trial import FrozenTrial, TrialState

from siamkit.study.storage.retry import with_retries


@dataclass
class TrialLog:
    """The trials of a study, as this process sees them.

    Args:
        storage: Optuna's study.
        maximize: whether higher first objectives are better.
        tell: hears sentences for the user.
    """

    storage: optuna.Study
    maximize: bool
    tell: Callable[[str], None] = lambda sentence: None
    counted: dict[str, FrozenTrial] = field(default_factory=dict)
    open: dict[int, FrozenTrial] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._length = 0
        self._ranked: list[tuple[float, int, FrozenTrial]] = []
        self._given_up: set[str] = set()
        self._dead: dict[int, tuple[FrozenTrial, float]] = {}  # not tried again yet, and since when
        self._retried: set[int] = set()

    def look(self) -> None:
        """Reads what changed."""
        trials = with_retries(self.storage.get_trials, deepcopy=False, tell=self.tell)
        for number in [*self.open, *range(self._length, len(trials))]:
            trial = trials[number]
            assert trial.number == number
            if (before := trial.user_attrs.get("retries")) is not None:
                self._retried.add(before)
                self._dead.pop(before, None)
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
        elif outcome is None and key is not None and trial.number not in self._retried:
            self._dead[trial.number] = trial, time.monotonic()

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


def counts(trial: FrozenTrial) -> bool:
    """Whether a trial used up budget. A failure counts only if it was the configuration's own."""
    outcome = trial.user_attrs.get("outcome")  # "failed", "duplicate", "withdrawn", "given up", or nothing
    if trial.state == TrialState.FAIL:
        return outcome == "failed"
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) and outcome is None
