"""Metrics: values against SciPy, gradients against hand calculation, and the awkward points."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from gradients import value_and_gradient
from keras import ops
from scipy.spatial.distance import cdist

import siamkit
from siamkit.errors import ComponentError
from siamkit.metrics.base import Metric
from siamkit.metrics.functions import absolute, safe_sqrt, squared_distances, unit

pytestmark = pytest.mark.keras

SCIPY = {
    "euclidean": lambda a, b: cdist(a, b, "euclidean"),
    "squared_euclidean": lambda a, b: cdist(a, b, "sqeuclidean"),
    "cosine": lambda a, b: 1 - cdist(a, b, "cosine"),
    "manhattan": lambda a, b: cdist(a, b, "cityblock"),
    "mahalanobis": lambda a, b: cdist(a, b, "euclidean"),  # L starts as the identity
}
NAMES = sorted(SCIPY)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def bfloat16_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def numpy(x):
    return np.asarray(ops.convert_to_numpy(x), dtype="float64")


def test_every_built_in_metric_is_tested_here():
    core = [e.spec.name for e in siamkit.components().metrics.all() if e.origin.distribution == "siamkit"]
    assert sorted(core) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_scipy(name, rng):
    a, b = rng.normal(size=(5, 6)), rng.normal(size=(8, 6)) + 0.5
    expected = SCIPY[name](a, b)
    metric = siamkit.get_metric(name)
    assert metric.matrix(a, b).shape == (5, 8)
    np.testing.assert_allclose(numpy(metric.matrix(a, b)), expected, rtol=1e-5, atol=1e-5)
    assert metric(a, b[:5]).shape == (5,)
    np.testing.assert_allclose(numpy(metric(a, b[:5])), np.diag(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_values_lie_in_the_range_that_spec_and_class_state(name, rng):
    spec = siamkit.components().metrics[name].spec
    metric = siamkit.get_metric(name)
    assert spec.range == metric.range
    assert spec.orientation == metric.orientation
    a = rng.normal(size=(5, 6)).astype("float32")
    values = numpy(metric.matrix(a, np.concatenate([a, -a[:3]])))
    assert spec.trainable == bool(metric.trainable_weights)
    slack = 1e-6
    assert values.min() >= spec.range[0] - slack
    assert values.max() <= spec.range[1] + slack


@pytest.mark.parametrize("name", NAMES)
def test_rows_and_matrix_agree_before_build_and_under_mixed_precision(name, rng, bfloat16_policy):
    a, b = (rng.normal(size=(5, 6)).astype("float32") for _ in range(2))
    rows_first = siamkit.get_metric(name)
    matrix_first = siamkit.get_metric(name)
    rows, matrix = rows_first(a, b), matrix_first.matrix(a, b)
    assert keras.backend.standardize_dtype(rows.dtype) == "float32"
    assert keras.backend.standardize_dtype(matrix.dtype) == "float32"
    np.testing.assert_allclose(numpy(rows), np.diag(numpy(matrix)), rtol=1e-5, atol=1e-5)
    # Computed in float32, not rounded to bfloat16's three digits on the way.
    np.testing.assert_allclose(numpy(matrix), SCIPY[name](a, b), rtol=1e-5, atol=1e-5)
    assert matrix_first.compute_dtype == matrix_first.variable_dtype == "float32"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int32"])
@pytest.mark.parametrize("name", NAMES)
def test_inputs_of_other_types_are_computed_in_float32(name, dtype):
    # Small whole numbers are exact in every one of these types.
    a, b = np.array([[3, 0, 4], [1, 2, 2]]), np.array([[0, 4, 4], [5, 0, 3]])
    metric = siamkit.get_metric(name)
    tensors = ops.cast(ops.convert_to_tensor(a), dtype), ops.cast(ops.convert_to_tensor(b), dtype)
    for values in (metric(*tensors), ops.diag(metric.matrix(*tensors))):
        assert keras.backend.standardize_dtype(values.dtype) == "float32"
        np.testing.assert_allclose(numpy(values), np.diag(SCIPY[name](a, b)), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "dim"),
    [("euclidean", 512), ("squared_euclidean", 2), ("squared_euclidean", 512), ("mahalanobis", 512)],
)
def test_close_points_far_from_the_origin_keep_their_distance(name, dim, rng):
    # |a|² + |b|² - 2ab in float32 errs by 20 % here (pitfalls.md), and much more in 512 dimensions.
    centre = rng.normal(size=dim)
    centre *= 30 / np.linalg.norm(centre)
    directions = rng.normal(size=(6, dim))
    directions *= 0.01 / np.linalg.norm(directions, axis=1, keepdims=True)
    a = np.repeat(centre[None], 6, axis=0).astype("float32")
    b = (a + directions).astype("float32")
    # One point far from all, so that centring alone does not help.
    b = np.concatenate([b, -a[:1]])
    true = cdist(a.astype("float64"), b.astype("float64"), "sqeuclidean")
    values = numpy(siamkit.get_metric(name).matrix(a, b))
    values = values if name == "squared_euclidean" else values**2
    np.testing.assert_allclose(values, true, rtol=0.02)
    np.testing.assert_allclose(true[:, :6], 1e-4, rtol=0.3)  # what was meant is what is tested


# ---------------------------------------------------------------- gradients


def analytic(name, a, b):
    """∂ metric(a, b) / ∂a of one pair, by hand."""
    difference = a - b
    if name in ("euclidean", "mahalanobis"):
        return difference / np.linalg.norm(difference)
    if name == "squared_euclidean":
        return 2 * difference
    if name == "manhattan":
        return np.sign(difference)
    norm_a, norm_b = np.linalg.norm(a), np.linalg.norm(b)
    return b / (norm_a * norm_b) - (a @ b) * a / (norm_a**3 * norm_b)


@pytest.mark.parametrize("form", ["rows", "matrix"])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_worked_out_by_hand(name, form, rng):
    a, b = (rng.normal(size=(5, 6)).astype("float32") for _ in range(2))
    weight = np.eye(5) if form == "rows" else rng.normal(size=(5, 5))
    metric = siamkit.get_metric(name)

    def function(x, y):
        if form == "rows":
            return ops.sum(metric(x, y))
        return ops.sum(metric.matrix(x, y) * ops.cast(weight, "float32"))

    _, (by_a, by_b) = value_and_gradient(function, a, b)
    pairs = [(i, j) for i in range(5) for j in range(5)]
    expected_a, expected_b = np.zeros((5, 6)), np.zeros((5, 6))
    for i, j in pairs:
        # All these metrics are symmetric.
        expected_a[i] += weight[i, j] * analytic(name, a[i].astype("float64"), b[j].astype("float64"))
        expected_b[j] += weight[i, j] * analytic(name, b[j].astype("float64"), a[i].astype("float64"))
    np.testing.assert_allclose(by_a, expected_a, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(by_b, expected_b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", ["rows", "matrix"])
@pytest.mark.parametrize("name", NAMES)
def test_identical_points_have_value_and_gradient_of_identity(name, form):
    a = np.array([[1.0, -2.0, 3.0, 0.0, 0.5, 7.0]] * 5, dtype="float32")
    metric = siamkit.get_metric(name)

    def function(x, y):
        return ops.sum(metric(x, y) if form == "rows" else metric.matrix(x, y))

    value, gradients = value_and_gradient(function, a, a.copy())
    count = 5 if form == "rows" else 25
    assert value == pytest.approx(count if name == "cosine" else 0.0, rel=1e-6, abs=1e-6)
    for gradient in gradients:
        np.testing.assert_allclose(gradient, 0.0, atol=1e-6)


@pytest.mark.parametrize("form", ["rows", "matrix"])
@pytest.mark.parametrize("name", NAMES)
def test_zero_vectors_have_finite_values_and_gradients(name, form):
    zero, point = np.zeros((5, 6), dtype="float32"), np.array([[3.0, 4.0, 0, 0, 0, 0]] * 5, dtype="float32")
    expected = {"euclidean": 5, "mahalanobis": 5, "squared_euclidean": 25, "manhattan": 7, "cosine": 0}[name]
    metric = siamkit.get_metric(name)

    def function(x, y):
        return ops.sum(metric(x, y) if form == "rows" else metric.matrix(x, y))

    for a, b, value in ((zero, point, expected), (point, zero, expected), (zero, zero, 0)):
        got, gradients = value_and_gradient(function, a, b)
        assert got == pytest.approx(value * (5 if form == "rows" else 25))
        assert np.isfinite(gradients).all()
        if value == 0 and name != "cosine":
            assert not np.any(gradients)
    if name == "cosine":
        _, (by_zero, by_point) = value_and_gradient(function, zero, point)
        assert not by_zero.any()
        assert not by_point.any()


def test_helpers_have_gradient_zero_at_zero():
    zeros = np.zeros((2, 3), dtype="float32")
    for function in (safe_sqrt, absolute, unit):
        value, (gradient,) = value_and_gradient(lambda x, f=function: ops.sum(f(x)), zeros)
        assert value == 0
        assert not gradient.any()


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e18, 1e30])
def test_unit_vectors_come_also_from_tiny_and_huge_ones(scale):
    x = np.array([[3.0, -4.0]], dtype="float32") * np.float32(scale)
    np.testing.assert_allclose(numpy(unit(ops.convert_to_tensor(x))), [[0.6, -0.8]], rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1.0, 1e6, 1e12])
def test_squared_distances_keep_their_precision_at_every_scale(scale, rng):
    a, b = (rng.normal(size=(5, 6)).astype("float32") * np.float32(scale) for _ in range(2))
    expected = cdist(a.astype("float64"), b.astype("float64"), "sqeuclidean")
    np.testing.assert_allclose(
        numpy(squared_distances(ops.convert_to_tensor(a), ops.convert_to_tensor(b))), expected, rtol=1e-5
    )


def test_squared_distances_of_equal_points_are_zero_and_never_negative(rng):
    a = (rng.normal(size=(50, 32)) * 100).astype("float32")
    matrix = numpy(squared_distances(ops.convert_to_tensor(a), ops.convert_to_tensor(a)))
    assert matrix.min() >= 0
    np.testing.assert_allclose(np.diag(matrix), 0, atol=1e-3 * matrix.max() * 1e-6)


# --------------------------------------------------------------- mahalanobis


def test_mahalanobis_is_scipys_with_the_learned_matrix(rng):
    a, b = (rng.normal(size=(4, 3)) for _ in range(2))
    metric = siamkit.get_metric("mahalanobis")
    metric(a, b)
    factor = rng.normal(size=(3, 3))
    metric.factor.assign(factor)
    # SciPy takes the matrix of the quadratic form, (a - b)ᵀ VI (a - b).
    expected = cdist(a, b, "mahalanobis", VI=factor @ factor.T)
    np.testing.assert_allclose(numpy(metric.matrix(a, b)), expected, rtol=1e-4)
    np.testing.assert_allclose(numpy(metric(a, b)), np.diag(expected), rtol=1e-4)


def test_mahalanobis_learns_and_its_factor_has_a_finite_gradient_at_identical_points():
    metric = siamkit.get_metric("mahalanobis")
    a = np.array([[3.0, 4.0]], dtype="float32")
    metric(a, a)
    assert [v.path.split("/")[-1] for v in metric.trainable_variables] == ["factor"]
    zero = np.zeros((1, 2), dtype="float32")
    # ∂|aᵀL|/∂L at L = 1 is a aᵀ / |a|
    _, (_, by_factor) = value_and_gradient(
        lambda x: ops.sum(metric(x, ops.zeros_like(x))), a, variables=[metric.factor]
    )
    np.testing.assert_allclose(by_factor, [[9 / 5, 12 / 5], [12 / 5, 16 / 5]], rtol=1e-5)
    _, gradients = value_and_gradient(
        lambda x: ops.sum(metric.matrix(x, ops.zeros_like(x))), zero, variables=[metric.factor]
    )
    assert not np.concatenate([g.ravel() for g in gradients]).any()


# ----------------------------------------------------------- objects and names


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_comes_back_from_its_config(name, rng):
    a = rng.normal(size=(5, 6)).astype("float32")
    metric = siamkit.get_metric(name)
    metric(a, a)
    config = keras.saving.serialize_keras_object(metric)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(metric)
    assert again.get_config() == metric.get_config()
    np.testing.assert_allclose(numpy(again(a, a[::-1])), numpy(metric(a, a[::-1])), atol=1e-6)


def test_a_similarity_is_read_as_a_distance_from_its_bound():
    assert siamkit.get_metric("cosine").as_distance(np.array([1.0, -1.0])).tolist() == [0.0, 2.0]
    assert siamkit.get_metric("euclidean").as_distance(np.array([1.5])).tolist() == [1.5]

    class Dot(Metric):
        orientation = "similarity"
        range = (-np.inf, np.inf)

    assert Dot().as_distance(np.array([3.0])).tolist() == [-3.0]
    assert Dot().sign == -1


def test_a_metric_of_ones_own_needs_no_more_than_rows():
    class Chebyshev(Metric):
        def rows(self, a, b):
            return ops.max(ops.abs(a - b), axis=-1)

    a, b = np.array([[0.0, 0.0], [1.0, 5.0]]), np.array([[2.0, -3.0]])
    np.testing.assert_allclose(numpy(Chebyshev().matrix(a, b)), cdist(a, b, "chebyshev"))


@pytest.mark.parametrize(
    ("given", "params", "words"),
    [
        ("euklidean", {}, "unknown metric 'euklidean'; did you mean 'euclidean'"),
        ("cosine", {"axis": 1}, "metric 'cosine' has no parameter 'axis'"),
        (3, {}, "a metric is given by name or as a siamkit.Metric, got 3"),
        (keras.losses.MeanSquaredError, {}, "a metric is given by name or as a siamkit.Metric"),
        ({"cosine": {}, "euclidean": {}}, {}, "a metric with parameters is one name with a mapping"),
        ({"cosine": 3}, {}, "a metric with parameters is one name with a mapping"),
    ],
)
def test_a_bad_metric_is_refused_in_one_sentence(given, params, words):
    with pytest.raises(ComponentError, match=words) as caught:
        siamkit.get_metric(given, **params)
    assert "\n" not in str(caught.value)


def test_a_layer_that_is_no_metric_and_parameters_of_a_finished_metric_are_refused():
    with pytest.raises(ComponentError, match=r"as a siamkit\.Metric"):
        siamkit.get_metric(keras.layers.Dense(3))
    with pytest.raises(ComponentError, match="a finished metric takes no parameters, got axis"):
        siamkit.get_metric(siamkit.get_metric("cosine"), axis=1)


def test_a_finished_metric_is_returned_as_it_is():
    metric = siamkit.get_metric({"mahalanobis": None})
    assert siamkit.get_metric(metric) is metric
