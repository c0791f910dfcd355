"""The Keras callbacks of a trial: siamkit's own, and those of the user. Needs Keras."""

from __future__ import annotations

import importlib
import math
from typing import Any

import keras

from siamkit.errors import DataError
from siamkit.model.training_state import swap_averages
from siamkit.runs.configuration import derive_seed
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
