"""The kit can fail: for each check of a loss, a wrong loss that it catches."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import siamkit
from siamkit.losses._batch import Pairs
from siamkit.losses.base import masked_mean
from siamkit.testing import cases

pytestmark = [pytest.mark.keras, pytest.mark.one_backend]


class Right(siamkit.Loss):
    """Mean distance within classes, and a hinge between them; over pairs likewise, row by row."""

    def __init__(self, margin=2.0, **kwargs):
        super().__init__(**kwargs)
        self.margin = margin

    def call(self, y_true, y_pred):
        if len(y_pred.shape) == 3:
            distances = self.paired_distances(y_pred[:, 0], y_pred[:, 1])
            alike = ops.cast(y_true, "float32")
            return alike * distances + (1 - alike) * ops.relu(self.margin - distances)
        distances = self.pairwise_distances(y_pred, y_pred)
        alike, unlike = (ops.cast(mask, "float32") for mask in masks(y_true, y_pred))
        return masked_mean(distances, alike) + masked_mean(ops.relu(self.margin - distances), unlike)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}


def masks(y_true, y_pred):
    pairs = Pairs.of_batch(y_true, y_pred)
    return pairs.positive, pairs.negative


def spec(loss, **changes):
    margin = siamkit.Float(2.0, low=1.0, high=3.0, help="how far apart")
    told = {"supervision": "labels", "summary": "a planted loss", "params": {"margin": margin}}
    return siamkit.LossSpec(**{"name": "planted", "factory": loss, **told, **changes})


def failing(planted):
    """What fails, by check, with its sentence."""
    told = {}
    for case in cases(planted):
        if case.check.__name__ in ("fresh_process", "class_ids" if "pairs" in case.id else ""):
            continue  # nothing to say
        try:
            case.run()
        except AssertionError as error:
            told[case.check.__name__] = str(error)
    return told


def test_a_right_loss_passes_under_each_supervision():
    assert failing(spec(Right, supervision=("labels", "pairs"))) == {}


class Matrix(Right):
    def call(self, y_true, y_pred):
        return self.pairwise_distances(y_pred, y_pred)


class WrongWeight(Right):
    def __call__(self, y_true, y_pred, sample_weight=None):
        value = super().__call__(y_true, y_pred)
        return value if sample_weight is None else value * 2.0


class NaNGradient(Right):
    def call(self, y_true, y_pred):
        return super().call(y_true, y_pred) + ops.sqrt(ops.sum(ops.square(y_pred - y_pred)))


class Unconnected(Right):
    def call(self, y_true, y_pred):
        value = super().call(y_true, y_pred)
        return 0.5 * value + 0.5 * ops.stop_gradient(value)


class NoPositives(Right):
    """0 / 0 where no pair of the batch is alike."""

    def call(self, y_true, y_pred):
        alike, _ = masks(y_true, y_pred)
        alike = ops.cast(alike, "float32")
        return ops.sum(alike * self.pairwise_distances(y_pred, y_pred)) / ops.sum(alike)


class NeverZero(Right):
    def call(self, y_true, y_pred):
        return super().call(y_true, y_pred) + ops.mean(ops.square(y_pred))


class Numbers(Right):
    """Weighs by the class's number."""

    def call(self, y_true, y_pred):
        distances = self.pairwise_distances(y_pred, y_pred)
        return ops.mean(ops.cast(y_true, "float32") * ops.mean(distances, axis=1))


class Rounded(Right):
    def __call__(self, y_true, y_pred, sample_weight=None):
        value = super().__call__(y_true, y_pred, sample_weight)
        return ops.cast(value, ops.convert_to_tensor(y_pred).dtype)


class EagerOnly(Right):
    def call(self, y_true, y_pred):
        value = super().call(y_true, y_pred)
        return value if float(ops.convert_to_numpy(value)) > -1 else -value


class SwallowsNaN(Right):
    def call(self, y_true, y_pred):
        value = super().call(y_true, y_pred)
        return ops.where(value > 0, value, 0.0)


class Random(Right):
    made = 0

    def call(self, y_true, y_pred):
        Random.made += 1
        return super().call(y_true, y_pred) * (1 + Random.made % 7)


class Forgetful(Right):
    def get_config(self):
        return {"name": self.name}


class Constant(Right):
    """Its gradient is held back altogether."""

    def call(self, y_true, y_pred):
        return ops.stop_gradient(super().call(y_true, y_pred)) + 0.0 * ops.sum(y_pred)


def other_default(margin=1.5):
    return Right(margin)


PLANTED = [
    (spec(other_default), "spec_matches_factory", "should have one default, got 2.0 in its spec and 1.5"),
    (spec(Matrix), "shapes", r"should give a scalar or \(8,\) in call, got shape \(8, 8\)"),
    (spec(WrongWeight), "sample_weight", "where all weigh 1, got"),
    (spec(NaNGradient), "gradients", "should give a finite gradient by the embeddings, got nan"),
    (spec(Unconnected), "finite_differences", "by the embeddings should be that of finite differences"),
    (spec(NoPositives), "edge_cases", "on a batch of 1 should give a finite value, got nan"),
    (spec(NeverZero), "edge_cases", "should be 0 on a batch of 1, where nothing can be compared"),
    (spec(Numbers), "class_ids", "also where class ids are not contiguous"),
    (spec(Rounded), "dtypes", "should give float32 for bfloat16"),
    (spec(SwallowsNaN), "nan", "should give NaN for NaN, got 0"),
    (spec(Random), "determinism", "should give the same twice"),
    (
        spec(Forgetful),
        "config",
        "from_config of the loss 'planted' over labels should make an equal|should have margin",
    ),
    (spec(Constant), "training", "should move the encoder's weights, got none moved"),
]


@pytest.mark.parametrize(
    ("planted", "check", "words"), PLANTED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_wrong_loss_is_caught_in_a_sentence(planted, check, words):
    (case,) = [each for each in cases(planted) if each.check.__name__ == check]
    with pytest.raises(AssertionError, match=words) as caught:
        case.run()
    assert "the loss 'planted' over labels" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.one_backend("jax", "tensorflow")
@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="Keras runs torch eagerly: nothing is compiled"
)
def test_a_loss_that_only_runs_eagerly_is_caught():
    (case,) = [each for each in cases(spec(EagerOnly)) if each.check.__name__ == "jit"]
    with pytest.raises(AssertionError, match=r"the loss 'planted' over labels.* fails with"):
        case.run()


def test_a_gradient_that_misses_a_part_is_caught_by_differences():
    """Half the rows get none: a partial error, not a wrong factor."""

    class Half(Right):
        def call(self, y_true, y_pred):
            mask = ops.convert_to_tensor(np.array([[1], [1], [1], [1], [0], [0], [0], [0]], dtype="float32"))
            return super().call(y_true, mask * y_pred + (1 - mask) * ops.stop_gradient(y_pred))

    (case,) = [each for each in cases(spec(Half)) if each.check.__name__ == "finite_differences"]
    with pytest.raises(AssertionError, match="should be that of finite differences"):
        case.run()
