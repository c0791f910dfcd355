"""The conformance kit: pytest checks of any component, built in or not, with messages in plain words.

There are two ways to run the same checks: `conformance` in a test file, and `pytest --siamkit NAME` without
one. Importing this package imports no backend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports

if TYPE_CHECKING:
    from siamkit.testing._suite import Case, cases, conformance

__all__ = ["Case", "cases", "conformance"]

__getattr__, __dir__ = lazy_exports(__name__, {"Case": "_suite", "cases": "_suite", "conformance": "_suite"})
