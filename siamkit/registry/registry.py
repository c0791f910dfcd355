"""Plugins and their specs: discovery, names, problems, and which component made an object.

Every plugin, siamkit's own components included, is a module behind an entry point of the group `siamkit`, and
returns its specs from pluggy hooks. Nothing here imports a backend.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pluggy

from siamkit.errors import ComponentError, PluginError, nearest
from siamkit.registry import specs
from siamkit.registry.catalog import CORE, SESSION, Catalog, Origin, Problem, Registered, importable_from
from siamkit.registry.specs import API, DatasetSpec, EncoderSpec, Kind, LossSpec, MetricSpec, Spec

BACKENDS = ("keras", "tensorflow", "torch", "jax")
SLOW_SECONDS = 2.0

HOOKS: Mapping[str, type[Spec]] = {
    "siamkit_encoders": EncoderSpec,
    "siamkit_metrics": MetricSpec,
    "siamkit_losses": LossSpec,
    "siamkit_datasets": DatasetSpec,
}


@dataclass
class Registry:
    """The components known to this process.

    Args:
        entry_points: the entry points of plugins to load.
        allowed: the third-party distributions to load; `None` for all. siamkit itself is always loaded.
    """

    entry_points: Iterable[metadata.EntryPoint] = ()
    allowed: frozenset[str] | None = None
    encoders: Catalog[EncoderSpec] = field(default_factory=lambda: Catalog("encoder"))
    metrics: Catalog[MetricSpec] = field(default_factory=lambda: Catalog("metric"))
    losses: Catalog[LossSpec] = field(default_factory=lambda: Catalog("loss"))
    datasets: Catalog[DatasetSpec] = field(default_factory=lambda: Catalog("dataset"))
    plugins: dict[str, Origin] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._folder: Path | None = None  # of the module that `load_module` is loading
        self._manager = pluggy.PluginManager(specs.PROJECT)
        self._manager.add_hookspecs(specs)
        points = [(_origin(point), point) for point in self.entry_points]
        # siamkit's own first: its names are reserved before those of plugins come.
        for origin, point in sorted(points, key=lambda pair: pair[0].distribution != CORE):
            if origin.distribution == CORE or self.allowed is None or origin.distribution in self.allowed:
                self._discover(origin, point)
        for name in sorted((self.allowed or frozenset()) - {origin.distribution for origin, _ in points}):
            self._problem(Origin(name), "is named in SIAMKIT_PLUGINS, but is not installed")

    def catalog(self, kind: Kind) -> Catalog[Any]:
        """Return the components of one kind."""
        catalogs: dict[Kind, Catalog[Any]] = {
            "encoder": self.encoders,
            "metric": self.metrics,
            "loss": self.losses,
            "dataset": self.datasets,
        }
        return catalogs[kind]

    def dataset_for(self, suffix: str) -> str | None:
        """Return the name of the dataset that reads files with this suffix, or folders (`"/"`); else None."""
        return next((name for name, entry in self.datasets.items() if suffix in entry.spec.suffixes), None)

    def file_suffixes(self) -> list[str]:
        """Return the suffixes of the files that datasets read, sorted."""
        return sorted({suffix for entry in self.datasets.all() for suffix in entry.spec.suffixes} - {"/"})

    def catalogs(self) -> tuple[Catalog[Any], ...]:
        """Return the components of all kinds."""
        return (self.encoders, self.metrics, self.losses, self.datasets)

    def find(self, kind: Kind, name: str) -> Registered[Any]:
        """Return the component of this kind and (bare or qualified) name."""
        return self.catalog(kind)[name]

    def register(self, spec: Spec, origin: Origin | None = None) -> None:
        """Add a spec from a user's own code.

        Raises:
            ComponentError: the object is not a spec, needs another api, or has the name of a component of
                siamkit.
        """
        if not isinstance(spec, tuple(HOOKS.values())):
            raise ComponentError(f"register takes a spec such as siamkit.LossSpec(...), got {spec!r}")
        catalog = self.catalog(spec.kind)
        if any(e.origin.distribution == CORE for e in catalog.namesakes(spec.name)):
            raise ComponentError(f"the {spec.kind} name {spec.name!r} is siamkit's own; choose another")
        if spec.api != API:
            raise ComponentError(f"{spec.name!r} needs api {spec.api}, this siamkit has api {API}")
        catalog.add(Registered(spec, origin or Origin(SESSION), self._folder))

    def load_module(self, name: str, folder: Path | None = None) -> None:
        """Import a module that registers specs or implements hooks (a study's `plugins:`).

        Args:
            name: the module.
            folder: the folder to search for the module and its components' factories, after installed
                modules.

        Raises:
            PluginError: the module cannot be imported, or one of its specs cannot be used.
        """
        self._folder = folder
        try:
            with importable_from(folder):
                module = importlib.import_module(name)
                if not self._manager.is_registered(module):
                    self._adopt(Origin(name, str(getattr(module, "__version__", ""))), module)
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"the plugin module {name!r} cannot be imported: {type(error).__name__}: {error}"
            ) from error
        finally:
            self._folder = None
        for problem in self.problems:
            if problem.origin.distribution == name:
                raise PluginError(str(problem))

    # ------------------------------------------------------------ discovery

    def _discover(self, origin: Origin, point: metadata.EntryPoint) -> None:
        """Load one entry point; its problems are reported under its name."""
        before = set(sys.modules)
        start = time.perf_counter()
        try:
            module = point.load()
        except (Exception, SystemExit) as error:
            self._problem(origin, f"entry point {point.value!r} fails with {type(error).__name__}: {error}")
            return
        seconds = time.perf_counter() - start
        if not self._backend_free(origin, before, "its discovery"):
            return
        if seconds > SLOW_SECONDS:
            self._problem(
                origin, f"took {seconds:.1f} s to load; a plugin's specs should import nothing heavy"
            )
        if self._manager.is_registered(module):
            self._problem(
                origin,
                f"entry point {point.name!r} names the module {point.value!r}, a second time",
            )
            return
        if not any(self._manager.parse_hookimpl_opts(module, name) for name in dir(module)):
            self._problem(origin, f"entry point {point.value!r} has no function marked @siamkit.hookimpl")
            return
        self._adopt(origin, module)

    def _adopt(self, origin: Origin, module: ModuleType) -> None:
        before = set(sys.modules)
        self.plugins[origin.distribution] = origin
        try:
            self._manager.register(module, name=f"{origin.distribution}:{id(module)}")
        except (pluggy.PluginValidationError, ValueError) as error:
            self._problem(origin, f"its hooks are wrong: {error}")
            return
        others = [plugin for plugin in self._manager.get_plugins() if plugin is not module]
        for hook in [caller.name for caller in self._manager.get_hookcallers(module) or ()]:
            if hook not in HOOKS:
                self._problem(origin, f"implements the unknown hook {hook!r}; {nearest(hook, HOOKS)}")
                continue
            try:
                answers = self._manager.subset_hook_caller(hook, others)()
            except (Exception, SystemExit) as error:
                self._problem(origin, f"{hook} fails with {type(error).__name__}: {error}")
                continue
            if not self._backend_free(origin, before, hook):
                continue
            for answer in answers or [None]:  # pluggy leaves None out
                self._take(origin, hook, HOOKS[hook], answer)

    def _take(self, origin: Origin, hook: str, spec_type: type[Spec], answer: object) -> None:
        if not isinstance(answer, (list, tuple)):
            self._problem(origin, f"{hook} should return a list of {spec_type.__name__}, got {answer!r:.80}")
            return
        for spec in answer:
            if not isinstance(spec, spec_type):
                self._problem(origin, f"{hook} should return {spec_type.__name__}s, got {spec!r:.80}")
            elif spec.api != API:
                self._problem(
                    origin, f"{spec.kind} {spec.name!r} needs api {spec.api!r}, this siamkit has api {API}"
                )
            else:
                self._add(origin, spec)

    def _add(self, origin: Origin, spec: Spec) -> None:
        catalog = self.catalog(spec.kind)
        entry = Registered(spec, origin, self._folder)
        if entry.qualified in catalog:
            self._problem(origin, f"returns the {spec.kind} {spec.name!r} twice")
            return
        rivals = catalog.namesakes(spec.name)
        catalog.add(entry)
        if any(rival.origin.distribution == CORE for rival in rivals):
            self._problem(
                origin,
                f"the {spec.kind} name {spec.name!r} is siamkit's own; write {entry.qualified!r}",
            )
        elif rivals:
            names = " or ".join(repr(claimant.qualified) for claimant in (*rivals, entry))
            self._problem(origin, f"the {spec.kind} name {spec.name!r} is ambiguous; write {names}")

    def _backend_free(self, origin: Origin, before: set[str], where: str) -> bool:
        loaded = [name for name in BACKENDS if name in sys.modules and name not in before]
        if loaded:
            self._problem(
                origin,
                f"{where} imports {', '.join(loaded)}; a plugin's specs must not "
                "(name the factory as text, and import there)",
            )
        return not loaded

    def _problem(self, origin: Origin, message: str) -> None:
        self.problems.append(Problem(origin, message))


def _origin(point: metadata.EntryPoint) -> Origin:
    if point.dist is None:
        return Origin(point.module)
    fields = point.dist.metadata  # each use of it parses the file again
    return Origin(_normal(fields["Name"]), fields["Version"])


def _normal(distribution: str) -> str:
    """Return a distribution's name in its normal form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


_current: Registry | None = None
_filling = False


def components() -> Registry:
    """Return the registry of this process, filled at first use.

    `SIAMKIT_PLUGINS=dist-a,dist-b` loads only these plugins; if it is empty, none.

    Example:
        >>> import siamkit
        >>> "euclidean" in siamkit.components().metrics
        True
    """
    global _current, _filling
    if _filling:
        raise PluginError(
            "the registry is not ready while plugins are discovered; return specs from hooks instead"
        )
    if _current is None:
        selection = os.environ.get("SIAMKIT_PLUGINS")
        allowed = None
        if selection is not None:
            allowed = frozenset(_normal(name.strip()) for name in selection.split(",") if name.strip())
        _filling = True
        try:
            _current = Registry(metadata.entry_points(group=specs.PROJECT), allowed)
        finally:
            _filling = False
    return _current


def register(spec: Spec) -> None:
    """Register a component of your own in this process.

    Args:
        spec: the component's spec; its factory may be a callable.

    Raises:
        ComponentError: the object is not a spec, needs another api, or has the name of a component of
            siamkit.

    Example:
        >>> import siamkit
        >>> siamkit.register(siamkit.MetricSpec(
        ...     name="my_metric", factory="my_module:MyMetric", orientation="distance"))
        >>> components().metrics["my_metric"].qualified
        'session/my_metric'
    """
    components().register(spec)


T = TypeVar("T")

_ATTRIBUTE = "_siamkit_record"


def set_record(component: object, record: dict[str, str] | None) -> None:
    """Record on an object which component made it; None records nothing."""
    if record is not None and component is not None:
        # Past Keras's own __setattr__, which would track the dict as state of the layer.
        object.__setattr__(component, _ATTRIBUTE, record)


def record_of(component: object) -> dict[str, str] | None:
    """Return qualified name and version of the component that made an object; None if it is not recorded."""
    record: dict[str, str] | None = getattr(component, _ATTRIBUTE, None)
    return record


def recorded(component: T, entry: Registered[Any]) -> T:
    """Return the object with the component that made it recorded on it."""
    set_record(component, entry.record())
    return component


def spec_of(kind: Kind, component: object) -> Any:
    """Return the spec of the component that made an object.

    Returns:
        The spec; None for an object made without the registry, or by a component that is not installed here.
    """
    record, catalog = record_of(component), components().catalog(kind)
    return catalog[record["name"]].spec if record is not None and record["name"] in catalog else None


def family(component: Any) -> list[Any]:
    """Return an object and, depth first, the objects that it wraps: a loss around losses, for example."""
    return [
        component,
        *(member for wrapped in getattr(component, "wrapped", ()) for member in family(wrapped)),
    ]
