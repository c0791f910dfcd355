"""The Optuna storage of a study: opened by name, frozen, and asked with patience."""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import optuna
import psutil
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import InterfaceError, OperationalError

from siamkit.errors import StudyError
from siamkit.files import is_local, no_room
from siamkit.report.store import read_json
from siamkit.study.folder import RunFolder
from siamkit.study.schema import Direction

PATIENCE = 900.0  # seconds that a silent storage is waited for

# File systems over a network, on which SQLite's locks are not to be relied on.
NETWORK = ("nfs", "cifs", "smb", "fuse.", "lustre", "gpfs", "beegfs", "ceph", "gluster", "9p", "afs")

# What SQLAlchemy may talk to a database by, in order of preference.
DRIVERS = {
    "postgresql": {"psycopg": "psycopg", "psycopg2": "psycopg2", "pg8000": "pg8000"},
    "mysql": {"mysqldb": "MySQLdb", "pymysql": "pymysql", "mysqlconnector": "mysql.connector"},
}

T = TypeVar("T")


class StorageSilent(StudyError):
    """A storage that does not answer, or cannot be written."""


def patiently(
    call: Callable[..., T], *args: Any, tell: Callable[[str], None] | None = None, **more: Any
) -> T:
    """Calls the storage; while it does not answer, waits and calls again, for a quarter of an hour.

    Args:
        call: what to call; may be called twice where an answer got lost.
        *args: handed on.
        tell: hears once that the storage is waited for.
        **more: handed on.

    Raises:
        StorageSilent: it did not answer in all that time, or its disk is full.
    """
    start, pause = time.monotonic(), 0.1
    while True:
        try:
            return call(*args, **more)
        except (StorageInternalError, OperationalError, InterfaceError, ConnectionError) as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            if no_room(error):
                raise StorageSilent(f"the storage cannot be written: {reason}") from error
            if time.monotonic() - start > PATIENCE:
                raise StorageSilent(f"the storage has not answered for {PATIENCE:g} s: {reason}") from error
            if tell is not None:
                tell(f"the storage does not answer ({reason:.100}); waiting for it")
                tell = None
        time.sleep(pause)
        pause = min(2 * pause, 5.0)


def open_storage(
    name: str,
    folder: RunFolder,
    where: str,
    directions: Sequence[Direction] | None,
    frozen: dict[str, Any] | None,
) -> optuna.Study:
    """Opens a study in its storage, or makes it, and compares what is frozen there.

    Args:
        name: of the study.
        folder: its run folder.
        where: `sqlite`, `journal`, or the URL of a database.
        directions: of the objectives; None to open only what is there.
        frozen: what must not have changed; None not to compare.

    Raises:
        StudyError: it cannot be opened, is not there, or was begun with another space, data or versions.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    written = folder.path / "study.json"
    begun = written.is_file()
    if begun and frozen is not None:
        compare_frozen(read_json(written), frozen, folder)
    if "://" not in where:
        if not is_local(folder.path):
            raise StudyError(
                f"the storage {where!r} is a file of the run folder, but {str(folder.path)!r} is no folder "
                "of this machine; use a database (storage: postgresql://… or mysql://…)"
            )
        file = storage_file(folder, where)
        if begun and not file.is_file():
            raise StudyError(
                f"the run folder {str(folder.path)!r} has lost its {file.name!r}; put that "
                "back, or give the study another artifacts folder"
            )
        shown = str(file)
    else:
        shown = sqlalchemy.make_url(where).render_as_string(hide_password=True)
    try:
        study = _connect(name, _storage(where, folder), directions)
    except KeyError:
        raise StudyError(
            f"there is no study {name!r} in the storage {shown!r} yet; run siamkit tune"
        ) from None
    except StudyError:
        raise
    except Exception as error:
        raise StudyError(f"the storage {shown!r} cannot be opened: {str(error).splitlines()[0]}") from error
    if frozen is not None:
        before = study.user_attrs.get("frozen")
        if before is None:
            study.set_user_attr("frozen", frozen)
        else:
            compare_frozen(before, frozen, folder)
    return study


def _connect(
    name: str, storage: optuna.storages.BaseStorage, directions: Sequence[Direction] | None
) -> optuna.Study:
    if directions is None:
        return optuna.load_study(study_name=name, storage=storage)
    return optuna.create_study(storage=storage, study_name=name, load_if_exists=True, directions=directions)


def _storage(where: str, folder: RunFolder) -> optuna.storages.BaseStorage:
    if "://" in where:
        return _rdb(with_driver(where), {"pool_pre_ping": True})
    file = storage_file(folder, where)
    if file.suffix == ".journal":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.storages.JournalStorage(JournalFileBackend(str(file)))
    url = sqlalchemy.URL.create("sqlite", database=str(file))
    # Processes wait for one another's writes rather than fail.
    return _rdb(url.render_as_string(hide_password=False), {"connect_args": {"timeout": 60}})


def _rdb(url: str, engine: dict[str, Any]) -> optuna.storages.BaseStorage:
    # `get_storage` adds the cache of finished trials, without which each look reads them all again.
    return optuna.storages.get_storage(optuna.storages.RDBStorage(url, engine_kwargs=engine))


def storage_file(folder: RunFolder, where: str) -> Path:
    """The storage's file in a run folder: a journal where asked for, and where SQLite is unsafe."""
    database, journal = folder.path / "study.db", folder.path / "study.journal"
    if journal.is_file() or database.is_file():
        return journal if journal.is_file() else database
    return journal if where == "journal" or network_of(folder.path) else database


def network_of(path: Path) -> str:
    """The kind of network file system that a path is on; empty if it is on none."""
    path = path.resolve()
    best, kind = "", ""
    for mount in psutil.disk_partitions(all=True):
        if path.is_relative_to(mount.mountpoint) and len(mount.mountpoint) >= len(best):
            best, kind = mount.mountpoint, mount.fstype
    return kind if kind.startswith(NETWORK) else ""


def with_driver(url: str) -> str:
    """The URL with a driver that is installed.

    Raises:
        StudyError: none is.
    """
    scheme, _, rest = url.partition("://")
    kind, _, driver = scheme.partition("+")
    if driver:
        return url
    for driver, module in DRIVERS[kind].items():
        if importlib.util.find_spec(module.partition(".")[0]) is not None:
            return f"{kind}+{driver}://{rest}"
    raise StudyError(f"the storage {kind}://… wants a driver; pip install 'siamkit[{kind}]'")


def compare_frozen(before: dict[str, Any], now: dict[str, Any], folder: RunFolder) -> None:
    """Raises StudyError where a study was begun otherwise than it would go on, naming the difference."""
    for part in ("layout", "study", "objectives", "data", "versions"):
        found = _difference(part, before.get(part), now.get(part))
        if found is not None:
            where, old, new = found
            raise StudyError(
                f"the study in {str(folder.path)!r} was begun with another {where} "
                f"({old!r:.80}, now {new!r:.80}); put that back, or give the study another "
                "artifacts folder"
            )


def _difference(where: str, old: Any, new: Any) -> tuple[str, Any, Any] | None:
    """The first place where two pieces of plain data differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            found = _difference(f"{where}.{key}", old.get(key), new.get(key))
            if found is not None:
                return found
        return None
    return None if old == new else (where, old, new)
