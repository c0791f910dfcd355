"""The messages between a supervisor and its workers, and the events of a job: data that crosses processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue

from siamkit.registry.specs import LossSpec, Spec
from siamkit.runs.configuration import Configuration
from siamkit.study.config.fingerprint import Versions
from siamkit.study.config.schema import StudyConfig

Row = dict[str, float]
"""The measures of an epoch, with `epoch` from 1 and the training loss."""

ResolvedParams = dict[str, JsonValue]
"""Parameters as the API takes them: the loss's margins in the metric's own units, and the unit itself."""

CauseKind = Literal[
    "timeout",  # the limit of time
    "memory",  # the limit of memory
    "nan",  # a loss, an embedding or an objective is NaN or infinite
    "error",  # a component or the data refused, in a sentence
    "exception",  # anything else that was raised
    "crashed",  # the process ended by its own fault, such as a segmentation fault
    "killed",  # the process was ended from outside
    "stopped",  # the process was suspended for too long
    "disk_full",  # the machine could not write
    "collapsed",  # useless embeddings
    "worse",  # worse than the other trials at this epoch
    "futility",  # the first seed is significantly worse than the best trial
    "lost",  # another process ended the trial
]


@dataclass(frozen=True)
class Cause:
    """Why an attempt stopped before its end.

    Args:
        kind: for programs.
        text: for the user, as a sentence.
        traceback: of an exception.
    """

    kind: CauseKind
    text: str
    traceback: str = ""


# ------------------------------------------------------------------ from the supervisor


@dataclass(frozen=True)
class Setup:
    """Everything that a worker needs before its first job.

    Args:
        backend: the Keras backend.
        config: the parsed study file.
        data_folder: the folder of the prepared data, which workers on this machine map into memory.
        trainer: what trains and evaluates, as `module:class` (`siamkit.study.worker.trainer.Trainer`).
        run_folder: the path or URL of the run folder.
        modules: the plugin modules of the study.
        specs: components that were registered in this session.
        path: the supervisor's `sys.path`.
        versions: as `fingerprint.versions` returns them; other machines must have the same.
    """

    backend: str
    config: StudyConfig
    data_folder: str
    trainer: str
    run_folder: str
    modules: tuple[str, ...]
    specs: tuple[Spec, ...]
    path: tuple[str, ...]
    versions: Versions


@dataclass(frozen=True)
class TrialJob:
    """Train and evaluate a configuration.

    Args:
        folder: the path or URL that only this job writes to.
        configuration: the configuration.
        seeds: one for each repeat.
        data_seeds: of the ablation of the training data, one for each repeat: the same for all
            configurations, which are so compared on the same items and the same wrong labels.
        resume: the folder of an earlier attempt that left a checkpoint.
        best_queries: the file with the scores by query of the best trial, to stop futile seeds by.
        seed_std: the standard deviation of the first objective between seeds, as far as it is known.
        keep_above: embeddings are kept if the first objective, signed such that higher is better, is above.
    """

    folder: str
    configuration: Configuration
    seeds: tuple[int, ...]
    data_seeds: tuple[int, ...]
    resume: str | None = None
    best_queries: str | None = None
    seed_std: float = 0.0
    keep_above: float | None = None


@dataclass(frozen=True)
class RepeatJob:
    """Train a finalist with one more seed, and score it on the test split, too.

    Args:
        folder: the path or URL that only this job writes to.
        configuration: the configuration.
        seed, data_seed: as one of those of a `TrialJob`.
        resume: the folder of an earlier attempt that left a checkpoint.
    """

    folder: str
    configuration: Configuration
    seed: int
    data_seed: int
    resume: str | None = None


@dataclass(frozen=True)
class FeedsJob:
    """A job: check that batches for each loss can be formed from the training data.

    Args:
        losses: all losses of the study.
        batch_sizes: the batch sizes to check with.
    """

    losses: tuple[LossSpec, ...]
    batch_sizes: tuple[int, ...]


Job = TrialJob | RepeatJob | FeedsJob


# ------------------------------------------------------------------ from a worker


@dataclass(frozen=True)
class Ready:
    """A worker has its backend and its data."""

    pid: int


@dataclass(frozen=True)
class Resumed:
    """A job continues after these epochs of an earlier attempt; each row has its `repeat`."""

    history: list[Row]


@dataclass(frozen=True)
class Epoch:
    """An epoch has ended; the supervisor answers None to continue, or why to stop.

    Args:
        repeat: from 0.
        number: from 1.
        row: its measures.
    """

    repeat: int
    number: int
    row: Row


@dataclass(frozen=True)
class Ended:
    """A job has ended by itself, or by a limit.

    Args:
        outcome: complete, pruned or failed.
        cause: why it is not complete.
        values: of the objectives, means over the repeats.
        measures: on the validation split, one mapping for each repeat.
        test_measures: on the test split, of repeats of finalists.
        resolved_params: the parameters as the API takes them.
        memory: bytes that the process of the worker holds now.
    """

    outcome: Literal["complete", "pruned", "failed"]
    cause: Cause | None = None
    values: list[float] | None = None
    measures: list[dict[str, float]] = field(default_factory=list)
    test_measures: dict[str, float] = field(default_factory=dict)
    resolved_params: ResolvedParams = field(default_factory=dict)
    memory: int = 0


Message = Ready | Resumed | Epoch | Ended

Send = Callable[[Message], Cause | None]
"""Sends a message to the supervisor; returns its answer to an `Epoch`."""


# ------------------------------------------------------------------ events of a job


@dataclass(frozen=True)
class Attempt:
    """One training, of a trial or of a finalist.

    Args:
        trial: the number of the trial.
        repeat: of a finalist; None for a trial.
        token: of the attempt; of a finalist, the key of its configuration.
        number: which attempt at its trial it is, from 1.
        configuration: the configuration.
    """

    trial: int
    repeat: int | None
    token: str
    number: int
    configuration: Configuration

    @property
    def label(self) -> str:
        """What the user reads: `trial 3` or `final 3/0`."""
        return f"trial {self.trial}" if self.repeat is None else f"final {self.trial}/{self.repeat}"

    @property
    def name(self) -> str:
        """A short name that also serves for a folder."""
        return str(self.trial) if self.repeat is None else f"final-{self.trial}-{self.repeat}"


@dataclass(frozen=True)
class Started:
    """A worker has the job."""


@dataclass(frozen=True)
class Finished:
    """The job ended by itself, or by a limit, after so many seconds."""

    ended: Ended
    seconds: float


@dataclass(frozen=True)
class Lost:
    """Another process took the job over, and its worker no longer works on it."""


@dataclass(frozen=True)
class Died:
    """The process of its worker ended, or was suspended for too long."""

    cause: Cause


JobEvent = Started | Resumed | Epoch | Finished | Lost | Died
