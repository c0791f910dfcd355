"""The winner of a study, determined once for the report, the published model and the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal

from pydantic import JsonValue

from siamkit.errors import StudyError
from siamkit.runs.results import Objective, RepeatResult, Snapshot, TrialResult, mean_measures
from siamkit.runs.run_folder import RunFolder


def leaderboard(results: Iterable[TrialResult], objective: Objective) -> list[TrialResult]:
    """Return the completed trials that have a value, the best first; of equal trials, the earlier first."""
    ranked = [result for result in results if result.complete and result.value(objective.name) is not None]
    return sorted(ranked, key=lambda result: (-objective.worth(result.value(objective.name)), result.trial))


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
    def best(self) -> RepeatResult:
        """The repeat that is best on validation, the earlier of equal ones: its model is published."""
        return max(self.repeats, key=lambda repeat: self.objective.worth(repeat.value(self.objective.name)))

    def mean(self, split: str, measure: str | None = None) -> float:
        """Return the mean of a measure, by default the objective, over the repeats; NaN if one lacks it."""
        values = [repeat.value(measure or self.objective.name, split) for repeat in self.repeats]
        return math.nan if None in values else fmean(value for value in values if value is not None)


def finalists(results: Iterable[RepeatResult], objective: Objective) -> list[Finalist]:
    """Return the finalists, the best on validation first."""
    by_key: dict[str, list[RepeatResult]] = {}
    for result in sorted(results, key=lambda result: (result.key, result.repeat)):
        if result.complete:
            by_key.setdefault(result.key, []).append(result)
    ranked = [Finalist(key, repeats, objective) for key, repeats in by_key.items()]
    return sorted(ranked, key=lambda finalist: -objective.worth(finalist.mean("valid")))


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
    return sum((key, repeat) not in ended for key in keys for repeat in range(int(str(confirm["seeds"]))))


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
        StudyError: no study was started there yet, or no trial completed.
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
        raise StudyError(f"no trial of the study in {str(path)!r} completed, so none is the best")
    return StudyOutcome(folder, snapshot, trials, ranked[:1], ranked[0], False)
