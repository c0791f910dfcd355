"""Sobol points: what the sampler `qmc` draws, one point a trial, whoever asks."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from siamkit.study.sampling._samplers.cube import CubeSampler


class SobolSampler(CubeSampler):
    """Draws the trial's number of a scrambled Sobol sequence over all that may be asked.

    Optuna's own keeps a counter in the study, which two processes may read alike, and draws by chance what
    the first trial was not asked. Here the trial's number is the counter, and every parameter has a
    coordinate of its own, asked or not: the points that fall to one loss are spread evenly over its
    parameters, too. Numbers that went to trials not drawn (enqueued ones) leave a gap.

    Args:
        distributions: of all parameters.
        sequence: the seed of the sequence, the same for all trials of a study.
        seed: of what the space asks beyond `distributions`.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], sequence: int, seed: int) -> None:
        super().__init__(distributions, seed)
        self._sequence = sequence

    def point(
        self, study: optuna.Study, trial: FrozenTrial, space: Mapping[str, BaseDistribution]
    ) -> Sequence[float]:
        from scipy.stats.qmc import Sobol

        engine = Sobol(len(space), scramble=True, rng=self._sequence)
        if trial.number:
            engine.fast_forward(trial.number)
        with warnings.catch_warnings():
            # One point at a time is no power of two; the sequence as a whole is what is balanced.
            warnings.simplefilter("ignore", UserWarning)
            point: Sequence[float] = engine.random(1)[0]
        return point
