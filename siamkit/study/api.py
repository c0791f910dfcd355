"""A study from Python: run it, join it, train one of its trials again."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siamkit.backend import select
from siamkit.backend.select import float32_required
from siamkit.errors import StudyError
from siamkit.io.files import atomic_path, disk_full_as_error
from siamkit.io.paths import check_writable
from siamkit.runs.configuration import derive_seed
from siamkit.runs.run_folder import RunFolder
from siamkit.study.config.load import ResolvedStudy
from siamkit.study.execution.forecast import describe_study, forecast
from siamkit.study.execution.run import open_run
from siamkit.study.execution.session import check_feeds, open_session
from siamkit.study.monitoring.progress import NullProgress
from siamkit.study.results.results import Results
from siamkit.study.storage.open import check_same_training
from siamkit.study.worker.prepared_data import prepare_data
from siamkit.study.worker.trainer import Limits


def tune(
    study: str | os.PathLike[str],
    *,
    backend: str | None = None,
    plugins: Iterable[str] = (),
    artifacts: str | os.PathLike[str] | None = None,
    progress: str = "auto",
) -> Results:
    """Run a study, or resume one that was stopped.

    Args:
        study: the study file.
        backend: Keras backend (jax, torch, tensorflow); by default KERAS_BACKEND, else the study file's, else
            an installed one.
        plugins: modules of your own that register components, in addition to those that the file names.
        artifacts: the run folder, instead of the file's own.
        progress: kind of progress display: `live`, `plain`, `none`, or `auto` (live in a terminal, else
            plain).

    Returns:
        The results, which are also in the run folder.

    Raises:
        StudyFileError: the file has errors; the message lists all of them.
        StudyError: the study was started differently, is already running, or cannot be written.
        BackendError: the backend is not installed.

    Example:
        >>> import siamkit
        >>> results = siamkit.tune("study.yaml")        # doctest: +SKIP
        >>> model = results.load_model()                # doctest: +SKIP
    """
    with open_session("tune", study, backend, tuple(plugins), artifacts, progress) as session:
        # Nothing is written before it is known that the data fit the study.
        check_feeds(session)
        folder = session.folder
        with folder.locked(), open_run(session) as run, disk_full_as_error(folder.path):
            end = run.tune()
        is_interrupted = not end.is_finished
        if end.outcome is not None:
            return Results.of(end.outcome, interrupted=is_interrupted)
        return Results(folder.path, dict(session.data.objectives), folder.trials(), None, {}, is_interrupted)


def check_study(
    study: str | os.PathLike[str],
    *,
    backend: str | None = None,
    plugins: Iterable[str] = (),
    artifacts: str | os.PathLike[str] | None = None,
    progress: str = "auto",
) -> list[tuple[str, str]]:
    """Check a study with its data, and return what it will do and how long that takes; nothing is written.

    A worker trains a few steps with each encoder to measure the time.

    Args:
        study, backend, plugins, artifacts, progress: the same as for `tune`.

    Returns:
        Titles with texts, to print; a text without a title continues the one before it.

    Raises:
        StudyFileError: the file has errors; the message lists all of them.
        StudyError: the study was started differently, or the backend cannot train it.
        BackendError: the backend is not installed.
    """
    with open_session("check", study, backend, tuple(plugins), artifacts, progress) as session:
        check_feeds(session)
        rows = describe_study(session)
        session.progress.note("timing a few steps of each encoder")
        return [*rows, *forecast(session).rows()]


def join(
    study: str | os.PathLike[str],
    *,
    backend: str | None = None,
    plugins: Iterable[str] = (),
    artifacts: str | os.PathLike[str] | None = None,
    progress: str = "auto",
) -> bool:
    """Help a study that `tune` runs elsewhere, until its budget is spent.

    Args:
        study: the same study file, with a storage and `artifacts` that this machine can reach.
        backend, plugins, artifacts, progress: the same as for `tune`.

    Returns:
        True if the budget is spent; False if the user stopped this process before that.

    Raises:
        StudyError: the study was not started yet, or this machine differs from the one where it was started.
    """
    with (
        open_session("worker", study, backend, tuple(plugins), artifacts, progress) as session,
        open_run(session) as run,
    ):
        return run.help().is_finished


@dataclass(frozen=True)
class Retrained:
    """The result of training a trial again: the saved model and its measures.

    Args:
        path: the model's file.
        trial: the trial's number.
        epochs, seed: the number of epochs and the seed of the new training.
        measures: the new model's measures on the validation split, by name.
        before: the same measures of the trial itself; empty if it did not complete.
    """

    path: Path
    trial: int
    epochs: int
    seed: int
    measures: dict[str, float]
    before: dict[str, float]


def retrain_trial(
    study: ResolvedStudy,
    trial: int,
    path: str | os.PathLike[str],
    *,
    epochs: int | None = None,
    seed: int | None = None,
    backend: str | None = None,
    progress: NullProgress | None = None,
) -> Retrained:
    """Train the configuration of a trial again on the study's data, evaluate it and save the model.

    The study's limits of time and memory do not apply.

    Args:
        study: the study whose run folder has the trial.
        trial: the number of the trial.
        path: path of the `.keras` file to write.
        epochs: number of epochs; by default that of the study.
        seed: seed of the training; by default that of the trial. The same epochs and seed give the same
            model.
        backend: Keras backend; by default KERAS_BACKEND, else that of the study.
        progress: reporter of the progress; by default nothing is reported.

    Raises:
        StudyError: the trial does not exist, the study file or the data have changed, or the loss became NaN.
    """
    place = Path(path)
    if place.suffix != ".keras":
        raise StudyError(f"a model's file should end in .keras, got {str(place)!r}")
    check_writable(place)  # before hours of training
    folder = RunFolder(study.folder)
    snapshot = folder.snapshot()
    stored = folder.trial(trial)
    configuration: Any = stored.configuration
    check_same_training(study, snapshot)
    fixed = study.config.fixed
    if epochs is not None:
        fixed = fixed.model_copy(update={"epochs": epochs, "steps": None})
    if seed is None:
        seed = derive_seed(study.config.seed, configuration, 0)
    name, why = select.choose_backend(backend, started_with=snapshot.versions.backend)
    select.activate(name)
    reporter = progress or NullProgress()
    reporter.note(f"backend {name} ({why})")
    data, _ = prepare_data(study)
    if data.record["fingerprint"] != snapshot.data.fingerprint:
        raise StudyError(
            f"the data have changed since the study in {str(study.folder)!r} was run, so its trial "
            f"{trial} cannot be trained again"
        )

    from siamkit.study.worker.train import KerasTrainer

    reporter.begin("retraining", 0, 1, data.objective.name)
    label = f"trial {trial}"
    reporter.run(label, configuration)
    with float32_required():
        trained = KerasTrainer(data, fixed).train(
            configuration,
            seed=seed,
            data_seed=derive_seed(study.config.seed, "data", 0),
            limits=Limits(),
            on_epoch=lambda number, row: reporter.epoch(label, number, fixed.evaluations, row),
        )
    with atomic_path(place) as file:
        trained.model.save(file)
    measures, objective = trained.scores.measures, data.objective.name
    reporter.ended(label, "complete", measures[objective], None, done=1)
    return Retrained(place, trial, fixed.evaluations, seed, measures, stored.measures)
