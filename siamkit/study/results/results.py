"""What a study found, read from its run folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamkit.report._repeats import lead
from siamkit.report.checks import Check, findings
from siamkit.report.load import StoredStudy, load_study_results
from siamkit.runs.run_folder import RunFolder
from siamkit.stats.pareto import front
from siamkit.stats.results import Difference, Interval
from siamkit.study.config.search_space import factors_of

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from siamkit.model.siamese import Siamese
    from siamkit.report.model import Document


def literally(stored: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a stored result, its loss as the API takes it: margins in the metric's units."""
    configuration: dict[str, Any] = stored["configuration"]
    loss = configuration["loss"]
    literal = (stored.get("literal") or {}).get("loss", {})
    return {**configuration, "loss": {**loss, "params": {**loss["params"], **literal}}}


@dataclass(frozen=True)
class Results:
    """What a study found.

    Args:
        folder: the run folder.
        objectives: figure to direction.
        trials: the stored results of all trials, by number.
        winner: the configuration that won, in confirmation if there was one, its margins literal; None if
            no trial completed.
        measures: the winner's, `{"valid": …, "test": …}`, means over its repeats; `test` only if confirmed.
        interrupted: whether the study was stopped before its budget was spent.
    """

    folder: Path
    objectives: dict[str, str]
    trials: list[dict[str, Any]] = field(repr=False)
    winner: dict[str, Any] | None
    measures: dict[str, dict[str, float]]
    interrupted: bool = False

    @property
    def factors(self) -> dict[str, Any]:
        """The winner by factor, flat: `{"loss": "triplet", "loss.triplet.margin": 0.2, …}`."""
        return factors_of(self.winner) if self.winner else {}

    @property
    def front(self) -> list[dict[str, Any]]:
        """The completed trials that no other beats in every objective, the best of the first one first."""
        complete = [trial for trial in self.trials if trial["outcome"] == "complete"]
        names, directions = list(self.objectives), list(self.objectives.values())
        rows = front([[trial["figures"][name] for name in names] for trial in complete], directions)
        sign = -1 if directions[0] == "maximize" else 1
        return sorted((complete[row] for row in rows), key=lambda each: sign * each["figures"][names[0]])

    @property
    def findings(self) -> list[Check]:
        """Whether these numbers can be trusted: what speaks against them and for them, faults first."""
        return findings(self._stored)

    @property
    def test_interval(self) -> Interval | None:
        """The winner's first objective on the test part, with its interval over seeds and queries."""
        finalists = self._stored.finalists
        return finalists[0]["test_interval"] if finalists else None

    @property
    def lead(self) -> Difference | None:
        """How much higher that is than the second finalist's, with its interval; None if there is none."""
        return lead(self._stored.finalists)

    @cached_property
    def report(self) -> Document:
        """The report as data: `report.charts()` are Plotly figures, `report.tables()` their data, by name."""
        from siamkit.report.build import document  # late: it brings Plotly

        return document(self._stored)

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
        from siamkit.report.render.notebook import fragment

        return fragment(self.report)

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
