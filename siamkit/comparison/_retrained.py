"""Quality against size: what is left of one embedding, beside what a study reached by retraining."""

from __future__ import annotations

import math
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
from siamkit.runs.results import read_results
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
    frozen, trials, _ = read_results(folder)
    if not frozen:
        raise StudyError(f"there is no study in {display_path(folder)!r} yet; run it with siamkit tune")
    asked = {"encoder": encoder, "metric": metric, "loss": loss}
    wanted = {name: value for name, value in asked.items() if value is not None}
    names = measures or (next(iter(frozen["objectives"])),)
    fit = [
        each
        for each in trials
        if each["outcome"] == "complete" and all(each["factors"].get(name) == wanted[name] for name in wanted)
    ]
    if not fit:
        of = " of " + ", ".join(wanted.values()) if wanted else ""
        raise StudyError(f"no trial{of} of the study in {display_path(folder)!r} completed")
    for name in names:
        if name not in MEASURES or any(name not in each["figures"] for each in fit):
            raise DataError(f"the trials of the study in {display_path(folder)!r} have no figure {name!r}")
    sign = -1 if MEASURES[names[0]].direction == "minimize" else 1

    def worth(trial: dict[str, Any]) -> float:
        value = trial["figures"][names[0]]
        return -math.inf if value is None else sign * value

    best: dict[int, dict[str, Any]] = {}
    for each in sorted(fit, key=worth):
        best[int(each["configuration"]["embedding_dim"])] = each
    return [
        Size("retrained", dim, 4 * dim, {name: each["figures"][name] for name in names})
        for dim, each in sorted(best.items())
        if all(each["figures"][name] is not None for name in names)
    ]
