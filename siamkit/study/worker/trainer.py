"""The interface of trainers, with the types of their arguments, results and errors. No Keras here."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import psutil

from siamkit.errors import StudyError
from siamkit.evaluation.measures import Group
from siamkit.registry.specs import LossSpec
from siamkit.runs.configuration import Configuration
from siamkit.runs.results import Objective
from siamkit.study.worker.messages import Cause, CauseKind, ResolvedParams, Row

Arrays = dict[str, np.ndarray]


class TrialFailure(StudyError):
    """A trial failed, and its configuration is the cause."""

    def __init__(self, kind: CauseKind, text: str) -> None:
        super().__init__(text)
        self.cause = Cause(kind, text)


class Pruned(StudyError):
    """A trial was stopped early."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.text)
        self.cause = cause


# ------------------------------------------------------------------ limits


@dataclass(frozen=True)
class Limits:
    """The limits of one trial: seconds from its start, and bytes of its process."""

    seconds: float | None = None
    memory: float | None = None

    def exceeded(self, seconds: float, memory: Callable[[], float]) -> Cause | None:
        """Return which limit is exceeded, or None.

        Args:
            seconds: seconds since the start of the trial.
            memory: function that returns the bytes that the process holds; called only if there is a limit.
        """
        if self.seconds is not None and seconds > self.seconds:
            return Cause("timeout", f"took longer than the trial_time of {self.seconds:g} s")
        if self.memory is not None and memory() > self.memory:
            return Cause("memory", f"took more memory than the trial_memory of {self.memory / 1e9:g} GB")
        return None


class LimitGuard:
    """A guard that checks the limits of a trial from within its process."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._start = time.monotonic()

    def check(self) -> None:
        """Check the limits.

        Raises:
            TrialFailure: a limit is exceeded.
        """
        cause = self._limits.exceeded(
            time.monotonic() - self._start, lambda: float(psutil.Process().memory_info().rss)
        )
        if cause is not None:
            raise TrialFailure(cause.kind, cause.text)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out time that is not the trial's, such as waiting for the storage."""
        paused = time.monotonic()
        yield
        self._start += time.monotonic() - paused


# ------------------------------------------------------------------ results


class Model(Protocol):
    """A trained model, as the runner uses it."""

    def save(self, path: Any) -> None:
        """Write the model to a file."""


@dataclass(frozen=True)
class Scores:
    """The scores of a model on a split.

    Args:
        measures: the measures by name.
        queries: the scores by query, for each measure.
        embeddings: the embeddings of the items, `(n, dim)` or for pairs `(n, 2, dim)`.
    """

    measures: dict[str, float]
    queries: Arrays
    embeddings: np.ndarray


@dataclass(frozen=True)
class Trained:
    """A trained model as it was after its best epoch.

    Args:
        model: the model.
        scores: its scores on the validation split.
        resolved_params: the parameters as the API takes them.
        epoch: the number of the best epoch, from 1.
    """

    model: Model
    scores: Scores
    resolved_params: ResolvedParams
    epoch: int


@dataclass(frozen=True)
class Timing:
    """The times of a training, in seconds, measured by a few of its steps.

    Args:
        start: from nothing to the end of the first step and evaluation; a backend compiles in this time.
        step: a later step.
        evaluation: a later evaluation on the validation split.
        steps, evaluations: the numbers of steps and evaluations in a whole training.
    """

    start: float
    step: float
    evaluation: float
    steps: int
    evaluations: int

    @property
    def training(self) -> float:
        """A whole training."""
        return self.start + (self.steps - 1) * self.step + (self.evaluations - 1) * self.evaluation


# ------------------------------------------------------------------ the best epoch

MIN_GAIN = 1e-3
"""The gain in the first objective with which a later epoch is better than the best one so far.

It is the last digit that a leaderboard shows. Without it, the last of many epochs that differ by chance would
be kept as often as any other, and patience would never end. With a standard error in its place (about 0.01 of
400 queries), slow progress of several epochs would be lost, since all epochs answer the same queries.
"""


class BestEpoch:
    """The best epoch of a training, by the first objective on validation; when training may end.

    Args:
        objective: the first objective.
        epochs: the number of planned epochs.
        patience: the number of epochs without progress after which training ends; None: it never does.

    Attributes:
        objective: the first objective.
        number: the number of the best epoch, from 1; 0 before the first.
        value: its value.
    """

    def __init__(self, objective: Objective, epochs: int, patience: int | None = None) -> None:
        self.objective, self._epochs, self._patience = objective, epochs, patience
        self.number, self.value = 0, math.nan

    def add(self, epoch: int, value: float) -> bool:
        """Add an epoch; return whether it is the best so far."""
        gain = self.objective.worth(value) - self.objective.worth(self.value)
        if self.number and not gain > MIN_GAIN:  # also if both are NaN
            return False
        self.number, self.value = epoch, value
        return True

    def ends(self, epoch: int) -> bool:
        """Return whether nothing is left to train after an epoch."""
        return epoch >= self._epochs or epoch - self.number >= (self._patience or math.inf)


@dataclass(frozen=True)
class Start:
    """The point at which an earlier attempt stopped, to continue from.

    Args:
        model: the file of its model, optimizer included; not used if nothing is left to train.
        history: the measures of its epochs.
        best_model: the file of its model after the best of these epochs.
        resolved_params: the parameters as the API takes them.
    """

    model: Path
    history: list[Row]
    best_model: Path
    resolved_params: ResolvedParams

    @property
    def epoch(self) -> int:
        """The number of epochs that it was trained for."""
        return len(self.history)


OnEpoch = Callable[[int, Row], None]
"""Called after each epoch with its number from 1 and its measures; may raise `Pruned`."""


@dataclass(frozen=True)
class EpochEnd:
    """An epoch that has ended, for the checkpoint.

    Args:
        model: the model; after the last epoch it is that of the best epoch.
        best_model: the model after the best epoch so far.
        row: the measures of the epoch.
        best_queries: the scores by query of the best epoch so far, for each measure.
        resolved_params: the parameters as the API takes them.
        best_epoch: the number of the best epoch so far.
        is_last: whether nothing is left to train.
    """

    model: Model
    best_model: Model
    row: Row
    best_queries: Arrays
    resolved_params: ResolvedParams
    best_epoch: int
    is_last: bool


OnCheckpoint = Callable[[EpochEnd], None]
"""Called after each epoch, before `OnEpoch`."""


class Trainer(Protocol):
    """A trainer of models on the data of one study.

    Its class is called with the data (`PreparedData`) and the fixed settings (`Fixed`).
    """

    @staticmethod
    def prepare() -> None:
        """Import what trainings need, before there are data."""

    def check_feeds(self, losses: Sequence[LossSpec], batch_sizes: Sequence[int]) -> None:
        """Check that the training data can feed all losses.

        Raises:
            DataError: the training data cannot feed one of them.
            ComponentError: a loss cannot wrap another.
        """

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
        """Train a configuration, and evaluate it on the validation split after each epoch.

        Epochs may be judged by less than all queries and measures. The model that is returned is that of the
        best epoch (`BestEpoch`), with all of its scores.

        Args:
            configuration: the configuration.
            seed: the seed of initial weights, batches and dropout.
            data_seed: the seed of the ablation of the training data, if the study varies them.
            limits: the limits of time and memory, checked after each batch.
            on_epoch: function that gets the measures of each epoch.
            on_checkpoint: function that gets each epoch with its model, and stores it if that is due.
            start: the point to continue from; the result is as if training had never stopped.

        Raises:
            TrialFailure: the loss or an embedding is NaN or infinite, or a limit is exceeded.
            Pruned: raised by `on_epoch`.
        """

    def evaluate(
        self,
        model: Any,
        split: Literal["valid", "test"],
        groups: Iterable[Group],
        threshold: float | None = None,
    ) -> Scores:
        """Evaluate a model on a split.

        Args:
            model: a model that `train` returned.
            split: the name of the split.
            groups: the groups of measures to compute.
            threshold: decision threshold at which false accepts and rejects are counted; by default the best
                one of the split.
        """

    def timing(self, configuration: Configuration) -> Timing:
        """Return how long the training of a configuration takes, measured by a few of its steps."""

    def untrained(self, configuration: Configuration, split: Literal["valid", "test"]) -> np.ndarray:
        """Return the embeddings of a split by a configuration's encoder before any training."""

    def embedded_by(self, file: str, split: Literal["valid", "test"], most: int | None = None) -> np.ndarray:
        """Return the embeddings of the first `most` items of a split by a model from elsewhere.

        Raises:
            DataError: the model cannot be loaded, or takes other items.
        """

    def report_data(self, model: Any, valid: np.ndarray, test: np.ndarray | None = None) -> Arrays:
        """Return what a report shows of a model.

        Args:
            model: a model that `train` returned.
            valid, test: the model's embeddings of these splits.
        """
