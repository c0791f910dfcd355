"""Statistics: intervals, tests, effects, Pareto fronts and compression. No Keras here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports

if TYPE_CHECKING:
    from siamkit.stats.bootstrap import compare_queries, interval_of
    from siamkit.stats.compression import Size, SizeCurve, size_curve
    from siamkit.stats.effects import Trials
    from siamkit.stats.importance import importances, variance_shares
    from siamkit.stats.pair_bootstrap import compare_pairs, interval_of_pairs
    from siamkit.stats.results import Difference, Interval, adjusted, front, holm
    from siamkit.stats.seeds import Repeats

__all__ = [
    "Difference",
    "Interval",
    "Repeats",
    "Size",
    "SizeCurve",
    "Trials",
    "adjusted",
    "compare_pairs",
    "compare_queries",
    "front",
    "holm",
    "importances",
    "interval_of",
    "interval_of_pairs",
    "size_curve",
    "variance_shares",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Difference": "results",
        "Interval": "results",
        "Repeats": "seeds",
        "Size": "compression",
        "SizeCurve": "compression",
        "Trials": "effects",
        "adjusted": "results",
        "compare_pairs": "pair_bootstrap",
        "compare_queries": "bootstrap",
        "front": "results",
        "holm": "results",
        "importances": "importance",
        "interval_of": "bootstrap",
        "interval_of_pairs": "pair_bootstrap",
        "size_curve": "compression",
        "variance_shares": "importance",
    },
)
