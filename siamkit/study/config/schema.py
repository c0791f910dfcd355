"""The schema of a study file, version 1. Imports no Keras."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue

from siamkit.data.ablation import CORRUPTIONS
from siamkit.data.splits import SIDES
from siamkit.errors import DataError, StudyError, nearest
from siamkit.evaluation.baselines import BASELINES, CHANCE, UNTRAINED
from siamkit.evaluation.measures import LIMIT_PATTERN, MEASURES, Constraint
from siamkit.io.paths import url_problem
from siamkit.registry.registry import components
from siamkit.registry.specs import Bool, Choice, Float, Int, Param, Text

Direction = Literal["maximize", "minimize"]
Optimizer = Literal["adam", "adamw", "sgd", "rmsprop", "nadam", "lion", "adagrad", "muon"]
MOMENTUM: tuple[Optimizer, ...] = ("sgd", "rmsprop", "muon")
"""The optimizers that have a momentum of their own to set."""

Schedule = Literal["constant", "cosine", "linear", "one_cycle"]
Pruner = Literal[
    "auto", "none", "percentile", "median", "hyperband", "successive_halving", "patient", "collapse"
]
Backend = Literal["tensorflow", "torch", "jax"]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_TEN_YEARS = 3650 * 86400
_BYTES = {"MB": 10**6, "GB": 10**9, "TB": 10**12}


def _duration(value: object) -> object:
    """Return the seconds of `90s`, `20m`, `2h` or `1h30m`."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", value) if isinstance(value, str) else []
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError(f"should be a duration such as 90s, 20m, 2h or 1h30m, got {value!r}")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not 0 < seconds <= _TEN_YEARS:
        raise ValueError(f"should be longer than 0s and at most 3650d, got {value!r}")
    return seconds


def duration(text: str) -> float:
    """Return the seconds of a text such as `90s`, `20m`, `2h` or `1h30m`.

    Raises:
        StudyError: it is not a duration.
    """
    try:
        return cast(float, _duration(text))
    except ValueError as error:
        raise StudyError(f"the time {error}") from None


def _size(value: object) -> object:
    """Return the bytes of `500MB` or `8GB`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(MB|GB|TB)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"should be a size such as 500MB or 8GB, got {value!r}")
    if not float(match[1]):
        raise ValueError(f"should be more than 0, got {value!r}")
    return float(match[1]) * _BYTES[match[2]]


def _storage(value: str) -> str:
    """Check a storage; error messages show only the scheme of a URL, because it may hold a password."""
    scheme, _, rest = value.partition("://")
    if value in ("sqlite", "journal"):
        return value
    if rest and scheme.split("+")[0] in ("postgresql", "mysql"):
        if (problem := url_problem(value)) is not None:
            raise ValueError(problem)
        return value
    raise ValueError(
        "should be sqlite or journal (files in the run folder), or the URL of a database, "
        f"postgresql://… or mysql://…, got {scheme + '://…' if rest else value!r}"
    )


def _workers(value: object) -> object:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 10_000):
        return value
    raise ValueError(f"should be auto or a whole number from 1 to 10000, got {value!r}")


def _limit_of_measure(value: object) -> object:
    try:
        Constraint.parse("", value)
    except DataError as error:
        raise ValueError(str(error)) from None
    return value


def _accelerators(value: float) -> float:
    """Check a number of accelerators: a fraction shares one, more are whole."""
    if value > 1 and value % 1:
        raise ValueError(f"should be a fraction of one accelerator or a whole number of them, got {value:g}")
    return value


def _split_by(value: object) -> object:
    if (isinstance(value, str) and value) or value in [{"side": side} for side in SIDES]:
        return value
    raise ValueError(
        "should be item, class, components, {side: left}, {side: right} or a column's name, "
        f"got {value!r:.60}"
    )


def _baseline_name(value: str) -> str:
    if value not in BASELINE_NAMES:
        raise ValueError(
            f"should be a baseline or {{path: FILE}}, got {value!r}; {nearest(value, BASELINE_NAMES)}"
        )
    return value


def _no_lookalike(value: object) -> object:
    """Turn true and 1.0 into texts: both equal 1, so `Literal[1]` would accept them."""
    return str(value).lower() if isinstance(value, (bool, float)) else value


BASELINE_NAMES = (*BASELINES, UNTRAINED, CHANCE)

BaselineName = Annotated[str, AfterValidator(_baseline_name), WithJsonSchema({"enum": list(BASELINE_NAMES)})]
Version = Annotated[Literal[1], BeforeValidator(_no_lookalike)]
Duration = Annotated[
    float, BeforeValidator(_duration), WithJsonSchema({"type": "string", "examples": ["90s", "20m", "2h"]})
]
Workers = Annotated[
    int | str,
    BeforeValidator(_workers),
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1}]}),
]
SplitBy = Annotated[
    str | dict[str, str],
    BeforeValidator(_split_by),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "object",
                    "required": ["side"],
                    "additionalProperties": False,
                    "properties": {"side": {"enum": list(SIDES)}},
                },
            ]
        }
    ),
]
Size = Annotated[
    float, BeforeValidator(_size), WithJsonSchema({"type": "string", "examples": ["500MB", "8GB"]})
]

LimitOfMeasure = Annotated[
    str,
    BeforeValidator(_limit_of_measure),
    WithJsonSchema({"type": "string", "pattern": f"^{LIMIT_PATTERN}$", "examples": ["<= 64", ">= 0.9"]}),
]

# A searched value: one value (fixed), a list to choose from, or a range. `siamkit.study.config._parse` checks
# it against the spec of its parameter.
_scalar: JsonSchemaValue = {"type": ["number", "string", "boolean", "null"]}
_range: JsonSchemaValue = {
    "type": "object",
    "required": ["low", "high"],
    "additionalProperties": False,
    "properties": {"low": {"type": "number"}, "high": {"type": "number"}, "log": {"type": "boolean"}},
}
_values: JsonSchemaValue = {"anyOf": [_scalar, {"type": "array", "items": _scalar, "minItems": 1}, _range]}
_named: JsonSchemaValue = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": {"type": ["object", "null"], "additionalProperties": _values},
        },
    ]
}
Named = Annotated[Any, WithJsonSchema(_named)]
Source = Annotated[Any, WithJsonSchema({"type": ["string", "object", "null"], "maxProperties": 1})]
Values = Annotated[Any, WithJsonSchema(_values)]
# A configuration to try first; `siamkit.study.sampling` checks that the search space contains it.
_settings: JsonSchemaValue = {"type": ["number", "string", "boolean", "null", "object"]}
_one: JsonSchemaValue = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": {"type": ["object", "null"], "additionalProperties": _settings},
        },
    ]
}
Enqueued = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                {"const": "defaults"},
                {
                    "type": "object",
                    "properties": {"encoder": _one, "metric": _one, "loss": _one},
                    "additionalProperties": _settings,
                },
            ]
        }
    ),
]
OneOrMore = Annotated[
    Any, WithJsonSchema({"anyOf": [_named, {"type": "array", "items": _named, "minItems": 1}]})
]
# A preset, or augmentations that are applied one after the other.
_augment: JsonSchemaValue = {"anyOf": [_named["anyOf"][0], {**_named["anyOf"][1], "maxProperties": 100}]}
Augment = Annotated[Any, WithJsonSchema({"anyOf": [{"type": "null"}, *_augment["anyOf"]]})]
OneOrMoreAugment = Annotated[
    Any,
    WithJsonSchema(
        {"anyOf": [{"type": "null"}, *_augment["anyOf"], {"type": "array", "items": _augment, "minItems": 1}]}
    ),
]


def _levels(scalar: JsonSchemaValue, ranged: bool = True) -> WithJsonSchema:
    """Return the schema of a factor: one value, a list of values, a range, or null for no factor."""
    among = [{"type": "null"}, scalar, {"type": "array", "items": scalar, "minItems": 1, "uniqueItems": True}]
    if ranged:
        bound = {**scalar, "type": "integer" if "integer" in scalar["type"] else "number"}
        among.append({**_range, "properties": {**_range["properties"], "low": bound, "high": bound}})
    return WithJsonSchema({"anyOf": among})


_fraction: JsonSchemaValue = {"type": "number", "minimum": 0, "maximum": 1}
_limit: JsonSchemaValue = {"type": ["integer", "null"], "minimum": 2}
_ratio: JsonSchemaValue = {"type": "number", "minimum": 1}
_corruption: JsonSchemaValue = {"enum": list(CORRUPTIONS)}


class Strict(BaseModel):
    """Base of all sections of a file: unknown keys are errors, and no value is converted to another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


SplitShare = Annotated[float, Field(gt=0, le=1)] | list[str | int]


class Split(Strict):
    """How items are split: fractions, or for `by: class` and `by: <column>` also lists of values."""

    train: SplitShare = 0.6
    valid: SplitShare = 0.2
    test: SplitShare = 0.2
    by: SplitBy = Field(
        "item",
        description="item, class (unseen classes), components (pairs that share items stay together), "
        "{side: left} or {side: right} (unseen items on this side of pairs), or a column's name",
    )
    folds: int | None = Field(
        None,
        ge=2,
        le=100,
        description="by: class only: divide all classes but those of test into so many folds; each "
        "configuration is trained once for each fold, on the other folds, and its value is the mean",
    )

    @model_validator(mode="after")
    def _has_folds_of_classes(self) -> Self:
        if self.folds is not None and self.by != "class":
            raise ValueError("has folds, which need by: class")
        if self.folds is not None and {"train", "valid"} & self.model_fields_set:
            raise ValueError("has folds, which take all classes but those of test; leave train and valid out")
        return self


class Limit(Strict):
    """The maximum number of items in each split, drawn by seed."""

    train: int | None = Field(None, ge=1)
    valid: int | None = Field(None, ge=1)
    test: int | None = Field(None, ge=1)


class Texts(Strict):
    """How texts become pieces, and how long texts or lists of token ids may be."""

    max_length: int | None = Field(
        None,
        ge=1,
        description="pieces of a text, or token ids of an item, that the model takes; null: as many as "
        "99 % of the training texts have bytes, up to 128; as many token ids as the longest training item",
    )
    vocabulary_size: int | None = Field(
        None, ge=258, description="maximum number of pieces, at least the 256 bytes and 2 others; null: 8000"
    )
    dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="probability that a piece is split in training, so that parts of words are trained too; "
        "null: 0.1",
    )


def _add_source_parameters(schema: JsonSchemaValue) -> None:
    """Add the parameters of the registered sources, which may be next to `path`."""
    for name, entry in components().datasets.items():
        for key, param in entry.spec.params.items():
            if key not in Data.model_fields:
                found = schema["properties"].setdefault(key, {"description": "", "anyOf": []})
                found["description"] += f"{'; ' if found['anyOf'] else ''}{name}: {param.help}"
                found["anyOf"].append(_literals(param))
    schema["additionalProperties"] = False


def _literals(param: Param) -> JsonSchemaValue:
    """Return the schema of a parameter's values."""
    if isinstance(param, Choice):
        return {"enum": list(param.options)}
    types = {Int: "integer", Float: "number", Bool: "boolean", Text: "string"}
    kind = types.get(type(param))
    return {} if kind is None else {"type": kind} if param.default is not None else {"type": [kind, "null"]}


class Data(Strict):
    """The data source, and how the items are split and prepared; further keys are the source's parameters."""

    model_config = ConfigDict(
        # `siamkit.study.config._parse` checks the parameters: only the source knows them.
        extra="allow",
        json_schema_extra=_add_source_parameters,
    )

    source: Source = Field(None, description="a dataset's name, or {name: parameters}")
    path: str | None = Field(
        None, min_length=1, description="relative to this file; its suffix selects the source"
    )
    split: Split = Split()
    limit: Limit = Limit()
    min_items_per_class: int | None = Field(
        None,
        ge=2,
        description="leave out classes with fewer items, of all data and then of training; null: keep all",
    )
    labelled_share: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of the training items whose labels are used; losses over views learn from two "
        "augmented views of each item, also of those without labels; null: all labels",
    )
    text: Texts | None = None

    @model_validator(mode="after")
    def _limits_folds(self) -> Self:
        if self.split.folds is not None and self.limit.train is not None:
            raise ValueError(
                "has folds and limit.train; limit.valid limits each fold, so leave limit.train out"
            )
        return self


EVALUATIONS = 10  # of a training, unless its length is given in epochs
MIN_STEPS = 300  # of a training whose length is not given


class Fixed(Strict):
    """Settings that are the same in all trials."""

    optimizer: Optimizer = "adamw"
    batch_size: int = Field(128, ge=2, le=10_000_000)
    epochs: int | None = Field(
        None,
        ge=1,
        le=10_000_000,
        description="passes over the training items; an evaluation after each; null: 10, or as many as make "
        f"{MIN_STEPS} steps",
    )
    steps: int | None = Field(
        None,
        ge=EVALUATIONS,
        le=10_000_000,
        multiple_of=EVALUATIONS,
        description="batches to train on, in place of epochs; an evaluation after each tenth of them",
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="stop after so many epochs without a better first objective on validation; null: never",
    )
    micro_batch: int | None = Field(
        None,
        ge=1,
        description="how many items an encoder gets at once, for batches larger than memory; null: all",
    )
    items_per_class: int = Field(4, ge=2, le=10_000_000, description="K of balanced P×K batches")
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    embedding_dim: int = Field(64, ge=1, le=10_000_000)
    normalize: bool = True
    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)
    augment: Augment = Field(
        None,
        description="random changes of training items: none, light, strong, an augmentation's name, or "
        "{name: parameters, …}; null: none",
    )
    schedule: Schedule = "cosine"
    warmup: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="share of the steps in which the learning rate rises; null: 0 if constant, 0.3 for "
        "one_cycle, else 0.05",
    )
    momentum: float | None = Field(
        None, ge=0, lt=1, description="of sgd, rmsprop and muon; null: 0.9 for sgd, else that of Keras"
    )
    weight_decay: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="null: that of the optimizer in Keras"
    )
    clip_norm: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="maximum norm of all gradients together; null: none"
    )
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="momentum of an average of the weights over steps, which replaces them; null: no average",
    )

    callbacks: str | None = Field(
        None,
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$",
        description="my_module.my_function: a function of yours without arguments that returns Keras "
        "callbacks, new ones for each training; the module is also searched next to this file",
    )

    @model_validator(mode="after")
    def _has_one_length(self) -> Self:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("has both epochs and steps; leave one of them out")
        return self

    @property
    def evaluations(self) -> int:
        """The number of evaluations of a training, at equal distances."""
        return EVALUATIONS if self.epochs is None else self.epochs

    def steps_between(self, batches: int) -> int:
        """Return the number of steps from one evaluation to the next.

        Args:
            batches: the number of batches in one pass over the training items.
        """
        if self.steps is not None:
            return self.steps // EVALUATIONS
        return batches if self.epochs is not None else max(batches, MIN_STEPS // EVALUATIONS)


class DataFactors(Strict):
    """Factors of the training data; validation and test data never change."""

    label_noise: Annotated[Any, _levels(_fraction)] = Field(
        None, description="fraction of training labels that are wrong, 0 to 1"
    )
    items_per_class: Annotated[Any, _levels(_limit)] = Field(
        None, description="maximum number of training items per class; null in a list: all"
    )
    num_classes: Annotated[Any, _levels(_limit)] = Field(
        None, description="maximum number of training classes; null in a list: all"
    )
    imbalance: Annotated[Any, _levels(_ratio)] = Field(
        None, description="size of the largest class divided by that of the smallest, from 1"
    )
    corruption: Annotated[Any, _levels(_corruption, ranged=False)] = Field(
        None, description="none, or a corruption of training images with its severity, such as noise_3"
    )


class Factors(Strict):
    """The factors that are neither components nor of the data; each may be fixed instead."""

    embedding_dim: Values = None
    normalize: Values = None
    learning_rate: Values = None
    batch_size: Values = None
    optimizer: Values = None
    augment: OneOrMoreAugment = Field(None, description="what `fixed.augment` can be, or a list of these")
    schedule: Values = None
    warmup: Values = None
    momentum: Values = None
    weight_decay: Values = None
    clip_norm: Values = None
    ema: Values = None


class Search(Factors):
    """The search space: components by name, and other factors."""

    encoder: OneOrMore
    metric: OneOrMore
    loss: OneOrMore
    data: DataFactors = DataFactors()


class Budget(Strict):
    """When to stop: number of distinct configurations, total time; and the limits of one trial."""

    trials: int = Field(20, ge=1, le=10_000_000)
    time: Duration | None = None
    trial_time: Duration | None = None
    trial_memory: Size | None = None


SHARE_OF_SEARCH = 0.5


class Confirm(Strict):
    """The finalists are trained again with several seeds, and scored on the test split."""

    top: int = Field(3, ge=1, le=10_000)
    seeds: int = Field(3, ge=1, le=10_000)
    share: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="maximum training time, as a share of that of the search: there are fewer finalists and "
        f"seeds if they would take longer; null: {SHARE_OF_SEARCH:g}, or no limit if top or seeds is given",
    )

    @property
    def limit(self) -> float:
        """The maximum training time as a share of that of the search; infinite without a limit."""
        if self.share is not None:
            return self.share
        return math.inf if {"top", "seeds"} & self.model_fields_set else SHARE_OF_SEARCH


class GivenBaseline(Strict):
    """Embeddings or a model from elsewhere, to compare the trained embeddings with."""

    path: str = Field(
        min_length=1,
        description="a .npy or .npz file with a row for each item of the data, in their order, a .parquet "
        "file that siamkit embed wrote, or a Keras model (.keras); relative to this file",
    )
    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")


Baselines = list[BaselineName | GivenBaseline] | None
BASELINES_DESCRIPTION = (
    "what trained embeddings are compared with: names, by default all that fit the data, and files of "
    "embeddings or models; null: nothing"
)


class Resources(Strict):
    """Resources of one trial: CPU cores, and accelerators (a fraction shares one)."""

    cpus: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="null: one; on engine local with an accelerator, an equal share of the cores",
    )
    gpus: Annotated[float, AfterValidator(_accelerators)] | None = Field(
        None,
        ge=0,
        le=10_000,
        allow_inf_nan=False,
        description="null: one accelerator if the machine has any; with more `workers`, a share of one",
    )


class Log(Strict):
    """Trackers that a study is logged to."""

    tensorboard: bool = Field(
        False, description="write event files of every trial to the run folder's tensorboard/"
    )
    mlflow: str | None = Field(None, min_length=1, description="an MLflow tracking URI")


class StudyConfig(Strict):
    """A study file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, title="siamkit study, version 1")

    version: Version
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
    seed: int = Field(0, ge=0, lt=2**32)
    data: Data
    fixed: Fixed = Fixed()
    search: Search
    objectives: dict[str, Direction] | None = Field(None, min_length=1)
    constraints: dict[str, LimitOfMeasure] | None = Field(
        None,
        min_length=1,
        description="limits that the winner has to keep on the validation split, by measure: "
        "{bytes_per_vector: '<= 64', ms_per_item: '<= 2'}",
        json_schema_extra={"propertyNames": {"enum": list(MEASURES)}},
    )
    budget: Budget = Budget()
    seeds: int = Field(1, ge=1, le=10_000, description="seeds per configuration, within one trial")
    confirm: Confirm | None = Confirm()
    baselines: Baselines = Field([], description=BASELINES_DESCRIPTION)
    design: Literal["adaptive", "factorial"] = Field(
        "adaptive", description="factorial: a balanced grid in place of a sampler, to compare factors"
    )
    sampler: Literal["tpe", "gp", "cmaes", "nsgaii", "qmc", "random", "grid"] = "tpe"
    pruner: Pruner = "auto"
    enqueue: list[Enqueued] = Field(
        ["defaults"], description="configurations to try first; parameters that they omit have their defaults"
    )
    warm_start: str | None = Field(
        None, min_length=1, description="run folder of an earlier study to learn from, relative to this file"
    )
    storage: Annotated[str, AfterValidator(_storage)] = Field(
        "sqlite", description="sqlite or journal (in the run folder), or postgresql://… or mysql://…"
    )
    artifacts: str | None = Field(
        None,
        min_length=1,
        description="the run folder, or an fsspec URL; by default runs/<name> next to this file",
    )
    workers: Workers = "auto"
    resources: Resources = Resources()
    engine: Literal["local", "ray", "inline"] = "local"
    lease: Duration = Field(60.0, ge=1, description="how long a machine that is silent keeps its trials")
    log: Log = Log()
    backend: Backend | None = None
    plugins: list[str] = []

    @property
    def limits(self) -> tuple[Constraint, ...]:
        """The constraints, in their order in the file."""
        return tuple(Constraint.parse(name, text) for name, text in (self.constraints or {}).items())


RESUMABLE = (
    "budget",
    "confirm",
    "workers",
    "resources",
    "engine",
    "lease",
    "log",
    "artifacts",
    "backend",
    "baselines",
    "plugins",
    "storage",
)
"""The keys that may change between two runs of one study; a change of another key makes it another study."""


def json_schema() -> JsonSchemaValue:
    """Return the JSON Schema of a study file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **StudyConfig.model_json_schema()}
