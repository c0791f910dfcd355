"""A study from Python: run it, join it, train one of its trials again."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from siamkit.backend import select
from siamkit.backend.select import float32_required
from siamkit.errors import StudyError
from siamkit.io.files import atomic_path, disk_full_as_error, write_text
from siamkit.io.paths import check_writable, display_path
from siamkit.registry.catalog import importable_from
from siamkit.registry.registry import components
from siamkit.runs.configuration import derive_seed
from siamkit.runs.results import BaselineResult
from siamkit.runs.run_folder import RunFolder
from siamkit.study._proposal import propose
from siamkit.study.config.given import (
    STUDY_FILE,
    GivenData,
    GivenStudy,
    given_dataset,
    given_document,
    given_folder,
    started_document,
    stored_data,
    with_data,
    with_path,
    write_study,
)
from siamkit.study.config.load import ResolvedStudy, resolve_study
from siamkit.study.config.schema import duration
from siamkit.study.config.yaml import YamlValue, read_document
from siamkit.study.execution.forecast import describe_study, forecast
from siamkit.study.execution.run import open_run
from siamkit.study.execution.session import check_feeds, open_session
from siamkit.study.monitoring.progress import NullProgress
from siamkit.study.results.results import Results
from siamkit.study.sampling.plan import check_plan
from siamkit.study.sampling.samplers import check_sampler
from siamkit.study.storage.open import check_same_training
from siamkit.study.worker.prepared_data import prepare_data
from siamkit.study.worker.trainer import Limits

DEFAULT_TIME = "10m"


def tune(
    study: GivenStudy | None = None,
    *,
    data: GivenData | None = None,
    time: str | None = None,
    backend: str | None = None,
    plugins: Iterable[str] = (),
    artifacts: str | os.PathLike[str] | None = None,
    progress: str = "auto",
) -> Results:
    """Run a study, or resume one that was stopped.

    Args:
        study: the study file, or its content as a dict. Without it, siamkit proposes a study of the data, as
            `siamkit init` does; the same call again continues it.
        data: the data, in place of those that the study names: a file or folder, which is read with the
            parameters in the study; a `siamkit.Dataset`; (x, labels), where x is an array of items, a list of
            texts, or a dict or data frame of columns; or (a, b, targets) for pairs. Data in memory are stored
            in the run folder.
        time: about how long a proposed study should take, such as `2h`; by default `10m`.
        backend: Keras backend (jax, torch, tensorflow); by default KERAS_BACKEND, else the study file's, else
            an installed one.
        plugins: modules of your own that register components, in addition to those that the file names.
        artifacts: the run folder, instead of the file's own; without a file, runs/NAME in the working
            directory.
        progress: kind of progress display: `live`, `plain`, `none`, or `auto` (live in a terminal, else
            plain).

    Returns:
        The results, which are also in the run folder.

    Raises:
        StudyFileError: the study has errors; the message lists all of them.
        StudyError: the study was started differently, is already running, or cannot be written.
        DataError: the data cannot be read, or a study cannot be proposed for them.
        BackendError: the backend is not installed.

    Example:
        >>> import siamkit
        >>> results = siamkit.tune("study.yaml")        # doctest: +SKIP
        >>> results = siamkit.tune(data=(x, labels))    # doctest: +SKIP
        >>> model = results.load_model()                # doctest: +SKIP
    """
    plugins = tuple(plugins)
    if data is None and isinstance(study, (str, os.PathLike)) and is_data(study):
        study, data = None, study
    with ExitStack() as until_done:
        resolved = _resolved(study, data, time, backend, plugins, artifacts, progress, until_done)
        session = until_done.enter_context(
            open_session("tune", resolved, backend, plugins, artifacts, progress)
        )
        # Nothing is written before it is known that the data fit the study.
        check_feeds(session)
        folder = session.folder
        is_written = not resolved.document.lines
        if is_written and not folder.exists() and (folder.path / STUDY_FILE).exists():
            raise StudyError(
                f"{str(folder.path / STUDY_FILE)!r} already exists, where the study would be stored; name "
                "another run folder (artifacts)"
            )
        with folder.locked(), open_run(session) as run, disk_full_as_error(folder.path):
            if is_written:
                write_study(resolved.document, folder.path)
            end = run.tune()
        is_interrupted = not end.is_finished
        if end.outcome is not None:
            return Results.of(end.outcome, interrupted=is_interrupted)
        return Results(folder.path, dict(session.data.objectives), folder.trials(), None, {}, is_interrupted)


def _resolved(
    study: GivenStudy | None,
    data: GivenData | None,
    time: str | None,
    backend: str | None,
    plugins: tuple[str, ...],
    artifacts: str | os.PathLike[str] | None,
    progress: str,
    until_done: ExitStack,
) -> ResolvedStudy:
    """Return the study to run, on the data to run it on; data in memory are stored until it is done."""
    checks = [check_sampler, check_plan]
    document = None if study is None else given_document(study)
    if document is not None and time is not None:
        raise StudyError(f"time is for proposed studies; write budget: {{time: {time}}} into this study")
    if data is None:
        if document is None:
            raise StudyError("tune needs a study file, a study as a dict, or data")
        return resolve_study(document, plugins, artifacts, checks=checks)
    if isinstance(data, (str, os.PathLike)):
        if document is not None:
            return resolve_study(with_path(document, Path(data)), plugins, artifacts, checks=checks)
        section: dict[str, YamlValue] = {"path": str(Path(data).resolve())}
    else:
        dataset = given_dataset(data)
        if document is not None:  # it is checked before the data are written
            placeholder = with_data(document, {"source": "digits"})
            resolve_study(placeholder, plugins, artifacts, checks=checks).check_data(dataset)
        section = until_done.enter_context(stored_data(dataset, given_folder(document, artifacts)))
    if document is not None:
        document = with_data(document, section)
    else:
        name = _study_name(data) if isinstance(data, (str, os.PathLike)) else DEFAULT_NAME
        started = started_document(Path(artifacts or f"runs/{name}"), section)
        if started is not None:
            return resolve_study(started, plugins, artifacts, checks=checks)
        proposal = propose(
            section,
            duration(time or DEFAULT_TIME),
            name=name,
            folder=Path(),
            backend=backend,
            plugins=plugins,
            progress=progress,
        )
        document = replace(proposal.document, name="the proposed study", lines={})
    return resolve_study(document, plugins, artifacts, checks=checks)


def propose_study(
    data: str | os.PathLike[str],
    path: str | os.PathLike[str] = "study.yaml",
    *,
    time: str = DEFAULT_TIME,
    force: bool = False,
    backend: str | None = None,
    plugins: Iterable[str] = (),
    progress: str = "auto",
) -> list[tuple[str, str]]:
    """Look at data, and write a study file with a search, steps and a budget that fit them and this machine.

    A worker trains a few steps with each encoder to measure the time.

    Args:
        data: a file or folder.
        path: the study file to write.
        time: about how long the study should take, such as `10m` or `2h`.
        force: whether to replace an existing file.
        backend, plugins, progress: the same as for `tune`.

    Returns:
        What the data are like, and how long the study takes: titles with texts, to print.

    Raises:
        StudyError: the file exists, or the worker failed.
        DataError: the data cannot be read, or have nothing to compare embeddings by.
    """
    file = Path(path)
    _check_new(file, force)
    check_writable(file)
    folder = file.parent
    proposal = propose(
        {"path": _relative(Path(data), folder)},
        duration(time),
        name=_study_name(data),
        folder=folder,
        backend=backend,
        plugins=tuple(plugins),
        progress=progress,
    )
    _check_new(file, force)  # the timing took a while
    write_text(file, proposal.text)
    lines = [("data" if not number else "", line) for number, line in enumerate(proposal.report.lines())]
    return [*lines, *proposal.forecast.rows(), ("study file", display_path(file))]


def _check_new(file: Path, force: bool) -> None:
    if file.exists() and not force:
        raise StudyError(f"{str(file)!r} already exists; write another file with --output, or use --force")


def _relative(data: Path, folder: Path) -> str:
    """Return the path of data relative to a folder, either of which may lie behind a symbolic link."""
    return os.path.relpath(data.parent.resolve() / data.name, folder.resolve())


def study_file_for(
    data: str | os.PathLike[str],
    path: str | os.PathLike[str] = "study.yaml",
    *,
    time: str = DEFAULT_TIME,
    backend: str | None = None,
    plugins: Iterable[str] = (),
    progress: str = "auto",
) -> tuple[Path, list[tuple[str, str]]]:
    """Return the study file of data, proposed if it does not exist yet, and what `propose_study` returns.

    Args:
        data: a file or folder.
        path: the study file.
        time, backend, plugins, progress: the same as for `propose_study`.

    Raises:
        StudyError: the file is a study of other data.
    """
    file = Path(path)
    if not file.exists():
        rows = propose_study(data, file, time=time, backend=backend, plugins=plugins, progress=progress)
        return file, rows
    section = read_document(file).data.get("data")
    used = section.get("path") if isinstance(section, dict) else None
    if not isinstance(used, str) or (file.parent / used).resolve() != Path(data).resolve():
        other = f", {used!r}" if isinstance(used, str) else ""
        raise StudyError(
            f"{str(file)!r} is a study of other data{other}; write one for these with `siamkit init "
            f"{shlex.quote(str(data))} --output FILE`, and run that file"
        )
    return file, [("study file", f"{display_path(file)} (it exists, and is used)")]


DEFAULT_NAME = "study"


def _study_name(data: str | os.PathLike[str]) -> str:
    """Return a name for a study of these data, which its schema allows."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(data).resolve().stem).strip("-._")
    return name[:100] or DEFAULT_NAME


def is_data(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is one of data rather than of a study file."""
    return Path(path).is_dir() or components().dataset_for(Path(path).suffix.lower()) is not None


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
        baseline: the best embedding without training of the same items; None if none was evaluated.
    """

    path: Path
    trial: int
    epochs: int
    seed: int
    measures: dict[str, float]
    before: dict[str, float]
    baseline: BaselineResult | None = None


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
    with float32_required(), importable_from(study.document.folder):  # for callbacks of the user
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
    before, baseline = stored.measures, folder.best_baseline(data.objective)
    if data.folds > 1:  # the stored measures are means over folds, and the new model has the first alone
        before = stored.repeats[0] if stored.complete else {}
        baseline = baseline and baseline.model_copy(update={"valid": baseline.folds[0]})
    return Retrained(place, trial, fixed.evaluations, seed, measures, before, baseline)
