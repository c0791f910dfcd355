"""Samplers: which one draws a trial, and what each cannot do, told before the first trial."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler

from siamkit.study.config.fingerprint import derive_seed
from siamkit.study.config.schema import StudyConfig
from siamkit.study.config.search_space import Space
from siamkit.study.sampling._samplers.cma import CmaSampler
from siamkit.study.sampling._samplers.genetic import GeneticSampler
from siamkit.study.sampling._samplers.sobol import SobolSampler
from siamkit.study.sampling._samplers.tpe import BoundedTPE
from siamkit.study.sampling._samplers.unit import distribution
from siamkit.study.sampling.enumerate import parameters

if TYPE_CHECKING:
    from siamkit.study.config.load import ResolvedStudy

Problem = tuple[tuple[str | int, ...], str]

PACKAGES = {"cmaes": ("cmaes",), "gp": ("torch",)}  # beyond what siamkit itself needs
GP_TRIALS = 500  # a draw takes 2 s on 500 trials, and 10 s on 1,000


def make_sampler(study: ResolvedStudy, number: int, objectives: int, repeated: bool = False) -> BaseSampler:
    """The sampler of one trial, seeded by the study's seed and the trial's number.

    Each trial has a new one, so nothing may hang on what a sampler remembers: what they learn from is in
    the storage, where any process finds it.

    Args:
        study: the study.
        number: of the trial. Optuna draws at the first suggestion, not when asked for a trial, so ask first
            and set the study's sampler then: two processes may expect the same number, but never get it.
        objectives: how many there are.
        repeated: whether the draw before was there already. Then chance draws: a sampler that learns would
            propose its favourite again and again, and that says nothing of whether the space holds more.
    """
    seed = derive_seed(study.config.seed, "sampler", number)
    name = study.config.sampler
    # A grid and a factorial design are enqueued whole; what is drawn beside them nobody asked for.
    if repeated or name in ("random", "grid") or study.config.design == "factorial":
        return RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "gp":
            return GPSampler(seed=seed, warn_independent_sampling=False)
        if name == "cmaes":
            return CmaSampler(_distributions(study.space), seed)
        if name == "qmc":
            sequence = derive_seed(study.config.seed, "sequence")
            return SobolSampler(_distributions(study.space), sequence, seed)
        if name == "nsgaii":
            # Five generations at least, or it would be a random search by another name.
            population = min(50, max(8, study.config.budget.trials // 5))
            return GeneticSampler(_distributions(study.space), population, seed)
        return BoundedTPE(seed=seed, multivariate=True, group=True, constant_liar=True)


def sampler_problems(file: StudyConfig, space: Space, objectives: int) -> Iterator[Problem]:
    """What the chosen sampler cannot do with this study, each with its place in the file."""
    if file.design == "factorial":
        return  # there the design draws
    name, at = file.sampler, ("sampler",)
    for package in PACKAGES.get(name, ()):
        if importlib.util.find_spec(package) is None:
            yield at, f"sampler {name} needs the package {package}; pip install 'siamkit[{name}]'"
    found, conditional = parameters(space)
    choices = [each for each, values in found.items() if values.options]
    if name == "cmaes":
        if objectives > 1:
            yield at, f"sampler cmaes takes one objective, got {objectives}; tpe, nsgaii and gp take several"
        if choices:
            yield (
                at,
                f"sampler cmaes moves numbers, and could only toss a coin for {_some(choices)}; fix "
                "what is chosen there, or take tpe",
            )
    if name == "gp":
        if conditional:
            yield (
                at,
                f"sampler gp wants the same parameters in every trial, and {_some(sorted(conditional))} are "
                "there only with some components; search one component of each kind, or take tpe",
            )
        if file.budget.trials > GP_TRIALS:
            yield (
                at,
                f"sampler gp takes ever longer to draw, and suits up to {GP_TRIALS:,} trials, got a budget "
                f"of {file.budget.trials:,}; tpe suits any number",
            )
    reals = [each for each, values in found.items() if not values.options and not values.whole]
    if name == "grid" and reals:
        yield (
            at,
            f"sampler grid tries every value, and the real numbers of {_some(reals)} are too many; list the "
            "values to try, or take design: factorial, which tries three of each range",
        )


def _some(names: Iterable[str]) -> str:
    first = list(names)
    more = f" and {len(first) - 4} more" if len(first) > 4 else ""
    return ", ".join(first[:4]) + more


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    return {name: distribution(values) for name, values in parameters(space)[0].items()}
