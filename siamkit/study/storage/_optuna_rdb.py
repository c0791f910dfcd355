"""Optuna's storage in a relational database, made safe for many processes and quick to give up the dead."""

from __future__ import annotations

import time
from collections.abc import Container
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from siamkit.study.config.storage_url import with_driver
from siamkit.study.storage._optuna_cache import Cache
from siamkit.study.storage._optuna_rows import read_trials

# A server that vanished is noticed in half a minute, not when TCP gives up.
_LIBPQ = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
_MYSQL = {"connect_timeout": 10, "read_timeout": 90, "write_timeout": 90}
_TIMEOUTS = {"psycopg": _LIBPQ, "psycopg2": _LIBPQ, "pymysql": _MYSQL, "mysqldb": _MYSQL}


class Database(RDBStorage):
    """Adds to Optuna's: attributes of a trial written together, or not at all once it has ended."""

    def set_trial_user_attrs(self, trial_id: int, attrs: dict[str, Any]) -> None:
        """Writes several attributes in one transaction.

        Optuna's own looks whether the trial has ended, and then writes; between the two it may end. Here
        the trial is locked in between, so what is written is there before its end, for all who read it.

        Raises:
            UpdateFinishedTrialError: the trial has ended.
        """
        with _create_scoped_session(self.scoped_session) as session:
            models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
            for key, value in attrs.items():
                self._set_trial_attr_without_commit(
                    session, models.TrialUserAttributeModel, trial_id, key, value
                )

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        if states is not None:
            return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)
        among = {each for each in included_trial_ids if each <= trial_id_greater_than}
        with _create_scoped_session(self.scoped_session) as session:
            return read_trials(session, study_id, among, trial_id_greater_than)


def open_database(where: str) -> optuna.storages.BaseStorage:
    """The storage behind a URL `postgresql://…` or `mysql://…`.

    Raises:
        StudyError: no driver for it is installed.
    """
    url = sqlalchemy.make_url(with_driver(where))
    timeouts = _TIMEOUTS.get(url.get_driver_name(), {})
    arguments = {name: value for name, value in timeouts.items() if name not in url.query}
    shown = url.render_as_string(hide_password=False)
    return Cache(_made(shown, {"pool_pre_ping": True, "connect_args": arguments}))


def open_sqlite(file: str) -> optuna.storages.BaseStorage:
    """The storage in an SQLite file."""
    url = sqlalchemy.URL.create("sqlite", database=file).render_as_string(hide_password=False)
    # Processes wait for one another's writes rather than fail.
    database = _made(url, {"connect_args": {"timeout": 60}})
    _lock_from_the_start(database.engine)
    return Cache(database)


def _lock_from_the_start(engine: sqlalchemy.Engine) -> None:
    """Has SQLite take its write lock before a transaction reads.

    It knows no SELECT … FOR UPDATE, so two processes could both read that a trial waits, and both take it;
    or both read that it runs, and both end it.
    """

    @sqlalchemy.event.listens_for(engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself

    @sqlalchemy.event.listens_for(engine, "begin")
    def begun(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # what was opened to make the tables


def _made(url: str, engine: dict[str, Any]) -> Database:
    for attempt in range(5):
        try:
            return Database(url, engine_kwargs=dict(engine))
        except (IntegrityError, ProgrammingError, OperationalError) as error:
            # Two processes that make the tables at once: one of them is told that they exist.
            told = str(error).lower()
            if attempt == 4 or not ("exist" in told or "duplicate" in told or "unique" in told):
                raise
        time.sleep(0.2 * (attempt + 1))
    raise AssertionError
