"""The stored results of a study as a report reads them: trials, finalists, curves, and data of models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import sqrt
from pathlib import Path
from statistics import fmean

import numpy as np
import pyarrow as pa
from pydantic import JsonValue

from siamkit.errors import StudyError, listed
from siamkit.io.files import read_arrays, read_table
from siamkit.report.model import Items
from siamkit.runs.configuration import Factor
from siamkit.runs.outcome import (
    Finalist,
    Winner,
    finalists,
    infeasible,
    leaderboard,
    pending_repeats,
    winner_kind,
)
from siamkit.runs.results import BaselineResult, Objective, RepeatResult, Snapshot, TrialResult, mean_measure
from siamkit.runs.run_folder import RunFolder
from siamkit.stats.effects import Trials
from siamkit.stats.results import Difference, Interval
from siamkit.stats.seeds import Repeats

MAX_SEARCHED = 200
"""The number of best trials that are searched for one with report data."""


@dataclass(frozen=True)
class FinalistSummary:
    """A finalist, a top configuration trained again with several seeds, as the report shows it.

    Args:
        finalist: the configuration and its repeats.
        on_test: the repeats on the test split; None if a repeat has no value of the objective.
    """

    finalist: Finalist
    on_test: Repeats | None

    @property
    def trial(self) -> int:
        """The number of the trial that made it a finalist."""
        return self.finalist.trial

    @property
    def factors(self) -> dict[str, Factor]:
        """The configuration by factor."""
        return self.best.factors

    @property
    def description(self) -> str:
        """The configuration in a few words."""
        return self.best.description

    @property
    def repeats(self) -> int:
        """The number of completed repeats."""
        return len(self.finalist.repeats)

    @property
    def trainings(self) -> str:
        """Its completed repeats in words: `3 seeds`, or `3 seeds on each of 4 folds`."""
        by_fold = self.finalist.by_fold
        seeds = len(by_fold[0])
        words = f"{seeds} seed{'s' * (seeds > 1)}"
        if len(by_fold) == 1:
            return words
        is_even = len({len(repeats) for repeats in by_fold}) == 1
        return f"{words} on each of {len(by_fold)} folds" if is_even else f"{self.repeats} trainings on folds"

    @property
    def best(self) -> RepeatResult:
        """The repeat with the best objective on the validation split."""
        return self.finalist.best

    @property
    def interval(self) -> Interval | None:
        """The objective on the test split with its interval."""
        return None if self.on_test is None else self.on_test.interval()

    @property
    def parameters(self) -> float | None:
        """The number of parameters of its model."""
        return self.finalist.repeats[0].value("parameters")

    def values(self, split: str, name: str | None = None) -> list[float]:
        """Return a measure of each repeat that has it; by default the objective."""
        name = name or self.finalist.objective.name
        return [value for repeat in self.finalist.repeats if (value := repeat.value(name, split)) is not None]

    def mean(self, split: str, name: str | None = None) -> float | None:
        """Return the mean of these values, with folds that of the folds' means; None if there are none."""
        by_fold = self._by_fold(split, name or self.finalist.objective.name)
        return fmean(map(fmean, by_fold)) if by_fold else None

    def deviation(self, split: str) -> float | None:
        """Return their standard deviation over seeds, within each fold; None if no fold has two."""
        by_fold = self._by_fold(split, self.finalist.objective.name)
        freedom = sum(len(values) - 1 for values in by_fold)
        squares = sum((value - fmean(values)) ** 2 for values in by_fold for value in values)
        return sqrt(squares / freedom) if freedom else None

    def _by_fold(self, split: str, name: str) -> list[list[float]]:
        """Return a measure of the repeats that have it, for each fold that has one."""
        known = [
            [value for repeat in repeats if (value := repeat.value(name, split)) is not None]
            for repeats in self.finalist.by_fold
        ]
        return [values for values in known if values]

    @property
    def test_measures(self) -> dict[str, float]:
        """The mean of each measure on the test split, over the repeats that have it."""
        measures = [repeat.measures_on("test") for repeat in self.finalist.repeats]
        means = {}
        for name in dict.fromkeys(name for row in measures for name in row):
            values = [row[name] for row in measures if not np.isnan(row.get(name, np.nan))]
            if values:
                means[name] = mean_measure(name, values)
        return means


@dataclass(frozen=True)
class BaselineSummary:
    """A baseline as the report shows it.

    Args:
        result: its result.
        objective: the first objective.
        on_test: its value and scores by query on the test split; None before the confirmation.
    """

    result: BaselineResult
    objective: Objective
    on_test: Repeats | None

    @property
    def description(self) -> str:
        """The baseline in a few words."""
        return self.result.description

    def value(self, split: str) -> float | None:
        """Return the objective on a split; None if it is not known."""
        return self.result.value(self.objective.name, split)


Row = TrialResult | FinalistSummary
"""A configuration with its results: it has one row of a table, or one mark of a chart."""


@dataclass(frozen=True)
class Curve:
    """The objective by epoch, of the first repeat of a trial.

    Args:
        trial: the trial.
        epochs: the numbers of its epochs.
        values: the objective after each.
        kept: the epoch whose model it has.
        queries: the number of queries that judged the other epochs, if these were not all.
        standard_error: the largest standard error of the objective over these epochs.
    """

    trial: TrialResult
    epochs: list[float]
    values: list[float | None]
    kept: float | None = None
    queries: int | None = None
    standard_error: float | None = None


@dataclass(frozen=True)
class StoredStudy:
    """The content of a run folder.

    Args:
        folder: the run folder.
        snapshot: the study as it was started.
        trials: the results of all trials, the best first, those without a value last.
        finalists: the finalists, the best first.
        curves: the curve of each trial with a history.
        repeats: the results of all repeats of finalists, including failed ones.
        baselines: the baselines that have a value on the validation split, the best first.
        failed_baselines: those that could not be computed.
    """

    folder: RunFolder
    snapshot: Snapshot
    trials: list[TrialResult]
    finalists: list[FinalistSummary]
    curves: list[Curve]
    repeats: list[RepeatResult]
    baselines: list[BaselineSummary] = field(default_factory=list)
    failed_baselines: list[BaselineResult] = field(default_factory=list)

    @cached_property
    def objective(self) -> Objective:
        """The first objective, which chooses the best."""
        return Objective.first(self.snapshot.objectives)

    @cached_property
    def completed(self) -> list[TrialResult]:
        """The completed trials that have a value and keep all constraints, the best first."""
        return leaderboard(self.trials, self.objective)

    @cached_property
    def infeasible(self) -> list[TrialResult]:
        """The completed trials that break a constraint, so that they cannot win, the closest first."""
        return infeasible(self.trials)

    @cached_property
    def lead(self) -> Difference | None:
        """The lead of the winner over the second finalist on the test split, with its interval.

        None with fewer than two finalists, or if one lacks the objective.
        """
        first, second = [*(finalist.on_test for finalist in self.finalists[:2]), None, None][:2]
        return None if first is None or second is None else second.difference(first)

    @property
    def baseline(self) -> BaselineSummary | None:
        """The baseline that is best on the validation split."""
        return self.baselines[0] if self.baselines else None

    def lead_over(self, baseline: BaselineSummary) -> Difference | None:
        """Return the winner's lead over a baseline on the test split, query by query, with its interval.

        None before the confirmation, or if nothing varies.
        """
        winner = self.finalists[0].on_test if self.finalists else None
        if winner is None or baseline.on_test is None:
            return None
        return baseline.on_test.difference(winner)

    @cached_property
    def kind(self) -> Winner:
        """What the winner is: the confirmed one, the best so far, or the search's best trial."""
        pending = pending_repeats(self.snapshot, self.completed, self.repeats)
        return winner_kind(bool(self.finalists), pending)

    @property
    def seeds(self) -> int:
        """The number of seeds that each configuration was trained with in the search."""
        return int(str(self.snapshot.setting("seeds", 1)))

    @property
    def balanced(self) -> bool:
        """Whether trials were laid out, or drawn at random, without regard to results."""
        setting = self.snapshot.setting
        random = setting("sampler") in ("random", "qmc", "grid") and not setting("enqueue", ["defaults"])
        laid_out = setting("design") == "factorial"
        return (laid_out or random) and all(trial.outcome != "pruned" for trial in self.trials)

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
        """The factors that took more than one value, without the components' own parameters."""
        names = dict.fromkeys(
            name
            for trial in self.trials
            for name in trial.factors
            if "." not in name or name.startswith("data.")
        )
        return [name for name in names if len({str(trial.factors.get(name)) for trial in self.trials}) > 1]

    def report_data(self, row: Row) -> dict[str, np.ndarray]:
        """Return the arrays that a trial or finalist stored for the report; empty if it stored none.

        Raises:
            StudyError: the file is damaged.
        """
        result = row.best if isinstance(row, FinalistSummary) else row
        if isinstance(result, RepeatResult) and result.fold:
            return {}  # its rows are those of another fold; the stored items are those of the first
        if result.folder not in self._report_data:
            file = self.folder.files(result).report_data
            arrays = read_arrays(file) if file.is_file() else {}
            _check_arrays(file, arrays, self.snapshot.data.split.counts.get("valid"))
            self._report_data[result.folder] = arrays
        return self._report_data[result.folder]

    @cached_property
    def _report_data(self) -> dict[str, dict[str, np.ndarray]]:
        """The arrays read so far, by folder: several sections need the same ones."""
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
        """Return items of the validation split; their rows alone if their table is missing or too short.

        Raises:
            StudyError: the table is damaged.
        """
        file = self.folder.items
        table = read_table(file) if file.is_file() else None
        if table is None or len(table) <= max(rows, default=-1):
            return Items([str(row) for row in rows], [""] * len(rows))
        _check_columns(file, table, "id")
        table = table.take(rows)
        columns = {name: table.column(name).to_pylist() for name in table.column_names}
        return Items(
            list(map(str, columns["id"])),
            list(map(str, columns.get("target", [""] * len(rows)))),
            columns.get("image_0"),
            columns.get("text_0"),
        )

    @cached_property
    def events(self) -> list[dict[str, JsonValue]]:
        """The events of the log, without damaged lines."""
        lines = [line for file in self.folder.log_files() for line in _log_lines(file)]
        return [line for line in lines if line is not None]

    @cached_property
    def damaged_logs(self) -> dict[str, int]:
        """The number of damaged lines of each log that has some, by the name of the file."""
        counts = {file.name: list(_log_lines(file)).count(None) for file in self.folder.log_files()}
        return {name: count for name, count in counts.items() if count}


def load_study_results(path: Path) -> StoredStudy:
    """Read a run folder for a report.

    Raises:
        StudyError: no study was started there yet, or a file is damaged.
    """
    folder = RunFolder(path)
    snapshot = folder.snapshot()
    required = ("name", "study", "data", "versions")
    missing = [name for name in required if name not in snapshot.model_fields_set]
    if missing:
        raise StudyError(f"{str(folder.snapshot_file)!r} is damaged: it lacks {listed(missing)}")
    trials, repeats = folder.trials(), folder.repeats()
    objective = Objective.first(snapshot.objectives)
    summaries = [
        FinalistSummary(finalist, _on_test(folder, finalist.repeats, objective.name))
        for finalist in finalists(repeats, objective)
    ]
    ranked = leaderboard(trials, objective)
    places = {id(trial) for trial in ranked}
    others = [trial for trial in trials if id(trial) not in places]
    curves = [_curve(folder, trial, objective.name) for trial in trials]
    found = folder.baselines()
    baselines = [
        BaselineSummary(result, objective, _baseline_on_test(folder, result, objective.name))
        for result in found
        if result.value(objective.name) is not None
    ]
    baselines.sort(key=lambda baseline: -objective.worth(baseline.value("valid")))
    return StoredStudy(
        folder,
        snapshot,
        [*ranked, *others],
        summaries,
        [curve for curve in curves if curve is not None],
        repeats,
        baselines,
        [result for result in found if result.cause],
    )


def _curve(folder: RunFolder, trial: TrialResult, measure: str) -> Curve | None:
    file = folder.files(trial).history
    if not file.is_file():
        return None
    table = read_table(file)
    _check_columns(file, table, "repeat", "epoch")
    names = ["repeat", "epoch", measure, "is_best", "queries", "standard_error"]
    names = [name for name in names if name in table.column_names]
    rows = [row for row in table.select(names).to_pylist() if row["repeat"] == 0]
    kept = next((row["epoch"] for row in rows if row.get("is_best")), None)
    values = [row.get(measure) for row in rows]
    by_some = [row for row in rows if row.get("standard_error") is not None and not row.get("is_best")]
    return Curve(
        trial,
        [row["epoch"] for row in rows],
        values,
        kept,
        queries=max((int(row["queries"]) for row in by_some if row.get("queries")), default=None),
        standard_error=max((row["standard_error"] for row in by_some), default=None),
    )


def _on_test(folder: RunFolder, repeats: Sequence[RepeatResult], measure: str) -> Repeats | None:
    """Return the repeats of one configuration on the test split; None if one lacks the measure."""
    values = [value for repeat in repeats if (value := repeat.value(measure, "test")) is not None]
    if not values or len(values) < len(repeats):
        return None
    files = [folder.files(repeat).test_queries for repeat in repeats]
    tables = [_queries(file) for file in files] if all(file.is_file() for file in files) else []
    folds = [repeat.fold for repeat in repeats]
    return _with_scores(measure, values, tables, folds if len({*folds}) > 1 else None)


def _baseline_on_test(folder: RunFolder, baseline: BaselineResult, measure: str) -> Repeats | None:
    """Return a baseline on the test split, once for each fold that it was fitted without."""
    value = baseline.value(measure, "test")
    if value is None:
        return None
    file = folder.baseline(baseline.name).test_queries
    table = _queries(file) if file.is_file() else None
    if not baseline.test_folds:
        return _with_scores(measure, [value], [] if table is None else [table], None)
    values = [each[measure] for each in baseline.test_folds]
    folds = list(range(len(values)))
    tables = []
    if table is not None and "fold" in table.column_names:
        number = table.column("fold").to_numpy()
        tables = [table.filter(pa.array(number == fold)) for fold in folds]
    return _with_scores(measure, values, tables, folds)


def _queries(file: Path) -> pa.Table:
    table = read_table(file)
    _check_columns(file, table, "id")
    return table


def _with_scores(
    measure: str, values: list[float], tables: Sequence[pa.Table], folds: list[int] | None
) -> Repeats:
    """Return repeats with their scores by query, if the measure is a mean of them."""
    without = Repeats(measure, values, folds=folds)
    if not tables:
        return without
    ids = tables[0].column("id")
    for table in tables:
        if measure not in table.column_names or not table.column("id").equals(ids):
            return without
    scores = np.array([table.column(measure).to_numpy(zero_copy_only=False) for table in tables], np.float64)
    # Scores with another mean than the measure are scores of something else.
    if not np.allclose(np.nanmean(scores, axis=1), values, atol=1e-4):
        return without
    if "target" not in tables[0].column_names:
        return Repeats(measure, values, scores, folds=folds)
    target = tables[0].column("target").combine_chunks()
    classes = target.dictionary_encode("encode").indices.to_numpy()
    return Repeats(measure, values, scores, classes, folds)


# ------------------------------------------------------------------ damaged files


def _check_columns(file: Path, table: pa.Table, *names: str) -> None:
    """Raise StudyError if a table lacks a column."""
    if lacking := [repr(name) for name in names if name not in table.column_names]:
        raise StudyError(f"{str(file)!r} is damaged: it lacks the column {listed(lacking)}")


def _check_arrays(file: Path, arrays: dict[str, np.ndarray], items: int | None) -> None:
    """Raise StudyError unless rows are validation items, and neighbors are among the rows."""
    if "embeddings" not in arrays:
        return
    rows, count = arrays.get("rows"), len(arrays["embeddings"])
    neighbors = arrays.get("neighbours")
    problem = ""
    if rows is None or rows.shape != (count,):
        problem = "'rows' should name one item for each embedding"
    elif not _all_below(rows, items):
        problem = f"'rows' should name some of the {items} validation items"
    elif neighbors is not None and (neighbors.ndim != 2 or len(neighbors) != count):
        problem = "'neighbours' should have one row for each embedding"
    elif neighbors is not None and not _all_below(neighbors, count):
        problem = f"'neighbours' should name some of the {count} rows"
    if problem:
        raise StudyError(f"{str(file)!r} is damaged: {problem}")


def _all_below(indices: np.ndarray, count: int | None) -> bool:
    """Return whether all indices are from 0 to below the count, if there is one."""
    if not indices.size:
        return True
    return bool(indices.min() >= 0 and (count is None or indices.max() < count))


def _log_lines(file: Path) -> Iterator[dict[str, JsonValue] | None]:
    """Yield the lines of a log; None for a damaged line, which a process that was killed may leave."""
    for text in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        yield line if isinstance(line, dict) else None
