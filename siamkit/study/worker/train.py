"""Trains one configuration with one seed, and judges it. The one module of studies that needs Keras."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from siamkit.backend.beyond_keras import release_memory
from siamkit.data.batches import feed
from siamkit.data.dataset import Dataset
from siamkit.encoders.get import get_encoder
from siamkit.errors import DataError
from siamkit.evaluation.measures import QUICK, groups_of
from siamkit.losses.get import get_loss
from siamkit.metrics.base import Metric
from siamkit.metrics.get import get_metric
from siamkit.model.load import load_model
from siamkit.model.siamese import Siamese
from siamkit.registry.compatibility import supervision_for
from siamkit.registry.lookup import resolve_spec
from siamkit.registry.specs import Component, LossSpec, Supervision
from siamkit.runs.configuration import Configuration
from siamkit.study.config.fingerprint import derive_seed
from siamkit.study.config.schema import Fixed
from siamkit.study.worker.judge import exhibit as exhibit
from siamkit.study.worker.judge import judge as judge
from siamkit.study.worker.prepared_data import PreparedData, scarcest_data, training_data
from siamkit.study.worker.trainer import Keep, Limits, OnEpoch, Start, Trained, TrialFailure

SAMPLE = 512  # pairs that the typical distance is measured on


def train(
    configuration: Configuration,
    task: PreparedData,
    fixed: Fixed,
    seed: int,
    limits: Limits,
    on_epoch: OnEpoch,
    keep: Keep | None = None,
    start: Start | None = None,
    data_seed: int | None = None,
) -> Trained:
    """Trains a configuration for the study's epochs and judges it on the validation part.

    Args:
        configuration: what was drawn.
        task: the data.
        fixed: what is the same in all trials.
        seed: of initial weights, batches and dropout.
        limits: looked at after each batch.
        on_epoch: gets the figures of each epoch.
        keep: gets the model after each epoch.
        start: goes on from there; what follows is as if it had never stopped.
        data_seed: of what is worse about the training data, if the study varies them; `seed` unless given.

    Raises:
        TrialFailure: the loss or an embedding is no number, or a limit was passed.
        Pruned: from `on_epoch`.
    """
    keras.utils.clear_session()
    gc.collect()
    release_memory()
    keras.utils.set_random_seed(seed)
    if start is not None:
        model, literal = load_model(start.model), start.literal
        supervision = _supervision(configuration, task)
    else:
        keras.config.set_dtype_policy(fixed.precision)
        try:
            model, literal = _build(configuration, task)
        finally:
            keras.config.set_dtype_policy("float32")
        supervision = _supervision(configuration, task)
    batches = feed(
        training_data(task, configuration, seed if data_seed is None else data_seed),
        supervision,
        batch_size=configuration["batch_size"],
        seed=seed,
        items_per_class=fixed.items_per_class,
        drop_last=getattr(model.loss, "batch_coupled", False),
    )
    watch = _Watch(task, limits, on_epoch, keep, literal, seed)
    done = start.epoch if start is not None else 0
    if done < fixed.epochs:
        batches.epoch = done
        model.fit(
            batches, epochs=fixed.epochs, initial_epoch=done, verbose=0, shuffle=False, callbacks=[watch]
        )
        measures, embeddings, queries = watch.judged
    else:
        measures, embeddings, queries = judge(model, task.valid, QUICK | groups_of(task.objectives))
    return Trained(model, measures, watch.history, literal, queries, embeddings)


def try_feeds(task: PreparedData, losses: Sequence[LossSpec], batch_sizes: list[int], fixed: Fixed) -> None:
    """Tries all feeds that a study may need, before the first trial.

    Raises:
        DataError: the training part cannot feed one of them.
        ComponentError: a loss cannot go around another.
    """
    parts = {"": task.train, **scarcest_data(task)}
    for loss in losses:
        _try_loss(loss, task)
        supervision = supervision_for(task.train.supervision, loss)
        assert supervision is not None  # the study file was checked against the data
        for size in batch_sizes:
            for where, part in parts.items():
                try:
                    feed(part, supervision, batch_size=size, seed=0, items_per_class=fixed.items_per_class)[0]
                except DataError as error:
                    raise DataError(f"{where}{error}") from error


def _try_loss(spec: LossSpec, task: PreparedData) -> None:
    """Makes a loss around others at its defaults: only the loss itself knows what it can go around."""

    def given(spec: LossSpec) -> dict[str, Any]:
        inside = [key for key, param in spec.params.items() if isinstance(param, Component)]
        return {spec.name: {key: given(each) for key, each in zip(inside, spec.wrapped, strict=False)}}

    if spec.wrapped:
        get_loss(given(spec), **{need: task.needs[need] for need in spec.needs if need in task.needs})


def _build(configuration: Configuration, task: PreparedData) -> tuple[Siamese, dict[str, Any]]:
    """The compiled model, and the parameters as the API takes them."""

    def own(kind: Literal["encoder", "metric", "loss"]) -> tuple[str, dict[str, Any], dict[str, Any]]:
        part = configuration[kind]
        wanted = resolve_spec(kind, {part["name"]: _named(part["params"])}).needs
        return part["name"], part["params"], {need: task.needs[need] for need in wanted if need in task.needs}

    name, params, needs = own("encoder")
    encoder = get_encoder(
        {name: _named(params)},
        input_shape=task.preprocessor.input_shape,
        embedding_dim=configuration["embedding_dim"],
        normalize=configuration["normalize"],
        **needs,
    )
    name, params, needs = own("metric")
    metric = get_metric({name: _named(params)}, **needs)
    typical = typical_distance(encoder, metric, task.train)
    name, params, needs = own("loss")
    literal = resolve_units(params, metric, typical)
    loss = get_loss({name: _named(literal)}, **needs)
    model = Siamese(encoder, metric, preprocessor=task.preprocessor)
    optimizer = keras.optimizers.get(configuration["optimizer"])
    optimizer.learning_rate = configuration["learning_rate"]
    model.compile(optimizer, loss)
    return model, {"loss": literal, "typical_distance": typical}


def _supervision(configuration: Configuration, task: PreparedData) -> Supervision:
    """What the loss of a configuration learns from."""
    loss = configuration["loss"]
    found = supervision_for(
        task.train.supervision, resolve_spec("loss", {loss["name"]: _named(loss["params"])})
    )
    assert found is not None  # the study file was checked against the data
    return found


def _named(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters as the API takes them: a component inside one is `{name: parameters}`."""
    return {
        key: {value["name"]: _named(value["params"])}
        if isinstance(value, dict) and "name" in value
        else value
        for key, value in params.items()
    }


def typical_distance(encoder: keras.Model, metric: Metric, data: Dataset) -> float:
    """The median distance of pairs of training items under the untrained encoder: the unit of margins."""
    rng = np.random.default_rng(0)
    view = data.views[0]
    count = len(data)
    size = min(SAMPLE, count)
    first = rng.permutation(count)[:size]
    embeddings = []
    for rows in (first, np.roll(first, 1)):
        items = {key: leaf[rows] for key, leaf in view.items()} if isinstance(view, dict) else view[rows]
        embeddings.append(encoder.predict(items, batch_size=size, verbose=0))
    distances = ops.convert_to_numpy(metric.as_distance(metric(*embeddings)))
    typical = float(np.median(distances))
    return typical if math.isfinite(typical) and typical > 0 else 1.0


def resolve_units(params: dict[str, Any], metric: Metric, typical: float) -> dict[str, Any]:
    """Parameters drawn in typical distances, in the metric's own units."""

    def one(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if "name" in value:
            return {"name": value["name"], "params": resolve_units(value["params"], metric, typical)}
        ((unit, amount),) = value.items()
        if unit == "typical_value" and metric.orientation == "similarity":
            high = metric.range[1] if math.isfinite(metric.range[1]) else 0.0
            return high - amount * typical
        return amount * typical

    return {key: one(value) for key, value in params.items()}


class _Watch(keras.callbacks.Callback):
    """Judges each epoch, keeps the limits, and stops what is no number."""

    def __init__(
        self,
        task: PreparedData,
        limits: Limits,
        on_epoch: OnEpoch,
        keep: Keep | None,
        literal: dict[str, Any],
        seed: int,
    ) -> None:
        super().__init__()
        self._task, self._limits, self._report = task, limits, on_epoch
        self._keep, self._literal, self._seed = keep, literal, seed
        self.history: list[dict[str, float]] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        # Model files hold no state of chance, so what an epoch drops follows from its number, as its batches
        # do. PyTorch's own layers draw from its global generator, all others from states in the model.
        keras.utils.set_random_seed(derive_seed(self._seed, "chance", epoch))
        states = [each for each in self.model.variables if each.name == "seed_generator_state"]
        for number, state in enumerate(states):
            state.assign([derive_seed(self._seed, "chance", epoch, number) >> 1, 0])

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._limits.check()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        loss = float((logs or {}).get("loss", math.nan))
        if not math.isfinite(loss):
            raise TrialFailure(f"the loss of epoch {epoch + 1} is {loss}")
        # What an item takes does not change as weights do: it is measured once.
        groups = QUICK | groups_of(self._task.objectives) - ({"speed"} if self.history else set())
        self.judged = judge(self.model, self._task.valid, groups)
        measures = self.judged[0]
        if self.history and "ms_per_item" in self.history[0]:
            measures["ms_per_item"] = self.history[0]["ms_per_item"]
        row = {"epoch": epoch + 1, "loss": loss, **{name: float(value) for name, value in measures.items()}}
        self.history.append(row)
        threshold = measures.get("threshold", math.nan)
        self.model.threshold = threshold if math.isfinite(threshold) else None
        if self._keep is not None:
            self._keep(self.model, epoch + 1, row, self._literal)
        told = time.monotonic()
        self._report(epoch + 1, row)
        self._limits.start += time.monotonic() - told  # waiting for the storage is not the trial's time
