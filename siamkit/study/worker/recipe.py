"""How Keras trains a trial: its optimizer, the schedule of its learning rate, its callbacks. Needs Keras."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from siamkit.errors import DataError
from siamkit.model.training_state import swap_averages
from siamkit.runs.configuration import Configuration, derive_seed
from siamkit.study.config.schema import MOMENTUM
from siamkit.study.worker.judge import Judge, KeptEpoch, set_threshold
from siamkit.study.worker.messages import ResolvedParams, Row
from siamkit.study.worker.trainer import (
    BestEpoch,
    EpochEnd,
    LimitGuard,
    OnCheckpoint,
    OnEpoch,
    TrialFailure,
)


def make_optimizer(configuration: Configuration) -> keras.optimizers.Optimizer:
    """Return the optimizer of a configuration; what the configuration leaves open is as in Keras."""
    name, decay = configuration["optimizer"], configuration["weight_decay"]
    options: dict[str, Any] = {
        "learning_rate": configuration["learning_rate"],
        "weight_decay": decay,
        "global_clipnorm": configuration["clip_norm"],
        "ema_momentum": configuration["ema"],
    }
    if name in MOMENTUM:
        momentum = configuration["momentum"]
        options["momentum"] = 0.9 if momentum is None and name == "sgd" else momentum
    if name == "muon":  # it trains all weights but matrices by Adam
        options["adam_weight_decay"] = decay
    options = {key: value for key, value in options.items() if value is not None}
    config = {**options, "use_ema": configuration["ema"] is not None}
    return keras.optimizers.get({"class_name": name, "config": config})


WARMUP = {"constant": 0.0, "cosine": 0.05, "linear": 0.05, "one_cycle": 0.3}
"""The share of the steps in which the learning rate rises, by default."""

START_OF_CYCLE = 0.04  # of the peak


def share_of_peak(configuration: Configuration, steps: int) -> Callable[[Any], Any] | None:
    """Return the schedule of a learning rate: its share of the peak, as a function of the steps so far.

    With W steps of warm-up of T in total, step t (from 0) has (t + 1) / (W + 1) while t < W; then p = (t - W)
    / (T - W) goes from 0 to 1, and the share is 1 (constant), 1 - p (linear) or (1 + cos πp) / 2 (cosine).
    `one_cycle` rises by a cosine too, from 0.04 (Smith & Topin 2018, as PyTorch's OneCycleLR).

    Args:
        configuration: the configuration, with `schedule` and `warmup`.
        steps: the number of all steps.

    Returns:
        A function of a float tensor; None if the learning rate is constant.
    """
    name, warmup = configuration["schedule"], configuration["warmup"]
    rising = round(steps * (WARMUP[name] if warmup is None else warmup))
    if name == "constant" and not rising:
        return None

    def share(step: Any) -> Any:
        progress = ops.clip((step - rising) / max(steps - rising, 1), 0.0, 1.0)
        falling = {
            "constant": lambda: ops.ones_like(progress),
            "linear": lambda: 1 - progress,
            "cosine": lambda: (1 + ops.cos(math.pi * progress)) / 2,
            "one_cycle": lambda: (1 + ops.cos(math.pi * progress)) / 2,
        }[name]()
        if not rising:
            return falling
        if name == "one_cycle":
            risen = (1 - ops.cos(math.pi * step / rising)) / 2
            rise = START_OF_CYCLE + (1 - START_OF_CYCLE) * risen
        else:
            rise = (step + 1) / (rising + 1)
        return ops.where(step < rising, rise, falling)

    return share


# ------------------------------------------------------------------ callbacks


class TrialCallback(keras.callbacks.Callback):
    """A Keras callback that evaluates each epoch, and checks the limits; `report` reports the epoch.

    Between the two, callbacks of the user see the measures of the epoch in their logs, and may end training.

    Args:
        judging: the judge of the epochs.
        guard: the guard that checks the limits.
        on_epoch, on_checkpoint: the same as in `Trainer.train`.
        resolved_params: the parameters to pass to `on_checkpoint`.
        seed: the seed of the training.
        best: the number of the best epoch so far, and its value.
        kept: the best epoch so far, if training continues.

    Attributes:
        kept: the best epoch so far; None before the first.
    """

    def __init__(
        self,
        judging: Judge,
        guard: LimitGuard,
        on_epoch: OnEpoch,
        on_checkpoint: OnCheckpoint | None,
        resolved_params: ResolvedParams,
        seed: int,
        best: BestEpoch,
        kept: KeptEpoch | None,
    ) -> None:
        super().__init__()
        self.kept = kept
        self._judging, self._guard = judging, guard
        self._on_epoch, self._on_checkpoint = on_epoch, on_checkpoint
        self._resolved_params, self._seed, self._best = resolved_params, seed, best
        self._row: Row = {}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        # Model files do not store the state of random generators, so the dropout of an epoch follows from its
        # number, as its batches do. PyTorch's own layers use its global generator, all others states in the
        # model.
        keras.utils.set_random_seed(derive_seed(self._seed, "chance", epoch))
        states = [variable for variable in self.model.variables if variable.name == "seed_generator_state"]
        for number, state in enumerate(states):
            state.assign([derive_seed(self._seed, "chance", epoch, number) >> 1, 0])
        if epoch:  # between two epochs, in its file too, a model has its averages
            swap_averages(self.model)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._guard.check()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = {} if logs is None else logs
        loss = float(logs.get("loss", math.nan))
        if not math.isfinite(loss):
            raise TrialFailure("nan", f"the loss of epoch {epoch + 1} is {loss}")
        swap_averages(self.model)
        scores = self._judging.epoch(self.model)
        set_threshold(self.model, scores)
        measures = {name: float(value) for name, value in scores.measures.items()}
        logs.update(measures)
        self._row = {"epoch": epoch + 1, "loss": loss, **measures}
        if self._best.add(epoch + 1, measures[self._best.objective.name]):
            self.kept = KeptEpoch(self.model, scores)

    def report(self, epoch: int, logs: Any = None) -> None:
        """Store and report an epoch that was evaluated."""
        is_last = self._best.ends(epoch + 1) or self.model.stop_training
        kept = self.kept
        assert kept is not None  # the first epoch is the best so far
        queries, number = kept.scores.queries, self._best.number
        if is_last:
            kept.judged_by(self._judging)
        if self._on_checkpoint is not None:
            best_model = self.model if is_last or number == epoch + 1 else kept
            self._on_checkpoint(
                EpochEnd(self.model, best_model, self._row, queries, self._resolved_params, number, is_last)
            )
        with self._guard.paused():  # waiting for the storage is not the trial's time
            self._on_epoch(epoch + 1, self._row)
        self.model.stop_training = is_last


def made_callbacks(name: str | None) -> list[keras.callbacks.Callback]:
    """Return the user's own Keras callbacks, new ones for each training.

    Args:
        name: the dotted name of a function without arguments that returns them; None for no callbacks.

    Raises:
        DataError: the function cannot be imported, or returns something else.
    """
    if name is None:
        return []
    module, _, function = name.rpartition(".")
    try:
        make = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise DataError(f"fixed.callbacks: {name!r} cannot be imported: {error}") from error
    callbacks = make()
    is_list = isinstance(callbacks, (list, tuple))
    if not is_list or not all(isinstance(each, keras.callbacks.Callback) for each in callbacks):
        raise DataError(
            f"fixed.callbacks: {name!r} should return a list of keras.callbacks.Callback, got "
            f"{callbacks!r:.80}"
        )
    return list(callbacks)
