"""MLflow: a run for the study, and below it one for each attempt."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from siamkit.study.tracking.base import Attempt, is_number

STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "interrupted": "KILLED"}
MAX_CHARACTERS = 500  # of a parameter or tag, on every server


@dataclass(frozen=True)
class StudyRun:
    """The study's own run in MLflow.

    Args:
        name: of the study, and of the experiment.
        tags: of all its runs.
        recall: returns the run that the study already has, if any.
        keep: stores the run, for processes that continue or join the study.
        ends: whether the run ends with this process.
    """

    name: str
    tags: dict[str, str]
    recall: Callable[[], str | None]
    keep: Callable[[str], None]
    ends: bool


class MLflow:
    """Writes parameters, measures by epoch, final measures and tags.

    Args:
        uri: of the tracking server or database.
        parent: the study's run.
    """

    def __init__(self, uri: str, parent: StudyRun) -> None:
        # Otherwise MLflow prints the URL of each run into the display.
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        import mlflow.entities

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self._client, self._study = mlflow.MlflowClient(tracking_uri=uri), parent
        self._entities = mlflow.entities
        self._experiment = self._find_experiment(parent.name)
        self._parent = self._find_parent()
        self._runs: dict[str, str] = {}

    def started(self, attempt: Attempt) -> None:
        tags = {
            **self._study.tags,
            "mlflow.parentRunId": self._parent,
            "siamkit.trial": str(attempt.trial),
            "siamkit.kind": "trial" if attempt.repeat is None else "final",
            "siamkit.token": attempt.token,
            "siamkit.attempt": str(attempt.number),
        }
        run = self._client.create_run(self._experiment, tags=short(tags), run_name=attempt.label)
        self._runs[attempt.label] = run.info.run_id
        params = [self._entities.Param(name, value) for name, value in short(attempt.factors).items()]
        self._client.log_batch(run.info.run_id, params=params)

    def epoch(self, attempt: Attempt, repeat: int, row: dict[str, Any]) -> None:
        prefix = f"seed-{repeat}/" if repeat else ""
        measures = {f"{prefix}{k}": v for k, v in row.items() if k not in ("epoch", "repeat")}
        self._log(self._runs[attempt.label], measures, int(row["epoch"]))

    def ended(self, attempt: Attempt, outcome: str, cause: str, measures: dict[str, float]) -> None:
        run = self._runs.pop(attempt.label)
        self._log(run, {f"final/{name}": value for name, value in measures.items()}, 0)
        tags = short({"siamkit.outcome": outcome, **({"siamkit.cause": cause} if cause else {})})
        self._client.log_batch(run, tags=[self._entities.RunTag(name, value) for name, value in tags.items()])
        self._client.set_terminated(run, STATUS.get(outcome, "FAILED"))

    def close(self) -> None:
        if self._study.ends:
            self._client.set_terminated(self._parent)

    def _log(self, run: str, measures: dict[str, Any], step: int) -> None:
        now = int(time.time() * 1000)
        metrics = [
            self._entities.Metric(name, float(value), now, step)
            for name, value in measures.items()
            if is_number(value)
        ]
        self._client.log_batch(run, metrics=metrics)

    def _find_experiment(self, name: str) -> str:
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return str(self._client.create_experiment(name))
            except Exception:  # another machine created it meanwhile
                experiment = self._client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        return str(experiment.experiment_id)

    def _find_parent(self) -> str:
        run = self._study.recall()
        if run is not None:
            self._client.update_run(run, status="RUNNING")
            return run
        tags = short({**self._study.tags, "siamkit.kind": "study"})
        run_id = str(
            self._client.create_run(self._experiment, tags=tags, run_name=self._study.name).info.run_id
        )
        self._study.keep(run_id)
        return run_id


def short(values: dict[str, Any]) -> dict[str, str]:
    """Return values as texts short enough for every server."""
    return {name: str(value)[:MAX_CHARACTERS] for name, value in values.items()}
