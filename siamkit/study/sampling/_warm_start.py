"""Warm start: take over an earlier study's results, or try its best configurations again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import optuna
from optuna.trial import FrozenTrial, TrialState

from siamkit.runs.configuration import ComponentConfig, Configuration, Factor, factors_of
from siamkit.runs.objectives import Objective
from siamkit.runs.results import Snapshot
from siamkit.runs.run_folder import RunFolder
from siamkit.study.config.fingerprint import key_of
from siamkit.study.config.search_space import ComponentSpace, SearchSpace, Values
from siamkit.study.sampling._enqueue import NotInSpaceError, PlannedTrial
from siamkit.study.sampling._enumerate import ScriptedTrial
from siamkit.study.sampling._stateless import distribution

RETRIED = 5  # configurations to try again where the earlier values are not comparable
LEARNING_SAMPLERS = ("tpe", "gp", "cmaes")


@dataclass(frozen=True)
class WarmStart:
    """What a study takes from an earlier one.

    Args:
        known: finished trials to add; their user attribute `outcome` is `earlier`, and they use no budget.
        retried: configurations to try again, the best first.
        left_out: the number of complete trials that are outside this study's search space.
    """

    known: list[FrozenTrial]
    retried: list[PlannedTrial]
    left_out: int


def run_folder_problem(folder: Path) -> str | None:
    """Return why a study cannot start from a folder, or None if it can."""
    if RunFolder(folder).exists():
        return None
    problem = "is not a run folder of a study: it has no study.json" if folder.is_dir() else "does not exist"
    return f"{str(folder)!r} {problem}"


def warm_start_from(folder: Path, space: SearchSpace, sampler: str, snapshot: Snapshot) -> WarmStart:
    """Return what a study takes from an earlier one.

    The earlier values count only if they would be the same here: with the same data and split, the same
    `fixed` and objectives, and a sampler that learns. Otherwise the best few configurations are tried again.

    Args:
        folder: the earlier study's run folder.
        space: this study's search space.
        sampler: this study's sampler.
        snapshot: this study's snapshot.

    Raises:
        StudyError: a file in the folder is damaged.
    """
    run_folder = RunFolder(folder)
    before = run_folder.snapshot()
    complete = [result for result in run_folder.trials() if result.complete]
    retraced = [(result, retrace(space, cast(Configuration, result.configuration))) for result in complete]
    contained = [(result, *trial) for result, trial in retraced if trial is not None]
    left_out = len(complete) - len(contained)
    comparable = _conditions(before) == _conditions(snapshot)
    if comparable and sampler in LEARNING_SAMPLERS:
        known = [
            _finished(trial, configuration, [result.measures[name] for name in snapshot.objectives])
            for result, trial, configuration in contained
        ]
        return WarmStart(known, [], left_out)
    objective = Objective.first(snapshot.objectives)
    if not all(objective.name in result.measures for result, _, _ in contained):
        objective = Objective.first(before.objectives)
    contained.sort(key=lambda item: objective.worth(item[0].value(objective.name)), reverse=True)
    retried = [
        PlannedTrial(trial.params, configuration, "warm_start")
        for _, trial, configuration in contained[:RETRIED]
    ]
    return WarmStart([], retried, left_out)


def retrace(space: SearchSpace, configuration: Configuration) -> tuple[ScriptedTrial, Configuration] | None:
    """Return the trial that gives a stored configuration, and this configuration as sampled again.

    Returns None if the space does not contain the configuration.
    """
    try:
        params = _Retraced(space, configuration).params

        def suggest(name: str, values: Values) -> Any:
            value = params[name.partition("[")[0]]
            if values.options and value not in values.options:
                raise NotInSpaceError(name)
            return value

        trial = ScriptedTrial(suggest)
        sampled = space.sample(trial)
    except (KeyError, TypeError, ValueError):
        return None
    return (trial, sampled) if key_of(sampled) == key_of(configuration) else None


class _Retraced:
    """The parameters of a stored configuration, by their names in Optuna.

    Raises:
        KeyError, TypeError, ValueError: the space does not contain the configuration.
    """

    def __init__(self, space: SearchSpace, configuration: Configuration) -> None:
        self.params: dict[str, Factor] = {}
        self._component("encoder", space.encoder, configuration["encoder"])
        self._component("metric", space.metric, configuration["metric"])
        self._component("loss", space.loss, configuration["loss"])
        for name, values in space.factors.items():
            self._value(name, values, configuration[name])  # type: ignore[literal-required]
        for name, values in space.data.items():
            self._value(f"data.{name}", values, configuration["data"][name])

    def _component(self, name: str, components: ComponentSpace, stored: ComponentConfig) -> None:
        self.params[name] = choice = components.name_of(stored)
        for key, space in components.alternatives[choice].params.items():
            value = stored["params"][key]
            if isinstance(space, ComponentSpace):
                self._component(f"{name}.{choice}.{key}", space, value)
            else:
                self._value(f"{name}.{choice}.{key}", space, value)

    def _value(self, name: str, values: Values, stored: Any) -> None:
        if values.unit and isinstance(stored, Mapping):
            stored = stored[values.unit]
        self.params[name] = values.validate(stored)


def _finished(trial: ScriptedTrial, configuration: Configuration, values: list[float]) -> FrozenTrial:
    # With the distributions of this space: samplers learn from no others.
    return optuna.trial.create_trial(
        state=TrialState.COMPLETE,
        params=dict(trial.params),
        distributions={name: distribution(suggested) for name, suggested in trial.values.items()},
        values=values,
        user_attrs={
            "outcome": "earlier",
            "key": key_of(configuration),
            "configuration": configuration,
            "factors": factors_of(configuration),
        },
    )


def _conditions(snapshot: Snapshot) -> tuple[object, ...]:
    """Return the parts of a study that must be equal for values to be comparable."""
    return snapshot.data, snapshot.study.get("fixed"), snapshot.objectives
