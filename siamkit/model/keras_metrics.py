"""Measures of embeddings as Keras metrics, for `compile(metrics=...)` and `EarlyStopping`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from siamkit.backend.beyond_keras import is_concrete, running_model
from siamkit.errors import ComponentError, ModelError, listed, nearest
from siamkit.evaluation import evaluate_labels, evaluate_pairs, evaluate_scores
from siamkit.evaluation.measures import MEASURES, groups_of
from siamkit.metrics.base import Metric, Tensor, get_metric

_NAMES = [name for name, measure in MEASURES.items() if measure.group not in ("cost", "speed")]
_EVALUATIONS: dict[str, Callable[..., Any]] = {
    "labels": evaluate_labels,
    "pairs": evaluate_pairs,
    "scores": evaluate_scores,
}


def metrics_for(*measures: str, metric: Any = None, max_items: int = 10_000) -> list[keras.metrics.Metric]:
    """Return measures of embeddings as Keras metrics, for `compile(metrics=...)` of any Keras model.

    The values at the end of an epoch, or of `evaluate`, are those of `siamkit.evaluate` for the embeddings
    and targets since its start; those of validation data have `val_` before their names, as in
    `EarlyStopping("val_map_at_r")`. Between the ends of epochs the values are NaN, because a measure needs
    all items. In training, the weights change from batch to batch.

    Args:
        *measures: names of measures, by default `map_at_r` and `recall_at_1`. Labels have all measures of
            retrieval, ranking, verification, clustering, neighbors and geometry; pairs have `roc_auc`, `eer`,
            `tar_at_far_…`; graded pairs have `spearman` and `pearson`.
        metric: the metric to compare through, a name or an object; leave it out for `Siamese.compile`, which
            sets the model's own.
        max_items: number of items that each measure keeps in memory; of more items, the last ones count, and
            a warning says so. The time grows with its square.

    Raises:
        ComponentError: an unknown measure.

    Example:
        >>> import keras, numpy as np, siamkit
        >>> model = siamkit.build("mlp", "cosine", "triplet", embedding_dim=4, input_shape=(3,))
        >>> model.compile("adam", "triplet", metrics=siamkit.metrics_for("map_at_r", "roc_auc"))
        >>> x, y = np.random.default_rng(0).normal(size=(16, 3)), np.arange(16) % 4
        >>> stop = keras.callbacks.EarlyStopping("val_map_at_r", patience=3)
        >>> history = model.fit(x, y, validation_data=(x, y), callbacks=[stop], verbose=0).history
        >>> sorted(history)
        ['loss', 'map_at_r', 'roc_auc', 'val_loss', 'val_map_at_r', 'val_roc_auc']
    """
    names = measures or ("map_at_r", "recall_at_1")
    return [EmbeddingMeasure(name, metric, max_items) for name in names]


@keras.saving.register_keras_serializable("siamkit")
class EmbeddingMeasure(keras.metrics.Metric):
    """A Keras metric that keeps embeddings and targets, and computes a measure when its result is needed.

    The variables have a fixed size, so that a step compiles once. Inside a step, which may be compiled, the
    result is NaN: Keras asks again at the end of the epoch, outside.

    Args:
        measure: the measure's name, by default also the metric's.
        metric, max_items: as for `metrics_for`.
        name: the metric's name, as in Keras.
    """

    def __init__(
        self, measure: str, metric: Any = None, max_items: int = 10_000, name: str | None = None
    ) -> None:
        super().__init__(name=name or measure, dtype="float32")
        if measure not in _NAMES:
            raise ComponentError(f"unknown measure {measure!r}; {nearest(measure, _NAMES)}")
        if not isinstance(max_items, int) or max_items < 2:
            raise ComponentError(f"max_items should be an integer of at least 2, got {max_items!r}")
        self.measure = measure
        self.metric: Metric | None = None if metric is None else get_metric(metric)
        self.max_items = max_items
        if direction := MEASURES[measure].direction:
            self._direction = "up" if direction == "maximize" else "down"  # what EarlyStopping looks for
        self._of_model = False
        self._supervision = ""
        self._warned = False
        self.seen: Any = None

    def bind(self, metric: Metric) -> None:
        """Compare through a model's metric, unless one was given."""
        if self.metric is None or self._of_model:
            self.metric, self._of_model = metric, True

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        if sample_weight is not None:
            raise ModelError(
                f"{self._title} takes no sample weight; give it as metrics=, not weighted_metrics="
            )
        if self.metric is None:
            raise ModelError(
                f"{self._title} has no metric to compare through; write "
                f"siamkit.metrics_for({self.measure!r}, metric='cosine')"
            )
        embeddings = ops.cast(ops.convert_to_tensor(y_pred), "float32")
        target = ops.convert_to_tensor(y_true)
        if len(target.shape) == 2 and target.shape[1] == 1:
            target = ops.squeeze(target, axis=1)
        if self.seen is None:
            self._build(target, embeddings)
        self._check(target, embeddings)
        wide = keras.backend.standardize_dtype(target.dtype) in ("int64", "uint64", "uint32")
        if self._supervision == "labels" and wide and is_concrete(target):
            ids = np.asarray(ops.convert_to_numpy(target))
            if ids.size and (ids.max() >= 2**31 or ids.min() < -(2**31)):
                raise ModelError(
                    f"{self._title} takes class ids of 32 bits, got ids from {ids.min()} to {ids.max()}; "
                    "number the classes first: np.unique(labels, return_inverse=True)[1]"
                )
        # The last ones of a batch that alone exceeds the memory; the oldest make room.
        embeddings, kept = embeddings[-self.max_items :], target[-self.max_items :]
        count = ops.shape(kept)[0]
        skipped = ops.shape(target)[0] - count
        index = (self.seen + skipped + ops.arange(count, dtype="int32")) % self.max_items
        index = ops.expand_dims(index, 1)
        self.embeddings.assign(ops.scatter_update(self.embeddings, index, embeddings))
        self.targets.assign(ops.scatter_update(self.targets, index, ops.cast(kept, self.targets.dtype)))
        self.seen.assign(self.seen + skipped + count)

    def result(self) -> Any:
        if self.seen is None or running_model("train_step", "test_step", "compute_metrics") is not None:
            return ops.convert_to_tensor(math.nan, "float32")
        seen = int(ops.convert_to_numpy(self.seen.value))
        kept = min(seen, self.max_items)
        embeddings, targets = (ops.convert_to_numpy(v.value)[:kept] for v in (self.embeddings, self.targets))
        if not kept or not np.isfinite(embeddings).all():  # an epoch without a step; a training that diverged
            return math.nan
        if seen > kept and not self._warned:
            self._warned = True
            warnings.warn(
                f"{self._title} is of the last {kept} of {seen} items; "
                f"write siamkit.metrics_for({self.measure!r}, max_items={seen}) for all",
                stacklevel=2,
            )
        assert self.metric is not None
        evaluate = _EVALUATIONS[self._supervision]
        measures = evaluate(embeddings, targets, self.metric, groups=groups_of([self.measure])).measures
        return float(measures.get(self.measure, math.nan))

    def reset_state(self) -> None:
        if self.seen is not None:
            self.seen.assign(ops.zeros((), "int32"))  # what it does not count is overwritten

    def get_config(self) -> dict[str, Any]:
        own = None if self._of_model else self.metric
        return {
            "name": self.name,
            "measure": self.measure,
            "metric": None if own is None else keras.saving.serialize_keras_object(own),
            "max_items": self.max_items,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> EmbeddingMeasure:
        return cls(**{**config, "metric": keras.saving.deserialize_keras_object(config["metric"])})

    @property
    def _title(self) -> str:
        return f"the measure {self.measure!r}"

    def _build(self, target: Tensor, embeddings: Tensor) -> None:
        graded = MEASURES[self.measure].group == "graded"
        rank = len(embeddings.shape)
        self._supervision = "labels" if rank == 2 else "scores" if graded else "pairs"
        if rank not in (2, 3) or (rank == 3 and embeddings.shape[1] != 2):
            raise ModelError(
                "measures are of labelled items, with embeddings (batch, dim), or of pairs, (batch, 2, dim), "
                f"got {tuple(embeddings.shape)}"
            )
        fitting = [name for name in _NAMES if self._supervision in MEASURES[name].supervisions]
        if self.measure not in fitting:
            raise ModelError(
                f"{self._title} is not one of {self._supervision}; choose from {listed(fitting)}"
            )
        shape = (self.max_items, *embeddings.shape[1:])
        dtype = "int32" if self._supervision == "labels" else "float32"
        self.embeddings = self.add_variable(shape, "zeros", dtype="float32", name="embeddings")
        self.targets = self.add_variable((self.max_items,), "zeros", dtype=dtype, name="targets")
        self.seen = self.add_variable((), "zeros", dtype="int32", name="seen")

    def _check(self, target: Tensor, embeddings: Tensor) -> None:
        dtype = keras.backend.standardize_dtype(target.dtype)
        if self._supervision == "labels" and "int" not in dtype:
            raise ModelError(
                f"{self._title} compares class ids, which are whole numbers, got labels of type {dtype}; "
                "number the classes, for example by np.unique(labels, return_inverse=True)[1]"
            )


def bind_metrics(metric: Metric, *given: Any) -> None:
    """Give measures the model's metric; refuse Keras's own metrics, which do not compare embeddings.

    Raises:
        ModelError: a metric of Keras, by name or as an object.
    """
    for each in tree.flatten(given):
        if isinstance(each, EmbeddingMeasure):
            each.bind(metric)
        elif isinstance(each, str) or _maker(each).__module__.startswith("keras."):
            name = each if isinstance(each, str) else _maker(each).__name__
            raise ModelError(
                f"the metric {name!r} compares class scores with classes, and this model gives embeddings; "
                "write metrics=siamkit.metrics_for('map_at_r', 'recall_at_1') for labels, "
                "siamkit.metrics_for('roc_auc', 'eer') for pairs"
            )


def _maker(metric: Any) -> Any:
    """Return the function itself, or the class of an object."""
    return metric if hasattr(metric, "__name__") else type(metric)
