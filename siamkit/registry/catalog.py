"""Catalogs: the components of one kind by name, each with its origin; imports from a study's folder."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from siamkit.errors import PluginError, UnknownComponentError, nearest
from siamkit.registry.specs import Kind, Spec


@contextmanager
def importable_from(folder: Path | None) -> Iterator[None]:
    """Make the modules in a folder importable inside a `with` block.

    The folder comes last on `sys.path`, so it never hides an installed module. Modules that the block imports
    stay imported after it.

    Args:
        folder: the folder; None for no folder.
    """
    entry = None if folder is None else str(folder.resolve())
    if entry is None or entry in sys.path:
        yield
        return
    sys.path.append(entry)
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)


CORE = "siamkit"
SESSION = "session"  # the origin of specs given to `siamkit.register`

S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class Origin:
    """The source of a component: a distribution and its version, a module, or this session."""

    distribution: str
    version: str = ""

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".strip()


@dataclass(frozen=True)
class Problem:
    """A reason why a plugin, or one of its components, cannot be used."""

    origin: Origin
    message: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.message}"


@dataclass(frozen=True)
class Registered(Generic[S]):
    """A spec with its origin."""

    spec: S
    origin: Origin
    folder: Path | None = None  # from which the factory is imported, if it is not installed

    @property
    def qualified(self) -> str:
        """The name `distribution/name`, which studies and saved models store."""
        return f"{self.origin.distribution}/{self.spec.name}"

    def record(self) -> dict[str, str]:
        """Return qualified name and version in the form that model files store."""
        return {"name": self.qualified, "version": self.origin.version}

    def factory(self) -> Callable[..., Any]:
        """Import and return the factory.

        Raises:
            PluginError: the import fails; the message gives the cause.
        """
        target = self.spec.factory
        if callable(target):
            return target
        module, _, attributes = target.partition(":")
        try:
            with importable_from(self.folder):
                factory: Any = importlib.import_module(module)
            for attribute in attributes.split("."):
                factory = getattr(factory, attribute)
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"the {self.spec.kind} {self.qualified!r} cannot be used: its factory {target!r} "
                f"fails with {type(error).__name__}: {error}"
            ) from error
        if not callable(factory):
            raise PluginError(f"the factory {target!r} of {self.qualified!r} is not callable")
        return cast(Callable[..., Any], factory)


class Catalog(Mapping[str, Registered[S]]):
    """All components of one kind, by qualified name, and by bare name if that is unambiguous."""

    def __init__(self, kind: Kind) -> None:
        self.kind: Kind = kind
        self._by_qualified: dict[str, Registered[S]] = {}

    def add(self, entry: Registered[S]) -> None:
        self._by_qualified[entry.qualified] = entry

    @contextmanager
    def holding(self, entry: Registered[S]) -> Iterator[None]:
        """Include a component inside a `with` block, whether or not it is registered."""
        before = dict(self._by_qualified)
        self.add(entry)
        try:
            yield
        finally:
            self._by_qualified = before

    def all(self) -> list[Registered[S]]:
        """Return all components, siamkit's own first."""
        return list(self._by_qualified.values())

    def namesakes(self, name: str) -> list[Registered[S]]:
        """Return the components with this bare name."""
        return [entry for entry in self._by_qualified.values() if entry.spec.name == name]

    def name_of(self, entry: Registered[S]) -> str:
        """Return the shortest name that identifies this component."""
        return entry.spec.name if self._bare(entry.spec.name) is entry else entry.qualified

    def _bare(self, name: str) -> Registered[S] | None:
        """Return the component with a bare name: siamkit's own, or else the only one with that name."""
        entries = self.namesakes(name)
        core = [entry for entry in entries if entry.origin.distribution == CORE]
        if core:
            return core[0]
        return entries[0] if len(entries) == 1 else None

    def __getitem__(self, name: str) -> Registered[S]:
        """Return a component by name; raise UnknownComponentError with the nearest valid names."""
        entry = self._by_qualified.get(name) or self._bare(name)
        if entry is not None:
            return entry
        rivals = self.namesakes(name)
        if rivals:
            choices = " or ".join(f"{r.qualified!r}" for r in rivals)
            raise UnknownComponentError(f"the {self.kind} name {name!r} is ambiguous; write {choices}")
        raise UnknownComponentError(f"unknown {self.kind} {name!r}; {nearest(name, self)}")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._by_qualified or self._bare(name) is not None)

    def __iter__(self) -> Iterator[str]:
        return (self.name_of(entry) for entry in self._by_qualified.values())

    def __len__(self) -> int:
        return len(self._by_qualified)
