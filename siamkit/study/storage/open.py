"""The Optuna storage of a study: opened by name, and compared with its snapshot."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.storages.journal import JournalFileBackend

from siamkit.errors import StudyError
from siamkit.io.paths import is_local
from siamkit.runs.results import read_json
from siamkit.runs.run_folder import RunFolder
from siamkit.study.config.schema import Direction
from siamkit.study.config.storage_url import is_database, without_password
from siamkit.study.storage._optuna_rdb import Database, open_database, open_sqlite
from siamkit.study.storage.retry import with_retries
from siamkit.study.storage.snapshot import compare, freeze, read_snapshot

NETWORK = (
    "nfs", "cifs", "smb", "fuse.", "lustre", "gpfs", "beegfs", "ceph", "gluster", "9p", "afs", "afpfs",
    "webdav", "davfs", "pvfs", "orangefs", "vboxsf", "prl_fs", "vmhgfs",
)  # fmt: skip


def network_of(path: Path) -> str:
    """The kind of network file system that a path is on; empty if it is on none."""
    path = path.resolve()
    best, kind, options = "", "", ""
    for mount in psutil.disk_partitions(all=True):
        if path.is_relative_to(mount.mountpoint) and len(mount.mountpoint) >= len(best):
            best, kind, options = mount.mountpoint, mount.fstype, mount.opts
    if "remote" in options.split(","):  # Windows tells NTFS of a share
        return f"remote {kind}".strip()
    return kind if kind.lower().startswith(NETWORK) else ""


__all__ = ["close_storage", "open_storage", "storage_file", "with_retries", "write_attrs"]

COMING_BACK = 60.0  # seconds that the database of a study that was begun is waited for
OTHER_FOLDER = "put that back, or give the study another artifacts folder"
OTHER_NAME = "put that back, or give the study another name and artifacts folder"
SAME = "all who take part in a study must agree"


def open_storage(
    name: str,
    folder: RunFolder,
    where: str,
    directions: Sequence[Direction] | None,
    frozen: dict[str, Any],
    tell: Callable[[str], None] = lambda sentence: None,
) -> optuna.Study:
    """Opens a study in its storage, or makes it, and compares what is frozen there.

    Args:
        name: of the study.
        folder: its run folder.
        where: `sqlite`, `journal`, or the URL of a database.
        directions: of the objectives; None to take part in what is there.
        frozen: what must not have changed.
        tell: hears which storage was chosen where that is not what was asked for, and why.

    Raises:
        StudyError: it cannot be opened, is not there, or was begun with another space, data or versions.
    """
    # What its warnings tell of, a lost connection say, is told here in a sentence and without SQL.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    written = folder.path / "study.json"
    begun = written.is_file()
    other = SAME if directions is None else OTHER_NAME if is_database(where) else OTHER_FOLDER
    if begun:
        compare(read_json(written), frozen, folder.path, other)
    shown = without_password(where) if is_database(where) else str(_file(folder, where, begun, directions))
    absent = StudyError(f"there is no study {name!r} in the storage {shown!r} yet; run siamkit tune")
    storage: optuna.storages.BaseStorage | None = None
    try:
        if not is_database(where):
            storage = _in_folder(folder, where, tell)
        elif begun:  # it was there before, so it may be on its way back
            storage = with_retries(open_database, where, tell=tell, patience=COMING_BACK)
        else:
            storage = open_database(where)
        # What is begun is never made anew: its results are in the folder.
        study = _connect(name, storage, None if begun else directions)
        if directions is None and read_snapshot(study) is None:
            raise absent
        freeze(study, frozen, folder.path, other)
        # Without study.json this is not the folder that its results lie in; unless `tune` died before it
        # had written that, when there is no trial yet.
        if is_database(where) and not begun and with_retries(study.get_trials, deepcopy=False):
            raise StudyError(
                f"the storage {shown!r} knows a study {name!r}, but its results are not in "
                f"{str(folder.path)!r}; go on with the run folder (artifacts) that it was begun with, or "
                "give this study another name"
            )
    except BaseException as error:
        if storage is not None:
            _close(storage)
        if isinstance(error, KeyError) and directions is None:
            raise absent from None
        if isinstance(error, KeyError):
            raise StudyError(
                f"the run folder {str(folder.path)!r} holds a study that the storage {shown!r} does not "
                "know; go on with the storage it was begun with, or give the study another artifacts folder"
            ) from None
        if isinstance(error, StudyError) or not isinstance(error, Exception):
            raise
        raise StudyError(f"the storage {shown!r} cannot be opened: {_first_line(error)}") from error
    return study


def close_storage(study: optuna.Study) -> None:
    """Closes what was opened."""
    _close(study._storage)


def _close(storage: optuna.storages.BaseStorage) -> None:
    backend = getattr(storage, "_backend", None)
    if isinstance(backend, Database):
        backend.scoped_session.remove()
        backend.engine.dispose()


def write_attrs(study: optuna.Study, trial_id: int, attrs: dict[str, Any]) -> None:
    """Writes attributes of a running trial, together where the storage can.

    Raises:
        UpdateFinishedTrialError: it has ended.
    """
    backend = getattr(study._storage, "_backend", None)
    if isinstance(backend, Database):
        backend.set_trial_user_attrs(trial_id, attrs)
        return
    for key, value in attrs.items():  # in this order, so the last tells that all are there
        study._storage.set_trial_user_attr(trial_id, key, value)


def storage_file(folder: RunFolder, where: str) -> Path:
    """The storage's file in a run folder: a journal where asked for, and where SQLite is unsafe."""
    database, journal = folder.path / "study.db", folder.path / "study.journal"
    if journal.is_file() or database.is_file():
        return journal if journal.is_file() else database
    return journal if where == "journal" or network_of(folder.path) else database


def _file(folder: RunFolder, where: str, begun: bool, directions: Sequence[Direction] | None) -> Path:
    """The storage's file, if it is where it must be."""
    if not is_local(folder.path):
        raise StudyError(
            f"the storage {where!r} is a file of the run folder, but "
            f"{without_password(str(folder.path))!r} is no folder "
            "of this machine; use a database (storage: postgresql://… or mysql://…)"
        )
    file = storage_file(folder, where)
    if begun and not file.is_file():
        raise StudyError(
            f"the run folder {str(folder.path)!r} has lost its {file.name!r}; put that "
            "back, or give the study another artifacts folder"
        )
    if directions is None and not file.is_file():
        raise StudyError(f"there is no study in {str(folder.path)!r} yet; run siamkit tune")
    return file


def _in_folder(folder: RunFolder, where: str, tell: Callable[[str], None]) -> optuna.storages.BaseStorage:
    file, network = storage_file(folder, where), network_of(folder.path)
    if file.suffix == ".journal":
        if where == "sqlite" and network:
            tell(
                f"the run folder is on a network file system ({network}), where SQLite's locks are not to be "
                f"relied on; the study is kept in a journal instead, {file.name}"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.storages.JournalStorage(JournalFileBackend(str(file)))
    if network:
        tell(
            f"{file.name} is on a network file system ({network}), where SQLite's locks are not to be relied "
            "on; let one machine alone write to it"
        )
    return open_sqlite(str(file))


def _connect(
    name: str, storage: optuna.storages.BaseStorage, directions: Sequence[Direction] | None
) -> optuna.Study:
    if directions is None:
        return optuna.load_study(study_name=name, storage=storage)
    return optuna.create_study(storage=storage, study_name=name, load_if_exists=True, directions=directions)


def _first_line(error: BaseException) -> str:
    lines = str(error.__cause__ or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
