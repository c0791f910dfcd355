"""Components by name: the user's text is parsed, the parameters are checked, and the component is made.

No Keras here: `siamkit.get_encoder`, `get_metric` and `get_loss` say which type is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from siamkit.errors import ComponentError, nearest
from siamkit.registry.catalog import Registered
from siamkit.registry.compatibility import wrapping
from siamkit.registry.registry import components, recorded, spec_of
from siamkit.registry.specs import Bool, Component, Int, Kind, Param, Spec

T = TypeVar("T")

ENCODER_ARGUMENTS = ("input_shape", "embedding_dim", "normalize")
"""The arguments of every encoder's factory in addition to its parameters and needs."""

_ENCODER_PARAMS: Mapping[str, Param] = {"embedding_dim": Int(None, minimum=1), "normalize": Bool(True)}


def split_name(kind: Kind, component: Any) -> tuple[str | None, Mapping[str, Any]]:
    """Return name and parameters, given "name" or {"name": {…}}; (None, {}) for a finished object.

    Raises:
        ComponentError: a mapping of another form.
    """
    if isinstance(component, str):
        return component, {}
    if isinstance(component, Mapping):
        if len(component) != 1 or not isinstance(next(iter(component.values())), Mapping | None):
            raise ComponentError(
                f"a {kind} with parameters is one name with a mapping, "
                f"{{'name': {{'parameter': value}}}}, got {component!r:.80}"
            )
        ((name, params),) = component.items()
        return name, params or {}
    return None, {}


def resolve_spec(kind: Kind, component: Any) -> Any:
    """Return the spec of a component, combined with the specs of the components inside it.

    Args:
        kind: the component's kind.
        component: a name, a mapping `{name: parameters}`, or an object.

    Returns:
        The spec; None for an object made without the registry.

    Raises:
        ComponentError: no such component, or the components inside it are not compatible.
    """
    name, params = split_name(kind, component)
    if name is None:
        return spec_of(kind, component)
    spec = components().find(kind, name).spec
    inside = [
        resolve_spec(param.kind, params.get(key, param.default))
        for key, param in spec.params.items()
        if isinstance(param, Component)
    ]
    return spec if not inside or None in inside else wrapping(spec, inside)


def create(kind: Kind, name: str, params: Mapping[str, Any], accepted: type[T]) -> T:
    """Make a component by name.

    Args:
        kind: the component's kind.
        name: the bare or qualified name.
        params: the component's parameters, and the values of its needs.
        accepted: the type that the factory, and those of components of this kind inside it, should return.

    Returns:
        The object that the factory returns, with the component recorded on it.

    Raises:
        ComponentError: no such component or parameter, a value that is not valid, or another type.
        PluginError: its factory cannot be imported.
    """
    entry = components().find(kind, name)
    component = entry.factory()(**_arguments(entry, params, accepted))
    if not isinstance(component, accepted):
        raise ComponentError(
            f"the factory of the {kind} {entry.qualified!r} should return a {accepted.__name__}, "
            f"got {component!r:.80}"
        )
    if kind == "loss":
        cast(Any, component).name = entry.spec.name  # messages name it as its user does
    return recorded(component, entry)


def get_component(kind: Kind, component: Any, params: Mapping[str, Any], accepted: type[T]) -> T:
    """Return a component made by name, or the finished object itself.

    Args:
        kind: the component's kind.
        component: a name, a mapping `{name: parameters}`, or an object.
        params: more parameters, and the values of its needs.
        accepted: the type that the object should have.

    Raises:
        ComponentError: no such component or parameter, a value that is not valid, or another type.
    """
    name, own = split_name(kind, component)
    if name is None:
        if params:
            raise ComponentError(f"a finished {kind} takes no parameters, got {', '.join(sorted(params))}")
        if not isinstance(component, accepted):
            raise ComponentError(
                f"{'an' if kind == 'encoder' else 'a'} {kind} is given by name or as a "
                f"{accepted.__module__.split('.')[0]}.{accepted.__name__}, got {component!r:.80}"
            )
        return component
    return create(kind, name, {**own, **params}, accepted)


def _arguments(entry: Registered[Any], values: Mapping[str, Any], accepted: type) -> dict[str, Any]:
    """Return all arguments of a component's factory: the values, checked, and defaults for the rest."""
    spec = entry.spec
    inside = {key: param for key, param in spec.params.items() if isinstance(param, Component)}
    whole = resolve_spec(spec.kind, {entry.qualified: {key: values[key] for key in inside if key in values}})
    free = (*(ENCODER_ARGUMENTS if spec.kind == "encoder" else ()), *spec.needs)
    typed = {**spec.params, **(_ENCODER_PARAMS if spec.kind == "encoder" else {})}
    arguments = spec.defaults() | ({"normalize": True} if spec.kind == "encoder" else {})
    passed_on: dict[str, Any] = {}  # what the components inside need
    for key, value in values.items():
        if key == "input_shape" and key in free and not isinstance(value, _shape_types(spec)):
            raise ComponentError(
                f"input_shape of encoder {spec.name!r} should be a tuple of sizes, got {value!r}"
            )
        if key in typed:
            arguments[key] = _checked(spec, key, typed[key], value)
            continue
        if key in whole.needs:
            passed_on[key] = value
        if key in free:
            arguments[key] = value
        elif key not in passed_on:
            raise ComponentError(
                f"{spec.kind} {spec.name!r} has no parameter {key!r}; {nearest(key, [*spec.params, *free])}"
            )
    missing = [key for key in free if key not in arguments]
    if missing:
        plural = "s" if len(missing) > 1 else ""
        raise ComponentError(
            f"the {spec.kind} {spec.name!r} is missing the argument{plural} {' and '.join(missing)}"
        )
    for key, param in inside.items():
        name, own = split_name(param.kind, arguments[key])
        if name is not None:
            needs = resolve_spec(param.kind, arguments[key]).needs
            known = {need: passed_on[need] for need in needs if need in passed_on}
            kept = accepted if param.kind == spec.kind else object
            arguments[key] = create(param.kind, name, {**own, **known}, kept)
    # None means that the factory decides.
    return {key: value for key, value in arguments.items() if value is not None}


def _checked(spec: Spec, key: str, param: Param, value: Any) -> Any:
    try:
        return param.validate(value)
    except ValueError as error:
        raise ComponentError(f"{key} of {spec.kind} {spec.name!r} {error}") from None


def _shape_types(spec: Any) -> tuple[type, ...]:
    """Return the types of an encoder's input_shape: items with columns or fields have a dict of shapes."""
    return (tuple, list, Mapping) if {"tabular", "records"} & set(spec.inputs) else (tuple, list)
