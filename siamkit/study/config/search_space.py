"""The search space: components by name, each with its own parameters, and the factors beside them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, get_args

from siamkit.registry.catalog import Registered
from siamkit.registry.compatibility import fitting_metrics, wrapping
from siamkit.registry.specs import Bool, Choice, Float, Int, Kind, LossSpec, Param
from siamkit.study.config.schema import Fixed, Optimizer

Configuration = dict[str, Any]
"""One point of the space, plain data: `{"encoder": {"name": …, "params": {…}}, …, "embedding_dim": 64}`.

Where the study varies its training data, `"data": {"label_noise": 0.2, …}` says what is worse about them.
A parameter drawn in units of the metric's typical distance stands as `{"typical_distance": 0.3}`.
"""


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
    """What one parameter may be: options to choose from (one: fixed), or a range.

    `default` is what it is where nobody says otherwise, inside or not; `named`, whether the study file names
    it, or a component brought it along.
    """

    options: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    whole: bool = False
    unit: str = ""
    default: Any = None
    named: bool = False

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

    def shapes(self) -> list[tuple[Any, float]]:
        """The specs it may come to, those of the components inside folded in, and how often each is drawn.

        Raises:
            ComponentError: components inside do not go together.
        """
        own = math.prod(what.count() for what in self.params.values() if isinstance(what, Values))
        inside = [
            [shape for alternative in what.alternatives.values() for shape in alternative.shapes()]
            for what in self.params.values()
            if isinstance(what, Components)
        ]
        if not inside:
            return [(self.entry.spec, own)]
        return [
            (wrapping(self.entry.spec, [spec for spec, _ in chosen]), own * math.prod(n for _, n in chosen))
            for chosen in itertools.product(*inside)
        ]

    def shape(self, params: Mapping[str, Any]) -> Any:
        """The spec that it comes to with these drawn parameters."""
        inside = [
            what.drawn(params[key]).shape(params[key]["params"])
            for key, what in self.params.items()
            if isinstance(what, Components)
        ]
        return wrapping(self.entry.spec, inside) if inside else self.entry.spec


@dataclass(frozen=True)
class Components:
    """The components of one kind that may be drawn, by name."""

    kind: Kind
    alternatives: Mapping[str, Alternative]

    def count(self) -> float:
        """In how many ways one can be drawn."""
        return sum(number for each in self.alternatives.values() for _, number in each.shapes())

    def drawn(self, configuration: Mapping[str, Any]) -> Alternative:
        """The alternative that was drawn."""
        return next(a for a in self.alternatives.values() if a.entry.qualified == configuration["name"])

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
    data: Mapping[str, Values] = field(default_factory=dict)  # the factors of the training data

    def parts(self) -> Iterator[tuple[str, Values | Components]]:
        """All that drawing may ask for, each under the name that it is asked by."""

        def inside(name: str, components: Components) -> Iterator[tuple[str, Values | Components]]:
            yield name, components
            for chosen, alternative in components.alternatives.items():
                for key, what in alternative.params.items():
                    if isinstance(what, Components):
                        yield from inside(f"{name}.{chosen}.{key}", what)
                    else:
                        yield f"{name}.{chosen}.{key}", what

        for part in (self.encoder, self.loss, self.metric):
            yield from inside(part.kind, part)
        yield from self.beside().items()

    def beside(self) -> dict[str, Values]:
        """The factors beside components, those of the data among them, by the names they are asked by."""
        return {**self.factors, **{f"data.{name}": values for name, values in self.data.items()}}

    def draw(self, trial: Trial) -> Configuration:
        """Draws a configuration; only metrics that fit the drawn loss can come with it."""
        encoder = self.encoder.draw(trial, "encoder")
        loss = self.loss.draw(trial, "loss")
        shape = self.loss.drawn(loss).shape(loss["params"])
        metric = self.metric.draw(trial, "metric", self.fitting(shape))
        drawn = {name: values.draw(trial, name) for name, values in self.factors.items()}
        if self.data:  # else there is no such key: what is searched without it keeps its keys and seeds
            drawn["data"] = {name: values.draw(trial, f"data.{name}") for name, values in self.data.items()}
        return {"encoder": encoder, "metric": metric, "loss": loss, **drawn}

    def fitting(self, loss: LossSpec) -> list[str]:
        """The metrics that fit a loss."""
        return fitting_metrics(loss, {name: a.entry.spec for name, a in self.metric.alternatives.items()})

    def count(self) -> float:
        """How many configurations there are; infinite where a real number is drawn from a range."""
        metrics = {
            name: sum(number for _, number in a.shapes()) for name, a in self.metric.alternatives.items()
        }
        pairs = sum(
            number * sum(metrics[name] for name in self.fitting(spec))
            for loss in self.loss.alternatives.values()
            for spec, number in loss.shapes()
        )
        return self.encoder.count() * pairs * math.prod(each.count() for each in self.beside().values())

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
        if name == "data":
            flat.update({f"data.{factor}": level for factor, level in value.items()})
        else:
            add(name, value)
    return flat
