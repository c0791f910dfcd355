"""The gradients of every built-in metric: against differences of its reference, and at awkward points."""

from __future__ import annotations

from functools import cache

import keras
import numpy as np
import pytest
from gradients import value_and_gradient
from keras import ops
from metric_references import CASES

import siamkit
from siamkit.backend.beyond_keras import compiled, with_gradient_of
from siamkit.metrics.base import absolute, centred, quotient, safe_sqrt, unit

pytestmark = pytest.mark.keras

each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_form = pytest.mark.parametrize("form", ["rows", "matrix"])
ONES = np.ones((5, 5), "float32")
POINT = np.array([1.0, -2.0, 3.0, 0.0, 0.5, 7.0]) / 10


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@cache
def gradient(case, form):
    """The gradient of Σ weight · metric (row by row: of the weight's diagonal), and the metric's weights.

    Compiled where the backend compiles, and once for all tests; a function of a, b and the weight.
    """
    metric, weights = case.built(np.random.default_rng(4), 6)

    @compiled
    def weighed(a, b, weight, *values):
        with keras.StatelessScope(zip(metric.trainable_variables, values, strict=True)):
            if form == "rows":
                return ops.sum(metric(a, b) * ops.diagonal(weight))
            return ops.sum(metric.matrix(a, b) * weight)

    def call(a, b, weight=ONES):
        inputs = [each.astype("float32") for each in (a, b, weight, *weights)]
        value, (by_a, by_b, _, *by_weights) = value_and_gradient(weighed, *inputs)
        return value, [by_a, by_b, *by_weights]

    return call, weights


def differences(function, *inputs, step=1e-6):
    """Central differences of a scalar function, by each input, in float64."""
    gradients = [np.zeros(each.shape) for each in inputs]
    for each, gradient in zip(inputs, gradients, strict=True):
        for place in np.ndindex(each.shape):
            kept = each[place]
            each[place] = kept + step
            above = function(*inputs)
            each[place] = kept - step
            gradient[place] = (above - function(*inputs)) / (2 * step)
            each[place] = kept
    return gradients


@each_form
@each_case
def test_gradients_are_the_differences_of_the_reference(case, form, rng):
    a, b = case.points(rng, 5, 6), case.points(rng, 5, 6)
    weight = rng.normal(size=(5, 5)) * (np.eye(5) if form == "rows" else 1)
    function, weights = gradient(case, form)
    value, gradients = function(a, b, weight)

    def reference(*inputs):
        return np.sum(weight * case.reference(*inputs))

    inputs = [*(each.astype("float64") for each in (a, b)), *(each.copy() for each in weights)]
    assert value == pytest.approx(reference(*inputs), rel=1e-4)
    expected = differences(reference, *inputs)
    assert len(gradients) == len(expected)
    for got, true in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(got, true, rtol=1e-3, atol=1e-4 * np.abs(true).max())


@each_form
@each_case
def test_identical_points_have_the_value_and_the_gradient_of_identity(case, form):
    a = np.array([POINT] * 5, dtype="float32")
    function, _ = gradient(case, form)
    value, gradients = function(a, a.copy())
    if case.name in ("dot", "bilinear"):  # whose values at identity are like any others
        assert np.isfinite(value)
        return
    same = 5 if form == "rows" else 25
    assert value == pytest.approx(same if case.name == "cosine" else 0, abs=1e-5)
    for each in gradients:
        # By matrix products equal points may come out a rounding apart, with a direction of its size.
        np.testing.assert_allclose(each, 0, atol=1e-5 if form == "rows" else 1e-2)


@each_form
@each_case
def test_zero_constant_equal_and_opposite_vectors_have_finite_gradients(case, form):
    zero, constant, axis = np.zeros(6), np.full(6, 0.1), np.eye(6)[0]
    a = np.array([zero, POINT, constant, axis, zero], "float32")
    b = np.array([zero, -POINT, constant, POINT, POINT], "float32")
    function, _ = gradient(case, form)
    # Each meets each in the matrix; row by row as listed, and the other way round.
    for x, y in ((a, b), (b, a), (a, a.copy())):
        value, gradients = function(x, y)
        assert np.isfinite(value)
        assert all(np.isfinite(each).all() for each in gradients)


@each_case
def test_a_nan_is_handed_on(case):
    a, b = np.ones((5, 6), "float32"), np.array([POINT] * 5, "float32")
    a[0, 2] = np.nan
    metric = case.metric()
    for values in (metric(a, b)[0], metric(b, a)[0], metric.matrix(a, b)[0], metric.matrix(b, a)[:, 0]):
        assert np.isnan(ops.convert_to_numpy(values)).all()


def test_chebyshevs_gradient_goes_to_the_first_of_equal_coordinates():
    a = np.array([[1.0, -3.0, 3.0, -3.0], [0.0, 0.0, 0.0, 0.0]], "float32")
    _, (by_a, by_b) = value_and_gradient(
        lambda x, y: ops.sum(siamkit.get_metric("chebyshev")(x, y)), a, np.zeros((2, 4), "float32")
    )
    np.testing.assert_array_equal(by_a, [[0, -1, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(by_b, -by_a)


@pytest.mark.parametrize("name", ["angular", "correlation"])
def test_nearly_parallel_vectors_have_a_gradient_of_the_right_size(name, rng):
    # arccos near 1 has none: its argument is rounded, its slope infinite.
    a = rng.normal(size=(1, 8))
    a -= a.mean()
    a /= np.linalg.norm(a)
    aside = rng.normal(size=(1, 8))
    aside -= aside.mean() + (aside @ a.T) * a
    aside /= np.linalg.norm(aside)
    b = a + 1e-3 * aside
    _, (by_a, _) = value_and_gradient(
        lambda x, y: ops.sum(siamkit.get_metric(name)(x, y)), a.astype("float32"), b.astype("float32")
    )
    # The angle, 1e-3, shrinks at rate 1 as a turns towards b; 1 - cos is half its square.
    expected = -aside / np.pi if name == "angular" else -1e-3 * aside
    np.testing.assert_allclose(by_a, expected, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize("scale", [1e-36, 1e-30, 1e30])
@pytest.mark.parametrize("name", ["canberra", "braycurtis"])
def test_a_quotient_of_tiny_or_huge_numbers_has_a_finite_gradient(name, scale, rng):
    a, b = (rng.uniform(1, 2, size=(5, 6)).astype("float32") for _ in range(2))
    metric = siamkit.get_metric(name)
    scale = np.float32(scale)
    value, gradients = value_and_gradient(lambda x, y: ops.sum(metric(x, y)), a * scale, b * scale)
    plain, expected = value_and_gradient(lambda x, y: ops.sum(metric(x, y)), a, b)
    assert value == pytest.approx(plain, rel=1e-5)
    for gradient, true in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient * float(scale), true, rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------- functions


def test_helpers_have_gradient_zero_at_zero():
    zeros = np.zeros((2, 3), dtype="float32")
    for function in (safe_sqrt, absolute, unit, centred, lambda x: quotient(x, x)):
        value, (gradient,) = value_and_gradient(lambda x, f=function: ops.sum(f(x)), zeros)
        assert value == 0
        assert not gradient.any()


def test_centred_vectors_have_mean_zero_and_constant_ones_are_exactly_zero(rng):
    x = np.concatenate([rng.normal(size=(2, 7)) + 1000, np.full((1, 7), 0.1)]).astype("float32")
    got = ops.convert_to_numpy(centred(ops.convert_to_tensor(x)))
    expected = x.astype("float64") - x.astype("float64").mean(axis=1, keepdims=True)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert not got[2].any()
    weight = rng.normal(size=x.shape).astype("float32")
    _, (gradient,) = value_and_gradient(lambda v: ops.sum(centred(v) * ops.convert_to_tensor(weight)), x)
    np.testing.assert_allclose(gradient, weight - weight.mean(axis=1, keepdims=True), atol=1e-6)


def test_a_function_with_the_gradient_of_another_has_it_by_each_argument_also_if_they_are_one_tensor():
    function = with_gradient_of(lambda a, b: a * a * b, lambda a, b: a + 2.0 * b)
    value, (by_a, by_b) = value_and_gradient(lambda a, b: ops.sum(function(a, b)), 3.0, 5.0)
    assert (value, float(by_a), float(by_b)) == (13.0, 30.0, 9.0)  # a + 2b; 2ab, a²
    value, (gradient,) = value_and_gradient(lambda x: ops.sum(function(x, x)), 3.0)
    assert (value, float(gradient)) == (9.0, 27.0)  # 2x² + x²


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX has derivatives forward")
def test_a_function_with_the_gradient_of_another_has_it_forward_and_a_second_one():
    import jax

    function = with_gradient_of(lambda a, b: a * a * b, lambda a, b: a + 2.0 * b)
    value, change = jax.jvp(function, (3.0, 5.0), (1.0, 10.0))
    assert (value, change) == (13.0, 120.0)  # 2ab + 10 a²
    second = jax.hessian(function, argnums=(0, 1))(3.0, 5.0)
    assert np.array(second).tolist() == [[10.0, 6.0], [6.0, 0.0]]  # 2b, 2a; 2a, 0


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX has derivatives forward")
def test_a_loss_of_euclidean_distances_changes_forward_as_its_gradient_says(rng):
    import jax

    labels = np.array([0, 0, 1, 1, 2])
    points, step = rng.normal(size=(2, 5, 4)).astype("float32")
    loss = siamkit.get_loss("contrastive", metric="euclidean", neg_margin=5.0)
    # Compiled as a whole: JAX would compile each operation by itself.
    forward = jax.jit(lambda x, v: jax.jvp(lambda x: loss(labels, x), (x,), (v,)))
    value, change = forward(points, step)
    expected, gradient = jax.jit(jax.value_and_grad(lambda x: loss(labels, x)))(points)
    assert value == pytest.approx(float(expected), rel=1e-6)
    assert float(change) == pytest.approx(float(np.sum(gradient * step)), rel=1e-4)
    squares = siamkit.get_metric("squared_euclidean")
    second = jax.jit(jax.hessian(lambda x: ops.sum(squares.matrix(x, step))))(points)
    np.testing.assert_allclose(np.reshape(second, (20, 20)), 10.0 * np.eye(20), atol=1e-4)  # 2 n I
