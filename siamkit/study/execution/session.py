"""The session of one process in a study: its data, workers and run folder, and the check before it starts."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from siamkit.backend import select
from siamkit.data.dataset import Dataset
from siamkit.errors import DataError, StudyError
from siamkit.io.files import disk_full_as_error, to_jsonable
from siamkit.io.paths import redacted
from siamkit.registry.catalog import SESSION, importable_from
from siamkit.registry.registry import components
from siamkit.report.checks import notes_on_data
from siamkit.runs.results import Snapshot, Versions, as_record, versions
from siamkit.runs.run_folder import LAYOUT, RunFolder
from siamkit.study.config.load import ResolvedStudy, load_study
from siamkit.study.config.schema import RESUMABLE
from siamkit.study.engines import make_engine
from siamkit.study.execution.signals import Interrupts
from siamkit.study.execution.supervisor import Supervisor
from siamkit.study.monitoring.progress import NullProgress, make_progress
from siamkit.study.sampling.plan import check_plan
from siamkit.study.sampling.samplers import check_sampler
from siamkit.study.storage.leases import Owner, is_running, machine_name, process_name
from siamkit.study.storage.open import SnapshotData
from siamkit.study.storage.trial_queue import MAX_RETRIES
from siamkit.study.tracking.trackers import check_trackers
from siamkit.study.worker.messages import (
    BaselinesJob,
    Cause,
    Died,
    Ended,
    FeedsJob,
    Finished,
    JobEvent,
    Lost,
    Setup,
    TimingJob,
)
from siamkit.study.worker.prepared_data import SPLITS, PreparedData, prepare_data
from siamkit.study.worker.shared_arrays import write_data
from siamkit.study.worker.trainer import Limits

TRAINER = "siamkit.study.worker.train:KerasTrainer"

Role = Literal["tune", "worker", "check"]


@dataclass(frozen=True)
class StudySession:
    """Everything that one process needs to take part in a study.

    Args:
        owner: this process, as leases and the log name it.
        study: the study.
        data: its prepared data.
        valid_items: the validation items as read.
        snapshot: the settings and data that must not change when the study is resumed.
        versions: the installed versions.
        folder: the run folder.
        supervisor: the supervisor of this process's workers.
        interrupts: the handler that defers Ctrl-C while it is entered.
        progress: the reporter of progress to the user.
    """

    owner: Owner
    study: ResolvedStudy
    data: PreparedData
    valid_items: Dataset
    snapshot: SnapshotData
    versions: Versions
    folder: RunFolder
    supervisor: Supervisor
    interrupts: Interrupts
    progress: NullProgress

    @property
    def is_tune(self) -> bool:
        """Whether this process coordinates the study."""
        return self.owner.role == "tune"


@contextmanager
def open_session(
    role: Role,
    path: str | os.PathLike[str] | ResolvedStudy,
    backend: str | None,
    plugins: tuple[str, ...],
    artifacts: str | os.PathLike[str] | None,
    progress: str,
) -> Iterator[StudySession]:
    """Open a session, and end its workers at the end.

    Args:
        role: the role of this process; `check` only checks whether the data can feed the losses.
        path: the study file, or the study.
        backend, plugins, artifacts, progress: the same as for `siamkit.tune`.

    Raises:
        StudyFileError: the study file has errors.
        StudyError: the study cannot be run here.
        BackendError: the backend is not installed.
    """
    if isinstance(path, ResolvedStudy):
        study = path
    else:
        study = load_study(path, plugins, artifacts, checks=[check_sampler, check_plan])
    check_trackers(study)
    with importable_from(study.document.folder), _scratch_folder() as scratch, ExitStack() as until_closed:
        yield _open(role, study, backend, plugins, progress, scratch, until_closed)


def _open(
    role: Role,
    study: ResolvedStudy,
    backend: str | None,
    plugins: tuple[str, ...],
    progress_choice: str,
    scratch: Path,
    until_closed: ExitStack,
) -> StudySession:
    config, owner = study.config, Owner.new(role)
    folder = RunFolder(study.folder, str(owner))
    stored = folder.snapshot() if folder.exists() else None
    backend, reason = select.choose_backend(
        backend, config.backend, stored.versions.backend if stored is not None else None
    )
    select.activate(backend)
    progress = make_progress(progress_choice)
    progress.note(f"backend {backend} ({reason})")
    installed = versions(backend, _plugin_versions(study))
    setup = Setup(
        backend=backend,
        config=config,
        data_folder=str(scratch / "data"),
        trainer=TRAINER,
        run_folder=str(study.folder),
        modules=(*config.plugins, *plugins),
        specs=tuple(
            entry.spec
            for catalog in components().catalogs()
            for entry in catalog.all()
            if entry.origin.distribution == SESSION
        ),
        path=tuple(sys.path),
        versions=installed,
    )
    # Workers start while the data are prepared, because both take seconds. A resumed study may need only one.
    engine = until_closed.enter_context(closing(make_engine(config, setup, scratch, progress.note)))
    is_new = role == "tune" and stored is None
    engine.warm_up(int(min(config.budget.trials, study.space.count())) if is_new else 1)
    needs_overlap = role == "tune" and (stored is None or stored.overlap is None)
    data, valid_items = prepare_data(study, overlap=needs_overlap)
    sizes = ", ".join(f"{len(getattr(data, name)):,} {name}" for name in SPLITS)
    progress.note(f"{data.record['items']:,} items: {sizes}")
    snapshot = _snapshot(study, data, installed)
    # Not compared on resuming: a study that was started without it can be resumed.
    snapshot["overlap"] = data.overlap or _overlap(stored)
    if role == "tune":
        for sentence in notes_on_data(as_record(snapshot, Snapshot, "study.json")):
            progress.note(sentence)
    with disk_full_as_error(scratch):
        write_data(data, scratch / "data")
    engine.open()
    interrupts = Interrupts(is_deferred=config.engine != "inline")
    supervisor = Supervisor(
        engine,
        Limits(config.budget.trial_time, config.budget.trial_memory),
        config.lease,
        interrupts,
    )
    return StudySession(
        owner=owner,
        study=study,
        data=data,
        valid_items=valid_items,
        snapshot=snapshot,
        versions=installed,
        folder=folder,
        supervisor=supervisor,
        interrupts=interrupts,
        progress=progress,
    )


def _overlap(stored: Snapshot | None) -> JsonValue:
    if stored is None or stored.overlap is None:
        return None
    overlap: JsonValue = stored.overlap.model_dump(mode="json", exclude_unset=True)
    return overlap


def _plugin_versions(study: ResolvedStudy) -> dict[str, str]:
    """Return the distributions whose components the study uses, with their versions."""
    entries = [alternative.entry for alternative in study.space.components()]
    return {entry.origin.distribution: entry.origin.version for entry in [*entries, study.source.entry]}


def _snapshot(study: ResolvedStudy, data: PreparedData, installed: Versions) -> SnapshotData:
    """Return the snapshot: what must not change when the study is resumed, as plain data."""
    config = study.config.model_dump(mode="json")
    snapshot: SnapshotData = to_jsonable(
        {
            "layout": LAYOUT,
            "name": study.config.name,
            "study": study.unchangeable(),
            # These may change. They contain URLs, and not everyone who reads results may use the database.
            "settings": redacted({key: config[key] for key in RESUMABLE}),
            "objectives": data.objectives,
            "data": data.record,
            "versions": installed.model_dump(),
        }
    )
    return snapshot


# ------------------------------------------------------------------ temporary files


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    """Yield a folder for temporary files of this session."""
    with disk_full_as_error(tempfile.gettempdir()):
        folder = Path(tempfile.mkdtemp(dir=process_scratch()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # another session of this process still uses it
            folder.parent.rmdir()


def process_scratch() -> Path:
    """Return the folder for temporary files of this process, and remove those of processes that have exited.

    A killed process removes nothing, so the next one on its machine does.
    """
    root = Path(tempfile.gettempdir())
    prefix = f"siamkit.{machine_name()}-"
    for folder in root.glob(f"{prefix}*"):
        if not is_running(folder.name.removeprefix(prefix)):
            shutil.rmtree(folder, ignore_errors=True)
    folder = root / f"{prefix}{process_name()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def check_feeds(session: StudySession) -> None:
    """Check in a worker that the data can feed every loss; the supervisor itself imports no backend.

    Raises:
        DataError: the training data cannot feed a loss, or a loss cannot wrap another.
    """
    study = session.study
    sizes = study.space.factors["batch_size"]
    batch_sizes = {int(size) for size in (sizes.options or (sizes.low, sizes.high))}
    losses = [spec for loss in study.space.loss.alternatives.values() for spec, _ in loss.specs()]
    run_single(session, FeedsJob(tuple(losses), tuple(sorted(batch_sizes))), "the data could not be checked")


def run_single(session: StudySession, job: FeedsJob | TimingJob, failure: str) -> Ended:
    """Run one job in a worker, before the study itself runs.

    Args:
        session: the session.
        job: the job.
        failure: the beginning of the message if the worker fails by our own fault.

    Raises:
        DataError: the job refused the data or a component.
        StudyError: the worker failed.
    """
    source = SingleJob(job)
    session.supervisor.run(source)
    assert source.ended is not None
    cause = source.ended.cause
    if cause is None:
        return source.ended
    if cause.kind in ("crashed", "killed", "stopped"):
        raise StudyError(f"{failure}: the worker died: {cause.text}")
    if cause.traceback:
        raise StudyError(f"{failure}: {cause.text}\n{cause.traceback}")
    raise DataError(cause.text)


class SingleJob:
    """A source of one job that trains nothing; it is also that job's handle.

    Attributes:
        ended: how the job ended; None until then.
    """

    attempt = None
    is_lost = False

    def __init__(self, job: FeedsJob | BaselinesJob | TimingJob) -> None:
        self.job = job
        self.ended: Ended | None = None
        self._is_assigned = False
        self._deaths = 0

    def max_workers(self) -> int:
        return 1

    def tick(self) -> None:
        pass

    def next_job(self) -> SingleJob | None:
        if self._is_assigned:
            return None
        self._is_assigned = True
        return self

    def is_done(self) -> bool:
        return self.ended is not None

    def on_event(self, event: JobEvent) -> Cause | None:
        match event:
            case Finished(ended, _):
                self.ended = ended
            case Died(cause):
                self._deaths += 1
                self._is_assigned = False
                if cause.kind == "crashed" or self._deaths > MAX_RETRIES:
                    self.ended = Ended("failed", cause)
            case Lost():
                raise AssertionError("no other process has the job")
        return None
