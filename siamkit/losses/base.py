"""The base of all losses, which casts, compares through the bound metric and reduces; and losses by name."""

from __future__ import annotations

import inspect
import math
import re
import warnings
import weakref
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from siamkit.backend.beyond_keras import is_concrete, run_recorded, running_argument, running_model
from siamkit.backend.select import float32_scope
from siamkit.errors import ComponentError, DataError, ModelError
from siamkit.io.targets import PairTarget, TargetRule
from siamkit.metrics.base import Metric, Tensor, get_metric
from siamkit.registry.compatibility import check_metric
from siamkit.registry.lookup import get_component
from siamkit.registry.registry import family, spec_of

_WIDE = ("int64", "uint64", "uint32", "float16", "bfloat16", "float32", "float64")


class Loss(keras.losses.Loss):
    """A loss on `(y_true, embeddings)` that compares embeddings through a metric.

    The embeddings are `(batch, dim)` if the supervision is labels and `(batch, views, dim)` otherwise;
    `y_true` is class ids, 1/0, graded similarities, or None (see the table of shapes in the docs).
    Everything is computed in full float32.

    A subclass implements `call` and lists its parameters in `params`. A scalar is the loss itself: such a
    loss compares the items of a batch with one another and refuses a sample weight. Values `(batch,)` are
    averaged, by sample weight if there is one.

    The metric is bound by `siamkit.get_loss(..., metric=...)` or `Siamese.compile`; it is not part of the
    config. A loss with weights makes a Keras layer `state` in its constructor; `Siamese.compile` puts it
    into the model, so that it is trained and saved. A plain Keras model does not train it, and a
    warning says so.

    Args:
        name: the loss's name, as in `keras.losses.Loss`.
        reduction, dtype: accepted because Keras passes them; only their defaults are valid.
    """

    params: ClassVar[tuple[str, ...]] = ()
    """The names of the constructor's arguments, which are also attributes: `get_config` returns them."""

    numbers: ClassVar[tuple[str, ...]] = ()
    """Those of `params` that `call` uses in arithmetic with tensors only: a compiled step of a model takes
    them when it runs, so models that differ in them share it."""

    uses_metric: bool = True
    """Whether the loss compares through the metric."""

    batch_coupled: bool = False
    """Whether the loss compares the pairs, scores or triplets of a batch with one another."""

    stateful: bool = False
    """Whether the loss stores the embeddings and labels of earlier batches."""

    num_classes: int | None = None
    """The number of classes: ids are below it, and each class has weights in `state`."""

    pair_target: PairTarget = "scores"
    """The target of a pair that the loss takes."""

    scores_like_metric: bool = False
    """Whether scores must be in the range of the metric's values."""

    state: keras.layers.Layer | None = None
    """The layer with the loss's weights."""

    wrapped: tuple[Loss, ...] = ()
    """The losses that this loss wraps."""

    _ownership_checked: bool = False
    _size: int | None = None
    _metric: Metric | None = None
    _model: weakref.ref[Any] | None = None

    def __init__(
        self, name: str | None = None, reduction: str = "sum_over_batch_size", dtype: Any = None
    ) -> None:
        if reduction != "sum_over_batch_size":
            raise ComponentError(
                f"{type(self).__name__} always reduces to a scalar, so reduction={reduction!r} "
                "has no meaning; leave it out"
            )
        super().__init__(name=name or _snake_case(type(self).__name__), dtype="float32")

    # --------------------------------------------------------------- the metric

    @property
    def metric(self) -> Metric:
        """The metric that the loss compares through.

        Raises:
            ModelError: the loss is not bound to a metric.
        """
        if self._metric is None:
            raise ModelError(
                f"the loss {self.name!r} has no metric to compare through; create it by "
                "get_loss(..., metric=...) or compile it into a Siamese model"
            )
        return self._metric

    def bound_model(self) -> Any:
        """Return the model that the loss is compiled into; None if there is none."""
        # Not a property: Keras saves and loads the models that it finds as attributes of a loss.
        return None if self._model is None else self._model()

    def bind(self, metric: Metric, model: Any = None) -> None:
        """Bind the loss, and the losses that it wraps, to a metric.

        Args:
            metric: the metric to compare through.
            model: the model that owns the metric, and from now on also the loss's state.

        Raises:
            ModelError: the loss is compiled into another model, or is bound to another metric.
            ComponentError: the loss cannot compare through the metric.
        """
        losses = family(self)
        for loss in losses:
            if loss.bound_model() not in (None, model):
                raise ModelError(
                    f"the loss {loss.name!r} is already compiled into another model; create a new instance"
                )
            was_compiled = loss._model is not None
            if model is not None and not was_compiled and not _interchangeable(loss._metric, metric):
                raise ModelError(
                    f"the loss {loss.name!r} has a metric of its own; create it without metric=, "
                    "since it compares through the model's metric"
                )
        check_metric(self, metric)
        for loss in losses:
            loss._metric = metric
            if model is not None:
                loss._model = weakref.ref(model)

    def build_metric(self, dim: int) -> None:
        """Create the metric's weights for embeddings of this size, if it has none yet."""
        if self._metric is not None and not self._metric.built:
            self._metric(keras.KerasTensor((1, dim)), keras.KerasTensor((1, dim)))

    # Two forms in which a loss compares: paired, row by row, and pairwise, all with all.

    def paired_distances(self, a: Tensor, b: Tensor) -> Tensor:
        """Return distances row by row, `(n, dim)`, `(n, dim)` -> `(n,)`, whatever the orientation."""
        return self.metric.as_distance(self.metric(a, b))

    def pairwise_distances(self, a: Tensor, b: Tensor) -> Tensor:
        """Return distances of all pairs, `(n, dim)`, `(m, dim)` -> `(n, m)`, whatever the orientation."""
        return self.metric.as_distance(self.metric.matrix(a, b))

    def paired_similarities(self, a: Tensor, b: Tensor) -> Tensor:
        """Return similarities row by row, `(n,)`: those of the metric, or minus its distances."""
        return -self.metric.sign * self.metric(a, b)

    def pairwise_similarities(self, a: Tensor, b: Tensor) -> Tensor:
        """Return similarities of all pairs, `(n, m)`: those of the metric, or minus its distances."""
        return -self.metric.sign * self.metric.matrix(a, b)

    # --------------------------------------------------------------- computing

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None, training: bool = True) -> Tensor:
        """Return the loss, a scalar.

        Args:
            y_true: the target of the supervision, `(batch,)` or `(batch, 1)`; None if there is none.
            y_pred: the embeddings.
            sample_weight: weights `(batch,)`, only for losses that do not compare the items of a batch with
                one another.
            training: whether to update state that depends on past batches (a memory, a histogram).
        """
        y_pred = ops.convert_to_tensor(y_pred)
        return self.of_checked(self._checked(y_true, y_pred), y_pred, sample_weight, training)

    def of_checked(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """Return the loss of a target that was checked on the host; arguments as for a call."""
        embeddings = y_pred if ops.is_tensor(y_pred) else ops.convert_to_tensor(y_pred)
        embeddings = _cast(embeddings, "float32")
        target = self._as_target(y_true, embeddings)
        variables = self._known_variables() if sample_weight is None else None
        if variables is None:
            values = self._in_scopes(target, embeddings, training)
        else:
            values = self._mean(target, embeddings, training, variables)
        if len(embeddings.shape) == 2 and ops.is_tensor(y_true) and not is_concrete(y_true):
            values = _nan_if_rounded(values, y_true)
        if len(values.shape) == 0:
            if sample_weight is not None:
                raise ModelError(
                    f"the loss {self.name!r} compares the items of a batch with one another, so a "
                    "sample weight has no meaning; leave it out"
                )
            return values
        if sample_weight is None:
            return ops.mean(values)
        weight = ops.reshape(ops.cast(ops.convert_to_tensor(sample_weight), "float32"), (-1,))
        return masked_mean(values, weight)

    def _in_scopes(self, y_true: Tensor | None, y_pred: Tensor, training: bool) -> Tensor:
        """Return the result of `apply`, computed in full float32."""
        with keras.name_scope(self.name), float32_scope():
            values = self.apply(y_true, y_pred, training)
        if not self._ownership_checked:
            self._check_ownership()
        return values

    def _check_ownership(self) -> None:
        """Warn once if a Keras model trains with this loss, but does not own the loss's weights."""
        weights = [] if self.state is None else list(self.state.variables)
        weights += [] if self._metric is None else list(self._metric.variables)
        model = running_model("train_step") if weights else None
        self._ownership_checked = not weights or model is not None
        if model is None:
            return
        owned = {id(weight) for weight in model.variables}
        if any(id(weight) not in owned for weight in weights):
            part = "the metric of " if self.state is None else ""
            warnings.warn(
                f"{part}the loss {self.name!r} has weights of its own, which the model {model.name!r} "
                "neither trains nor saves; compile the loss into siamkit.Siamese(encoder, metric)",
                stacklevel=2,
            )

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return a scalar, or values `(batch,)`; a loss that updates its state also takes `training=True`.

        Args:
            y_true: the target `(batch,)`, int32 class ids or float32 numbers; None if there is none.
            y_pred: the embeddings, float32.
        """
        raise NotImplementedError

    def size_of(self, y_true: Tensor | None) -> int | None:
        """Return the number in a target that decides shapes, so that each has its recording; None without."""
        return None

    def apply(self, y_true: Tensor | None, y_pred: Tensor, training: bool) -> Tensor:
        """Return the result of `call`, which gets `training` if it takes that argument."""
        cls: Any = type(self)
        options = {"training": training} if _takes_training(cls) else {}
        return self.call(y_true, y_pred, **options)

    def _mean(
        self, y_true: Tensor | None, y_pred: Tensor, training: bool, variables: Sequence[Any]
    ) -> Tensor:
        """Return the mean of the result of `apply`; torch may record it."""
        size = self.size_of(y_true) if len(y_pred.shape) == 2 else None

        def mean(y_pred: Tensor, y_true: Tensor | None = None) -> Tensor:
            self._size = size
            try:
                values = self._in_scopes(y_true, y_pred, training)
            finally:
                self._size = None  # of this batch; a loss around this one calls it with another
            return ops.mean(values) if len(values.shape) else values

        depends_on = (
            training,
            size,
            self._metric,
            *(repr(getattr(loss, param)) for loss in family(self) for param in loss.params),
        )
        inputs = [y_pred] if y_true is None else [y_pred, y_true]
        return run_recorded(self, depends_on, mean, inputs, variables)

    def _known_variables(self) -> list[Any] | None:
        """Return the variables that a built-in loss uses; None if a call may have other effects."""
        layers = [layer for layer in (self.state, self._metric) if layer is not None]
        known = all(type(part).__module__.startswith("siamkit.") for part in (*family(self), *layers))
        if not known or not all(layer.built for layer in layers):
            return None
        return [variable for layer in layers for variable in layer.variables]

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **{param: getattr(self, param) for param in self.params}}

    # --------------------------------------------------------------- the target

    @property
    def target_rule(self) -> TargetRule:
        """The rule by which a target on the host becomes one that the loss can use."""
        losses = family(self)
        kinds = {loss.pair_target for loss in losses if not loss.wrapped}
        low, high = -math.inf, math.inf
        if any(loss.scores_like_metric for loss in losses) and self._metric is not None:
            spec = spec_of("metric", self._metric)
            low, high = (low, high) if spec is None else spec.range
        return TargetRule(
            self.name,
            next((loss.num_classes for loss in losses if loss.num_classes), None),
            any(loss.stateful for loss in losses),
            next(kind for kind in ("binary", "probability", "scores", "none") if kind in kinds),
            low,
            high,
        )

    def _checked(self, y_true: Any, y_pred: Tensor) -> Any:
        """Return the target after a check on the host, where its values are known."""
        if len(y_pred.shape) not in (2, 3):
            raise ModelError(
                f"the loss {self.name!r} takes embeddings (batch, dim) or (batch, views, dim), "
                f"got shape {tuple(y_pred.shape)}"
            )
        views = 1 if len(y_pred.shape) == 2 else y_pred.shape[1]
        if y_true is None or not is_concrete(y_true):
            if y_true is not None and views == 1:
                self._check_narrowed(y_true)
            return y_true
        if views == 1 and ops.is_tensor(y_true) and not _may_round(y_true):
            return y_true  # an id without proxy makes the loss NaN; waiting for the device would cost time
        return self.target_rule.prepare(y_true, views, renumber=True)

    def _check_narrowed(self, y_true: Any) -> None:
        """Refuse labels whose classes merge in the type that a plain Keras model gives them on the device."""
        labels = running_argument("y", "fit", "evaluate", "train_on_batch", "test_on_batch")
        dtype = np.dtype(keras.backend.standardize_dtype(y_true.dtype))
        if not isinstance(labels, np.ndarray) or labels.dtype.itemsize <= dtype.itemsize:
            return
        with np.errstate(over="ignore", invalid="ignore"):
            before, after = len(np.unique(labels)), len(np.unique(labels.astype(dtype)))
        if after < before:
            raise DataError(
                f"Keras gives the loss {self.name!r} the labels as {dtype}, in which {before} classes become "
                f"{after}; number the classes first: np.unique(labels, return_inverse=True)[1]"
            )

    def _as_target(self, y_true: Any, y_pred: Tensor) -> Tensor | None:
        """Return a target as a tensor `(batch,)`: int32 class ids, or float32 numbers."""
        if y_true is None:
            return None
        tensor = ops.convert_to_tensor(y_true)
        if len(tensor.shape) == 2 and tensor.shape[1] == 1:
            tensor = ops.squeeze(tensor, axis=1)
        counts = tensor.shape[:1] + y_pred.shape[:1]
        if len(counts) == 2 and None not in counts and counts[0] != counts[1]:
            raise ModelError(f"the loss {self.name!r} got {counts[0]} targets for {counts[1]} embeddings")
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        renumber = len(y_pred.shape) == 2 and dtype in _WIDE
        if renumber and not (self.target_rule.stateful or self.target_rule.num_classes):
            # The number of the first item with the same label: 32 bits would not hold the label itself.
            return ops.cast(ops.argmax(tensor[:, None] == tensor[None, :], axis=1), "int32")
        return _cast(tensor, "float32" if dtype.startswith(("float", "bfloat")) else "int32", dtype)


def _cast(tensor: Tensor, dtype: str, own: str | None = None) -> Tensor:
    """Return a tensor in a type; itself if it has that, since even then Keras's cast takes time."""
    own = keras.backend.standardize_dtype(tensor.dtype) if own is None else own
    return tensor if own == dtype else ops.cast(tensor, dtype)


def _nan_if_rounded(values: Tensor, labels: Tensor) -> Tensor:
    """Return the values, or NaN if labels that became float32 in a plain Keras model may have merged."""
    if not keras.backend.standardize_dtype(labels.dtype).startswith("float"):
        return values
    exact = ops.all(ops.abs(ops.cast(labels, "float32")) <= 2.0**24)
    return ops.where(exact, values, math.nan)


def _may_round(labels: Tensor) -> bool:
    """Return whether labels have a type that int32 cannot hold."""
    return keras.backend.standardize_dtype(labels.dtype) in _WIDE


def masked_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Return Σ weight · values / Σ weight, and 0 with zero gradient if all weights are 0.

    Args:
        values: numbers of any shape.
        weight: weights of the same shape: a mask, or numbers of at least 0.
    """
    weight = ops.cast(weight, "float32")
    # Values under weight 0 may be infinite; 0 · ∞ would spoil both the sum and its gradient.
    kept = ops.where(weight > 0, values, 0.0)
    return mean_of_sums(kept * weight, weight)


def mean_of_sums(sums: Tensor, weights: Tensor) -> Tensor:
    """Return Σ sums / Σ weights, and 0 if all weights are 0: a mean from the sums of its parts."""
    total = ops.sum(weights)
    return ops.sum(sums) / ops.where(total > 0, total, 1.0)


def _interchangeable(own: Metric | None, metric: Metric) -> bool:
    """Return whether a loss bound to one metric computes the same values through another."""
    if own is None or own is metric:
        return True
    same = type(own) is type(metric) and not metric.weights
    return same and {**own.get_config(), "name": ""} == {**metric.get_config(), "name": ""}


@cache
def _takes_training(cls: Any) -> bool:
    return "training" in inspect.signature(cls.call).parameters


def _snake_case(name: str) -> str:
    """Return MultiSimilarity as multi_similarity; Keras would append the instance's number."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def get_loss(loss: Any, /, *, metric: Any = None, **params: Any) -> Loss:
    """Return a loss by name, or the given loss itself.

    Args:
        loss: a name, a mapping `{name: parameters}`, or a `keras.losses.Loss` (returned unchanged).
        metric: the metric to compare through, a name or an object; leave it out for `Siamese.compile`,
            which binds the loss to the model's metric.
        **params: the loss's parameters, and the facts about the data that it needs (`num_classes`, for
            example).

    Raises:
        ComponentError: no such loss or parameter, a value that is not valid, or a metric that does not fit.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("multi_similarity", metric="cosine", alpha=2.0)
        >>> tuple(loss(np.array([0, 0, 1]), np.eye(3)).shape)
        ()
    """
    component: Loss = get_component("loss", loss, params, keras.losses.Loss)
    if metric is not None:
        if not isinstance(component, Loss):
            raise ComponentError(
                f"the loss {component!r:.80} is not a siamkit.Loss and compares by itself; leave out metric="
            )
        component.bind(get_metric(metric))
    return component
