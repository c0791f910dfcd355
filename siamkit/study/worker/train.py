"""The trainer of studies: builds, trains and evaluates configurations. Needs Keras."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from siamkit.backend.beyond_keras import release_memory
from siamkit.data.batches import feed
from siamkit.data.dataset import Dataset, take
from siamkit.encoders.base import get_encoder
from siamkit.errors import DataError
from siamkit.evaluation.measures import QUICK, Group, groups_of
from siamkit.losses.base import get_loss
from siamkit.metrics.base import Metric, get_metric
from siamkit.model.factory import load_model
from siamkit.model.siamese import Siamese
from siamkit.registry.compatibility import supervision_for
from siamkit.registry.lookup import resolve_spec
from siamkit.registry.specs import Component, LossSpec, Supervision
from siamkit.runs.configuration import ComponentConfig, Configuration, derive_seed
from siamkit.study.config.schema import Fixed
from siamkit.study.config.search_space import recipe_of
from siamkit.study.worker.judge import judge, report_data
from siamkit.study.worker.messages import ResolvedParams, Row
from siamkit.study.worker.prepared_data import PreparedData, scarcest_data, training_data
from siamkit.study.worker.trainer import (
    Arrays,
    LimitGuard,
    Limits,
    OnCheckpoint,
    OnEpoch,
    Scores,
    Start,
    Trained,
    TrialFailure,
)

SAMPLE_PAIRS = 512  # number of pairs for the typical distance


class KerasTrainer:
    """A trainer that uses Keras; its methods are described in `siamkit.study.worker.trainer.Trainer`.

    Args:
        data: the data of the study.
        fixed: the settings that are the same in all trials.
    """

    def __init__(self, data: PreparedData, fixed: Fixed) -> None:
        self._data, self._fixed = data, fixed

    def check_feeds(self, losses: Sequence[LossSpec], batch_sizes: Sequence[int]) -> None:
        splits = {"": self._data.train, **scarcest_data(self._data)}
        for loss in losses:
            self._check_wrapping(loss)
            supervision = supervision_for(self._data.train.supervision, loss)
            assert supervision is not None  # the study file was checked against the data
            for size in batch_sizes:
                for prefix, dataset in splits.items():
                    try:
                        batches = feed(
                            dataset,
                            supervision,
                            batch_size=size,
                            seed=0,
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
            get_loss(identifier(spec), **self._needs(spec.needs))

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
        keras.utils.clear_session()
        gc.collect()
        release_memory()
        keras.utils.set_random_seed(seed)
        if start is not None:
            model, resolved_params, done = load_model(start.model), start.resolved_params, start.epoch
        else:
            keras.config.set_dtype_policy(fixed.precision)
            try:
                (model, resolved_params), done = self._build(configuration), 0
            finally:
                keras.config.set_dtype_policy("float32")
        batches = feed(
            training_data(data, configuration, data_seed),
            self._supervision(configuration["loss"]),
            batch_size=configuration["batch_size"],
            seed=seed,
            preprocessor=data.preprocessor,
            preprocessed=True,
            items_per_class=fixed.items_per_class,
            drop_last=getattr(model.loss, "batch_coupled", False),
            augment=recipe_of(configuration),
        )
        groups = QUICK | groups_of(data.objectives)
        if done == fixed.epochs:  # nothing is left to train
            return Trained(model, judge(model, data.valid, groups), resolved_params)
        callback = TrialCallback(
            data.valid, groups, LimitGuard(limits), on_epoch, on_checkpoint, resolved_params, seed
        )
        batches.epoch = done
        model.fit(
            batches, epochs=fixed.epochs, initial_epoch=done, verbose=0, shuffle=False, callbacks=[callback]
        )
        return Trained(model, callback.scores, resolved_params)

    def evaluate(
        self,
        model: Any,
        split: Literal["valid", "test"],
        groups: Iterable[Group],
        threshold: float | None = None,
    ) -> Scores:
        return judge(model, getattr(self._data, split), groups, threshold)

    def untrained(self, configuration: Configuration, split: Literal["valid", "test"]) -> np.ndarray:
        keras.utils.clear_session()
        keras.utils.set_random_seed(0)
        model = Siamese(self._encoder(configuration), "cosine")
        return model.embed_views(getattr(self._data, split).views, preprocessed=True)

    def report_data(self, model: Any, valid: np.ndarray, test: np.ndarray | None = None) -> Arrays:
        return report_data(model, self._data, valid, test)

    # ------------------------------------------------------------- building

    def _build(self, configuration: Configuration) -> tuple[Siamese, ResolvedParams]:
        """Return the compiled model, and the parameters as the API takes them."""
        data, encoder = self._data, self._encoder(configuration)
        metric = get_metric(
            _identifier(configuration["metric"]), **self._component_needs("metric", configuration)
        )
        typical = typical_distance(encoder, metric, data.train)
        loss_config = configuration["loss"]
        loss_params = resolve_units(loss_config["params"], metric, typical)
        loss = get_loss(
            _identifier({"name": loss_config["name"], "params": loss_params}),
            **self._component_needs("loss", configuration),
        )
        model = Siamese(encoder, metric, preprocessor=data.preprocessor)
        optimizer = keras.optimizers.get(configuration["optimizer"])
        optimizer.learning_rate = configuration["learning_rate"]
        model.compile(optimizer, loss)
        return model, {"loss": loss_params, "typical_distance": typical}

    def _encoder(self, configuration: Configuration) -> keras.Model:
        return get_encoder(
            _identifier(configuration["encoder"]),
            input_shape=self._data.preprocessor.input_shape,
            embedding_dim=configuration["embedding_dim"],
            normalize=configuration["normalize"],
            **self._component_needs("encoder", configuration),
        )

    def _component_needs(
        self, kind: Literal["encoder", "metric", "loss"], configuration: Configuration
    ) -> dict[str, Any]:
        return self._needs(resolve_spec(kind, _identifier(configuration[kind])).needs)

    def _needs(self, names: Iterable[str]) -> dict[str, Any]:
        return {name: self._data.needs[name] for name in names if name in self._data.needs}

    def _supervision(self, loss: ComponentConfig) -> Supervision:
        """Return what a loss learns from."""
        spec = resolve_spec("loss", _identifier(loss))
        supervision = supervision_for(self._data.train.supervision, spec)
        assert supervision is not None  # the study file was checked against the data
        return supervision


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
    first = rng.permutation(len(data))[:size]
    embeddings = [
        encoder.predict(take(data.views[0], rows), batch_size=size, verbose=0)
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


# ------------------------------------------------------------------ during training


class TrialCallback(keras.callbacks.Callback):
    """A Keras callback that evaluates each epoch, reports it, and checks the limits.

    Args:
        valid: the validation split.
        groups: the groups of measures to compute.
        guard: the guard that checks the limits.
        on_epoch, on_checkpoint: the same as in `Trainer.train`.
        resolved_params: the parameters to pass to `on_checkpoint`.
        seed: the seed of the training.

    Attributes:
        scores: the scores of the last epoch.
    """

    scores: Scores

    def __init__(
        self,
        valid: Dataset,
        groups: frozenset[Group],
        guard: LimitGuard,
        on_epoch: OnEpoch,
        on_checkpoint: OnCheckpoint | None,
        resolved_params: ResolvedParams,
        seed: int,
    ) -> None:
        super().__init__()
        self._valid, self._groups, self._guard = valid, groups, guard
        self._on_epoch, self._on_checkpoint = on_epoch, on_checkpoint
        self._resolved_params, self._seed = resolved_params, seed
        self._ms_per_item: float | None = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        # Model files do not store the state of random generators, so the dropout of an epoch follows from its
        # number, as its batches do. PyTorch's own layers use its global generator, all others states in the
        # model.
        keras.utils.set_random_seed(derive_seed(self._seed, "chance", epoch))
        states = [variable for variable in self.model.variables if variable.name == "seed_generator_state"]
        for number, state in enumerate(states):
            state.assign([derive_seed(self._seed, "chance", epoch, number) >> 1, 0])

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._guard.check()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        loss = float((logs or {}).get("loss", math.nan))
        if not math.isfinite(loss):
            raise TrialFailure("nan", f"the loss of epoch {epoch + 1} is {loss}")
        measures = self._evaluate()
        row: Row = {"epoch": epoch + 1, "loss": loss}
        row |= {name: float(value) for name, value in measures.items()}
        threshold = measures.get("threshold", math.nan)
        self.model.threshold = threshold if math.isfinite(threshold) else None
        if self._on_checkpoint is not None:
            self._on_checkpoint(self.model, epoch + 1, row, self._resolved_params)
        with self._guard.paused():  # waiting for the storage is not the trial's time
            self._on_epoch(epoch + 1, row)

    def _evaluate(self) -> dict[str, float]:
        """Evaluate the model; the time of an item is measured once, since it does not change with weights."""
        known = {} if self._ms_per_item is None else {"ms_per_item": self._ms_per_item}
        self.scores = judge(self.model, self._valid, self._groups - ({"speed"} if known else set()))
        measures = self.scores.measures
        measures |= known
        self._ms_per_item = measures.get("ms_per_item")
        return measures
