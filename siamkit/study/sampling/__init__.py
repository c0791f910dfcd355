"""Choose what to try next and what to stop early: samplers, plans and pruners."""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports

if TYPE_CHECKING:
    from siamkit.study.sampling._enqueue import PlannedTrial
    from siamkit.study.sampling.plan import WarmStart, planned_trials, warm_start
    from siamkit.study.sampling.pruners import collapsed, make_pruner
    from siamkit.study.sampling.samplers import make_sampler

__all__ = [
    "PlannedTrial",
    "WarmStart",
    "collapsed",
    "make_pruner",
    "make_sampler",
    "planned_trials",
    "warm_start",
]

# Lazy: workers also import modules of `siamkit.study`, and need no Optuna.
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "PlannedTrial": "_enqueue",
        "WarmStart": "plan",
        "collapsed": "pruners",
        "make_pruner": "pruners",
        "make_sampler": "samplers",
        "planned_trials": "plan",
        "warm_start": "plan",
    },
)
