"""Choose the sampler that proposes a trial's configuration, and check what it supports."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from siamkit.evaluation.measures import FROM_SIZE
from siamkit.runs.configuration import derive_seed
from siamkit.study.config.load import ResolvedStudy
from siamkit.study.config.schema import StudyConfig
from siamkit.study.config.search_space import SearchSpace
from siamkit.study.config.yaml import Problems
from siamkit.study.sampling._enumerate import suggested_parameters
from siamkit.study.sampling._optuna_tpe import WindowedTPESampler
from siamkit.study.sampling._stateless import CmaSampler, GeneticSampler, SobolSampler, distribution

PACKAGES = {"cmaes": ("cmaes",), "gp": ("torch",)}  # packages that siamkit itself does not need
MAX_GP_TRIALS = 500  # a suggestion takes 2 s with 500 trials, and 10 s with 1,000
KEEP_CONSTRAINTS = ("tpe", "nsgaii", "gp")  # the samplers that learn where constraints are kept
MIN_GENERATIONS = 5  # of nsgaii; with fewer it would be a random search
MIN_POPULATION, MAX_POPULATION = 8, 50


def make_sampler(study: ResolvedStudy, number: int, repeated: bool = False) -> BaseSampler:
    """Return the sampler of one trial, seeded by the study's seed and the trial's number.

    Each trial has a new sampler, so nothing may depend on what a sampler remembers: samplers learn from the
    storage, where any process finds the same trials.

    Args:
        study: the study.
        number: the trial's number.
        repeated: whether the previous configuration already existed. Then this one is random: a sampler that
            learns would propose its favorite again, which does not show whether the space has others.
    """
    config = study.config
    seed, name = derive_seed(config.seed, "sampler", number), config.sampler
    # A grid and a factorial design are enqueued whole, so a sampler has nothing more to choose.
    if repeated or name in ("random", "grid") or config.design == "factorial":
        return RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "gp":
            return GPSampler(seed=seed, warn_independent_sampling=False)
        if name == "cmaes":
            return CmaSampler(_distributions(study.space), seed)
        if name == "qmc":
            sequence_seed = derive_seed(config.seed, "sequence")
            return SobolSampler(_distributions(study.space), sequence_seed, seed)
        if name == "nsgaii":
            population = min(MAX_POPULATION, max(MIN_POPULATION, config.budget.trials // MIN_GENERATIONS))
            return GeneticSampler(_distributions(study.space), population, seed)
        return WindowedTPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


def check_sampler(config: StudyConfig, space: SearchSpace, problems: Problems) -> None:
    """Add the problems of a study with its sampler, also those that its constraints have with it."""
    _check_constraints(config, problems)
    if config.design == "factorial":
        return  # the design replaces the sampler
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


def _check_constraints(config: StudyConfig, problems: Problems) -> None:
    """Add the problems of constraints that only training decides; others limit the search space itself."""
    limits = [limit for limit in config.limits if limit.measure not in FROM_SIZE]
    if not limits:
        return
    if config.design == "factorial" or config.sampler not in KEEP_CONSTRAINTS:
        name = "design: factorial" if config.design == "factorial" else f"sampler {config.sampler}"
        problems.add(
            ("constraints", limits[0].measure),
            f"{name} does not learn which configurations keep a constraint on {limits[0].measure}; use "
            f"sampler {', '.join(KEEP_CONSTRAINTS[:-1])} or {KEEP_CONSTRAINTS[-1]}",
        )
    if config.pruner in ("hyperband", "successive_halving"):
        problems.add(
            ("pruner",),
            f"pruner {config.pruner} also compares trials with those that break a constraint, so it would "
            "stop some that keep it; use percentile, median or patient",
        )


def _distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    return {name: distribution(values) for name, values in suggested_parameters(space).values.items()}


def _first(names: Iterable[str], count: int = 4) -> str:
    """Return the first names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


class RepeatCounter:
    """A counter of consecutive samples whose configuration already existed."""

    def __init__(self) -> None:
        self.count = 0

    def add(self) -> None:
        """Count one more."""
        self.count += 1

    def reset(self) -> None:
        """Start again, after a sample that was new."""
        self.count = 0


class StudySampler(BaseSampler):
    """The sampler of a study: it samples each trial with a sampler of its own.

    The number of a trial is known only when the storage has created it: two processes can expect the same
    number, but never get it.

    Args:
        study: the study.
        repeats: counter of consecutive samples whose configuration already existed.
    """

    def __init__(self, study: ResolvedStudy, repeats: RepeatCounter) -> None:
        self._study, self._repeats = study, repeats
        self._current: BaseSampler = RandomSampler()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._current = make_sampler(self._study, trial.number, self._repeats.count > 0)
        self._current.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._current.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._current.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._current.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self._current.after_trial(study, trial, state, values)
