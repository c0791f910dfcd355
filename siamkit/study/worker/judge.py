"""What a trained model is worth: its measures, scores by query, and what a report shows of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from siamkit.data.dataset import Dataset
from siamkit.encoders.profiling import cost, ms_per_item
from siamkit.errors import DataError
from siamkit.evaluation import evaluate_labels, evaluate_pairs, evaluate_scores
from siamkit.evaluation.geometry import shape_measures
from siamkit.evaluation.measures import MEASURES, QUICK, Group
from siamkit.evaluation.neighbors import nearest_neighbors
from siamkit.evaluation.verification import Curve
from siamkit.model.siamese import Siamese
from siamkit.stats.compression import size_curve
from siamkit.study.worker.prepared_data import PreparedData
from siamkit.study.worker.shown_items import shown_rows
from siamkit.study.worker.trainer import TrialFailure

NEIGHBOURS = 10  # of each item shown
POINTS = 300  # of a curve

Arrays = dict[str, np.ndarray]


def judge(
    model: Siamese, part: Dataset, groups: Iterable[Group] = QUICK, threshold: float | None = None
) -> tuple[dict[str, float], np.ndarray, dict[str, np.ndarray]]:
    """The figures of a model on a part, its embeddings, and scores by query.

    Args:
        model: with its metric.
        part: with a target.
        groups: of figures; `speed` takes some batches more.
        threshold: what false accepts and rejects are counted at, if not at the one that suits the part best.
    """
    embeddings = model.embed_views(part.views, preprocessed=True)
    if not np.isfinite(embeddings).all():
        raise TrialFailure("the embeddings are not all numbers")
    target, groups = part.target, frozenset(groups)
    assert target is not None
    if part.supervision == "labels":
        found = evaluate_labels(embeddings, target, model.metric, groups=groups, threshold=threshold)
    elif part.supervision == "pairs":
        found = evaluate_pairs(embeddings, target, model.metric, groups=groups, threshold=threshold)
    else:
        found = evaluate_scores(embeddings, target, model.metric, groups=groups)
    costs = [cost(encoder) for encoder in model.encoders]
    measures = found.measures | shape_measures(embeddings)
    measures["parameters"] = sum(each.parameters for each in costs) + model.metric.count_params()
    measures["flops"] = sum(each.flops for each in costs)
    if "speed" in groups:
        measures["ms_per_item"] = sum(map(ms_per_item, model.encoders, part.views))
    return measures, embeddings, found.queries


def exhibit(model: Siamese, task: PreparedData, valid: np.ndarray, test: np.ndarray | None = None) -> Arrays:
    """What a report shows of a model, of the items that `items.parquet` shows.

    Args:
        model: trained.
        task: the data.
        valid: embeddings of the validation part, `(n, dim)` or of pairs `(n, 2, dim)`.
        test: of the test part, where it is scored: then the sizes are tried, too.

    Returns:
        `rows` (m,) of the validation part; their `embeddings`; of labelled items the `neighbors` (m, k)
        among those shown, as places in `rows`; `valid_far`, `valid_frr`, `valid_threshold` of the ROC curve,
        the same of `test`; `size_how`, `size_dim`, `size_bytes`, `size_worth` (see
        `siamkit.stats.compression`). What cannot be had is left out.
    """
    rows = shown_rows(len(valid))
    found: Arrays = {"rows": rows, "embeddings": valid[rows].astype(np.float32)}
    if task.valid.supervision == "labels" and len(rows) > 1:
        some = found["embeddings"]
        found["neighbours"] = nearest_neighbors(
            some, some, model.metric, min(NEIGHBOURS, len(rows) - 1), np.arange(len(rows))
        )[0].astype(np.int32)
    found |= _curve("valid", valid, task.valid, model)
    if test is not None:
        found |= _curve("test", test, task.test, model)
        found |= _sizes(found["embeddings"], rows, task, model)
    return found


def _curve(name: str, embeddings: np.ndarray, part: Dataset, model: Siamese) -> Arrays:
    """The ROC curve of some items of a part, in the metric's own orientation."""
    rows = shown_rows(len(embeddings))
    assert part.target is not None
    judge: Any = {"labels": evaluate_labels, "pairs": evaluate_pairs}.get(part.supervision)
    if judge is None:
        return {}
    try:
        curve: Curve | None = judge(
            embeddings[rows], np.asarray(part.target)[rows], model.metric, groups={"verification"}
        ).curve
    except DataError:  # no two of one class among those shown
        return {}
    if curve is None:
        return {}
    thin = curve.thinned(POINTS)
    sign = -1.0 if model.metric.orientation == "similarity" else 1.0
    return {
        f"{name}_far": thin.far.astype(np.float32),
        f"{name}_frr": thin.frr.astype(np.float32),
        f"{name}_threshold": (sign * thin.distances).astype(np.float32),
    }


def _sizes(embeddings: np.ndarray, rows: np.ndarray, task: PreparedData, model: Siamese) -> Arrays:
    """What is left of labelled embeddings that are made smaller, by what training items teach."""
    fits = MEASURES[task.objective].group in ("retrieval", "ranking", "verification")
    if task.valid.supervision != "labels" or not fits or model.metric.weights or embeddings.shape[1] < 2:
        return {}  # a metric with weights takes vectors of one length
    some = task.train.take(shown_rows(len(task.train)))
    assert task.valid.target is not None
    try:
        curve = size_curve(
            embeddings,
            np.asarray(task.valid.target)[rows],
            model.metric,
            measures=[task.objective],
            fit=model.embed(some.views[0], preprocessed=True),
        )
    except DataError:  # no two of one class among those shown
        return {}
    return {
        "size_how": np.array([each.how for each in curve]),
        "size_dim": np.array([each.dim for each in curve]),
        "size_bytes": np.array([each.bytes_per_vector for each in curve]),
        "size_worth": np.array([each.measures[task.objective] for each in curve]),
    }
