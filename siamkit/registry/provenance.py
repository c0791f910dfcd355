"""Which installed component made an object: remembered beside it, and written into model files."""

from __future__ import annotations

from typing import Any, TypeVar

from siamkit.registry.catalog import Registered

T = TypeVar("T")

_MARK = "_siamkit_record"


def remember(made: T, entry: Registered[Any]) -> T:
    """Notes on an object the component that made it."""
    restore(made, entry.record())
    return made


def restore(made: object, record: dict[str, str] | None) -> None:
    """Notes a record, from a model file say; None is nothing to note."""
    if record is not None and made is not None:
        # Past Keras's own __setattr__, which would track the dict as state of the layer.
        object.__setattr__(made, _MARK, record)


def record_of(made: object) -> dict[str, str] | None:
    """Qualified name and version of the component that made an object; None for one made by hand."""
    found: dict[str, str] | None = getattr(made, _MARK, None)
    return found


def family(made: Any) -> list[Any]:
    """An object and, depth first, the objects inside it: a loss around losses, say."""
    return [made, *(each for inner in getattr(made, "inner", ()) for each in family(inner))]
