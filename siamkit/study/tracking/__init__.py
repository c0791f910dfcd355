"""Tracking: TensorBoard and MLflow show the trainings of a study."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from siamkit.errors import StudyFileError
from siamkit.io.paths import is_local
from siamkit.study.config.fingerprint import key_of
from siamkit.study.config.load import ResolvedStudy
from siamkit.study.execution.supervisor import Source
from siamkit.study.storage.retry import with_retries
from siamkit.study.tracking._tracked import TrackedSource
from siamkit.study.tracking.base import Tracker, TrackerThread

if TYPE_CHECKING:
    from siamkit.study.execution.scheduler import Search

__all__ = ["check_trackers", "tracking"]


def check_trackers(study: ResolvedStudy) -> None:
    """Raise StudyFileError if a tracker of the study cannot be used here."""
    problems = [f"{study.document.at(('log', key))}: {message}" for key, message in _problems(study)]
    if problems:
        raise StudyFileError(problems)


def _problems(study: ResolvedStudy) -> Iterable[tuple[str, str]]:
    log = study.config.log
    if log.mlflow is not None and importlib.util.find_spec("mlflow") is None:
        yield "mlflow", "needs the package mlflow-skinny (or mlflow); pip install 'siamkit[mlflow]'"
    if log.tensorboard and not is_local(study.folder):
        yield "tensorboard", f"needs a run folder on this machine, not {str(study.folder)!r}"


@contextmanager
def tracking(search: Search) -> Iterator[Callable[[Source], TrackedSource]]:
    """Yield a function that wraps a source of jobs, so that the study's trackers get its events."""
    trackers = [TrackerThread(f"log.{key}", make, search.progress.note) for key, make in _configured(search)]
    tracked: list[TrackedSource] = []

    def track(source: Source) -> TrackedSource:
        tracked.append(TrackedSource(source, trackers))
        return tracked[-1]

    try:
        yield track
    finally:
        for source in tracked:
            source.interrupted()
        for tracker in trackers:
            tracker.close()


def _configured(search: Search) -> Iterator[tuple[str, Callable[[], Tracker]]]:
    study = search.study
    if study.config.log.tensorboard:

        def tensorboard() -> Tracker:
            from siamkit.study.tracking.tensorboard import TensorBoard

            return TensorBoard(search.folder.path / "tensorboard")

        yield "tensorboard", tensorboard
    if (uri := study.config.log.mlflow) is not None:

        def mlflow() -> Tracker:
            from siamkit.study.tracking.mlflow import MLflow, StudyRun

            storage, key = search.ledger.storage, f"mlflow:{key_of(uri)}"
            versions = search.versions
            packages = {**versions["packages"], **versions["plugins"], "python": versions["python"]}
            parent = StudyRun(
                study.config.name,
                {
                    "siamkit.study": study.config.name,
                    "siamkit.folder": str(search.folder.path),
                    "siamkit.backend": versions["backend"],
                    **{f"siamkit.version.{name}": version for name, version in packages.items()},
                },
                lambda: with_retries(lambda: storage.user_attrs).get(key),
                lambda run: with_retries(storage.set_user_attr, key, run),
                ends=search.ledger.owner.startswith("tune:"),
            )
            return MLflow(resolve(uri, study.document.folder), parent)

        yield "mlflow", mlflow


def resolve(uri: str, folder: Path) -> str:
    """Return a tracking URI whose relative path is relative to the folder of the study file."""
    head, separator, path = uri.partition(":///")
    if separator and head.startswith("sqlite") and not path.startswith("/"):
        return f"{head}:///{(folder / path).resolve()}"
    if "://" not in uri and not uri.startswith(("file:", "databricks")):
        return (folder / uri).resolve().as_uri()
    return uri
