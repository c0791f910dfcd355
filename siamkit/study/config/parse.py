"""The search space from a study file: names and ranges, checked, every problem told at its place."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from siamkit.data import ablation
from siamkit.errors import ComponentError, nearest
from siamkit.registry.catalog import Registered
from siamkit.registry.compatibility import fitting_metrics, metric_misfit
from siamkit.registry.registry import Registry
from siamkit.registry.specs import Bool, Choice, Component, Float, Int, Ints, Kind, LossSpec, Param
from siamkit.study.config.search_space import FACTORS, Alternative, Components, Space, Values

Report = Callable[[tuple[str | int, ...], str], None]
"""Takes a problem: where it stands in the file, and what would be right."""


def parse_space(
    search: Mapping[str, Any], fixed: Mapping[str, Any], registry: Registry, report: Report
) -> Space | None:
    """The space that a study file's `search` and `fixed` describe; None if it has problems."""
    problems = 0

    def count(path: tuple[str | int, ...], message: str) -> None:
        nonlocal problems
        problems += 1
        report(path, message)

    found: dict[str, Components] = {}
    for kind in ("encoder", "metric", "loss"):
        if kind in search:
            found[kind] = parse_components(kind, search[kind], registry, ("search", kind), count)
        else:
            problems += 1  # the schema tells that it is missing
    factors: dict[str, Values] = {}
    for name, param in FACTORS.items():
        if search.get(name) is not None:
            if name in fixed:
                count(("search", name), "is both fixed and searched; leave one of them out")
            drawn = parse_values(param, search[name], ("search", name), count)
            factors[name] = replace(drawn, default=param.default, named=True)
        else:
            factors[name] = Values((fixed.get(name, param.default),))
    varied = search.get("data")
    varied = varied if isinstance(varied, Mapping) else {}  # the schema tells what is no mapping
    data = {
        name: parse_values(param, varied[name], ("search", "data", name), count)
        for name, param in ablation.FACTORS.items()
        if varied.get(name) is not None
    }
    if problems:
        return None
    space = Space(found["encoder"], found["metric"], found["loss"], factors, data)
    _check_fit(space, count)
    return None if problems else space


def parse_components(
    kind: Kind, given: Any, registry: Registry, path: tuple[str | int, ...], report: Report
) -> Components:
    """Names, or mappings from a name to narrowed parameters, one or a list of them."""
    alternatives: dict[str, Alternative] = {}
    items = given if isinstance(given, list) else [given]
    if not items:
        report(path, f"should name at least one {kind}, got an empty list")
    for index, item in enumerate(items):
        here = (*path, index) if isinstance(given, list) else path
        if isinstance(item, Mapping) and len(item) == 1:
            ((name, narrowed),) = item.items()
            here = (*here, name)
        else:
            name, narrowed = item, None
        if not isinstance(name, str) or not isinstance(narrowed, Mapping | None):
            report(
                here,
                f"should be the name of {'an' if kind == 'encoder' else 'a'} {kind}, or one name with its "
                f"parameters ({{name: {{parameter: value}}}}), got {item!r:.60}",
            )
            continue
        try:
            entry = registry.find(kind, name)
        except ComponentError as error:
            report(here, str(error))
            continue
        short = registry.catalog(kind).name_of(entry)
        if short in alternatives:
            report(here, f"{name!r} is listed twice; list it once, with all its parameters")
            continue
        alternatives[short] = Alternative(entry, _narrow(entry, narrowed or {}, registry, here, report))
    return Components(kind, alternatives)


def _narrow(
    entry: Registered[Any],
    narrowed: Mapping[str, Any],
    registry: Registry,
    path: tuple[str | int, ...],
    report: Report,
) -> dict[str, Values | Components]:
    """What each parameter of a component may be: as narrowed, or as its own spec has it."""
    params: Mapping[str, Param] = entry.spec.params
    for key in narrowed:
        if key not in params:
            report(
                (*path, key),
                f"{entry.spec.kind} {entry.spec.name!r} has no parameter {key!r}; {nearest(key, params)}",
            )
    result: dict[str, Values | Components] = {}
    for key, param in params.items():
        if isinstance(param, Component):
            chosen = narrowed.get(key, param.default)
            result[key] = parse_components(param.kind, chosen, registry, (*path, key), report)
        elif key in narrowed:
            drawn = parse_values(param, narrowed[key], (*path, key), report)
            result[key] = replace(drawn, default=param.default, named=True)
        else:
            result[key] = replace(worth_searching(param), default=param.default)
    return result


def worth_searching(param: Param) -> Values:
    """The range that a parameter brings with it, or its default alone."""
    if isinstance(param, Float | Int) and param.low is not None and param.high is not None:
        return Values(
            low=param.low,
            high=param.high,
            log=param.log,
            whole=isinstance(param, Int),
            unit=getattr(param, "unit", ""),
        )
    if isinstance(param, Choice):
        return Values(tuple(param.search))
    if isinstance(param, Bool) and param.search:
        return Values((True, False))
    return Values((param.default,))


def parse_values(param: Param, given: Any, path: tuple[str | int, ...], report: Report) -> Values:
    """A value (literal, as in the API), a list of them, or a range in the parameter's units."""

    def checked(value: Any, where: tuple[str | int, ...]) -> Any:
        try:
            return param.validate(value)
        except ValueError as error:
            report(where, str(error))
            return None

    if isinstance(param, Ints):
        return Values((checked(given, path),))
    if isinstance(given, list):
        if not given:
            report(path, "should list at least one value")
        values = tuple(checked(value, (*path, index)) for index, value in enumerate(given))
        if len(set(map(repr, values))) < len(values):
            report(path, "lists a value twice")
        return Values(values)
    if not isinstance(given, Mapping):
        return Values((checked(given, path),))
    for key in given:
        if key not in ("low", "high", "log"):
            report((*path, key), f"a range has low, high and log; {nearest(key, ('low', 'high', 'log'))}")
    if not isinstance(param, Float | Int):
        report(path, "cannot be a range; give a value or a list of values")
        return Values((None,))
    if "low" not in given or "high" not in given:
        report(path, "a range wants both low and high")
        return Values((None,))
    if not isinstance(given.get("log", False), bool):
        report((*path, "log"), f"should be true or false, got {given['log']!r}")
        return Values((None,))
    # In typical distances a bound is no literal value, so the literal limits say nothing of it.
    unit = getattr(param, "unit", "")
    check = replace(param, low=None, high=None, minimum=-math.inf, maximum=math.inf) if unit else param
    bounds = []
    for key in ("low", "high"):
        try:
            if given[key] is None:  # no bound, even where null is a value
                raise ValueError("should be a number, got None")
            bounds.append(check.validate(given[key]))
        except ValueError as error:
            report((*path, key), str(error))
    if len(bounds) < 2 or bounds[0] is None or bounds[1] is None:
        return Values((None,))
    log = given.get("log", False)
    if bounds[0] >= bounds[1]:
        report(path, f"low should be below high, got {bounds[0]:g} and {bounds[1]:g}")
    elif log and bounds[0] <= 0:
        report((*path, "low"), f"a log range starts above 0, got {bounds[0]:g}")
    return Values(low=bounds[0], high=bounds[1], log=log, whole=isinstance(param, Int), unit=unit)


def _check_fit(space: Space, report: Report) -> None:
    """Every loss needs a metric that fits it, and every metric a loss."""
    metrics = {name: a.entry.spec for name, a in space.metric.alternatives.items()}
    losses: dict[str, list[LossSpec]] = {}
    for name, alternative in space.loss.alternatives.items():
        try:
            losses[name] = [spec for spec, _ in alternative.shapes()]
        except ComponentError as error:
            report(("search", "loss", name), str(error))
            return
    for name, shapes in losses.items():
        for loss in shapes:
            if not fitting_metrics(loss, metrics):
                reason = metric_misfit(loss, next(iter(metrics.values())))
                listed = ", ".join(metrics)
                report(
                    ("search", "loss"), f"the loss {name!r} fits none of the metrics ({listed}): it {reason}"
                )
    for name, metric in metrics.items():
        if not any(fitting_metrics(loss, {name: metric}) for shapes in losses.values() for loss in shapes):
            report(
                ("search", "metric"),
                f"the metric {name!r} fits none of the listed losses ({', '.join(losses)})",
            )
