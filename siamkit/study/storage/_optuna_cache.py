"""A cache of finished trials before a database, which costs the same at the ten-thousandth as at the first.

Optuna's own sorts all trials at each look, and goes through all of them to find the few that wait or run.
"""

from __future__ import annotations

import bisect
import copy
from collections.abc import Container
from operator import attrgetter
from typing import Any

from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import FrozenTrial, TrialState

OPEN = (TrialState.WAITING, TrialState.RUNNING)
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class Kept:
    """The trials of one study: all, and those of each final state, by number; and in the order they ended."""

    def __init__(self) -> None:
        self.all: list[FrozenTrial] = []
        self.ended: dict[TrialState, list[FrozenTrial]] = {state: [] for state in ENDED}
        self.log: list[FrozenTrial] = []
        self._logged: set[int] = set()

    def add(self, trial: FrozenTrial) -> None:
        number = trial.number
        # One's own new trial can be known before older ones of others are; they come with the next look.
        self.all.extend([trial] * (number + 1 - len(self.all)))
        self.all[number] = trial
        if trial.state.is_finished() and number not in self._logged:
            self._logged.add(number)
            bisect.insort(self.ended[trial.state], trial, key=attrgetter("number"))
            self.log.append(trial)


class Cache(_CachedStorage):
    """Optuna's cache, with its trials in order."""

    def __init__(self, backend: Any) -> None:
        super().__init__(backend)
        self._kept: dict[int, Kept] = {}

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        self._read_trials_from_remote_storage(study_id)
        with self._lock:
            found = self._chosen(study_id, states)
            return copy.deepcopy(found) if deepcopy else found

    def ended_since(self, study_id: int, position: int) -> list[FrozenTrial]:
        """The trials that ended since so many had, in the order in which this process heard of it."""
        with self._lock:
            return self._kept[study_id].log[position:] if study_id in self._kept else []

    def _chosen(self, study_id: int, states: Container[TrialState] | None) -> list[FrozenTrial]:
        kept = self._kept.setdefault(study_id, Kept())
        if states is None:
            return list(kept.all)
        parts = [kept.ended[state] for state in ENDED if state in states]
        if any(state in states for state in OPEN):
            numbers = (self._trial_id_to_study_id_and_number[each][1] for each in self._open(study_id))
            parts.append([kept.all[n] for n in sorted(numbers) if kept.all[n].state in states])
        if len(parts) == 1:
            return list(parts[0])
        return sorted((trial for part in parts for trial in part), key=attrgetter("number"))

    def _open(self, study_id: int) -> set[int]:
        found: set[int] = self._studies[study_id].unfinished_trial_ids
        return found

    def _add_trials_to_cache(self, study_id: int, trials: list[FrozenTrial]) -> None:
        super()._add_trials_to_cache(study_id, trials)
        kept = self._kept.setdefault(study_id, Kept())
        for trial in trials:
            kept.add(trial)
