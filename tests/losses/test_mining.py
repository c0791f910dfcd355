"""Sums over triplets without listing them, against loops over all triplets; and the memory of losses."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
from gradients import value_and_gradient_at_once
from keras import ops
from selection import EVERYTHING

import siamkit
from siamkit.backend.beyond_keras import compiled, compiled_if_eager_compiles, gradient_function
from siamkit.losses import _mining
from siamkit.losses._mining import hinge_over_triplets, over_triplets
from siamkit.registry.catalog import CORE
from siamkit.registry.registry import components

pytestmark = pytest.mark.keras

BATCHES = {
    "few classes": np.repeat([0, 1], [7, 5]),
    "many classes": np.array([0, 1, 2, 3, 0, 1, 4, 5, 6, 7, 8, 0]),
    "one class": np.zeros(6, dtype=int),
    "all distinct": np.arange(6),
    "one item": np.array([3]),
}


def case(labels, ties, weighted=False):
    """Distances `(n, n)`, and the weights of the positives and of the negatives."""
    rng = np.random.default_rng(len(labels))
    n = len(labels)
    values = rng.integers(0, 4, (n, n)) / 2.0 if ties else rng.normal(1.0, 0.5, (n, n))
    same = labels[:, None] == labels[None, :]
    weights = rng.uniform(0.5, 2.0, (n, n)) if weighted else np.ones((n, n))
    return values.astype("float32"), same & ~np.eye(n, dtype=bool), np.where(same, 0.0, weights)


def triplets(positive, negative):
    n = len(positive)
    return (
        (a, p, q, positive[a, p] * negative[a, q])
        for a, p, q in itertools.product(range(n), repeat=3)
        if positive[a, p] and negative[a, q]
    )


def mean_of_hinges(values, positive, negative, margin, semihard):
    """The mean over the triplets above 0, and its gradient by each distance."""
    total, count, gradient = 0.0, 0.0, np.zeros(values.shape)
    for a, p, q, weight in triplets(positive, negative):
        x = float(values[a, p]) - float(values[a, q]) + margin
        if x > 0 and (not semihard or values[a, q] > values[a, p]):
            total, count = total + weight * x, count + weight
            gradient[a, p] += weight
            gradient[a, q] -= weight
    return (total / count, gradient / count) if count else (0.0, gradient)


@pytest.fixture(params=[64, 2], ids="up to {} positives by blocks".format)
def few_positives(request, monkeypatch):
    """How many positives of an anchor are compared by blocks, where sorting is slow."""
    monkeypatch.setattr(_mining, "FEW_POSITIVES", request.param)
    return request.param


@pytest.mark.usefixtures("few_positives")
@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("semihard", [False, True])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("labels", BATCHES)
def test_hinges_over_triplets_are_those_of_a_loop_over_all(labels, ties, semihard, listed, monkeypatch):
    monkeypatch.setattr(_mining, "BLOCK", 300 if listed else _mining.BLOCK)  # two positives at a time
    values, positive, negative = case(BATCHES[labels], ties, weighted=not ties)
    masks = [ops.cast(mask, "float32") for mask in (positive, negative)]
    most = int(positive.sum(axis=1).max(initial=0)) if listed else None

    def hinge(distances, margin):
        return hinge_over_triplets(distances, *masks, margin, semihard, most)

    ours = gradient_function(hinge, 2, (), compiled_if_eager_compiles)
    for margin in np.float32([0.5, 0.0, -0.5, 10.0]):
        expected, slopes = mean_of_hinges(values, positive, negative, margin, semihard)
        got, (gradient, _) = ours(values, margin)
        assert got == pytest.approx(expected, rel=1e-5, abs=1e-6)
        # Where sorted, a weight is a difference of float32 sums.
        np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("few_positives")
@pytest.mark.parametrize("labels", ["few classes", "many classes"])
def test_hinges_over_triplets_are_the_same_compiled_as_in_a_step(labels, monkeypatch):
    monkeypatch.setattr(_mining, "BLOCK", 300)  # two positives at a time, in a loop
    values, positive, negative = case(BATCHES[labels], ties=False)
    masks = [ops.cast(mask, "float32") for mask in (positive, negative)]
    ours = gradient_function(lambda d: hinge_over_triplets(d, *masks, 0.5), 1, (), compiled)
    expected, slopes = mean_of_hinges(values, positive, negative, 0.5, False)
    got, (gradient,) = ours(values)
    assert got == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("few_positives")
def test_a_nan_of_a_pair_that_counts_makes_the_mean_of_hinges_nan_and_an_infinite_distance_does_not():
    values, positive, negative = case(BATCHES["many classes"], ties=False)
    masks = [ops.cast(mask, "float32") for mask in (positive, negative)]
    a, n = np.argwhere(negative)[0]
    values[a, a] = np.nan  # of no pair
    far = values.copy()
    far[a, n] = np.inf
    expected, _ = mean_of_hinges(far, positive, negative, 0.5, False)
    value, (gradient,) = value_and_gradient_at_once(lambda d: hinge_over_triplets(d, *masks, 0.5), far)
    assert value == pytest.approx(expected, rel=1e-5)
    assert np.isfinite(gradient).all()
    values[a, n] = np.nan
    assert np.isnan(float(hinge_over_triplets(ops.convert_to_tensor(values), *masks, 0.5)))


def squares(values, among, positive, negative):
    """Σ w (d(a, p) - 2 d(a, n) + 3 d(p, n))² over triplets, the sum of w and the gradients."""
    total, count, by_value, by_among = 0.0, 0.0, np.zeros(values.shape), np.zeros(values.shape)
    for a, p, q, weight in triplets(positive, negative):
        x = values[a, p] - 2.0 * values[a, q] + 3.0 * among[p, q]
        total, count = total + weight * x**2, count + weight
        by_value[a, p] += 2.0 * weight * x
        by_value[a, q] -= 4.0 * weight * x
        by_among[p, q] += 6.0 * weight * x
    return total, count, by_value, by_among


# One column of positives, two, all references at once; and without a loop: as many columns as a row has
# positives, at once and two at a time.
@pytest.mark.parametrize(
    ("block", "listed"), [(1, False), (300, False), (10**6, False), (10**6, True), (300, True)]
)
@pytest.mark.parametrize("labels", BATCHES)
def test_sums_over_triplets_are_those_of_a_loop_whatever_the_size_of_a_block(
    labels, block, listed, monkeypatch
):
    monkeypatch.setattr(_mining, "BLOCK", block)
    values, positive, negative = case(BATCHES[labels], ties=False, weighted=True)
    among = case(BATCHES[labels], ties=True)[0]
    total, count, *slopes = squares(values, among, positive, negative)
    far_weight = ops.cast(negative, "float32")[:, None, :]
    most = int((positive > 0).sum(axis=1).max(initial=0)) if listed else None

    def term(weight, near, far, between):
        weight = weight * far_weight
        return ops.sum(weight * (near - 2.0 * far + 3.0 * between) ** 2), ops.sum(weight)

    def both(values, among):
        result = over_triplets(term, ops.cast(positive, "float32"), values, among, most=most)
        return result[0] + 1000.0 * ops.stop_gradient(result[1])

    got, gradients = value_and_gradient_at_once(both, values, among)
    assert got == pytest.approx(total + 1000.0 * count, rel=1e-5)
    for gradient, slope in zip(gradients, slopes, strict=True):
        np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-4)


BLOCKWISE = [
    ("angular", {}),
    ("dynamic_soft_margin", {}),
    ("pnp", {"variant": "Dq"}),
    *[("triplet", {"smooth_loss": True, "mining": mining}) for mining in ("all", "semihard")],
    ("triplet", {"swap": True, "margin": 0.5}),
]


@pytest.mark.parametrize(
    ("name", "params"), BLOCKWISE, ids=[f"{n}-{i}" for i, (n, _) in enumerate(BLOCKWISE)]
)
def test_a_loss_is_the_same_by_blocks_as_at_once(name, params, monkeypatch):
    labels = BATCHES["few classes"]
    points = np.random.default_rng(1).normal(size=(len(labels), 4)).astype("float32")
    results = []
    sizes = _mining.TripletSumLoss.size_of
    for block, size_of in ((10**6, sizes), (10**6, lambda *_: None), (300, sizes)):
        monkeypatch.setattr(_mining, "BLOCK", block)
        monkeypatch.setattr(_mining.TripletSumLoss, "size_of", size_of)
        metric = "cosine" if name in ("angular", "pnp") else "euclidean"
        loss = siamkit.get_loss(name, metric=metric, **params)
        results.append(value_and_gradient_at_once(lambda x, loss=loss: loss(labels, x), points))
    (value, (gradient,)), *others = results
    assert value > 0
    for other, (other_gradient,) in others:
        assert other == pytest.approx(value, rel=1e-5)
        np.testing.assert_allclose(other_gradient, gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.one_backend("tensorflow")
@pytest.mark.parametrize(
    ("name", "params", "jit_compile"),
    [
        ("angular", {}, False),
        ("dynamic_soft_margin", {}, False),
        ("pnp", {}, False),
        ("triplet", {"swap": True}, False),
        ("triplet", {}, True),
        *([("triplet", {}, False)] if EVERYTHING else []),
    ],
    ids=str,
)
def test_a_batch_whose_size_tensorflow_does_not_know_has_the_same_loss(name, params, jit_compile):
    import tensorflow as tf

    labels = tf.constant(BATCHES["few classes"])
    points = tf.constant(np.random.default_rng(1).normal(size=(len(labels), 4)), "float32")

    def both():
        metric = "cosine" if name in ("angular", "pnp") else "euclidean"
        loss = siamkit.get_loss(name, metric=metric, **params)

        def call(labels, points):
            with tf.GradientTape() as tape:
                tape.watch(points)
                value = loss(labels, points)
            return value, tape.gradient(value, points)

        return call

    signature = [tf.TensorSpec([None], labels.dtype), tf.TensorSpec([None, 4], "float32")]
    unknown = tf.function(both(), input_signature=signature, jit_compile=jit_compile)
    for got, expected in zip(unknown(labels, points), both()(labels, points), strict=True):
        assert np.any(expected)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------ memory


def over_labels():
    """All losses over the pairs of a labeled batch at their defaults, and those of other code paths."""
    for entry in components().catalog("loss").all():
        spec = entry.spec
        wraps_or_has_classes = "loss" in spec.params or "num_classes" in spec.needs
        if entry.origin.distribution == CORE and "labels" in spec.supervision and not wraps_or_has_classes:
            yield spec.name, {}
    yield from ((name, {"mining": mining}) for mining in _mining.MINING[1:] for name in ("margin", "triplet"))
    yield from BLOCKWISE


def sizes(jaxpr):
    """The numbers in each array of a JAX program, and of the programs inside it."""
    from jax.extend.core import jaxprs_in_params

    for equation in jaxpr.eqns:
        yield from (int(np.prod(variable.aval.shape)) for variable in equation.outvars)
        for inner in jaxprs_in_params(equation.params):
            yield from sizes(inner)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX shows the shape of each array of a program")
@pytest.mark.parametrize(("name", "params"), list(over_labels()), ids=str)
def test_no_loss_needs_memory_for_the_cube_of_the_batch(name, params):
    import jax

    similarity = components().find("loss", name).spec.orientation == "similarity"
    loss = siamkit.get_loss(name, metric="cosine" if similarity else "euclidean", **params)
    n, dim = 1024, 8
    labels = np.arange(n) % 7
    loss(labels[:2], np.zeros((2, dim), "float32"))  # makes its weights
    program = jax.make_jaxpr(jax.grad(lambda x: loss(labels, x)))(np.zeros((n, dim), "float32"))
    assert max(sizes(program.jaxpr)) <= 16 * n * n


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("name", "params"), [*BLOCKWISE, ("triplet", {}), ("triplet", {"mining": "semihard"})]
)
@pytest.mark.parametrize(("n", "most"), [(64, 4), (1024, 2)])  # at once, and one after the other
def test_few_positives_are_compared_with_the_memory_of_a_few_matrices(name, params, n, most):
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            several = result if isinstance(result, (tuple, list)) else [result]
            largest = max(largest, *(each.numel() for each in several if isinstance(each, torch.Tensor)), 0)
            return result

    with keras.device("cpu:0"):  # elsewhere the host does not know the labels
        loss = siamkit.get_loss(name, metric="cosine", **params)
        labels = torch.arange(n, dtype=torch.int32) // 4
        points = np.random.default_rng(2).normal(size=(n, 8)).astype("float32")
        loss(labels[:4], points[:4])  # builds the metric: later calls know the largest class
        with Counting():
            loss(labels, torch.tensor(points).requires_grad_()).backward()
    assert n * n <= largest <= most * n * n


def test_a_loss_that_was_called_itself_takes_other_sizes_of_classes_inside_another_loss():
    embeddings = np.random.default_rng(7).normal(size=(12, 4)).astype("float32")
    pairs, classes = np.repeat(np.arange(6), 2), np.repeat(np.arange(2), 6)
    inner = siamkit.get_loss("angular", metric="cosine")
    for _ in range(2):  # the first call builds the metric
        inner(pairs, embeddings)
    around = siamkit.get_loss("weighted_sum", metric="cosine", first=inner, second="angular", weight=1.0)
    expected = 2 * float(siamkit.get_loss("angular", metric="cosine")(classes, embeddings))
    np.testing.assert_allclose(float(around(classes, embeddings)), expected, rtol=1e-5)
