"""Catalogs: the components of one kind, each with its origin, found by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from siamkit.errors import PluginError, UnknownComponentError, nearest
from siamkit.registry.importing import importable_from
from siamkit.registry.specs import Kind, Spec

CORE = "siamkit"
SESSION = "session"  # the origin of specs handed to `siamkit.register`

S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class Origin:
    """Where a component comes from: a distribution and its version, a module, or this session."""

    distribution: str
    version: str = ""

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".strip()


@dataclass(frozen=True)
class Problem:
    """A plugin, or a part of one, that cannot be used as it is."""

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
        """`distribution/name`, as studies and saved models store it."""
        return f"{self.origin.distribution}/{self.spec.name}"

    def record(self) -> dict[str, str]:
        """What is stored of it: qualified name and version."""
        return {"name": self.qualified, "version": self.origin.version}

    def factory(self) -> Callable[..., Any]:
        """Imports the factory; raises PluginError with the cause where that fails."""
        target = self.spec.factory
        if callable(target):
            return target
        module, _, attributes = target.partition(":")
        try:
            with importable_from(self.folder):
                found: Any = importlib.import_module(module)
            for attribute in attributes.split("."):
                found = getattr(found, attribute)
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"the {self.spec.kind} {self.qualified!r} cannot be used: its factory {target!r} "
                f"fails with {type(error).__name__}: {error}"
            ) from error
        if not callable(found):
            raise PluginError(f"the factory {target!r} of {self.qualified!r} is not callable")
        result: Callable[..., Any] = found
        return result


class Catalog(Mapping[str, Registered[S]]):
    """All components of one kind, by bare name where that is unambiguous and by qualified name."""

    def __init__(self, kind: Kind) -> None:
        self.kind: Kind = kind
        self._by_qualified: dict[str, Registered[S]] = {}

    def add(self, entry: Registered[S]) -> None:
        self._by_qualified[entry.qualified] = entry

    @contextmanager
    def holding(self, entry: Registered[S]) -> Iterator[None]:
        """For a while this catalog has a component that it may not have otherwise."""
        before = dict(self._by_qualified)
        self.add(entry)
        try:
            yield
        finally:
            self._by_qualified = before

    def all(self) -> list[Registered[S]]:
        """Every component, the core's first."""
        return list(self._by_qualified.values())

    def namesakes(self, name: str) -> list[Registered[S]]:
        return [entry for entry in self._by_qualified.values() if entry.spec.name == name]

    def name_of(self, entry: Registered[S]) -> str:
        """The shortest name that finds this component."""
        return entry.spec.name if self._bare(entry.spec.name) is entry else entry.qualified

    def _bare(self, name: str) -> Registered[S] | None:
        """The owner of a bare name: the core if it has it, else the only one that does."""
        found = self.namesakes(name)
        core = [entry for entry in found if entry.origin.distribution == CORE]
        if core:
            return core[0]
        return found[0] if len(found) == 1 else None

    def __getitem__(self, name: str) -> Registered[S]:
        """Finds a component; raises UnknownComponentError with the nearest valid names."""
        found = self._by_qualified.get(name) or self._bare(name)
        if found is not None:
            return found
        rivals = self.namesakes(name)
        if rivals:
            choices = " and ".join(f"{r.qualified!r}" for r in rivals)
            raise UnknownComponentError(
                f"the {self.kind} name {name!r} is claimed by {choices}; write one of these"
            )
        raise UnknownComponentError(f"unknown {self.kind} {name!r}; {nearest(name, self)}")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._by_qualified or self._bare(name) is not None)

    def __iter__(self) -> Iterator[str]:
        return (self.name_of(entry) for entry in self._by_qualified.values())

    def __len__(self) -> int:
        return len(self._by_qualified)
