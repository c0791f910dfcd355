"""Run a job in a worker: train over its seeds while that is worth it, write its files, report its events."""

from __future__ import annotations

import dataclasses
import math
import traceback
from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
import psutil
from numpy.typing import ArrayLike, NDArray

from siamkit.backend.select import float32_required
from siamkit.data.thumbnails import augmented_items
from siamkit.errors import SiamkitError
from siamkit.evaluation.measures import GROUPS, groups_of
from siamkit.io.files import is_disk_full, local_file, read_table, write_array, write_arrays, write_table
from siamkit.io.paths import as_path
from siamkit.runs.configuration import Configuration, derive_seed
from siamkit.study.config.schema import Fixed, StudyConfig
from siamkit.study.config.search_space import recipe_of
from siamkit.study.worker.baselines import run_baselines
from siamkit.study.worker.checkpoint import Checkpoint
from siamkit.study.worker.messages import (
    BaselinesJob,
    Cause,
    Ended,
    Epoch,
    FeedsJob,
    Job,
    RepeatJob,
    Resumed,
    Row,
    Send,
    TimingJob,
    TrialJob,
)
from siamkit.study.worker.prepared_data import PreparedData
from siamkit.study.worker.trainer import (
    Arrays,
    EpochEnd,
    Limits,
    Pruned,
    Start,
    Trained,
    Trainer,
    TrialFailure,
)


class JobRunner:
    """A runner of jobs, one after the other.

    Args:
        config: the parsed study file.
        data: the data of the study.
        trainer_class: makes a trainer from data and the fixed settings.
    """

    def __init__(
        self, config: StudyConfig, data: PreparedData, trainer_class: Callable[[PreparedData, Fixed], Trainer]
    ) -> None:
        self._config, self._data, self._trainer_class = config, data, trainer_class
        self._further: tuple[int, PreparedData, Trainer] | None = None  # the fold that was used last, not 0

    def run(self, job: Job, send: Send) -> Ended:
        """Run a job. Errors are returned, not raised, except those that end the process."""
        try:
            with float32_required():  # also if a study trains in a user's own process
                ended = self._run(job, send)
        except Pruned as stop:
            ended = Ended("pruned", stop.cause)
        except TrialFailure as error:
            ended = Ended("failed", error.cause)
        except SiamkitError as error:
            ended = Ended("failed", Cause("error", str(error)))
        except Exception as error:
            # One bad trial never ends a study; its traceback goes into its result.
            text = f"{type(error).__name__}: {error}".strip().splitlines()[0][:500]
            kind = "disk_full" if is_disk_full(error) else "exception"
            ended = Ended("failed", Cause(kind, text, "".join(traceback.format_exception(error))))  # type: ignore[arg-type]
        # The checkpoint stays: the supervisor knows whether another process continues from it.
        return dataclasses.replace(ended, memory=psutil.Process().memory_info().rss)

    def _run(self, job: Job, send: Send) -> Ended:
        match job:
            case TrialJob():
                return self._run_trial(job, send)
            case RepeatJob():
                return self._run_repeat(job, send)
            case FeedsJob():
                for fold in range(self._data.folds):
                    self._fold(fold)[1].check_feeds(job.losses, job.batch_sizes)
                for file in self._data.models.values():
                    self._trainer.embedded_by(file, "valid", most=2)
                return Ended("complete")
            case BaselinesJob():
                run_baselines(job, self._fold)
                return Ended("complete")
            case TimingJob():
                self._trainer.timing(job.configurations[0])  # what a process does once is not of a training
                timings = map(self._trainer.timing, job.configurations)
                return Ended("complete", measures=[dataclasses.asdict(timing) for timing in timings])

    def _fold(self, fold: int) -> tuple[PreparedData, Trainer]:
        """Return the data with this fold as the validation split, and their trainer."""
        if not fold:
            return self._data, self._trainer
        if self._further is None or self._further[0] != fold:
            data = self._data.of_fold(fold)
            self._further = fold, data, self._trainer_class(data, self._config.fixed)
        return self._further[1:]

    @cached_property
    def _trainer(self) -> Trainer:
        return self._trainer_class(self._data, self._config.fixed)

    # ------------------------------------------------------------- trials

    def _run_trial(self, job: TrialJob, send: Send) -> Ended:
        checkpoint = _resume(job)
        state = checkpoint.state
        if state.history:
            send(Resumed(state.history))
        while state.repeat < len(job.seeds):
            seed, data_seed = job.seeds[state.repeat], job.data_seeds[state.repeat]
            fold = job.folds[state.repeat]
            trained = self._train(job, seed, data_seed, fold, checkpoint, send)
            if fold == state.repeat:  # the first seed
                self._write_queries(checkpoint, trained, fold)
            if state.repeat == 0:
                self._write_embeddings(job, checkpoint, trained)
                state.first_params = trained.resolved_params
            checkpoint.next_repeat(trained.scores.measures, trained.epoch)
            if state.repeat == self._data.folds < len(job.seeds):
                queries, when = self._stored_queries(checkpoint), "after the first seed"
                cause = self._futility(job, job.best_queries, queries, "the best trial", when)
                if cause is not None:
                    return self._ended(checkpoint, cause)
        ended = self._ended(checkpoint)
        if not all(math.isfinite(value) for value in ended.values or []):
            values = dict(zip(self._data.objectives, ended.values or [], strict=True))
            raise TrialFailure("nan", f"an objective is NaN or infinite: {values}")
        for measures in ended.measures:
            self._check_constrained(measures)
        return ended

    def _check_constrained(self, measures: Mapping[str, float]) -> None:
        for name in self._data.constrained:
            if not math.isfinite(value := measures.get(name, math.nan)):
                raise TrialFailure("nan", f"{name}, which has a constraint, is {value}")

    def _ended(self, checkpoint: Checkpoint, cause: Cause | None = None) -> Ended:
        repeats = checkpoint.state.measures
        return Ended(
            "complete" if cause is None else "pruned",
            cause,
            values=[float(np.mean([repeat[name] for repeat in repeats])) for name in self._data.objectives],
            measures=repeats,
            epochs=checkpoint.state.epochs,
            resolved_params=checkpoint.state.first_params,
        )

    def _train(
        self,
        job: TrialJob | RepeatJob,
        seed: int,
        data_seed: int,
        fold: int,
        checkpoint: Checkpoint,
        send: Send,
    ) -> Trained:
        """Train the current repeat, from its checkpoint if it has one."""
        budget, repeat = self._config.budget, checkpoint.state.repeat
        _, trainer = self._fold(fold)
        ends: list[EpochEnd] = []

        def on_checkpoint(end: EpochEnd) -> None:
            ends[:] = [end]
            checkpoint.save(end)

        def on_epoch(epoch: int, row: Row) -> None:
            cause = send(Epoch(repeat, epoch, row))
            if ends[0].is_last:
                return
            if cause is None and repeat == 0 and isinstance(job, TrialJob):
                cause = self._hopelessness(job, ends[0], checkpoint.epochs_so_far())
            if cause is not None:
                raise Pruned(cause)

        def train(start: Start | None) -> Trained:
            return trainer.train(
                job.configuration,
                seed=seed,
                data_seed=data_seed,
                limits=Limits(budget.trial_time, budget.trial_memory),
                on_epoch=on_epoch,
                on_checkpoint=on_checkpoint,
                start=start,
            )

        if (files := checkpoint.files_to_continue()) is None:
            return train(None)
        with local_file(files[0]) as model, local_file(files[1]) as best_model:
            return train(
                Start(model, checkpoint.epochs_so_far(), best_model, checkpoint.state.resolved_params)
            )

    def _write_queries(self, checkpoint: Checkpoint, trained: Trained, fold: int) -> None:
        """Write the scores by query, after those of the folds before this one."""
        file, queries = checkpoint.files.queries, trained.scores.queries
        if not queries:
            return
        columns = {"id": np.array([str(name) for name in self._fold(fold)[0].valid.ids]), **queries}
        if fold:
            # Without those of this fold, which a process wrote that was killed before it stored its state.
            before = read_table(file).slice(0, self._data.rows_before(fold))
            columns = {name: np.concatenate([before[name].to_numpy(), columns[name]]) for name in columns}
        write_table(file, columns)

    def _stored_queries(self, checkpoint: Checkpoint) -> Arrays:
        """Return the scores by query of the first seed, on all folds."""
        file, column = checkpoint.files.queries, self._data.objective.name
        if not file.is_file() or column not in (table := read_table(file)).column_names:
            return {}
        return {column: table[column].to_numpy()}

    def _write_embeddings(self, job: TrialJob, checkpoint: Checkpoint, trained: Trained) -> None:
        """Write what the report shows, if the trial may be among the best."""
        files, scores = checkpoint.files, trained.scores
        objective = self._data.objective
        if job.keep_above is None or objective.worth(scores.measures[objective.name]) > job.keep_above:
            write_array(files.embeddings, scores.embeddings)
            report_data = self._trainer.report_data(trained.model, scores.embeddings)
            write_arrays(files.report_data, report_data | self._augmented(job.configuration))

    def _hopelessness(self, job: TrialJob, end: EpochEnd, history: list[Row]) -> Cause | None:
        """Return why the rest of a training cannot reach the best baseline, or None.

        Early epochs of a good training are below a baseline too. So this waits for half of the epochs, and
        adds to each query of the best epoch what training has gained since the first. Curves flatten, so the
        rest usually gains less.
        """
        epoch, epochs, objective = int(end.row["epoch"]), self._config.fixed.evaluations, self._data.objective
        if 2 * epoch < epochs or objective.name not in end.best_queries:
            return None
        worths = [objective.worth(row[objective.name]) for row in history]
        gain = max(worths) - worths[0]
        return self._futility(
            job,
            job.baseline_queries,
            {objective.name: end.best_queries[objective.name] + gain},
            "the best baseline",
            f"after {epoch} of {epochs} epochs, even if the rest gains as much again ({gain:.2g})",
        )

    def _futility(
        self, job: TrialJob, file: str | None, queries: Arrays, better: str, when: str
    ) -> Cause | None:
        """Return why training is not worth it, compared with the scores by query in a file, or None."""
        column = self._data.objective.name
        if file is None or column not in queries or self._data.valid.target is None:
            return None
        if len(self._data.objectives) > 1 or not as_path(file).is_file():
            return None
        table = read_table(as_path(file))
        if column not in table.column_names:
            return None
        count = len(queries[column])  # of all folds, or of the first
        best, classes = table.column(column).to_numpy()[:count], self._data.validated_targets[:count]
        text = futility(queries[column], best, classes, job.seed_std, better, when)
        return None if text is None else Cause("futility", text)

    # ------------------------------------------------------------- finalists

    def _run_repeat(self, job: RepeatJob, send: Send) -> Ended:
        """Train a finalist, and also score it on the test split; no other code does this."""
        data, objective = self._data, self._data.objective.name
        checkpoint = _resume(job)
        # The state stays at its last epoch: a job killed from here on is evaluated again, and not trained.
        trained = self._train(job, job.seed, job.data_seed, job.fold, checkpoint, send)
        measures = trained.scores.measures
        if not math.isfinite(measures[objective]):
            raise TrialFailure("nan", f"the objective {objective} is {measures[objective]}")
        self._check_constrained(measures)
        groups = set(GROUPS) - ({"speed"} - groups_of(data.measured))
        # At the threshold that was calibrated on validation: new items are also judged at it.
        calibrated = measures.get("threshold", math.nan)
        threshold = calibrated if math.isfinite(calibrated) else None
        data, trainer = self._fold(job.fold)
        test = trainer.evaluate(trained.model, "test", groups, threshold)
        if test.queries:
            columns = {"id": data.test.ids, "target": np.asarray(data.test.target)}
            texts = {name: [str(value) for value in column] for name, column in columns.items()}
            write_table(checkpoint.files.test_queries, {**texts, **test.queries})
        report_data = trainer.report_data(trained.model, trained.scores.embeddings, test.embeddings)
        write_arrays(checkpoint.files.report_data, report_data | self._augmented(job.configuration))
        return Ended(
            "complete",
            measures=[measures],
            epochs=[trained.epoch],
            test_measures=test.measures,
            resolved_params=trained.resolved_params,
        )

    def _augmented(self, configuration: Configuration) -> Arrays:
        """Return a few training items as the configuration augments them, the same ones for all."""
        data, seed = self._data, derive_seed(self._config.seed, "augmented items")
        kind = str(data.record["input"])
        return augmented_items(data.train, recipe_of(configuration), kind, data.preprocessor, seed)


def _resume(job: TrialJob | RepeatJob) -> Checkpoint:
    return Checkpoint.resume(as_path(job.folder), as_path(job.resume) if job.resume else None)


Z = 3.0  # standard errors below what is better
MIN_CLASSES = 5  # with fewer, how much classes differ cannot be estimated


def futility(
    scores: ArrayLike,
    best_scores: ArrayLike,
    classes: ArrayLike,
    seed_std: float = 0.0,
    better: str = "the best trial",
    when: str = "after the first seed",
) -> str | None:
    """Return why a configuration needs no more training, or None if it does.

    Both embeddings answer the same queries, so the difference is taken query by query: that some queries
    are hard for every model does not matter. The queries of one class succeed and fail together, so the
    standard error is clustered by class: with s_g the sum of the differences of class g minus their mean,
    G classes and n queries, it is √(G / (G - 1) Σ s_g²) / n. A configuration is futile if it is more than 3
    standard errors below the best, by a t distribution with G - 1 degrees of freedom: one in 740 of equally
    good configurations.

    Queries do not show how a configuration varies between seeds; if this variation is known, it is added.

    Args:
        scores: `(n,)` the scores of its first seed by query, higher is better; NaN where a query has none.
        best_scores: `(n,)` those of the best trial or baseline, for the same queries in the same order.
        classes: `(n,)` the class of each query.
        seed_std: the standard deviation of the objective between the seeds of one configuration.
        better, when: what has these scores, and when it is compared, in words.
    """
    from scipy.special import ndtr, stdtrit  # late: slow to import

    differences, groups = _paired(scores, best_scores, classes)
    count = groups.max(initial=-1) + 1
    if count < MIN_CLASSES:
        return None
    mean = float(differences.mean())
    sums = np.bincount(groups, weights=differences - mean)
    error = float(np.sqrt(count / (count - 1) * (sums**2).sum())) / len(differences)
    # As rare under t as 3 standard errors under the normal distribution: 6.6 with 5 classes, 3.3 with 30.
    quantile = float(stdtrit(count - 1, ndtr(Z)))
    bound = float(np.hypot(quantile * error, Z * np.sqrt(2) * seed_std))
    if mean <= bound or mean <= 0:
        return None
    return (
        f"stopped for futility: {mean:.3g} below {better} on the same {len(differences):,} queries {when}; "
        f"up to {bound:.2g} could be chance"
    )


def _paired(
    scores: ArrayLike, best_scores: ArrayLike, classes: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the lead of the best scores, and the class, for each query with both scores."""
    differences = np.asarray(best_scores, float) - np.asarray(scores, float)
    finite = np.isfinite(differences)
    _, groups = np.unique(np.asarray(classes)[finite], return_inverse=True)
    return differences[finite], groups.astype(np.int64)
