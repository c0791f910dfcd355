"""Samplers that name a point of the unit cube, a side of it for each parameter."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from siamkit.study.sampling._samplers.unit import from_unit


class CubeSampler(BaseSampler):
    """Draws all parameters of a trial at once; what else the space asks, chance draws.

    Args:
        distributions: of all parameters.
        seed: of the trial.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], seed: int) -> None:
        self._distributions = dict(distributions)
        self._chance = optuna.samplers.RandomSampler(seed=seed)

    @abstractmethod
    def point(
        self, study: optuna.Study, trial: FrozenTrial, space: Mapping[str, BaseDistribution]
    ) -> Sequence[float]:
        """The point, one place in [0, 1) for each parameter."""

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        point = self.point(study, trial, search_space)
        return {
            name: from_unit(kind, float(place))
            for (name, kind), place in zip(search_space.items(), point, strict=True)
        }

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._chance.sample_independent(study, trial, param_name, param_distribution)
