"""Reality checks: compare losses under one budget, after Musgrave, Belongie and Lim.

"A Metric Learning Reality Check" (ECCV 2020) found that most of the reported progress of losses had other
causes: unequal tuning, other encoders, choosing on the test split, or a single seed. So here each loss has
the same number of trials over the same encoders and factors. Its best configuration is chosen on the
validation split, trained again with several seeds, and scored once per seed on the test split.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from siamkit._lazy import lazy_exports

if TYPE_CHECKING:
    from siamkit.study.reality.config import reality_schema
    from siamkit.study.reality.run import RealityCheck, reality_check

__all__ = ["RealityCheck", "reality_check", "reality_schema"]

__getattr__, __dir__ = lazy_exports(
    __name__, {"RealityCheck": "run", "reality_check": "run", "reality_schema": "config"}
)
