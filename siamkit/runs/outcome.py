"""The winner of a study, determined once for the report, the published model and the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal

from pydantic import JsonValue

from siamkit.errors import StudyError
from siamkit.evaluation.measures import measure_of, total_excess
from siamkit.runs.results import Objective, RepeatResult, Snapshot, TrialResult, mean_measures
from siamkit.runs.run_folder import RunFolder


def leaderboard(results: Iterable[TrialResult], objective: Objective) -> list[TrialResult]:
    """Return the trials that can win, the best first; of equal trials, the earlier first.

    They are completed, have a value, and keep all constraints of the study.
    """
    ranked = [
        result
        for result in results
        if result.complete and not result.broken and result.value(objective.name) is not None
    ]
    return sorted(ranked, key=lambda result: (-objective.worth(result.value(objective.name)), result.trial))


def infeasible(results: Iterable[TrialResult]) -> list[TrialResult]:
    """Return the completed trials that break a constraint, the closest to keeping all of them first."""
    found = [result for result in results if result.complete and result.broken]
    return sorted(found, key=lambda result: (total_excess(result.excesses), result.trial))


MAX_NAMED = 10


def which_broke(broken: Mapping[int, Iterable[str]]) -> str:
    """Return which trials broke which constraint: `ms_per_item <= 2 (trials 1, 4)`.

    Args:
        broken: the constraints that each trial broke, by the trial's number.
    """
    trials: dict[str, list[int]] = {}
    for trial, names in sorted(broken.items()):
        for name in names:
            trials.setdefault(name, []).append(trial)
    return "; ".join(
        f"{name} (trial{'s' * (len(numbers) > 1)} {_several(numbers)})" for name, numbers in trials.items()
    )


def _several(numbers: Sequence[int]) -> str:
    more = len(numbers) - MAX_NAMED
    shown = ", ".join(map(str, numbers[:MAX_NAMED] if more > 1 else numbers))
    return f"{shown} and {more} more" if more > 1 else shown


def why_no_winner(results: Iterable[TrialResult]) -> str:
    """Return why no trial can win, as a sentence; the closest one is named if all break constraints."""
    results = list(results)
    found = infeasible(results)
    if not found:
        return "No trial has completed."
    closest, names = found[0], list(found[0].excesses)
    which = f"all constraints ({', '.join(names)})" if len(names) > 1 else f"the constraint {names[0]}"
    among = f" of {len(found):,} completed trials" if len(found) > 1 else ""
    values = ", ".join(f"{name} {closest.measures[name]:.4g}" for name in map(measure_of, closest.broken))
    return (
        f"No trial keeps {which}; the closest{among} is trial {closest.trial}, {closest.description}: "
        f"{values}."
    )


@dataclass(frozen=True)
class Finalist:
    """A configuration trained again over several seeds.

    Args:
        key: the key of the configuration.
        repeats: its completed repeats, by number.
        objective: the objective by which finalists are ranked.
    """

    key: str
    repeats: list[RepeatResult]
    objective: Objective

    @property
    def trial(self) -> int:
        """The number of the trial that made it a finalist."""
        return self.repeats[0].trial

    @property
    def excesses(self) -> dict[str, float]:
        """How far the means over the repeats are beyond each constraint."""
        return {
            name: fmean(repeat.excesses.get(name, 0.0) for repeat in self.repeats)
            for name in self.repeats[0].excesses
        }

    @property
    def best(self) -> RepeatResult:
        """The repeat that is best on validation, the earlier of equal ones: its model is published.

        With folds only those of the first one are compared, if there are any: other folds have other classes
        to validate on, and the report shows the items of the first.
        """
        fold = min(repeat.fold for repeat in self.repeats)
        of_one = [repeat for repeat in self.repeats if repeat.fold == fold]
        return max(of_one, key=lambda repeat: self.objective.worth(repeat.value(self.objective.name)))

    @property
    def by_fold(self) -> list[list[RepeatResult]]:
        """The repeats of each fold that has one; a single list without folds."""
        folds = sorted({repeat.fold for repeat in self.repeats})
        return [[repeat for repeat in self.repeats if repeat.fold == fold] for fold in folds]

    def mean(self, split: str, measure: str | None = None) -> float:
        """Return the mean of a measure, by default the objective; NaN if a repeat lacks it.

        It is over the repeats, or with folds over the means of the folds.
        """
        name = measure or self.objective.name
        values = [[repeat.value(name, split) for repeat in repeats] for repeats in self.by_fold]
        known = [[value for value in each if value is not None] for each in values]
        return math.nan if known != values else fmean(map(fmean, known))


def finalists(results: Iterable[RepeatResult], objective: Objective) -> list[Finalist]:
    """Return the finalists, the best on validation first.

    Those that break a constraint when they are trained again come last, the closest first: the constraint
    held in the search, so this is rare, and it is for measures that vary, such as times. Those that lack a
    fold, because its training failed or has not ended, come after those that have it, since their mean is
    over other classes.
    """
    by_key: dict[str, list[RepeatResult]] = {}
    for result in sorted(results, key=lambda result: (result.key, result.repeat)):
        if result.complete:
            by_key.setdefault(result.key, []).append(result)
    ranked = [Finalist(key, repeats, objective) for key, repeats in by_key.items()]
    return sorted(
        ranked,
        key=lambda finalist: (
            -len(finalist.by_fold),
            total_excess(finalist.excesses),
            -objective.worth(finalist.mean("valid")),
        ),
    )


Winner = Literal["confirmed winner", "best finalist so far", "best trial of the search"]
"""What the winner of a study is: the best finalist, once all are trained again; before, the best so far."""


def winner_kind(confirmed: bool, pending: int) -> Winner:
    """Return what the winner is, given whether a finalist was trained again and how many repeats are left."""
    if not confirmed:
        return "best trial of the search"
    return "best finalist so far" if pending else "confirmed winner"


def pending_repeats(
    snapshot: Snapshot, ranked: Sequence[TrialResult], repeats: Iterable[RepeatResult]
) -> int:
    """Return how many repeats of finalists have not ended yet.

    Args:
        snapshot: the study as it was started.
        ranked: the completed trials, the best first.
        repeats: the results of repeats.
    """
    confirm = snapshot.setting("confirm")
    if not isinstance(confirm, dict):
        return 0
    keys = list(dict.fromkeys(trial.key for trial in ranked))[: int(str(confirm["top"]))]
    ended = {(repeat.key, repeat.repeat) for repeat in repeats}
    numbers = range(int(str(confirm["seeds"])) * snapshot.folds)
    return sum((key, number) not in ended for key in keys for number in numbers)


@dataclass(frozen=True)
class StudyOutcome:
    """The outcome of a study: its winner, with the results that decided.

    Args:
        folder: the run folder.
        snapshot: the study as it was started.
        trials: the results of all trials.
        repeats: the results of the winner: its repeats if it was confirmed, else its trial alone.
        chosen: the repeat or trial whose model is published.
        confirmed: whether the winner was trained again and scored on the test split.
        pending: the number of repeats of finalists that have not ended yet.
    """

    folder: RunFolder
    snapshot: Snapshot
    trials: list[TrialResult]
    repeats: list[RepeatResult] | list[TrialResult]
    chosen: RepeatResult | TrialResult
    confirmed: bool
    pending: int = 0

    @property
    def kind(self) -> Winner:
        """What the winner is."""
        return winner_kind(self.confirmed, self.pending)

    @property
    def trial(self) -> int:
        """The number of the trial that found the winner."""
        return self.chosen.trial

    @property
    def winner(self) -> dict[str, JsonValue]:
        """The winning configuration, as its first repeat resolved the loss's margins."""
        return self.repeats[0].resolved_configuration

    @property
    def configuration(self) -> dict[str, JsonValue]:
        """The configuration of the published model, its margins in the metric's own units."""
        return self.chosen.resolved_configuration

    @property
    def model(self) -> Path:
        """The file of the published model."""
        return self.folder.files(self.chosen).model

    @property
    def measures(self) -> dict[str, dict[str, float]]:
        """The winner's measures by split, means over its repeats."""
        by_repeat = [measures_by_split(repeat) for repeat in self.repeats]
        return {split: mean_measures(each[split] for each in by_repeat) for split in by_repeat[0]}


def measures_by_split(result: RepeatResult | TrialResult) -> dict[str, dict[str, float]]:
    """Return measures by split: `valid`, and for repeats of finalists also `test`."""
    if isinstance(result, TrialResult):
        return {"valid": result.measures}
    return {split: result.measures_on(split) for split in ("valid", "test")}


def read_outcome(path: Path) -> StudyOutcome:
    """Read the outcome of a study from its run folder.

    Raises:
        StudyError: no study was started there yet, no trial completed, or none keeps the constraints.
    """
    folder = RunFolder(path)
    snapshot, trials = folder.snapshot(), folder.trials()
    objective = Objective.first(snapshot.objectives)
    ranked, repeats = leaderboard(trials, objective), folder.repeats()
    confirmed = finalists(repeats, objective)
    if confirmed:
        best, pending = confirmed[0], pending_repeats(snapshot, ranked, repeats)
        return StudyOutcome(folder, snapshot, trials, best.repeats, best.best, True, pending)
    if not ranked:
        if infeasible(trials):
            raise StudyError(f"the study in {str(path)!r} has no best trial. {why_no_winner(trials)}")
        raise StudyError(f"no trial of the study in {str(path)!r} completed, so none is the best")
    return StudyOutcome(folder, snapshot, trials, ranked[:1], ranked[0], False)
