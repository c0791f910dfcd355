"""Pruners: which trials need not go on, behind the others or dead."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import optuna
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    NopPruner,
    PatientPruner,
    SuccessiveHalvingPruner,
)

from siamkit.study.sampling._optuna_median import QuickMedian

if TYPE_CHECKING:
    from siamkit.study.config.load import ResolvedStudy

STARTUP = 5  # completed trials before the median says anything
REDUCTION = 3  # of three trials one goes on, in hyperband and successive halving

SPREAD = 0.01
RANK, LEAST_DIM = 1.1, 4  # of two or three dimensions even a live embedding may fill one
AUC, CORRELATION = 0.6, 0.1
GRACE = 2  # epochs: an untrained network may begin almost at a point


def make_pruner(study: ResolvedStudy, objectives: int) -> BasePruner:
    """Optuna's part of the study's pruner; it compares a trial with the others, epoch by epoch.

    None of it with several objectives, where Optuna's pruners do not work, nor under `design: factorial`
    unless one is named: a cell that is cut short is missing from the comparison. `collapsed` is the rule
    beside it.
    """
    name, epochs = study.config.pruner, study.config.fixed.epochs
    if name == "auto":
        name = "none" if study.config.design == "factorial" else "median"
    if objectives > 1 or name in ("none", "collapse"):
        return NopPruner()
    quarter = max(1, epochs // 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "hyperband":
            pruner = HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=REDUCTION)
            # Until then all trials are of one bracket, in a process that has pruned nothing yet: it would
            # draw otherwise than one that has.
            pruner._try_initialization(None)  # type: ignore[arg-type]
            return pruner
        if name == "successive_halving":
            return SuccessiveHalvingPruner(min_resource=1, reduction_factor=REDUCTION)
        median = QuickMedian(n_startup_trials=STARTUP, n_warmup_steps=quarter)
        return PatientPruner(median, patience=quarter) if name == "patient" else median


def judges_collapse(study: ResolvedStudy) -> bool:
    """Whether `collapsed` ends trials here: with every pruner but `none`, however many the objectives."""
    return study.config.pruner != "none"


def collapsed(measures: Mapping[str, float], embedding_dim: int, epoch: int) -> str | None:
    """Why embeddings are dead after an epoch, as a cause for the result; None where they live.

    They are dead if they have shrunk to a point or to a line, **and** tell nothing:

    - a point: `spread`, √(total variance) / √(mean squared norm), under 0.01;
    - a line: `effective_rank` (Roy & Vetterli 2007, of the centred embeddings) under 1.1, of 4 or more
      dimensions;
    - nothing: `roc_auc` under 0.6, or the absolute `spearman` under 0.1; where there is neither, only a
      point counts.

    The last is what spares embeddings of few classes: two classes told apart perfectly are two tight
    clusters, which lie on a line, too.

    Args:
        measures: of the epoch, from `siamkit.study.worker.train.judge`.
        embedding_dim: how many directions there could be.
        epoch: from 1. Nothing is dead before the second.
    """
    if epoch < GRACE or "spread" not in measures or "effective_rank" not in measures:
        return None
    rank = measures["effective_rank"]
    point = measures["spread"] < SPREAD
    line = rank < RANK and embedding_dim >= LEAST_DIM
    if "roc_auc" in measures:
        mute = not measures["roc_auc"] >= AUC  # no number tells nothing
    elif "spearman" in measures:
        mute = not abs(measures["spearman"]) >= CORRELATION
    else:
        mute, line = True, False
    if not mute or not (point or line):
        return None
    if point:
        return (
            f"collapsed: all embeddings are one point (spread {measures['spread']:.1g}) after epoch {epoch}"
        )
    return f"collapsed: effective rank {rank:.1f} of {embedding_dim} dimensions after epoch {epoch}"
