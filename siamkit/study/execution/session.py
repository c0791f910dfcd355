"""What one process needs to take part in a study: its data, its workers, the storage, the run folder."""

from __future__ import annotations

import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import optuna

from siamkit.backend import select
from siamkit.data.dataset import Dataset
from siamkit.io.files import disk_full_as_error, to_jsonable
from siamkit.io.paths import is_local
from siamkit.registry.catalog import SESSION
from siamkit.registry.importing import importable_from
from siamkit.registry.registry import components
from siamkit.report.checks import shared_items
from siamkit.runs.results import Snapshot, as_record, read_json
from siamkit.runs.run_folder import RunFolder
from siamkit.study.config.fingerprint import versions
from siamkit.study.config.load import ResolvedStudy, load_study
from siamkit.study.config.schema import RESUMABLE, Direction
from siamkit.study.config.storage_url import is_database, redacted
from siamkit.study.engines import make_engine
from siamkit.study.execution.scheduler import Search
from siamkit.study.execution.signals import first_is_heard_later
from siamkit.study.execution.supervisor import Limits, Source, Supervisor
from siamkit.study.monitoring.progress import NullProgress, make_progress
from siamkit.study.sampling.plan import check_plan, is_fully_planned, planned_trials
from siamkit.study.sampling.pruners import make_pruner
from siamkit.study.sampling.samplers import check_sampler
from siamkit.study.storage.leases import new_owner
from siamkit.study.storage.open import close_storage, open_storage
from siamkit.study.storage.owner import is_running, machine, process
from siamkit.study.storage.trial_queue import TrialQueue
from siamkit.study.worker.messages import Setup
from siamkit.study.worker.prepared_data import PreparedData, prepare_data
from siamkit.study.worker.shared_arrays import share


class Part:
    """What one process has in hand while it takes part in a study.

    Args:
        role: `tune` or `worker`.
        study: the file.
        task: its data.
        frozen: what must not change while a study is resumed.
        pool: of workers.
        watcher: tells the user how it goes.

    Attributes:
        finished: whether all was done.
        why: why it ended before its budget was spent.
        watched: has loggers listen to a source of work.
    """

    def __init__(
        self,
        role: str,
        study: ResolvedStudy,
        task: PreparedData,
        frozen: dict[str, Any],
        pool: Supervisor,
        watcher: NullProgress,
    ) -> None:
        self.role, self.study, self.task, self.pool, self.watcher = role, study, task, pool, watcher
        self.folder, self.frozen = RunFolder(study.folder), frozen
        self.storage: optuna.Study | None = None
        self.finished, self.why = False, ""
        self.watched: Callable[[Source], Source] = lambda source: source

    def interrupts(self) -> AbstractContextManager[Callable[[], bool]]:
        """How Ctrl-C is heard: by the pool between two looks, unless training goes on in this process."""
        inline = self.study.config.engine == "inline"
        return nullcontext(lambda: False) if inline else first_is_heard_later()

    def search(self, directions: list[Direction] | None, alone: bool) -> Search:
        """Opens the study in its storage, or makes it where directions are given."""
        config = self.study.config
        self.storage = storage = open_storage(
            config.name, self.folder, config.storage, directions, self.frozen, self.watcher.note
        )
        storage.pruner = make_pruner(self.study, len(self.task.objectives))
        self.folder.owner = new_owner(self.role)
        ledger = TrialQueue(
            storage=storage,
            maximize=self.task.objectives[self.task.objective] == "maximize",
            tell=self.watcher.note,
            folder=self.folder,
            owner=self.folder.owner,
            lease=config.lease,
            # The folder's lock is the study's only where its storage is in there too.
            alone=alone and is_local(self.folder.path) and not is_database(config.storage),
        )
        whole = sum(1 for _ in planned_trials(self.study)) if is_fully_planned(config) else math.inf
        versions = self.frozen["versions"]
        return Search(self.study, self.task, ledger, self.folder, versions, self.watcher, whole)


@contextmanager
def ready(
    role: str,
    path: str | os.PathLike[str] | ResolvedStudy,
    backend: str | None,
    plugins: tuple[str, ...],
    artifacts: str | os.PathLike[str] | None,
    progress: str,
) -> Iterator[tuple[Part, Dataset]]:
    """Reads a study and its data, shares them with workers to come, and ends those at the end."""
    if isinstance(path, ResolvedStudy):
        study = path
    else:
        study = load_study(path, plugins, artifacts, checks=[check_sampler, check_plan])
    with importable_from(study.document.folder), _opened(role, study, backend, plugins, progress) as opened:
        yield opened


@contextmanager
def _opened(
    role: str, study: ResolvedStudy, backend: str | None, plugins: tuple[str, ...], progress: str
) -> Iterator[tuple[Part, Dataset]]:
    name, why = select.choose_backend(
        backend, study.config.backend, _begun(study.folder).get("versions", {}).get("backend")
    )
    select.activate(name)
    watcher = make_progress(progress)
    watcher.note(f"backend {name} ({why})")
    before = _begun(study.folder)
    task, raw = prepare_data(study, overlap=role == "tune" and not before.get("overlap"))
    # Beside what is compared: a study that was begun without them goes on.
    frozen = {**_freeze(study, task, name), "overlap": task.overlap or before.get("overlap")}
    if role == "tune" and (sentence := shared_items(as_record(frozen, Snapshot, "study.json"))) is not None:
        watcher.note(sentence)
    with disk_full_as_error(tempfile.gettempdir()):
        aside = Path(tempfile.mkdtemp(dir=scratch()))
    try:
        with disk_full_as_error(aside):
            share(task, aside / "task")
        setup = Setup(
            name,
            study.config,
            str(aside / "task"),
            (*study.config.plugins, *plugins),
            tuple(
                entry.spec
                for catalog in components().catalogs()
                for entry in catalog.all()
                if entry.origin.distribution == SESSION
            ),
            tuple(sys.path),
            frozen["versions"],
        )
        budget = study.config.budget
        limits = Limits(budget.trial_time, budget.trial_memory, study.config.lease)
        pool = Supervisor(make_engine(study.config, setup, aside), limits)
        part = Part(role, study, task, frozen, pool, watcher)
        try:
            yield part, raw
        finally:
            pool.close()
            if part.storage is not None:
                close_storage(part.storage)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(OSError):  # another study of this process has it still
            aside.parent.rmdir()


def _begun(folder: Path) -> dict[str, Any]:
    """The frozen study that is there already; empty if there is none."""
    written = folder / "study.json"
    return read_json(written) if written.is_file() else {}


def _freeze(study: ResolvedStudy, task: PreparedData, backend: str) -> Any:
    """What must not change while a study is resumed, as plain data."""
    resolved = study.config.model_dump(mode="json")
    entries = [alternative.entry for alternative in study.space.components()]
    plugins = {entry.origin.distribution: entry.origin.version for entry in [*entries, study.source.entry]}
    searched = {key: value for key, value in resolved.items() if key not in RESUMABLE}
    searched["data"] = {**searched["data"], "path": None, "source": study.source.entry.qualified}
    return to_jsonable(
        {
            "layout": 1,
            "name": study.config.name,
            "study": searched,
            # They may change, and hold URLs; whoever may read results need not know how to reach a database.
            "settings": redacted({key: resolved[key] for key in RESUMABLE}),
            "objectives": task.objectives,
            "data": task.record,
            "versions": versions(backend, plugins),
        }
    )


def scratch() -> Path:
    """A folder for this process's temporary files; those of processes that are no more are removed.

    A killed process removes nothing, so the next one on its machine does.
    """
    root = Path(tempfile.gettempdir())
    prefix = f"siamkit.{machine()}-"
    for left in root.glob(f"{prefix}*"):
        if not is_running(left.name.removeprefix(prefix)):
            shutil.rmtree(left, ignore_errors=True)
    folder = root / f"{prefix}{process()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
