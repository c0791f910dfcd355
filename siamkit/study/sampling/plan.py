"""The plan of a study: the configurations that it tries before, or instead of, those of its sampler."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import JsonValue

from siamkit.runs.results import Snapshot, as_record
from siamkit.study.config.fingerprint import derive_seed
from siamkit.study.config.load import ResolvedStudy
from siamkit.study.config.problems import Problems
from siamkit.study.config.schema import StudyConfig
from siamkit.study.config.search_space import SearchSpace
from siamkit.study.config.yaml import Document
from siamkit.study.sampling._enqueue import PlannedTrial, default_trials, parse_entry
from siamkit.study.sampling._enumerate import factorial, grid
from siamkit.study.sampling._warm_start import WarmStart, run_folder_problem, warm_start_from


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


def is_fully_planned(config: StudyConfig) -> bool:
    """Return whether a study ends with its plan: a grid or a factorial design."""
    return config.design == "factorial" or config.sampler == "grid"


def warm_start(study: ResolvedStudy, snapshot: Mapping[str, JsonValue]) -> WarmStart:
    """Return what a study takes from the one that its `warm_start` names; nothing if it names none.

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
