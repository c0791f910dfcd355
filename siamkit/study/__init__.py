"""Studies: comparisons of encoders, metrics and losses, from a study file to its results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports

if TYPE_CHECKING:
    from siamkit.study.api import join, tune
    from siamkit.study.monitoring.status import read_status
    from siamkit.study.reality.run import reality_check
    from siamkit.study.results.results import Results

__all__ = ["Results", "join", "read_status", "reality_check", "tune"]

# Lazy: workers also import modules of this package, and need neither Optuna nor the report.
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Results": "results.results",
        "join": "api",
        "read_status": "monitoring.status",
        "reality_check": "reality.run",
        "tune": "api",
    },
)
