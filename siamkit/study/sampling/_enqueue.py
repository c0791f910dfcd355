"""Configurations to try first: the components' defaults, and those that a study file lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from siamkit.errors import nearest
from siamkit.runs.configuration import Configuration, Factor, key_of
from siamkit.study.config.search_space import AugmentationSteps, ComponentSpace, SearchSpace, Values
from siamkit.study.config.yaml import KeyPath, Problems, YamlValue
from siamkit.study.sampling._enumerate import ScriptedTrial


@dataclass(frozen=True)
class PlannedTrial:
    """A configuration to try before others are sampled.

    Args:
        params: the parameters, for `optuna.Study.enqueue_trial`.
        configuration: the configuration that these parameters give.
        reason: the origin of the trial: `defaults`, `enqueue`, `warm_start`, `factorial` or `grid`.
    """

    params: dict[str, Factor]
    configuration: Configuration
    reason: str

    @property
    def key(self) -> str:
        """The key of the configuration; two trials with one key are the same."""
        return key_of(self.configuration)


class NotInSpaceError(ValueError):
    """A combination of parameters that the search space does not contain."""


def default_trials(space: SearchSpace) -> Iterator[PlannedTrial]:
    """Yield each loss with each encoder, both with default parameters, and the first metric that fits.

    The order is that of a Latin square, so that a few trials already have each loss and each encoder: with
    two encoders the first trial of each loss has one of them, by turns, and the second trial the other.
    """
    losses, encoders = list(space.loss.alternatives), list(space.encoder.alternatives)
    for shift in range(len(encoders)):
        for number, loss in enumerate(losses):
            encoder = encoders[(number + shift) % len(encoders)]
            yield trial_with(space, {"loss": loss, "encoder": encoder}, "defaults")


def trial_with(space: SearchSpace, params: Mapping[str, Factor], reason: str) -> PlannedTrial:
    """Return the trial with these parameters; the others have their defaults, or their first options.

    Raises:
        NotInSpaceError: the metric does not fit the loss.
    """
    spaces = dict(space.parameters())

    def suggest(name: str, values: Values) -> Any:
        parameter = name.partition("[")[0]  # a choice among some of the components has another name
        if parameter not in params:
            full = spaces[parameter]
            return full.default_value() if isinstance(full, Values) else values.options[0]
        if values.options and params[parameter] not in values.options:
            raise NotInSpaceError(parameter)
        return params[parameter]

    trial = ScriptedTrial(suggest)
    configuration = space.sample(trial)
    metric = params.get("metric")
    if metric and space.metric.name_of(configuration["metric"]) != metric:
        raise NotInSpaceError("metric")
    return PlannedTrial(trial.params, configuration, reason)


def parse_entry(
    space: SearchSpace, entry: YamlValue, path: KeyPath, problems: Problems
) -> PlannedTrial | None:
    """Return the trial that an entry of `enqueue` describes, or None if the entry has problems."""
    if not isinstance(entry, Mapping):
        problems.add(
            path, f"should be 'defaults' or a configuration ({{loss: triplet, …}}), got {entry!r:.60}"
        )
        return None
    before = len(problems)
    params = _EntryParser(space, problems).parse(entry, path)
    if len(problems) > before:
        return None
    # A metric without a loss takes the first loss that it fits.
    losses = [params["loss"]] if "loss" in params else list(space.loss.alternatives)
    for loss in losses:
        try:
            return trial_with(space, {**params, "loss": loss}, "enqueue")
        except NotInSpaceError:
            continue
    problems.add(path, f"the metric {params['metric']!r} does not fit the loss {losses[0]!r}")
    return None


@dataclass
class _EntryParser:
    """A parser of one entry of `enqueue`: it collects parameters by their names in Optuna."""

    space: SearchSpace
    problems: Problems
    params: dict[str, Factor] = field(default_factory=dict)

    def parse(self, entry: Mapping[str, YamlValue], path: KeyPath) -> dict[str, Factor]:
        kinds = self.space.kinds()
        factors = self.space.all_factors()
        known = [*kinds, *factors]
        for key, value in entry.items():
            if key == "augment" and isinstance(value, Mapping):
                value = _joined(value)
            if key in kinds:
                self._component(key, kinds[key], value, (*path, key))
            elif key in factors:
                self._value(key, factors[key], value, (*path, key))
            elif isinstance(value, Mapping) and any(name.startswith(f"{key}.") for name in factors):
                for factor, level in value.items():
                    name, at = f"{key}.{factor}", (*path, key, factor)
                    if name in factors:
                        self._value(name, factors[name], level, at)
                    else:
                        self.problems.add(at, f"unknown factor {name!r}; {nearest(name, known)}")
            else:
                self.problems.add((*path, key), f"unknown factor {key!r}; {nearest(key, known)}")
        return self.params

    def _component(self, name: str, components: ComponentSpace, value: YamlValue, path: KeyPath) -> None:
        kind, alternatives = components.kind, components.alternatives
        params: YamlValue = {}
        choice = value
        if isinstance(value, Mapping) and len(value) == 1:
            ((choice, params),) = value.items()
        if not isinstance(choice, str) or not isinstance(params, Mapping | None):
            self.problems.add(
                path, f"should be the name of one {kind}, or {{name: parameters}}, got {choice!r:.60}"
            )
            return
        short = next(
            (key for key, option in alternatives.items() if choice in (key, option.entry.qualified)), None
        )
        if short is None:
            self.problems.add(path, f"the {kind} {choice!r} is not searched; {nearest(choice, alternatives)}")
            return
        self.params[name] = short
        for key, param in (params or {}).items():
            space, at = alternatives[short].params.get(key), (*path, choice, key)
            if space is None:
                known = nearest(key, alternatives[short].params)
                self.problems.add(at, f"{kind} {short!r} has no parameter {key!r}; {known}")
            elif isinstance(space, ComponentSpace):
                self._component(f"{name}.{short}.{key}", space, param, at)
            else:
                self._value(f"{name}.{short}.{key}", space, param, at)

    def _value(self, name: str, values: Values, value: YamlValue, path: KeyPath) -> None:
        try:
            self.params[name] = values.validate(value)
        except ValueError as error:
            self.problems.add(path, str(error))


def _joined(steps: Mapping[str, YamlValue]) -> dict[str, YamlValue]:
    """Return augmentations with their parameters as one of that name: `{crop+flip: {crop.padding: 0.1}}`."""
    joined = AugmentationSteps(tuple(map(str, steps)))
    params: dict[str, YamlValue] = {
        joined.key_of(name, key): value
        for name, params in steps.items()
        if isinstance(params, Mapping)
        for key, value in params.items()
    }
    return {joined.qualified: params}
