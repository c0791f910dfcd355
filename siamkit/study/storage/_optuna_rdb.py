"""Optuna's storage in a relational database, made safe for many processes and fast for long studies."""

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

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from siamkit.study.config.storage_url import with_driver

MANY = 500  # trials that are asked for one by one; more are asked for as a range

_TRIAL, _PARAM, _VALUE = (
    each.__table__ for each in (models.TrialModel, models.TrialParamModel, models.TrialValueModel)
)
_USER, _SYSTEM, _STEP = (
    each.__table__
    for each in (
        models.TrialUserAttributeModel,
        models.TrialSystemAttributeModel,
        models.TrialIntermediateValueModel,
    )
)


def read_trials(session: Session, study: int, among: set[int], above: int) -> list[FrozenTrial]:
    """The trials with these ids, and all whose id is above another, by id.

    What a trial had when it ended is there whole: its end is written after all else, and read first.
    """
    names = ("trial_id", "number", "state", "datetime_start", "datetime_complete")
    wanted = _TRIAL.c.trial_id > above
    if among:
        wanted = sqlalchemy.or_(wanted, _TRIAL.c.trial_id.in_(sorted(among)))
    asked = sqlalchemy.select(*(_TRIAL.c[name] for name in names)).where(_TRIAL.c.study_id == study, wanted)
    rows = session.execute(asked.order_by(_TRIAL.c.trial_id)).all()
    if not rows:
        return []
    ids = [row[0] for row in rows]
    parts = _Parts(session, study, ids)
    return [parts.trial(row) for row in rows]


class _Parts:
    """What the other tables hold of some trials."""

    def __init__(self, session: Session, study: int, ids: list[int]) -> None:
        self._session, self._study, self._ids = session, study, ids
        self.params = self._of(_PARAM, "param_name", "param_value", "distribution_json", order="param_id")
        self.values = self._of(_VALUE, "objective", "value", "value_type", order="objective")
        self.user = self._of(_USER, "key", "value_json")
        self.system = self._of(_SYSTEM, "key", "value_json")
        self.steps = self._of(_STEP, "step", "intermediate_value", "intermediate_value_type")

    def _of(self, table: Any, *names: str, order: str | None = None) -> dict[int, list[Any]]:
        asked = sqlalchemy.select(table.c.trial_id, *(table.c[name] for name in names))
        if len(self._ids) <= MANY:
            asked = asked.where(table.c.trial_id.in_(self._ids))
        else:
            asked = asked.join(_TRIAL, _TRIAL.c.trial_id == table.c.trial_id).where(
                _TRIAL.c.study_id == self._study, table.c.trial_id.between(self._ids[0], self._ids[-1])
            )
        if order is not None:
            asked = asked.order_by(table.c[order])
        found: dict[int, list[Any]] = defaultdict(list)
        for row in self._session.execute(asked):
            found[row[0]].append(row[1:])
        return found

    def trial(self, row: Any) -> FrozenTrial:
        trial_id, number, state, start, complete = row
        params, distributions = {}, {}
        for name, value, text in self.params.get(trial_id, ()):
            distributions[name] = distribution = _distribution(text)
            params[name] = distribution.to_external_repr(value)
        return FrozenTrial(
            number=number,
            state=state,
            value=None,
            values=[_value(*each[1:]) for each in self.values.get(trial_id, ())] or None,
            datetime_start=_local(start),
            datetime_complete=_local(complete),
            params=params,
            distributions=distributions,
            user_attrs=_attrs(self.user.get(trial_id, ())),
            system_attrs=_attrs(self.system.get(trial_id, ())),
            intermediate_values={step: _step(*each) for step, *each in self.steps.get(trial_id, ())},
            trial_id=trial_id,
        )


def _local(moment: datetime | None) -> datetime | None:
    """What is stored as UTC without saying so, as Optuna has it: local time without saying so."""
    return moment and moment.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


def _attrs(rows: Iterable[Any]) -> dict[str, Any]:
    return {key: json.loads(text) for key, text in rows}


@cache
def _distribution(text: str) -> BaseDistribution:
    return json_to_distribution(text)


def _value(value: float | None, kind: Any) -> float:
    found: float = models.TrialValueModel.stored_repr_to_value(value, kind)
    return found


def _step(value: float | None, kind: Any) -> float:
    found: float = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value(value, kind)
    return found


OPEN = (TrialState.WAITING, TrialState.RUNNING)
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class Kept:
    """The trials of one study: all, and those of each final state, by number."""

    def __init__(self) -> None:
        self.all: list[FrozenTrial] = []
        self.ended: dict[TrialState, list[FrozenTrial]] = {state: [] for state in ENDED}
        self._added: set[int] = set()

    def add(self, trial: FrozenTrial) -> None:
        number = trial.number
        # One's own new trial can be known before older ones of others are; they come with the next look.
        self.all.extend([trial] * (number + 1 - len(self.all)))
        self.all[number] = trial
        if trial.state.is_finished() and number not in self._added:
            self._added.add(number)
            bisect.insort(self.ended[trial.state], trial, key=attrgetter("number"))


class Cache(_CachedStorage):
    """Optuna's cache, with its trials in order."""

    def __init__(self, backend: Any) -> None:
        super().__init__(backend)
        self._kept: dict[int, Kept] = {}

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        self._read_trials_from_remote_storage(study_id)
        with self._lock:
            found = self._chosen(study_id, states)
            return copy.deepcopy(found) if deepcopy else found

    def _chosen(self, study_id: int, states: Container[TrialState] | None) -> list[FrozenTrial]:
        kept = self._kept.setdefault(study_id, Kept())
        if states is None:
            return list(kept.all)
        parts = [kept.ended[state] for state in ENDED if state in states]
        if any(state in states for state in OPEN):
            numbers = (self._trial_id_to_study_id_and_number[each][1] for each in self._open(study_id))
            parts.append([kept.all[n] for n in sorted(numbers) if kept.all[n].state in states])
        if len(parts) == 1:
            return list(parts[0])
        return sorted((trial for part in parts for trial in part), key=attrgetter("number"))

    def _open(self, study_id: int) -> set[int]:
        found: set[int] = self._studies[study_id].unfinished_trial_ids
        return found

    def _add_trials_to_cache(self, study_id: int, trials: list[FrozenTrial]) -> None:
        super()._add_trials_to_cache(study_id, trials)
        kept = self._kept.setdefault(study_id, Kept())
        for trial in trials:
            kept.add(trial)


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

    engine.dispose()  # closes the connections that made the tables


def _made(url: str, engine: dict[str, Any]) -> Database:
    for attempt in range(5):
        try:
            return Database(url, engine_kwargs=dict(engine))
        except (IntegrityError, ProgrammingError, OperationalError) as error:
            # Two processes that make the tables at once: one of them gets the error that they exist.
            told = str(error).lower()
            if attempt == 4 or not ("exist" in told or "duplicate" in told or "unique" in told):
                raise
        time.sleep(0.2 * (attempt + 1))
    raise AssertionError
