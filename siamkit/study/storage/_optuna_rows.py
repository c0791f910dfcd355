"""Trials read from the tables of Optuna's relational storage, many times quicker than by its own way."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy.orm import Session

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
