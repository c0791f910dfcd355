"""The trainer of studies: builds, trains and evaluates configurations. Needs Keras."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from siamkit.backend.beyond_keras import DeviceItems, release_memory
from siamkit.data.batches import Feed, Rounds, feed
from siamkit.data.dataset import Dataset, length, take
from siamkit.encoders.base import get_encoder
from siamkit.errors import DataError
from siamkit.evaluation.measures import Group
from siamkit.losses.base import get_loss
from siamkit.metrics.base import Metric, get_metric
from siamkit.model.factory import load_embedder, load_model
from siamkit.model.siamese import Siamese
from siamkit.model.training_state import schedule_steps
from siamkit.registry.compatibility import supervision_for
from siamkit.registry.lookup import resolve_spec
from siamkit.registry.specs import Component, LossSpec, Supervision
from siamkit.runs.configuration import ComponentConfig, Configuration
from siamkit.study.config.schema import Fixed
from siamkit.study.config.search_space import recipe_of
from siamkit.study.worker.judge import Judge, KeptEpoch, judge, report_data
from siamkit.study.worker.messages import ResolvedParams
from siamkit.study.worker.prepared_data import (
    PreparedData,
    for_supervision,
    known_labels,
    scarcest_data,
    training_data,
)
from siamkit.study.worker.recipe import TrialCallback, made_callbacks, make_optimizer, share_of_peak
from siamkit.study.worker.trainer import (
    Arrays,
    BestEpoch,
    LimitGuard,
    Limits,
    OnCheckpoint,
    OnEpoch,
    Scores,
    Start,
    Timing,
    Trained,
)

SAMPLE_PAIRS = 512  # number of pairs for the typical distance
TIMED_STEPS, TIMED_SECONDS = 5, 1.0  # what a timing measures: at least so many steps, up to about so long
_ON_DEVICE = weakref.WeakValueDictionary[str, DeviceItems]()  # one: each fold has its own trainer


class KerasTrainer:
    """A trainer that uses Keras; its methods are described in `siamkit.study.worker.trainer.Trainer`.

    Args:
        data: the data of the study.
        fixed: the settings that are the same in all trials.
    """

    def __init__(self, data: PreparedData, fixed: Fixed) -> None:
        self._data, self._fixed = data, fixed
        self._on_device = _ON_DEVICE.setdefault("items", DeviceItems())

    @staticmethod
    def prepare() -> None:
        keras.utils.set_random_seed(0)  # imports what Keras seeds: TensorFlow too, if it is installed

    def check_feeds(self, losses: Sequence[LossSpec], batch_sizes: Sequence[int]) -> None:
        made_callbacks(self._fixed.callbacks)
        splits = {"": self._data.train, **scarcest_data(self._data)}
        for loss in losses:
            self._check_wrapping(loss)
            supervision = self._supervision_of(loss)
            for size in batch_sizes:
                for prefix, dataset in splits.items():
                    try:
                        batches = feed(
                            for_supervision(self._data, dataset, supervision),
                            supervision,
                            batch_size=size,
                            seed=0,
                            augment="light",
                            items_per_class=self._fixed.items_per_class,
                        )
                        batches[0]
                    except DataError as error:
                        raise DataError(f"{prefix}{error}") from error

    def _check_wrapping(self, spec: LossSpec) -> None:
        """Create a loss that wraps others, with its defaults: only the loss knows what it can wrap."""

        def identifier(spec: LossSpec) -> dict[str, Any]:
            keys = [key for key, param in spec.params.items() if isinstance(param, Component)]
            wrapped = zip(keys, spec.wrapped, strict=False)
            return {spec.name: {key: identifier(inner) for key, inner in wrapped}}

        if spec.wrapped:
            get_loss(identifier(spec), **self._needs(spec.needs, self._data.train))

    def train(
        self,
        configuration: Configuration,
        *,
        seed: int,
        data_seed: int,
        limits: Limits,
        on_epoch: OnEpoch,
        on_checkpoint: OnCheckpoint | None = None,
        start: Start | None = None,
    ) -> Trained:
        data, fixed = self._data, self._fixed
        _begin(seed)
        best = BestEpoch(data.objective, fixed.evaluations, fixed.patience)
        history = start.history if start is not None else []
        for row in history:
            best.add(int(row["epoch"]), row[data.objective.name])
        judging = Judge(data.valid, data.measured, in_full=fixed.callbacks is not None)
        items = training_data(data, configuration, data_seed)
        done, kept = len(history), None
        if start is not None:
            best_model, resolved_params = load_model(start.best_model), start.resolved_params
            scores, is_best = judging.epoch(best_model), best.ends(done) or start.model == start.best_model
            model = best_model if is_best else load_model(start.model)
            kept = KeptEpoch(model, scores, best_model)
            if best.ends(done):
                return Trained(model, kept.judged_by(judging), resolved_params, best.number)
        else:
            model, resolved_params = self._build(configuration, items)
        batches = self._batches(model, configuration, items, seed)
        rounds = Rounds(batches, fixed.steps_between(len(batches)))
        if (share := share_of_peak(configuration, fixed.evaluations * len(rounds))) is not None:
            schedule_steps(model.optimizer, share)
        callback = TrialCallback(
            judging, LimitGuard(limits), on_epoch, on_checkpoint, resolved_params, seed, best, kept
        )
        rounds.epoch = done
        model.fit(
            rounds,
            epochs=fixed.evaluations,
            initial_epoch=done,
            verbose=0,
            shuffle=False,
            callbacks=[
                callback,
                *made_callbacks(fixed.callbacks),
                keras.callbacks.LambdaCallback(on_epoch_end=callback.report),
            ],
        )
        assert callback.kept is not None  # an epoch has ended
        callback.kept.restore()  # Keras may have changed the weights at the end of training
        return Trained(model, callback.kept.scores, resolved_params, best.number)

    def evaluate(
        self,
        model: Any,
        split: Literal["valid", "test"],
        groups: Iterable[Group],
        threshold: float | None = None,
    ) -> Scores:
        return judge(model, getattr(self._data, split), groups, threshold)

    def timing(self, configuration: Configuration) -> Timing:
        judging = Judge(self._data.valid, self._data.measured, in_full=self._fixed.callbacks is not None)
        _begin(seed=0)
        start = time.monotonic()
        items = training_data(self._data, configuration, seed=0)
        model, _ = self._build(configuration, items)
        batches = self._batches(model, configuration, items, seed=0)

        def seconds(run: Callable[[], Any]) -> float:
            before = time.monotonic()
            run()
            return time.monotonic() - before

        def train(steps: int) -> float:
            return seconds(lambda: model.fit(Rounds(batches, steps), verbose=0, shuffle=False))

        train(1)
        judging.kept(model, judging.epoch(model).embeddings)
        first = time.monotonic() - start
        step = train(TIMED_STEPS) / TIMED_STEPS
        more = round(min(TIMED_SECONDS / step, 10 * TIMED_STEPS))
        step = min(step, train(more) / more) if more > TIMED_STEPS else step
        evaluation = seconds(lambda: judging.epoch(model))
        evaluations = self._fixed.evaluations
        steps = evaluations * self._fixed.steps_between(len(batches))
        return Timing(first, step, evaluation, steps, evaluations)

    def untrained(self, configuration: Configuration, split: Literal["valid", "test"]) -> np.ndarray:
        _begin(seed=0)
        model = Siamese(self._encoder(configuration, self._data.train), "cosine")
        return model.embed_views(getattr(self._data, split).views, preprocessed=True)

    def embedded_by(self, file: str, split: Literal["valid", "test"], most: int | None = None) -> np.ndarray:
        views = [take(view, np.arange(length(view))[:most]) for view in self._data.raw[split]]
        model = load_embedder(file)
        try:
            return model.embed_views(views)
        except Exception as error:  # a model from elsewhere raises errors of many kinds
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(
                f"the baseline {file!r} cannot embed the items of this study ({self._data.record['input']}): "
                f"{reason}"
            ) from error

    def report_data(self, model: Any, valid: np.ndarray, test: np.ndarray | None = None) -> Arrays:
        return report_data(model, self._data, valid, test)

    # ------------------------------------------------------------- building

    def _batches(self, model: Siamese, configuration: Configuration, items: Dataset, seed: int) -> Feed:
        """Return the batches of a trial's training items for the model's loss."""
        supervision = self._supervision_of(resolve_spec("loss", _identifier(configuration["loss"])))
        return feed(
            self._items_for(supervision, items),
            supervision,
            batch_size=configuration["batch_size"],
            seed=seed,
            preprocessor=self._data.preprocessor,
            preprocessed=True,
            items_per_class=self._fixed.items_per_class,
            drop_last=getattr(model.loss, "batch_coupled", False),
            augment=recipe_of(configuration),
            on_device=self._on_device,
        )

    def _items_for(self, supervision: Supervision, items: Dataset) -> Dataset:
        """Return the items that a loss learns from: the same arrays in all trials that have all items."""
        if items is self._data.train and supervision != "views":
            return self._labelled
        return for_supervision(self._data, items, supervision)

    @cached_property
    def _labelled(self) -> Dataset:
        return for_supervision(self._data, self._data.train, "labels")

    def _build(self, configuration: Configuration, items: Dataset) -> tuple[Siamese, ResolvedParams]:
        """Return the compiled model for the items of a trial, and the parameters as the API takes them."""
        keras.config.set_dtype_policy(self._fixed.precision)
        try:
            return self._build_in_precision(configuration, items)
        finally:
            keras.config.set_dtype_policy("float32")

    def _build_in_precision(
        self, configuration: Configuration, items: Dataset
    ) -> tuple[Siamese, ResolvedParams]:
        data, encoder = self._data, self._encoder(configuration, items)
        metric = get_metric(
            _identifier(configuration["metric"]), **self._component_needs("metric", configuration, items)
        )
        typical = typical_distance(encoder, metric, data.train)
        loss_config = configuration["loss"]
        loss_params = resolve_units(loss_config["params"], metric, typical)
        loss = get_loss(
            _identifier({"name": loss_config["name"], "params": loss_params}),
            **self._component_needs("loss", configuration, items),
        )
        model = Siamese(encoder, metric, preprocessor=data.preprocessor)
        model.compile(make_optimizer(configuration), loss, micro_batch=self._fixed.micro_batch)
        return model, {"loss": loss_params, "typical_distance": typical}

    def _encoder(self, configuration: Configuration, items: Dataset) -> keras.Model:
        return get_encoder(
            _identifier(configuration["encoder"]),
            input_shape=self._data.preprocessor.input_shape,
            embedding_dim=configuration["embedding_dim"],
            normalize=configuration["normalize"],
            **self._component_needs("encoder", configuration, items),
        )

    def _component_needs(
        self, kind: Literal["encoder", "metric", "loss"], configuration: Configuration, items: Dataset
    ) -> dict[str, Any]:
        return self._needs(resolve_spec(kind, _identifier(configuration[kind])).needs, items)

    def _needs(self, names: Sequence[str], items: Dataset) -> dict[str, Any]:
        known = {**self._data.needs, "training_items": items.views[0]}
        if "training_labels" in names and items.supervision == "labels":
            known["training_labels"] = known_labels(self._data, items)
        return {name: known[name] for name in names if name in known}

    def _supervision_of(self, loss: LossSpec) -> Supervision:
        """Return what a loss learns from."""
        hidden: Any = self._data.record.get("labelled")
        given = "views" if hidden is not None and not hidden["share"] else self._data.train.supervision
        supervision = supervision_for(given, loss)
        assert supervision is not None  # the study file was checked against the data
        return supervision


def _begin(seed: int) -> None:
    """Forget the models of earlier jobs, and seed the random generators."""
    keras.utils.clear_session()  # which also collects garbage
    release_memory()
    keras.utils.set_random_seed(seed)


def _identifier(component: ComponentConfig) -> dict[str, Any]:
    """Return a component as the API takes it: `{name: parameters}`, and so the components inside it."""
    params = {
        key: _identifier(value) if _is_component(value) else value
        for key, value in component["params"].items()
    }
    return {component["name"]: params}


def _is_component(value: object) -> bool:
    return isinstance(value, dict) and "name" in value


def typical_distance(encoder: keras.Model, metric: Metric, data: Dataset) -> float:
    """Return the median distance of pairs of items under the untrained encoder: the unit of margins."""
    rng = np.random.default_rng(0)
    size = min(SAMPLE_PAIRS, len(data))
    batch = min(size, 256)  # as in `embed`: nothing compiles twice
    size -= size % batch
    first = rng.permutation(len(data))[:size]
    embeddings = [
        encoder.predict(take(data.views[0], rows), batch_size=batch, verbose=0)
        for rows in (first, np.roll(first, 1))
    ]
    distances = ops.convert_to_numpy(metric.as_distance(metric(*embeddings)))
    typical = float(np.median(distances))
    return typical if math.isfinite(typical) and typical > 0 else 1.0


def resolve_units(params: Mapping[str, Any], metric: Metric, typical: float) -> dict[str, Any]:
    """Return parameters in the metric's own units; those in units of the typical distance are converted.

    Args:
        params: parameters of a loss.
        metric: the metric of the model.
        typical: the typical distance under this metric.
    """

    def resolved(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if _is_component(value):
            return {"name": value["name"], "params": resolve_units(value["params"], metric, typical)}
        ((unit, amount),) = value.items()
        if unit == "typical_value" and metric.orientation == "similarity":
            high = metric.range[1] if math.isfinite(metric.range[1]) else 0.0
            return high - amount * typical
        return amount * typical

    return {key: resolved(value) for key, value in params.items()}
