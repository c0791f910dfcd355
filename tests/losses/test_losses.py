"""What all losses share, shown on some: formulas by NumPy loops, awkward batches, labels, weights, words."""

from __future__ import annotations

import itertools
import warnings

import keras
import numpy as np
import pytest
from gradients import value_and_gradient
from keras import ops
from parity import EAGER
from scipy.special import logsumexp

import siamkit
from siamkit.errors import ComponentError, ModelError
from siamkit.registry.compatibility import metric_misfit

pytestmark = pytest.mark.keras

FACTOR = np.array([[1.0, 0.3, 0, 0], [0, 0.8, 0.2, 0], [-0.4, 0, 1.1, 0], [0, 0.1, 0, 0.9]])
# The backends that compile each shape anew are asked about a distance and a similarity, torch about all.
METRICS = (
    ("euclidean", "squared_euclidean", "cosine", "manhattan", "mahalanobis")
    if EAGER
    else ("euclidean", "cosine")
)
LABELS = np.array([0, 0, 1, 1, 2, 0])  # 2 is on its own


# ------------------------------------------------- the formulas, one pair at a time


def distance(metric, a, b):
    """Low means alike; 1 - s for cosine."""
    if metric == "euclidean":
        return np.linalg.norm(a - b)
    if metric == "squared_euclidean":
        return np.sum((a - b) ** 2)
    if metric == "manhattan":
        return np.sum(np.abs(a - b))
    if metric == "mahalanobis":
        return np.linalg.norm((a - b) @ FACTOR)
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return 1 - (a @ b / norms if norms else 0.0)


def similarity(metric, a, b):
    """High means alike: s itself, or minus the distance."""
    return 1 - distance(metric, a, b) if metric == "cosine" else -distance(metric, a, b)


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def mean_of_active(values):
    return mean(v for v in values if v > 1e-14)  # float64's rounding is not active


def rows_of_views(embeddings):
    """Views as items labelled by their row."""
    if embeddings.ndim == 2:
        return None, embeddings
    n, v, dim = embeddings.shape
    return np.repeat(np.arange(n), v), embeddings.reshape(n * v, dim)


def contrastive(y, e, metric, neg_margin=1.0, pos_margin=0.0, power=2.0):
    def pull(d):
        return max(d - pos_margin, 0) ** power

    def push(d):
        return max(neg_margin - d, 0) ** power

    if e.ndim == 3:
        return mean(
            (pull if same else push)(distance(metric, a, b)) for same, (a, b) in zip(y, e, strict=True)
        )
    pairs = list(itertools.permutations(range(len(e)), 2))
    return mean_of_active(
        pull(distance(metric, e[i], e[j])) for i, j in pairs if y[i] == y[j]
    ) + mean_of_active(push(distance(metric, e[i], e[j])) for i, j in pairs if y[i] != y[j])


def triplet(y, e, metric, margin=0.05, mining="all"):
    if e.ndim == 3:
        return mean(max(distance(metric, a, p) - distance(metric, a, n) + margin, 0) for a, p, n in e)
    values = []
    for a in range(len(e)):
        near = [distance(metric, e[a], e[p]) for p in range(len(e)) if p != a and y[p] == y[a]]
        far = [distance(metric, e[a], e[n]) for n in range(len(e)) if y[n] != y[a]]
        if mining == "hard":
            near, far = near and [max(near)], far and [min(far)]
        for p, n in itertools.product(near, far):
            if mining != "semihard" or p < n < p + margin:
                values.append(p - n + margin)
    return mean_of_active(values)


def cosine_mse(y, e, metric):
    return mean((similarity(metric, a, b) - target) ** 2 for target, (a, b) in zip(y, e, strict=True))


def nt_xent(y, e, metric, temperature=0.07):
    labels, e = rows_of_views(e)
    y = y if labels is None else labels
    values = []
    for a, p in itertools.permutations(range(len(e)), 2):
        if y[a] == y[p]:
            logits = [similarity(metric, e[a], e[p]) / temperature]
            logits += [similarity(metric, e[a], e[n]) / temperature for n in range(len(e)) if y[n] != y[a]]
            values.append(logsumexp(logits) - logits[0])
    return mean(values)


def multi_similarity(y, e, metric, alpha=2.0, beta=50.0, base=0.5):
    labels, e = rows_of_views(e)
    y = y if labels is None else labels
    base = base if metric == "cosine" else -base  # a value on the metric's own axis
    values = []
    for a in range(len(e)):
        s = {i: similarity(metric, e[a], e[i]) for i in range(len(e)) if i != a}
        pull = [0.0] + [-alpha * (s[i] - base) for i in s if y[i] == y[a]]
        push = [0.0] + [beta * (s[i] - base) for i in s if y[i] != y[a]]
        values.append(logsumexp(pull) / alpha + logsumexp(push) / beta)
    return mean(values)


def proxy_anchor(y, e, metric, proxies, margin=0.1, alpha=32.0):
    pulls, pushes = [], []
    for c, proxy in enumerate(proxies):
        s = [similarity(metric, x, proxy) for x in e]
        positive = [-alpha * (v - margin) for v, label in zip(s, y, strict=True) if label == c]
        negative = [alpha * (v + margin) for v, label in zip(s, y, strict=True) if label != c]
        if positive:
            pulls.append(logsumexp([0.0, *positive]))
        pushes.append(logsumexp([0.0, *negative]))
    return mean(pulls) + mean(pushes)


FORMULAS = {
    f.__name__: f for f in (contrastive, triplet, cosine_mse, nt_xent, multi_similarity, proxy_anchor)
}

CASES = [
    ("contrastive", "pairs", {"neg_margin": 3.0, "pos_margin": 0.25}),
    ("contrastive", "pairs", {"neg_margin": 3.0, "power": 1.5}),
    ("contrastive", "labels", {"neg_margin": 3.0}),
    ("contrastive", "labels", {"neg_margin": 3.0, "power": 1.0}),
    ("triplet", "triplets", {"margin": 1.0}),
    ("triplet", "labels", {"margin": 0.5}),
    ("triplet", "labels", {"margin": 0.5, "mining": "hard"}),
    ("triplet", "labels", {"margin": 2.0, "mining": "semihard"}),
    ("cosine_mse", "scores", {}),
    ("nt_xent", "labels", {"temperature": 0.5}),
    ("nt_xent", "views", {"temperature": 0.5}),
    ("multi_similarity", "labels", {"alpha": 2.0, "beta": 10.0}),
    ("multi_similarity", "views", {"alpha": 2.0, "beta": 10.0}),
    ("proxy_anchor", "labels", {"alpha": 8.0}),
]
BY_LABELS = [case for case in CASES if case[1] == "labels"]
BY_ROW = [case for case in CASES if case[1] in ("pairs", "triplets", "scores")]


def fitting(cases):
    """Every case with every metric that its loss fits."""
    registry = siamkit.components()
    return [
        pytest.param(name, supervision, params, metric, id=f"{name}-{supervision}-{metric}-{i}")
        for i, (name, supervision, params) in enumerate(cases)
        for metric in METRICS
        if metric_misfit(registry.losses[name].spec, registry.metrics[metric].spec) is None
    ]


def made(name, metric, **params):
    """A loss ready to be called: its metric, and its proxies if it has any, built and set."""
    needs = {"num_classes": 6} if name == "proxy_anchor" else {}
    loss = siamkit.get_loss(name, metric=metric, **params, **needs)
    probe = np.zeros((1, 4), dtype="float32")
    loss.metric(probe, probe)
    if metric == "mahalanobis":
        loss.metric.factor.assign(FACTOR)
    if loss.state is not None:
        loss.state(probe)
        loss.state.proxies.assign(np.random.default_rng(9).normal(size=(6, 4)))
    return loss


def number(x):
    return float(ops.convert_to_numpy(x))


def proxies_of(loss):
    return [] if loss.state is None else [loss.state.proxies]


def formula(loss, name, params, metric):
    """The loop over float64, of the embeddings and then of the proxies if there are any."""

    def function(y, e, *proxies):
        return FORMULAS[name](y, e, metric, *proxies, **params)

    return function


def batch(supervision):
    rng = np.random.default_rng(5)
    shape, y = {
        "labels": ((6, 4), LABELS),
        "pairs": ((3, 2, 4), np.array([1, 0, 1])),
        "scores": ((3, 2, 4), np.array([0.9, -0.2, 0.4])),
        "triplets": ((2, 3, 4), None),
        "views": ((3, 2, 4), None),
    }[supervision]
    return y, rng.normal(size=shape)


def slopes(function, *points, h=1e-5):
    """Central differences of a function of float64 arrays."""
    results = []
    for k, point in enumerate(points):
        result = np.zeros_like(point)
        for index in np.ndindex(point.shape):
            ends = []
            for sign in (1, -1):
                moved = [p.copy() for p in points]
                moved[k][index] += sign * h
                ends.append(function(*moved))
            result[index] = (ends[0] - ends[1]) / (2 * h)
        results.append(result)
    return results


# ------------------------------------------------------------------ value and gradient


@pytest.mark.parametrize(("name", "supervision", "params", "metric"), fitting(CASES))
def test_value_and_gradient_are_those_of_the_formula(name, supervision, params, metric):
    y, e = batch(supervision)
    loss = made(name, metric, **params)
    points = [e, *(np.asarray(ops.convert_to_numpy(p), "float64") for p in proxies_of(loss))]
    value, gradients = value_and_gradient(
        lambda x: loss(y, x), e.astype("float32"), variables=proxies_of(loss)
    )
    function = formula(loss, name, params, metric)
    expected = function(y, *points)
    assert expected > 0  # the case tests something
    assert value == pytest.approx(expected, rel=1e-4)
    for got, slope in zip(gradients, slopes(lambda *p: function(y, *p), *points), strict=True):
        assert np.any(slope)
        np.testing.assert_allclose(got, slope, rtol=2e-3, atol=2e-4 * max(1.0, np.abs(slope).max()))


# ------------------------------------------------------------------ awkward batches

SAME = np.zeros(6, dtype=int)
EDGES = {
    "one item": (np.array([1]), lambda e: e[:1]),
    "one class": (SAME, lambda e: e),
    "a singleton": (np.array([0, 0, 0, 0, 0, 1]), lambda e: e),
    "all distinct": (np.arange(6), lambda e: e),
    "identical rows": (LABELS, lambda e: np.repeat(e[:1], 6, axis=0)),
    "identical rows of one class": (SAME, lambda e: np.repeat(e[:1], 6, axis=0)),
    "a positive on its anchor": (LABELS, lambda e: np.concatenate([e[:1], e[:1], e[2:]])),
    "a negative on its anchor": (LABELS, lambda e: np.concatenate([e[:2], e[:1], e[3:]])),
    "a zero row": (LABELS, lambda e: np.concatenate([e[:3], 0 * e[:1], e[4:]])),
    "all zero": (LABELS, lambda e: 0 * e),
}


@pytest.mark.parametrize("metric", ["euclidean", "cosine"] if EAGER else ["euclidean"])
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize(
    ("name", "supervision", "params"), BY_LABELS, ids=[f"{c[0]}-{i}" for i, c in enumerate(BY_LABELS)]
)
def test_awkward_batches_have_the_formulas_value_and_a_finite_gradient(
    name, supervision, params, metric, edge
):
    y, change = EDGES[edge]
    e = change(batch("labels")[1])
    loss = made(name, metric, **params)
    value, gradients = value_and_gradient(
        lambda x: loss(y, x), e.astype("float32"), variables=proxies_of(loss)
    )
    proxies = [np.asarray(ops.convert_to_numpy(p), "float64") for p in proxies_of(loss)]
    expected = formula(loss, name, params, metric)(y, e, *proxies)
    if expected == 0:
        assert value == 0
        assert not any(g.any() for g in gradients)
    assert value == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert all(np.isfinite(g).all() for g in gradients)


NOTHING = [
    # Without a positive, or without a negative, there is no triplet and no softmax to lose.
    *[
        (name, params, edge)
        for name, _, params in BY_LABELS
        if name in ("triplet", "nt_xent")
        for edge in ("one item", "one class", "all distinct")
    ],
    *[
        (name, params, "one item")
        for name, _, params in BY_LABELS
        if name in ("contrastive", "multi_similarity")
    ],
    ("contrastive", {}, "identical rows of one class"),
]


@pytest.mark.parametrize(("name", "params", "edge"), NOTHING)
def test_the_loss_is_exactly_zero_where_there_is_nothing_to_learn(name, params, edge):
    y, change = EDGES[edge]
    loss = made(name, "euclidean", **params)
    value, (gradient,) = value_and_gradient(
        lambda x: loss(y, x), change(batch("labels")[1]).astype("float32")
    )
    assert value == 0.0
    assert not gradient.any()


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize(("name", "supervision", "params"), BY_ROW, ids=[f"{c[0]}-{c[1]}" for c in BY_ROW])
def test_rows_of_identical_or_zero_embeddings_have_finite_gradients(name, supervision, params, metric):
    if name == "cosine_mse" and metric != "cosine":
        pytest.skip("needs a similarity")
    y, e = batch(supervision)
    e[0] = e[0, :1]
    e[-1] = 0
    loss = made(name, metric, **params)
    value, (gradient,) = value_and_gradient(lambda x: loss(y, x), e.astype("float32"))
    assert value == pytest.approx(FORMULAS[name](y, e, metric, **params), rel=1e-4)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("metric", ["euclidean", "squared_euclidean", "cosine"])
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("nt_xent", {"temperature": 0.01}),
        ("multi_similarity", {"alpha": 10.0, "beta": 80.0}),
        ("proxy_anchor", {"alpha": 64.0}),
    ],
)
def test_sharp_exponentials_neither_overflow_nor_lose_their_value(name, params, metric, scale):
    y, e = batch("labels")
    e = e * scale
    loss = made(name, metric, **params)
    value, gradients = value_and_gradient(
        lambda x: loss(y, x), e.astype("float32"), variables=proxies_of(loss)
    )
    proxies = [np.asarray(ops.convert_to_numpy(p), "float64") for p in proxies_of(loss)]
    assert value == pytest.approx(formula(loss, name, params, metric)(y, e, *proxies), rel=1e-4)
    assert all(np.isfinite(g).all() for g in gradients)


HALVES = [(case, "float16") for case in CASES] + [(case, "bfloat16") for case in BY_ROW]


@pytest.mark.parametrize(
    ("case", "dtype"), HALVES, ids=[f"{h[0][0]}-{i}-{h[1]}" for i, h in enumerate(HALVES)]
)
def test_embeddings_of_half_precision_are_computed_in_float32(case, dtype):
    name, supervision, params = case
    y, e = batch(supervision)
    half = ops.cast(ops.convert_to_tensor(e.astype("float32")), dtype)
    whole = ops.cast(half, "float32")
    loss = made(name, "cosine", **params)
    assert keras.backend.standardize_dtype(loss(y, half).dtype) == "float32"
    assert number(loss(y, half)) == pytest.approx(number(loss(y, whole)), rel=1e-6)
    _, (gradient,) = value_and_gradient(lambda x: loss(y, x), half)
    assert np.isfinite(gradient).all()
    assert gradient.any()


# -------------------------------------------------------------------------- labels

RENAMED = {
    "column": lambda y: y[:, None],
    "list": list,
    "float": lambda y: y.astype("float64"),
    "int8": lambda y: y.astype("int8"),
    "not contiguous": lambda y: y * 1000 - 77,
    "adjacent beyond float32": lambda y: y + 2**24,
    "at the end of int32": lambda y: y + 2**31 - 3,
    "huge": lambda y: y.astype("int64") + 2**40,
    "alike in their low half": lambda y: y.astype("int64") * 2**32,
    "from the smallest": lambda y: y.astype("int64") + np.iinfo("int64").min,
    "unsigned": lambda y: y.astype("uint64") + np.uint64(2**63),
    "strings": lambda y: np.array(["cat", "dog", "heron"])[y],
    "a list of strings": lambda y: [("cat", "dog", "heron")[each] for each in y],
    "objects": lambda y: np.array(["cat", "dog", "heron"], dtype=object)[y],
}


@pytest.mark.parametrize("rename", RENAMED)
def test_labels_of_any_type_mean_only_who_is_alike(rename):
    y, e = batch("labels")
    loss = made("multi_similarity", "euclidean")
    e = e.astype("float32")
    assert number(loss(RENAMED[rename](y), e)) == pytest.approx(number(loss(y, e)), rel=1e-6)


# ------------------------------------------------------------------ sample weights


@pytest.mark.parametrize(("name", "supervision", "params"), BY_ROW, ids=[f"{c[0]}-{c[1]}" for c in BY_ROW])
def test_sample_weights_make_a_weighted_mean_of_the_rows(name, supervision, params):
    y, e = batch(supervision)
    weights = np.array([0.5, 2.0, 0.0])[: len(e)]
    loss = made(name, "cosine", **params)
    single = [
        FORMULAS[name](None if y is None else y[i : i + 1], e[i : i + 1], "cosine", **params)
        for i in range(len(e))
    ]
    expected = np.average(single, weights=weights)
    for given in (weights, weights[:, None]):
        assert number(loss(y, e, sample_weight=given)) == pytest.approx(expected, rel=1e-4)
    assert float(loss(y, e, sample_weight=np.ones(len(e)))) == pytest.approx(np.mean(single), rel=1e-4)
    assert float(loss(y, e, sample_weight=np.zeros(len(e)))) == 0


@pytest.mark.parametrize(
    ("name", "supervision", "params"),
    [c for c in CASES if c not in BY_ROW],
    ids=[f"{c[0]}-{c[1]}-{i}" for i, c in enumerate(CASES) if c not in BY_ROW],
)
def test_losses_that_couple_the_batch_refuse_a_sample_weight(name, supervision, params):
    y, e = batch(supervision)
    with pytest.raises(ModelError, match="with one another, so a sample weight has no meaning"):
        made(name, "cosine", **params)(y, e, sample_weight=np.ones(len(e)))


# ------------------------------------------------------------------------- proxies


def test_proxies_are_one_for_each_class_and_spread_as_kaiming():
    state = siamkit.get_loss("proxy_anchor", num_classes=50, metric="cosine").state
    assert state(np.zeros((1, 200), dtype="float32")).shape == (50, 200)
    spread = np.std(np.asarray(ops.convert_to_numpy(state.proxies)))
    assert spread == pytest.approx(np.sqrt(2 / 50), rel=0.05)


def test_a_class_absent_from_the_batch_only_pushes():
    loss = made("proxy_anchor", "cosine")
    y, e = np.array([0, 0]), batch("labels")[1][:2]
    proxies = np.asarray(ops.convert_to_numpy(loss.state.proxies), "float64")
    assert number(loss(y, e)) == pytest.approx(proxy_anchor(y, e, "cosine", proxies), rel=1e-4)


# --------------------------------------------------------------- objects and words


@pytest.mark.parametrize(
    ("name", "supervision", "params"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)]
)
def test_a_loss_comes_back_from_its_config(name, supervision, params):
    loss = made(name, "cosine", **params)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    assert params.items() <= again.get_config().items()
    with pytest.raises(ModelError, match="has no metric"):  # bound, and not part of the config
        _ = again.metric


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: siamkit.get_loss("tripplet"), "unknown loss 'tripplet'; did you mean 'triplet'"),
        (
            lambda: siamkit.get_loss("triplet", marign=1),
            "loss 'triplet' has no parameter 'marign'; did you mean 'margin'",
        ),
        (
            lambda: siamkit.get_loss("triplet", margin="1"),
            "margin of loss 'triplet' should be a finite number, got '1'",
        ),
        (
            lambda: siamkit.get_loss("triplet", mining="soft"),
            "mining of loss 'triplet' should be one of all, hard, semi",
        ),
        (
            lambda: siamkit.get_loss("nt_xent", temperature=0),
            "temperature of loss 'nt_xent' should be at least 1e-06",
        ),
        (
            lambda: siamkit.get_loss("contrastive", power=0.5),
            "power of loss 'contrastive' should be at least 1",
        ),
        (
            lambda: siamkit.get_loss("proxy_anchor"),
            "the loss 'proxy_anchor' is missing the argument num_classes",
        ),
        (
            lambda: siamkit.get_loss("cosine_mse", metric="euclidean"),
            "'cosine_mse' needs a similarity, but the metric 'euclidean' is a distance; cosine.* would fit",
        ),
        (lambda: siamkit.get_loss(3), r"a loss is given by name or as a keras.Loss, got 3"),
        (
            lambda: siamkit.get_loss({"triplet": {}, "nt_xent": {}}),
            "a loss with parameters is one name with a mapping",
        ),
    ],
)
def test_a_bad_loss_is_refused_in_one_sentence(make, words):
    with pytest.raises(ComponentError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "y", "shape", "words"),
    [
        ("triplet", None, (6, 4), "triplet learns from class labels, but got none"),
        (
            "triplet",
            None,
            (6, 2, 4),
            r"triplet takes embeddings of 3 views, \(batch, 3, dim\), got shape \(6, 2, 4\)",
        ),
        ("contrastive", None, (6, 2, 4), "contrastive needs one target per pair"),
        ("contrastive", [1] * 6, (6, 3, 4), "contrastive takes embeddings of 2 views"),
        ("cosine_mse", [1.0] * 6, (6, 4), "cosine_mse takes embeddings of 2 views"),
        (
            "nt_xent",
            np.zeros((6, 2)),
            (6, 4),
            "nt_xent takes one class id per item",
        ),
    ],
)
def test_a_batch_of_the_wrong_shape_is_told_the_right_one(name, y, shape, words):
    with pytest.raises(ModelError, match=words):
        siamkit.get_loss(name, metric="cosine")(y, np.zeros(shape, dtype="float32"))


def test_a_loss_without_a_metric_says_how_to_give_it_one():
    with pytest.raises(
        ModelError,
        match=r"'triplet' has no metric to compare through; create it by get_loss\(..., metric=...\)",
    ):
        siamkit.get_loss("triplet")(LABELS, np.zeros((6, 4)))


def test_another_reduction_is_refused():
    from siamkit.losses.triplet import Triplet

    with pytest.raises(ComponentError, match="always reduces to a scalar, so reduction='sum' has no meaning"):
        Triplet(reduction="sum")


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0], ["a", "b"]])
def test_class_ids_without_a_proxy_are_refused(labels):
    loss = siamkit.get_loss("proxy_anchor", metric="cosine", num_classes=3)
    with pytest.raises(siamkit.SiamkitError, match="for 3 classes, so it needs class ids from 0 to 2"):
        loss(np.array(labels), np.eye(2, 4))


# ------------------------------------------------------------------ who trains a loss's weights


def plain_model(loss=None):
    """Return a Keras model that is not siamkit's; with a loss, one that owns the loss's state."""

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(4)
            if loss is not None:
                self.loss_state = loss.state

        def call(self, x):
            return self.dense(x)

    return Model()


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("name", ["proxy_nca", "cross_batch_memory"])
def test_a_plain_keras_model_that_does_not_own_a_losss_weights_is_warned_of_once(name, eagerly):
    params = {"num_classes": 4} if name == "proxy_nca" else {"loss": "contrastive", "memory_size": 16}
    loss = siamkit.get_loss(name, metric="cosine", **params)
    x, y = np.random.default_rng(0).normal(size=(16, 5)).astype("float32"), np.arange(16) % 4
    loss(y, x[:, :4])  # alone, it may be trained by a loop of the user's own
    loss = siamkit.get_loss(name, metric="cosine", **params)
    model = plain_model()
    model.compile("adam", loss, run_eagerly=eagerly)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        model.fit(x, y, epochs=2, batch_size=8, verbose=0)
    messages = [str(each.message) for each in caught if "weights of its own" in str(each.message)]
    assert len(messages) == 1
    assert f"the loss '{name}'" in messages[0]
    assert "compile the loss into siamkit.Siamese(encoder, metric)" in messages[0]


@pytest.mark.one_backend
def test_a_model_that_owns_them_is_not_warned_of():
    x, y = np.random.default_rng(0).normal(size=(16, 5)).astype("float32"), np.arange(16) % 4
    loss = siamkit.get_loss("proxy_nca", metric="cosine", num_classes=4)
    loss.state(keras.KerasTensor((1, 4)))
    own = plain_model(loss)
    own.compile("adam", loss)
    siamese = siamkit.build("mlp", "cosine", "proxy_nca", embedding_dim=4, input_shape=(5,), num_classes=4)
    without = plain_model()
    without.compile("adam", siamkit.get_loss("triplet", metric="cosine"))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*weights of its own")
        for model in (own, siamese, without):
            model.fit(x, y, verbose=0)
    before = loss.state.get_weights()[0]
    own.fit(x, y, verbose=0)
    assert (loss.state.get_weights()[0] != before).any()
