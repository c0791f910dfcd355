"""Studies: one comparison each, from a study file to its results.

- `runner`, `part`, `pool`, `search`, `confirm` and what lies beside them: the supervisor of one machine
- `definition`: what a study asks; `strategy`: what is tried next, and given up early
- `store`: what is kept, and who may write it; `engines`: where workers run; `work`: what happens in one
- `watch` and `loggers`: how it stands; `outcome`: what it leaves; `reality`: losses under one budget
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from siamkit.study.api import join, tune
    from siamkit.study.monitoring._read_status import read_status
    from siamkit.study.reality.run import reality_check

__all__ = ["join", "read_status", "reality_check", "tune"]

_HOMES = {
    "join": "api",
    "tune": "api",
    "read_status": "monitoring._read_status",
    "reality_check": "reality.run",
}


def __getattr__(name: str) -> Any:
    # Not at once: workers import modules of this package too, and need neither Optuna nor the report.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"siamkit.study.{_HOMES[name]}"), name)
