"""Logging elsewhere: TensorBoard and MLflow, for those who watch their trainings there."""

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
from siamkit.study.tracking._tracked import Watched
from siamkit.study.tracking.base import Aside, Logger

if TYPE_CHECKING:
    from siamkit.study.execution.scheduler import Search

__all__ = ["check_loggers", "listening"]


def check_loggers(study: ResolvedStudy) -> None:
    """Raises StudyFileError where a study asks for logs that cannot be written."""
    problems = [f"{study.document.at(('log', key))}: {message}" for key, message in _problems(study)]
    if problems:
        raise StudyFileError(problems)


def _problems(study: ResolvedStudy) -> Iterable[tuple[str, str]]:
    log = study.config.log
    if log.mlflow is not None and importlib.util.find_spec("mlflow") is None:
        yield "mlflow", "wants the package mlflow-skinny (or mlflow); pip install 'siamkit[mlflow]'"
    if log.tensorboard and not is_local(study.folder):
        yield "tensorboard", f"wants a run folder on this machine, not {str(study.folder)!r}"


@contextmanager
def listening(search: Search) -> Iterator[Callable[[Source], Watched]]:
    """Has the loggers that a study asks for hear of all work from the sources that are handed in."""
    loggers = [Aside(f"log.{key}", make, search.progress.note) for key, make in _asked(search)]
    watched: list[Watched] = []

    def watch(source: Source) -> Watched:
        watched.append(Watched(source, loggers))
        return watched[-1]

    try:
        yield watch
    finally:
        for each in watched:
            each.interrupted()
        for logger in loggers:
            logger.close()


def _asked(search: Search) -> Iterator[tuple[str, Callable[[], Logger]]]:
    study = search.study
    if study.config.log.tensorboard:

        def tensorboard() -> Logger:
            from siamkit.study.tracking.tensorboard import TensorBoard

            return TensorBoard(search.folder.path / "tensorboard")

        yield "tensorboard", tensorboard
    if (uri := study.config.log.mlflow) is not None:

        def mlflow() -> Logger:
            from siamkit.study.tracking.mlflow import MLflow, Parent

            storage, key = search.ledger.storage, f"mlflow:{key_of(uri)}"
            versions = search.versions
            packages = {**versions["packages"], **versions["plugins"], "python": versions["python"]}
            parent = Parent(
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


def resolve(uri: str, beside: Path) -> str:
    """A tracking URI in which a file's relative path is relative to the study file."""
    head, separator, path = uri.partition(":///")
    if separator and head.startswith("sqlite") and not path.startswith("/"):
        return f"{head}:///{(beside / path).resolve()}"
    if "://" not in uri and not uri.startswith(("file:", "databricks")):
        return (beside / uri).resolve().as_uri()
    return uri
