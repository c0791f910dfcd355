"""The trials of a study, counted as its budget counts them, for those who look on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial, TrialState

from siamkit.study.storage.trial_log import counts

OUTCOMES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


@dataclass
class Tally:
    """How many trials ended how, and which.

    Args:
        outcomes: of each configuration that used up budget: complete, pruned or failed.
        complete: the completed trials, the best of the first objective first.
        failed: trials that failed by their own fault, and those whose process died.
        duplicates: draws that were there already.
        died: attempts whose process died.
        waiting: trials that are queued.
        running: trials that somebody has in hand.
    """

    outcomes: dict[str, str] = field(default_factory=dict)
    complete: list[FrozenTrial] = field(default_factory=list)
    failed: list[FrozenTrial] = field(default_factory=list)
    duplicates: int = 0
    died: int = 0
    waiting: int = 0
    running: list[FrozenTrial] = field(default_factory=list)

    def count(self, outcome: str) -> int:
        return sum(each == outcome for each in self.outcomes.values())


def tally(trials: Sequence[FrozenTrial], maximize: bool) -> Tally:
    """Counts trials.

    Args:
        trials: all of a study.
        maximize: whether higher first objectives are better.
    """
    found = Tally()
    retries = {each.user_attrs["retries"]: each for each in trials if "retries" in each.user_attrs}
    for trial in trials:
        outcome = trial.user_attrs.get("outcome")
        if trial.state == TrialState.RUNNING:
            found.running.append(trial)
        elif trial.state == TrialState.WAITING:
            found.waiting += 1
        elif counts(trial):
            found.outcomes.setdefault(trial.user_attrs["key"], OUTCOMES[trial.state])
            if trial.state == TrialState.COMPLETE:
                found.complete.append(trial)
            elif trial.state == TrialState.FAIL:
                found.failed.append(trial)
        elif outcome == "duplicate":
            found.duplicates += 1
        elif outcome is None and has_died(trial, retries.get(trial.number)):
            found.died += 1
            found.failed.append(trial)
    sign = -1 if maximize else 1
    found.complete.sort(key=lambda trial: (sign * trial.values[0], trial.number))
    return found


def has_died(trial: FrozenTrial, retry: FrozenTrial | None) -> bool:
    """Whether a trial that came to no end died, rather than was stopped by the user."""
    if retry is not None:  # only a death counts as an attempt
        return bool(retry.user_attrs.get("attempt", 1) > trial.user_attrs.get("attempt", 1))
    return not trial.user_attrs.get("interrupted")
