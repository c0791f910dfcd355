"""interim"""

from __future__ import annotations

import optuna

from siamkit.study.file import Study


def make_pruner(study: Study, objectives: int) -> optuna.pruners.BasePruner:
    if study.file.pruner == "none" or objectives > 1:
        return optuna.pruners.NopPruner()
    warmup = max(1, study.file.fixed.epochs // 4)
    return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=warmup)
