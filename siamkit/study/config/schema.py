"""The schema of study.yaml, version 1. No Keras here."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from siamkit.data.corruptions import CORRUPTIONS
from siamkit.study.config.storage_url import misread

Direction = Literal["maximize", "minimize"]
Optimizer = Literal["adam", "adamw", "sgd", "rmsprop", "nadam", "lion", "adagrad"]
Backend = Literal["tensorflow", "torch", "jax"]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {"MB": 10**6, "GB": 10**9, "TB": 10**12}


def _duration(value: object) -> object:
    """Seconds of `90s`, `20m`, `2h`, `1h30m`."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", value) if isinstance(value, str) else []
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError(f"should be a duration such as 90s, 20m, 2h or 1h30m, got {value!r}")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _size(value: object) -> object:
    """Bytes of `500MB`, `8GB`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(MB|GB|TB)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"should be a size such as 500MB or 8GB, got {value!r}")
    return float(match[1]) * _BYTES[match[2]]


def _storage(value: str) -> str:
    """Which storages there are; passwords in a URL are not repeated."""
    scheme, _, rest = value.partition("://")
    if value in ("sqlite", "journal"):
        return value
    if rest and scheme.split("+")[0] in ("postgresql", "mysql"):
        if (problem := misread(value)) is not None:
            raise ValueError(problem)
        return value
    raise ValueError(
        "should be sqlite or journal (files in the run folder), or the URL of a database, "
        f"postgresql://… or mysql://…, got {scheme + '://…' if rest else value!r}"
    )


def _workers(value: object) -> object:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError(f"should be auto or a whole number from 1, got {value!r}")


def _no_lookalike(value: object) -> object:
    """True and 1.0 equal 1, and would pass for it."""
    return str(value).lower() if isinstance(value, (bool, float)) else value


_exact = BeforeValidator(_no_lookalike)
One = Annotated[Literal[1], _exact]
Duration = Annotated[
    float, BeforeValidator(_duration), WithJsonSchema({"type": "string", "examples": ["90s", "20m", "2h"]})
]
Workers = Annotated[
    int | str,
    BeforeValidator(_workers),
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1}]}),
]
Size = Annotated[
    float, BeforeValidator(_size), WithJsonSchema({"type": "string", "examples": ["500MB", "8GB"]})
]

# What one searched value may be: a value (fixed), a list to choose from, or a range. Looked at in
# detail by siamkit.study.config.search_space, which knows what each parameter takes.
_scalar: dict[str, Any] = {"type": ["number", "string", "boolean", "null"]}
_range: dict[str, Any] = {
    "type": "object",
    "required": ["low", "high"],
    "additionalProperties": False,
    "properties": {"low": {"type": "number"}, "high": {"type": "number"}, "log": {"type": "boolean"}},
}
_values: dict[str, Any] = {"anyOf": [_scalar, {"type": "array", "items": _scalar, "minItems": 1}, _range]}
_named: dict[str, Any] = {
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
# A configuration to try first; whether it lies inside the space, siamkit.study.sampling.enqueue looks.
_settings: dict[str, Any] = {"type": ["number", "string", "boolean", "null", "object"]}
_one: dict[str, Any] = {
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
Components = Annotated[
    Any, WithJsonSchema({"anyOf": [_named, {"type": "array", "items": _named, "minItems": 1}]})
]


def _levels(scalar: dict[str, Any], ranged: bool = True) -> WithJsonSchema:
    """What a factor may be whose values are known: one, several, a range; null leaves it out."""
    among = [{"type": "null"}, scalar, {"type": "array", "items": scalar, "minItems": 1, "uniqueItems": True}]
    if ranged:
        bound = {**scalar, "type": "integer" if "integer" in scalar["type"] else "number"}
        among.append({**_range, "properties": {**_range["properties"], "low": bound, "high": bound}})
    return WithJsonSchema({"anyOf": among})


_share: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}
_most: dict[str, Any] = {"type": ["integer", "null"], "minimum": 2}
_ratio: dict[str, Any] = {"type": "number", "minimum": 1}
_corruption: dict[str, Any] = {"enum": list(CORRUPTIONS)}


class Strict(BaseModel):
    """Part of a file: unknown keys are refused, and no value is taken for another kind of value."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Part = Annotated[float, Field(gt=0, le=1)] | list[str | int]


class Split(Strict):
    """How items are parted: fractions, or for `by: class` and `by: <column>` also lists of values."""

    train: Part = 0.6
    valid: Part = 0.2
    test: Part = 0.2
    by: str = Field("item", min_length=1, description="item, class (unseen classes), or a column's name")


class Limit(Strict):
    """At most so many items of a part, drawn by seed."""

    train: int | None = Field(None, ge=1)
    valid: int | None = Field(None, ge=1)
    test: int | None = Field(None, ge=1)


class Data(Strict):
    """Where the data come from, and how they are split."""

    source: Source = Field(None, description="a dataset's name, or {name: parameters}")
    path: str | None = Field(None, description="relative to this file; its ending names the source")
    split: Split = Split()
    limit: Limit = Limit()


class Fixed(Strict):
    """What is the same in all trials."""

    optimizer: Optimizer = "adam"
    batch_size: int = Field(128, ge=2)
    epochs: int = Field(10, ge=1)
    items_per_class: int = Field(4, ge=2, description="K of balanced P×K batches")
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    embedding_dim: int = Field(64, ge=1)
    normalize: bool = True
    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)


class DataFactors(Strict):
    """What of the training data is varied; validation and test data stay as they are."""

    label_noise: Annotated[Any, _levels(_share)] = Field(
        None, description="share of training labels that are wrong, 0 to 1"
    )
    items_per_class: Annotated[Any, _levels(_most)] = Field(
        None, description="at most so many training items a class; null in a list: all"
    )
    num_classes: Annotated[Any, _levels(_most)] = Field(
        None, description="at most so many training classes; null in a list: all"
    )
    imbalance: Annotated[Any, _levels(_ratio)] = Field(
        None, description="items of the largest class to those of the smallest, from 1"
    )
    corruption: Annotated[Any, _levels(_corruption, ranged=False)] = Field(
        None, description="none, or what is done to training images: a kind and its severity, noise_3"
    )


class Search(Strict):
    """What is searched: components by name, and the factors beside them."""

    encoder: Components
    metric: Components
    loss: Components
    embedding_dim: Values = None
    normalize: Values = None
    learning_rate: Values = None
    batch_size: Values = None
    optimizer: Values = None
    data: DataFactors = DataFactors()


class Budget(Strict):
    """When to stop: distinct configurations, time in all; and the limits of one trial."""

    trials: int = Field(20, ge=1)
    time: Duration | None = None
    trial_time: Duration | None = None
    trial_memory: Size | None = None


class Confirm(Strict):
    """The finalists, trained afresh over several seeds; the test split is scored here."""

    top: int = Field(3, ge=1)
    seeds: int = Field(3, ge=1)


class Resources(Strict):
    """What one trial gets: processor cores, and accelerators (a fraction shares one, on engine ray)."""

    cpus: int = Field(1, ge=1)
    gpus: float | None = Field(None, ge=0, description="null: one where there are any")


class Log(Strict):
    """Where else a study is logged, for those who watch it there."""

    tensorboard: bool = Field(
        False, description="event files of every trial in the run folder's tensorboard/"
    )
    mlflow: str | None = Field(None, min_length=1, description="an MLflow tracking URI")


class StudyConfig(Strict):
    """A study file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, title="siamkit study, version 1")

    version: One
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
    seed: int = Field(0, ge=0, lt=2**32)
    data: Data
    fixed: Fixed = Fixed()
    search: Search
    objectives: dict[str, Direction] | None = Field(None, min_length=1)
    budget: Budget = Budget()
    seeds: int = Field(1, ge=1, description="per configuration, inside one trial")
    confirm: Confirm | None = Confirm()
    design: Literal["adaptive", "factorial"] = Field(
        "adaptive", description="factorial: a balanced grid in place of a sampler, to ask about factors"
    )
    sampler: Literal["tpe", "gp", "cmaes", "nsgaii", "qmc", "random", "grid"] = "tpe"
    pruner: Literal["auto", "none", "median", "hyperband", "successive_halving", "patient", "collapse"] = (
        "auto"
    )
    enqueue: list[Enqueued] = Field(
        ["defaults"], description="configurations to try first; what they leave out is at its default"
    )
    warm_start: str | None = Field(
        None, min_length=1, description="the run folder of an earlier study to learn from, beside this file"
    )
    storage: Annotated[str, AfterValidator(_storage)] = Field(
        "sqlite", description="sqlite or journal, in the run folder; or postgresql://… or mysql://…"
    )
    artifacts: str | None = Field(
        None, description="the run folder, or an fsspec URL; runs/<name> beside this file if not given"
    )
    workers: Workers = "auto"
    resources: Resources = Resources()
    engine: Literal["local", "ray", "inline"] = "local"
    lease: Duration = Field(60.0, ge=1, description="how long a silent machine's trials are left to it")
    log: Log = Log()
    backend: Backend | None = None
    plugins: list[str] = []


# What may change between two runs of one study; all else makes it another study.
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
    "plugins",
    "storage",
)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a study file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **StudyConfig.model_json_schema()}
