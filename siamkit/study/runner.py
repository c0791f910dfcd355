"""`tune`: a study from its file to its results."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from siamkit import backends
from siamkit.report import write_report
from siamkit.study.confirm import Finalist, confirm, finalists, publish_best
from siamkit.study.file import Study, load_study
from siamkit.study.folder import RunFolder, plain, write_json, write_table
from siamkit.study.identity import versions
from siamkit.study.progress import make_progress
from siamkit.study.results import Results, literally
from siamkit.study.schema import RESUMABLE
from siamkit.study.search import Search, open_storage
from siamkit.study.task import Task, items_table, make_task


def tune(
    study: str | os.PathLike[str],
    *,
    backend: str | None = None,
    plugins: Iterable[str] = (),
    artifacts: str | os.PathLike[str] | None = None,
    progress: str = "auto",
) -> Results:
    """Runs a study, or goes on with one that was stopped.

    Args:
        study: the study file.
        backend: jax, torch or tensorflow; otherwise KERAS_BACKEND, the file, or an installed one.
        plugins: modules of your own that register components, besides those the file names.
        artifacts: the run folder, instead of the file's own.
        progress: `live`, `plain`, `none`, or `auto`: live in a terminal, plain elsewhere.

    Returns:
        The results; the same are in the run folder.

    Raises:
        StudyFileError: what is wrong in the file, all of it.
        StudyError: the study was begun otherwise, or is running.
        BackendError: the backend is not installed.

    Example:
        >>> import siamkit
        >>> results = siamkit.tune("study.yaml")        # doctest: +SKIP
        >>> model = results.load_model()                # doctest: +SKIP
    """
    asked = load_study(study, plugins, artifacts)
    name, why = backends.choose_backend(backend, asked.file.backend)
    backends.activate(name)
    watcher = make_progress(progress)
    watcher.note(f"backend {name} ({why})")
    task, raw = make_task(asked)
    _try_feeds(asked, task)
    folder = RunFolder(asked.folder)  # nothing is written before all this is known to work
    with folder.locked():
        frozen = _freeze(asked, task, name)
        storage = open_storage(asked, task, folder, frozen)
        search = Search(asked, task, storage, folder, frozen["versions"], watcher)
        write_json(folder.path / "study.json", frozen)
        write_table(folder.path / "items.parquet", items_table(raw))
        try:
            return _run(search)
        finally:
            folder.log("stopped")


def _run(search: Search) -> Results:
    """Search, confirmation and report; Ctrl-C leaves a report of what there is."""
    search.folder.log("started", counted=len(search.counted()))
    interrupted = False
    with search.progress:
        try:
            search.recover()
            search.go()
            confirm(search)
        except KeyboardInterrupt:
            interrupted = True
            search.progress.note("stopped; the same command goes on from here")
    # Outside the display: what is written now is short, and a second Ctrl-C ends it at once.
    confirmed = finalists(search)
    publish_best(search, confirmed)
    write_report(search.folder.path)
    winner, figures = _winner(search, confirmed)
    return Results(
        search.folder.path,
        dict(search.task.objectives),
        search.folder.results(),
        winner,
        figures,
        interrupted,
    )


def _winner(search: Search, confirmed: list[Finalist]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    if confirmed:
        best = confirmed[0]
        parts = {
            part: {name: best.mean(part, name) for name in best.repeats[0][part]}
            for part in ("valid", "test")
        }
        return literally(best.repeats[0]), parts
    trial = next(search.ranked(), None)
    if trial is None:
        return None, {}
    stored = next(each for each in search.folder.results() if each["key"] == trial.user_attrs["key"])
    return literally(stored), {"valid": dict(zip(search.task.objectives, trial.values, strict=True))}


def _freeze(study: Study, task: Task, backend: str) -> Any:
    """What must not change while a study is resumed, as plain data."""
    resolved = study.file.model_dump(mode="json")
    entries = [alternative.entry for _, _, alternative in study.space.components()]
    plugins = {entry.origin.distribution: entry.origin.version for entry in [*entries, study.source[0]]}
    searched = {key: value for key, value in resolved.items() if key not in RESUMABLE}
    searched["data"] = {**searched["data"], "path": None, "source": study.source[0].qualified}
    return plain(
        {
            "layout": 1,
            "name": study.file.name,
            "study": searched,
            "settings": {key: resolved[key] for key in RESUMABLE},
            "objectives": task.objectives,
            "data": task.record,
            "versions": versions(backend, plugins),
        }
    )


def _try_feeds(study: Study, task: Task) -> None:
    """Learns before the first trial whether the training part can feed every loss."""
    from siamkit.study.training import try_feeds

    sizes = study.space.factors["batch_size"]
    tried = [int(size) for size in (sizes.options or (sizes.low, sizes.high))]
    losses = [spec for loss in study.space.loss.alternatives.values() for spec, _ in loss.shapes()]
    try_feeds(task, losses, sorted(set(tried)), study.file.fixed)
