"""The interface of trainers, with the types of their arguments, results and errors. No Keras here."""

from __future__ import annotations

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
    """A trained model, with its scores on the validation split and its resolved parameters."""

    model: Model
    scores: Scores
    resolved_params: ResolvedParams


@dataclass(frozen=True)
class Start:
    """The point at which an earlier attempt stopped, to continue from.

    Args:
        model: the file of its model, optimizer included.
        epoch: the number of epochs that it was trained for.
        resolved_params: the parameters as the API takes them.
    """

    model: Path
    epoch: int
    resolved_params: ResolvedParams


OnEpoch = Callable[[int, Row], None]
"""Called after each epoch with its number from 1 and its measures; may raise `Pruned`."""

OnCheckpoint = Callable[[Model, int, Row, ResolvedParams], None]
"""Called before `OnEpoch` with the model, the epoch, its measures and the resolved parameters."""


class Trainer(Protocol):
    """A trainer of models on the data of one study.

    Its class is called with the data (`PreparedData`) and the fixed settings (`Fixed`).
    """

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
        """Train a configuration, and evaluate it on the validation split.

        Args:
            configuration: the configuration.
            seed: the seed of initial weights, batches and dropout.
            data_seed: the seed of the ablation of the training data, if the study varies them.
            limits: the limits of time and memory, checked after each batch.
            on_epoch: function that gets the measures of each epoch.
            on_checkpoint: function that gets the model after each epoch.
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

    def untrained(self, configuration: Configuration, split: Literal["valid", "test"]) -> np.ndarray:
        """Return the embeddings of a split by a configuration's encoder before any training."""

    def report_data(self, model: Any, valid: np.ndarray, test: np.ndarray | None = None) -> Arrays:
        """Return what a report shows of a model.

        Args:
            model: a model that `train` returned.
            valid, test: the model's embeddings of these splits.
        """
