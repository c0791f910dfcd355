"""Studies: one comparison each, from a study file to its results.

- `runner`, `part`, `pool`, `search`, `confirm` and what lies beside them: the supervisor of one machine
- `definition`: what a study asks; `strategy`: what is tried next, and given up early
- `store`: what is kept, and who may write it; `engines`: where workers run; `work`: what happens in one
- `watch` and `loggers`: how it stands; `outcome`: what it leaves; `reality`: losses under one budget
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports

if TYPE_CHECKING:
    from siamkit.study.api import join, tune
    from siamkit.study.monitoring.status import read_status
    from siamkit.study.reality.run import reality_check

__all__ = ["join", "read_status", "reality_check", "tune"]

# Lazy: workers import modules of this package too, and need neither Optuna nor the report.
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "join": "api",
        "tune": "api",
        "read_status": "monitoring.status",
        "reality_check": "reality.run",
    },
)
