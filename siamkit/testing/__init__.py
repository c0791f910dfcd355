"""The conformance kit: points pytest at components, anybody's, and says in a sentence what is wrong.

Two ways in, the same checks: `conformance` in a test file, and `pytest --siamkit NAME` without one.
Importing this package imports no backend.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from siamkit.testing.suite import Case, cases, conformance

__all__ = ["Case", "cases", "conformance"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'siamkit.testing' has no attribute {name!r}")
    return getattr(importlib.import_module("siamkit.testing.suite"), name)
