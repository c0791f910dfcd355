"""The schema of a reality check's file, version 1. Imports no Keras."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.json_schema import JsonSchemaValue

from siamkit.study.config.schema import (
    Backend,
    Data,
    Duration,
    Fixed,
    Named,
    OneOrMore,
    Resources,
    Size,
    Strict,
    Values,
    Version,
    Workers,
)


def _at_least_two(losses: list[Any]) -> list[Any]:
    if len(losses) < 2:
        raise ValueError(f"should name two losses or more to compare, got {len(losses)}")
    return losses


class Search(Strict):
    """The factors that are searched for each loss, in addition to its parameters, encoder and metric."""

    embedding_dim: Values = None
    normalize: Values = None
    learning_rate: Values = None
    batch_size: Values = None
    optimizer: Values = None


class Budget(Strict):
    """The budget of each loss: number of configurations, and the limits of one trial."""

    trials: int = Field(20, ge=1, description="per loss")
    trial_time: Duration | None = None
    trial_memory: Size | None = None


class Confirm(Strict):
    """How often the best configuration of each loss is trained again and scored on the test split."""

    seeds: int = Field(5, ge=2)


class RealityConfig(Strict):
    """The file of a reality check."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, title="siamkit reality check, version 1"
    )

    version: Version
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
    seed: int = Field(0, ge=0, lt=2**32)
    data: Data
    losses: Annotated[list[Named], AfterValidator(_at_least_two)] = Field(
        description="two or more, each a name or {name: parameters}", json_schema_extra={"minItems": 2}
    )
    encoder: OneOrMore
    metric: OneOrMore
    search: Search = Search()
    fixed: Fixed = Fixed()
    objective: str | None = Field(
        None, description="the measure to choose by; by default that of the kind of data"
    )
    budget: Budget = Budget()
    confirm: Confirm = Confirm()
    sampler: Literal["tpe", "gp", "cmaes", "nsgaii", "qmc", "random", "grid"] = "tpe"
    pruner: Literal["auto", "none", "median", "hyperband", "successive_halving", "patient", "collapse"] = (
        Field("none", description="none: every trial is trained to the end")
    )
    artifacts: str | None = Field(None, description="a folder; by default runs/<name> next to this file")
    workers: Workers = "auto"
    resources: Resources = Resources()
    engine: Literal["local", "ray", "inline"] = "local"
    backend: Backend | None = None
    plugins: list[str] = Field([])


def reality_schema() -> JsonSchemaValue:
    """Return the JSON Schema of a reality check's file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **RealityConfig.model_json_schema()}
