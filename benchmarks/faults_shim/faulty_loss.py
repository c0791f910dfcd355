"""The triplet loss, which misbehaves for one embedding size at its second step.

In the first epoch, so that each attempt meets it: later on one would go on behind it.
"""

import keras
import sitecustomize

from siamkit.losses.triplet import Triplet

STEPS = {}


@keras.saving.register_keras_serializable("faults")
class Faulty(Triplet):
    def call(self, y_true, y_pred):
        dim = int(y_pred.shape[-1])
        STEPS[dim] = STEPS.get(dim, 0) + 1
        return super().call(y_true, y_pred) * sitecustomize.misbehave(dim, 2 if STEPS[dim] > 1 else 1)
