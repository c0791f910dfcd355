"""`tune`: run a study from its file to its results; `join`: help a study that runs elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterable

from siamkit.io.files import disk_full_as_error
from siamkit.study.execution.preflight import check_feeds
from siamkit.study.execution.run import open_run
from siamkit.study.execution.session import open_session
from siamkit.study.results.results import Results


def tune(
    study: str | os.PathLike[str],
    *,
    backend: str | None = None,
    plugins: Iterable[str] = (),
    artifacts: str | os.PathLike[str] | None = None,
    progress: str = "auto",
) -> Results:
    """Run a study, or resume one that was stopped.

    Args:
        study: the study file.
        backend: jax, torch or tensorflow; by default KERAS_BACKEND, the file's, or an installed one.
        plugins: modules of your own that register components, in addition to those that the file names.
        artifacts: the run folder, instead of the file's own.
        progress: `live`, `plain`, `none`, or `auto`: live in a terminal, plain elsewhere.

    Returns:
        The results, which are also in the run folder.

    Raises:
        StudyFileError: the file has errors; the message lists all of them.
        StudyError: the study was started differently, is running, or cannot be written.
        BackendError: the backend is not installed.

    Example:
        >>> import siamkit
        >>> results = siamkit.tune("study.yaml")        # doctest: +SKIP
        >>> model = results.load_model()                # doctest: +SKIP
    """
    with open_session("tune", study, backend, tuple(plugins), artifacts, progress) as session:
        # Nothing is written before it is known that the data fit the study.
        check_feeds(session)
        folder = session.folder
        with folder.locked(), open_run(session) as run, disk_full_as_error(folder.path):
            end = run.tune()
        is_interrupted = not end.is_finished
        if end.outcome is not None:
            return Results.of(end.outcome, interrupted=is_interrupted)
        return Results(folder.path, dict(session.data.objectives), folder.trials(), None, {}, is_interrupted)


def join(
    study: str | os.PathLike[str],
    *,
    backend: str | None = None,
    plugins: Iterable[str] = (),
    artifacts: str | os.PathLike[str] | None = None,
    progress: str = "auto",
) -> bool:
    """Help a study that `tune` runs elsewhere, until its budget is spent.

    Args:
        study: the same study file, with a storage and `artifacts` that this machine can reach.
        backend, plugins, artifacts, progress: as for `tune`.

    Returns:
        Whether the budget is spent; False if the user stopped before.

    Raises:
        StudyError: the study was not started yet, or this machine differs from the one where it was started.
    """
    with (
        open_session("worker", study, backend, tuple(plugins), artifacts, progress) as session,
        open_run(session) as run,
    ):
        return run.help().is_finished
