"""The plan of a study: the configurations that it tries first, from a list, defaults or an earlier study."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import optuna
from optuna.trial import FrozenTrial, TrialState
from pydantic import JsonValue

from siamkit.evaluation.measures import Constraint, excesses, total_excess
from siamkit.runs.configuration import ComponentConfig, Configuration, Factor, derive_seed, factors_of, key_of
from siamkit.runs.results import Objective, Snapshot, TrialResult, as_record
from siamkit.runs.run_folder import RunFolder
from siamkit.study.config.load import ResolvedStudy
from siamkit.study.config.schema import StudyConfig
from siamkit.study.config.search_space import ComponentSpace, SearchSpace, Values
from siamkit.study.config.yaml import Document, Problems
from siamkit.study.sampling._enqueue import (
    NotInSpaceError,
    PlannedTrial,
    default_trials,
    parse_entry,
    trial_with,
)
from siamkit.study.sampling._enumerate import ScriptedTrial, factorial, grid
from siamkit.study.sampling._stateless import distribution

RETRIED = 5  # configurations to try again if the earlier values are not comparable
LEARNING_SAMPLERS = ("tpe", "gp", "cmaes")


@dataclass(frozen=True)
class WarmStart:
    """The trials and configurations that a study takes from an earlier study.

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
        if any(result.complete for result in RunFolder(folder).trials()):
            return None
        return f"the study in {str(folder)!r} has no complete trial to learn from"
    problem = "is not a run folder of a study: it has no study.json" if folder.is_dir() else "does not exist"
    return f"{str(folder)!r} {problem}"


def warm_start_from(folder: Path, space: SearchSpace, sampler: str, snapshot: Snapshot) -> WarmStart:
    """Return what a study takes from an earlier study.

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
    limits = [Constraint.parse(name, text) for name, text in (snapshot.setting("constraints") or {}).items()]  # type: ignore[union-attr]
    left_out = len(complete) - len(contained)
    comparable = _conditions(before) == _conditions(snapshot)
    names = [*snapshot.objectives, *(limit.measure for limit in limits)]
    comparable &= all(result.value(name) is not None for result, _, _ in contained for name in names)
    if comparable and sampler in LEARNING_SAMPLERS:
        known = [
            _finished(
                trial,
                configuration,
                [result.measures[name] for name in snapshot.objectives],
                excesses(limits, result.measures),
            )
            for result, trial, configuration in contained
        ]
        return WarmStart(known, [], left_out)
    objective = Objective.first(snapshot.objectives)
    if not all(objective.name in result.measures for result, _, _ in contained):
        objective = Objective.first(before.objectives)
    contained.sort(
        key=lambda item: (_excess(limits, item[0]), -objective.worth(item[0].value(objective.name)))
    )
    retried = [
        PlannedTrial(trial.params, configuration, "warm_start")
        for _, trial, configuration in contained[:RETRIED]
    ]
    return WarmStart([], retried, left_out)


def _excess(limits: Sequence[Constraint], result: TrialResult) -> float:
    """Return how far an earlier result breaks the constraints of this study, by the measures that it has."""
    known = [limit for limit in limits if result.value(limit.measure) is not None]
    return total_excess(excesses(known, result.measures))


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
        if space.augment is not None:
            self._component("augment", space.augment, configuration["augment"])

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


def _finished(
    trial: ScriptedTrial, configuration: Configuration, values: list[float], beyond: dict[str, float]
) -> FrozenTrial:
    # With the distributions of this space: samplers learn from no others.
    return optuna.trial.create_trial(
        state=TrialState.COMPLETE,
        params=dict(trial.params),
        distributions={name: distribution(suggested) for name, suggested in trial.values.items()},
        values=values,
        constraints=beyond,
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


def planned_trials(study: ResolvedStudy) -> Iterator[PlannedTrial]:
    """Yield the trials of a study's plan, each configuration once, up to the budget.

    The plan of a study is always the same, and a larger budget continues that of a smaller one. So a resumed
    study enqueues those trials whose keys it does not have yet.
    """
    seen: set[str] = set()
    for trial in itertools.islice(_all_trials(study), study.config.budget.trials):
        if trial.key not in seen:
            seen.add(trial.key)
            yield trial


def default_of_each_encoder(space: SearchSpace) -> Iterator[Configuration]:
    """Yield a configuration for each encoder, with its default parameters."""
    for encoder in space.encoder.alternatives:
        yield trial_with(space, {"encoder": encoder}, "defaults").configuration


def is_fully_planned(config: StudyConfig) -> bool:
    """Return whether a study ends with its plan: a grid or a factorial design."""
    return config.design == "factorial" or config.sampler == "grid"


def warm_start(study: ResolvedStudy, snapshot: Mapping[str, JsonValue]) -> WarmStart:
    """Return what a study takes from the study that its `warm_start` names; nothing if it names none.

    Args:
        study: the study.
        snapshot: the content of its `study.json`.
    """
    folder = _earlier_folder(study.config, study.document)
    if folder is None:
        return WarmStart([], [], 0)
    now = as_record(dict(snapshot), Snapshot, "study.json")
    return warm_start_from(folder, study.space, study.config.sampler, now)


def check_plan(config: StudyConfig, space: SearchSpace, problems: Problems) -> None:
    """Add the problems of a study with its `enqueue`, `warm_start` and `design`."""
    for index, entry in enumerate(config.enqueue):
        if entry != "defaults":
            parse_entry(space, entry, ("enqueue", index), problems)
    folder = _earlier_folder(config, problems.document)
    if folder is not None and (problem := run_folder_problem(folder)) is not None:
        problems.add(("warm_start",), problem)
    if not is_fully_planned(config):
        return
    if config.design == "factorial" and config.sampler != "tpe":
        problems.add(
            ("sampler",), f"design: factorial replaces the sampler {config.sampler}; leave one of them out"
        )
    name = "design: factorial" if config.design == "factorial" else "sampler: grid"
    for key in ("enqueue", "warm_start"):
        if key in config.model_fields_set and getattr(config, key):
            problems.add((key,), f"{name} already lists all configurations to try; leave {key} out")


def _earlier_folder(config: StudyConfig, document: Document) -> Path | None:
    """Return the run folder that `warm_start` names, relative to the study file."""
    return (document.folder / config.warm_start).resolve() if config.warm_start else None


def _all_trials(study: ResolvedStudy) -> Iterator[PlannedTrial]:
    config, space = study.config, study.space
    if config.design == "factorial":
        cells = factorial(space, derive_seed(config.seed, "factorial"))
        yield from (PlannedTrial(*cell, "factorial") for cell in cells)
    elif config.sampler == "grid":
        yield from (PlannedTrial(*cell, "grid") for cell in grid(space))
    else:
        problems = Problems(study.document)
        for index, entry in enumerate(config.enqueue):
            if entry == "defaults":
                yield from itertools.islice(default_trials(space), max(1, config.budget.trials // 4))
            elif (trial := parse_entry(space, entry, ("enqueue", index), problems)) is not None:
                yield trial
        if problems:  # only of a study that was loaded without `check_plan`
            raise problems.error()
