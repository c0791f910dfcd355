"""The search space: components by name, each with its own parameters, and the factors beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, get_args

from siamkit.catalogue import Registered
from siamkit.errors import ComponentError, nearest
from siamkit.registry import Registry
from siamkit.specs import Bool, Choice, Component, Float, Int, Kind, Param
from siamkit.study.schema import Fixed, Optimizer

Configuration = dict[str, Any]
"""One point of the space, plain data: `{"encoder": {"name": …, "params": {…}}, …, "embedding_dim": 64}`.

A parameter drawn in units of the metric's typical distance stands as `{"typical_distance": 0.3}`.
"""

Report = Callable[[tuple[str | int, ...], str], None]
"""Takes a problem: where it stands in the file, and what would be right."""


class Trial(Protocol):
    """What of an Optuna trial is used."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...
    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...


# The factors beside components: what each takes.
FACTORS: Mapping[str, Param] = {
    "embedding_dim": Int(Fixed().embedding_dim, minimum=1),
    "normalize": Bool(Fixed().normalize),
    "learning_rate": Float(Fixed().learning_rate, minimum=1e-12),
    "batch_size": Int(Fixed().batch_size, minimum=2),
    "optimizer": Choice(Fixed().optimizer, options=get_args(Optimizer)),
}


@dataclass(frozen=True)
class Values:
    """What one parameter may be: options to choose from (one: fixed), or a range."""

    options: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    whole: bool = False
    unit: str = ""

    def count(self) -> float:
        """How many values there are; infinite for a range of real numbers."""
        return len(self.options) or (self.high - self.low + 1 if self.whole else math.inf)

    def draw(self, trial: Trial, name: str) -> Any:
        if len(self.options) == 1:
            return self.options[0]
        if self.options:
            return trial.suggest_categorical(name, self.options)
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        value = trial.suggest_float(name, self.low, self.high, log=self.log)
        return {self.unit: value} if self.unit else value


@dataclass(frozen=True)
class Alternative:
    """One component that may be drawn, with what its parameters may be."""

    entry: Registered[Any]
    params: Mapping[str, Values | Components]

    def count(self) -> float:
        """In how many ways its parameters can be drawn."""
        return math.prod(what.count() for what in self.params.values())


@dataclass(frozen=True)
class Components:
    """The components of one kind that may be drawn, by name."""

    kind: Kind
    alternatives: Mapping[str, Alternative]

    def count(self) -> float:
        """In how many ways one can be drawn."""
        return sum(alternative.count() for alternative in self.alternatives.values())

    def draw(self, trial: Trial, name: str, among: Sequence[str] | None = None) -> dict[str, Any]:
        """Draws one and its parameters; `among` narrows the choice, under a name of its own.

        Optuna wants one set of choices for one parameter name, whatever was drawn before.
        """
        names = list(self.alternatives)
        if among is not None and list(among) != names:
            names = list(among)
            label = f"{name}[{','.join(names)}]"
        else:
            label = name
        chosen = names[0] if len(names) == 1 else trial.suggest_categorical(label, names)
        alternative = self.alternatives[chosen]
        params = {key: what.draw(trial, f"{name}.{chosen}.{key}") for key, what in alternative.params.items()}
        return {"name": alternative.entry.qualified, "params": params}


@dataclass(frozen=True)
class Space:
    """Everything that may be drawn."""

    encoder: Components
    metric: Components
    loss: Components
    factors: Mapping[str, Values]

    def draw(self, trial: Trial) -> Configuration:
        """Draws a configuration; only metrics that fit the drawn loss can come with it."""
        encoder = self.encoder.draw(trial, "encoder")
        loss = self.loss.draw(trial, "loss")
        chosen = next(a for a in self.loss.alternatives.values() if a.entry.qualified == loss["name"])
        metric = self.metric.draw(trial, "metric", self.fitting(chosen))
        drawn = {name: values.draw(trial, name) for name, values in self.factors.items()}
        return {"encoder": encoder, "metric": metric, "loss": loss, **drawn}

    def fitting(self, loss: Alternative) -> list[str]:
        """The metrics that fit a loss."""
        return [
            name
            for name, metric in self.metric.alternatives.items()
            if loss.entry.spec.fits(metric.entry.spec)
        ]

    def count(self) -> float:
        """How many configurations there are; infinite where a real number is drawn from a range."""
        metrics = self.metric.alternatives
        pairs = sum(
            loss.count() * sum(metrics[name].count() for name in self.fitting(loss))
            for loss in self.loss.alternatives.values()
        )
        return self.encoder.count() * pairs * math.prod(values.count() for values in self.factors.values())

    def components(self) -> Iterator[tuple[Kind, str, Alternative]]:
        """All that may be drawn: kind, name, and the alternative itself."""
        for part in (self.encoder, self.metric, self.loss):
            for name, alternative in part.alternatives.items():
                yield part.kind, name, alternative


def factors_of(configuration: Configuration) -> dict[str, Any]:
    """A configuration by canonical factor, flat: `{"loss": "triplet", "loss.triplet.margin": 0.2, …}`."""
    flat: dict[str, Any] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, dict) and "name" in value:
            short = (
                value["name"].rpartition("/")[2] if value["name"].startswith("siamkit/") else value["name"]
            )
            flat[name] = short
            for key, inner in value["params"].items():
                add(f"{name}.{short}.{key}", inner)
        elif isinstance(value, dict):
            flat[name] = next(iter(value.values()))
        else:
            flat[name] = value

    for name, value in configuration.items():
        add(name, value)
    return flat


# -------------------------------------------------------------------- parsing


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
            factors[name] = parse_values(param, search[name], ("search", name), count)
        else:
            factors[name] = Values((fixed.get(name, param.default),))
    if problems:
        return None
    space = Space(found["encoder"], found["metric"], found["loss"], factors)
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
        short = registry.catalogue(kind).name_of(entry)
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
            result[key] = parse_values(param, narrowed[key], (*path, key), report)
        else:
            result[key] = worth_searching(param)
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
        return Values(tuple(param.options))
    if isinstance(param, Bool):
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
    losses = {name: a.entry.spec for name, a in space.loss.alternatives.items()}
    for name, loss in losses.items():
        if not any(loss.fits(metric) for metric in metrics.values()):
            report(
                ("search", "loss"),
                f"the loss {name!r} wants a {loss.orientation}; none of the listed "
                f"metrics ({', '.join(metrics)}) can be read as one",
            )
    for name, metric in metrics.items():
        if not any(loss.fits(metric) for loss in losses.values()):
            report(
                ("search", "metric"),
                f"the metric {name!r} fits none of the listed losses ({', '.join(losses)})",
            )
