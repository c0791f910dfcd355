"""Scores of a trained model, of its epochs and the kept one; what a report shows of it. Needs Keras."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from keras import ops

from siamkit.data.dataset import Dataset
from siamkit.data.thumbnails import shown_rows
from siamkit.encoders.profiling import cost, ms_per_item
from siamkit.errors import DataError
from siamkit.evaluation import evaluate_labels
from siamkit.evaluation.geometry import degenerate, shape_measures
from siamkit.evaluation.measures import MEASURES, QUICK, Group, groups_of
from siamkit.evaluation.neighbors import nearest_neighbors
from siamkit.model.siamese import Siamese
from siamkit.stats.compression import size_curve
from siamkit.study.worker.baselines import evaluate_split
from siamkit.study.worker.prepared_data import PreparedData
from siamkit.study.worker.trainer import Arrays, Scores, TrialFailure

MAX_NEIGHBORS = 10  # of each item shown
CURVE_POINTS = 300


MAX_QUERIES = 2_000
"""The number of queries that judge an epoch where the split is large."""

LARGE = 4_000
"""The number of queries above which not all of them judge an epoch."""


def judge(
    model: Siamese,
    dataset: Dataset,
    groups: Iterable[Group] = QUICK,
    threshold: float | None = None,
    embeddings: np.ndarray | None = None,
) -> Scores:
    """Return the scores of a model on prepared data.

    Args:
        model: a model with its metric.
        dataset: prepared items with a target.
        groups: the groups of measures; `speed` embeds the first items several more times.
        threshold: decision threshold at which false accepts and rejects are counted; by default the best one
            of the dataset.
        embeddings: the model's embeddings of the items, if they are known.

    Raises:
        TrialFailure: an embedding has NaN or infinity.
    """
    embeddings = _embeddings(model, dataset) if embeddings is None else embeddings
    groups = frozenset(groups)
    evaluation = evaluate_split(
        embeddings, dataset.target, dataset.supervision, model.metric, groups, threshold
    )
    measures = evaluation.measures | _measures_of_model(model, dataset, embeddings, "speed" in groups)
    return Scores(measures, evaluation.queries, embeddings)


def _embeddings(model: Siamese, dataset: Dataset) -> np.ndarray:
    embeddings = model.embed_views(dataset.views, preprocessed=True)
    if not np.isfinite(embeddings).all():
        raise TrialFailure("nan", "the embeddings have NaN or infinity")
    return embeddings


def _measures_of_model(
    model: Siamese, dataset: Dataset, embeddings: np.ndarray, timed: bool
) -> dict[str, float]:
    costs = [cost(encoder) for encoder in model.encoders]
    measures = shape_measures(embeddings)
    measures["parameters"] = sum(item.parameters for item in costs) + model.metric.count_params()
    measures["flops"] = sum(item.flops for item in costs)
    if timed:
        measures["ms_per_item"] = sum(map(ms_per_item, model.encoders, dataset.views))
    return measures


class Judge:
    """The judge of a training: at little cost after each epoch, in full for the epoch that is kept.

    An epoch gets the measures that are computed with the first objective. If they are means over queries, and
    the split has more than 4,000, they are means over 2,000 random ones, the same in each epoch and each
    trial, which search the whole split. `standard_error` is that of the objective: with s the standard
    deviation of the scores of n of N queries, s/√n · √(1 - n/N). The scores of other queries are NaN.

    Args:
        dataset: prepared items with a target.
        measured: the names of the objectives, the first one first, and of measures with a constraint.
        in_full: whether each epoch gets all measures.
    """

    def __init__(self, dataset: Dataset, measured: Iterable[str], in_full: bool = False) -> None:
        names = tuple(measured)
        self._dataset, self._objective = dataset, names[0]
        self._all = QUICK | groups_of(names)
        self._groups = self._all if in_full else groups_of([self._objective])
        self._rows: np.ndarray | None = None  # the queries that judge an epoch; None for all
        if not in_full and dataset.supervision == "labels" and self._groups <= {"retrieval", "ranking"}:
            self._findable = np.flatnonzero(np.bincount(dataset.codes)[dataset.codes] > 1)
            if len(self._findable) > LARGE:
                some = np.random.default_rng(0).choice(self._findable, MAX_QUERIES, replace=False)
                self._rows = np.sort(some)
        self._time: dict[str, float] = {}  # of an item: it does not change with the weights

    def epoch(self, model: Siamese) -> Scores:
        """Return the scores of a model after an epoch.

        Raises:
            TrialFailure: an embedding has NaN or infinity.
        """
        scores = self._judged(model, self._groups) if self._rows is None else self._by_some(model, self._rows)
        if degenerate(scores.measures, scores.embeddings.shape[-1]) and not self._groups >= QUICK:
            # The rule for collapsed embeddings also asks what they separate.
            more = judge(model, self._dataset, QUICK, embeddings=scores.embeddings).measures
            scores.measures.update((name, more[name]) for name in ("roc_auc", "spearman") if name in more)
        return scores

    def kept(self, model: Siamese, embeddings: np.ndarray) -> Scores:
        """Return all scores of the model that is kept, from its embeddings."""
        return self._judged(model, self._all, embeddings)

    def _judged(
        self, model: Siamese, groups: frozenset[Group], embeddings: np.ndarray | None = None
    ) -> Scores:
        known = groups - ({"speed"} if self._time else set())
        scores = judge(model, self._dataset, known, embeddings=embeddings)
        if "speed" in groups:
            self._time = self._time or {"ms_per_item": scores.measures["ms_per_item"]}
            scores.measures.update(self._time)
        return scores

    def _by_some(self, model: Siamese, rows: np.ndarray) -> Scores:
        dataset, embeddings = self._dataset, _embeddings(model, self._dataset)
        assert dataset.target is not None
        found = evaluate_labels(embeddings, dataset.target, model.metric, groups=self._groups, rows=rows)
        values = found.queries[self._objective]
        unseen = 1 - len(rows) / len(self._findable)
        error = float(values.std(ddof=1)) / np.sqrt(len(rows)) * np.sqrt(unseen)
        measures = found.measures | _measures_of_model(model, dataset, embeddings, timed=False)
        queries = np.full(len(embeddings), np.nan)
        queries[rows] = values
        return Scores(measures | {"standard_error": float(error)}, {self._objective: queries}, embeddings)


# ------------------------------------------------------------------ for the report


class KeptEpoch:
    """The model after an epoch, in memory: its weights, its optimizer's state and its scores.

    Args:
        model: the model.
        scores: its scores after the epoch.
        source: the model to take the values from, if it is another one with the same variables.

    Attributes:
        scores: its scores; all of them once it is judged in full.
    """

    def __init__(self, model: Siamese, scores: Scores, source: Siamese | None = None) -> None:
        self.scores, self._model = scores, model
        # Copies: torch steps in place.
        variables = self._variables(model if source is None else source)
        self._values = [np.array(ops.convert_to_numpy(each.value)) for each in variables]

    def restore(self) -> None:
        """Give the model back what it had then."""
        for variable, value in zip(self._variables(self._model), self._values, strict=True):
            variable.assign(value)
        set_threshold(self._model, self.scores)

    def judged_by(self, judging: Judge) -> Scores:
        """Restore the model, and return all of its scores."""
        self.restore()
        self.scores = judging.kept(self._model, self.scores.embeddings)
        set_threshold(self._model, self.scores)
        return self.scores

    def save(self, path: Any) -> None:
        """Write the model as it was then to a file."""
        now, threshold = KeptEpoch(self._model, self.scores), self._model.threshold
        self.restore()
        self._model.save(path)
        now.restore()
        self._model.threshold = threshold

    @staticmethod
    def _variables(model: Siamese) -> list[Any]:
        return [*model.variables, *model.optimizer.variables]


def set_threshold(model: Siamese, scores: Scores) -> None:
    """Give a model the threshold that was found when it was judged, None if there is none."""
    threshold = scores.measures.get("threshold", math.nan)
    model.threshold = threshold if math.isfinite(threshold) else None


def report_data(
    model: Siamese, data: PreparedData, valid: np.ndarray, test: np.ndarray | None = None
) -> Arrays:
    """Return what a report shows of a model, for the items that `items.parquet` shows.

    Args:
        model: the trained model.
        data: the data of the study.
        valid: embeddings of the validation split, `(n, dim)` or for pairs `(n, 2, dim)`.
        test: embeddings of the test split, if it is scored; then smaller embeddings are also evaluated.

    Returns:
        `rows` (m,) of the validation split; their `embeddings`; for labels the `neighbours` (m, k) among the
        items shown, as indices into `rows`; `valid_far`, `valid_frr`, `valid_threshold` of the ROC curve, and
        the same of `test`; `size_how`, `size_dim`, `size_bytes`, `size_worth` (see
        `siamkit.stats.compression`). What is not defined for the data is left out.
    """
    rows = shown_rows(len(valid))
    arrays: Arrays = {"rows": rows, "embeddings": valid[rows].astype(np.float32)}
    if data.valid.supervision == "labels" and len(rows) > 1:
        embeddings = arrays["embeddings"]
        k = min(MAX_NEIGHBORS, len(rows) - 1)
        indices, _ = nearest_neighbors(embeddings, embeddings, model.metric, k, np.arange(len(rows)))
        arrays["neighbours"] = indices.astype(np.int32)
    arrays |= _curve("valid", valid, data.valid, model)
    if test is not None:
        arrays |= _curve("test", test, data.test, model)
        arrays |= _sizes(arrays["embeddings"], rows, data, model)
    return arrays


def _curve(name: str, embeddings: np.ndarray, dataset: Dataset, model: Siamese) -> Arrays:
    """Return the ROC curve of some items of a split, in the metric's own orientation."""
    supervision, metric = dataset.supervision, model.metric
    if supervision not in ("labels", "pairs"):
        return {}
    rows = shown_rows(len(embeddings))
    target = np.asarray(dataset.target)[rows]
    try:
        curve = evaluate_split(
            embeddings[rows], target, supervision, metric, frozenset({"verification"})
        ).curve
    except DataError:  # no class has two of the items shown
        return {}
    if curve is None:
        return {}
    thinned = curve.thinned(CURVE_POINTS)
    sign = -1.0 if metric.orientation == "similarity" else 1.0
    return {
        f"{name}_far": thinned.far.astype(np.float32),
        f"{name}_frr": thinned.frr.astype(np.float32),
        f"{name}_threshold": (sign * thinned.distances).astype(np.float32),
    }


def _sizes(embeddings: np.ndarray, rows: np.ndarray, data: PreparedData, model: Siamese) -> Arrays:
    """Return the quality of smaller versions of the embeddings of labeled items, fitted on training items."""
    objective = data.objective.name
    is_defined = MEASURES[objective].group in ("retrieval", "ranking", "verification")
    has_weights = bool(model.metric.weights)  # then the metric takes vectors of one length only
    if data.valid.supervision != "labels" or not is_defined or has_weights or embeddings.shape[1] < 2:
        return {}
    items = data.train.take(shown_rows(len(data.train)))
    assert data.valid.target is not None
    try:
        curve = size_curve(
            embeddings,
            np.asarray(data.valid.target)[rows],
            model.metric,
            measures=[objective],
            fit=model.embed(items.views[0], preprocessed=True),
        )
    except DataError:  # no class has two of the items shown
        return {}
    return {
        "size_how": np.array([size.how for size in curve]),
        "size_dim": np.array([size.dim for size in curve]),
        "size_bytes": np.array([size.bytes_per_vector for size in curve]),
        "size_worth": np.array([size.measures[objective] for size in curve]),
    }
