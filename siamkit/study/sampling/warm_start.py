"""Warm start: what an earlier study found, for the sampler to learn from or to be tried again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from siamkit.evaluation import MEASURES
from siamkit.runs.results import read_results
from siamkit.study.config.fingerprint import canonical, key_of
from siamkit.study.config.search_space import Components, Configuration, Space, Values, factors_of
from siamkit.study.sampling._levels import inside
from siamkit.study.sampling._samplers.unit import distribution
from siamkit.study.sampling.enqueue import Misfit, Planned
from siamkit.study.sampling.enumerate import Scripted

BEST = 5  # that are tried afresh where the earlier values do not compare
LEARNERS = ("tpe", "gp", "cmaes")


@dataclass(frozen=True)
class Warm:
    """What an earlier study has to give.

    Args:
        learn: finished trials to add; their user attribute `outcome` is `earlier`, and no budget is theirs.
        again: configurations to try afresh, the best first.
        left_out: completed trials that this study's space does not hold.
    """

    learn: list[FrozenTrial]
    again: list[Planned]
    left_out: int


def no_study(folder: Path) -> str | None:
    """Why a folder is none to start from; None if it is one."""
    if (folder / "study.json").is_file():
        return None
    reason = "is no run folder of a study: it has no study.json" if folder.is_dir() else "does not exist"
    return f"{str(folder)!r} {reason}"


def warm(space: Space, sampler: str, folder: Path, now: Mapping[str, Any]) -> Warm:
    """What a study may take from an earlier one.

    Its values are learnt from only where they would be the same here: the same data and split, the same
    `fixed`, the same objectives, and a sampler that learns. Otherwise the best few are tried afresh.

    Args:
        space: this study's.
        sampler: its name.
        folder: the earlier study's run folder.
        now: this study, frozen as `study.json` has it.

    Raises:
        StudyError: a file in it is damaged.
    """
    before, trials, _ = read_results(folder)
    complete = [each for each in trials if each.get("outcome") == "complete"]
    found = [(each, drawn) for each in complete if (drawn := retrace(space, each["configuration"]))]
    objectives: dict[str, str] = dict(now["objectives"])
    same = sampler in LEARNERS and all(
        canonical(_part(before, *path)) == canonical(_part(now, *path))
        for path in (("data",), ("study", "fixed"), ("objectives",))
    )
    if same:
        learn = [
            _finished(trial, configuration, [each["figures"][name] for name in objectives])
            for each, (trial, configuration) in found
        ]
        return Warm(learn, [], len(complete) - len(found))
    name = next(iter(objectives))
    if not all(name in each["figures"] for each, _ in found):
        name = next(iter(before.get("objectives") or {}), name)
    sign = -1.0 if name not in MEASURES or MEASURES[name].direction == "maximize" else 1.0
    found.sort(key=lambda pair: sign * pair[0]["figures"].get(name, sign * math.inf))
    again = [Planned(trial.params, drawn, "warm_start") for _, (trial, drawn) in found[:BEST]]
    return Warm([], again, len(complete) - len(found))


def retrace(space: Space, configuration: Configuration) -> tuple[Scripted, Configuration] | None:
    """The answers that lead to a stored configuration; None where the space does not hold it."""
    answers: dict[str, Any] = {}
    try:
        for kind, components in (
            ("encoder", space.encoder),
            ("metric", space.metric),
            ("loss", space.loss),
        ):
            _trace(kind, components, configuration[kind], answers)
        for name, values in space.factors.items():
            _answer(name, values, configuration[name], answers)
        for name, values in space.data.items():
            _answer(f"data.{name}", values, configuration["data"][name], answers)

        def answer(name: str, values: Values) -> Any:
            plain = answers[name.partition("[")[0]]
            if values.options and plain not in values.options:
                raise Misfit(name)
            return plain

        trial = Scripted(answer)
        drawn = space.draw(trial)
    except (KeyError, TypeError, ValueError):
        return None
    return (trial, drawn) if key_of(drawn) == key_of(configuration) else None


def _trace(name: str, components: Components, stored: Mapping[str, Any], answers: dict[str, Any]) -> None:
    chosen, alternative = next(
        (each for each in components.alternatives.items() if each[1].entry.qualified == stored["name"]),
        (None, None),
    )
    if chosen is None or alternative is None:
        raise ValueError(f"{stored['name']} is not searched")
    answers[name] = chosen
    for key, what in alternative.params.items():
        value = stored["params"][key]
        if isinstance(what, Components):
            _trace(f"{name}.{chosen}.{key}", what, value, answers)
        else:
            _answer(f"{name}.{chosen}.{key}", what, value, answers)


def _answer(name: str, values: Values, stored: Any, answers: dict[str, Any]) -> None:
    if values.unit and isinstance(stored, Mapping):
        stored = stored[values.unit]
    answers[name] = inside(values, stored)


def _finished(trial: Scripted, configuration: Configuration, values: list[float]) -> FrozenTrial:
    # With this space's own distributions: samplers learn from nothing else.
    return optuna.trial.create_trial(
        state=TrialState.COMPLETE,
        params=trial.params,
        distributions={name: distribution(asked) for name, asked in trial.asked.items()},
        values=values,
        user_attrs={
            "outcome": "earlier",
            "key": key_of(configuration),
            "configuration": configuration,
            "factors": factors_of(configuration),
        },
    )


def _part(frozen: Mapping[str, Any], *path: str) -> Any:
    part: Any = frozen
    for key in path:
        part = part.get(key) if isinstance(part, Mapping) else None
    return part
