"""The search space: components by name, each with its own parameters, and the other factors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal, Protocol, cast, get_args

from siamkit.registry.catalog import CORE, Origin, Registered
from siamkit.registry.compatibility import fitting_metrics, wrapping
from siamkit.registry.specs import Bool, Choice, Float, Int, Kind, LossSpec, Param
from siamkit.runs.configuration import ComponentConfig, Configuration
from siamkit.study.config.schema import Fixed, Optimizer, Schedule

LEVELS = 3  # number of values that a range is reduced to in a factorial design


class Trial(Protocol):
    """The methods of an Optuna trial that sampling a configuration uses."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...
    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...


# The factors that are not components, with the values that each accepts.
FACTORS: Mapping[str, Param] = {
    "embedding_dim": Int(Fixed().embedding_dim, minimum=1),
    "normalize": Bool(Fixed().normalize),
    "learning_rate": Float(Fixed().learning_rate, minimum=1e-12),
    "batch_size": Int(Fixed().batch_size, minimum=2),
    "optimizer": Choice(Fixed().optimizer, options=get_args(Optimizer)),
    "schedule": Choice(Fixed().schedule, options=get_args(Schedule)),
    "warmup": Float(Fixed().warmup, minimum=0, maximum=0.99),
    "momentum": Float(Fixed().momentum, minimum=0, maximum=0.9999),
    "weight_decay": Float(Fixed().weight_decay, minimum=0),
    "clip_norm": Float(Fixed().clip_norm, minimum=1e-12),
    "ema": Float(Fixed().ema, minimum=1e-12, maximum=0.9999999),
}


@dataclass(frozen=True)
class Values:
    """The values that one parameter can have: options (a single one is fixed), or a range.

    Args:
        options: the values to choose from; empty for a range.
        low, high: the ends of a range, both included.
        log: whether the range is sampled on a logarithmic scale.
        integer: whether the range has whole numbers only.
        unit: the unit of the range, if its values are not literal.
        default: the parameter's default, whether these values contain it or not.
        from_file: whether the study file lists these values; otherwise the component's spec does.
    """

    options: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    integer: bool = False
    unit: str = ""
    default: Any = None
    from_file: bool = False

    def count(self) -> float:
        """Return the number of values; infinite for a range of real numbers."""
        return len(self.options) or (self.high - self.low + 1 if self.integer else math.inf)

    def sample(self, trial: Trial, name: str) -> Any:
        """Return the value that a trial suggests for the parameter `name`."""
        if len(self.options) == 1:
            return self.options[0]
        if self.options:
            return trial.suggest_categorical(name, self.options)
        if self.integer:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        value = trial.suggest_float(name, self.low, self.high, log=self.log)
        return {self.unit: value} if self.unit else value

    def default_value(self) -> Any:
        """Return the default, or the nearest value to it; without a default, the middle of the range."""
        if self.options:
            return next((option for option in self.options if _same(option, self.default)), self.options[0])
        if not _is_number(self.default):
            return self._at(0.5)
        nearest = min(max(self.default, self.low), self.high)
        return int(nearest) if self.integer else float(nearest)

    def levels(self, count: int = LEVELS) -> tuple[Any, ...]:
        """Return the options, or `count` points of the range, evenly spaced on its scale, ends included."""
        if self.options:
            return self.options
        return tuple(dict.fromkeys(self._at(step / (count - 1)) for step in range(count)))

    def all_values(self) -> Sequence[Any]:
        """Return all options, or all whole numbers of a range."""
        return self.options or range(int(self.low), int(self.high) + 1)

    def validate(self, value: object) -> Any:
        """Return a value as sampling would return it.

        Raises:
            ValueError: it is not one of these values; the message says which values are.
        """
        if self.options:
            for option in self.options:
                if _same(option, value):
                    return option
            if len(self.options) == 1:
                raise ValueError(f"is fixed at {self.options[0]!r} in this study, got {value!r:.60}")
            raise ValueError(f"should be one of {', '.join(map(str, self.options))}, got {value!r:.60}")
        if not _is_number(value) or (self.integer and not isinstance(value, Integral)):
            raise ValueError(f"should be a {'whole ' if self.integer else ''}number, got {value!r:.60}")
        number = cast(float, value)
        if not self.low <= number <= self.high:
            unit = f" {self.unit.replace('_', ' ')}s" if self.unit else ""
            raise ValueError(f"should be from {self.low:g} to {self.high:g}{unit}, got {number!r}")
        return int(number) if self.integer else float(number)

    def _at(self, fraction: float) -> float:
        """Return the value at a fraction of the range, from 0 (low) to 1 (high)."""
        if fraction in (0, 1):
            value = self.high if fraction else self.low  # the exact bound; exp(log(x)) would round
        elif self.log:
            value = math.exp(math.log(self.low) + fraction * math.log(self.high / self.low))
        else:
            value = self.low + fraction * (self.high - self.low)
        return round(value) if self.integer else float(value)


def _same(one: object, other: object) -> bool:
    return one == other and (type(one) is type(other) or (_is_number(one) and _is_number(other)))


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class AugmentationSteps:
    """A preset, or augmentations that are applied one after the other, as one alternative of a search space.

    Parameters are named as in a component; those of several augmentations as `crop.padding`.

    Args:
        names: the name of the preset, or the names of the augmentations in their order.
    """

    names: tuple[str, ...]
    origin = Origin(CORE)
    spec: Any = None  # only components have a spec

    @property
    def qualified(self) -> str:
        """The name that configurations store: `light`, `crop`, `crop+flip`."""
        return "+".join(self.names)

    def key_of(self, step: str, param: str) -> str:
        """Return the name of a parameter of one augmentation."""
        return param if len(self.names) == 1 else f"{step}.{param}"


def recipe_of(configuration: Configuration) -> dict[str, dict[str, Any]] | str | None:
    """Return how a configuration augments training items, as `siamkit.data.augmenter` takes it.

    Example:
        >>> recipe_of({"augment": {"name": "crop+flip", "params": {"crop.padding": 0.2}}})
        {'crop': {'padding': 0.2}, 'flip': {}}
    """
    stored = configuration.get("augment")
    if stored is None or not stored["params"]:
        return stored and stored["name"]
    steps: dict[str, dict[str, Any]] = {name: {} for name in stored["name"].split("+")}
    for key, value in stored["params"].items():
        step, _, param = key.rpartition(".")
        steps[step or stored["name"]][param] = value
    return steps


@dataclass(frozen=True)
class Alternative:
    """One component of the search space, with the values of its parameters.

    Args:
        entry: the registered component.
        params: the values or components that each parameter can have.
    """

    entry: Registered[Any] | AugmentationSteps
    params: Mapping[str, Values | ComponentSpace]

    def specs(self) -> list[tuple[Any, float]]:
        """Return the specs that the component can have, each with its number of configurations.

        A component that wraps other components has a different spec for each combination of them.

        Raises:
            ComponentError: the wrapped components do not fit together.
        """
        own = math.prod(space.count() for space in self.params.values() if isinstance(space, Values))
        wrapped = [
            [spec for alternative in space.alternatives.values() for spec in alternative.specs()]
            for space in self.params.values()
            if isinstance(space, ComponentSpace)
        ]
        if not wrapped:
            return [(self.entry.spec, own)]
        return [
            (
                wrapping(self.entry.spec, [spec for spec, _ in combination]),
                own * math.prod(count for _, count in combination),
            )
            for combination in itertools.product(*wrapped)
        ]

    def spec_of(self, component: ComponentConfig) -> Any:
        """Return the spec that this component has in a configuration."""
        wrapped = [
            space.alternative_of(component["params"][key]).spec_of(component["params"][key])
            for key, space in self.params.items()
            if isinstance(space, ComponentSpace)
        ]
        return wrapping(self.entry.spec, wrapped) if wrapped else self.entry.spec


@dataclass(frozen=True)
class ComponentSpace:
    """The components of one kind that a configuration can have, by name."""

    kind: Kind | Literal["augmentation"]
    alternatives: Mapping[str, Alternative]

    def count(self) -> float:
        """Return the number of configurations of one component of this kind."""
        return sum(count for alternative in self.alternatives.values() for _, count in alternative.specs())

    def name_of(self, component: ComponentConfig) -> str:
        """Return the name of a configuration's component in this space.

        Raises:
            ValueError: this space does not contain it.
        """
        for name, alternative in self.alternatives.items():
            if alternative.entry.qualified == component["name"]:
                return name
        raise ValueError(f"the {self.kind} {component['name']!r} is not searched")

    def alternative_of(self, component: ComponentConfig) -> Alternative:
        """Return the alternative that a configuration's component was sampled from."""
        return self.alternatives[self.name_of(component)]

    def sample(self, trial: Trial, name: str, among: Sequence[str] | None = None) -> ComponentConfig:
        """Return a component with its parameters, as a trial suggests them.

        Args:
            trial: the trial.
            name: the parameter's name.
            among: the components to choose from, if not all. Then the parameter has another name, because
                Optuna requires the same choices for every occurrence of a name.
        """
        names = list(self.alternatives)
        label = name
        if among is not None and list(among) != names:
            names = list(among)
            label = f"{name}[{','.join(names)}]"
        choice = names[0] if len(names) == 1 else trial.suggest_categorical(label, names)
        alternative = self.alternatives[choice]
        params = {
            key: space.sample(trial, f"{name}.{choice}.{key}") for key, space in alternative.params.items()
        }
        return {"name": alternative.entry.qualified, "params": params}


@dataclass(frozen=True)
class SearchSpace:
    """All configurations that a study can try.

    Args:
        encoder, metric, loss: the components of each kind to choose from.
        factors: the values of the factors in `FACTORS`.
        data: the values of the factors of the training data; empty if the study does not vary them.
        augment: the augmentations to choose from; None if the study file names none.
    """

    encoder: ComponentSpace
    metric: ComponentSpace
    loss: ComponentSpace
    factors: Mapping[str, Values]
    data: Mapping[str, Values] = field(default_factory=dict)
    augment: ComponentSpace | None = None

    def kinds(self) -> dict[str, ComponentSpace]:
        """Return the spaces of what has a name and parameters, by the name of its factor."""
        spaces = {"encoder": self.encoder, "loss": self.loss, "metric": self.metric, "augment": self.augment}
        return {name: space for name, space in spaces.items() if space is not None}

    def parameters(self) -> Iterator[tuple[str, Values | ComponentSpace]]:
        """Yield everything that a configuration can have, by the name of its parameter."""

        def nested(name: str, components: ComponentSpace) -> Iterator[tuple[str, Values | ComponentSpace]]:
            yield name, components
            for choice, alternative in components.alternatives.items():
                for key, space in alternative.params.items():
                    if isinstance(space, ComponentSpace):
                        yield from nested(f"{name}.{choice}.{key}", space)
                    else:
                        yield f"{name}.{choice}.{key}", space

        for kind, components in self.kinds().items():
            yield from nested(kind, components)
        yield from self.all_factors().items()

    def all_factors(self) -> dict[str, Values]:
        """Return the factors that are not components, those of the data included, by parameter name."""
        return {**self.factors, **{f"data.{name}": values for name, values in self.data.items()}}

    def sample(self, trial: Trial) -> Configuration:
        """Return a configuration as a trial suggests it; its metric fits its loss."""
        encoder = self.encoder.sample(trial, "encoder")
        loss = self.loss.sample(trial, "loss")
        spec = self.loss.alternative_of(loss).spec_of(loss)
        metric = self.metric.sample(trial, "metric", self.fitting_metrics(spec))
        factors = {name: values.sample(trial, name) for name, values in self.factors.items()}
        if self.data:  # only then has a configuration this key, so keys and seeds without it stay the same
            factors["data"] = {
                name: values.sample(trial, f"data.{name}") for name, values in self.data.items()
            }
        if self.augment is not None:
            factors["augment"] = self.augment.sample(trial, "augment")
        return cast(Configuration, {"encoder": encoder, "metric": metric, "loss": loss, **factors})

    def fitting_metrics(self, loss: LossSpec) -> list[str]:
        """Return the names of the metrics that fit a loss."""
        metrics = {name: metric.entry.spec for name, metric in self.metric.alternatives.items()}
        return fitting_metrics(loss, metrics)

    def count(self) -> float:
        """Return the number of configurations; infinite if any range has real numbers."""
        metrics = {
            name: sum(count for _, count in metric.specs())
            for name, metric in self.metric.alternatives.items()
        }
        pairs = sum(
            count * sum(metrics[name] for name in self.fitting_metrics(spec))
            for loss in self.loss.alternatives.values()
            for spec, count in loss.specs()
        )
        factors = math.prod(values.count() for values in self.all_factors().values())
        augmentations = 1 if self.augment is None else self.augment.count()
        return self.encoder.count() * pairs * factors * augmentations

    def components(self) -> Iterator[Alternative]:
        """Yield every component at the top of the space."""
        for components in (self.encoder, self.metric, self.loss):
            yield from components.alternatives.values()
