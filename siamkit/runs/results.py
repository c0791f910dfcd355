"""Types of a run folder's contents: objectives, the snapshot of a study, results of trials and repeats."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PlainValidator,
    ValidationError,
    model_validator,
)

from siamkit.data.preprocessing import Altered
from siamkit.errors import StudyError, listed
from siamkit.evaluation.measures import COUNTS, broken
from siamkit.io.files import write_json
from siamkit.runs.configuration import Factor

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Objective:
    """A measure to optimize.

    Args:
        name: the measure's name.
        direction: `maximize` or `minimize`.

    Example:
        >>> from siamkit.runs import Objective
        >>> Objective("eer", "minimize").better(0.1, 0.2)  # is 0.1 better than 0.2?
        True
    """

    name: str
    direction: Direction = "maximize"

    @classmethod
    def first(cls, objectives: Mapping[str, Direction]) -> Objective:
        """Return the first of a study's objectives, the one that names the best."""
        name, direction = next(iter(objectives.items()))
        return cls(name, direction)

    @property
    def maximize(self) -> bool:
        """Whether higher values are better."""
        return self.direction == "maximize"

    def worth(self, value: float | None) -> float:
        """Return a value such that higher is better; -inf if it is missing or NaN."""
        if value is None or math.isnan(value):
            return -math.inf
        return value if self.maximize else -value

    def better(self, a: float | None, b: float | None) -> bool:
        """Return whether `a` is better than `b`."""
        return self.worth(a) > self.worth(b)


def _number(value: object) -> float:
    """Return a number unchanged, so that counts stay whole; null, JSON's stand-in for NaN, becomes NaN."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("it should be a number")
    return value


Measures = dict[str, Annotated[float, PlainValidator(_number)]]
"""Values by the name of their measure; NaN if a measure is not defined."""

Outcome = Literal["complete", "pruned", "failed"]

NAMING_FACTORS = ("encoder", "metric", "loss", "embedding_dim")
"""The factors that every configuration has, and that name it."""


class Record(BaseModel):
    """A record stored as JSON; fields that this version of siamkit does not know are preserved."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True, protected_namespaces=())


R = TypeVar("R", bound=Record)


# ------------------------------------------------------------------ the study


class Versions(Record):
    """The versions of everything that produced a result."""

    backend: str = ""
    python: str = ""
    packages: dict[str, str | None] = {}
    plugins: dict[str, str | None] = {}


PACKAGES = ("siamkit", "keras", "optuna", "numpy")
BACKEND_PACKAGES = {"tensorflow": ("tensorflow", "tensorflow-cpu"), "torch": ("torch",), "jax": ("jax",)}


def versions(backend: str, plugins: Mapping[str, str | None]) -> Versions:
    """Return the installed versions.

    Args:
        backend: the Keras backend of the study.
        plugins: the distributions whose components the study uses, with their versions.
    """
    packages: dict[str, str | None] = {name: metadata.version(name) for name in PACKAGES}
    for name in BACKEND_PACKAGES[backend]:
        try:
            packages[backend] = metadata.version(name)
            break
        except metadata.PackageNotFoundError:
            continue
    return Versions(
        python=platform.python_version(), backend=backend, packages=packages, plugins=dict(plugins)
    )


def differences(here: Versions, there: Versions) -> list[str]:
    """Return the differences between two machines, such as `keras 3.15.1 here, 3.12.0 there`."""
    ours, theirs = _flat(here), _flat(there)
    return [
        f"{name} {_displayed(ours.get(name))} here, {_displayed(theirs.get(name))} there"
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    ]


def _flat(versions: Versions) -> dict[str, str | None]:
    return {"python": versions.python, **versions.packages, **versions.plugins}


def _displayed(version: str | None) -> str:
    return "missing" if version is None else version or "present"


class SplitRecord(Record):
    """The split of the data: its rule in words, and the number of items in each split.

    With `folds`, the classes of each, each configuration is trained once for each fold; `valid` is the first.
    """

    by: str = "item"
    shares: dict[str, JsonValue] = {}
    counts: dict[str, int] = {}
    values: dict[str, list[JsonValue]] | None = None
    groups: dict[str, int] | None = None
    folds: list[list[JsonValue]] = []


class LeftOut(Record):
    """The classes that `min_items_per_class` leaves out of all data, and those only of training."""

    min_items_per_class: int = 0
    classes: int = 0
    items: int = 0
    train_classes: int = 0
    train_items: int = 0

    @property
    def sentence(self) -> str:
        """What is left out; empty if nothing is."""
        minimum, parts = self.min_items_per_class, []
        if self.classes:
            parts.append(f"{_classes(self.classes)} with fewer than {minimum} items ({_items(self.items)})")
        if self.train_classes:
            parts.append(
                f"{_classes(self.train_classes)} with fewer than {minimum} training items, only of training "
                f"({_items(self.train_items)})"
            )
        return f"Left out by min_items_per_class: {'; '.join(parts)}." if parts else ""


def _classes(number: int) -> str:
    return f"{number:,} class{'es' * (number != 1)}"


def _items(number: int) -> str:
    return f"{number:,} item{'s' * (number != 1)}"


class DataRecord(Record):
    """The data of a study; `altered`: how many items of each split lose content when they are prepared."""

    items: int = 0
    input: str = ""
    supervision: str = "labels"
    fingerprint: str = ""
    split: SplitRecord = SplitRecord()
    notes: list[str] = []
    left_out: LeftOut = LeftOut()
    altered: dict[str, Altered] = {}

    @property
    def all_left_out(self) -> list[str]:
        """What is not in the data: the notes of their source, and the classes that are left out."""
        return [sentence for sentence in (*self.notes, self.left_out.sentence) if sentence]

    @property
    def altered_sentence(self) -> str:
        """What items of all splits lose when they are prepared, and how to keep it; empty if nothing."""
        total = sum(self.altered.values(), Altered())
        remedy = f" To keep them whole, set data: {{text: {{max_length: {total.longest}}}}}."
        return f"{total.sentence()}.{remedy if total.cut else ''}" if total else ""


class SharedItems(Record):
    """Items that two splits have in common: exact, near, as whole pairs, and crossed to the other side."""

    parts: tuple[str, str]
    exact: int = 0
    near: int = 0
    whole: int | None = None
    crossed: int | None = None
    examples: list[tuple[JsonValue, JsonValue, JsonValue]] = []
    items: list[str] = []


class Overlap(Record):
    """The overlap of the splits: shared items, and for each split its classes and those also in training.

    `among_folds` counts the items of folds in the training split that another of these folds has too.

    `largest` is the fraction of items in the largest group that shares items, by components and by side: with
    a large one, the data cannot be split by these groups.
    """

    looked_at: dict[str, int] = {}
    between: list[SharedItems] = []
    largest: dict[str, float] = {}
    among_folds: int = 0
    classes: dict[str, int] = {}
    seen: dict[str, int] = {}


class Snapshot(Record):
    """A study as it was started: the resolved file, the data and the versions (`study.json`)."""

    layout: int = 1
    name: str = ""
    objectives: dict[str, Direction] = Field(min_length=1)
    study: dict[str, JsonValue] = {}
    settings: dict[str, JsonValue] = {}
    data: DataRecord = DataRecord()
    versions: Versions = Versions()
    overlap: Overlap | None = None

    def setting(self, key: str, default: JsonValue = None) -> JsonValue:
        """Return a key of the study file, whether it may change on resuming or not."""
        return {**self.settings, **self.study}.get(key, default)

    @property
    def folds(self) -> int:
        """The number of folds of the classes; 1 without folds."""
        return max(1, len(self.data.split.folds))

    def required(self, key: str) -> Any:
        """Return a key of the study file that every study has.

        Raises:
            StudyError: `study.json` lacks it.
        """
        settings = {**self.settings, **self.study}
        if key not in settings:
            raise StudyError(f"the study.json of the study {self.name!r} is damaged: it lacks {key}")
        return settings[key]


# ------------------------------------------------------------------ results


class Result(Record):
    """The fields that the results of trials and of repeats of finalists have in common."""

    trial: int
    key: str = ""
    outcome: Outcome
    cause: str = ""
    cause_kind: str = ""
    """The kind of cause, for programs: `siamkit.study.worker.messages.CauseKind`."""
    traceback: str = ""
    configuration: dict[str, JsonValue] = {}
    factors: dict[str, Factor] = {}
    resolved_params: dict[str, JsonValue] | None = Field(default=None, alias="literal")
    seconds: float | None = None
    versions: Versions | None = None
    excesses: dict[str, float] = {}
    """How far the measures on the validation split are beyond each constraint of the study; kept up to 0."""
    folder: str = Field(default="", exclude=True)
    """The result's folder, relative to the run folder."""

    @property
    def complete(self) -> bool:
        """Whether it was trained to its end."""
        return self.outcome == "complete"

    @property
    def broken(self) -> list[str]:
        """The constraints that it does not keep, as texts."""
        return broken(self.excesses)

    @property
    def description(self) -> str:
        """The configuration in a few words: `mlp · cosine · triplet · 64-d`."""
        encoder, metric, loss, dim = (self.factors.get(name, "?") for name in NAMING_FACTORS)
        return f"{encoder} · {metric} · {loss} · {dim}-d"

    @model_validator(mode="after")
    def _complete_ones_have_names(self) -> Self:
        missing = [f"factors.{name}" for name in NAMING_FACTORS if name not in self.factors]
        if self.complete and missing:
            raise ValueError(f"it lacks {listed(missing)}")
        return self

    @property
    def resolved_configuration(self) -> dict[str, JsonValue]:
        """The configuration with the loss as the API takes it: margins in the metric's own units."""
        loss = self.configuration["loss"]
        resolved = (self.resolved_params or {}).get("loss") or {}
        assert isinstance(loss, dict)
        assert isinstance(resolved, dict)
        params = loss["params"]
        assert isinstance(params, dict)
        return {**self.configuration, "loss": {**loss, "params": {**params, **resolved}}}


class TrialResult(Result):
    """The result of one attempt at a trial that ended (`trials/<number>/<token>/result.json`)."""

    factors: dict[str, Factor]
    token: str = ""
    values: list[float] | None = None
    measures: Measures = Field(alias="figures")
    repeats: list[Measures] = []
    best_epochs: list[int] = []
    """The epoch of each repeat whose model was kept, from 1."""
    attempt: int = 1

    def value(self, measure: str) -> float | None:
        """Return a measure; None if it is missing or NaN."""
        return _known(self.measures, measure)


class RepeatResult(Result):
    """The result of one repeat of a finalist (`confirm/<key>/<repeat>/result.json`)."""

    repeat: int = 0
    seed: int | None = None
    fold: int = 0
    """The fold that was its validation split; 0 without folds."""
    best_epoch: int | None = None
    """The epoch whose model was kept, from 1."""
    valid: Measures | None = None
    test: Measures | None = None

    @model_validator(mode="after")
    def _complete_ones_have_all(self) -> Self:
        missing = [name for name in ("valid", "test") if not getattr(self, name)]
        if self.complete and missing:
            raise ValueError(f"it lacks {listed(missing)}")
        return self

    def measures_on(self, split: str) -> dict[str, float]:
        """Return the measures on `valid` or `test`; empty if the repeat did not complete."""
        return (self.valid if split == "valid" else self.test) or {}

    def value(self, measure: str, split: str = "valid") -> float | None:
        """Return a measure on a split; None if it is missing or NaN."""
        return _known(self.measures_on(split), measure)


class BaselineResult(Record):
    """The result of a baseline (`baselines/<name>/result.json`).

    `variant` is the encoder of an untrained one, `metric` the better of cosine and Euclidean distance on the
    validation split, and `cause` why it has no measures. With folds, `valid` and `test` are means of `folds`
    and `test_folds`.
    """

    name: str
    summary: str = ""
    variant: str = ""
    metric: str = ""
    dim: int = 0
    valid: Measures = {}
    folds: list[Measures] = []
    test: Measures | None = None
    test_folds: list[Measures] = []
    cause: str = ""
    seconds: float | None = None

    @property
    def description(self) -> str:
        """The baseline in a few words: `pca · cosine · 64-d`."""
        return " · ".join(
            [self.name, *([self.variant] if self.variant else []), self.metric, f"{self.dim}-d"]
        )

    def value(self, measure: str, split: str = "valid") -> float | None:
        """Return a measure on a split; None if it is missing or NaN."""
        return _known((self.valid if split == "valid" else self.test) or {}, measure)

    def on_first_fold(self, measure: str) -> float | None:
        """Return a measure on the validation split, with folds on the first of them."""
        return _known(self.folds[0] if self.folds else self.valid, measure)


def _known(measures: dict[str, float], name: str) -> float | None:
    value = measures.get(name, math.nan)
    return None if math.isnan(value) else value


def numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    """Return measures with NaN in place of JSON's null."""
    return {name: math.nan if value is None else value for name, value in values.items()}


def mean_measures(repeats: Iterable[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each measure that all repeats have."""
    rows = list(repeats)
    names = [name for name in rows[0] if all(name in row for row in rows)] if rows else []
    return {name: mean_measure(name, [row[name] for row in rows]) for name in names}


def mean_measure(name: str, values: Sequence[float]) -> float:
    """Return the mean of a measure over repeats; that of a count is rounded to a whole number."""
    mean = float(np.mean(values))
    return round(mean) if name in COUNTS and math.isfinite(mean) else mean


# ------------------------------------------------------------------ writing


def write_record(path: Path, record: Record) -> None:
    """Write a record as JSON, without the fields that were not set."""
    write_json(path, record.model_dump(by_alias=True, exclude_unset=True))


# ------------------------------------------------------------------ reading


def read_record(path: Path, kind: type[R], **more: object) -> R:
    """Read a JSON file into its type.

    Args:
        path: the file.
        kind: a `Record`.
        **more: fields that the file does not hold, such as the folder.

    Raises:
        StudyError: the file is damaged, in one sentence that names it.
    """
    return as_record(read_json(path), kind, str(path), **more)


def read_json(path: Path) -> dict[str, JsonValue]:
    """Read a JSON file that holds a mapping.

    Raises:
        StudyError: the file is damaged, in one sentence that names it.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"{str(path)!r} is damaged: {error}") from None
    if not isinstance(value, dict):
        raise StudyError(f"{str(path)!r} is damaged: it should hold a mapping")
    return value


def as_record(value: dict[str, JsonValue], kind: type[R], name: str, **more: object) -> R:
    """Return a JSON mapping as its type.

    Raises:
        StudyError: a field is missing, or holds something else.
    """
    try:
        return kind.model_validate({**value, **more})
    except ValidationError as error:
        problems = error.errors()
        missing = [
            ".".join(map(str, problem["loc"]))
            for problem in problems
            if problem["type"] == "missing" or (problem["input"] is None and problem["loc"])
        ]
        if missing:
            reason = f"it lacks {listed(missing)}"
        else:
            where = ".".join(map(str, problems[0]["loc"]))
            reason = problems[0]["msg"].removeprefix("Value error, ")
            reason = f"{where}: {reason}" if where else reason
        raise StudyError(f"{name!r} is damaged, or written by another version of siamkit: {reason}") from None
