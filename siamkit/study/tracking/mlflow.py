"""MLflow: a run for the study, and below it a run for each attempt."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from siamkit.runs.configuration import factors_of
from siamkit.study.tracking.base import (
    AttemptEnded,
    AttemptStarted,
    EpochEnded,
    TrackerEvent,
    is_finite_number,
)
from siamkit.study.worker.messages import Attempt

RUN_STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "interrupted": "KILLED"}
MAX_TEXT_LENGTH = 500  # of a parameter or tag, for every server


@dataclass(frozen=True)
class StudyRun:
    """The MLflow run of the study itself, the parent of the runs of its attempts.

    Args:
        name: the name of the study, and of the experiment.
        tags: the tags of all its runs.
        read: function that returns the id of the run that the study already has, if any.
        store: function that stores the id for processes that resume the study or join it.
        ends_with_process: whether the run ends with this process.
    """

    name: str
    tags: dict[str, str]
    read: Callable[[], str | None]
    store: Callable[[str], None]
    ends_with_process: bool


class MLflow:
    """A tracker that writes parameters, metrics by epoch, final measures and tags to MLflow.

    Args:
        uri: URI of the tracking server or database.
        study_run: the study's run.
    """

    def __init__(self, uri: str, study_run: StudyRun) -> None:
        # MLflow would print the address of each run into the display.
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        import mlflow.entities

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self._client, self._study_run = mlflow.MlflowClient(tracking_uri=uri), study_run
        self._entities = mlflow.entities
        self._experiment = self._find_experiment(study_run.name)
        self._parent = self._find_parent()
        self._runs: dict[str, str] = {}

    def on_event(self, event: TrackerEvent) -> None:
        match event:
            case AttemptStarted(attempt):
                self._start(attempt)
            case EpochEnded(attempt, repeat, row):
                prefix = f"seed-{repeat}/" if repeat else ""
                measures = {f"{prefix}{k}": v for k, v in row.items() if k not in ("epoch", "repeat")}
                self._log(self._runs[attempt.label], measures, int(row["epoch"]))
            case AttemptEnded():
                self._end(event)

    def close(self) -> None:
        if self._study_run.ends_with_process:
            self._client.set_terminated(self._parent)

    def _start(self, attempt: Attempt) -> None:
        tags = {
            **self._study_run.tags,
            "mlflow.parentRunId": self._parent,
            "siamkit.trial": str(attempt.trial),
            "siamkit.kind": "trial" if attempt.repeat is None else "final",
            "siamkit.token": attempt.token,
            "siamkit.attempt": str(attempt.number),
        }
        run = self._client.create_run(self._experiment, tags=shortened(tags), run_name=attempt.label)
        self._runs[attempt.label] = run.info.run_id
        factors = shortened(factors_of(attempt.configuration))
        params = [self._entities.Param(name, value) for name, value in factors.items()]
        self._client.log_batch(run.info.run_id, params=params)

    def _end(self, event: AttemptEnded) -> None:
        run = self._runs.pop(event.attempt.label)
        self._log(run, {f"final/{name}": value for name, value in event.measures.items()}, 0)
        tags = {"siamkit.outcome": event.outcome} | ({"siamkit.cause": event.cause} if event.cause else {})
        run_tags = [self._entities.RunTag(name, value) for name, value in shortened(tags).items()]
        self._client.log_batch(run, tags=run_tags)
        self._client.set_terminated(run, RUN_STATUS.get(event.outcome, "FAILED"))

    def _log(self, run: str, measures: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        metrics = [
            self._entities.Metric(name, float(value), now, step)
            for name, value in measures.items()
            if is_finite_number(value)
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
        run_id = self._study_run.read()
        if run_id is not None:
            self._client.update_run(run_id, status="RUNNING")
            return run_id
        tags = shortened({**self._study_run.tags, "siamkit.kind": "study"})
        run = self._client.create_run(self._experiment, tags=tags, run_name=self._study_run.name)
        self._study_run.store(str(run.info.run_id))
        return str(run.info.run_id)


def shortened(values: Mapping[str, object]) -> dict[str, str]:
    """Return values as texts that every server accepts."""
    return {name: str(value)[:MAX_TEXT_LENGTH] for name, value in values.items()}
