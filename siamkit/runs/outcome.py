"""The outcome of a study, by its stored results alone: the winner, its repeats, its model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from siamkit.errors import StudyError
from siamkit.runs.objectives import Objective
from siamkit.runs.ranking import finalists, leaderboard
from siamkit.runs.results import RepeatResult, Snapshot, TrialResult, mean_measures
from siamkit.runs.run_folder import RunFolder


@dataclass(frozen=True)
class StudyOutcome:
    """Who won a study.

    Args:
        folder: the run folder.
        snapshot: the study as it was started.
        trials: the results of all trials.
        repeats: the results of the winner: its repeats where it was confirmed, else its trial alone.
        chosen: the one of them whose model is published.
        confirmed: whether the winner was trained again and scored on the test split.
    """

    folder: RunFolder
    snapshot: Snapshot
    trials: list[TrialResult]
    repeats: list[RepeatResult] | list[TrialResult]
    chosen: RepeatResult | TrialResult
    confirmed: bool

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
    """Return measures by split: `valid`, and of repeats of finalists `test`."""
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
    confirmed = finalists(folder.repeats(), objective)
    if confirmed:
        best = confirmed[0]
        return StudyOutcome(folder, snapshot, trials, best.repeats, best.best, True)
    ranked = leaderboard(trials, objective)
    if not ranked:
        raise StudyError(f"no trial of the study in {str(path)!r} completed, so there is no best one")
    return StudyOutcome(folder, snapshot, trials, ranked[:1], ranked[0], False)
