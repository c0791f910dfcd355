"""Metrics as objects: by name, from their config, read as distances; and the functions they are made of."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from gradients import value_and_gradient
from keras import ops
from metric_references import CASES, LEARNED
from scipy.spatial.distance import cdist

import siamkit
from siamkit.errors import ComponentError
from siamkit.evaluation.neighbors import is_shallow, nearest_neighbors
from siamkit.metrics.base import Metric, quotient, squared_distances, unit

pytestmark = pytest.mark.keras


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def numpy(x):
    return np.asarray(ops.convert_to_numpy(x), dtype="float64")


# ------------------------------------------------------------------- functions


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


@pytest.mark.parametrize("y", [1.0, 1e-30, 1e-37, 1e30, 1e37])
def test_a_quotient_keeps_float32s_whole_range(y):
    x = np.float32(y) / 4
    value, (by_x, by_y) = value_and_gradient(lambda p, q: quotient(p, q), x, np.float32(y))
    assert value == pytest.approx(0.25)
    assert by_x * y == pytest.approx(1)
    assert by_y * y == pytest.approx(-0.25)


# -------------------------------------------------------------------- learned


@pytest.mark.parametrize(
    ("name", "params", "shapes"),
    [
        ("mahalanobis", {}, {"factor": (6, 6)}),
        ("mahalanobis", {"form": "diagonal"}, {"factor": (6,)}),
        ("mahalanobis", {"form": "low_rank", "rank": 2}, {"factor": (6, 2)}),
        ("mahalanobis", {"form": "low_rank"}, {"factor": (6, 6)}),
        ("bilinear", {}, {"kernel": (6, 6)}),
        ("weighted_manhattan", {}, {"raw_weights": (6,)}),
    ],
)
def test_the_weights_of_a_learned_metric_are_trainable_and_of_these_shapes(name, params, shapes):
    metric = siamkit.get_metric(name, **params)
    metric(np.zeros((2, 6), "float32"), np.zeros((2, 6), "float32"))
    assert {v.name: tuple(v.shape) for v in metric.trainable_variables} == shapes
    assert not metric.non_trainable_variables


def test_learned_metrics_learn_in_fit(rng):
    a, b = (rng.normal(size=(5, 6)).astype("float32") for _ in range(2))
    x, y = keras.Input((6,)), keras.Input((6,))
    model = keras.Model([x, y], [siamkit.get_metric(each.name, **each.params)(x, y) for each in LEARNED])
    before = {v.path: numpy(v.value) for v in model.trainable_variables}
    assert len(before) == len(LEARNED)
    model.compile(keras.optimizers.SGD(0.01), ["mse"] * len(LEARNED))
    model.fit([a, b], [np.zeros(5)] * len(LEARNED), verbose=0)
    for variable in model.trainable_variables:
        assert np.isfinite(numpy(variable.value)).all()
        assert not np.allclose(before[variable.path], numpy(variable.value), atol=1e-5)


def test_the_weights_of_weighted_manhattan_stay_positive():
    metric = siamkit.get_metric("weighted_manhattan")
    a, b = np.ones((1, 2), "float32"), np.zeros((1, 2), "float32")
    metric(a, b)
    metric.raw_weights.assign([-30.0, -50.0])
    assert 0 < numpy(metric(a, b))[0] < 1e-12


# ----------------------------------------------------------- objects and names


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_metric_comes_back_from_its_config(case, rng):
    a, b = case.points(rng, 5, 6), case.points(rng, 5, 6)
    metric, _ = case.built(rng, 6)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(again) is type(metric)
    assert again.get_config() == metric.get_config()
    assert case.params.items() <= again.get_config().items()
    again(a, b)
    again.set_weights(metric.get_weights())
    np.testing.assert_array_equal(numpy(again(a, b)), numpy(metric(a, b)))


def test_a_similarity_is_read_as_a_distance_from_its_bound():
    assert siamkit.get_metric("cosine").as_distance(np.array([1.0, -1.0])).tolist() == [0.0, 2.0]
    assert siamkit.get_metric("euclidean").as_distance(np.array([1.5])).tolist() == [1.5]
    assert siamkit.get_metric("dot").as_distance(np.array([3.0])).tolist() == [-3.0]
    assert siamkit.get_metric("dot").sign == -1


def test_a_metric_of_ones_own_needs_no_more_than_rows():
    class Largest(Metric):
        def paired(self, a, b):
            return ops.max(ops.abs(a - b), axis=-1)

    a, b = np.array([[0.0, 0.0], [1.0, 5.0]]), np.array([[2.0, -3.0]])
    np.testing.assert_allclose(numpy(Largest().matrix(a, b)), cdist(a, b, "chebyshev"))


@pytest.mark.parametrize(
    ("given", "params", "words"),
    [
        ("euklidean", {}, "unknown metric 'euklidean'; did you mean 'euclidean'"),
        ("cosine", {"axis": 1}, "metric 'cosine' has no parameter 'axis'"),
        ("minkowski", {"p": 0.5}, "p of metric 'minkowski' should be at least 1, got 0.5"),
        ("poincare", {"eps": 2}, "eps of metric 'poincare' should be from 1e-06 to 0.5, got 2"),
        ("mahalanobis", {"form": "half"}, "should be one of full, diagonal, low_rank, got 'half'"),
        ("mahalanobis", {"rank": 0}, "rank of metric 'mahalanobis' should be at least 1, got 0"),
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


# ------------------------------------------------------------------- points


@pytest.mark.parametrize("name", ["cosine", "dot", "euclidean", "squared_euclidean", "mahalanobis"])
@pytest.mark.parametrize("on_device", [False, True])
def test_metrics_order_items_as_their_points_do(name, on_device, monkeypatch):
    monkeypatch.setattr("siamkit.evaluation.neighbors.on_accelerator", lambda: on_device)
    monkeypatch.setattr("siamkit.evaluation.candidates.DEVICE_QUERIES", 8)
    monkeypatch.setattr("siamkit.evaluation.candidates.SEGMENT", 110)
    metric = siamkit.get_metric(name)
    assert metric.ordered_by == ("product" if name in ("cosine", "dot") else "distance")
    x = np.random.default_rng(1).normal(size=(300, 6)).astype("float32")
    metric(x[:1], x[:1])
    if name == "mahalanobis":
        metric.set_weights([np.random.default_rng(2).normal(size=(6, 6))])
    assert is_shallow(metric, 8, 300)
    itself = np.arange(20)
    indices, values = nearest_neighbors(x[:20], x, metric, 8, exclude=itself)
    whole = numpy(metric.matrix(x[:20], x))
    whole = whole if metric.orientation == "distance" else -whole
    whole[itself, itself] = np.inf
    np.testing.assert_array_equal(indices, np.argsort(whole, axis=1, kind="stable")[:, :8])
    expected = np.take_along_axis(np.abs(whole), indices, axis=1)
    np.testing.assert_allclose(np.abs(values), expected, rtol=1e-4, atol=1e-5)
