"""Resolve the names and ranges in a study file: its search space and its data source."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from siamkit.data import ablation
from siamkit.data.augmentation import AUGMENTATIONS, PRESETS
from siamkit.data.dataset import Dataset
from siamkit.errors import ComponentError, PluginError, nearest
from siamkit.registry.catalog import Registered
from siamkit.registry.compatibility import fitting_metrics, metric_misfit
from siamkit.registry.registry import Registry
from siamkit.registry.specs import (
    Bool,
    Choice,
    Component,
    DatasetSpec,
    Float,
    Int,
    Ints,
    Kind,
    LossSpec,
    Param,
)
from siamkit.study.config.schema import MOMENTUM, Data
from siamkit.study.config.search_space import (
    FACTORS,
    Alternative,
    AugmentationSteps,
    ComponentSpace,
    SearchSpace,
    Values,
)
from siamkit.study.config.yaml import KeyPath, Problems, YamlValue

UNKNOWN = Values((None,))
"""Placeholder for wrong values, for which a problem was added."""


# ------------------------------------------------------------------ the search space


def parse_space(
    search: Mapping[str, YamlValue], fixed: Mapping[str, YamlValue], registry: Registry, problems: Problems
) -> SearchSpace | None:
    """Return the space that `search` and `fixed` of a study file describe, or None if it has problems."""
    before = len(problems)
    components: dict[Kind, ComponentSpace] = {}
    kinds: tuple[Kind, ...] = ("encoder", "metric", "loss")
    for kind in kinds:
        if kind in search:  # the schema reports a missing one
            components[kind] = parse_components(kind, search[kind], registry, ("search", kind), problems)
    factors: dict[str, Values] = {}
    for name, param in FACTORS.items():
        if search.get(name) is not None:
            if name in fixed:
                problems.add(("search", name), "is both fixed and searched; leave one of them out")
            values = parse_values(param, search[name], ("search", name), problems)
            factors[name] = replace(values, default=param.default, from_file=True)
        else:
            factors[name] = Values((fixed.get(name, param.default),))
    _check_momentum(factors, "search" if search.get("momentum") is not None else "fixed", problems)
    varied = search.get("data")
    varied = varied if isinstance(varied, Mapping) else {}  # the schema reports anything but a mapping
    data = {
        name: parse_values(param, varied[name], ("search", "data", name), problems)
        for name, param in ablation.FACTORS.items()
        if varied.get(name) is not None
    }
    augment = _parse_augment(search.get("augment"), fixed.get("augment"), problems)
    if len(problems) > before or len(components) < len(kinds):
        return None
    space = SearchSpace(
        components["encoder"], components["metric"], components["loss"], factors, data, augment
    )
    _check_metrics_fit_losses(space, problems)
    return space if len(problems) == before else None


def _check_momentum(factors: Mapping[str, Values], section: str, problems: Problems) -> None:
    optimizers = factors["optimizer"].options
    if factors["momentum"].options != (None,) and not {*optimizers} & {*MOMENTUM}:
        problems.add(
            (section, "momentum"),
            f"is for the optimizers {', '.join(MOMENTUM)}; this study has {', '.join(map(str, optimizers))}. "
            "Leave it out, or change the optimizer",
        )


def parse_components(
    kind: Kind, value: YamlValue, registry: Registry, path: KeyPath, problems: Problems
) -> ComponentSpace:
    """Return the components that a study file lists: one or more names, or mappings {name: parameters}."""
    alternatives: dict[str, Alternative] = {}
    items = value if isinstance(value, list) else [value]
    if not items:
        problems.add(path, f"should name at least one {kind}, got an empty list")
    for index, item in enumerate(items):
        item_path = (*path, index) if isinstance(value, list) else path
        name, params = item, None
        if isinstance(item, Mapping) and len(item) == 1:
            ((name, params),) = item.items()
            item_path = (*item_path, name)
        if not isinstance(name, str) or not isinstance(params, Mapping | None):
            problems.add(
                item_path,
                f"should be the name of {'an' if kind == 'encoder' else 'a'} {kind}, or one name with its "
                f"parameters ({{name: {{parameter: value}}}}), got {item!r:.60}",
            )
            continue
        try:
            entry = registry.find(kind, name)
        except ComponentError as error:
            problems.add(item_path, str(error))
            continue
        short = registry.catalog(kind).name_of(entry)
        if short in alternatives:
            problems.add(item_path, f"{name!r} is listed twice; list it once, with all its parameters")
            continue
        alternatives[short] = Alternative(
            entry, _parse_params(entry, params or {}, registry, item_path, problems)
        )
    return ComponentSpace(kind, alternatives)


def _parse_params(
    entry: Registered[Any],
    listed: Mapping[str, YamlValue],
    registry: Registry,
    path: KeyPath,
    problems: Problems,
) -> dict[str, Values | ComponentSpace]:
    """Return the values of each parameter of a component: those that the file lists, else the spec's."""
    params: Mapping[str, Param] = entry.spec.params
    for key in listed:
        if key not in params:
            problems.add(
                (*path, key),
                f"{entry.spec.kind} {entry.spec.name!r} has no parameter {key!r}; {nearest(key, params)}",
            )
    spaces: dict[str, Values | ComponentSpace] = {}
    for key, param in params.items():
        if isinstance(param, Component):
            names = listed.get(key, param.default)
            spaces[key] = parse_components(param.kind, names, registry, (*path, key), problems)
        elif key in listed:
            values = parse_values(param, listed[key], (*path, key), problems)
            spaces[key] = replace(values, default=param.default, from_file=True)
        else:
            spaces[key] = replace(_spec_values(param), default=param.default)
    return spaces


def _parse_augment(searched: YamlValue, fixed: YamlValue, problems: Problems) -> ComponentSpace | None:
    """Return the augmentations that a study file lists, or None if it lists none."""
    if searched is None and fixed is None:
        return None
    if searched is not None and fixed is not None:
        problems.add(("search", "augment"), "is both fixed and searched; leave one of them out")
    path: KeyPath = ("fixed" if searched is None else "search", "augment")
    if searched is None and isinstance(fixed, list):
        problems.add(path, "should be one augmentation; write a list under `search:`, not under `fixed:`")
        return None
    value = fixed if searched is None else searched
    alternatives: dict[str, Alternative] = {}
    for index, item in enumerate(value if isinstance(value, list) else [value]):
        at = (*path, index) if isinstance(value, list) else path
        steps = {item: None} if isinstance(item, str) else item
        if not isinstance(steps, Mapping) or not steps:
            problems.add(
                at,
                f"should be {', '.join(PRESETS)}, an augmentation, or {{augmentation: parameters, …}}, got "
                f"{item!r:.60}",
            )
            continue
        entry = AugmentationSteps(tuple(map(str, steps)))
        if entry.qualified in alternatives:
            problems.add(at, f"{entry.qualified!r} is listed twice; list it once, with all its parameters")
        params: dict[str, Values | ComponentSpace] = {}
        for name, listed in steps.items():
            step_path = at if isinstance(item, str) else (*at, name)
            step = _parse_step(name, listed, isinstance(item, str), searched is not None, step_path, problems)
            params |= {entry.key_of(name, key): values for key, values in step.items()}
        alternatives[entry.qualified] = Alternative(entry, params)
    if not alternatives and not len(problems):
        problems.add(path, "should list at least one augmentation")
    return ComponentSpace("augmentation", alternatives)


def _parse_step(
    name: str, listed: YamlValue, alone: bool, searched: bool, path: KeyPath, problems: Problems
) -> dict[str, Values]:
    """Return the values of each parameter of one augmentation; a preset, which stands alone, has none."""
    if alone and name in PRESETS:
        return {}
    if name not in AUGMENTATIONS:
        known = nearest(name, (*PRESETS, *AUGMENTATIONS) if alone else AUGMENTATIONS)
        problems.add(path, f"unknown augmentation {name!r}; {known}")
        return {}
    if not isinstance(listed, Mapping | None):
        problems.add(path, f"should be parameters ({{parameter: value}}), got {listed!r:.60}")
        return {}
    listed, params = listed or {}, AUGMENTATIONS[name].params
    for key in listed:
        if key not in params:
            known = nearest(key, params)
            problems.add((*path, key), f"augmentation {name!r} has no parameter {key!r}; {known}")
    found: dict[str, Values] = {}
    for key, param in params.items():
        if key in listed:
            values = parse_values(param, listed[key], (*path, key), problems)
            if not searched and values.count() > 1:
                problems.add((*path, key), "should be one value; write what to search under `search:`")
            found[key] = replace(values, default=param.default, from_file=True)
        else:
            values = _spec_values(param) if searched else Values((param.default,))
            found[key] = replace(values, default=param.default)
    return found


def _spec_values(param: Param) -> Values:
    """Return the values that a component's spec recommends to search, or its default alone."""
    if isinstance(param, Float | Int) and param.low is not None and param.high is not None:
        return Values(
            low=param.low,
            high=param.high,
            log=param.log,
            integer=isinstance(param, Int),
            unit=getattr(param, "unit", ""),
        )
    if isinstance(param, Choice):
        return Values(tuple(param.search))
    if isinstance(param, Bool) and param.search:
        return Values((True, False))
    return Values((param.default,))


def parse_values(param: Param, value: YamlValue, path: KeyPath, problems: Problems) -> Values:
    """Return the values that a file lists for a parameter.

    One value or a list of values is literal, as in the API; a range is in the parameter's units.
    """

    def validate(literal: YamlValue, at: KeyPath) -> Any:
        try:
            return param.validate(literal)
        except ValueError as error:
            problems.add(at, str(error))
            return None

    if isinstance(value, Mapping) and not isinstance(param, Ints):
        return _parse_range(param, value, path, problems)
    if isinstance(param, Ints) or not isinstance(value, list):
        return Values((validate(value, path),))
    if not value:
        problems.add(path, "should list at least one value")
    options = tuple(validate(literal, (*path, index)) for index, literal in enumerate(value))
    if len(set(map(repr, options))) < len(options):
        problems.add(path, "lists a value twice")
    return Values(options)


def _parse_range(param: Param, value: Mapping[str, YamlValue], path: KeyPath, problems: Problems) -> Values:
    for key in value:
        if key not in ("low", "high", "log"):
            keys = ("low", "high", "log")
            problems.add((*path, key), f"a range has low, high and log; {nearest(key, keys)}")
    if not isinstance(param, Float | Int):
        problems.add(path, "cannot be a range; give a value or a list of values")
        return UNKNOWN
    if "low" not in value or "high" not in value:
        problems.add(path, "a range needs both low and high")
        return UNKNOWN
    log = value.get("log", False)
    if not isinstance(log, bool):
        problems.add((*path, "log"), f"should be true or false, got {log!r}")
        return UNKNOWN
    # In units of the typical distance a bound is not a literal value, so the literal limits do not apply.
    unit = getattr(param, "unit", "")
    bound = replace(param, low=None, high=None, minimum=-math.inf, maximum=math.inf) if unit else param
    bounds: list[float] = []
    for key in ("low", "high"):
        try:
            if value[key] is None:  # not a bound, even if null is a value
                raise ValueError("should be a number, got None")
            number = bound.validate(value[key])
            assert number is not None
            bounds.append(number)
        except ValueError as error:
            problems.add((*path, key), str(error))
    if len(bounds) < 2:
        return UNKNOWN
    low, high = bounds
    if low >= high:
        problems.add(path, f"low should be below high, got {low:g} and {high:g}")
    elif log and low <= 0:
        problems.add((*path, "low"), f"a log range starts above 0, got {low:g}")
    return Values(low=low, high=high, log=log, integer=isinstance(param, Int), unit=unit)


def _check_metrics_fit_losses(space: SearchSpace, problems: Problems) -> None:
    """Add a problem for each loss that fits none of the metrics, and for each metric that fits no loss."""
    metrics = {name: metric.entry.spec for name, metric in space.metric.alternatives.items()}
    losses: dict[str, list[LossSpec]] = {}
    for name, alternative in space.loss.alternatives.items():
        try:
            losses[name] = [spec for spec, _ in alternative.specs()]
        except ComponentError as error:
            problems.add(("search", "loss", name), str(error))
            return
    for name, specs in losses.items():
        for spec in specs:
            if not fitting_metrics(spec, metrics):
                reason = metric_misfit(spec, next(iter(metrics.values())))
                problems.add(
                    ("search", "loss"),
                    f"the loss {name!r} fits none of the metrics ({', '.join(metrics)}): it {reason}",
                )
    for name, metric in metrics.items():
        if not any(fitting_metrics(spec, {name: metric}) for specs in losses.values() for spec in specs):
            problems.add(
                ("search", "metric"),
                f"the metric {name!r} fits none of the listed losses ({', '.join(losses)})",
            )


# ------------------------------------------------------------------ the data source


@dataclass(frozen=True)
class DataSource:
    """A registered dataset with the arguments of its factory."""

    entry: Registered[DatasetSpec]
    arguments: dict[str, Any]

    def load(self) -> Dataset:
        """Read the data.

        Raises:
            DataError: they cannot be read.
            PluginError: the factory cannot be imported, or returns something else.
        """
        dataset = self.entry.factory()(**self.arguments)
        if not isinstance(dataset, Dataset):
            raise PluginError(
                f"the dataset {self.entry.qualified!r} should return a siamkit.Dataset, got "
                f"{type(dataset).__name__}"
            )
        return dataset


def parse_source(
    data: Mapping[str, YamlValue], registry: Registry, problems: Problems, data_required: bool
) -> DataSource | None:
    """Return the dataset that `data` of a study file names, by its source or by the suffix of its path.

    The parameters of the dataset are below its name, `source: {table: {left: a}}`, or next to `path`.

    Args:
        data: the section `data` of the file.
        registry: the registered datasets.
        problems: the file's problems, to which new ones are added; an unknown dataset gives None.
        data_required: whether a missing path is a problem.
    """
    source, path = data.get("source"), data.get("path")
    name = source if isinstance(source, str) else None
    given: dict[str, tuple[KeyPath, YamlValue]] = {}  # the source's parameters, each with its place
    if isinstance(source, Mapping) and set(source) == {"path"}:
        path = source["path"]
    elif isinstance(source, Mapping) and len(source) == 1:
        ((name, params),) = source.items()
        below = params if isinstance(params, Mapping) else {}
        given = {key: (("data", "source", name, key), value) for key, value in below.items()}
    elif source is not None and name is None:
        problems.add(
            ("data", "source"),
            f"should be the name of a dataset, or one name with its parameters, got {source!r:.60}",
        )
        return None
    for key in given.keys() & (data.keys() - Data.model_fields.keys()):
        problems.add(("data", key), f"is given twice, also below `source: {name}`; remove one of them")
    given |= {key: (("data", key), value) for key, value in data.items() if key not in Data.model_fields}
    if path is not None:
        given["path"] = ("data", "path"), path
    elif "path" in given:
        path = given["path"][1]
    if name is None:
        name = _dataset_by_suffix(path, registry, problems, data_required)
    try:
        entry = None if name is None else registry.find("dataset", name)
    except ComponentError as error:
        problems.add(("data", "source"), str(error))
        entry = None
    if entry is None:
        known = {key for other in registry.datasets.all() for key in other.spec.params}
        for key in given.keys() - known:
            if len(given[key][0]) == 2:  # the parameters of an unknown source are unknown, too
                problems.add(given[key][0], _unknown_key(key, known))
        return None
    validated, params = entry.spec.defaults(), entry.spec.params
    for key, (at, value) in given.items():
        others = [other for other, each in registry.datasets.items() if key in each.spec.params]
        if key in params:
            try:
                validated[key] = params[key].validate(value)
            except ValueError as error:
                problems.add(at, str(error))
        elif len(at) > 2:
            problems.add(at, f"the dataset {name!r} has no parameter {key!r}; {nearest(key, params)}")
        elif others:
            problems.add(
                at,
                f"is a parameter of the source {' and '.join(others)}; the source of these data is {name}, "
                f"which has {', '.join(sorted(params.keys() - {'path'})) or 'no parameters'}",
            )
        else:
            problems.add(at, _unknown_key(key, params))
    if isinstance(validated.get("path"), str):
        validated["path"] = str((problems.document.folder / validated["path"]).resolve())
    return DataSource(entry, {key: value for key, value in validated.items() if value is not None})


def _unknown_key(key: str, params: Iterable[str]) -> str:
    return f"unknown key {key!r}; {nearest(key, {*Data.model_fields, *params})}"


def _dataset_by_suffix(
    path: YamlValue, registry: Registry, problems: Problems, data_required: bool
) -> str | None:
    if not isinstance(path, str):
        problems.add(("data",), "should name a source (a dataset) or a path (a file or folder)")
        return None
    file = problems.document.folder / path
    # If the data need not exist, a path without a suffix can only be that of a folder.
    is_folder = file.is_dir() or not (data_required or file.suffix)
    suffix = "/" if is_folder else file.suffix.lower()
    if (name := registry.dataset_for(suffix)) is not None:
        return name
    if not file.exists():
        problems.add(("data", "path"), f"{path!r} does not exist")
        return None
    problems.add(
        ("data", "path"),
        f"{path!r} is not a folder and has none of the suffixes {', '.join(registry.file_suffixes())}; "
        "name its source",
    )
    return None
