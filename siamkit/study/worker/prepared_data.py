"""The data that all trials of a study share: split, prepared, ablated if the study says so. No Keras."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from pydantic import JsonValue

from siamkit.data.ablation import ablate
from siamkit.data.dataset import Array, Dataset, Leaf, join, take
from siamkit.data.leakage import find_overlap
from siamkit.data.preprocessing import Altered, Preprocessor, Shape
from siamkit.data.preprocessing.columns import fit_preprocessor
from siamkit.data.splits import (
    Split,
    copies_among,
    labelled_rows,
    rows_of_large_classes,
    split,
    with_large_classes,
)
from siamkit.errors import DataError, StudyFileError
from siamkit.evaluation.baselines import read_embeddings
from siamkit.io.paths import existing_file
from siamkit.registry.specs import Supervision
from siamkit.runs.configuration import Configuration, derive_seed
from siamkit.runs.results import Direction, Objective
from siamkit.study.config.load import ResolvedStudy
from siamkit.study.config.schema import BASELINE_NAMES
from siamkit.study.config.search_space import Values

TEXTUAL = ("text", "tabular")
"""The kinds of input that hold texts."""

SplitName = Literal["train", "valid", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)


@dataclass(frozen=True)
class PreparedData:
    """The data that all trials of a study share.

    Args:
        train, valid, test: the splits, prepared for an encoder.
        preprocessor: the preprocessor that prepared them, fitted on the training split.
        objectives: the direction of each measure to optimize; the first measure decides which trial is the
            best.
        needs: the values of the training split that components need: `num_classes`, `vocabulary_size`, ….
        record: the description of the data and the split in the snapshot of the study.
        raw: the views of each split as read, if something needs them: preparing texts loses characters, and a
            model that is a baseline prepares items itself.
        given: embeddings of each split from files that the study names as baselines, by the baseline's name.
        models: the files of models that the study names as baselines, by the baseline's name.
        overlap: the items that splits have in common, if that was requested; it is not compared on resuming.
        constrained: the measures that have to keep a constraint.
        fold_of: with folds, `(n_train + n_valid,)` the number of the fold of each item of `train` and then of
            `valid`, which is fold 0; None without folds.
    """

    train: Dataset
    valid: Dataset
    test: Dataset
    preprocessor: Preprocessor
    objectives: dict[str, Direction]
    needs: dict[str, Any]
    record: dict[str, JsonValue]
    raw: Mapping[SplitName, tuple[Leaf, ...]] = field(default_factory=dict)
    given: Mapping[str, Mapping[SplitName, Array]] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    overlap: dict[str, JsonValue] | None = None
    constrained: tuple[str, ...] = ()
    fold_of: Array | None = None

    @property
    def measured(self) -> tuple[str, ...]:
        """The measures that every trial needs, the first objective first."""
        return tuple(dict.fromkeys([*self.objectives, *self.constrained]))

    @property
    def objective(self) -> Objective:
        """The first objective."""
        return Objective.first(self.objectives)

    @property
    def folds(self) -> int:
        """The number of folds; 1 without folds."""
        return 1 if self.fold_of is None else int(self.fold_of.max()) + 1

    def rows_before(self, fold: int) -> int:
        """Return the number of validation items of the folds before this one."""
        return 0 if self.fold_of is None else int((self.fold_of < fold).sum())

    @property
    def validated_targets(self) -> Array:
        """The targets of the validation items of all folds, fold by fold."""
        assert self.valid.target is not None
        if self.fold_of is None:
            return self.valid.target
        targets = np.concatenate([np.asarray(self.train.target), self.valid.target])
        return np.asarray(targets[np.argsort(self.fold_of, kind="stable")])

    def of_fold(self, fold: int) -> PreparedData:
        """Return the data with this fold as the validation split, and all others as the training split."""
        if not fold:
            return self
        assert self.fold_of is not None
        is_valid = self.fold_of == fold
        train, valid = np.flatnonzero(~is_valid), np.flatnonzero(is_valid)
        items = self.train.joined(self.valid)
        raw, given = dict(self.raw), {name: dict(arrays) for name, arrays in self.given.items()}
        if raw:
            views = [join(pair) for pair in zip(raw["train"], raw["valid"], strict=True)]
            raw["train"] = tuple(take(view, train) for view in views)
            raw["valid"] = tuple(take(view, valid) for view in views)
        for arrays in given.values():
            embeddings = np.concatenate([arrays["train"], arrays["valid"]])
            arrays["train"], arrays["valid"] = embeddings[train], embeddings[valid]
        others = items.take(train)
        return replace(
            self,
            train=others,
            valid=items.take(valid),
            raw=raw,
            given=given,
            needs={**self.needs, "num_classes": len(others.classes)},
            fold_of=None,
        )


def prepare_data(study: ResolvedStudy, overlap: bool = False) -> tuple[PreparedData, Dataset]:
    """Read, split and prepare the data of a study.

    Args:
        study: the study.
        overlap: whether to search for items that are in more than one split; with many items this takes
            seconds.

    Returns:
        The prepared data, and the validation items before preprocessing.

    Raises:
        StudyFileError, DataError: the data cannot be read, or do not fit the study.
    """
    whole = study.load_data()
    dataset, minimum = whole, study.config.data.min_items_per_class
    limits = study.config.data.limit.model_dump(exclude_none=True)
    with _at(study, "data", "min_items_per_class"):
        if minimum is not None:
            dataset = dataset.take(rows_of_large_classes(dataset, minimum))
    with _at(study, "data", "split"):
        indices = _split(study, dataset, limits)
    with _at(study, "data", "min_items_per_class"):
        if minimum is not None and indices.folds:  # each fold is in the training split of another
            indices = with_large_classes(dataset, indices, minimum)
    train, valid, test = (dataset.take(rows) for rows in (indices.train, indices.valid, indices.test))
    before = train
    with _at(study, "data", "min_items_per_class"):
        if minimum is not None and not indices.folds:
            train = train.take(rows_of_large_classes(train, minimum))
    for number, rows in enumerate(indices.folds, start=1):
        if _degenerate("valid", dataset.take(rows)) is not None:
            where = study.document.at(("data", "split", "folds"))
            raise StudyFileError(
                [f"{where}: fold {number} cannot be evaluated: no class of it has two items; use fewer folds"]
            )
    _check_splits(study, valid=valid, test=test)
    splits = {"train": train, "valid": valid, "test": test}
    with _at(study, "data", "text"):
        text = study.config.data.text
        # One preprocessor serves all folds, so it is fitted on all items but those of test.
        fitted_on = train.joined(valid) if indices.folds else train
        preprocessor = fit_preprocessor(fitted_on, **({} if text is None else text.model_dump()))
        preprocessor = preprocessor.with_columns(_columns_of(study))
    needs = dict(preprocessor.facts)
    if train.supervision == "labels":
        needs["num_classes"] = len(train.classes)
    record: dict[str, JsonValue] = {
        "fingerprint": whole.fingerprint(),
        "items": len(whole),
        "supervision": dataset.supervision,
        "input": dataset.input,
        "input_shape": _plain(preprocessor.input_shape),
        "split": indices.record,
        "notes": list(whole.notes),
    }
    if minimum is not None:
        indices.record["counts"]["train"] = len(train)
        record["left_out"] = {
            "min_items_per_class": minimum,
            "classes": len(whole.classes) - len(dataset.classes),
            "items": len(whole) - len(dataset),
            "train_classes": len(before.classes) - len(train.classes),
            "train_items": len(before) - len(train),
        }
    altered = {name: _altered(part, preprocessor) for name, part in splits.items()}
    if any(altered.values()):
        record["altered"] = {name: asdict(counts) for name, counts in altered.items()}
    if (share := study.config.data.labelled_share) is not None:
        labels_seed = derive_seed(study.config.seed, "labels")
        kept = len(labelled_rows(train.codes, share, labels_seed))
        record["labelled"] = {"share": share, "seed": labels_seed}
        record["notes"] = [
            *whole.notes,
            f"{kept:,} of {len(train):,} training items have labels (labelled_share: {share:g}).",
        ]
    if study.space.data:
        record["scarcest"] = scarcest(study.space.data)
    given, models = _given(study, whole, splits)
    data = PreparedData(
        _prepared(train, preprocessor),
        _prepared(valid, preprocessor),
        _prepared(test, preprocessor),
        preprocessor,
        study.objectives(dataset),
        needs,
        record,
        {name: splits[name].views for name in SPLITS} if models or dataset.input in TEXTUAL else {},
        given,
        models,
        _overlap(dataset, splits, indices) if overlap else None,
        tuple(study.config.constraints or ()),
        _fold_of(indices),
    )
    return data, valid


def _overlap(dataset: Dataset, splits: Mapping[str, Dataset], indices: Split) -> dict[str, JsonValue]:
    """Return the items that splits have in common, and those that folds of the training split have."""
    found = find_overlap(splits)
    if indices.folds:
        found["among_folds"] = copies_among(dataset, indices.folds[1:])
    return found


def _fold_of(indices: Split) -> Array | None:
    """Return the number of the fold of each training and validation item; None without folds."""
    if not indices.folds:
        return None
    rows = np.concatenate([indices.train, indices.valid])
    return np.asarray(np.argmax([np.isin(rows, fold) for fold in indices.folds], axis=0))


def _given(
    study: ResolvedStudy, whole: Dataset, splits: Mapping[str, Dataset]
) -> tuple[dict[str, dict[SplitName, Array]], dict[str, str]]:
    """Return the baselines that the study names by a path: embeddings of each split, and files of models."""
    given: dict[str, dict[SplitName, Array]] = {}
    models: dict[str, str] = {}
    for number, baseline in enumerate(study.config.baselines or []):
        if isinstance(baseline, str):
            continue
        name = baseline.name or Path(baseline.path).stem
        with _at(study, "baselines", number):
            if name in (*given, *models, *BASELINE_NAMES):
                raise DataError(f"another baseline is called {name!r}; add `name:` with another name")
            file = existing_file(study.document.folder / baseline.path, "a file of embeddings, or a model")
            if file.suffix == ".keras":
                models[name] = str(file.absolute())
                continue
            embedding_of = read_embeddings(file, whole)
            given[name] = {key: embedding_of(splits[key].ids.tolist()) for key in SPLITS}
    return given, models


@contextmanager
def _at(study: ResolvedStudy, *path: str | int) -> Iterator[None]:
    """Let an error in the data name the key of the study file that it is about."""
    try:
        yield
    except DataError as error:
        raise StudyFileError([f"{study.document.at(path)}: {error}"]) from error


def _altered(dataset: Dataset, preprocessor: Preprocessor) -> Altered:
    """Return how many items of all views lose content when they are prepared."""
    return sum((preprocessor.altered(view) for view in dataset.views), Altered())


def _columns_of(study: ResolvedStudy) -> dict[str, list[str]]:
    """Return the columns that a study file names for a table, by their role; the model finds them again."""
    params = study.source.arguments
    return {
        role: [name.strip() for name in str(params[role]).split(",") if name.strip()]
        for role in ("left", "right", "target", "features", "label")
        if params.get(role)
    }


def _split(study: ResolvedStudy, dataset: Dataset, limits: dict[str, int]) -> Split:
    config = study.config.data.split
    is_rule = "by" in config.model_fields_set and config.by in ("item", "components")
    if is_rule and config.by in dataset.columns:
        where = study.document.at(("data", "split", "by"))
        raise StudyFileError(
            [
                f"{where}: by: {config.by} is the name of a rule, and the data also have a column "
                f"{config.by!r}; rename the column to split by it"
            ]
        )
    return split(
        dataset,
        by=config.by,
        train=config.train,
        valid=config.valid,
        test=config.test,
        seed=derive_seed(study.config.seed, "split"),
        limit=limits or None,
        folds=config.folds,
    )


def _check_splits(study: ResolvedStudy, **splits: Dataset) -> None:
    """Refuse splits that cannot be evaluated, before anything is trained."""
    for name, dataset in splits.items():
        if (reason := _degenerate(name, dataset)) is not None:
            raise StudyFileError([f"{study.document.at(('data', 'split'))}: {reason}"])


def _degenerate(name: str, dataset: Dataset) -> str | None:
    """Return why all measures on a split would be perfect or undefined, or None."""
    assert dataset.target is not None
    values, counts = np.unique(np.asarray(dataset.target), return_counts=True)
    if dataset.supervision == "pairs" and len(values) < 2:
        kind = "alike" if dataset.target[0] else "not alike"
        return f"the pairs of the {name} split are all {kind}; a study needs pairs of both kinds"
    if dataset.supervision == "scores" and len(values) < 2:
        return f"the scores of the {name} split are all {values[0]:g}; a study needs different scores"
    if dataset.supervision == "labels" and len(values) < 2:
        return (
            f"the {name} split has one class only ({str(values[0])!r}); give it 2 classes or more, by a "
            f"larger fraction or a list ({name}: [a, b])"
        )
    if dataset.supervision == "labels" and counts.max() < 2:
        return (
            f"no class of the {name} split has two items, so no item has another one to find; give the "
            "split a larger fraction"
        )
    return None


def _prepared(dataset: Dataset, preprocessor: Preprocessor) -> Dataset:
    # Prepared texts are token ids, and prepared columns are a record of arrays.
    kind = {"text": "tokens", "tabular": "records"}.get(dataset.input, dataset.input)
    return replace(dataset, views=tuple(preprocessor(view) for view in dataset.views), input=kind)


def _plain(shape: Shape) -> JsonValue:
    """Return a shape as JSON has it."""
    if isinstance(shape, dict):
        return {name: list(sizes) for name, sizes in shape.items()}
    return list(shape)


# ------------------------------------------------------------------ ablation of the training split
#
# The validation and test splits stay as they are, and so does everything that is fitted on the whole
# training split and shared by all trials: the preprocessor, the sizes that components need, and the metric's
# typical distance. It is the unit of margins: measured on two items a class, it would differ between trials.
# An encoder that starts from training items and labels starts from those of its trial.


def training_data(data: PreparedData, configuration: Configuration, seed: int) -> Dataset:
    """Return the training split of a trial.

    Args:
        data: the data of all trials.
        configuration: the configuration; its `data` says how the split is ablated.
        seed: the seed of the ablation; another repeat has other items, and other wrong labels.
    """
    factors: dict[str, Any] = dict(configuration.get("data", {}))
    return ablate(data.train, **factors, seed=derive_seed(seed, "data")) if factors else data.train


def known_labels(data: PreparedData, dataset: Dataset) -> Array:
    """Return the class of each training item, `(n,)`; -1 where the study hides it (`labelled_share`)."""
    hidden: Any = data.record.get("labelled")
    if hidden is None:
        return dataset.codes
    labels = np.full(len(dataset), -1)
    rows = labelled_rows(dataset.codes, hidden["share"], hidden["seed"])
    labels[rows] = dataset.codes[rows]
    return labels


def for_supervision(data: PreparedData, dataset: Dataset, supervision: Supervision) -> Dataset:
    """Return the training items that a loss with this supervision learns from.

    If the study hides labels (`labelled_share`), a loss over views gets all items without labels, and other
    losses get the items with labels.
    """
    hidden: Any = data.record.get("labelled")
    if hidden is None:
        return dataset
    if supervision == "views":
        return dataset.unlabelled()
    return dataset.take(np.flatnonzero(known_labels(data, dataset) >= 0))


def scarcest(factors: Mapping[str, Values]) -> list[JsonValue]:
    """Return the scarcest data that a study can train on, with each level of noise that can go with it.

    Corruption is left out: it does not make items fewer.

    Args:
        factors: the factors of the data, as the search space has them.

    Example:
        >>> from siamkit.study.config import Values
        >>> scarcest({"items_per_class": Values((8, 2, None)), "label_noise": Values(low=0.0, high=0.3)})
        [{'items_per_class': 2}, {'items_per_class': 2, 'label_noise': 0.3}]
    """
    ends = {name: _ends(values) for name, values in factors.items() if name != "corruption"}
    noise = ends.pop("label_noise", [])
    few = {
        name: max(levels) if name == "imbalance" else min(levels) for name, levels in ends.items() if levels
    }
    settings = [few, *({**few, "label_noise": share} for share in noise if share)]
    return [dict(setting) for setting in settings if setting]


def scarcest_data(data: PreparedData) -> dict[str, Dataset]:
    """Return the ablated training splits on which feeds are checked before the first trial.

    Returns:
        The datasets by the beginning of a sentence about them; empty if the study does not vary the data.
    """
    settings: Any = data.record.get("scarcest", [])
    return {
        "with " + ", ".join(f"{name} {value:g}" for name, value in setting.items()) + ": ": ablate(
            data.train, **setting, seed=0
        )
        for setting in settings
    }


def _ends(values: Values) -> list[Any]:
    """Return the listed values, or both ends of a range, without null, which stands for all data."""
    return [value for value in values.options or (values.low, values.high) if value is not None]
