"""Check what a study's sampler and plan cannot do, before the first trial."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from siamkit.study.config.problems import Problems
from siamkit.study.config.schema import StudyConfig
from siamkit.study.config.search_space import SearchSpace
from siamkit.study.sampling._enqueue import parse_entry
from siamkit.study.sampling._enumerate import suggested_parameters
from siamkit.study.sampling._warm_start import run_folder_problem
from siamkit.study.sampling.plan import earlier_folder, is_fully_planned

PACKAGES = {"cmaes": ("cmaes",), "gp": ("torch",)}  # that a sampler needs beyond those of siamkit itself
MAX_GP_TRIALS = 500  # a suggestion takes 2 s with 500 trials, and 10 s with 1,000


def check_sampling(config: StudyConfig, space: SearchSpace, problems: Problems) -> None:
    """Add the problems of a study's sampler, design, `enqueue` and `warm_start`."""
    if config.design != "factorial":
        _check_sampler(config, space, problems)
    _check_plan(config, space, problems)


def _check_sampler(config: StudyConfig, space: SearchSpace, problems: Problems) -> None:
    name, at = config.sampler, ("sampler",)
    for package in PACKAGES.get(name, ()):
        if importlib.util.find_spec(package) is None:
            problems.add(at, f"sampler {name} needs the package {package}; pip install 'siamkit[{name}]'")
    parameters = suggested_parameters(space)
    categorical = [key for key, values in parameters.values.items() if values.options]
    real = [key for key, values in parameters.values.items() if not values.options and not values.integer]
    objectives = len(config.objectives or [None])
    if name == "cmaes" and objectives > 1:
        problems.add(
            at, f"sampler cmaes supports one objective, got {objectives}; tpe, nsgaii and gp support several"
        )
    if name == "cmaes" and categorical:
        problems.add(
            at,
            f"sampler cmaes supports numeric parameters only; categorical here: {_first(categorical)}. Fix "
            "these parameters, or use tpe",
        )
    if name == "gp" and parameters.conditional:
        problems.add(
            at,
            "sampler gp needs the same parameters in every trial; conditional here: "
            f"{_first(sorted(parameters.conditional))}. Search one component of each kind, or use tpe",
        )
    if name == "gp" and config.budget.trials > MAX_GP_TRIALS:
        problems.add(
            at,
            f"sampler gp supports up to {MAX_GP_TRIALS:,} trials, because its time grows with their number; "
            f"the budget is {config.budget.trials:,}. Use tpe",
        )
    if name == "grid" and real:
        problems.add(
            at,
            f"sampler grid tries every value, but these parameters are real numbers: {_first(real)}. List "
            "their values, or use design: factorial, which tries three values of each range",
        )


def _check_plan(config: StudyConfig, space: SearchSpace, problems: Problems) -> None:
    for index, entry in enumerate(config.enqueue):
        if entry != "defaults":
            parse_entry(space, entry, ("enqueue", index), problems)
    folder = earlier_folder(config, problems.document)
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


def _first(names: Iterable[str], count: int = 4) -> str:
    """Return the first names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
