"""The results of a study, read from its run folder, and their summary for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from siamkit.report.checks import check_reliability, failed_checks
from siamkit.report.load import StoredStudy, load_study_results
from siamkit.report.model import Block, Check, Document, Listing, Section, Source, Table
from siamkit.runs.configuration import Factor, factors_of
from siamkit.runs.outcome import StudyOutcome, Winner, infeasible, why_no_winner
from siamkit.runs.results import BaselineResult, Direction, Objective, TrialResult
from siamkit.runs.run_folder import RunFolder
from siamkit.stats.results import Difference, Interval, front

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
        objectives: the direction of each measure to optimize.
        trials: the results of all trials, by number.
        winner: the configuration that won, in confirmation if there was one; its margins are in the metric's
            own units. None if no trial completed, or none keeps the constraints.
        measures: the winner's measures, `{"valid": …, "test": …}`, means over its repeats; `test` only if
            confirmed.
        interrupted: whether the study was stopped before its budget was spent.
        trial: the number of the trial that found the winner; None if there is none.
        kind: what the winner is, `confirmed winner`, `best finalist so far` or `best trial of the search`;
            None without a winner.
    """

    folder: Path
    objectives: dict[str, Direction]
    trials: list[TrialResult] = field(repr=False)
    winner: dict[str, JsonValue] | None
    measures: dict[str, dict[str, float]]
    interrupted: bool = False
    trial: int | None = None
    kind: Winner | None = None

    @classmethod
    def of(cls, outcome: StudyOutcome, interrupted: bool = False) -> Results:
        """Return the results of a study that has a winner."""
        objectives = outcome.snapshot.objectives
        return cls(
            outcome.folder.path,
            objectives,
            outcome.trials,
            outcome.winner,
            outcome.measures,
            interrupted,
            outcome.trial,
            outcome.kind,
        )

    @property
    def factors(self) -> dict[str, Factor]:
        """The winner by factor, flat: `{"loss": "triplet", "loss.triplet.margin": 0.2, …}`."""
        return factors_of(self.winner) if self.winner else {}

    @property
    def front(self) -> list[TrialResult]:
        """The Pareto-optimal trials that keep all constraints, the best in the first objective first."""
        complete = [trial for trial in self.trials if trial.complete and not trial.broken]
        names, directions = list(self.objectives), list(self.objectives.values())
        rows = front([[trial.measures[name] for name in names] for trial in complete], directions)
        first = Objective.first(self.objectives)
        return sorted(
            (complete[row] for row in rows), key=lambda trial: -first.worth(trial.value(first.name))
        )

    @property
    def checks(self) -> list[Check]:
        """The checks of how far the results can be trusted: errors first, then warnings."""
        return check_reliability(self._stored)

    @property
    def test_interval(self) -> Interval | None:
        """The winner's first objective on the test split, with its interval over seeds and queries."""
        finalists = self._stored.finalists
        return finalists[0].interval if finalists else None

    @property
    def baselines(self) -> list[BaselineResult]:
        """The baselines, untrained embeddings of the same items, the best on validation first."""
        return [baseline.result for baseline in self._stored.baselines]

    @property
    def baseline(self) -> BaselineResult | None:
        """The baseline that is best on the validation split."""
        return next(iter(self.baselines), None)

    @property
    def lead(self) -> Difference | None:
        """The lead of the winner over the second finalist on the test split; None without a second one."""
        return self._stored.lead

    @cached_property
    def report(self) -> Document:
        """The report as data: `report.charts()` are Plotly figures, `report.tables()` their data, by name."""
        from siamkit.report.build import study_document  # late: it imports Plotly

        return study_document(self._stored)

    def charts(self) -> dict[str, go.Figure]:
        """Return the figures of the report as Plotly objects, by name: `leaderboard`, `importances`, ….

        Example:
            >>> results = siamkit.tune("study.yaml")         # doctest: +SKIP
            >>> results.charts()["interaction-metric"].show()  # doctest: +SKIP
        """
        return self.report.charts()

    def to_frame(self) -> pd.DataFrame:
        """Return the completed trials as a pandas table, a row each, the best first: factors and measures.

        In a study with constraints, `breaks` names those that a trial does not keep; such trials come last.
        """
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
        """The path of the winner's model; read it with `siamkit.load_model(results.model_path)`."""
        return RunFolder(self.folder).best_model

    @property
    def report_path(self) -> Path:
        return RunFolder(self.folder).report

    def load_model(self) -> Siamese:
        """Return the winner's model."""
        from siamkit.model.factory import load_model

        return load_model(self.model_path)


MAX_CAUSES = 5
IN_ANSWER = ("chance", "baseline", "constraints")
"""The checks that the answer has: they compare the winner with baselines and constraints."""

MAX_FRONT = 20
MORE_MEASURES = ("recall_at_1", "roc_auc", "eer")
"""Measures shown in addition to the objectives."""


def summary(results: Results, files: Mapping[str, str], *, configuration: bool = False) -> Document:
    """Return the answer in one sentence, the table, the checks that failed, and the paths of the files.

    Args:
        results: the results of the study.
        files: the path of each file to list, by its description, such as `report`.
        configuration: whether to also list the best configuration, factor by factor.
    """
    if results.winner is None and infeasible(results.trials):
        return Document("", [why_no_winner(results.trials)], [])
    if results.winner is None:
        causes = sorted({trial.cause for trial in results.trials if trial.cause})
        return Document("", ["No trial completed."], [Section("causes", "Causes", causes[:MAX_CAUSES])])
    blocks: list[Block] = [_measures(results)]
    if len(results.objectives) > 1:
        blocks.append(_front(results))
    if configuration:
        rows = Table.of(("factor", "value"), [(name, str(value)) for name, value in results.factors.items()])
        blocks.append(Listing("configuration", "", rows))
    sections = [Section(block.name, "", blocks=[block]) for block in blocks]
    # The answer says already how the winner compares with the baselines and the constraints.
    if failed := [check for check in failed_checks(results.checks) if check.name not in IN_ANSWER]:
        sections.append(Section("checks", "Checks that failed", checks=failed))
    width = max(map(len, files), default=0)
    lines = [f"{name:<{width}}  {path}" for name, path in files.items()]
    if lines:
        sections.append(Section("files", "", blocks=[Source("files", "", "\n".join(lines))]))
    return Document("", [answer(results)], sections)


def answer(results: Results) -> str:
    """Return the winner with its score, and whether it beats the baselines and keeps the constraints.

    What it does not comes first.
    """
    name, split = next(iter(results.objectives)), list(results.measures)[-1]
    value = f"{name} {results.measures[split][name]:.4f}"
    factors = results.factors
    names = " · ".join(str(factors[kind]) for kind in ("encoder", "metric", "loss"))
    description = f"{names} · {factors['embedding_dim']}-d"
    where = "test split" if split == "test" else "validation split, not confirmed"
    winner = f"The {results.kind} is trial {results.trial}, {description}: {value} on the {where}."
    checks = [check for check in results.checks if check.name in IN_ANSWER]
    before = [check.sentence for check in checks if check.status == "error"]
    after = [check.sentence for check in checks if check.status != "error"]
    return " ".join([*before, winner, *after])


def _measures(results: Results) -> Listing:
    splits, interval, lead = list(results.measures), results.test_interval, results.lead
    baseline = results.baseline
    base = {} if baseline is None else (baseline.test if "test" in splits else baseline.valid) or {}
    names = [*results.objectives, *(name for name in MORE_MEASURES if name not in results.objectives)]
    columns = ["measure", *splits, *([f"95% over {interval.over}"] if interval is not None else [])]
    columns += [f"{baseline.name} {splits[-1]}"] if base and baseline is not None else []
    rows: list[list[object]] = []
    for name in names:
        if name not in results.measures["valid"]:
            continue
        row: list[object] = [name, *(results.measures[split].get(name) for split in splits)]
        if interval is not None:
            is_measure = name == interval.measure
            row.append(f"[{interval.low:.4f}, {interval.high:.4f}]" if is_measure else "")
        if base:
            row.append(base.get(name))
        rows.append(row)
    caption = ""
    if lead is not None:
        caption = (
            f"On the test split, the winner's {lead.measure} minus that of the second finalist: "
            f"{lead.difference:+.4f} [{lead.low:+.4f}, {lead.high:+.4f}], "
            f"{'' if lead.significant else 'not '}significant."
        )
    return Listing("measures", "", Table.of(columns, rows), caption)


def _front(results: Results) -> Listing:
    trials = results.front
    rows = [
        (trial.trial, trial.description, *(trial.measures[name] for name in results.objectives))
        for trial in trials[:MAX_FRONT]
    ]
    more = len(trials) - MAX_FRONT
    table = Table.of(("trial", "configuration", *results.objectives), rows)
    return Listing("front", "Pareto front", table, f"and {more} more" if more > 0 else "")
