"""Components by name: a name, a name with parameters, or a finished object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from siamkit.errors import ComponentError, listed, nearest
from siamkit.losses.base import Loss
from siamkit.metrics.base import Metric
from siamkit.registry.catalog import Registered
from siamkit.registry.provenance import record_of, remember
from siamkit.registry.registry import components
from siamkit.registry.specs import Bool, Component, Int, Kind, Param

ENCODER_ARGUMENTS = ("input_shape", "embedding_dim", "normalize")
_ENCODER_PARAMS: Mapping[str, Param] = {"embedding_dim": Int(None, minimum=1), "normalize": Bool(True)}


def get_encoder(encoder: Any, /, **params: Any) -> keras.Model:
    """An encoder by name, or the one given.

    Args:
        encoder: a name, a mapping `{name: parameters}`, or a `keras.Model` (returned as it is).
        **params: `input_shape` and `embedding_dim`, `normalize` (True by default), the encoder's own
            parameters, and what it needs of the data (`vocabulary_size`, say).

    Raises:
        ComponentError: no such encoder or parameter, or a value it cannot take.

    Example:
        >>> import siamkit
        >>> siamkit.get_encoder("mlp", input_shape=(10,), embedding_dim=4, depth=1).output_shape
        (None, 4)
    """
    return _get("encoder", encoder, {"normalize": True, **params})


def get_metric(metric: Any, /, **params: Any) -> Metric:
    """A metric by name, or the one given.

    Args:
        metric: a name, a mapping `{name: parameters}`, or a `siamkit.Metric` (returned as it is).
        **params: its parameters.

    Raises:
        ComponentError: no such metric or parameter, or a value it cannot take.

    Example:
        >>> import siamkit
        >>> siamkit.get_metric("cosine").orientation
        'similarity'
    """
    found: Metric = _get("metric", metric, params)
    return found


def get_loss(loss: Any, /, *, metric: Any = None, **params: Any) -> Loss:
    """A loss by name, or the one given.

    Args:
        loss: a name, a mapping `{name: parameters}`, or a loss (returned as it is).
        metric: what to compare by, a name or a metric; leave it out for a loss that goes to
            `Siamese.compile`, which lends it the model's.
        **params: its parameters, and what it needs of the data (`num_classes`, say).

    Raises:
        ComponentError: no such loss or parameter, a value it cannot take, or a metric it cannot use.

    Example:
        >>> import numpy as np, siamkit
        >>> loss = siamkit.get_loss("multi_similarity", metric="cosine", alpha=2.0)
        >>> tuple(loss(np.array([0, 0, 1]), np.eye(3)).shape)
        ()
    """
    found: Loss = _get("loss", loss, params)
    if metric is not None:
        found.metric = get_metric(metric)
        check_fit(found, found.metric)
    return found


def check_fit(loss: object, metric: object) -> None:
    """Raises ComponentError where a loss cannot compare through a metric, naming what would fit.

    Objects made by hand tell nothing of themselves and pass.
    """
    for inner in getattr(loss, "inner", ()):
        check_fit(inner, metric)
    made_by, compared_by = spec_of("loss", loss), spec_of("metric", metric)
    if made_by is None or compared_by is None:
        return
    misfit = made_by.misfit(compared_by)
    if misfit is not None:
        fitting = [name for name, entry in components().metrics.items() if made_by.fits(entry.spec)]
        raise ComponentError(f"the loss {made_by.name!r} {misfit}; {listed(fitting)} would fit")


def spec_of(kind: Kind, made: object) -> Any:
    """The spec of the component that made an object; None for one made by hand or by another session."""
    record = record_of(made)
    catalogue = components().catalog(kind)
    return catalogue[record["name"]].spec if record is not None and record["name"] in catalogue else None


def spec_given(kind: Kind, given: Any) -> Any:
    """The spec of a component given by name, with those of the components inside folded in.

    Args:
        kind: its kind.
        given: a name, a mapping `{name: parameters}`, or an object made from one; None for one made by hand.

    Raises:
        ComponentError: there is no such component, or those inside do not go together.
    """
    name, own = split_name(kind, given)
    if name is None:
        return spec_of(kind, given)
    spec = components().find(kind, name).spec
    inside = [
        spec_given(param.kind, own.get(key, param.default))
        for key, param in spec.params.items()
        if isinstance(param, Component)
    ]
    if not inside or None in inside:
        return spec
    try:
        return spec.around(inside)
    except ValueError as error:
        raise ComponentError(str(error)) from None


def _get(kind: Kind, given: Any, params: Mapping[str, Any]) -> Any:
    accepted: type = {"encoder": keras.Model, "metric": Metric}.get(kind, keras.losses.Loss)
    name, own = split_name(kind, given)
    if name is None:
        extra = sorted(set(params) - {"normalize"})
        if extra:
            raise ComponentError(f"a finished {kind} takes no parameters, got {', '.join(extra)}")
        if not isinstance(given, accepted):
            raise ComponentError(
                f"{'an' if kind == 'encoder' else 'a'} {kind} is given by name or as a "
                f"{accepted.__module__.split('.')[0]}.{accepted.__name__}, got {given!r:.80}"
            )
        return given
    entry = components().find(kind, name)
    arguments = checked(entry, {**own, **params})
    made = entry.factory()(**arguments)
    if not isinstance(made, accepted):
        raise ComponentError(
            f"the factory of the {kind} {entry.qualified!r} should return a "
            f"{accepted.__name__}, got {made!r:.80}"
        )
    if isinstance(made, Loss):
        made.name = entry.spec.name  # sentences speak of it by the name it was asked for
    return remember(made, entry)


def checked(entry: Registered[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of a component's factory: those given, validated, and defaults for the rest."""
    spec = entry.spec
    inside = {key: param for key, param in spec.params.items() if isinstance(param, Component)}
    whole = spec_given(spec.kind, {entry.qualified: {key: given[key] for key in inside if key in given}})
    free = (*(ENCODER_ARGUMENTS if spec.kind == "encoder" else ()), *spec.needs)
    typed = {**spec.params, **(_ENCODER_PARAMS if spec.kind == "encoder" else {})}
    arguments = spec.defaults()
    passed: dict[str, Any] = {}  # what the components inside need
    for key, value in given.items():
        param: Param | None = typed.get(key)
        if key == "input_shape" and key in free and not isinstance(value, _shapes_of(spec)):
            raise ComponentError(
                f"input_shape of encoder {spec.name!r} should be a tuple of sizes, got {value!r}"
            )
        if param is None and key in whole.needs:
            passed[key] = value
        if param is None and key in free:
            arguments[key] = value
        elif param is None and key not in passed:
            raise ComponentError(
                f"{spec.kind} {spec.name!r} has no parameter {key!r}; {nearest(key, [*spec.params, *free])}"
            )
        elif param is not None:
            arguments[key] = _valid(spec, key, param, value)
    missing = [key for key in free if key not in arguments]
    if missing:
        raise ComponentError(f"the {spec.kind} {spec.name!r} wants {' and '.join(missing)}")
    for key, param in inside.items():
        inner = arguments[key]
        named = split_name(param.kind, inner)[0] is not None
        wanted = spec_given(param.kind, inner).needs if named else ()
        arguments[key] = _get(param.kind, inner, {need: passed[need] for need in wanted if need in passed})
    # None means that the factory decides.
    return {key: value for key, value in arguments.items() if value is not None}


def _valid(spec: Any, key: str, param: Param, value: Any) -> Any:
    try:
        return param.validate(value)
    except ValueError as error:
        raise ComponentError(f"{key} of {spec.kind} {spec.name!r} {error}") from None


def _shapes_of(spec: Any) -> tuple[type, ...]:
    """What the input_shape of an encoder may be: that of items with columns or fields is a dict of shapes."""
    return (tuple, list, Mapping) if {"tabular", "records"} & set(spec.inputs) else (tuple, list)


def split_name(kind: Kind, given: Any) -> tuple[str | None, Mapping[str, Any]]:
    """Name and parameters of what a user gave: "name", {"name": {…}}, or neither for an object."""
    if isinstance(given, str):
        return given, {}
    if isinstance(given, Mapping):
        if len(given) != 1 or not isinstance(next(iter(given.values())), Mapping | None):
            raise ComponentError(
                f"a {kind} with parameters is one name with a mapping, "
                f"{{'name': {{'parameter': value}}}}, got {given!r:.80}"
            )
        ((name, own),) = given.items()
        return name, own or {}
    return None, {}
