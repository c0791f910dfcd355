"""interim"""

from __future__ import annotations

import optuna

from siamkit.study.file import Study
from siamkit.study.identity import derive_seed


def make_sampler(
    study: Study, number: int, objectives: int, repeated: bool = False
) -> optuna.samplers.BaseSampler:
    seed = derive_seed(study.file.seed, "sampler", number)
    if repeated or study.file.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)
