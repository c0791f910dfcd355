"""The component under test: how it is made, and its input data."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import keras
import numpy as np

from siamkit.errors import ComponentError
from siamkit.losses.base import Loss
from siamkit.metrics.base import Metric, get_metric
from siamkit.registry.catalog import Registered
from siamkit.registry.compatibility import metric_misfit
from siamkit.registry.lookup import create, resolve_spec
from siamkit.registry.registry import components
from siamkit.registry.specs import Bool, Choice, Kind, Supervision
from siamkit.testing._numbers import CannotCheck, while_doing

DIM = 8
CLASSES = 8
LABELS = np.array([0, 0, 0, 1, 1, 1, 2, 2], dtype="int32")
BATCH = len(LABELS)
VOCABULARY = 12

COLUMNS: Mapping[str, Any] = {
    "numeric": ["height", "width", "price"],
    "categorical": {"colour": 5, "maker": 7},
}
SHAPES: Mapping[str, Any] = {
    "vector": (10,),
    "image": (16, 16, 3),
    "tokens": (10,),
    "text": (10,),  # raw text reaches an encoder as token ids
    "series": (16, 3),
    "tabular": {"numeric": (3,), "missing": (3,), "categorical": (2,)},
}
"""The shape of one item of each kind of input."""

KNOWN: Mapping[str, Any] = {
    "num_classes": CLASSES,
    "vocabulary_size": VOCABULARY,
    "max_length": SHAPES["tokens"][0],
    "columns": COLUMNS,
    "training_items": None,  # a batch of the kind of input
    "training_labels": LABELS,
}
"""The facts about the data that the kit can give a component."""

EVERYDAY = ("cosine", "euclidean", "dot")  # tried in this order as the metric of a loss

VIEWS = {"labels": 1, "pairs": 2, "scores": 2, "triplets": 3, "views": 2}


@dataclass(frozen=True, eq=False)
class Subject:
    """A component under test, with the options of the test.

    Args:
        entry: the component's spec and origin.
        params: fixed parameters.
        needs: values of the component's needs that the kit cannot generate; for an encoder also
            `input_shape`.
        metric: metric that a loss compares through; by default the kit selects one that fits.
        items: for an encoder, a function `(n, rng)` that makes n items.
        plugins: modules that a fresh process must load to register the component.
        supervision: for a loss, the supervision that it learns from.
    """

    entry: Registered[Any]
    params: Mapping[str, Any] = field(default_factory=dict)
    needs: Mapping[str, Any] = field(default_factory=dict)
    metric: Any = None
    items: Callable[[int, np.random.Generator], Any] | None = None
    plugins: tuple[str, ...] = ()
    supervision: Supervision = "labels"
    spec: Any = field(init=False)

    def __post_init__(self) -> None:
        with self.known():
            # With what the components inside it need and learn from.
            object.__setattr__(
                self, "spec", resolve_spec(self.kind, {self.entry.qualified: dict(self.params)})
            )
        unknown = [each for each in self.spec.needs if each not in {**KNOWN, **self.needs}]
        if unknown:
            raise ComponentError(
                f"{self} needs {' and '.join(unknown)}, which the kit cannot make up; "
                f"give needs={{{unknown[0]!r}: ...}}"
            )
        if self.kind == "encoder" and not self.inputs:
            raise ComponentError(
                f"{self} takes {' or '.join(self.spec.inputs)}, which the kit cannot make up; give "
                "items=, a function (n, rng) that makes n items, and needs={'input_shape': ...}"
            )

    def __str__(self) -> str:
        return f"the {self.kind} {self.spec.name!r}" + (
            f" over {self.supervision}" if self.kind == "loss" else ""
        )

    @property
    def kind(self) -> Kind:
        kind: Kind = self.entry.spec.kind
        return kind

    @contextmanager
    def known(self) -> Iterator[None]:
        """Include the component in the registry inside a `with` block: it may not be registered."""
        with components().catalog(self.kind).holding(self.entry):
            yield

    # ------------------------------------------------------------------ making

    def make(self, kind_of_input: str | None = None, **more: Any) -> Any:
        """Return a new component with its needs; `more` are parameters in addition to the fixed ones."""
        facts = {need: {**KNOWN, **self.needs}[need] for need in self.spec.needs}
        if self.kind == "encoder":
            shape: Any = self.needs.get("input_shape") or SHAPES.get(kind_of_input or self.inputs[0])
            if facts.get("columns") is COLUMNS and not isinstance(shape, Mapping):
                facts["columns"] = {"numeric": [str(i) for i in range(shape[0])], "categorical": {}}
            if "training_items" in facts and facts["training_items"] is None:
                facts["training_items"] = self.sample(kind_of_input or self.inputs[0])
            facts = {"input_shape": shape, "embedding_dim": DIM, "normalize": True, **facts}
        if self.kind == "dataset":
            factory = self.entry.factory()
            for name, each in inspect.signature(factory).parameters.items():
                required = each.default is each.empty and each.kind is not each.VAR_KEYWORD
                if required and name not in self.params:
                    raise CannotCheck(
                        f"{self} reads what the kit cannot make up; give params={{{name!r}: ...}}"
                    )
            return factory(**self.params)
        accepted: type = {"encoder": keras.Model, "metric": Metric, "loss": keras.losses.Loss}[self.kind]
        return create(self.kind, self.entry.qualified, {**facts, **self.params, **more}, accepted)

    def ready(self, seed: int = 0, **more: Any) -> Any:
        """Return a new component, seeded, with its weights built and, for a loss, bound to a metric."""
        keras.utils.set_random_seed(seed)
        made = self.make(**more)
        with while_doing(f"building {self}"):
            self._build(made)
        return made

    def _build(self, made: Any) -> None:
        symbolic = keras.KerasTensor((BATCH, DIM))
        if self.kind == "metric" and not made.built:
            made(symbolic, symbolic)
        if isinstance(made, Loss):
            made.bind(self.bound_metric())
            made.metric(symbolic, symbolic)
            if made.state is not None and not made.state.built:
                made.state(keras.KerasTensor((1, DIM)))

    def bound_metric(self) -> Metric:
        """Return the metric that a loss compares through: the given metric, or a common one that fits."""
        if self.metric is not None:
            return get_metric(self.metric)
        catalog = components().metrics
        for name in (*EVERYDAY, *catalog):
            fits = metric_misfit(self.spec, catalog[name].spec) is None
            # Unit vectors say more through their angle, others through their distance.
            wanted = self.spec.normalized or name != "cosine" or self.spec.orientation == "similarity"
            if fits and wanted and not catalog[name].spec.needs:
                return get_metric(name)
        raise ComponentError(f"{self} fits no metric that is installed; give metric=")

    def variants(self) -> list[dict[str, Any]]:
        """Return its parameters, one at a time, at each end of their range and at each option."""
        ends: list[dict[str, Any]] = []
        for name, param in self.spec.params.items():
            if name not in self.params:
                ends += [{name: value} for value in _ends(param) if value != param.default]
        return ends

    @cached_property
    def smallest(self) -> dict[str, Any]:
        """Return its numeric parameters at the low end of their range, which run fastest."""
        return {
            name: param.low
            for name, param in self.spec.params.items()
            if name not in self.params and getattr(param, "low", None) is not None
        }

    # ----------------------------------------------------------------- feeding

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the kinds of input that the kit can make for an encoder."""
        if self.items is not None:
            return ("",)
        return tuple(each for each in self.spec.inputs if each in SHAPES)

    def sample(self, kind: str, seed: int = 0, n: int = BATCH) -> Any:
        """Return `n` items of one kind of input."""
        rng = np.random.default_rng(seed)
        if self.items is not None:
            return self.items(n, rng)
        shape = self.needs.get("input_shape") or SHAPES[kind]
        if kind == "tabular":
            return _rows_of_a_table(n, rng)
        if kind not in ("tokens", "text"):
            return rng.normal(size=(n, *shape)).astype("float32")
        tokens = rng.integers(1, {**KNOWN, **self.needs}["vocabulary_size"], size=(n, *shape))
        tokens[: n // 2, -3:] = 0  # padding
        return tokens.astype("int32")

    def batch(self, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return a target and embeddings for a loss."""
        shape = (BATCH, DIM) if self.supervision == "labels" else (BATCH, VIEWS[self.supervision], DIM)
        return target(self.supervision, seed), points(shape, seed, unit=self.spec.normalized)


def target(supervision: str, seed: int = 0) -> np.ndarray:
    """Return a target as a feed gives it as `y`."""
    if supervision == "labels":
        return LABELS
    if supervision == "pairs":
        return np.arange(BATCH, dtype="int32") % 2
    if supervision == "scores":
        return np.random.default_rng(seed).permutation(np.linspace(0, 1, BATCH)).astype("float32")
    return np.zeros(BATCH, dtype="float32")


def points(shape: tuple[int, ...], seed: int = 0, unit: bool = False) -> np.ndarray:
    """Return random vectors of length 1, or of lengths from 0.4 to 0.9: inside every metric's domain."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    return (x if unit else x * rng.uniform(0.4, 0.9, size=(*shape[:-1], 1))).astype("float32")


def _rows_of_a_table(n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return columns in the form that a table's preprocessor returns."""
    missing = rng.random(size=(n, len(COLUMNS["numeric"]))) < 0.2
    codes = [rng.integers(0, count, size=n) for count in COLUMNS["categorical"].values()]
    return {
        "numeric": np.where(missing, 0, rng.normal(size=missing.shape)).astype("float32"),
        "missing": missing.astype("float32"),
        "categorical": np.stack(codes, axis=1).astype("int32"),
    }


def _ends(param: Any) -> list[Any]:
    if isinstance(param, Bool):
        return [True, False]
    if isinstance(param, Choice):
        return list(param.options)
    low, high = getattr(param, "low", None), getattr(param, "high", None)
    return [end for end in (low, high) if end is not None and math.isfinite(end)]
