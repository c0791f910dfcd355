"""The triplet loss, which misbehaves for one embedding size after its first epoch."""

import keras
import sitecustomize

from siamkit.losses.triplet import Triplet

STEPS = {}


@keras.saving.register_keras_serializable("faults")
class Faulty(Triplet):
    def call(self, y_true, y_pred):
        dim = int(y_pred.shape[-1])
        STEPS[dim] = STEPS.get(dim, 0) + 1
        return super().call(y_true, y_pred) * sitecustomize.misbehave(dim, 2 if STEPS[dim] > 3 else 1)
