"""The losses with class proxies beside pytorch-metric-learning, and where such code breaks.

PML's distances scale embeddings and proxies to unit length unless told otherwise. Cosine does that by itself;
where our metric does not, either ours gets unit embeddings too ("unit"), or PML is told to leave them.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import torch
from gradients import value_and_gradient
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from parity import assert_parity, few, ours, reference
from pytorch_metric_learning import distances, losses
from scipy.special import log_softmax

import siamkit
from siamkit.errors import ComponentError, ModelError
from siamkit.metrics.base import unit

pytestmark = pytest.mark.keras


def number(low: float, high: float) -> Any:
    return st.floats(low, high)


class Case(NamedTuple):
    """How a loss is compared: PML's loss, where it keeps its proxies, the parameters drawn for both."""

    theirs: Any  # PML's loss
    weight: str  # the name of its proxies
    params: dict[str, Any]
    metric: str = "cosine"
    unit: bool = False  # embeddings and PML's proxies scaled before they are given to it
    distance: Any = None  # PML's, if not its default
    upright: bool = False  # PML keeps a proxy a row, not a column

    def reference(self, labels: Any, label_smoothing: float = 0.0, **params: Any) -> Any:
        """PML's loss as a function of embeddings and proxies; PyTorch's cross entropy smooths the labels."""
        size = {"embedding_size": DIM}
        if self.theirs is losses.P2SGradLoss:
            size = {"descriptors_dim": DIM}
        if self.distance is not None:
            params["distance"] = self.distance()
        with warnings.catch_warnings():  # some hand tensors to NumPy
            warnings.simplefilter("ignore", DeprecationWarning)
            module = self.theirs(num_classes=CLASSES, **size, **params).double()
        if label_smoothing:
            assert isinstance(module.cross_entropy, torch.nn.CrossEntropyLoss)
            module.cross_entropy = torch.nn.CrossEntropyLoss(
                reduction="none", label_smoothing=label_smoothing
            )
        numbers = torch.tensor(labels)

        def function(x: Any, proxies: Any) -> Any:
            if self.unit:
                x, proxies = torch.nn.functional.normalize(x), torch.nn.functional.normalize(proxies)
            weight = proxies if self.upright else proxies.T
            return torch.func.functional_call(module, {self.weight: weight}, (x, numbers))

        return function


ANGLE = {"margin": number(0, 120), "scale": number(1, 64)}
TIMES = {"margin": st.integers(1, 5), "scale": number(0.5, 8)}

CASES = {
    "arcface": Case(losses.ArcFaceLoss, "W", ANGLE),
    "subcenter_arcface": Case(losses.SubCenterArcFaceLoss, "W", ANGLE),
    "cosface": Case(losses.CosFaceLoss, "W", {"margin": number(0, 1), "scale": number(1, 64)}),
    "sphereface": Case(losses.SphereFaceLoss, "W", TIMES),
    "large_margin_softmax": Case(losses.LargeMarginSoftmaxLoss, "W", TIMES),
    "normalized_softmax": Case(losses.NormalizedSoftmaxLoss, "W", {"temperature": number(0.02, 1)}),
    "normalized_softmax of dot products": Case(
        losses.NormalizedSoftmaxLoss,
        "W",
        {"temperature": number(0.1, 1)},
        metric="dot",
        distance=lambda: distances.DotProductSimilarity(normalize_embeddings=False),
    ),
    # Its own gradient by proxies is that by unit vectors, taken as if they had not been scaled.
    "p2s_grad": Case(losses.P2SGradLoss, "weight", {}, unit=True),
    "proxy_nca": Case(
        losses.ProxyNCALoss,
        "proxies",
        {"softmax_scale": number(0.1, 20)},
        metric="squared_euclidean",
        unit=True,
        upright=True,
    ),
    "proxy_anchor": Case(
        losses.ProxyAnchorLoss,
        "proxies",
        {"margin": number(0, 0.5), "alpha": number(1, 64)},
        upright=True,
    ),
    "soft_triple": Case(
        losses.SoftTripleLoss,
        "fc",
        {
            "la": number(1, 40),
            "gamma": number(0.05, 1),
            "margin": number(0, 0.3),
        },
    ),
}
NAMES = sorted({name.split()[0] for name in CASES} | {"center"})
SEVERAL = {"subcenter_arcface": 3, "soft_triple": 10}  # proxies a class, by default

_PML = "PML {}, value and gradient by embeddings and proxies ({})"
CHECKED = {
    name: _PML.format(case.theirs.__name__, "unit embeddings" if case.unit else "any embeddings")
    for name, case in CASES.items()
    if " " not in name
} | {
    "normalized_softmax": _PML.format("NormalizedSoftmaxLoss", "any embeddings; cosine, and dot as they are"),
    "p2s_grad": _PML.format("P2SGradLoss", "its scaling of the proxies differentiated too"),
    "center": "NumPy loop from the paper's formula, value and gradient by embeddings and centres",
}


N, DIM, CLASSES = 6, 4, 4  # the shapes of the other losses' tests: JAX compiles each anew
AXES = np.eye(CLASSES, DIM)


def made(name: str, proxies: np.ndarray, classes: int = CLASSES, **params: Any) -> Any:
    """A loss with these proxies."""
    loss = siamkit.get_loss(name, **{"metric": metric_of(name), "num_classes": classes, **params})
    loss.state(np.zeros((1, proxies.shape[1]), dtype="float32"))
    loss.state.proxies.assign(proxies)
    return loss


def metric_of(name: str) -> str:
    return CASES[name].metric if name in CASES else "squared_euclidean"


def drawn(name: str, classes: int = CLASSES) -> Any:
    """A loss with some proxies."""
    size = (classes * SEVERAL.get(name, 1), DIM)
    return made(name, np.random.default_rng(3).normal(size=size), classes)


def number_of(x: Any) -> float:
    return float(ops.convert_to_numpy(x))


# ------------------------------------------------------------------ value and gradient


def compare(title: str, seed: int, params: dict[str, Any]) -> None:
    case, name = CASES[title], title.split()[0]
    rng = np.random.default_rng(seed)
    labels, x = rng.integers(0, CLASSES, size=N), rng.normal(size=(N, DIM))
    proxies = rng.normal(size=(CLASSES * SEVERAL.get(name, 1), DIM))
    expected = reference(case.reference(labels, **params), x, proxies)
    loss = made(name, proxies, metric=case.metric, **params)
    scaled = unit if case.unit else ops.convert_to_tensor
    got = value_and_gradient(
        lambda e: loss(labels, scaled(e)), x.astype("float32"), variables=[loss.state.proxies]
    )
    assert_parity(got, expected)


@pytest.mark.parametrize("title", CASES)
@few
@given(data=st.data())
def test_a_loss_has_the_value_and_gradients_of_pytorch_metric_learning(title, data):
    params = {key: data.draw(strategy) for key, strategy in CASES[title].params.items()}
    compare(title, data.draw(st.integers(0, 2**32 - 1)), params)


WITH_CROSS_ENTROPY = [
    "arcface", "subcenter_arcface", "cosface", "sphereface", "large_margin_softmax", "normalized_softmax",
]  # fmt: skip


@pytest.mark.parametrize("title", WITH_CROSS_ENTROPY)
def test_smoothed_labels_give_the_value_and_gradients_of_pytorchs_cross_entropy(title):
    compare(title, 2, {"label_smoothing": 0.3})


@pytest.mark.parametrize("name", ["proxy_nca", "soft_triple"])
def test_smoothed_labels_give_pytorchs_cross_entropy_of_logits_by_hand(name):
    rng = np.random.default_rng(4)
    labels, x = np.array([0, 1, 2, 3, 3, 0]), rng.normal(size=(N, DIM))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    proxies = rng.normal(size=(CLASSES * SEVERAL.get(name, 1), DIM))
    units = proxies / np.linalg.norm(proxies, axis=1, keepdims=True)
    if name == "proxy_nca":
        logits = -3.0 * np.square(x[:, None] - units[None]).sum(axis=2)
        params = {"softmax_scale": 3.0}
    else:
        near = (x @ units.T).reshape(N, CLASSES, -1)
        weights = np.exp(near / 0.2)
        logits = (weights * near).sum(axis=2) / weights.sum(axis=2)
        logits[np.arange(N), labels] -= 0.1
        logits *= 5.0
        params = {"la": 5.0, "gamma": 0.2, "margin": 0.1}
    expected = torch.nn.CrossEntropyLoss(label_smoothing=0.3)(torch.tensor(logits), torch.tensor(labels))
    loss = made(name, proxies, label_smoothing=0.3, **params, metric=metric_of(name))
    assert number_of(loss(labels, x.astype("float32"))) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("title", CASES)
def test_the_defaults_are_those_of_pytorch_metric_learning(title):
    compare(title, 1, {})


@pytest.mark.parametrize("metric", ["squared_euclidean", "euclidean", "cosine"])
def test_center_is_half_the_mean_distance_to_the_own_centre(metric):
    rng = np.random.default_rng(2)
    labels, x, centres = (
        np.array([0, 2, 2, 1, 0, 2]),
        rng.normal(size=(N, DIM)),
        rng.normal(size=(CLASSES, DIM)),
    )
    value, by_x, by_centres = 0.0, np.zeros_like(x), np.zeros_like(centres)
    for i, y in enumerate(labels):
        away, c = x[i] - centres[y], centres[y]
        if metric == "squared_euclidean":
            d, slope, back = away @ away, 2 * away, -2 * away
        elif metric == "euclidean":
            d = np.sqrt(away @ away)
            slope, back = away / d, -away / d
        else:
            long, far = np.sqrt(x[i] @ x[i]), np.sqrt(c @ c)
            cosine = x[i] @ c / (long * far)
            d, slope = 1 - cosine, -(c / far - cosine * x[i] / long) / long
            back = -(x[i] / long - cosine * c / far) / far
        value += d / 2 / N
        by_x[i] += slope / 2 / N
        by_centres[y] += back / 2 / N
    loss = made("center", centres, metric=metric)
    assert_parity(ours(loss, labels, x, [loss.state.proxies]), (value, [by_x, by_centres]))


def test_an_item_far_from_its_proxy_still_counts_in_proxy_nca():
    # In float32 its probability is e^-400 = 0; PML would leave the item out.
    x, proxies = np.repeat(np.eye(1, DIM), N, axis=0), np.eye(CLASSES, DIM)[[0, 0, 1, 2]]
    proxies[0] *= -1
    loss = made("proxy_nca", proxies, softmax_scale=100.0)
    value, (by_x, _) = ours(loss, np.zeros(N, dtype="int32"), x, [loss.state.proxies])
    assert value == pytest.approx(-log_softmax([-400.0, 0.0, -200.0, -200.0])[0], rel=1e-6)
    # d/dx of 100 (|x - p₀|² - |x - p₁|²), the other class being as good as certain; mean over the batch
    np.testing.assert_allclose(by_x, np.eye(1, DIM).repeat(N, axis=0) * 400 / N, atol=1e-3)


def test_a_softmax_of_large_logits_keeps_its_precision():
    loss = made("cosface", AXES, margin=0.97, scale=200.0)  # e^200 is beyond float32
    value, (by_x, _) = ours(loss, np.zeros(N, dtype="int32"), AXES[[0] * N], [loss.state.proxies])
    assert value == pytest.approx(math.log1p(3 * math.exp(-200 * (1 - 0.97))), rel=1e-4)
    assert np.isfinite(by_x).all()


def test_a_metric_and_a_loss_of_distances_may_meet():
    loss = made("cosface", np.eye(CLASSES, DIM), metric="euclidean", margin=0.25, scale=2.0)
    # distances 0 and three times √2: -2 (0 + 0.25) against -2 √2
    expected = math.log(1 + 3 * math.exp(-2 * math.sqrt(2) + 0.5))
    x = np.repeat(np.eye(1, DIM), N, axis=0)
    assert number_of(loss(np.zeros(N, dtype="int32"), x)) == pytest.approx(expected, rel=1e-5)


# ------------------------------------------------------------------------------- edges


@pytest.mark.parametrize("name", NAMES)
def test_on_its_proxy_and_opposite_the_value_is_the_references_and_the_gradient_finite(name):
    x = np.concatenate([AXES[:2], AXES[:2], -AXES[:2]])  # cosines of exactly 1, 0 and -1
    labels = np.array([0, 1, 1, 0, 0, 1])
    proxies = np.repeat(AXES, SEVERAL.get(name, 1), axis=0)
    loss = made(name, proxies)
    value, gradients = ours(loss, labels, x, [loss.state.proxies])
    if name == "center":
        expected = (0 + 1 + 2) / 3  # half of 0, 2 and 4
    else:
        expected = reference(CASES[name].reference(labels), x, proxies)[0]
    assert value == pytest.approx(expected, rel=1e-4)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


ODD = {  # a batch of one, one class alone and the like are in the conformance kit
    "all embeddings zero": (np.zeros((N, DIM)), 1.0),
    "some embeddings zero": (np.eye(N, DIM), 1.0),
    "all proxies zero": (np.eye(N, DIM) + 1.0, 0.0),
    "everything zero": (np.zeros((N, DIM)), 0.0),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", NAMES)
def test_odd_batches_have_a_finite_value_and_finite_gradients(name, odd):
    x, times = ODD[odd]
    loss = drawn(name)
    loss.state.proxies.assign(times * ops.convert_to_numpy(loss.state.proxies))
    value, gradients = ours(loss, np.array([1, 3, 0, 0, 1, 2]), x, [loss.state.proxies])
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_a_single_class_is_won_already_but_nan_still_shows():
    loss = drawn("arcface", classes=1)
    labels, x = np.zeros(N, dtype="int32"), np.eye(N, DIM)
    assert number_of(loss(labels, x)) == 0.0
    assert np.isnan(number_of(loss(labels, x * np.nan)))


@pytest.mark.parametrize("name", NAMES)
def test_a_class_id_without_a_proxy_makes_the_loss_nan_but_spoils_no_gradient(name):
    # As tensors, which a compiled step has: on the host such ids are refused.
    loss, x = drawn(name), np.random.default_rng(4).normal(size=(N, DIM)).astype("float32")

    def run(labels):
        numbers = np.array(labels, dtype="int32")
        return value_and_gradient(
            lambda e: loss(ops.convert_to_tensor(numbers), e), x, variables=[loss.state.proxies]
        )

    value, (by_x, by_proxies) = run([0, 4, 2, -1, 3, 1])
    right, (expected, _) = run([0, 1, 2, 1, 3, 1])
    assert np.isnan(value)
    assert np.isfinite(right)
    assert np.isfinite(by_proxies).all()
    assert not by_x[[1, 3]].any()
    if name == "proxy_anchor":  # couples its items
        assert not by_x.any()
    else:
        np.testing.assert_allclose(by_x[[0, 2, 4, 5]], expected[[0, 2, 4, 5]], rtol=1e-6)
        assert by_x[[0, 2, 4, 5]].any()


# ----------------------------------------------------------------------------- proxies


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_cut_short_meet_the_leading_part_of_the_proxies(name):
    loss = drawn(name)
    x, labels = np.random.default_rng(4).normal(size=(N, DIM)).astype("float32"), np.array([0, 1, 3, 2, 2, 0])
    proxies = np.asarray(ops.convert_to_numpy(loss.state.proxies))
    short = made(name, proxies[:, :3])
    cut = number_of(loss(labels, x[:, :3]))
    assert cut == pytest.approx(number_of(short(labels, x[:, :3])), rel=1e-6)
    assert tuple(loss.state(x[:, :3]).shape) == (len(proxies), 3)
    assert tuple(loss.state(x).shape) == proxies.shape


@pytest.mark.parametrize("name", NAMES)
def test_proxies_begin_as_the_docstring_says(name):
    loss = siamkit.get_loss(name, num_classes=40)
    proxies = np.asarray(ops.convert_to_numpy(loss.state(np.zeros((1, 100), dtype="float32"))))
    assert proxies.shape == (40 * SEVERAL.get(name, 1), 100)
    assert np.mean(proxies) == pytest.approx(0, abs=0.05)
    if name == "p2s_grad":
        np.testing.assert_allclose(np.linalg.norm(proxies, axis=1), 1, rtol=1e-5)
    elif name in ("soft_triple", "center"):
        bound = 1 / np.sqrt(400) if name == "soft_triple" else np.sqrt(3 / 100)
        assert np.abs(proxies).max() == pytest.approx(bound, rel=0.01)
        assert np.std(proxies) == pytest.approx(bound / np.sqrt(3), rel=0.05)
    else:
        deviation = np.sqrt(2 / 40) if name == "proxy_anchor" else 1.0
        assert np.std(proxies) == pytest.approx(deviation, rel=0.05)


def tiny(name: str, metric: str) -> Any:
    inputs = keras.Input((6,))
    model = siamkit.Siamese(keras.Model(inputs, keras.layers.Dense(5)(inputs)), metric)
    model.compile(keras.optimizers.Adam(1e-3), siamkit.get_loss(name, num_classes=4))
    return model


@pytest.mark.parametrize("name", ["subcenter_arcface", "center"])
def test_a_fit_trains_the_proxies_and_refuses_an_unknown_class(name):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 6)).astype("float32"), np.array([0, 1, 2, 3] * 2)
    model = tiny(name, metric_of(name))
    state = model.loss.state
    history = model.fit(x, y, batch_size=8, epochs=1, verbose=0).history["loss"]
    before = np.array(ops.convert_to_numpy(state.proxies))
    history += model.fit(x, y, batch_size=8, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    assert history[-1] < history[0]
    # Adam's steps are 0.001 a weight, and those of proxies 100 times as long.
    step = np.abs(np.asarray(ops.convert_to_numpy(state.proxies)) - before).max()
    assert 0.05 < step < 0.5
    stream = ((x, y + 1) for _ in range(3))
    with pytest.raises(ModelError, match="class ids from 0 to 3, got ids from 1 to 4"):
        model.fit(stream, steps_per_epoch=1, shuffle=False, verbose=0)


# --------------------------------------------------------------------- config and words

OTHERS: dict[str, dict[str, Any]] = {
    "arcface": {"margin": 20.0, "scale": 32.0, "label_smoothing": 0.1},
    "subcenter_arcface": {"margin": 20.0, "scale": 32.0, "sub_centers": 2},
    "cosface": {"margin": 0.2, "scale": 32.0},
    "sphereface": {"margin": 3, "scale": 8.0},
    "large_margin_softmax": {"margin": 3, "scale": 8.0},
    "normalized_softmax": {"temperature": 0.1},
    "p2s_grad": {},
    "proxy_nca": {"softmax_scale": 3.0},
    "proxy_anchor": {"margin": 0.2, "alpha": 16.0},
    "soft_triple": {
        "centers_per_class": 4,
        "la": 10.0,
        "gamma": 0.2,
        "margin": 0.1,
        "label_smoothing": 0.1,
    },
    "center": {},
}


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_and_its_state_come_back_from_their_configs(name):
    params = {**OTHERS[name], "learning_rate_multiplier": 7.0, "num_classes": 3}
    loss = siamkit.get_loss(name, **params)
    config = keras.saving.serialize_keras_object(loss)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    assert params.items() <= again.get_config().items()
    state = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss.state))
    assert state.get_config() == loss.state.get_config() == {**again.state.get_config(), "name": state.name}


def test_every_spec_of_this_family_is_checked_here():
    from siamkit.losses._specs import LOSSES

    families = ("proxies", "class_softmax", "angular_margins")
    PROXIES = [
        spec for spec in LOSSES if spec.factory.split(":")[0].endswith(families) and spec.name != "manifold"
    ]

    assert sorted(spec.name for spec in PROXIES) == NAMES == sorted(OTHERS) == sorted(CHECKED)
    assert all(spec.formula and spec.summary and spec.reference for spec in PROXIES)


@pytest.mark.parametrize("metric", ["dot", "euclidean"])
@pytest.mark.parametrize(
    "name", ["arcface", "subcenter_arcface", "sphereface", "large_margin_softmax", "p2s_grad"]
)
def test_a_loss_of_angles_wants_a_cosine(name, metric):
    words = "needs values from -1 to 1" if metric == "dot" else "needs a similarity"
    with pytest.raises(ComponentError, match=f"the loss '{name}' {words}.*; cosine.* would fit"):
        siamkit.get_loss(name, num_classes=3, metric=metric)


def test_center_wants_what_is_at_least_0():
    with pytest.raises(ComponentError, match="the loss 'center' needs a distance, but the metric 'dot' is"):
        siamkit.get_loss("center", num_classes=3, metric="dot")


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("arcface", {"num_classes": 0}, "num_classes should be a whole number of at least 1, got 0"),
        ("center", {"num_classes": 2.5}, "num_classes should be a whole number of at least 1, got 2.5"),
        ("arcface", {"margin": 200}, "margin of loss 'arcface' should be from 0 to 179, got 200"),
        ("cosface", {"scale": 0}, "scale of loss 'cosface' should be at least 1e-06, got 0"),
        ("sphereface", {"margin": 2.5}, "margin of loss 'sphereface' should be a whole number, got 2.5"),
        ("large_margin_softmax", {"margin": 0}, "should be at least 1, got 0"),
        ("subcenter_arcface", {"sub_centers": 0}, "sub_centers .* should be at least 1, got 0"),
        ("soft_triple", {"centers_per_class": 0}, "centers_per_class .* should be at least 1, got 0"),
        ("arcface", {"label_smoothing": 1.0}, "label_smoothing .* should be from 0 to 0.999, got 1"),
        ("cosface", {"label_smoothing": -0.1}, "label_smoothing .* should be from 0 to 0.999, got -0.1"),
        ("p2s_grad", {"margin": 1}, "loss 'p2s_grad' has no parameter 'margin'"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused_in_one_sentence(name, params, words):
    with pytest.raises(ComponentError, match=words) as caught:
        siamkit.get_loss(name, **{"num_classes": 3, **params})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("factory", "params", "words"),
    [
        (
            "angular_margins.SphereFace",
            {"margin": 2.5},
            "margin should be a whole number of at least 1, got 2.5",
        ),
        ("angular_margins.ArcFace", {"margin": 180}, "margin should be from 0 to below 180 degrees, got 180"),
        ("angular_margins.ArcFace", {"scale": -1}, "scale should be above 0, got -1"),
        ("angular_margins.SubCenterArcFace", {"sub_centers": True}, "sub_centers should be a whole number"),
        ("class_softmax.SoftTriple", {"gamma": 0.0}, "gamma should be above 0, got 0.0"),
        (
            "proxies.Center",
            {"learning_rate_multiplier": -1},
            "learning_rate_multiplier should be at least 0",
        ),
    ],
)
def test_so_it_is_where_a_class_is_used_by_itself(factory, params, words):
    module, name = factory.split(".")
    factory = getattr(__import__(f"siamkit.losses.{module}", fromlist=[name]), name)
    with pytest.raises(ComponentError, match=words):
        factory(num_classes=3, **params)


def test_views_without_classes_are_refused():
    loss = siamkit.get_loss("arcface", metric="cosine", num_classes=3)
    with pytest.raises(
        ModelError, match=r"takes one embedding per item, \(batch, dim\), got shape \(2, 2, 4\)"
    ):
        loss(np.array([0, 1]), np.zeros((2, 2, 4)))
    with pytest.raises(ModelError, match="learns from class labels, but got none"):
        loss(None, np.zeros((2, 4)))
