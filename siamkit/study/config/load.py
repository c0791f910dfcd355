"""A study file, read and checked whole: every problem at once, each with its line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from siamkit.data import ablation
from siamkit.data.dataset import Dataset
from siamkit.errors import ComponentError, DataError, PluginError, StudyFileError, nearest
from siamkit.evaluation import DEFAULT_OBJECTIVE, OBJECTIVES
from siamkit.io.paths import as_path, unreachable_reason
from siamkit.registry.catalog import Registered
from siamkit.registry.compatibility import data_misfit, input_misfit
from siamkit.registry.registry import Registry, components
from siamkit.registry.specs import DatasetSpec
from siamkit.study.config.parse import parse_space
from siamkit.study.config.schema import Direction, StudyConfig
from siamkit.study.config.search_space import Space
from siamkit.study.config.yaml import Document, read_document


@dataclass(frozen=True)
class ResolvedStudy:
    """A study file that is right as far as can be told without its data.

    Args:
        config: the parsed file.
        space: what is searched.
        source: the dataset's spec and arguments.
        document: the file itself, for messages that name its lines.
        folder: the run folder.
    """

    config: StudyConfig
    space: Space
    source: tuple[Registered[DatasetSpec], dict[str, Any]]
    document: Document
    folder: Path

    def load_data(self) -> Dataset:
        """Reads the data.

        Raises:
            StudyFileError: they cannot be read, or do not suit the encoders, losses and objectives.
        """
        entry, arguments = self.source
        try:
            dataset = entry.factory()(**arguments)
        except (DataError, PluginError) as error:
            raise StudyFileError([f"{self.document.at(('data',))}: {error}"]) from error
        if not isinstance(dataset, Dataset):
            raise StudyFileError(
                [
                    f"{self.document.at(('data',))}: the dataset {entry.qualified!r} should give a "
                    f"siamkit.Dataset, got {type(dataset).__name__}"
                ]
            )
        problems = [f"{self.document.at(path)}: {message}" for path, message in self._misfits(dataset)]
        if problems:
            raise StudyFileError(problems)
        return dataset

    def objectives(self, dataset: Dataset) -> dict[str, Direction]:
        """The figures to optimise, the first of them the one that names the best."""
        if self.config.objectives:
            return dict(self.config.objectives)
        measure = DEFAULT_OBJECTIVE[dataset.supervision]
        return {measure: "maximize"}  # as all of these are

    def _misfits(self, dataset: Dataset) -> Iterable[tuple[tuple[str | int, ...], str]]:
        """What of the study does not suit the data."""
        kind, given = dataset.supervision, dataset.input
        if kind not in DEFAULT_OBJECTIVE:
            yield (
                ("data",),
                f"data of {kind} can train a model but not judge it; a study wants labels, pairs or scores",
            )
        for part, name, alternative in self.space.components():
            spec = alternative.entry.spec
            if part == "encoder" and (reason := input_misfit(spec, given)) is not None:
                yield ("search", "encoder"), f"the encoder {name!r} {reason}"
            if part == "loss":
                for shape, _ in alternative.shapes():
                    if (reason := data_misfit(shape, kind)) is not None:
                        yield ("search", "loss"), f"the loss {name!r} {reason}"
        for factor in self.space.data:
            if reason := ablation.misfit(factor, kind, given):
                yield ("search", "data", factor), reason
        for name in self.config.objectives or {}:
            if name in OBJECTIVES and kind not in OBJECTIVES[name].supervisions:
                fit = [n for n, measure in OBJECTIVES.items() if kind in measure.supervisions]
                yield (
                    ("objectives", name),
                    f"cannot be told from data of {kind}; choose from {', '.join(fit)}",
                )


def load_study(
    path: str | os.PathLike[str],
    plugins: Iterable[str] = (),
    artifacts: str | os.PathLike[str] | None = None,
    data_wanted: bool = True,
) -> ResolvedStudy:
    """Reads and checks a study file, without its data.

    Args:
        path: the file.
        plugins: modules of your own to import besides those that the file names.
        artifacts: the run folder, instead of the file's own; relative to where one stands.
        data_wanted: whether it is wrong that the data are not there; not for who wants only results.

    Raises:
        StudyFileError: all that is wrong in it.
    """
    return check_study(read_document(Path(path)), plugins, artifacts, data_wanted)


def check_study(
    document: Document,
    plugins: Iterable[str] = (),
    artifacts: str | os.PathLike[str] | None = None,
    data_wanted: bool = True,
    found: Iterable[tuple[int, str]] = (),
) -> ResolvedStudy:
    """Checks a study that was read already; `found` are problems of it, by line, that are known by now."""
    path = Path(document.name)
    problems: list[tuple[int, str]] = [*found]

    def report(where: tuple[str | int, ...], message: str) -> None:
        problems.append((document.line(where), f"{document.at(where)}: {message}"))

    data = document.data
    # Appended: a module beside the file is found, and hides none that is installed.
    if (beside := str(path.parent.resolve())) not in sys.path:
        sys.path.append(beside)
    _load_plugins([*_texts(data.get("plugins")), *plugins], report)
    file = None
    try:
        file = StudyConfig.model_validate(data)
    except ValidationError as error:
        for where, message in explained(error, StudyConfig):
            report(where, message)
    registry = components()
    search, fixed = data.get("search"), data.get("fixed", {})
    space = None
    if isinstance(search, Mapping) and isinstance(fixed, Mapping):
        space = parse_space(search, fixed, registry, report)
    source = None
    if isinstance(data.get("data"), Mapping):
        source = _source(data["data"], document, registry, report, data_wanted)
    for name, direction in _mapping(data.get("objectives")).items():
        _check_objective(name, direction, report)
    if file is not None and "://" in file.storage and not (file.artifacts or artifacts):
        report(
            ("storage",), "a storage on a server wants an artifacts folder (or URL) that all its users reach"
        )
    if file is not None and space is not None and data_wanted:
        # Not at the top: workers read tasks, and shall not wait for Optuna.
        from siamkit.study.sampling.plan import plan_problems
        from siamkit.study.sampling.samplers import sampler_problems

        for where, message in (
            *sampler_problems(file, space, len(file.objectives or [None])),
            *plan_problems(file, space, path.parent),
        ):
            report(where, message)
    asked = str(artifacts or (file.artifacts if file is not None else None) or "")
    if "://" in asked and (problem := unreachable_reason(asked)) is not None:
        report(("artifacts",), problem)
    if problems or file is None or space is None or source is None:
        raise StudyFileError(message for _, message in sorted(set(problems)))
    return ResolvedStudy(file, space, source, document, run_folder(file, path, artifacts))


def run_folder(file: StudyConfig, path: Path, artifacts: str | os.PathLike[str] | None = None) -> Path:
    """Where a study's files lie: as asked, relative to where one stands, or as its file says, beside that."""
    given = str(artifacts or file.artifacts or f"runs/{file.name}")
    if "://" in given:
        return as_path(given)
    return (Path(given) if artifacts else path.parent / given).resolve()


def _load_plugins(modules: Iterable[str], report: Any) -> None:
    for index, module in enumerate(modules):
        try:
            components().load_module(module)
        except (PluginError, ComponentError) as error:
            report(("plugins", index), str(error))


def _check_objective(name: str, direction: object, report: Any) -> None:
    if name not in OBJECTIVES:
        report(("objectives", name), f"unknown figure {name!r}; {nearest(name, OBJECTIVES)}")
    elif direction in ("maximize", "minimize") and direction != OBJECTIVES[name].direction:
        report(
            ("objectives", name),
            f"{name} is better the {'higher' if direction == 'minimize' else 'lower'} "
            f"it is; write {OBJECTIVES[name].direction}",
        )


def _source(
    data: Mapping[str, Any], document: Document, registry: Registry, report: Any, wanted: bool
) -> tuple[Registered[DatasetSpec], dict[str, Any]] | None:
    """The dataset that `data` names, or that the ending of its path does, and the factory's arguments."""
    given, path = data.get("source"), data.get("path")
    where: tuple[str | int, ...] = ("data", "source")
    arguments: dict[str, Any] = {}
    name = given if isinstance(given, str) else None
    if isinstance(given, Mapping) and set(given) == {"path"}:
        path = given["path"]
    elif isinstance(given, Mapping) and len(given) == 1:
        ((name, arguments),) = given.items()
        arguments = dict(_mapping(arguments))
    elif given is not None and name is None:
        report(where, f"should be a dataset's name, or one name with its parameters, got {given!r:.60}")
        return None
    if path is not None:
        arguments["path"] = path
    if name is None:
        if not isinstance(arguments.get("path"), str):
            report(("data",), "should name a source (a dataset) or a path (a file or folder)")
            return None
        name = _by_suffix(Path(document.name).parent / arguments["path"], registry, wanted)
        if name is None:
            if not (Path(document.name).parent / arguments["path"]).exists():
                report(("data", "path"), f"{arguments['path']!r} does not exist")
                return None
            endings = sorted(
                {suffix for entry in registry.datasets.all() for suffix in entry.spec.suffixes} - {"/"}
            )
            report(
                ("data", "path"),
                f"{arguments['path']!r} is no folder and has none of the endings "
                f"{', '.join(endings)}; name its source",
            )
            return None
    try:
        entry = registry.find("dataset", name)
    except ComponentError as error:
        report(where, str(error))
        return None
    checked = entry.spec.defaults()
    for key, value in arguments.items():
        if key not in entry.spec.params:
            report(
                (*where, name, key) if key != "path" else ("data", "path"),
                f"the dataset {name!r} has no parameter {key!r}; {nearest(key, entry.spec.params)}",
            )
            continue
        try:
            checked[key] = entry.spec.params[key].validate(value)
        except ValueError as error:
            report((*where, name, key) if key != "path" else ("data", "path"), str(error))
    if isinstance(checked.get("path"), str):
        checked["path"] = str((Path(document.name).parent / checked["path"]).resolve())
    return entry, {key: value for key, value in checked.items() if value is not None}


def _by_suffix(path: Path, registry: Registry, wanted: bool) -> str | None:
    suffix = "/" if path.is_dir() or not (wanted or path.suffix) else path.suffix.lower()
    return next((name for name, entry in registry.datasets.items() if suffix in entry.spec.suffixes), None)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


# ------------------------------------------------- pydantic's findings in words


def explained(error: ValidationError, model: type[BaseModel]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What pydantic found: where in the file, and what would be right."""
    for detail in error.errors():
        yield _place(detail), _explain(detail, model)


def _place(detail: ErrorDetails) -> tuple[str | int, ...]:
    """Where in the file: without the marks that pydantic adds for the branches of a union."""
    known = ("train", "valid", "test")
    loc = detail["loc"]
    return loc[: loc.index(part) + 1] if (part := next((p for p in loc if p in known), None)) else loc


def _explain(detail: ErrorDetails, model: type[BaseModel]) -> str:
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    got = f"got {given!r:.60}"
    key = str(detail["loc"][-1])
    if kind == "extra_forbidden":
        return f"unknown key {key!r}; {nearest(key, _keys_beside(detail['loc'], model))}"
    if kind == "missing":
        return f"{key!r} is missing"
    if kind == "literal_error":
        return f"should be {context['expected']}, {got}"
    if kind == "value_error":
        return str(context["error"])
    if any(part in ("train", "valid", "test") for part in detail["loc"]) and "split" in detail["loc"]:
        return f"should be a fraction above 0 and at most 1, or a list of classes or values, {got}"
    wanted = {
        "int_type": "a whole number",
        "float_type": "a number",
        "bool_type": "true or false",
        "string_type": "a text",
        "dict_type": "a mapping",
        "list_type": "a list",
        "model_type": "a mapping",
        "model_attributes_type": "a mapping",
        "greater_than": f"above {context.get('gt')}",
        "greater_than_equal": f"at least {context.get('ge')}",
        "less_than": f"below {context.get('lt')}",
        "less_than_equal": f"at most {context.get('le')}",
        "string_pattern_mismatch": "of letters, digits, '.', '_' and '-', and begin with a letter or digit",
        "too_short": "not empty",
        "string_too_short": "not empty",
        "finite_number": "a finite number",
    }.get(kind)
    return f"should be {wanted}, {got}" if wanted else f"{detail['msg'].lower()}, {got}"


def _keys_beside(loc: tuple[int | str, ...], within: type[BaseModel]) -> list[str]:
    """The keys that the schema has where an unknown one stands."""
    model: Any = within
    for part in loc[:-1]:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        if field is None:
            return []
        options = [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
        if model is None:
            return []
    return list(model.model_fields)
