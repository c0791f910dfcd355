"""Read a run folder for a report: trials, finalists, learning curves, and the data behind the figures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

from siamkit.errors import StudyError, listed
from siamkit.io.files import read_arrays, read_table
from siamkit.report._repeats import lead, repeats_on_test
from siamkit.report.model import Items
from siamkit.runs.configuration import Factor
from siamkit.runs.objectives import Objective
from siamkit.runs.outcome import Finalist, finalists, leaderboard
from siamkit.runs.results import RepeatResult, Snapshot, TrialResult
from siamkit.runs.run_folder import RunFolder
from siamkit.stats.effects import Trials
from siamkit.stats.results import Difference, Interval
from siamkit.stats.seeds import Repeats

MAX_SEARCHED = 200  # of the best trials: so many are searched for one that stored report data


@dataclass(frozen=True)
class FinalistSummary:
    """A finalist as a report shows it.

    Args:
        finalist: the configuration and its repeats.
        on_test: the repeats on the test split; None where one lacks the objective.
    """

    finalist: Finalist
    on_test: Repeats | None

    @property
    def trial(self) -> int:
        """The number of the trial that made it a finalist."""
        return self.finalist.trial

    @property
    def factors(self) -> dict[str, Factor]:
        """Of its configuration."""
        return self.finalist.repeats[0].factors

    @property
    def repeats(self) -> int:
        """How many repeats completed."""
        return len(self.finalist.repeats)

    @property
    def best(self) -> RepeatResult:
        """The repeat that is best on validation."""
        return self.finalist.best

    @property
    def interval(self) -> Interval | None:
        """Of the objective on the test split."""
        return None if self.on_test is None else self.on_test.interval()

    @property
    def parameters(self) -> float | None:
        """The number of trained numbers of its model."""
        return self.finalist.repeats[0].value("parameters")

    def values(self, split: str) -> list[float]:
        """Return the objective of each repeat that has it."""
        name = self.finalist.objective.name
        return [value for repeat in self.finalist.repeats if (value := repeat.value(name, split)) is not None]

    def mean(self, split: str) -> float | None:
        """Return the mean of these values; None without any."""
        values = self.values(split)
        return fmean(values) if values else None

    def sd(self, split: str) -> float | None:
        """Return their standard deviation; None with fewer than two."""
        values = self.values(split)
        return stdev(values) if len(values) > 1 else None

    @property
    def test_measures(self) -> dict[str, float]:
        """Each measure's mean over the repeats that have it, on the test split."""
        measures = [repeat.measures_on("test") for repeat in self.finalist.repeats]
        means = {}
        for name in dict.fromkeys(name for each in measures for name in each):
            values = [each[name] for each in measures if not np.isnan(each.get(name, np.nan))]
            if values:
                means[name] = fmean(values)
        return means


Row = TrialResult | FinalistSummary
"""A configuration with its results: what tables and charts have one row or mark for."""


@dataclass(frozen=True)
class Curve:
    """The objective of a trial by epoch, of its first repeat."""

    trial: TrialResult
    epochs: list[float]
    values: list[float | None]


@dataclass(frozen=True)
class StoredStudy:
    """The contents of a run folder.

    Args:
        folder: the run folder.
        snapshot: the study as it was started.
        trials: results of trials, the best first, those without a value last.
        finalists: the best first.
        curves: of each trial with a history.
        repeats: results of all repeats of finalists, of failed ones too.
    """

    folder: RunFolder
    snapshot: Snapshot
    trials: list[TrialResult]
    finalists: list[FinalistSummary]
    curves: list[Curve]
    repeats: list[RepeatResult]

    @cached_property
    def objective(self) -> Objective:
        """The first objective, which names the best."""
        return Objective.first(self.snapshot.objectives)

    @cached_property
    def completed(self) -> list[TrialResult]:
        """The completed trials that have a value, the best first."""
        return leaderboard(self.trials, self.objective)

    @cached_property
    def lead(self) -> Difference | None:
        """How much higher the winner is on the test split than the second finalist."""
        return lead([finalist.on_test for finalist in self.finalists[:2]])

    @property
    def seeds(self) -> int:
        """How often each configuration was trained in the search."""
        return int(str(self.snapshot.setting("seeds", 1)))

    @property
    def balanced(self) -> bool:
        """Whether trials were laid out, or drawn by chance, without regard to results."""
        setting = self.snapshot.setting
        drawn = setting("sampler") in ("random", "qmc", "grid") and not setting("enqueue", ["defaults"])
        laid_out = setting("design") == "factorial"
        return (laid_out or drawn) and all(trial.outcome != "pruned" for trial in self.trials)

    @cached_property
    def table(self) -> Trials:
        """The completed trials by their factors."""
        return Trials(
            [
                {name: trial.factors[name] for name in self.varied if name in trial.factors}
                for trial in self.completed
            ],
            np.array([trial.measures[self.objective.name] for trial in self.completed]),
            self.objective.maximize,
            self.balanced,
        )

    @cached_property
    def varied(self) -> list[str]:
        """The factors, other than components' own parameters, that took more than one value."""
        names = dict.fromkeys(
            name
            for trial in self.trials
            for name in trial.factors
            if "." not in name or name.startswith("data.")
        )
        return [name for name in names if len({str(trial.factors.get(name)) for trial in self.trials}) > 1]

    def report_data(self, row: Row) -> dict[str, np.ndarray]:
        """Return the arrays that a trial or finalist stored for the report; empty where it stored none.

        Raises:
            StudyError: they are damaged.
        """
        result = row.best if isinstance(row, FinalistSummary) else row
        if result.folder not in self._report_data:
            file = self.folder.files(result).report_data
            arrays = read_arrays(file) if file.is_file() else {}
            for name in ("embeddings", "neighbours"):
                if name in arrays and len(arrays[name]) != len(arrays.get("rows", ())):
                    raise StudyError(f"{str(file)!r} is damaged: {name} and rows differ in length")
            if "neighbours" in arrays and arrays["neighbours"].size:
                near = arrays["neighbours"]
                if near.min() < 0 or near.max() >= len(near):
                    raise StudyError(f"{str(file)!r} is damaged: neighbours name rows that do not exist")
            self._report_data[result.folder] = arrays
        return self._report_data[result.folder]

    @cached_property
    def _report_data(self) -> dict[str, dict[str, np.ndarray]]:
        """Arrays read so far, by folder: several sections need the same ones."""
        return {}

    @cached_property
    def illustrated(self) -> tuple[Row, dict[str, np.ndarray]] | None:
        """The best finalist, or else trial, that stored embeddings for the report."""
        rows: list[Row] = [*self.finalists, *self.completed[:MAX_SEARCHED]]
        for row in rows:
            if "embeddings" in (arrays := self.report_data(row)):
                return row, arrays
        return None

    def items(self, rows: np.ndarray) -> Items:
        """Return how items of the validation split look.

        Raises:
            StudyError: the table of items lacks a column.
        """
        file = self.folder.items
        table = read_table(file) if file.is_file() else None
        if table is None or len(table) <= max(rows, default=-1):  # missing, or capped
            return Items([str(row) for row in rows], [""] * len(rows))
        if "id" not in table.column_names:
            raise StudyError(f"{str(file)!r} is damaged: it lacks the column 'id'")
        table = table.take(rows)
        columns = {name: table.column(name).to_pylist() for name in table.column_names}
        return Items(
            list(map(str, columns["id"])),
            list(map(str, columns.get("target", [""] * len(rows)))),
            columns.get("image_0"),
            columns.get("text_0"),
        )


def load_study_results(path: Path) -> StoredStudy:
    """Read a run folder for a report.

    Raises:
        StudyError: no study was started there yet, or a file is damaged.
    """
    folder = RunFolder(path)
    snapshot = folder.snapshot()
    missing = [
        name for name in ("name", "study", "data", "versions") if name not in snapshot.model_fields_set
    ]
    if missing:
        raise StudyError(f"{str(folder.snapshot_file)!r} is damaged: it lacks {listed(missing)}")
    trials, repeats = folder.trials(), folder.repeats()
    objective = Objective.first(snapshot.objectives)
    summaries = [
        FinalistSummary(finalist, repeats_on_test(folder, finalist.repeats, objective.name))
        for finalist in finalists(repeats, objective)
    ]
    ranked = leaderboard(trials, objective)
    places = {id(trial) for trial in ranked}
    others = [trial for trial in trials if id(trial) not in places]
    curves = [
        Curve(
            trial,
            [row["epoch"] for row in rows],
            [row.get(objective.name) for row in rows],
        )
        for trial in trials
        if (file := folder.files(trial).history).is_file()
        for rows in [[row for row in read_table(file).to_pylist() if row["repeat"] == 0]]
    ]
    return StoredStudy(folder, snapshot, [*ranked, *others], summaries, curves, repeats)
