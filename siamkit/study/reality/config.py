"""A reality check's file: read, checked whole, and made into one study a loss."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML

from siamkit.errors import StudyError, StudyFileError
from siamkit.evaluation import OBJECTIVES
from siamkit.io.files import write_text
from siamkit.study.config.load import ResolvedStudy, check_study, explained
from siamkit.study.config.schema import RESUMABLE, StudyConfig
from siamkit.study.config.yaml import Document, Path_, read_document
from siamkit.study.reality.schema import RealityFile

SHARED = (
    "version", "name", "seed", "data", "fixed", "budget", "sampler", "pruner", "artifacts", "workers",
    "resources", "engine", "backend", "plugins",
)  # fmt: skip
"""Keys that mean in a study what they mean here."""

STAND_INS = {"version": 1, "name": "unnamed"}
"""For what a study must have, where what the file has is wrong: that was said already."""

COMPONENTS = {"encoder": "encoder", "metric": "metric", "losses": "loss"}
"""Where they stand in a study's search."""


@dataclass(frozen=True)
class Part:
    """One loss's study.

    Args:
        loss: its name.
        file: its study file; its run folder is beside it.
        data: what that holds.
    """

    loss: str
    file: Path
    data: dict[str, Any]

    @property
    def folder(self) -> Path:
        return self.file.with_suffix("")

    @property
    def begun(self) -> bool:
        return (self.folder / "study.json").is_file()

    def check_begun(self) -> None:
        """Raises StudyError where it was begun otherwise than it would go on; `tune` looks at the rest."""
        if not (self.begun and self.file.is_file()):
            return
        before, now = (_resolved(data) for data in (read_document(self.file).data, self.data))
        for key in sorted({*before, *now} - set(RESUMABLE)):
            if before.get(key) != now.get(key):
                raise StudyError(
                    f"the reality check in {str(self.file.parent)!r} was begun with another {key} for the "
                    f"loss {self.loss!r}; put that back, or give it another artifacts folder"
                )

    def write(self) -> None:
        """Writes the study file."""
        text = io.StringIO()
        YAML(typ="safe", pure=True).dump(self.data, text)
        write_text(self.file, text.getvalue())


@dataclass(frozen=True)
class Reality:
    """A reality check that is right as far as can be told without its data.

    Args:
        file: as the schema has it.
        whole: all losses in one study, by which they are checked; it is never run.
        parts: a study a loss.
        folder: where all of it lies.
    """

    file: RealityFile
    whole: ResolvedStudy
    parts: list[Part]
    folder: Path


class Derived(Document):
    """A study made of another file, whose problems are told where they stand in that one."""

    def __init__(self, source: Document, data: dict[str, Any]) -> None:
        super().__init__(source.name, data, source.lines)
        object.__setattr__(self, "_source", source)

    def line(self, path: Any) -> int:
        return self._source.line(_origin(tuple(path)))  # type: ignore[attr-defined, no-any-return]

    def at(self, path: Any) -> str:
        return self._source.at(_origin(tuple(path)))  # type: ignore[attr-defined, no-any-return]


def load_reality(
    path: str | os.PathLike[str],
    plugins: Iterable[str] = (),
    artifacts: str | os.PathLike[str] | None = None,
) -> Reality:
    """Reads and checks a reality check's file, without its data.

    Args:
        path, plugins, artifacts: as for a study.

    Raises:
        StudyFileError: all that is wrong in it.
    """
    document = read_document(Path(path))
    problems, wrong, file = [], set(), None
    try:
        file = RealityFile.model_validate(document.data)
    except ValidationError as error:
        for where, message in explained(error, RealityFile):
            problems.append((document.line(where), f"{document.at(where)}: {message}"))
            wrong.add(where[0] if where else "")
    sound = {key: value for key, value in document.data.items() if key not in wrong}
    sound |= {key: value for key, value in STAND_INS.items() if key in wrong}
    if not {"data", *COMPONENTS} <= {*sound}:  # there is no study to be made of it
        raise StudyFileError(message for _, message in sorted(problems))
    whole = check_study(Derived(document, _study(sound)), plugins, artifacts, found=problems)
    assert file is not None  # else there were problems
    if "://" in str(whole.folder):
        raise StudyFileError([f"{document.at(('artifacts',))}: should be a folder of this machine"])
    return Reality(file, whole, _parts(whole), whole.folder)


def _study(data: Mapping[str, Any]) -> dict[str, Any]:
    """All losses in one study."""
    study = {key: data[key] for key in SHARED if key in data}
    study["search"] = {name: data[key] for key, name in COMPONENTS.items()}
    study["search"] |= data.get("search") or {}
    study.setdefault("pruner", "none")
    seeds = (data.get("confirm") or {}).get("seeds", 5)
    study["confirm"] = {"top": 1, "seeds": seeds}
    if data.get("objective") is not None:
        name = data["objective"]
        study["objectives"] = {name: OBJECTIVES[name].direction if name in OBJECTIVES else "maximize"}
    return study


def _origin(path: Path_) -> Path_:
    """Where in a reality check's file stands what stands there in the study made of it."""
    if path[:2] in (("search", "encoder"), ("search", "metric")):
        return path[1:]
    if path[:2] == ("search", "loss"):
        return ("losses", *path[2:])
    return ("objective",) if path[:1] == ("objectives",) else path


def _parts(whole: ResolvedStudy) -> list[Part]:
    """A study a loss, which searches the metrics that fit it."""
    data, parts = whole.document.data, []
    metrics = data["search"]["metric"]
    metrics = dict(
        zip(whole.space.metric.alternatives, metrics if isinstance(metrics, list) else [metrics], strict=True)
    )
    for (name, alternative), item in zip(
        whole.space.loss.alternatives.items(), data["search"]["loss"], strict=True
    ):
        fitting = {metric for shape, _ in alternative.shapes() for metric in whole.space.fitting(shape)}
        short = name.replace("/", "-")
        study = {**data, "name": f"{data['name']}-{short}"[:100], "artifacts": short}
        study["search"] = {
            **data["search"],
            "loss": item,
            "metric": [each for metric, each in metrics.items() if metric in fitting],
        }
        study["data"] = _placed(data["data"], Path(whole.document.name).parent)
        parts.append(Part(name, whole.folder / f"{short}.yaml", study))
    return parts


def _placed(data: Mapping[str, Any], beside: Path) -> dict[str, Any]:
    """The data's path, seen from anywhere; it may stand with the source's name."""

    def absolute(given: Mapping[str, Any]) -> dict[str, Any]:
        path = given.get("path")
        return {**given, "path": str((beside / path).resolve())} if isinstance(path, str) else {**given}

    placed, source = absolute(data), data.get("source")
    if isinstance(source, Mapping):
        placed["source"] = absolute(source) if "path" in source else {
            name: absolute(params) if isinstance(params, Mapping) else params
            for name, params in source.items()
        }  # fmt: skip
    return placed


def _resolved(data: dict[str, Any]) -> dict[str, Any]:
    """A study with its defaults, wherever its data lie; nothing of what is no study."""
    try:
        plain = StudyConfig.model_validate(data).model_dump()
    except ValidationError:
        return {}
    return {
        **plain,
        "data": {key: value for key, value in plain["data"].items() if key in ("split", "limit")},
    }
