"""Locate a study and open its storage for reading, while others write to it."""

from __future__ import annotations

import os
import sqlite3
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages.journal import JournalFileBackend
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from siamkit.errors import StudyError
from siamkit.io.paths import is_local, with_driver, without_password
from siamkit.runs.run_folder import RunFolder
from siamkit.study.config.load import load_study, run_folder
from siamkit.study.config.schema import StudyConfig
from siamkit.study.config.yaml import read_document
from siamkit.study.storage.open import storage_file

T = TypeVar("T")

BUSY_SECONDS = 10  # seconds to wait for a file that another process writes to


@dataclass(frozen=True)
class StudyLocation:
    """The name of a study, its run folder and its storage.

    Args:
        name: the study's name.
        folder: its run folder.
        storage: `sqlite`, `journal`, or the URL of a database.
    """

    name: str
    folder: RunFolder
    storage: str

    @property
    def shown(self) -> str:
        """The storage, without a password."""
        if "://" in self.storage:
            return without_password(self.storage)
        return str(storage_file(self.folder, self.storage))

    def absent(self) -> StudyError:
        """Return the error that says the study does not exist yet."""
        return StudyError(
            f"the study {self.name!r} has not started in {self.shown!r} yet; run it with siamkit tune"
        )


def find_study(
    path: str | os.PathLike[str], artifacts: str | os.PathLike[str] | None = None
) -> StudyLocation:
    """Locate the study of a file, without loading plugins or data.

    Raises:
        StudyFileError: the file has problems; the message lists all of them.
    """
    document = read_document(Path(path))
    try:
        config = StudyConfig.model_validate(document.data)
    except ValidationError:
        load_study(path, artifacts=artifacts)  # reports the problems, line by line
        raise
    return StudyLocation(
        config.name, RunFolder(run_folder(config, document.folder, artifacts)), config.storage
    )


def open_to_read(where: StudyLocation) -> optuna.Study:
    """Open an existing study; creates no file, table or row.

    Raises:
        StudyError: the study does not exist yet, or cannot be read.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return reading(where, lambda: optuna.load_study(study_name=where.name, storage=storage_to_read(where)))


def reading(where: StudyLocation, read: Callable[[], T]) -> T:
    """Call a function that reads from a study's storage.

    Raises:
        StudyError: the storage cannot be read.
    """
    try:
        return read()
    except KeyError:
        raise where.absent() from None
    except (StorageInternalError, SQLAlchemyError, OSError, ValueError, RuntimeError) as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise StudyError(f"the storage {where.shown!r} cannot be read: {reason:.300}") from error


def storage_to_read(where: StudyLocation) -> optuna.storages.BaseStorage:
    """Return the storage of an existing study, read-only if it is a file.

    Raises:
        StudyError: the study does not exist yet.
    """
    if "://" in where.storage:
        return _tables(where, with_driver(where.storage), {})
    if not is_local(where.folder.path):
        raise StudyError(
            f"the storage {where.storage!r} is a file of the run folder, but {str(where.folder.path)!r} is "
            "not a folder of this machine"
        )
    file = storage_file(where.folder, where.storage)
    if not file.is_file():  # connecting would create it
        raise where.absent()
    if file.suffix == ".journal":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.storages.JournalStorage(JournalFileBackend(str(file)))
    url = sqlalchemy.URL.create("sqlite", database=str(file)).render_as_string(hide_password=False)
    return _tables(where, url, {"creator": lambda: _read_only(file)})


def _read_only(file: Path) -> sqlite3.Connection:
    """Return a read-only connection; a transaction that a dead process left open is rolled back."""

    def connect(mode: str) -> sqlite3.Connection:
        address = f"{file.as_uri()}?mode={mode}"
        return sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, check_same_thread=False)

    connection = connect("ro")
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
            raise
        connection.close()
        connection = connect("rw")
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        connection.execute("PRAGMA query_only = ON")
    return connection


def _tables(where: StudyLocation, url: str, engine: dict[str, Any]) -> optuna.storages.BaseStorage:
    # Each read has a connection of its own, so that none is left open.
    engine = {**engine, "poolclass": sqlalchemy.NullPool}
    made = sqlalchemy.create_engine(url, **engine)
    try:
        tables = sqlalchemy.inspect(made).get_table_names()
    finally:
        made.dispose()
    if "studies" not in tables or "alembic_version" not in tables:
        raise where.absent()
    storage = optuna.storages.RDBStorage(url, engine_kwargs=engine, skip_table_creation=True)
    return optuna.storages.get_storage(storage)  # adds the cache of finished trials
