"""The best of a study, and a folder with everything that its user needs. No Keras at the top."""

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
from siamkit.runs.outcome import StudyOutcome, read_outcome
from siamkit.stats.results import Difference, Interval
from siamkit.study.config.load import ResolvedStudy
from siamkit.study.config.search_space import factors_of
from siamkit.study.results.model_card import model_card
from siamkit.study.worker.prepared_data import prepare_data


def told(standing: StudyOutcome) -> dict[str, Any]:
    """The best configuration and its figures, for machines."""
    found: dict[str, Any] = to_jsonable(
        {
            "study": standing.frozen["name"],
            "trial": standing.trial,
            "confirmed": standing.confirmed,
            "objectives": standing.results.objectives,
            "configuration": standing.results.winner,
            "factors": standing.results.factors,
            "figures": standing.results.measures,
            "test_interval": _asdict(standing.results.test_interval),
            "lead": _asdict(standing.results.lead),
            "findings": [asdict(each) for each in standing.results.findings],
            "repeats": [standing.parts(each) for each in standing.repeats],
            "model": str(standing.model),
        }
    )
    return found


def _asdict(found: Interval | Difference | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)


def export_best(
    study: ResolvedStudy, target: str | os.PathLike[str], formats: Sequence[str] = ()
) -> dict[str, Any]:
    """Writes the best model of a study with its card and, in other formats, its encoder.

    Args:
        study: whose run folder has the results.
        target: the folder to make; it may be there, empty.
        formats: `onnx`, `saved_model`; each is run and compared with the model.

    Returns:
        What `model.json` holds.

    Raises:
        StudyError: nothing to export, or the folder holds something.
        ModelError: the model cannot be loaded, or a format cannot be had here.
    """
    place = Path(target)
    if place.exists() and not (place.is_dir() and not any(place.iterdir())):
        raise StudyError(f"{str(place)!r} is there already; name a new folder, or an empty one")
    standing = read_outcome(study.folder)
    if not standing.model.is_file():
        raise StudyError(f"the model of the best trial, {str(standing.model)!r}, is gone")
    check_writable(formats)
    trained_on = standing.frozen["versions"]["backend"]
    name, _ = select.choose_backend(begun=trained_on if trained_on in select.installed() else None)
    select.activate(name)

    from siamkit.export.description import write_model
    from siamkit.export.formats import export_encoder, input_of, random_items
    from siamkit.model.load import load_model

    model = load_model(standing.model, compile=False)
    items = _items(study, standing, model.preprocessor) if formats else None
    # The process that writes other formats imports the study's own modules, too.
    with importable_from(study.document.folder), atomic_path(place) as folder:
        folder.mkdir()
        about = write_model(model, standing.model, folder)
        exports = export_encoder(model, standing.model, folder, formats, items, study.config.plugins)
        about |= {
            "input": input_of(random_items(model, 1)),
            "exports": {name: asdict(export) for name, export in exports.items()},
            "compared_on": None if not formats else "made-up items" if items is None else "validation items",
            "data": standing.frozen["data"],
            "precision": standing.frozen["study"]["fixed"]["precision"],
            "versions": standing.chosen.get("versions") or standing.frozen["versions"],
            **told(standing),
            # A repeat has margins of its own: they were drawn in typical distances under its first weights.
            "configuration": standing.configuration,
            "factors": factors_of(standing.configuration),
            "model": "model.keras",
        }
        write_json(folder / "model.json", about)
        (folder / "README.md").write_text(model_card(standing, about), encoding="utf-8")
    return about


def _items(study: ResolvedStudy, standing: StudyOutcome, preprocessor: Any) -> Leaf | None:
    """Some validation items, prepared by the model; None if the study's data are not there any more."""
    try:
        task, raw = prepare_data(study)
    except (SiamkitError, OSError):
        return None
    if task.record["fingerprint"] != standing.frozen["data"]["fingerprint"] or preprocessor is None:
        return None
    try:
        prepared: Leaf = preprocessor(raw.take(np.arange(min(len(raw), 64))).views[0])
    except DataError:
        return None
    return prepared
