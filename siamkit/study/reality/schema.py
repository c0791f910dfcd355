"""The schema of a reality check's file, version 1. No Keras here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field

from siamkit.study.config.schema import (
    Backend,
    Components,
    Data,
    Duration,
    Fixed,
    Named,
    One,
    Resources,
    Size,
    Strict,
    Values,
    Workers,
)


def _several(losses: list[Any]) -> list[Any]:
    if len(losses) < 2:
        raise ValueError(f"should name two losses or more to compare, got {len(losses)}")
    return losses


class Search(Strict):
    """What is searched for each loss beside its own parameters, the encoder and the metric."""

    embedding_dim: Values = None
    normalize: Values = None
    learning_rate: Values = None
    batch_size: Values = None
    optimizer: Values = None


class Budget(Strict):
    """What each loss gets: configurations, and the limits of one trial."""

    trials: int = Field(20, ge=1, description="for each loss")
    trial_time: Duration | None = None
    trial_memory: Size | None = None


class Confirm(Strict):
    """How often the best configuration of each loss is trained afresh; the test part is scored here."""

    seeds: int = Field(5, ge=2)


class RealityFile(Strict):
    """A reality check's file."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, title="siamkit reality check, version 1"
    )

    version: One
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
    seed: int = Field(0, ge=0, lt=2**32)
    data: Data
    losses: Annotated[list[Named], AfterValidator(_several)] = Field(
        description="two or more, each a name or {name: parameters}", json_schema_extra={"minItems": 2}
    )
    encoder: Components
    metric: Components
    search: Search = Search()
    fixed: Fixed = Fixed()
    objective: str | None = Field(
        None, description="the figure to choose by; the data's usual one if not given"
    )
    budget: Budget = Budget()
    confirm: Confirm = Confirm()
    sampler: Literal["tpe", "gp", "cmaes", "nsgaii", "qmc", "random", "grid"] = "tpe"
    pruner: Literal["auto", "none", "median", "hyperband", "successive_halving", "patient", "collapse"] = (
        Field("none", description="none: each trial is trained to its end, as the others are")
    )
    artifacts: str | None = Field(None, description="a folder; runs/<name> beside this file if not given")
    workers: Workers = "auto"
    resources: Resources = Resources()
    engine: Literal["local", "ray", "inline"] = "local"
    backend: Backend | None = None
    plugins: list[str] = Field([])


def reality_schema() -> dict[str, Any]:
    """The JSON Schema of such a file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **RealityFile.model_json_schema()}
