"""Load a study file: read it, parse it, and report every problem at once, each with its line."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import JsonValue, ValidationError

from siamkit.data import ablation
from siamkit.data.augmentation import augmentation_misfit
from siamkit.data.dataset import Dataset
from siamkit.errors import ComponentError, DataError, PluginError, listed, nearest
from siamkit.evaluation.baselines import CHANCE, UNTRAINED, baselines_for
from siamkit.evaluation.measures import BYTES_PER_NUMBER, DEFAULT_OBJECTIVE, FROM_SIZE, MEASURES, OBJECTIVES
from siamkit.io.files import to_jsonable
from siamkit.io.paths import as_path, unreachable_reason
from siamkit.registry.compatibility import data_misfit, input_misfit, labels_misfit, supervision_for
from siamkit.registry.registry import components
from siamkit.study.config._parse import DataSource, parse_source, parse_space
from siamkit.study.config.schema import RESUMABLE, Data, Direction, StudyConfig
from siamkit.study.config.search_space import SearchSpace
from siamkit.study.config.yaml import Document, Problems, YamlValue, read_document

Check = Callable[[StudyConfig, SearchSpace, Problems], None]
"""A further check of a study file: it adds the problems that it finds in the parsed study."""


@dataclass(frozen=True)
class ResolvedStudy:
    """A study file with everything that it names, checked as far as possible without its data.

    Args:
        config: the parsed file.
        space: the search space.
        source: the dataset and its arguments.
        document: the file itself, for messages that name its lines.
        folder: the run folder.
    """

    config: StudyConfig
    space: SearchSpace
    source: DataSource
    document: Document
    folder: Path

    def load_data(self) -> Dataset:
        """Load the data.

        Raises:
            StudyFileError: they cannot be read, or do not fit the encoders, losses and objectives.
        """
        try:
            dataset = self.source.load()
        except (DataError, PluginError) as error:
            problems = Problems(self.document)
            problems.add(("data",), str(error))
            raise problems.error() from error
        self.check_data(dataset)
        return dataset

    def check_data(self, dataset: Dataset) -> None:
        """Check that data fit the encoders, losses and objectives.

        Raises:
            StudyFileError: they do not.
        """
        problems = Problems(self.document)
        _check_data(self, dataset, problems)
        if problems:
            raise problems.error()

    def unchangeable(self) -> dict[str, JsonValue]:
        """Return the keys of the file that must not change while the study is resumed, as plain data."""
        config = self.config.model_dump(mode="json")
        fixed = {key: value for key, value in config.items() if key not in RESUMABLE}
        # The parameters of the source show in the data themselves.
        own = {key: fixed["data"][key] for key in Data.model_fields}
        fixed["data"] = {**own, "path": None, "source": self.source.entry.qualified}
        plain: dict[str, JsonValue] = to_jsonable(fixed)
        return plain

    def objectives(self, dataset: Dataset) -> dict[str, Direction]:
        """Return the measures to optimize; the first one decides which trial is the best."""
        if self.config.objectives:
            return dict(self.config.objectives)
        return {DEFAULT_OBJECTIVE[dataset.supervision]: "maximize"}  # the direction of all default objectives


def load_study(
    path: str | os.PathLike[str],
    plugins: Iterable[str] = (),
    artifacts: str | os.PathLike[str] | None = None,
    *,
    data_required: bool = True,
    checks: Iterable[Check] = (),
) -> ResolvedStudy:
    """Load a study file, without its data.

    Args:
        path: the file.
        plugins: modules to import, in addition to those that the file names.
        artifacts: the run folder, in place of the file's; relative to the working directory.
        data_required: whether missing data are a problem.
        checks: further checks; they run if the file could be parsed.

    Raises:
        StudyFileError: the file has problems; the message lists all of them.
    """
    document = read_document(Path(path))
    return resolve_study(document, plugins, artifacts, data_required=data_required, checks=checks)


def resolve_study(
    document: Document,
    plugins: Iterable[str] = (),
    artifacts: str | os.PathLike[str] | None = None,
    *,
    data_required: bool = True,
    checks: Iterable[Check] = (),
    earlier: Problems | None = None,
) -> ResolvedStudy:
    """Resolve a study file that was read already.

    Args:
        document: the file.
        plugins, artifacts, data_required, checks: the same as for `load_study`.
        earlier: problems of the file that are already known.

    Raises:
        StudyFileError: the file has problems; the message lists all of them.
    """
    data = document.data
    problems = Problems(document, earlier)
    _load_plugins([*_texts(data.get("plugins")), *plugins], document.folder, problems)
    config = None
    try:
        config = StudyConfig.model_validate(data)
    except ValidationError as error:
        problems.add_validation(error, StudyConfig)
    registry = components()
    search, fixed, source_data = data.get("search"), data.get("fixed", {}), data.get("data")
    space = source = None
    if isinstance(search, Mapping) and isinstance(fixed, Mapping):
        space = parse_space(search, fixed, registry, problems)
    if isinstance(source_data, Mapping):
        source = parse_source(source_data, registry, problems, data_required)
    _check_objectives(data.get("objectives"), problems)
    _check_constraints(data.get("constraints"), problems)
    if config is not None and space is not None:
        space = _with_sizes_that_fit(space, config, problems)
    _check_artifacts(config, artifacts, problems)
    if config is not None and space is not None:
        for check in checks:
            check(config, space, problems)
    if problems or config is None or space is None or source is None:
        raise problems.error()
    return ResolvedStudy(config, space, source, document, run_folder(config, document.folder, artifacts))


def read_data(data: Mapping[str, YamlValue], folder: Path) -> Dataset:
    """Return the data that a section `data` names, without a study.

    Args:
        data: the section: a source or a path, and the source's parameters.
        folder: the folder to which a relative path refers.

    Raises:
        StudyFileError: the section has problems.
        DataError: the data cannot be read.
    """
    problems = Problems(Document(str(folder / "the data"), {"data": dict(data)}, {}))
    source = parse_source(data, components(), problems, data_required=True)
    if source is None or problems:
        raise problems.error()
    return source.load()


def run_folder(config: StudyConfig, folder: Path, artifacts: str | os.PathLike[str] | None = None) -> Path:
    """Return the path of a study's run folder.

    Args:
        config: the parsed study file.
        folder: the folder of the file; a path in the file is relative to it.
        artifacts: the run folder, in place of the file's; relative to the working directory.
    """
    path = str(artifacts or config.artifacts or f"runs/{config.name}")
    if "://" in path:
        return as_path(path)
    return (Path(path) if artifacts else folder / path).resolve()


# ------------------------------------------------------------------ checks


def _load_plugins(modules: Iterable[str], folder: Path, problems: Problems) -> None:
    for index, module in enumerate(modules):
        try:
            components().load_module(module, folder)
        except (PluginError, ComponentError) as error:
            problems.add(("plugins", index), str(error))


def _check_objectives(objectives: YamlValue, problems: Problems) -> None:
    for name, direction in objectives.items() if isinstance(objectives, Mapping) else ():
        if name not in OBJECTIVES:
            problems.add(("objectives", name), f"unknown measure {name!r}; {nearest(name, OBJECTIVES)}")
        elif direction in ("maximize", "minimize") and direction != OBJECTIVES[name].direction:
            better = "higher" if OBJECTIVES[name].direction == "maximize" else "lower"
            problems.add(
                ("objectives", name),
                f"{better} values of {name} are better; write {OBJECTIVES[name].direction}",
            )


def _check_constraints(constraints: YamlValue, problems: Problems) -> None:
    for name in constraints if isinstance(constraints, Mapping) else ():
        if name not in MEASURES:
            problems.add(("constraints", name), f"unknown measure {name!r}; {nearest(name, MEASURES)}")


def _with_sizes_that_fit(space: SearchSpace, config: StudyConfig, problems: Problems) -> SearchSpace:
    """Return the space with only those sizes of embeddings that keep the constraints on `bytes_per_vector`.

    So no sampler proposes another size, no plan lists one, and none takes a worker's time.
    """
    limits = [limit for limit in config.limits if limit.measure in FROM_SIZE]
    if not limits:
        return space
    floors = [limit.limit / BYTES_PER_NUMBER for limit in limits if limit.operator == ">="]
    ceilings = [limit.limit / BYTES_PER_NUMBER for limit in limits if limit.operator == "<="]
    lowest, highest = max(floors, default=1), min(ceilings, default=math.inf)
    sizes = space.factors["embedding_dim"]
    if sizes.options:
        fitting = replace(sizes, options=tuple(dim for dim in sizes.options if lowest <= dim <= highest))
        is_empty, dims = not fitting.options, listed(map(str, sizes.options))
    else:
        low, high = math.ceil(max(sizes.low, lowest)), math.floor(min(sizes.high, highest))
        fitting = replace(sizes, low=low, high=high) if low != high else replace(sizes, options=(low,))
        is_empty, dims = low > high, f"from {sizes.low:g} to {sizes.high:g}"
    if is_empty:
        problems.add(
            ("constraints", limits[0].measure),
            f"no embedding of this study keeps {' and '.join(map(str, limits))}: embedding_dim is {dims}, "
            f"with {BYTES_PER_NUMBER} bytes for each dimension. Change the limit, or embedding_dim under "
            "`fixed:` or `search:`",
        )
        return space
    return replace(space, factors={**space.factors, "embedding_dim": fitting})


def _check_artifacts(
    config: StudyConfig | None, artifacts: str | os.PathLike[str] | None, problems: Problems
) -> None:
    path = str(artifacts or (config.artifacts if config is not None else None) or "")
    if config is not None and "://" in config.storage and not path:
        problems.add(
            ("storage",),
            "a database storage needs `artifacts`: a folder or URL that all machines of the study can reach",
        )
    if any(len(os.fsencode(name)) > 255 for name in Path(path).parts):
        problems.add(("artifacts",), "has the name of a folder longer than 255 bytes")
    if "://" in path and (problem := unreachable_reason(path)) is not None:
        problems.add(("artifacts",), problem)


def _check_data(study: ResolvedStudy, dataset: Dataset, problems: Problems) -> None:
    """Add the problems that a study has with its data."""
    supervision, kind = dataset.supervision, dataset.input
    if dataset.is_unlabelled:
        problems.add(
            ("data",),
            "without any labels a study cannot compare embeddings; label the items, of which "
            "`labelled_share: 0.1` can hide most in training, or train without a study: "
            "siamkit.data.feed(dataset, 'views', augment='strong', …)",
        )
        return
    if (share := study.config.data.labelled_share) is not None and supervision != "labels":
        problems.add(("data", "labelled_share"), f"is for labels, the data are {supervision}; remove it")
    given = "views" if share == 0 else supervision
    if supervision not in DEFAULT_OBJECTIVE:
        problems.add(
            ("data",),
            f"data with {supervision} can train a model but not evaluate it; a study needs labels, pairs or "
            "scores",
        )
    for name, encoder in study.space.encoder.alternatives.items():
        spec = encoder.entry.spec
        if reason := input_misfit(spec, kind) or labels_misfit(spec, given):
            problems.add(("search", "encoder"), f"the encoder {name!r} {reason}")
    for name, metric in study.space.metric.alternatives.items():
        if reason := labels_misfit(metric.entry.spec, given):
            problems.add(("search", "metric"), f"the metric {name!r} {reason}")
    for name, loss in study.space.loss.alternatives.items():
        for spec, _ in loss.specs():
            if (reason := data_misfit(spec, given)) is not None:
                problems.add(("search", "loss"), f"the loss {name!r} {reason}")
            elif share is not None and supervision_for(given, spec) == "views":
                _check_two_views(study, name, kind, problems)
    if study.config.data.min_items_per_class is not None and supervision != "labels":
        problems.add(("data", "min_items_per_class"), f"is for labels, the data are {supervision}; remove it")
    suitable = (*baselines_for(kind, supervision == "labels"), UNTRAINED, CHANCE)
    for number, baseline in enumerate(study.config.baselines or []):
        if isinstance(baseline, str) and baseline not in suitable:
            problems.add(
                ("baselines", number),
                f"the baseline {baseline!r} is not for {kind} with {supervision}; choose from "
                f"{', '.join(suitable)}",
            )
    for factor in study.space.data:
        if reason := ablation.factor_misfit(factor, supervision, kind):
            problems.add(("search", "data", factor), reason)
    _check_augment(study, kind, problems)
    for key, named, known in (
        ("constraints", study.config.constraints, MEASURES),
        ("objectives", study.config.objectives, OBJECTIVES),
    ):
        fitting = [name for name, measure in known.items() if supervision in measure.supervisions]
        for name in named or {}:
            if name not in fitting:
                problems.add(
                    (key, name),
                    f"cannot be computed on data with {supervision}; choose from {', '.join(fitting)}",
                )


def _check_augment(study: ResolvedStudy, kind: str, problems: Problems) -> None:
    """Add a problem for each augmentation that is not for this kind of input."""
    if study.space.augment is None:
        return
    section = "fixed" if study.config.search.augment is None else "search"
    names = dict.fromkeys(step for name in study.space.augment.alternatives for step in name.split("+"))
    for name in names:
        if (reason := augmentation_misfit(name, kind)) is not None:
            problems.add((section, "augment"), f"the augmentation {name!r} {reason}")


def _check_two_views(study: ResolvedStudy, loss: str, kind: str, problems: Problems) -> None:
    """Add a problem if the two views of an item, from which a loss learns, can be equal."""
    augment = study.space.augment
    if kind != "text" and (augment is None or "none" in augment.alternatives):
        problems.add(
            ("data", "labelled_share"),
            f"the loss {loss!r} then learns from two augmented views of each item; write `fixed: {{augment: "
            "strong}`, or search augmentations other than none",
        )


def _texts(value: YamlValue) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
