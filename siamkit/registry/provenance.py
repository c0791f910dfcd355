"""Which installed component made an object: recorded on the object, and written into model files."""

from __future__ import annotations

from typing import Any, TypeVar

from siamkit.registry.catalog import Registered
from siamkit.registry.registry import components
from siamkit.registry.specs import Kind

T = TypeVar("T")

_ATTRIBUTE = "_siamkit_record"


def set_record(component: object, record: dict[str, str] | None) -> None:
    """Record on an object which component made it; None records nothing."""
    if record is not None and component is not None:
        # Past Keras's own __setattr__, which would track the dict as state of the layer.
        object.__setattr__(component, _ATTRIBUTE, record)


def record_of(component: object) -> dict[str, str] | None:
    """Return qualified name and version of the component that made an object; None for one made by hand."""
    record: dict[str, str] | None = getattr(component, _ATTRIBUTE, None)
    return record


def recorded(component: T, entry: Registered[Any]) -> T:
    """Return the object with the component that made it recorded on it."""
    set_record(component, entry.record())
    return component


def spec_of(kind: Kind, component: object) -> Any:
    """Return the spec of the component that made an object.

    Returns:
        The spec; None for an object made by hand, or by a component that is not installed here.
    """
    record, catalog = record_of(component), components().catalog(kind)
    return catalog[record["name"]].spec if record is not None and record["name"] in catalog else None


def family(component: Any) -> list[Any]:
    """Return an object and, depth first, the objects that it wraps: a loss around losses, for example."""
    return [
        component,
        *(member for wrapped in getattr(component, "wrapped", ()) for member in family(wrapped)),
    ]
