"""Optuna's storage in a relational database, made safe for many processes and fast for long studies.

Private parts of Optuna used here, with the reason:

- `_CachedStorage`, its `_read_trials_from_remote_storage`, `_add_trials_to_cache`, `_lock`, `_studies` and
  `_trial_id_to_study_id_and_number`: Optuna's cache sorts all trials at each reading.
- `RDBStorage._get_trials`, `_create_scoped_session` and the tables in `_rdb.models`: reading trials with
  SQLAlchemy's objects takes many times longer than reading rows.
- `RDBStorage._set_trial_attr_without_commit`: several attributes in one transaction.

Tested with Optuna 5.0; the contract tests are in `tests/study/storage/test_optuna_rdb.py`.
"""

from __future__ import annotations

import bisect
import copy
import json
import time
from collections import defaultdict
from collections.abc import Container, Iterable
from datetime import UTC, datetime
from functools import cache
from operator import attrgetter
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState
from pydantic import JsonValue
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from siamkit.io.paths import with_driver

# A server that is lost is noticed within half a minute, not when TCP gives up.
_LIBPQ = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
_MYSQL = {"connect_timeout": 10, "read_timeout": 90, "write_timeout": 90}
_TIMEOUTS = {"psycopg": _LIBPQ, "psycopg2": _LIBPQ, "pymysql": _MYSQL, "mysqldb": _MYSQL}

OPEN = (TrialState.WAITING, TrialState.RUNNING)
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


# ------------------------------------------------------------------ the storage


class DatabaseStorage(_CachedStorage):
    """A database with a cache of finished trials, as fast at the ten-thousandth trial as at the first.

    Optuna's cache sorts all trials at each reading, and searches all of them for the few that wait or run.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database
        self._cached: dict[int, CachedTrials] = {}

    def set_trial_user_attrs(self, trial_id: int, attributes: Iterable[tuple[str, object]]) -> None:
        """Write several attributes in one transaction.

        Raises:
            UpdateFinishedTrialError: the trial has ended.
        """
        self._database.set_trial_user_attrs(trial_id, attributes)

    def close(self) -> None:
        """Close all connections."""
        self._database.scoped_session.remove()
        self._database.engine.dispose()

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        self._read_trials_from_remote_storage(study_id)
        with self._lock:
            trials = self._trials(study_id, states)
            return copy.deepcopy(trials) if deepcopy else trials

    def _trials(self, study_id: int, states: Container[TrialState] | None) -> list[FrozenTrial]:
        cached = self._cached.setdefault(study_id, CachedTrials())
        if states is None:
            return list(cached.all)
        groups = [cached.finished[state] for state in FINISHED if state in states]
        if any(state in states for state in OPEN):
            unfinished: set[int] = self._studies[study_id].unfinished_trial_ids
            numbers = sorted(self._trial_id_to_study_id_and_number[trial_id][1] for trial_id in unfinished)
            groups.append([cached.all[number] for number in numbers if cached.all[number].state in states])
        if len(groups) == 1:
            return list(groups[0])
        return sorted((trial for group in groups for trial in group), key=attrgetter("number"))

    def _add_trials_to_cache(self, study_id: int, trials: list[FrozenTrial]) -> None:
        super()._add_trials_to_cache(study_id, trials)
        cached = self._cached.setdefault(study_id, CachedTrials())
        for trial in trials:
            cached.add(trial)


class CachedTrials:
    """The trials of one study by number: all of them, and those of each final state."""

    def __init__(self) -> None:
        self.all: list[FrozenTrial] = []
        self.finished: dict[TrialState, list[FrozenTrial]] = {state: [] for state in FINISHED}
        self._finished_numbers: set[int] = set()

    def add(self, trial: FrozenTrial) -> None:
        number = trial.number
        # A new trial of this process can be known before older ones of others; the next reading adds those.
        self.all.extend([trial] * (number + 1 - len(self.all)))
        self.all[number] = trial
        if trial.state.is_finished() and number not in self._finished_numbers:
            self._finished_numbers.add(number)
            bisect.insort(self.finished[trial.state], trial, key=attrgetter("number"))


class Database(RDBStorage):
    """Optuna's database, with attributes that are written together, and trials that are read fast."""

    def set_trial_user_attrs(self, trial_id: int, attributes: Iterable[tuple[str, object]]) -> None:
        """Write several attributes in one transaction.

        Optuna checks whether the trial has ended, and then writes; in between it can end. This method locks
        the trial first, so every process that reads the end of a trial also reads all earlier attributes.

        Raises:
            UpdateFinishedTrialError: the trial has ended.
        """
        with _create_scoped_session(self.scoped_session) as session:
            models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
            for name, value in attributes:
                self._set_trial_attr_without_commit(
                    session, models.TrialUserAttributeModel, trial_id, name, value
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
        ids = {trial_id for trial_id in included_trial_ids if trial_id <= trial_id_greater_than}
        with _create_scoped_session(self.scoped_session) as session:
            return read_trials(session, study_id, ids, trial_id_greater_than)


# ------------------------------------------------------------------ opening


def open_database(url_text: str) -> DatabaseStorage:
    """Open the storage behind a URL `postgresql://…` or `mysql://…`.

    Raises:
        StudyError: no driver for this database is installed.
    """
    url = sqlalchemy.make_url(with_driver(url_text))
    timeouts = _TIMEOUTS.get(url.get_driver_name(), {})
    arguments = {name: value for name, value in timeouts.items() if name not in url.query}
    return DatabaseStorage(_create_tables(url, pool_pre_ping=True, connect_args=arguments))


def open_sqlite(file: str) -> DatabaseStorage:
    """Open the storage in an SQLite file."""
    url = sqlalchemy.URL.create("sqlite", database=file)
    # Processes wait for each other's writes and do not fail.
    database = _create_tables(url, connect_args={"timeout": 60})
    _lock_at_begin(database.engine)
    return DatabaseStorage(database)


def _lock_at_begin(engine: sqlalchemy.Engine) -> None:
    """Make SQLite take its write lock before a transaction reads.

    SQLite has no SELECT … FOR UPDATE, so two processes could both read that a trial waits, and both take it,
    or both read that it runs, and both end it.
    """

    @sqlalchemy.event.listens_for(engine, "connect")
    def on_connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver begins no transaction by itself

    @sqlalchemy.event.listens_for(engine, "begin")
    def on_begin(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # the connections that created the tables


def _create_tables(url: sqlalchemy.URL, **options: Any) -> Database:
    text = url.render_as_string(hide_password=False)
    for attempt in range(5):
        try:
            return Database(text, engine_kwargs=dict(options))
        except (IntegrityError, ProgrammingError, OperationalError) as error:
            # When two processes create the tables at the same time, one of them reads that they exist.
            message = str(error).lower()
            if attempt == 4 or not ("exist" in message or "duplicate" in message or "unique" in message):
                raise
        time.sleep(0.2 * (attempt + 1))
    raise AssertionError


# ------------------------------------------------------------------ reading


MAX_IDS = 500  # in one query; more trials are read as a range

_TRIAL, _PARAM, _VALUE = (
    model.__table__ for model in (models.TrialModel, models.TrialParamModel, models.TrialValueModel)
)
_USER, _SYSTEM, _STEP = (
    model.__table__
    for model in (
        models.TrialUserAttributeModel,
        models.TrialSystemAttributeModel,
        models.TrialIntermediateValueModel,
    )
)


def read_trials(session: Session, study_id: int, ids: set[int], above: int) -> list[FrozenTrial]:
    """Return the trials with these ids, and all trials whose id is above another, sorted by id.

    A trial that has ended is complete: its end is written after everything else, and read first.
    """
    names = ("trial_id", "number", "state", "datetime_start", "datetime_complete")
    condition = _TRIAL.c.trial_id > above
    if ids:
        condition = sqlalchemy.or_(condition, _TRIAL.c.trial_id.in_(sorted(ids)))
    query = sqlalchemy.select(*(_TRIAL.c[name] for name in names))
    query = query.where(_TRIAL.c.study_id == study_id, condition).order_by(_TRIAL.c.trial_id)
    rows = session.execute(query).all()
    if not rows:
        return []
    details = _Details(session, study_id, [row[0] for row in rows])
    return [details.trial(row) for row in rows]


class _Details:
    """The rows of the other tables that belong to some trials."""

    def __init__(self, session: Session, study_id: int, ids: list[int]) -> None:
        self._session, self._study_id, self._ids = session, study_id, ids
        self._params = self._rows(_PARAM, "param_name", "param_value", "distribution_json", order="param_id")
        self._values = self._rows(_VALUE, "objective", "value", "value_type", order="objective")
        self._user = self._rows(_USER, "key", "value_json")
        # Optuna's gp takes constraints by their position, so it has to be the same in all trials.
        self._system = self._rows(_SYSTEM, "key", "value_json", order="key")
        self._steps = self._rows(_STEP, "step", "intermediate_value", "intermediate_value_type")

    def _rows(self, table: Any, *names: str, order: str | None = None) -> dict[int, list[Any]]:
        query = sqlalchemy.select(table.c.trial_id, *(table.c[name] for name in names))
        if len(self._ids) <= MAX_IDS:
            query = query.where(table.c.trial_id.in_(self._ids))
        else:
            query = query.join(_TRIAL, _TRIAL.c.trial_id == table.c.trial_id).where(
                _TRIAL.c.study_id == self._study_id,
                table.c.trial_id.between(self._ids[0], self._ids[-1]),
            )
        if order is not None:
            query = query.order_by(table.c[order])
        rows: dict[int, list[Any]] = defaultdict(list)
        for row in self._session.execute(query):
            rows[row[0]].append(row[1:])
        return rows

    def trial(self, row: Any) -> FrozenTrial:
        trial_id, number, state, start, complete = row
        params, distributions = {}, {}
        for name, value, text in self._params.get(trial_id, ()):
            distributions[name] = distribution = _distribution(text)
            params[name] = distribution.to_external_repr(value)
        return FrozenTrial(
            number=number,
            state=state,
            value=None,
            values=[_value(value, kind) for _, value, kind in self._values.get(trial_id, ())] or None,
            datetime_start=_local_time(start),
            datetime_complete=_local_time(complete),
            params=params,
            distributions=distributions,
            user_attrs=_attributes(self._user.get(trial_id, ())),
            system_attrs=_attributes(self._system.get(trial_id, ())),
            intermediate_values={
                step: _step(value, kind) for step, value, kind in self._steps.get(trial_id, ())
            },
            trial_id=trial_id,
        )


def _local_time(moment: datetime | None) -> datetime | None:
    """Return a time stored in UTC in local time; neither has a time zone, as in Optuna."""
    return moment and moment.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


def _attributes(rows: Iterable[Any]) -> dict[str, JsonValue]:
    return {key: json.loads(text) for key, text in rows}


@cache
def _distribution(text: str) -> BaseDistribution:
    return json_to_distribution(text)


def _value(value: float | None, kind: Any) -> float:
    number: float = models.TrialValueModel.stored_repr_to_value(value, kind)
    return number


def _step(value: float | None, kind: Any) -> float:
    number: float = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value(value, kind)
    return number
