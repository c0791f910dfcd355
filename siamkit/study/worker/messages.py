"""What a supervisor and its workers say to one another. Plain data, so that it crosses processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from siamkit.registry.specs import Spec
from siamkit.runs.configuration import Configuration
from siamkit.study.config.fingerprint import Versions
from siamkit.study.config.schema import StudyConfig


@dataclass(frozen=True)
class Setup:
    """All that a worker must know before its first job.

    Args:
        backend: of Keras.
        config: the study file, parsed.
        task: the folder that the prepared data lie in, to be mapped into memory.
        modules: the study's own plugin modules.
        specs: components that were registered in this session.
        path: where modules are looked for, as in the supervisor.
        versions: as `fingerprint.versions` returns them; other machines must have the same.
    """

    backend: str
    config: StudyConfig
    task: str
    modules: tuple[str, ...] = ()
    specs: tuple[Spec, ...] = ()
    path: tuple[str, ...] = ()
    versions: Versions = field(default_factory=dict)  # type: ignore[assignment]


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Args:
        kind: `trial`, `confirm`, or `feeds`: whether the data can feed the losses.
        place: the folder, or URL, that it writes to and nobody else.
        configuration: what to train.
        seeds: one a repeat.
        data_seeds: of what is worse about the training data, one a repeat: the same for all configurations,
            which so are compared on the same items and the same errors.
        resume: the folder of an earlier attempt that left a checkpoint.
        rival: the per-query scores of the best trial so far, to drop later seeds of the hopeless by.
        spread: the standard deviation of the first objective between seeds, as far as it is known.
        keep_above: embeddings are kept if the first objective, turned so that higher is better, is above.
        losses: for `feeds`, the losses to try, each as `{name: parameters}`.
        batch_sizes: for `feeds`.
    """

    kind: Literal["trial", "confirm", "feeds"]
    place: str = ""
    configuration: Configuration = field(default_factory=dict)  # type: ignore[assignment]
    seeds: tuple[int, ...] = ()
    data_seeds: tuple[int, ...] = ()
    resume: str | None = None
    rival: str | None = None
    spread: float = 0.0
    keep_above: float | None = None
    losses: tuple[Any, ...] = ()
    batch_sizes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Ready:
    """A worker has its backend and its data."""

    pid: int


@dataclass(frozen=True)
class Resumed:
    """A job goes on behind these epochs of an earlier attempt."""

    history: list[dict[str, Any]]


@dataclass(frozen=True)
class Epoch:
    """An epoch has ended; the answer is None to go on, or why not to.

    Args:
        repeat: from 0.
        number: from 1.
        row: loss and figures.
    """

    repeat: int
    number: int
    row: dict[str, float]


@dataclass(frozen=True)
class Ended:
    """A job has ended by itself.

    Args:
        outcome: complete, pruned or failed; `outside` where the machine was at fault, not the job.
        cause: of all but complete, in a sentence.
        traceback: of what is nobody's sentence.
        values: of the objectives.
        measures: one mapping a repeat, on the validation part.
        test: on the test part, of a confirmation.
        literal: parameters as the API takes them.
        memory: bytes the worker holds now.
    """

    outcome: Literal["complete", "pruned", "failed", "outside"]
    cause: str = ""
    traceback: str = ""
    values: list[float] | None = None
    measures: list[dict[str, float]] = field(default_factory=list)
    test: dict[str, float] = field(default_factory=dict)
    literal: dict[str, Any] = field(default_factory=dict)
    memory: int = 0


Said = Ready | Resumed | Epoch | Ended

Tell = Callable[[Said], str | None]
"""Says something to the supervisor; its answer to an epoch is None to go on, or why not to."""
