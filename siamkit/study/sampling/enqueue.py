"""Configurations to try first: the components' defaults, and those that a study file names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from siamkit.errors import nearest
from siamkit.study.config.fingerprint import key_of
from siamkit.study.config.parse import Report
from siamkit.study.config.search_space import Components, Configuration, Space, Values
from siamkit.study.sampling._levels import inside, usual
from siamkit.study.sampling.enumerate import Scripted


@dataclass(frozen=True)
class Planned:
    """A configuration to be tried.

    Args:
        params: as `optuna.Study.enqueue_trial` takes them.
        configuration: what the space makes of them.
        why: `defaults`, `enqueue`, `warm_start`, `factorial` or `grid`.
    """

    params: dict[str, Any]
    configuration: Configuration
    why: str

    @property
    def key(self) -> str:
        """The configuration's key, by which it is known whether it was enqueued or tried."""
        return key_of(self.configuration)


class Misfit(ValueError):
    """A wanted answer that cannot be given beside the others."""


def defaults(space: Space) -> Iterator[Planned]:
    """Each loss at its default parameters, with the first encoder and the first metric that fits it."""
    for loss in space.loss.alternatives:
        yield draw(space, {"loss": loss}, "defaults")


def draw(space: Space, wanted: Mapping[str, Any], why: str) -> Planned:
    """The configuration with these answers; what is asked beside them gets its default, or the first option.

    Raises:
        Misfit: a wanted metric does not fit the loss.
    """
    parts = dict(space.parts())

    def answer(name: str, values: Values) -> Any:
        plain = name.partition("[")[0]  # a narrowed choice has a name of its own
        if plain not in wanted:
            what = parts[plain]
            return usual(what) if isinstance(what, Values) else values.options[0]
        if values.options and wanted[plain] not in values.options:
            raise Misfit(plain)
        return wanted[plain]

    trial = Scripted(answer)
    configuration = space.draw(trial)
    metric = wanted.get("metric")
    if metric and space.metric.alternatives[metric].entry.qualified != configuration["metric"]["name"]:
        raise Misfit("metric")
    return Planned(trial.params, configuration, why)


def read_entry(space: Space, entry: Any, path: tuple[str | int, ...], report: Report) -> Planned | None:
    """The configuration that an entry of `enqueue` names; None where it cannot be, which is reported."""
    if not isinstance(entry, Mapping):
        report(path, f"should be 'defaults' or a configuration ({{loss: triplet, …}}), got {entry!r:.60}")
        return None
    problems = 0

    def count(where: tuple[str | int, ...], message: str) -> None:
        nonlocal problems
        problems += 1
        report(where, message)

    wanted = _wanted(space, entry, path, count)
    if problems:
        return None
    # A metric without a loss comes with the first loss that it fits.
    losses = [wanted["loss"]] if "loss" in wanted else list(space.loss.alternatives)
    for loss in losses:
        try:
            return draw(space, {**wanted, "loss": loss}, "enqueue")
        except Misfit:
            continue
    report(path, f"the metric {wanted['metric']!r} does not fit the loss {losses[0]!r}")
    return None


def _wanted(
    space: Space, entry: Mapping[str, Any], path: tuple[str | int, ...], report: Report
) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    kinds = {"encoder": space.encoder, "metric": space.metric, "loss": space.loss}
    factors = space.beside()
    known = [*kinds, *factors]
    for key, value in entry.items():
        if key in kinds:
            _component(key, kinds[key], value, (*path, key), report, wanted)
        elif key in factors:
            _value(key, factors[key], value, (*path, key), report, wanted)
        elif isinstance(value, Mapping) and any(name.startswith(f"{key}.") for name in factors):
            for inner, each in value.items():
                name, where = f"{key}.{inner}", (*path, key, inner)
                if name in factors:
                    _value(name, factors[name], each, where, report, wanted)
                else:
                    report(where, f"unknown factor {name!r}; {nearest(name, known)}")
        else:
            report((*path, key), f"unknown factor {key!r}; {nearest(key, known)}")
    return wanted


def _component(
    name: str,
    components: Components,
    given: Any,
    path: tuple[str | int, ...],
    report: Report,
    wanted: dict[str, Any],
) -> None:
    """Adds a component and its parameters to what is wanted."""
    params: Any = {}
    if isinstance(given, Mapping) and len(given) == 1:
        ((given, params),) = given.items()
    if not isinstance(given, str) or not isinstance(params, Mapping | None):
        report(path, f"should be one {components.kind}'s name, or {{name: parameters}}, got {given!r:.60}")
        return
    alternatives = components.alternatives
    chosen = next((n for n, each in alternatives.items() if given in (n, each.entry.qualified)), None)
    if chosen is None:
        report(path, f"the {components.kind} {given!r} is not searched; {nearest(given, alternatives)}")
        return
    wanted[name] = chosen
    for key, value in (params or {}).items():
        what, where = alternatives[chosen].params.get(key), (*path, given, key)
        if what is None:
            known = nearest(key, alternatives[chosen].params)
            report(where, f"{components.kind} {chosen!r} has no parameter {key!r}; {known}")
        elif isinstance(what, Components):
            _component(f"{name}.{chosen}.{key}", what, value, where, report, wanted)
        else:
            _value(f"{name}.{chosen}.{key}", what, value, where, report, wanted)


def _value(
    name: str,
    values: Values,
    given: Any,
    path: tuple[str | int, ...],
    report: Report,
    wanted: dict[str, Any],
) -> None:
    try:
        wanted[name] = inside(values, given)
    except ValueError as error:
        report(path, str(error))
