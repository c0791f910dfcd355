"""How a study stands, by its stored results alone: the winner, its repeats, its model. No Keras here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siamkit.errors import StudyError
from siamkit.runs.results import numbers, read_results
from siamkit.study.results.results import Results, literally

StoredStudy = dict[str, Any]


@dataclass(frozen=True)
class StudyOutcome:
    """How a study stands.

    Args:
        frozen: the frozen study.
        results: as `tune` returns them.
        repeats: the stored results of the winner: its confirmations, or else its trial alone.
        chosen: the one of them whose model is the best.
        confirmed: whether the winner was trained afresh, and the test part scored.
    """

    frozen: StoredStudy
    results: Results
    repeats: list[StoredStudy]
    chosen: StoredStudy
    confirmed: bool

    @property
    def trial(self) -> int:
        """The number of the trial that found the winner."""
        return int(self.chosen["trial"])

    @property
    def configuration(self) -> StoredStudy:
        """That of the best model, its margins in the metric's own units."""
        return literally(self.chosen)

    @property
    def model(self) -> Path:
        """The best model's file."""
        return self.results.folder / str(self.chosen["folder"]) / "checkpoint.keras"

    def parts(self, repeat: StoredStudy) -> dict[str, dict[str, float]]:
        """The figures of a repeat by part: `valid`, and of a confirmed one `test`."""
        if not self.confirmed:
            return {"valid": numbers(repeat["figures"])}
        return {part: numbers(repeat[part]) for part in ("valid", "test")}


def read_outcome(folder: Path) -> StudyOutcome:
    """Reads a run folder; the winner is found as `tune` finds it.

    Raises:
        StudyError: nothing was run there yet, or no trial completed.
    """
    frozen, trials, confirmations = read_results(folder)
    if not frozen:
        raise StudyError(f"there is no study in {str(folder)!r} yet; run it with siamkit tune")
    objective, direction = next(iter(frozen["objectives"].items()))
    sign = 1 if direction == "maximize" else -1

    def worth(measures: dict[str, Any]) -> float:
        value = measures.get(objective)
        return -math.inf if value is None or not math.isfinite(value) else sign * float(value)

    by_key: dict[str, list[StoredStudy]] = {}
    for each in sorted(confirmations, key=lambda each: (each["key"], each["repeat"])):
        if each["outcome"] == "complete":
            by_key.setdefault(each["key"], []).append(each)
    complete = sorted((t for t in trials if t["outcome"] == "complete"), key=lambda each: each["trial"])
    if by_key:
        repeats = max(by_key.values(), key=lambda each: worth(_means([one["valid"] for one in each])))
        chosen = max(repeats, key=lambda each: worth(each["valid"]))
        measures = {part: _means([each[part] for each in repeats]) for part in ("valid", "test")}
    elif complete:
        chosen = max(complete, key=lambda each: worth(each["figures"]))
        repeats, measures = [chosen], {"valid": numbers(chosen["figures"])}
    else:
        raise StudyError(f"no trial of the study in {str(folder)!r} completed, so there is no best one")
    results = Results(folder, frozen["objectives"], trials, literally(repeats[0]), measures)
    return StudyOutcome(frozen, results, repeats, chosen, bool(by_key))


def _means(repeats: list[dict[str, Any]]) -> dict[str, float]:
    rows = [numbers(each) for each in repeats]
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
