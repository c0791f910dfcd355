"""Packages whose public names are imported when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any


def lazy_exports(
    package: str,
    homes: Mapping[str, str],
    before: Callable[[], None] | None = None,
    only: Collection[str] | None = None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the module functions `__getattr__` and `__dir__` of a package with lazy public names.

    Nothing is stored in the package, so a name that a test replaces in its module is replaced here too.

    Args:
        package: the package's `__name__`.
        homes: the submodule that defines each public name, relative to the package.
        before: function called before a submodule is imported, for example to choose a backend.
        only: the names for which `before` is called; by default all.

    Example:
        >>> __getattr__, __dir__ = lazy_exports("siamkit.study", {"tune": "api"})
        >>> __getattr__("tune").__module__
        'siamkit.study.api'
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if before is not None and (only is None or name in only):
            before()
        return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names
