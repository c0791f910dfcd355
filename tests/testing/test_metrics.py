"""The kit can fail: for each check of a metric, a wrong metric that it catches, and only it."""

from __future__ import annotations

import math

import keras
import pytest
from keras import ops

import siamkit
from siamkit.metrics.base import safe_sqrt
from siamkit.testing import cases

pytestmark = [pytest.mark.keras, pytest.mark.one_backend]


class Right(siamkit.Metric):
    """Euclidean distance times a scale."""

    def __init__(self, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def paired(self, a, b):
        return self.scale * safe_sqrt(ops.sum(ops.square(a - b), axis=-1))

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


def spec(metric, **changes):
    scale = siamkit.Float(1.0, low=0.5, high=2.0, help="what it is multiplied by")
    told = {"orientation": "distance", "range": (0.0, math.inf), "summary": "a planted metric"}
    return siamkit.MetricSpec(
        **{"name": "planted", "factory": metric, "params": {"scale": scale}, **told, **changes}
    )


def failing(planted):
    """What fails, by check, with its sentence."""
    told = {}
    for case in cases(planted):
        if case.check.__name__ == "fresh_process":
            continue  # says nothing of a component that only this session knows
        try:
            case.run()
        except AssertionError as error:
            told[case.check.__name__] = str(error)
    return told


def test_a_right_metric_passes():
    assert failing(spec(Right)) == {}


def test_a_metric_that_is_bounded_passes():
    assert failing(spec(Bounded)) == {}


class Column(Right):
    def paired(self, a, b):
        return super().paired(a, b)[..., None]


class Half(Right):
    def call(self, a, b, pairwise=False):
        return ops.cast(super().call(a, b, pairwise), "float16")


class Transposed(Right):
    def pairwise(self, a, b):
        return ops.transpose(super().pairwise(a, b))


class Turned(Right):
    def paired(self, a, b):
        return 3e4 - super().paired(a, b)


class Negative(Right):
    def paired(self, a, b):
        return super().paired(a, b) - 1.0


class Squared(Right):
    def pairwise(self, a, b):
        return ops.square(super().pairwise(a, b))


class UnderPolicy(Right):
    """Rounds to whatever the policy computes in."""

    def paired(self, a, b):
        dtype = keras.config.dtype_policy().compute_dtype
        return ops.cast(super().paired(ops.cast(a, dtype), ops.cast(b, dtype)), "float32")


class NeedsBuild(Right):
    def build(self, a_shape, b_shape=None):
        self.dim = a_shape[-1]

    def matrix(self, a, b):
        return self.pairwise(ops.cast(a, "float32"), ops.cast(b, "float32")) * (self.dim / self.dim)


class Unconnected(Right):
    """Its value is right; half of its gradient is held back."""

    def paired(self, a, b):
        value = super().paired(a, b)
        return 0.5 * value + ops.stop_gradient(0.5 * value)


class InfiniteGradient(Right):
    def paired(self, a, b):
        # sqrt at 0: the value is 0, the gradient 0 · ∞.
        return super().paired(a, b) + ops.sqrt(ops.sum(ops.square(a - a), axis=-1))


class NaiveRoot(Right):
    def paired(self, a, b):
        return ops.sqrt(ops.sum(ops.square(a - b), axis=-1))


class Exponential(Right):
    """Overflows from a distance of 89 on."""

    def paired(self, a, b):
        return ops.expm1(super().paired(a, b))


class Bounded(Right):
    """Does not, and grows as fast."""

    def paired(self, a, b):
        # Beyond the bound on the line that continues it, so that far points differ.
        distance = super().paired(a, b)
        return ops.expm1(ops.minimum(distance, 10.0)) + ops.relu(distance - 10.0)


class Floored(Right):
    """Takes small distances for 0."""

    def paired(self, a, b):
        return ops.relu(super().paired(a, b) - 0.002)


class InputDtype(Right):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.autocast = False

    def call(self, a, b, pairwise=False):
        a, b = ops.convert_to_tensor(a), ops.convert_to_tensor(b)
        b = ops.cast(b, a.dtype)
        values = self.pairwise(a, b) if pairwise else self.paired(a, b)
        return values


class EagerOnly(Right):
    """Asks Python for a value, which no compiled function has."""

    def paired(self, a, b):
        value = super().paired(a, b)
        return value if float(ops.convert_to_numpy(ops.sum(value))) > -1 else -value


class SwallowsNaN(Right):
    def paired(self, a, b):
        value = super().paired(a, b)
        return ops.where(value > 0, value, 0.0)


class Random(Right):
    """Its scale is drawn when it is made, past every seed."""

    made = 0

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        Random.made += 1
        self.factor = 1 + Random.made % 7

    def paired(self, a, b):
        return self.factor * super().paired(a, b)


class Forgetful(Right):
    def get_config(self):
        return {key: value for key, value in super().get_config().items() if key != "scale"}


class NotJson(Right):
    def get_config(self):
        return {**super().get_config(), "scale": complex(self.scale)}


class Untrained(Right):
    """Has a weight that no gradient reaches."""

    def build(self, a_shape, b_shape=None):
        self.weight = self.add_weight(shape=(), initializer="ones")

    def paired(self, a, b):
        return super().paired(a, b) * ops.stop_gradient(self.weight) + 0.0 * self.weight


def other_default(scale=3.0):
    return Right(scale)


PLANTED = [
    (
        spec(Exponential),
        "scales",
        r"between points of length 100 should give a finite value, got inf; bound what exp, .*ops.minimum",
    ),
    (
        spec(Floored),
        "scales",
        r"of length 0.0001 should give different values, .*as siamkit.metrics.unit does",
    ),
    (spec(Right, summary=""), "spec_matches_factory", "should have a summary"),
    (
        spec(other_default),
        "spec_matches_factory",
        "scale of the metric 'planted' should have one default, got 1.0 in its",
    ),
    (
        spec(Right, params={"scael": siamkit.Float(1.0)}),
        "spec_matches_factory",
        "fails with|that takes 'scael'",
    ),
    (
        spec(Right, range=(0.0, 5.0)),
        "spec_matches_factory",
        r"should have the range of its spec, \(0.0, 5.0\)",
    ),
    (
        spec(Right, trainable=True),
        "spec_matches_factory",
        "should have weights where its spec says trainable",
    ),
    (spec(Column), "shapes", r"should give \(8,\) for rows, got shape \(8, 1\)"),
    (spec(Half), "shapes", "should give float32 for rows, got"),
    (spec(Transposed), "shapes", r"should give \(8, 5\) for a matrix, got shape \(5, 8\)"),
    (spec(Turned), "orientation", "is a distance and should be lowest between equal points"),
    (spec(Negative), "orientation", "should give values from 0 to inf, got from -1"),
    (spec(Squared), "forms_agree", "under float32 should give the same by rows and as a matrix"),
    (spec(UnderPolicy), "forms_agree", "should compute in float32 under mixed_bfloat16 too"),
    (spec(NeedsBuild), "forms_agree", "under float32 fails with AttributeError"),
    (spec(InfiniteGradient), "gradients", "should give a finite gradient by the left side, got"),
    (spec(Unconnected), "finite_differences", "should be that of finite differences"),
    (spec(NaiveRoot), "edge_cases", "on equal points should give a finite gradient"),
    (spec(InputDtype), "dtypes", "should give float32 for bfloat16"),
    (spec(SwallowsNaN), "nan", "should give NaN for NaN, got 0"),
    (spec(Random), "determinism", "should give the same from the same seed"),
    (spec(Forgetful), "config", "should have scale"),
    (spec(NotJson), "config", "should be plain JSON"),
    (spec(Untrained, trainable=True), "training", "should move its own weights, got none moved"),
]


@pytest.mark.parametrize(
    ("planted", "check", "words"), PLANTED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_wrong_metric_is_caught_in_a_sentence(planted, check, words):
    (case,) = [each for each in cases(planted) if each.check.__name__ == check]
    with pytest.raises(AssertionError, match=words) as caught:
        case.run()
    assert "the metric 'planted'" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.one_backend("jax", "tensorflow")
@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="Keras runs torch eagerly: nothing is compiled"
)
def test_a_metric_that_only_runs_eagerly_is_caught():
    (case,) = [each for each in cases(spec(EagerOnly)) if each.check.__name__ == "jit"]
    with pytest.raises(AssertionError, match="ing the metric 'planted' fails with"):
        case.run()


def test_other_checks_are_content():
    class Wrong(SwallowsNaN, Forgetful):
        pass

    told = failing(spec(Wrong, range=(0.0, 100.0)))
    assert set(told) == {"nan", "config", "spec_matches_factory", "orientation"}  # far points exceed 100
