"""The data that all trials of a study share: split, prepared, and degraded where it varies. No Keras here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from siamkit.data.ablation import ablate
from siamkit.data.dataset import Dataset
from siamkit.data.leakage import find_overlap
from siamkit.data.preprocessing.base import Preprocessor, Shape
from siamkit.data.preprocessing.kinds import fit_preprocessor
from siamkit.data.splits import Split, split
from siamkit.errors import DataError, StudyFileError
from siamkit.runs.configuration import Configuration
from siamkit.study.config.fingerprint import derive_seed
from siamkit.study.config.load import ResolvedStudy
from siamkit.study.config.schema import Direction
from siamkit.study.config.search_space import Values


@dataclass(frozen=True)
class PreparedData:
    """What all trials of a study share.

    Args:
        train, valid, test: the parts, prepared for an encoder.
        preprocessor: what prepared them, fitted on the training part.
        objectives: figure to direction; the first names the best.
        needs: what the training part tells components: `num_classes`, `vocabulary_size`, ….
        record: of the data and the split, for the frozen study.
        overlap: what parts have in common, if that was asked for; it makes no study another one.
    """

    train: Dataset
    valid: Dataset
    test: Dataset
    preprocessor: Preprocessor
    objectives: dict[str, Direction]
    needs: dict[str, Any]
    record: dict[str, Any]
    overlap: dict[str, Any] | None = None

    @property
    def objective(self) -> str:
        """The figure that names the best."""
        return next(iter(self.objectives))

    def better(self, value: float) -> float:
        """The first objective turned so that higher is better."""
        return value if self.objectives[self.objective] == "maximize" else -value


def prepare_data(study: ResolvedStudy, overlap: bool = False) -> tuple[PreparedData, Dataset]:
    """Reads, splits and prepares a study's data; returns the raw validation items too.

    Args:
        study: the file.
        overlap: whether to look for what parts have in common, some seconds where items are many.

    Raises:
        StudyFileError, DataError: the data are not there or do not suit the study.
    """
    dataset = study.load_data()
    limit = {part: count for part, count in study.config.data.limit.model_dump().items() if count is not None}
    try:
        parts = _split(study, dataset, limit)
    except DataError as error:
        raise StudyFileError([f"{study.document.at(('data', 'split'))}: {error}"]) from error
    train, valid, test = (dataset.take(indices) for indices in (parts.train, parts.valid, parts.test))
    _check_parts(study, valid=valid, test=test)
    preprocessor = fit_preprocessor(train)
    needs = dict(preprocessor.facts)
    if train.supervision == "labels":
        needs["num_classes"] = len(train.classes)
    record = {
        "fingerprint": dataset.fingerprint(),
        "items": len(dataset),
        "supervision": dataset.supervision,
        "input": dataset.input,
        "input_shape": _plain(preprocessor.input_shape),
        "split": parts.record,
    }
    if study.space.data:
        record["scarcest"] = scarcest(study.space.data)
    task = PreparedData(
        _prepared(train, preprocessor),
        _prepared(valid, preprocessor),
        _prepared(test, preprocessor),
        preprocessor,
        study.objectives(dataset),
        needs,
        record,
        find_overlap({"train": train, "valid": valid, "test": test}) if overlap else None,
    )
    return task, valid


def _split(study: ResolvedStudy, dataset: Dataset, limit: dict[str, int]) -> Split:
    asked = study.config.data.split
    return split(
        dataset,
        by=asked.by,
        train=asked.train,
        valid=asked.valid,
        test=asked.test,
        seed=derive_seed(study.config.seed, "split"),
        limit=limit or None,
    )


def _check_parts(study: ResolvedStudy, **parts: Dataset) -> None:
    """Refuses parts by which nothing can be judged, before anything is trained."""
    for name, part in parts.items():
        if (why := _no_judge(name, part)) is not None:
            raise StudyFileError([f"{study.document.at(('data', 'split'))}: {why}"])


def _no_judge(name: str, part: Dataset) -> str | None:
    """Why all figures of a part would be perfect or undefined."""
    assert part.target is not None
    values, counts = np.unique(np.asarray(part.target), return_counts=True)
    if part.supervision == "pairs" and len(values) < 2:
        kind = "alike" if part.target[0] else "unlike"
        return (
            f"the pairs of the {name} part are all {kind}, so nothing can be told apart in it; a study "
            "judges by pairs of both kinds"
        )
    if part.supervision == "scores" and len(values) < 2:
        return f"the scores of the {name} part are all {values[0]:g}, so no order can be told in it"
    if part.supervision == "labels" and len(values) < 2:
        return (
            f"the {name} part holds one class only ({str(values[0])!r}), so nothing can be told apart in it; "
            f"give it 2 classes or more, by a larger fraction or a list ({name}: [a, b])"
        )
    if part.supervision == "labels" and counts.max() < 2:
        return (
            f"no class of the {name} part has two items, so none has another one to find; give it a larger "
            "fraction"
        )
    return None


def _prepared(part: Dataset, preprocessor: Preprocessor) -> Dataset:
    # Texts are token ids once they are prepared, and columns a record of arrays.
    kind = {"text": "tokens", "tabular": "records"}.get(part.input, part.input)
    return replace(part, views=tuple(preprocessor(view) for view in part.views), input=kind)


def _plain(shape: Shape) -> list[int] | dict[str, list[int]]:
    """A shape as JSON has it."""
    return {name: list(each) for name, each in shape.items()} if isinstance(shape, dict) else list(shape)


def training_data(task: PreparedData, configuration: Configuration, seed: int) -> Dataset:
    """What a trial trains on.

    Args:
        task: the data of all trials.
        configuration: what was drawn; its `data` says what is made worse.
        seed: another repeat has other items, and other errors in them.
    """
    varied: dict[str, Any] = dict(configuration.get("data", {}))
    return ablate(task.train, **varied, seed=derive_seed(seed, "data")) if varied else task.train


def scarcest(varied: Mapping[str, Values]) -> list[dict[str, Any]]:
    """The scarcest data that may be drawn, with each noise that may go with it; plain data.

    Images are not corrupted, which makes no feed harder.

    Args:
        varied: the factors of the data, as the space has them.

    Example:
        >>> from siamkit.study.config import Values
        >>> scarcest({"items_per_class": Values((8, 2, None)), "label_noise": Values(low=0.0, high=0.3)})
        [{'items_per_class': 2}, {'items_per_class': 2, 'label_noise': 0.3}]
    """
    ends = {name: _ends(values) for name, values in varied.items() if name != "corruption"}
    noise = ends.pop("label_noise", [])
    few = {name: max(each) if name == "imbalance" else min(each) for name, each in ends.items() if each}
    return [each for each in (few, *({**few, "label_noise": share} for share in noise if share)) if each]


def scarcest_data(task: PreparedData) -> dict[str, Dataset]:
    """The training data that feeds are tried on before the first trial, beside the training part itself.

    Returns:
        Datasets by the beginning of a sentence about them; none where the study varies no data.
    """
    return {
        "with " + ", ".join(f"{name} {value:g}" for name, value in asked.items()) + ": ": ablate(
            task.train, **asked, seed=0
        )
        for asked in task.record.get("scarcest", [])
    }


def _ends(values: Values) -> list[Any]:
    """The values that are listed, or both ends of a range; null, which is all that there is, is left out."""
    return [value for value in values.options or (values.low, values.high) if value is not None]
