"""The file of a reality check: its schema, how it is loaded, and the study that each loss gets."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationError
from pydantic.json_schema import JsonSchemaValue
from ruamel.yaml import YAML

from siamkit.errors import StudyError
from siamkit.evaluation.measures import OBJECTIVES
from siamkit.io.files import write_text
from siamkit.study.config.load import ResolvedStudy, resolve_study
from siamkit.study.config.schema import (
    BASELINES_DESCRIPTION,
    RESUMABLE,
    Backend,
    Baselines,
    Data,
    Duration,
    Factors,
    Fixed,
    Named,
    OneOrMore,
    Pruner,
    Resources,
    Size,
    Strict,
    StudyConfig,
    Version,
    Workers,
)
from siamkit.study.config.yaml import Document, KeyPath, Problems, YamlValue, read_document
from siamkit.study.sampling.plan import check_plan
from siamkit.study.sampling.samplers import check_sampler

# ------------------------------------------------------------------ the schema


def _at_least_two(losses: list[Any]) -> list[Any]:
    if len(losses) < 2:
        raise ValueError(f"should name two losses or more to compare, got {len(losses)}")
    return losses


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
    search: Factors = Field(
        Factors(), description="factors that are searched for each loss, with its parameters"
    )
    fixed: Fixed = Fixed()
    objective: str | None = Field(
        None, description="the measure to choose by; by default that of the kind of data"
    )
    budget: Budget = Budget()
    confirm: Confirm = Confirm()
    baselines: Baselines = Field([], description=BASELINES_DESCRIPTION)
    sampler: Literal["tpe", "gp", "cmaes", "nsgaii", "qmc", "random", "grid"] = "tpe"
    pruner: Pruner = Field("none", description="none: every trial is trained to the end")
    artifacts: str | None = Field(None, description="a folder; by default runs/<name> next to this file")
    workers: Workers = "auto"
    resources: Resources = Resources()
    engine: Literal["local", "ray", "inline"] = "local"
    backend: Backend | None = None
    plugins: list[str] = Field([])


def reality_schema() -> JsonSchemaValue:
    """Return the JSON Schema of a reality check's file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **RealityConfig.model_json_schema()}


# ------------------------------------------------------------------ loading

SHARED_KEYS = (
    "version", "name", "seed", "data", "fixed", "budget", "sampler", "pruner", "artifacts", "workers",
    "resources", "engine", "backend", "plugins", "baselines",
)  # fmt: skip
"""The keys that mean the same in a reality check and in a study."""

SEARCH_KEYS = {"encoder": "encoder", "metric": "metric", "losses": "loss"}
"""Keys at the top of a reality check, and their names in a study's `search`."""

PLACEHOLDERS: Mapping[str, YamlValue] = {"version": 1, "name": "unnamed"}
"""Values for required keys that are wrong in the file, so that all other keys can be checked."""


@dataclass(frozen=True)
class LossStudy:
    """The study of one loss.

    Args:
        loss: the name of the loss.
        file: the path of the study file to write.
        data: the content of the study file.
    """

    loss: str
    file: Path
    data: Mapping[str, YamlValue]

    @property
    def folder(self) -> Path:
        """The run folder, next to the study file."""
        return self.file.with_suffix("")

    @property
    def has_started(self) -> bool:
        return (self.folder / "study.json").is_file()

    def check_unchanged(self) -> None:
        """Raise StudyError if the study started with another file; `tune` checks the data and versions."""
        if not (self.has_started and self.file.is_file()):
            return
        before, now = _comparable(read_document(self.file).data), _comparable(self.data)
        for key in sorted({*before, *now} - set(RESUMABLE)):
            if before.get(key) != now.get(key):
                raise StudyError(
                    f"the reality check in {str(self.file.parent)!r} started with another {key} for the loss "
                    f"{self.loss!r}; restore it, or choose another artifacts folder"
                )

    def write(self) -> None:
        """Write the study file."""
        text = io.StringIO()
        YAML(typ="safe", pure=True).dump(dict(self.data), text)
        write_text(self.file, text.getvalue())


@dataclass(frozen=True)
class ResolvedReality:
    """A reality check with everything that its file names.

    Args:
        config: the parsed file.
        combined: one study with all losses, used only to check the file; it is never run.
        studies: one study per loss.
    """

    config: RealityConfig
    combined: ResolvedStudy
    studies: list[LossStudy]

    @property
    def folder(self) -> Path:
        """The folder of the whole reality check."""
        return self.combined.folder


def load_reality(
    path: str | os.PathLike[str],
    plugins: Iterable[str] = (),
    artifacts: str | os.PathLike[str] | None = None,
) -> ResolvedReality:
    """Load the file of a reality check, without its data.

    Args:
        path: the file of the reality check.
        plugins, artifacts: the same as for `siamkit.tune`.

    Raises:
        StudyFileError: the file has problems; the message lists all of them.
    """
    document = read_document(Path(path))
    problems = Problems(document)
    config, wrong_keys = None, set()
    try:
        config = RealityConfig.model_validate(document.data)
    except ValidationError as error:
        problems.add_validation(error, RealityConfig)
        wrong_keys = {detail["loc"][0] for detail in error.errors() if detail["loc"]}
    data = {key: value for key, value in document.data.items() if key not in wrong_keys}
    data |= {key: value for key, value in PLACEHOLDERS.items() if key in wrong_keys}
    if not {"data", *SEARCH_KEYS} <= {*data}:  # too few keys are right to derive a study
        raise problems.error()
    derived = Document(document.name, _combined_study(data), document.lines, _written_at)
    combined = resolve_study(
        derived, plugins, artifacts, checks=[check_sampler, check_plan], earlier=problems
    )
    assert config is not None  # else there were problems
    if "://" in str(combined.folder):
        problems.add(("artifacts",), "should be a local folder")
        raise problems.error()
    return ResolvedReality(config, combined, _loss_studies(combined))


def _combined_study(data: Mapping[str, YamlValue]) -> dict[str, YamlValue]:
    """Return one study with all losses."""
    study = {key: data[key] for key in SHARED_KEYS if key in data}
    search = data.get("search")
    study["search"] = {
        **{name: data[key] for key, name in SEARCH_KEYS.items()},
        **(search if isinstance(search, dict) else {}),
    }
    study.setdefault("pruner", "none")
    confirm = data.get("confirm")
    seeds = confirm.get("seeds", 5) if isinstance(confirm, dict) else 5
    study["confirm"] = {"top": 1, "seeds": seeds}
    if isinstance(name := data.get("objective"), str):
        study["objectives"] = {name: OBJECTIVES[name].direction if name in OBJECTIVES else "maximize"}
    return study


def _written_at(path: KeyPath) -> KeyPath:
    """Return the path, in the reality check's file, of a key of the study derived from it."""
    if path[:2] in (("search", "encoder"), ("search", "metric")):
        return path[1:]
    if path[:2] == ("search", "loss"):
        return ("losses", *path[2:])
    return ("objective",) if path[:1] == ("objectives",) else path


def _loss_studies(combined: ResolvedStudy) -> list[LossStudy]:
    """Return one study per loss, which searches the metrics that fit the loss."""
    data, space = combined.document.data, combined.space
    search = data["search"]
    assert isinstance(search, dict)
    metrics = dict(zip(space.metric.alternatives, _as_list(search["metric"]), strict=True))
    studies = []
    for (name, loss), item in zip(space.loss.alternatives.items(), _as_list(search["loss"]), strict=True):
        fitting = {metric for spec, _ in loss.specs() for metric in space.fitting_metrics(spec)}
        short = name.replace("/", "-")
        study: dict[str, YamlValue] = {
            **data,
            "name": f"{data['name']}-{short}"[:100],
            "artifacts": short,
            "search": {
                **search,
                "loss": item,
                "metric": [written for metric, written in metrics.items() if metric in fitting],
            },
            "data": _with_absolute_path(data["data"], combined.document.folder),
        }
        if isinstance(baselines := data.get("baselines"), list):
            study["baselines"] = [_absolute(each, combined.document.folder) for each in baselines]
        studies.append(LossStudy(name, combined.folder / f"{short}.yaml", study))
    return studies


def _as_list(value: YamlValue) -> list[YamlValue]:
    return value if isinstance(value, list) else [value]


def _with_absolute_path(data: YamlValue, folder: Path) -> YamlValue:
    """Return `data` of a study file with an absolute path, which can be at three places."""

    data = _absolute(data, folder)
    if isinstance(data, dict) and isinstance(source := data.get("source"), dict):
        if "path" in source:
            return {**data, "source": _absolute(source, folder)}
        return {**data, "source": {name: _absolute(params, folder) for name, params in source.items()}}
    return data


def _absolute(section: YamlValue, folder: Path) -> YamlValue:
    """Return a section with its path absolute, if it has one."""
    if not isinstance(section, dict) or not isinstance(path := section.get("path"), str):
        return section
    return {**section, "path": str((folder / path).resolve())}


def _comparable(data: Mapping[str, YamlValue]) -> dict[str, YamlValue]:
    """Return a study with its defaults but without the path of its data; empty if it is not a study."""
    try:
        study: dict[str, YamlValue] = StudyConfig.model_validate(data).model_dump()
    except ValidationError:
        return {}
    section = study["data"]
    assert isinstance(section, dict)
    return {**study, "data": {key: section[key] for key in ("split", "limit")}}
