"""Quality against size: what is left of one embedding, beside what a study reached by retraining."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamkit.comparison.by_pair import ALIKE, GRADED
from siamkit.comparison.by_query import MEASURES as OF_ITEMS
from siamkit.comparison.from_trial import run_folder_of
from siamkit.comparison.inputs import EmbeddingSet
from siamkit.errors import DataError, StudyError
from siamkit.evaluation.measures import MEASURES
from siamkit.io.paths import display_path
from siamkit.runs.objectives import Objective
from siamkit.runs.results import TrialResult
from siamkit.runs.run_folder import RunFolder
from siamkit.stats.compression import Size, SizeCurve, size_curve


def curve_of(found: EmbeddingSet, truth: NDArray[Any], metric: Any) -> SizeCurve:
    """What a contender's embeddings are worth made smaller.

    Of a trial also what its study reached with the same encoder, metric and loss at each size.

    Args:
        found: the contender.
        truth: `(n,)`, what is true of its items or pairs.
        metric: compares them.
    """
    graded = found.pairs and not np.isin(truth, (0, 1)).all()
    measures = GRADED if graded else ALIKE if found.pairs else OF_ITEMS
    curve = size_curve(found.embeddings, truth, metric, measures=measures)
    if "study" not in found.about:
        return curve
    factors = found.about["factors"]
    same = {name: factors.get(name) for name in ("encoder", "metric", "loss")}
    return curve.with_sizes(retrained_sizes(found.about["study"], measures, **same))


def retrained_sizes(
    study: str | os.PathLike[str],
    measures: tuple[str, ...] = (),
    *,
    encoder: str | None = None,
    metric: str | None = None,
    loss: str | None = None,
) -> list[Size]:
    """The best completed trial of each `embedding_dim`, on the validation items.

    Args:
        study: the study file, or the run folder.
        measures: their names; the first says which trial is the best. The study's first objective by default.
        encoder, metric, loss: only trials with these components.

    Returns:
        Of each size one, to go with `siamkit.stats.compression.SizeCurve.with_sizes`.

    Raises:
        StudyError: there is no study, or it has no such trial.
        DataError: a figure that the trials do not have.
    """
    folder = run_folder_of(str(study))
    run_folder = RunFolder(folder)
    snapshot, trials = run_folder.snapshot(), run_folder.trials()
    asked = {"encoder": encoder, "metric": metric, "loss": loss}
    wanted = {name: value for name, value in asked.items() if value is not None}
    names = measures or (next(iter(snapshot.objectives)),)
    fit = [
        trial
        for trial in trials
        if trial.complete and all(trial.factors.get(name) == wanted[name] for name in wanted)
    ]
    if not fit:
        of = " of " + ", ".join(wanted.values()) if wanted else ""
        raise StudyError(f"no trial{of} of the study in {display_path(folder)!r} completed")
    for name in names:
        if name not in MEASURES or any(name not in trial.measures for trial in fit):
            raise DataError(f"the trials of the study in {display_path(folder)!r} have no figure {name!r}")
    objective = Objective(names[0], MEASURES[names[0]].direction or "maximize")
    best: dict[int, TrialResult] = {}
    for trial in sorted(fit, key=lambda trial: objective.worth(trial.value(names[0]))):
        best[int(str(trial.configuration["embedding_dim"]))] = trial
    return [
        Size("retrained", dim, 4 * dim, {name: trial.measures[name] for name in names})
        for dim, trial in sorted(best.items())
        if all(trial.value(name) is not None for name in names)
    ]
