"""Exports the best model of a study with its card, and its encoder in other formats."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from siamkit.backend import select
from siamkit.data.dataset import Leaf
from siamkit.errors import DataError, SiamkitError, StudyError
from siamkit.export.formats import check_writable
from siamkit.io.files import atomic_path, to_jsonable, write_json
from siamkit.registry.importing import importable_from
from siamkit.runs.configuration import factors_of
from siamkit.runs.outcome import StudyOutcome, measures_by_split, read_outcome
from siamkit.runs.results import Snapshot
from siamkit.stats.results import Difference, Interval
from siamkit.study.config.load import ResolvedStudy
from siamkit.study.results.model_card import model_card
from siamkit.study.results.results import Results
from siamkit.study.worker.prepared_data import prepare_data


def describe_best(outcome: StudyOutcome) -> dict[str, Any]:
    """Return the best configuration and its measures as plain data."""
    results = Results.of(outcome)
    description: dict[str, Any] = to_jsonable(
        {
            "study": outcome.snapshot.name,
            "trial": outcome.trial,
            "confirmed": outcome.confirmed,
            "objectives": results.objectives,
            "configuration": results.winner,
            "factors": results.factors,
            "figures": results.measures,
            "test_interval": _asdict(results.test_interval),
            "lead": _asdict(results.lead),
            "checks": [asdict(check) for check in results.checks],
            "repeats": [measures_by_split(repeat) for repeat in outcome.repeats],
            "model": str(outcome.model),
        }
    )
    return description


def _asdict(found: Interval | Difference | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)


def export_best(
    study: ResolvedStudy, target: str | os.PathLike[str], formats: Sequence[str] = ()
) -> dict[str, Any]:
    """Write the best model of a study with its card and, in other formats, its encoder.

    Args:
        study: the study; its run folder has the results.
        target: the folder to create, or an empty one.
        formats: `onnx`, `saved_model`; the output of each is compared with the model.

    Returns:
        The content of `model.json`.

    Raises:
        StudyError: no trial completed, or the folder is not empty.
        ModelError: the model cannot be loaded, or a format is not available.
    """
    place = Path(target)
    if place.exists() and not (place.is_dir() and not any(place.iterdir())):
        raise StudyError(f"{str(place)!r} already exists; choose a new or an empty folder")
    outcome = read_outcome(study.folder)
    if not outcome.model.is_file():
        raise StudyError(
            f"the model of the best trial, {str(outcome.model)!r}, is missing; "
            "'siamkit retrain' makes it again"
        )
    check_writable(formats)
    trained_on = outcome.snapshot.versions.backend
    name, _ = select.choose_backend(started_with=trained_on if trained_on in select.installed() else None)
    select.activate(name)

    from siamkit.export.description import write_model
    from siamkit.export.formats import export_encoder, input_of, random_items
    from siamkit.model.load import load_model

    model = load_model(outcome.model, compile=False)
    items = _items(study, outcome, model.preprocessor) if formats else None
    # The process that writes other formats imports the study's own modules, too.
    with importable_from(study.document.folder), atomic_path(place) as folder:
        folder.mkdir()
        about = write_model(model, outcome.model, folder)
        exports = export_encoder(model, outcome.model, folder, formats, items, study.config.plugins)
        about |= {
            "input": input_of(random_items(model, 1)),
            "exports": {name: asdict(export) for name, export in exports.items()},
            "compared_on": None if not formats else "random items" if items is None else "validation items",
            "data": outcome.snapshot.data.model_dump(mode="json", exclude_unset=True),
            "precision": _precision(outcome.snapshot),
            "versions": (outcome.chosen.versions or outcome.snapshot.versions).model_dump(),
            **describe_best(outcome),
            # Each repeat has its own margins: they are in typical distances under its initial weights.
            "configuration": outcome.configuration,
            "factors": factors_of(outcome.configuration),
            "model": "model.keras",
        }
        write_json(folder / "model.json", about)
        (folder / "README.md").write_text(model_card(outcome, about), encoding="utf-8")
    return about


def _precision(snapshot: Snapshot) -> str:
    fixed = snapshot.study["fixed"]
    assert isinstance(fixed, dict)
    return str(fixed["precision"])


def _items(study: ResolvedStudy, outcome: StudyOutcome, preprocessor: Any) -> Leaf | None:
    """Return some validation items, prepared by the model; None if the data of the study are missing."""
    try:
        task, raw = prepare_data(study)
    except (SiamkitError, OSError):
        return None
    if task.record["fingerprint"] != outcome.snapshot.data.fingerprint or preprocessor is None:
        return None
    try:
        prepared: Leaf = preprocessor(raw.take(np.arange(min(len(raw), 64))).views[0])
    except DataError:
        return None
    return prepared
