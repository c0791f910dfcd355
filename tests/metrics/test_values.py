"""The values of every built-in metric, against SciPy and slow loops, in every type and at awkward points."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from gradients import value_and_gradient
from keras import ops
from metric_references import CASES, LEARNED
from scipy.spatial.distance import cdist

import siamkit
from siamkit.errors import ModelError

pytestmark = pytest.mark.keras

each_case = pytest.mark.parametrize("case", CASES, ids=str)


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
    assert sorted(core) == sorted({case.name for case in CASES})


@pytest.mark.parametrize("seed", range(3))
@each_case
def test_values_are_those_of_the_reference(case, seed):
    rng = np.random.default_rng(seed)
    a, b = case.points(rng, 5, 6), case.points(rng, 8, 6)
    metric, weights = case.built(rng, 6)
    expected = case.reference(a.astype("float64"), b.astype("float64"), *weights)
    assert metric.matrix(a, b).shape == (5, 8)
    np.testing.assert_allclose(numpy(metric.matrix(a, b)), expected, rtol=2e-5, atol=2e-6)
    assert metric(a, b[:5]).shape == (5,)
    np.testing.assert_allclose(numpy(metric(a, b[:5])), np.diag(expected), rtol=2e-5, atol=2e-6)


@each_case
def test_values_lie_in_the_range_that_spec_and_class_state(case, rng):
    spec = siamkit.components().metrics[case.name].spec
    metric = case.metric()
    assert spec.range == metric.range
    assert spec.orientation == metric.orientation
    a = case.points(rng, 5, 6)
    # Same, opposite, parallel, zero and constant vectors.
    b = np.concatenate([a[:2], -a[:2], 3 * a[:2], np.zeros((1, 6)), np.ones((1, 6))]).astype("float32")
    for values in (numpy(metric.matrix(a, b)), numpy(metric(a, b[3:])), numpy(metric(b[3:], a))):
        assert values.min() >= spec.range[0] - 1e-6
        assert values.max() <= spec.range[1] + 1e-6
    assert spec.trainable == bool(metric.trainable_weights)


@each_case
def test_rows_and_matrix_agree_before_build_and_under_mixed_precision(case, rng, bfloat16_policy):
    a, b = case.points(rng, 5, 6), case.points(rng, 5, 6)
    keras.utils.set_random_seed(1)
    rows_first = case.metric()
    rows = rows_first(a, b)
    keras.utils.set_random_seed(1)
    matrix_first = case.metric()
    matrix = matrix_first.matrix(a, b)
    assert keras.backend.standardize_dtype(rows.dtype) == "float32"
    assert keras.backend.standardize_dtype(matrix.dtype) == "float32"
    np.testing.assert_allclose(numpy(rows), np.diag(numpy(matrix)), rtol=1e-5, atol=1e-5)
    # Computed in float32, not rounded to bfloat16's three digits on the way.
    weights = [numpy(v.value) for v in matrix_first.trainable_variables]
    np.testing.assert_allclose(numpy(matrix), case.reference(a, b, *weights), rtol=2e-5, atol=1e-5)
    assert matrix_first.compute_dtype == matrix_first.variable_dtype == "float32"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int32"])
@each_case
def test_inputs_of_other_types_are_computed_in_float32(case, dtype, rng):
    # Small whole numbers are exact in every one of these types.
    a, b = rng.integers(-6, 9, size=(2, 5, 6))
    metric = case.metric()
    tensors = ops.cast(ops.convert_to_tensor(a), dtype), ops.cast(ops.convert_to_tensor(b), dtype)
    matrix = metric.matrix(*tensors)
    expected = np.diag(case.reference(a, b, *[numpy(v.value) for v in metric.trainable_variables]))
    for values in (metric(*tensors), ops.diag(matrix)):
        assert keras.backend.standardize_dtype(values.dtype) == "float32"
        # On the sphere of radius 1 - eps, which Poincaré's are brought to, 1 - eps itself is rounded.
        np.testing.assert_allclose(numpy(values), expected, rtol=5e-5 if case.name == "poincare" else 2e-6)


@each_case
def test_a_batch_of_unknown_size_is_taken(case):
    a, b = keras.KerasTensor((None, 6)), keras.KerasTensor((None, 6))
    assert case.metric()(a, b).shape == (None,)
    assert case.metric().matrix(a, b).shape == (None, None)


# ------------------------------------------------------------------ precision

CLOSE = [
    ("euclidean", 512),
    ("squared_euclidean", 2),
    ("squared_euclidean", 512),
    ("mahalanobis", 512),
    ("correlation", 16),
    ("angular", 16),
    ("snr", 16),
]


@pytest.mark.parametrize(("name", "dim"), CLOSE)
def test_close_points_far_from_the_origin_keep_their_distance(name, dim, rng):
    # |a|² + |b|² - 2ab in float32 errs by 20 % here (pitfalls.md), and much more in 512 dimensions; so do
    # 1 - cos, arccos and var(a) + var(b) - 2 cov.
    centre = rng.normal(size=dim)
    centre *= 30 / np.linalg.norm(centre)
    directions = rng.normal(size=(6, dim))
    directions *= 0.01 / np.linalg.norm(directions, axis=1, keepdims=True)
    a = np.repeat(centre[None], 6, axis=0).astype("float32")
    # One point far from all, so that centring alone does not help.
    b = np.concatenate([(a + directions).astype("float32"), -a[:1]])
    x, y = a.astype("float64"), b.astype("float64")
    squares = cdist(x, y, "sqeuclidean")
    np.testing.assert_allclose(squares[:, :6], 1e-4, rtol=0.3)  # what was meant is what is tested
    cosines = cdist(x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True), "cosine")
    true = {
        "squared_euclidean": squares,
        "correlation": cosines,
        "angular": cdist(*(v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))),
        "snr": np.var(x[:, None] - y[None], axis=2) / np.var(x, axis=1)[:, None],
    }.get(name, np.sqrt(squares))
    if name == "angular":
        true = 2 * np.arcsin(true / 2) / np.pi
    metric = siamkit.get_metric(name)
    np.testing.assert_allclose(numpy(metric.matrix(a, b)), true, rtol=0.03)
    np.testing.assert_allclose(numpy(metric(a, b[:6])), np.diag(true), rtol=0.001)


def test_poincare_keeps_small_distances_and_those_near_the_surface():
    def true(a, b):  # by arsinh in float64
        a, b = a.astype("float64"), b.astype("float64")
        return 2 * np.arcsinh(np.linalg.norm(a - b) / np.sqrt((1 - a @ a) * (1 - b @ b)))

    metric = siamkit.get_metric("poincare", eps=1e-5)
    near = np.array([[0.3, 0.4], [0.3, 0.4001], [0.3001, 0.4]], "float32")
    surface = np.array([[0.9, 0.43], [0.0, 0.999], [0.0, -0.999]], "float32")
    for points, tolerance in ((near, 1e-3), (surface, 1e-4)):
        expected = np.array([[true(p, q) for q in points] for p in points])
        apart = ~np.eye(3, dtype=bool)
        got = numpy(metric.matrix(points, points))
        np.testing.assert_allclose(got[apart], expected[apart], rtol=tolerance)
        np.testing.assert_allclose(numpy(metric(points[:1], points[1:])), expected[0, 1:], rtol=tolerance)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("name", ["cosine", "angular", "minkowski", "chebyshev", "canberra", "braycurtis"])
def test_tiny_and_huge_vectors_keep_what_does_not_depend_on_their_squares(name, scale, rng):
    case = next(case for case in CASES if str(case) in (name, f"{name}-3.0"))
    a, b = case.points(rng, 5, 6), case.points(rng, 5, 6)
    expected = case.reference(a, b)
    scaled = numpy(case.metric()(a * np.float32(scale), b * np.float32(scale)))
    scaled = scaled / scale if name in ("minkowski", "chebyshev") else scaled
    np.testing.assert_allclose(scaled, np.diag(expected), rtol=1e-4)


# ------------------------------------------------------------ stated conventions


def values(name, a, b):
    metric, a, b = siamkit.get_metric(name), np.array([a], "float32"), np.array([b], "float32")
    (row,), ((entry,),) = numpy(metric(a, b)), numpy(metric.matrix(a, b))
    assert entry == pytest.approx(row)
    return row


def test_where_a_formula_says_nothing_the_docstring_does():
    zero, constant, point = [0.0, 0.0, 0.0], [0.1, 0.1, 0.1], [1.0, 2.0, 4.0]
    for a, b in ((zero, point), (point, zero), (zero, zero)):
        assert values("cosine", a, b) == 0
        assert values("angular", a, b) == pytest.approx(0.5)
    for a, b in ((constant, point), (point, constant), (constant, constant), (zero, constant)):
        assert values("correlation", a, b) == pytest.approx(1)
    assert values("snr", constant, point) == pytest.approx(np.var(point))
    assert values("snr", constant, zero) == 0
    assert values("snr", point, constant) == pytest.approx(1)
    assert values("canberra", zero, zero) == 0
    assert values("canberra", [0, 1, 0], [0, 3, 2]) == pytest.approx(1.5)
    assert values("braycurtis", zero, zero) == 0
    assert values("braycurtis", point, [-1.0, -2.0, -4.0]) == pytest.approx(1e6)
    assert values("poincare", [3.0, 0, 0], [0.999, 0, 0]) == pytest.approx(0, abs=1e-3)


def test_snr_is_that_of_pytorch_metric_learning_without_normalisation(rng):
    import torch
    from pytorch_metric_learning.distances import SNRDistance

    a, b = rng.normal(size=(5, 6)), rng.normal(size=(8, 6))
    expected = SNRDistance(normalize_embeddings=False)(torch.tensor(a), torch.tensor(b)).numpy()
    np.testing.assert_allclose(numpy(siamkit.get_metric("snr").matrix(a, b)), expected, rtol=1e-5)


# -------------------------------------------------------------------- weights


@pytest.mark.parametrize("case", LEARNED, ids=str)
def test_fewer_dimensions_are_compared_by_the_leading_weights(case, rng):
    metric, weights = case.built(rng, 6)
    a, b = case.points(rng, 5, 4), case.points(rng, 5, 4)
    # The same as if the missing coordinates were 0.
    padded = [np.pad(x, ((0, 0), (0, 2))).astype("float64") for x in (a, b)]
    expected = case.reference(*padded, *weights)
    np.testing.assert_allclose(numpy(metric.matrix(a, b)), expected, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(numpy(metric(a, b)), np.diag(expected), rtol=2e-5, atol=1e-5)
    with pytest.raises(ModelError, match="weights for embeddings of up to 6 dimensions, got 7"):
        metric(np.zeros((1, 7), "float32"), np.zeros((1, 7), "float32"))


@pytest.mark.parametrize(
    ("name", "params", "like"),
    [
        ("mahalanobis", {}, "euclidean"),
        ("mahalanobis", {"form": "diagonal"}, "euclidean"),
        ("mahalanobis", {"form": "low_rank", "rank": 9}, "euclidean"),  # of at most dim = 6: a rotation
        ("bilinear", {}, "dot"),
        ("weighted_manhattan", {}, "manhattan"),
    ],
)
def test_a_learned_metric_starts_as_the_plain_one(name, params, like, rng):
    a, b = rng.normal(size=(5, 6)), rng.normal(size=(8, 6))
    expected = numpy(siamkit.get_metric(like).matrix(a, b))
    np.testing.assert_allclose(
        numpy(siamkit.get_metric(name, **params).matrix(a, b)), expected, rtol=1e-5, atol=1e-5
    )


def test_a_low_rank_factor_starts_with_distances_right_on_average(rng):
    metric = siamkit.get_metric("mahalanobis", form="low_rank", rank=8)
    a = rng.normal(size=(200, 32))
    ratio = numpy(metric(a, np.zeros_like(a))) ** 2 / (a**2).sum(axis=1)
    assert ratio.mean() == pytest.approx(1, abs=0.15)
    assert metric.factor.shape == (32, 8)


# ----------------------------------------------------------------- evaluation


@pytest.mark.parametrize("name", sorted({case.name for case in CASES}))
def test_embeddings_are_evaluated_by_every_metric(name):
    apart = np.array([[3, 2, 1], [3, 2, 1], [-2, 1, 3], [-2.1, 1, 3], [-2, 1, 3.1]]) / 4
    measures = siamkit.evaluate(np.concatenate([apart, -apart], axis=1), list("aabbb"), metric=name)
    assert measures["map_at_r"] == 1
    assert measures["roc_auc"] == 1
    awkward = np.array([np.zeros(6), np.zeros(6), np.ones(6), -np.ones(6), np.arange(6)])
    assert 0 <= siamkit.evaluate(awkward, list("aabbb"), metric=name)["map_at_r"] <= 1


# ------------------------------------------------------------------ scale

SCALES = (2.0**-90, 2.0**-75, 2.0**-31, 2.0**51, 2.0**65, 2.0**110)
LENGTHS = ("euclidean", "manhattan", "minkowski", "chebyshev", "mahalanobis", "weighted_manhattan")
RATIOS = ("cosine", "angular", "correlation", "canberra", "braycurtis", "snr")


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", LENGTHS + RATIOS)
def test_scale_does_not_matter(name, scale, rng):
    # A power of two changes no digit, so SciPy's values at the usual scale are right at every scale.
    case = next(case for case in CASES if case.name == name)
    a, b = case.points(rng, 5, 6), case.points(rng, 7, 6)
    b[0] = a[0]
    metric, weights = case.built(rng, 6)
    expected = case.reference(a.astype("float64"), b.astype("float64"), *weights)
    small_a, small_b = a * np.float32(scale), b * np.float32(scale)
    size = scale if name in LENGTHS else 1
    for values, true in (
        (metric.matrix(small_a, small_b), expected),
        (metric(small_a, small_b[:5]), np.diag(expected)),
    ):
        np.testing.assert_allclose(numpy(values) / size, true, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ["euclidean", "mahalanobis"])
def test_the_gradient_of_a_length_is_the_same_at_every_scale(name, scale, rng):
    # d(s·a, s·b) = s·d(a, b), so the derivative by s·a is the derivative by a.
    a, b = rng.normal(size=(2, 4, 6)).astype("float32")
    metric = siamkit.get_metric(name)
    metric(a, b)
    for compared, expected in (
        (metric, (a - b) / np.linalg.norm(a - b, axis=1, keepdims=True)),
        (
            metric.matrix,
            ((a[:, None] - b) / np.linalg.norm(a[:, None] - b, axis=2, keepdims=True)).sum(axis=1),
        ),
    ):
        _, (gradient, _) = value_and_gradient(
            lambda x, y, compared=compared: ops.sum(compared(x, y)),
            a * np.float32(scale),
            b * np.float32(scale),
        )
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


def test_small_points_differ_in_the_poincare_ball(rng):
    # Near its centre the ball is flat, of twice Euclid's distance.
    a, b = (rng.normal(size=(4, 6)) * 1e-25 for _ in range(2))
    a, b = a.astype("float32"), b.astype("float32")
    metric, true = siamkit.get_metric("poincare"), 2 * cdist(a * 1e25, b * 1e25)
    np.testing.assert_allclose(numpy(metric.matrix(a, b)) * 1e25, true, rtol=1e-4)
    np.testing.assert_allclose(numpy(metric(a, b)) * 1e25, np.diag(true), rtol=1e-4)
