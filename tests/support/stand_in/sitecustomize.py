"""Run by Python when it starts: where a test asks for it, a formula stands in for training."""

import os
import sys

if os.environ.get("SIAMKIT_STAND_IN"):
    import formula

    sys.modules["siamkit.study.worker.train"] = formula
