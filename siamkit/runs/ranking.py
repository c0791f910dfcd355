"""Who won: the one answer that the report, the published model and the terminal share."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from siamkit.runs.objectives import Objective
from siamkit.runs.results import RepeatResult, TrialResult


def leaderboard(results: Iterable[TrialResult], objective: Objective) -> list[TrialResult]:
    """Return the completed trials that have a value, the best first; the earlier first of equal ones."""
    ranked = [result for result in results if result.complete and result.value(objective.name) is not None]
    return sorted(ranked, key=lambda result: (-objective.worth(result.value(objective.name)), result.trial))


@dataclass(frozen=True)
class Finalist:
    """A configuration trained again over several seeds.

    Args:
        key: of the configuration.
        repeats: its completed repeats, by number.
        objective: by which finalists are ranked.
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
        """Return the mean of a measure (the objective) over the repeats; NaN where one lacks it."""
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
