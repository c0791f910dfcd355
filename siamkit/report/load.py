"""Stored results, read for a report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from siamkit.errors import StudyError
from siamkit.io.files import read_arrays, read_table
from siamkit.report._repeats import repeats_on_test
from siamkit.report.model import Items
from siamkit.runs.results import have, read_results
from siamkit.stats.effects import Trials

Row = dict[str, Any]

STUDY = ("name", "study", "objectives", "data", "versions")
"""What a report cannot do without in the frozen study."""

KEPT = 200  # of the best trials, so many are looked through for something to see


@dataclass(frozen=True)
class StoredStudy:
    """What a run folder holds.

    Args:
        folder: the run folder.
        frozen: the frozen study.
        trials: results of trials, the best first, those without a value last.
        finalists: one row a confirmed configuration, the best first.
        curves: per trial with a history its number and the first objective by epoch of the first repeat.
        confirmations: results of all repeats of finalists, also of those that failed.
    """

    folder: Path
    frozen: dict[str, Any]
    trials: list[Row]
    finalists: list[Row]
    curves: list[tuple[Row, list[float], list[float]]]
    confirmations: list[Row]

    @property
    def objective(self) -> str:
        return str(next(iter(self.frozen["objectives"])))

    @property
    def maximize(self) -> bool:
        return bool(self.frozen["objectives"][self.objective] == "maximize")

    @cached_property
    def completed(self) -> list[Row]:
        """The completed trials that have a value, the best first."""
        return [
            trial
            for trial in self.trials
            if trial["outcome"] == "complete" and trial["figures"].get(self.objective) is not None
        ]

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

    @cached_property
    def table(self) -> Trials:
        """The completed trials by their factors."""
        names = self.varied
        return Trials(
            [
                {name: each["factors"][name] for name in names if name in each["factors"]}
                for each in self.completed
            ],
            np.array([each["figures"][self.objective] for each in self.completed]),
            self.maximize,
            self.balanced,
        )

    @cached_property
    def varied(self) -> list[str]:
        """The factors beside components' own parameters that took more than one value."""
        names = dict.fromkeys(
            name
            for trial in self.trials
            for name in trial["factors"]
            if "." not in name or name.startswith("data.")
        )
        return [name for name in names if len({str(trial["factors"].get(name)) for trial in self.trials}) > 1]

    def exhibit(self, row: Row) -> dict[str, np.ndarray]:
        """What there is to see of a trial or finalist (`exhibit.npz`); empty where nothing was kept."""
        if row["folder"] not in self._exhibits:
            file = self.folder / row["folder"] / "exhibit.npz"
            self._exhibits[row["folder"]] = read_arrays(file) if file.is_file() else {}
        return self._exhibits[row["folder"]]

    @cached_property
    def _exhibits(self) -> dict[str, dict[str, np.ndarray]]:
        """Those read so far, by folder: several sections ask for the same."""
        return {}

    @cached_property
    def exhibited(self) -> tuple[Row, dict[str, np.ndarray]] | None:
        """The best finalist, or else trial, of which there is something to see."""
        for row in (*self.finalists, *self.completed[:KEPT]):
            if "embeddings" in (found := self.exhibit(row)):
                return row, found
        return None

    def items(self, rows: np.ndarray) -> Items:
        """How items of the validation part look."""
        file = self.folder / "items.parquet"
        table = read_table(file) if file.is_file() else None
        if table is None or len(table) <= max(rows, default=-1):  # gone, or cut short
            return Items([str(row) for row in rows], [""] * len(rows))
        table = table.take(rows)
        columns = {name: table.column(name).to_pylist() for name in table.column_names}
        return Items(
            list(map(str, columns["id"])),
            list(map(str, columns.get("target", [""] * len(rows)))),
            columns.get("image_0"),
            columns.get("text_0"),
        )


def load_study_results(folder: Path) -> StoredStudy:
    """Reads a run folder.

    Raises:
        StudyError: there is no study in it.
    """
    frozen, trials, confirmations = read_results(folder)
    if not frozen:
        raise StudyError(f"there is no study in {str(folder)!r} yet; run it with siamkit tune")
    have(frozen, STUDY, folder / "study.json")
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
    return StoredStudy(folder, frozen, sorted(trials, key=rank), finalists, curves, confirmations)


def _finalists(folder: Path, confirmations: list[Row], objective: str, sign: int) -> list[Row]:
    by_key: dict[str, list[Row]] = {}
    for each in confirmations:
        if each["outcome"] == "complete":
            by_key.setdefault(each["key"], []).append(each)

    def worth(value: float | None) -> float:
        return -math.inf if value is None else sign * value

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
        row["folder"] = max(repeats, key=lambda each: worth(each["valid"].get(objective)))["folder"]
        row["values"] = {}
        row["test_figures"] = _means([each["test"] for each in repeats])
        for part in ("valid", "test"):
            values = [each[part][objective] for each in repeats if each[part].get(objective) is not None]
            row["values"][part] = values
            row[part] = fmean(values) if values else None
            row[f"{part}_sd"] = stdev(values) if len(values) > 1 else None
        finalists.append(row)
    return sorted(finalists, key=lambda row: -worth(row["valid"]))


def _means(repeats: list[Row]) -> dict[str, float]:
    """Each figure's mean over the repeats that have it."""
    names = dict.fromkeys(name for each in repeats for name in each)
    found = {}
    for name in names:
        values = [each[name] for each in repeats if each.get(name) is not None]
        if values:
            found[name] = fmean(values)
    return found
