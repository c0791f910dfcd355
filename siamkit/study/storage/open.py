"""The Optuna storage of a study: opened by name, and compared with the snapshot of the study."""

from __future__ import annotations

import base64
import json
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import optuna
import psutil
from optuna.storages.journal import JournalFileBackend
from pydantic import JsonValue

from siamkit.errors import StudyError
from siamkit.io.paths import is_database, is_local, without_password
from siamkit.runs.results import Direction, Snapshot, read_json
from siamkit.runs.run_folder import RunFolder
from siamkit.study.config.load import ResolvedStudy
from siamkit.study.storage._optuna_rdb import DatabaseStorage, open_database, open_sqlite
from siamkit.study.storage.retry import with_retries
from siamkit.study.storage.trial_log import TrialAttributes

ATTRIBUTE = "frozen"
# MySQL's TEXT holds 65,535 bytes; a split by class that names ten thousand people is longer.
MAX_TEXT_LENGTH = 60_000
COMPARED = ("layout", "study", "objectives", "data", "versions")

SnapshotData: TypeAlias = dict[str, JsonValue]
"""A snapshot as plain data, as `study.json` has it; `siamkit.runs.Snapshot` is its type."""


def store_snapshot(optuna_study: optuna.Study, snapshot: SnapshotData, folder: Path, remedy: str) -> None:
    """Store the snapshot of a new study; compare it with the stored one if there is one.

    Raises:
        StudyError: the study was started differently.
    """
    stored = read_snapshot(optuna_study)
    if stored is None:
        for name, value in _attributes(snapshot).items():  # the one that `read_snapshot` looks for comes last
            with_retries(optuna_study.set_user_attr, name, value)
    else:
        check_unchanged(stored, snapshot, folder, remedy)


def read_snapshot(optuna_study: optuna.Study) -> SnapshotData | None:
    """Return the stored snapshot, or None if there is none."""
    attributes = with_retries(lambda: optuna_study.user_attrs)
    stored: SnapshotData | None = attributes.get(ATTRIBUTE)
    if stored is None or not isinstance(stored.get("parts"), int):
        return stored
    text = "".join(attributes[f"{ATTRIBUTE}.{number}"] for number in range(int(str(stored["parts"]))))
    snapshot: SnapshotData = json.loads(zlib.decompress(base64.b64decode(text)))
    return snapshot


def _attributes(snapshot: SnapshotData) -> SnapshotData:
    """Return the attributes that store a snapshot: one, or several if it is long."""
    text = json.dumps(snapshot)
    if len(text) <= MAX_TEXT_LENGTH:
        return {ATTRIBUTE: snapshot}
    packed = base64.b64encode(zlib.compress(text.encode())).decode()
    parts = [packed[start : start + MAX_TEXT_LENGTH] for start in range(0, len(packed), MAX_TEXT_LENGTH)]
    return {
        **{f"{ATTRIBUTE}.{number}": part for number, part in enumerate(parts)},
        ATTRIBUTE: {"parts": len(parts)},
    }


def check_unchanged(stored: SnapshotData, current: SnapshotData, folder: Path, remedy: str) -> None:
    """Check that a study is resumed as it was started.

    Args:
        stored: the stored snapshot.
        current: the snapshot as it would be now.
        folder: the run folder, for the message.
        remedy: advice for the user, for the message.

    Raises:
        StudyError: the two differ; the message names the first difference.
    """
    for part in COMPARED:
        difference = _difference(part, stored.get(part), current.get(part))
        if difference is None:
            continue
        name, old, new = difference
        study = f"the study in {str(folder)!r} was started with"
        if name == "versions.backend":
            raise StudyError(f"{study} the backend {old!r}, not {new!r}; to continue it, use --backend {old}")
        if name == "data.fingerprint":
            raise StudyError(f"{study} other data than these; {remedy}")
        raise StudyError(f"{study} another {name} ({old!r:.80}, now {new!r:.80}); {remedy}")


def check_same_training(study: ResolvedStudy, snapshot: Snapshot) -> None:
    """Check that a study's file still says how its trials were trained: the data, `fixed` and the seed.

    Raises:
        StudyError: one of them has changed since the study was started.
    """
    now = study.unchangeable()
    keys = ("data", "fixed", "seed")
    stored, current = ({key: settings.get(key) for key in keys} for settings in (snapshot.study, now))
    remedy = "restore that, or change it in a new study"
    check_unchanged({"study": stored}, {"study": current}, study.folder, remedy)


def _difference(name: str, old: JsonValue, new: JsonValue) -> tuple[str, JsonValue, JsonValue] | None:
    """Return the first difference between plain data: its dotted name and both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            difference = _difference(f"{name}.{key}", old.get(key), new.get(key))
            if difference is not None:
                return difference
        return None
    return None if old == new else (name, old, new)


RETURN_SECONDS = 60.0  # seconds to wait for the database of a study that exists
OTHER_FOLDER = "restore that, or give the study another artifacts folder"
OTHER_NAME = "restore that, or give the study another name and artifacts folder"
AGREE = "all processes that run a study must agree"

NETWORK_FILE_SYSTEMS = (
    "nfs", "cifs", "smb", "fuse.", "lustre", "gpfs", "beegfs", "ceph", "gluster", "9p", "afs", "afpfs",
    "webdav", "davfs", "pvfs", "orangefs", "vboxsf", "prl_fs", "vmhgfs",
)  # fmt: skip


@dataclass(frozen=True)
class StudyStorage:
    """A study in its storage.

    Args:
        optuna_study: Optuna's study.
        storage: the storage that holds it.
        study_id: the study's id in the storage.
    """

    optuna_study: optuna.Study
    storage: optuna.storages.BaseStorage
    study_id: int

    def write_trial(self, number: int, attributes: TrialAttributes) -> None:
        """Write attributes of a running trial, in one transaction if the storage has transactions.

        Args:
            number: the trial's number.
            attributes: the attributes, written in this order, so that the last one shows that all exist.

        Raises:
            UpdateFinishedTrialError: the trial has ended.
        """
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(self.study_id, number)
        if isinstance(self.storage, DatabaseStorage):
            self.storage.set_trial_user_attrs(trial_id, attributes.items())
            return
        for name, value in attributes.items():
            self.storage.set_trial_user_attr(trial_id, name, value)

    def set_constraints(self, number: int, excesses: Mapping[str, float]) -> None:
        """Set how far a running trial is beyond each constraint, for the sampler; those that are set stay.

        Args:
            number: the trial's number.
            excesses: the excess by the constraint as a text, in the same order for all trials of a study.

        Raises:
            UpdateFinishedTrialError: the trial has ended.
        """
        if not excesses:
            return
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(self.study_id, number)
        trial = optuna.trial.Trial(self.optuna_study, trial_id)
        for constraint, excess in excesses.items():
            if constraint not in trial.constraints:
                trial.set_constraint(constraint, excess)

    def close(self) -> None:
        """Close the connections to a database."""
        _close(self.storage)


def open_storage(
    name: str,
    folder: RunFolder,
    where: str,
    directions: Sequence[Direction] | None,
    snapshot: SnapshotData,
    *,
    sampler: optuna.samplers.BaseSampler | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
    notify: Callable[[str], None] = lambda sentence: None,
) -> StudyStorage:
    """Open a study in its storage, or create it, and compare its stored snapshot.

    Args:
        name: the study's name.
        folder: the study's run folder.
        where: the storage: `sqlite`, `journal`, or the URL of a database.
        directions: the directions of the objectives; None to join a study that exists.
        snapshot: the current snapshot, which must not differ from the stored one.
        sampler, pruner: the sampler and the pruner of the study in this process.
        notify: function that gets a sentence for the user if another storage is chosen than the file names.

    Raises:
        StudyError: the study cannot be opened, does not exist, or was started with another space, data or
            versions.
    """
    # Optuna's warnings, of a lost connection for instance, reach the user as sentences without SQL.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    exists = folder.exists()
    remedy = AGREE if directions is None else OTHER_NAME if is_database(where) else OTHER_FOLDER
    if exists:
        check_unchanged(read_json(folder.snapshot_file), snapshot, folder.path, remedy)
    shown = (
        without_password(where)
        if is_database(where)
        else str(_checked_file(folder, where, exists, directions))
    )
    missing = StudyError(f"the study {name!r} has not started in the storage {shown!r} yet; run siamkit tune")
    storage: optuna.storages.BaseStorage | None = None
    try:
        if not is_database(where):
            storage = _open_file(folder, where, notify)
        elif exists:  # the database was there before, so it may come back
            storage = with_retries(open_database, where, notify=notify, patience=RETURN_SECONDS)
        else:
            storage = open_database(where)
        # A study that exists is never created again: its results are in the folder.
        study = _load_or_create(name, storage, None if exists else directions, sampler, pruner)
        if directions is None and read_snapshot(study) is None:
            raise missing
        store_snapshot(study, snapshot, folder.path, remedy)
        study_id = with_retries(storage.get_study_id_from_name, name)
        # Without study.json the results are in another folder. The exception: `tune` exited before it wrote
        # this file; but then the study has no trials yet.
        if is_database(where) and not exists and with_retries(study.get_trials, deepcopy=False):
            raise StudyError(
                f"the storage {shown!r} has a study {name!r}, but its results are not in "
                f"{str(folder.path)!r}; use the run folder (artifacts) that it was started with, or give "
                "this study another name"
            )
    except BaseException as error:
        if storage is not None:
            _close(storage)
        if isinstance(error, KeyError) and directions is None:
            raise missing from None
        if isinstance(error, KeyError):
            raise StudyError(
                f"the study in the run folder {str(folder.path)!r} is not in the storage {shown!r}; use the "
                "storage that it was started with, or give the study another artifacts folder"
            ) from None
        if isinstance(error, StudyError) or not isinstance(error, Exception):
            raise
        raise StudyError(f"the storage {shown!r} cannot be opened: {_first_line(error)}") from error
    return StudyStorage(study, storage, study_id)


def _load_or_create(
    name: str,
    storage: optuna.storages.BaseStorage,
    directions: Sequence[Direction] | None,
    sampler: optuna.samplers.BaseSampler | None,
    pruner: optuna.pruners.BasePruner | None,
) -> optuna.Study:
    if directions is None:
        return optuna.load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner)
    return optuna.create_study(
        study_name=name,
        storage=storage,
        sampler=sampler,
        pruner=pruner,
        directions=directions,
        load_if_exists=True,
    )


def _close(storage: optuna.storages.BaseStorage) -> None:
    if isinstance(storage, DatabaseStorage):
        storage.close()


# ------------------------------------------------------------------ files of the run folder


def storage_file(folder: RunFolder, where: str) -> Path:
    """Return the file of the storage in a run folder: a journal if the study names it or SQLite is unsafe."""
    database, journal = folder.path / "study.db", folder.path / "study.journal"
    if journal.is_file() or database.is_file():
        return journal if journal.is_file() else database
    return journal if where == "journal" or network_file_system(folder.path) else database


def network_file_system(path: Path) -> str:
    """Return the kind of network file system that a path is on, or an empty text if it is on none."""
    path = path.resolve()
    mount_point, kind, options = "", "", ""
    for mount in psutil.disk_partitions(all=True):
        if path.is_relative_to(mount.mountpoint) and len(mount.mountpoint) >= len(mount_point):
            mount_point, kind, options = mount.mountpoint, mount.fstype, mount.opts
    if "remote" in options.split(","):  # Windows reports NTFS for a share
        return f"remote {kind}".strip()
    return kind if kind.lower().startswith(NETWORK_FILE_SYSTEMS) else ""


def _checked_file(
    folder: RunFolder, where: str, exists: bool, directions: Sequence[Direction] | None
) -> Path:
    """Return the file of the storage, which must exist if the study does."""
    if not is_local(folder.path):
        raise StudyError(
            f"the storage {where!r} is a file in the run folder, but "
            f"{without_password(str(folder.path))!r} is not a folder of this machine; use a database "
            "(storage: postgresql://… or mysql://…)"
        )
    file = storage_file(folder, where)
    if exists and not file.is_file():
        raise StudyError(
            f"the file {file.name!r} is missing from the run folder {str(folder.path)!r}; restore it, or "
            "give the study another artifacts folder"
        )
    if directions is None and not file.is_file():
        raise StudyError(f"no study has started in {str(folder.path)!r} yet; run siamkit tune")
    return file


def _open_file(folder: RunFolder, where: str, notify: Callable[[str], None]) -> optuna.storages.BaseStorage:
    file, network = storage_file(folder, where), network_file_system(folder.path)
    if file.suffix == ".journal":
        if where == "sqlite" and network:
            notify(
                f"the run folder is on a network file system ({network}), where SQLite's locks are not "
                f"reliable; the study is stored in a journal instead, {file.name}"
            )
        return open_journal(file)
    if network:
        notify(
            f"{file.name} is on a network file system ({network}), where SQLite's locks are not reliable; "
            "let only one machine write to it"
        )
    return open_sqlite(str(file))


def open_journal(file: Path) -> optuna.storages.BaseStorage:
    """Open a storage that appends to a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.storages.JournalStorage(JournalFileBackend(str(file)))


def _first_line(error: BaseException) -> str:
    lines = str(error.__cause__ or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
