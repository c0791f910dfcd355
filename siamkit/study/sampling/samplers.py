"""Samplers: choose the sampler that proposes a trial's configuration."""

from __future__ import annotations

import warnings

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler

from siamkit.study.config.fingerprint import derive_seed
from siamkit.study.config.load import ResolvedStudy
from siamkit.study.config.search_space import SearchSpace
from siamkit.study.sampling._cma import CmaSampler
from siamkit.study.sampling._cube import SobolSampler, distribution
from siamkit.study.sampling._enumerate import suggested_parameters
from siamkit.study.sampling._genetic import GeneticSampler
from siamkit.study.sampling._optuna_tpe import WindowedTPESampler

MIN_GENERATIONS = 5  # of nsgaii; with fewer it would be a random search
MIN_POPULATION, MAX_POPULATION = 8, 50


def make_sampler(study: ResolvedStudy, number: int, repeated: bool = False) -> BaseSampler:
    """Return the sampler of one trial, seeded by the study's seed and the trial's number.

    Each trial has a new sampler, so nothing may depend on what a sampler remembers: samplers learn from the
    storage, where any process finds the same trials.

    Args:
        study: the study.
        number: the trial's number. Optuna samples at the first suggestion, so create the trial first and set
            the study's sampler then: two processes can expect the same number, but never get it.
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


def _distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    return {name: distribution(values) for name, values in suggested_parameters(space).values.items()}
