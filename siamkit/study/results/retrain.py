"""Trains one trial of a study again, longer if needed; the study itself does not change."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siamkit.backend import select
from siamkit.backend.precision import float32_required
from siamkit.errors import StudyError
from siamkit.io.files import atomic_path
from siamkit.io.paths import check_writable
from siamkit.runs.run_folder import RunFolder
from siamkit.study.config.fingerprint import derive_seed
from siamkit.study.config.load import ResolvedStudy
from siamkit.study.monitoring.progress import NullProgress
from siamkit.study.worker.prepared_data import prepare_data
from siamkit.study.worker.trainer import Limits


@dataclass(frozen=True)
class Retrained:
    """A trial that was trained again.

    Args:
        path: the model's file.
        trial: the trial's number.
        epochs, seed: what it was trained with.
        measures: on the validation split.
        before: those of the trial itself; empty if it did not complete.
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

    Args:
        study: the study; its run folder has the trial.
        trial: the number of the trial.
        path: of the `.keras` file to write; its limits of time and memory are not the study's.
        epochs: by default those of the study.
        seed: by default that of the trial; the same epochs and seed give the same model.
        backend: by default KERAS_BACKEND, or that of the study.
        progress: reports the progress.

    Raises:
        StudyError: no such trial, other data than the study's, or the loss became NaN.
    """
    place = Path(path)
    if place.suffix != ".keras":
        raise StudyError(f"a model's file should end in .keras, got {str(place)!r}")
    check_writable(place)  # before hours of training
    folder = RunFolder(study.folder)
    snapshot = folder.snapshot()
    stored = folder.trial(trial)
    configuration: Any = stored.configuration
    fixed = study.config.fixed
    if epochs is not None:
        fixed = fixed.model_copy(update={"epochs": epochs})
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
            on_epoch=lambda number, row: reporter.epoch(label, number, fixed.epochs, row),
        )
    with atomic_path(place) as file:
        trained.model.save(file)
    measures, objective = trained.scores.measures, data.objective.name
    reporter.ended(label, "complete", measures[objective], None, done=1)
    return Retrained(place, trial, fixed.epochs, seed, measures, stored.measures)
