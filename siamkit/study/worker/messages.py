"""The messages between a supervisor and its workers, and the events of a job: data that crosses processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue

from siamkit.registry.specs import LossSpec, Spec
from siamkit.runs.configuration import Configuration
from siamkit.runs.results import Versions
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
    "futility",  # significantly worse than the best trial or the best baseline
    "lost",  # another process ended the trial
]


@dataclass(frozen=True)
class Cause:
    """The cause of an attempt's early end.

    Args:
        kind: the kind of cause, for programs.
        text: the cause as a sentence, for the user.
        traceback: the traceback of an exception; else empty.
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
        trainer: the class that trains and evaluates, as `module:class`
            (`siamkit.study.worker.trainer.Trainer`).
        run_folder: the path or URL of the run folder.
        modules: the plugin modules of the study.
        specs: components that were registered in this session.
        path: the supervisor's `sys.path`.
        versions: the installed versions, as `fingerprint.versions` returns them; other machines must have the
            same.
        memory_share: the worker's share of an accelerator's memory; `siamkit.backend.select.limit_memory`
            says more.
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
    memory_share: float | None = 1.0


@dataclass(frozen=True)
class DataWritten:
    """A message to a worker: the data are in the folder that its setup names."""


@dataclass(frozen=True)
class TrialJob:
    """A job: train and evaluate a configuration.

    Args:
        folder: the path or URL of the folder that only this job writes to.
        configuration: the configuration.
        seeds: the seed of each repeat.
        data_seeds: the seed of the ablation of the training data for each repeat. All configurations get the
            same seeds, so that they are compared on the same items and the same wrong labels.
        folds: the fold that is the validation split of each repeat; all 0 without folds.
        resume: the folder of an earlier attempt that left a checkpoint.
        best_queries: the file with the scores by query of the best trial; further seeds that are futile
            compared with it are not trained.
        baseline_queries: the same of the best baseline; a first seed that is futile compared with it is not
            trained to its end.
        seed_std: the standard deviation of the first objective between seeds, as far as it is known.
        keep_above: embeddings are saved if the first objective is above this value; higher is better in both.
    """

    folder: str
    configuration: Configuration
    seeds: tuple[int, ...]
    data_seeds: tuple[int, ...]
    folds: tuple[int, ...]
    resume: str | None = None
    best_queries: str | None = None
    baseline_queries: str | None = None
    seed_std: float = 0.0
    keep_above: float | None = None


@dataclass(frozen=True)
class RepeatJob:
    """A job: train a finalist with one more seed, and also score it on the test split.

    Args:
        folder: the path or URL of the folder that only this job writes to.
        configuration: the configuration.
        seed, data_seed, fold: the seeds and the fold of one repeat, as in `TrialJob`.
        resume: the folder of an earlier attempt that left a checkpoint.
    """

    folder: str
    configuration: Configuration
    seed: int
    data_seed: int
    fold: int
    resume: str | None = None


@dataclass(frozen=True)
class BaselinesJob:
    """A job: evaluate the baselines on a split, and write their results into the run folder.

    Args:
        run_folder: the path or URL of the run folder.
        names: the names of the baselines; none for all that fit the data.
        untrained: a configuration for each encoder of the search space, for the baseline `random`.
        split: the split; the test split is evaluated only after the finalists are confirmed.
    """

    run_folder: str
    names: tuple[str, ...]
    untrained: tuple[Configuration, ...]
    split: Literal["valid", "test"]


@dataclass(frozen=True)
class FeedsJob:
    """A job: check that batches for each loss can be formed from the training data.

    Args:
        losses: all losses of the study.
        batch_sizes: the batch sizes to check with.
    """

    losses: tuple[LossSpec, ...]
    batch_sizes: tuple[int, ...]


@dataclass(frozen=True)
class TimingJob:
    """A job: measure how long a training takes, by a few steps of it.

    It ends with one mapping of `measures` for each configuration: the fields of
    `siamkit.study.worker.trainer.Timing`.

    Args:
        configurations: the configurations, usually one for each encoder.
    """

    configurations: tuple[Configuration, ...]


Job = TrialJob | RepeatJob | FeedsJob | BaselinesJob | TimingJob


# ------------------------------------------------------------------ from a worker


@dataclass(frozen=True)
class Ready:
    """A message: the worker has its backend and its data."""

    pid: int


@dataclass(frozen=True)
class Resumed:
    """A message: the job continues after these epochs of an earlier attempt; each row has its `repeat`."""

    history: list[Row]


@dataclass(frozen=True)
class Epoch:
    """A message: an epoch has ended. The supervisor answers None to continue, or the cause to stop.

    Args:
        repeat: the number of the repeat, from 0.
        number: the number of the epoch, from 1.
        row: the measures of the epoch.
    """

    repeat: int
    number: int
    row: Row


@dataclass(frozen=True)
class Ended:
    """A message: the job has ended by itself, or by a limit.

    Args:
        outcome: complete, pruned or failed.
        cause: the reason why it is not complete.
        values: the values of the objectives, means over the repeats.
        measures: the measures on the validation split, one mapping for each repeat.
        epochs: the best epoch of each repeat, from 1: its model is kept, and has these measures.
        test_measures: the measures on the test split, for repeats of finalists only.
        resolved_params: the parameters as the API takes them.
        memory: bytes that the process of the worker holds now.
    """

    outcome: Literal["complete", "pruned", "failed"]
    cause: Cause | None = None
    values: list[float] | None = None
    measures: list[dict[str, float]] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    test_measures: dict[str, float] = field(default_factory=dict)
    resolved_params: ResolvedParams = field(default_factory=dict)
    memory: int = 0


Message = Ready | Resumed | Epoch | Ended

Send = Callable[[Message], Cause | None]
"""Function that sends a message to the supervisor, and returns its answer to an `Epoch`."""


# ------------------------------------------------------------------ events of a job


@dataclass(frozen=True)
class Attempt:
    """One training, of a trial or of a repeat of a finalist.

    Args:
        trial: the number of the trial.
        repeat: the number of the finalist's repeat; None for a trial.
        token: the random name of the attempt; for a finalist, the key of its configuration.
        number: the number of the attempt at its trial, from 1.
        configuration: the configuration.
    """

    trial: int
    repeat: int | None
    token: str
    number: int
    configuration: Configuration

    @property
    def label(self) -> str:
        """The name that the user reads: `trial 3` or `final 3/0`."""
        return f"trial {self.trial}" if self.repeat is None else f"final {self.trial}/{self.repeat}"

    @property
    def name(self) -> str:
        """A short name that also serves for a folder."""
        return str(self.trial) if self.repeat is None else f"final-{self.trial}-{self.repeat}"


@dataclass(frozen=True)
class Started:
    """An event: a worker has the job."""


@dataclass(frozen=True)
class Finished:
    """An event: the job ended by itself, or by a limit, after `seconds`."""

    ended: Ended
    seconds: float


@dataclass(frozen=True)
class Lost:
    """An event: another process took the job over, and its worker no longer works on it."""


@dataclass(frozen=True)
class Died:
    """An event: the process of the job's worker ended, or was suspended for too long."""

    cause: Cause


JobEvent = Started | Resumed | Epoch | Finished | Lost | Died
