"""Stored results, read for a report."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from siamkit.comparison.factors import Trials
from siamkit.errors import StudyError
from siamkit.files import read_table
from siamkit.report.repeated import repeats_on_test
from siamkit.report.store import read_results

Row = dict[str, Any]


@dataclass(frozen=True)
class Stored:
    """What a run folder holds.

    Args:
        frozen: the frozen study.
        trials: results of trials, the best first, those without a value last.
        finalists: one row a confirmed configuration, the best first.
        curves: per trial with a history its number and the first objective by epoch of the first repeat.
        confirmations: results of all repeats of finalists, also of those that failed.
        folder: where all this was read.
    """

    frozen: dict[str, Any]
    trials: list[Row]
    finalists: list[Row]
    curves: list[tuple[Row, list[float], list[float]]]
    confirmations: list[Row] = field(default_factory=list)
    folder: Path = Path()

    @property
    def objective(self) -> str:
        return str(next(iter(self.frozen["objectives"])))

    @property
    def maximize(self) -> bool:
        return bool(self.frozen["objectives"][self.objective] == "maximize")

    @property
    def completed(self) -> list[Row]:
        return [trial for trial in self.trials if trial["outcome"] == "complete"]

    @property
    def balanced(self) -> bool:
        """Whether trials were laid out, or drawn by chance, without regard to results."""
        asked = {**self.frozen.get("settings", {}), **self.frozen["study"]}
        drawn = asked.get("sampler") in ("random", "qmc", "grid") and not asked.get("enqueue", ["defaults"])
        laid_out = asked.get("design") == "factorial"
        return (laid_out or drawn) and all(trial["outcome"] != "pruned" for trial in self.trials)

    @property
    def seeds(self) -> int:
        """How often each configuration was trained in the search."""
        return int(self.frozen["study"].get("seeds", 1))

    def table(self) -> Trials:
        """The completed trials by their factors."""
        names = self.varied()
        return Trials(
            [
                {name: each["factors"][name] for name in names if name in each["factors"]}
                for each in self.completed
            ],
            np.array([each["figures"][self.objective] for each in self.completed]),
            self.maximize,
            self.balanced,
        )

    def varied(self) -> list[str]:
        """The factors beside components' own parameters that took more than one value."""
        names = dict.fromkeys(
            name
            for trial in self.trials
            for name in trial["factors"]
            if "." not in name or name.startswith("data.")
        )
        return [name for name in names if len({str(trial["factors"].get(name)) for trial in self.trials}) > 1]


def read_stored(folder: Path) -> Stored:
    """Reads a run folder.

    Raises:
        StudyError: there is no study in it.
    """
    frozen, trials, confirmations = read_results(folder)
    if not frozen:
        raise StudyError(f"there is no study in {str(folder)!r} yet; run it with siamkit tune")
    objective = next(iter(frozen["objectives"]))
    sign = 1 if frozen["objectives"][objective] == "maximize" else -1

    def rank(trial: Row) -> tuple[bool, float]:
        value = trial["figures"].get(objective)
        return value is None, -sign * (value or 0.0)

    curves = []
    for trial in trials:
        history = folder / trial["folder"] / "history.parquet"
        if history.is_file():
            rows = [row for row in read_table(history).to_pylist() if row["repeat"] == 0]
            curves.append((trial, [row["epoch"] for row in rows], [row.get(objective) for row in rows]))
    finalists = _finalists(folder, confirmations, objective, sign)
    return Stored(frozen, sorted(trials, key=rank), finalists, curves, confirmations, folder)


def _finalists(folder: Path, confirmations: list[Row], objective: str, sign: int) -> list[Row]:
    by_key: dict[str, list[Row]] = {}
    for each in confirmations:
        if each["outcome"] == "complete":
            by_key.setdefault(each["key"], []).append(each)
    finalists = []
    for repeats in by_key.values():
        row: Row = {
            "trial": repeats[0]["trial"],
            "factors": repeats[0].get("factors", {}),
            "repeats": len(repeats),
            "on_test": (on_test := repeats_on_test(folder, repeats, objective)),
            "test_interval": on_test.interval() if on_test is not None else None,
            "parameters": repeats[0]["valid"].get("parameters"),
        }
        for part in ("valid", "test"):
            values = [each[part][objective] for each in repeats if each[part].get(objective) is not None]
            row[part] = fmean(values) if values else None
            row[f"{part}_sd"] = stdev(values) if len(values) > 1 else None
        finalists.append(row)
    return sorted(finalists, key=lambda row: math.inf if row["valid"] is None else -sign * row["valid"])
