"""`tune`: a study from its file to its results; `join`: a hand for one that runs elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from siamkit import backends
from siamkit.catalogue import SESSION
from siamkit.data import Dataset
from siamkit.errors import SiamkitError
from siamkit.files import plain, write_json, write_table
from siamkit.registry import components
from siamkit.report import write_report
from siamkit.study.checking import try_feeds
from siamkit.study.confirm import Confirmation, Finalist, finalists, publish_best
from siamkit.study.engines import make_engine
from siamkit.study.file import Study, load_study
from siamkit.study.folder import RunFolder
from siamkit.study.identity import versions
from siamkit.study.leases import RENEWALS, Pulse, new_owner
from siamkit.study.ledger import Ledger
from siamkit.study.loggers import check_loggers, listening
from siamkit.study.machine import scratch
from siamkit.study.messages import Setup
from siamkit.study.pool import Limits, Pool, Source
from siamkit.study.progress import Silent, make_progress
from siamkit.study.pruners import make_pruner
from siamkit.study.results import Results, literally
from siamkit.study.schema import RESUMABLE, Direction
from siamkit.study.search import Search
from siamkit.study.shared import share
from siamkit.study.storage import open_storage
from siamkit.study.task import Task, items_table, make_task
from siamkit.study.tidy import tidy


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
        StudyError: the study was begun otherwise, is running, or cannot be written.
        BackendError: the backend is not installed.

    Example:
        >>> import siamkit
        >>> results = siamkit.tune("study.yaml")        # doctest: +SKIP
        >>> model = results.load_model()                # doctest: +SKIP
    """
    with _ready("tune", study, backend, tuple(plugins), artifacts, progress) as (part, raw):
        # Nothing is written before all this is known to work.
        try_feeds(part.pool, part.study, part.task)
        with part.folder.locked():
            search = part.search(list(part.task.objectives.values()), alone=True)
            write_json(part.folder.path / "study.json", part.frozen)
            write_table(part.folder.path / "items.parquet", items_table(raw))
            with _logged(part):
                results = _conduct(part, search)
                part.finished = not results.interrupted
            return results


def join(
    study: str | os.PathLike[str],
    *,
    backend: str | None = None,
    plugins: Iterable[str] = (),
    artifacts: str | os.PathLike[str] | None = None,
    progress: str = "auto",
) -> bool:
    """Takes part in a study that `tune` runs elsewhere, until its budget is spent.

    Args:
        study: the same study file, with a storage and `artifacts` that this machine reaches.
        backend, plugins, artifacts, progress: as for `tune`.

    Returns:
        Whether the budget is spent; False where the user stopped it before.

    Raises:
        StudyError: there is no such study yet, or this machine differs from where it was begun.
    """
    with _ready("worker", study, backend, tuple(plugins), artifacts, progress) as (part, _):
        search = part.search(None, alone=False)
        with _logged(part), listening(search) as part.watched:
            part.finished = _search(part, search)
        return part.finished


class Part:
    """What one process needs to take part in a study."""

    def __init__(
        self, role: str, study: Study, task: Task, backend: str, pool: Pool, watcher: Silent
    ) -> None:
        self.role, self.study, self.task, self.pool, self.watcher = role, study, task, pool, watcher
        self.folder = RunFolder(study.folder)
        self.frozen = _freeze(study, task, backend)
        self.finished, self.why = False, ""
        self.watched: Callable[[Source], Source] = lambda source: source

    def search(self, directions: list[Direction] | None, alone: bool) -> Search:
        """Opens the study in its storage, or makes it where directions are given."""
        file = self.study.file
        storage = open_storage(file.name, self.folder, file.storage, directions, self.frozen)
        storage.pruner = make_pruner(self.study, len(self.task.objectives))
        self.folder.owner = new_owner(self.role)
        ledger = Ledger(
            storage,
            self.folder,
            self.folder.owner,
            file.lease,
            self.task.objectives[self.task.objective] == "maximize",
            alone,
            self.watcher.note,
        )
        return Search(self.study, self.task, ledger, self.folder, self.frozen["versions"], self.watcher)


@contextmanager
def _ready(
    role: str,
    path: str | os.PathLike[str],
    backend: str | None,
    plugins: tuple[str, ...],
    artifacts: str | os.PathLike[str] | None,
    progress: str,
) -> Iterator[tuple[Part, Dataset]]:
    """Reads a study and its data, shares them with workers to come, and ends those at the end."""
    study = load_study(path, plugins, artifacts)
    check_loggers(study)
    name, why = backends.choose_backend(backend, study.file.backend)
    backends.activate(name)
    watcher = make_progress(progress)
    watcher.note(f"backend {name} ({why})")
    task, raw = make_task(study)
    aside = Path(tempfile.mkdtemp(dir=scratch()))
    try:
        share(task, aside / "task")
        setup = Setup(
            name,
            study.file,
            str(aside / "task"),
            (*study.file.plugins, *plugins),
            tuple(
                entry.spec
                for catalogue in components().catalogues()
                for entry in catalogue.all()
                if entry.origin.distribution == SESSION
            ),
            tuple(sys.path),
        )
        budget = study.file.budget
        limits = Limits(budget.trial_time, budget.trial_memory, study.file.lease)
        pool = Pool(make_engine(study.file, setup, aside), limits)
        try:
            yield Part(role, study, task, name, pool, watcher), raw
        finally:
            pool.close()
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(OSError):  # another study of this process has it still
            aside.parent.rmdir()


@contextmanager
def _logged(part: Part) -> Iterator[None]:
    """Writes down that this process takes part no more, and why: by the log others know who still does."""
    try:
        yield
    except BaseException as error:
        part.folder.log("stopped", finished=False, cause=f"{type(error).__name__}: {error}"[:500])
        raise
    part.folder.log("stopped", finished=part.finished, cause=part.why)


def _conduct(part: Part, search: Search) -> Results:
    """Search, confirmation and report; Ctrl-C leaves a report of what there is."""
    with search.progress, listening(search) as part.watched:
        finished = _search(part, search)
        if finished:
            finished = _work(part, search, Confirmation(search))
    part.pool.close()
    # Outside the display: what is written now is short, and a second Ctrl-C ends it at once.
    tidy(search)
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
        not finished,
    )


def _search(part: Part, search: Search) -> bool:
    """Takes part in the search until it is over; False where the user stopped it."""
    ledger = search.ledger
    ledger.look()
    search.folder.log("started", counted=len(ledger.counted), target=int(search.target))
    ledger.reap()
    ledger.look()
    ledger.adopt()
    search.progress.begin("trials", len(ledger.counted), int(search.target), search.task.objective)
    with Pulse(search.beat, ledger.lease / RENEWALS) as pulse:
        finished = _work(part, search, search)
    if pulse.error is not None:
        raise pulse.error
    why = search.why_it_ends()
    if finished and why is not None:
        part.why = why
        search.progress.note(why)
    return finished


def _work(part: Part, search: Search, source: Source) -> bool:
    """Does all the work of a source; False where the user stopped it."""
    try:
        part.pool.run(part.watched(source))
    except KeyboardInterrupt:
        search.progress.note("stopping; the same command goes on from here")
        part.pool.close()
        search.release()
        return False
    except SiamkitError:
        part.pool.close()
        search.release()
        raise
    return True


def _winner(search: Search, confirmed: list[Finalist]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    if confirmed:
        best = confirmed[0]
        parts = {
            part: {name: best.mean(part, name) for name in best.repeats[0][part]}
            for part in ("valid", "test")
        }
        return literally(best.repeats[0]), parts
    trial = next(iter(search.ledger.ranked(1)), None)
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
