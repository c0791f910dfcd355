"""What a job runner asks of the trainer: the types of its arguments, results and errors. No Keras here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from siamkit.errors import StudyError


class TrialFailure(StudyError):
    """A trial that failed by its configuration's own fault: a loss that is no number, or a limit."""


class Pruned(StudyError):
    """A trial that need not go on."""


@dataclass
class Limits:
    """The limits of one trial: seconds from its start, bytes of this process."""

    seconds: float | None = None
    memory: float | None = None
    start: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        if self.seconds is not None and time.monotonic() - self.start > self.seconds:
            raise TrialFailure(f"took longer than the trial_time of {self.seconds:g} s")
        if self.memory is not None and psutil.Process().memory_info().rss > self.memory:
            raise TrialFailure(f"took more memory than the trial_memory of {self.memory / 1e9:g} GB")


@dataclass
class Trained:
    """A trained model and what was found out about it."""

    model: Any
    measures: dict[str, float]
    history: list[dict[str, float]]
    literal: dict[str, Any]
    queries: dict[str, np.ndarray]
    embeddings: np.ndarray


@dataclass(frozen=True)
class Start:
    """Where an earlier attempt left off.

    Args:
        model: the file of its model, optimizer included.
        epoch: how many epochs it was trained for.
        literal: as in `Trained`.
    """

    model: Path
    epoch: int
    literal: dict[str, Any]


OnEpoch = Callable[[int, dict[str, float]], None]
"""Called after each epoch with its number from 1 and its figures; may raise `Pruned`."""

Keep = Callable[[Any, int, dict[str, float], dict[str, Any]], None]
"""Called before that with the model, the number, the figures and the literal parameters, to keep them."""
