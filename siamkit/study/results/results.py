"""The results of a study, read from its run folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from siamkit.report.checks import check_reliability
from siamkit.report.load import StoredStudy, load_study_results
from siamkit.report.model import Check
from siamkit.runs.configuration import Factor, factors_of
from siamkit.runs.objectives import Direction, Objective
from siamkit.runs.outcome import StudyOutcome
from siamkit.runs.results import TrialResult
from siamkit.runs.run_folder import RunFolder
from siamkit.stats.pareto import front
from siamkit.stats.results import Difference, Interval

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from siamkit.model.siamese import Siamese
    from siamkit.report.model import Document


@dataclass(frozen=True)
class Results:
    """The results of a study.

    Args:
        folder: the run folder.
        objectives: measure to direction.
        trials: the results of all trials, by number.
        winner: the configuration that won, in confirmation if there was one, its margins in the metric's
            own units; None if no trial completed.
        measures: the winner's, `{"valid": …, "test": …}`, means over its repeats; `test` only if confirmed.
        interrupted: whether the study was stopped before its budget was spent.
    """

    folder: Path
    objectives: dict[str, Direction]
    trials: list[TrialResult] = field(repr=False)
    winner: dict[str, JsonValue] | None
    measures: dict[str, dict[str, float]]
    interrupted: bool = False

    @classmethod
    def of(cls, outcome: StudyOutcome, interrupted: bool = False) -> Results:
        """Return the results of a study that has a winner."""
        objectives = outcome.snapshot.objectives
        return cls(
            outcome.folder.path, objectives, outcome.trials, outcome.winner, outcome.measures, interrupted
        )

    @property
    def factors(self) -> dict[str, Factor]:
        """The winner by factor, flat: `{"loss": "triplet", "loss.triplet.margin": 0.2, …}`."""
        return factors_of(self.winner) if self.winner else {}

    @property
    def front(self) -> list[TrialResult]:
        """The Pareto-optimal trials, the best in the first objective first."""
        complete = [trial for trial in self.trials if trial.complete]
        names, directions = list(self.objectives), list(self.objectives.values())
        rows = front([[trial.measures[name] for name in names] for trial in complete], directions)
        first = Objective.first(self.objectives)
        return sorted(
            (complete[row] for row in rows), key=lambda trial: -first.worth(trial.value(first.name))
        )

    @property
    def checks(self) -> list[Check]:
        """How far the results can be trusted: errors first, then warnings."""
        return check_reliability(self._stored)

    @property
    def test_interval(self) -> Interval | None:
        """The winner's first objective on the test part, with its interval over seeds and queries."""
        finalists = self._stored.finalists
        return finalists[0].interval if finalists else None

    @property
    def lead(self) -> Difference | None:
        """How much higher that is than the second finalist's, with its interval; None if there is none."""
        return self._stored.lead

    @cached_property
    def report(self) -> Document:
        """The report as data: `report.charts()` are Plotly figures, `report.tables()` their data, by name."""
        from siamkit.report.build import study_document  # late: it imports Plotly

        return study_document(self._stored)

    def charts(self) -> dict[str, go.Figure]:
        """The figures of the report as Plotly objects, by name: `leaderboard`, `front`, `importances`, ….

        Example:
            >>> results = siamkit.tune("study.yaml")         # doctest: +SKIP
            >>> results.charts()["interaction-metric"].show()  # doctest: +SKIP
        """
        return self.report.charts()

    def to_frame(self) -> pd.DataFrame:
        """The completed trials as a pandas table, the best first: factors and figures, a row a trial."""
        from siamkit.report.model import Table

        return self.report.tables().get("trials", Table((), [])).frame()

    def _repr_html_(self) -> str:
        from siamkit.report.render.html import render_notebook

        return render_notebook(self.report)

    @cached_property
    def _stored(self) -> StoredStudy:
        return load_study_results(self.folder)

    @property
    def model_path(self) -> Path:
        """The winner's model; `siamkit.load_model(results.model_path)`."""
        return RunFolder(self.folder).best_model

    @property
    def report_path(self) -> Path:
        return RunFolder(self.folder).report

    def load_model(self) -> Siamese:
        """The winner's model."""
        from siamkit.model.load import load_model

        return load_model(self.model_path)
