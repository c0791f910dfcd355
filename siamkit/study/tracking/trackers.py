"""The trackers that a study file names: they get the events of all attempts on this machine."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from siamkit.errors import StudyFileError
from siamkit.io.paths import is_local
from siamkit.runs.configuration import key_of
from siamkit.runs.results import Versions, mean_measures
from siamkit.runs.run_folder import RunFolder
from siamkit.study.config.load import ResolvedStudy
from siamkit.study.storage.open import StudyStorage
from siamkit.study.storage.retry import with_retries
from siamkit.study.tracking.base import (
    AttemptEnded,
    AttemptStarted,
    EpochEnded,
    Outcome,
    Tracker,
    TrackerThread,
)
from siamkit.study.worker.messages import (
    Attempt,
    Died,
    Ended,
    Epoch,
    Finished,
    JobEvent,
    Lost,
    Resumed,
    Started,
)


def check_trackers(study: ResolvedStudy) -> None:
    """Check that the trackers that a study names can be used.

    Raises:
        StudyFileError: a tracker cannot be used.
    """
    problems = [f"{study.document.at(('log', key))}: {message}" for key, message in _problems(study)]
    if problems:
        raise StudyFileError(problems)


def _problems(study: ResolvedStudy) -> Iterable[tuple[str, str]]:
    log = study.config.log
    if log.mlflow is not None and importlib.util.find_spec("mlflow") is None:
        yield "mlflow", "needs the package mlflow-skinny (or mlflow); pip install 'siamkit[mlflow]'"
    if log.tensorboard and not is_local(study.folder):
        yield "tensorboard", f"needs a run folder on this machine, not {str(study.folder)!r}"


class Trackers:
    """The trackers of a study: all of them get each event of a job.

    Args:
        threads: a thread for each tracker.
    """

    def __init__(self, threads: Sequence[TrackerThread]) -> None:
        self._threads = threads
        self._open: dict[str, Attempt] = {}

    def on_event(self, attempt: Attempt, event: JobEvent) -> None:
        """Pass an event of an attempt to all trackers."""
        match event:
            case Started():
                self._open[attempt.label] = attempt
                self._send(AttemptStarted(attempt))
            case Resumed(history):
                for row in history:
                    self._send(EpochEnded(attempt, int(row.get("repeat", 0)), dict(row)))
            case Epoch(repeat, _, row):
                self._send(EpochEnded(attempt, repeat, dict(row)))
            case Finished(ended, seconds):
                if ended.cause is not None and ended.cause.kind == "disk_full":
                    self._end(attempt, "interrupted")
                else:
                    cause = ended.cause.text if ended.cause is not None else ""
                    self._end(attempt, ended.outcome, cause, {**_measures(ended), "seconds": seconds})
            case Lost():
                self._end(attempt, "interrupted")
            case Died(cause):
                self._end(attempt, "died", cause.text)

    def close(self) -> None:
        """Report attempts that have not ended as interrupted, and close all trackers."""
        for attempt in list(self._open.values()):
            self._end(attempt, "interrupted")
        for thread in self._threads:
            thread.close()

    def _end(
        self,
        attempt: Attempt,
        outcome: Outcome,
        cause: str = "",
        measures: dict[str, float] | None = None,
    ) -> None:
        if self._open.pop(attempt.label, None) is not None:
            self._send(AttemptEnded(attempt, outcome, cause, measures or {}))

    def _send(self, event: AttemptStarted | EpochEnded | AttemptEnded) -> None:
        for thread in self._threads:
            thread.on_event(event)


def _measures(ended: Ended) -> dict[str, float]:
    measures = mean_measures(ended.measures) if ended.outcome == "complete" else {}
    return measures | {f"test/{name}": value for name, value in ended.test_measures.items()}


# ------------------------------------------------------------------ opening


@contextmanager
def open_trackers(
    study: ResolvedStudy,
    folder: RunFolder,
    versions: Versions,
    storage: StudyStorage,
    *,
    is_tune: bool,
    notify: Callable[[str], None],
) -> Iterator[Trackers]:
    """Open the trackers that a study names, and close them at the end.

    Args:
        study: the study.
        folder: its run folder.
        versions: the installed versions, recorded with each run.
        storage: the study's storage, which stores the id of the study's own run.
        is_tune: whether this process is the study's `tune`, which ends its run.
        notify: function that gets sentences for the user.
    """
    log = study.config.log
    makers: dict[str, Callable[[], Tracker]] = {}
    if log.tensorboard:
        makers["tensorboard"] = lambda: _tensorboard(folder)
    if (uri := log.mlflow) is not None:
        makers["mlflow"] = lambda: _mlflow(uri, study, folder, versions, storage, is_tune)
    trackers = Trackers([TrackerThread(f"log.{key}", make, notify) for key, make in makers.items()])
    try:
        yield trackers
    finally:
        trackers.close()


def _tensorboard(folder: RunFolder) -> Tracker:
    from siamkit.study.tracking.tensorboard import TensorBoard

    return TensorBoard(folder.path / "tensorboard")


def _mlflow(
    uri: str,
    study: ResolvedStudy,
    folder: RunFolder,
    versions: Versions,
    storage: StudyStorage,
    is_tune: bool,
) -> Tracker:
    from siamkit.study.tracking.mlflow import MLflow, StudyRun

    optuna_study, attribute = storage.optuna_study, f"mlflow:{key_of(uri)}"
    installed = {**versions.packages, **versions.plugins, "python": versions.python}
    run = StudyRun(
        study.config.name,
        {
            "siamkit.study": study.config.name,
            "siamkit.folder": str(folder.path),
            "siamkit.backend": versions.backend,
            **{f"siamkit.version.{name}": str(version) for name, version in installed.items()},
        },
        read=lambda: with_retries(lambda: optuna_study.user_attrs).get(attribute),
        store=lambda run_id: with_retries(optuna_study.set_user_attr, attribute, run_id),
        ends_with_process=is_tune,
    )
    return MLflow(resolved_uri(uri, study.document.folder), run)


def resolved_uri(uri: str, folder: Path) -> str:
    """Return a tracking URI in which the path of a file is relative to the folder of the study file."""
    head, separator, path = uri.partition(":///")
    if separator and head.startswith("sqlite") and not path.startswith("/"):
        return f"{head}:///{(folder / path).resolve()}"
    if "://" not in uri and not uri.startswith(("file:", "databricks")):
        return (folder / uri).resolve().as_uri()
    return uri
