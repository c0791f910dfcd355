"""The losses over given pairs, scores and views, beside references in float64 on torch."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from parity import EAGER, assert_parity, few, ours, reference
from pytorch_metric_learning.losses import VICRegLoss

import siamkit
from siamkit.data.batches import feed
from siamkit.data.dataset import Dataset
from siamkit.errors import ComponentError, ModelError

pytestmark = pytest.mark.keras

CHECKED = {
    "multiple_negatives_ranking": "sentence-transformers' formulas (MultipleNegativesRankingLoss, "
    "MultipleNegativesSymmetricRankingLoss) in torch",
    "info_nce": "the formula of van den Oord et al. 2018 in torch, both directions as in CLIP",
    "siglip": "the formula of Zhai et al. 2023 as a loop in torch",
    "online_contrastive": "sentence-transformers' formula (OnlineContrastiveLoss) in torch",
    "cosine_mse": "sentence-transformers' formula (CosineSimilarityLoss) in torch",
    "cosent": "sentence-transformers' formula (CoSENTLoss) as a loop in torch",
    "angle": "sentence-transformers' formula (AnglELoss) with torch's complex numbers",
    "barlow_twins": "the formula of Zbontar et al. 2021 over torch's batch_norm",
    "vicreg": "PML VICRegLoss",
    "soft_nearest_neighbor": "the formula of Frosst et al. 2019 as a loop in torch",
    "binary_cross_entropy": "torch's binary_cross_entropy_with_logits over Koch et al. 2015's distance",
}


# ---------------------------------------------------------------- metrics, high = alike


def cosine(a, b):
    return F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T


def manhattan(a, b):
    return -(a[:, None] - b[None]).abs().sum(-1)


SIMILARITY = {"cosine": cosine, "manhattan": manhattan}


def row_similarities(metric, e):
    return torch.diagonal(SIMILARITY[metric](e[:, 0], e[:, 1]))


def row_distances(metric, e):
    return (1.0 if metric == "cosine" else 0.0) - row_similarities(metric, e)


# ------------------------------------------------------------------------- formulas


def multiple_negatives_ranking(y, e, metric, scale, symmetric, chunk_size=None):
    similarity = metric if callable(metric) else SIMILARITY[metric]
    scores = scale * similarity(e[:, 0], e[:, 1:].transpose(0, 1).flatten(0, 1))
    own = torch.arange(len(e))
    terms = F.cross_entropy(scores, own, reduction="none")
    if symmetric:
        terms = (terms + F.cross_entropy(scores[:, : len(e)].T, own, reduction="none")) / 2
    if y is not None and e.shape[1] == 2:
        # A target of zeros alone says nothing.
        terms = terms[torch.tensor(y) == 1] if any(y) else terms
    return terms.mean() if len(terms) else 0.0 * e.sum()


def info_nce(y, e, metric, temperature, chunk_size=None):
    similarity = metric if callable(metric) else SIMILARITY[metric]
    total = []
    for k, other in itertools.permutations(range(e.shape[1]), 2):
        scores = similarity(e[:, k], e[:, other]) / temperature
        for i in range(len(e)):
            total.append(-torch.log(scores[i, i].exp() / scores[i].exp().sum()))
    return torch.stack(total).mean()


def siglip(y, e, metric, log_scale, offset):
    scores = log_scale.exp() * SIMILARITY[metric](e[:, 0], e[:, 1:].transpose(0, 1).flatten(0, 1)) + offset
    total = 0.0
    for i, j in np.ndindex(*scores.shape):
        # A target of zeros alone says nothing.
        own = i == j and (y is None or e.shape[1] == 3 or not any(y) or y[i] == 1)
        total = total - F.logsigmoid(scores[i, j] if own else -scores[i, j])
    return total / len(scores)


def online_contrastive(y, e, metric, margin):
    d = row_distances(metric, e)
    alike, other = d[torch.tensor(y) == 1], d[torch.tensor(y) == 0]
    hard_other = other[other < (alike.max() if len(alike) else other.mean())]
    hard_alike = alike[alike > (other.min() if len(other) else alike.mean())]
    return (hard_alike**2).sum() + (F.relu(margin - hard_other) ** 2).sum()


def cosine_mse(y, e, metric):
    return F.mse_loss(row_similarities(metric, e), torch.tensor(y))


def ordered(y, s, scale):
    terms = [torch.ones((), dtype=torch.float64)]
    for i, j in itertools.permutations(range(len(y)), 2):
        if y[i] > y[j]:
            terms.append(torch.exp(scale * (s[j] - s[i])))
    return torch.log(sum(terms)) + 0.0 * s.sum()


def cosent(y, e, metric, scale):
    return ordered(y, row_similarities(metric, e), scale)


def angle(y, e, metric, scale):
    a, b = (torch.complex(*torch.chunk(e[:, view], 2, dim=1)) for view in (0, 1))
    # The quotient of each complex coordinate, its size taken out by the whole vectors' lengths.
    lengths = [(z.abs() ** 2).sum(1, keepdim=True) for z in (a, b)]
    quotient = a * b.conj() / lengths[1] / (lengths[0] / lengths[1]).sqrt()
    return ordered(y, (quotient.real.sum(1) + quotient.imag.sum(1)).abs(), scale)


def barlow_twins(y, e, metric, off_diagonal, eps):
    a, b = (F.batch_norm(e[:, view], None, None, training=True, eps=eps) for view in (0, 1))
    c = a.T @ b / len(e)
    diagonal = torch.diagonal(c)
    return ((1 - diagonal) ** 2).sum() + off_diagonal * ((c**2).sum() - (diagonal**2).sum())


def vicreg(y, e, metric, **params):
    return VICRegLoss(**params)(e[:, 0], ref_emb=e[:, 1])


def soft_nearest_neighbor(y, e, metric, temperature):
    if e.ndim == 3:
        y, e = np.repeat(np.arange(len(e)), e.shape[1]), e.flatten(0, 1)
    weights = torch.exp(SIMILARITY[metric](e, e) / temperature)
    terms = []
    for i in range(len(y)):
        alike = [weights[i, j] for j in range(len(y)) if j != i and y[j] == y[i]]
        if alike:
            terms.append(-torch.log(sum(alike) / sum(weights[i, j] for j in range(len(y)) if j != i)))
    return sum(terms) / len(terms) if terms else 0.0 * e.sum()


def binary_cross_entropy(y, e, metric, raw_scale, offset):
    logits = offset - F.softplus(raw_scale) * row_distances(metric, e)
    return F.binary_cross_entropy_with_logits(logits, torch.tensor(y, dtype=torch.float64))


FORMULAS = {name: globals()[name] for name in CHECKED}

scales = st.floats(1.0, 30.0)
temperatures = st.floats(0.05, 2.0)
weights = st.floats(0.0, 30.0)
chunks = st.sampled_from([None, 4])
ANY = ("cosine", "manhattan")
CASES = {
    # name: supervisions, metrics, parameters
    "multiple_negatives_ranking": (
        ("views", "triplets", "pairs"),
        ANY,
        {"scale": scales, "symmetric": st.booleans(), "chunk_size": chunks},
    ),
    "info_nce": (("views", "three views"), ANY, {"temperature": temperatures, "chunk_size": chunks}),
    "siglip": (
        ("views", "triplets", "pairs"),
        ANY,
        {"scale": scales, "bias": st.floats(-10.0, 1.0), "chunk_size": chunks},
    ),
    "online_contrastive": (("pairs",), ANY, {"margin": st.floats(0.2, 4.0)}),
    "cosine_mse": (("scores",), ("cosine",), {}),
    "cosent": (("scores", "pairs"), ANY, {"scale": scales}),
    "angle": (("scores", "pairs"), ("cosine",), {"scale": scales}),
    "barlow_twins": (
        ("views",),
        ("cosine",),
        {"off_diagonal": st.floats(0.0, 0.5), "eps": st.floats(1e-6, 1e-3)},
    ),
    "vicreg": (
        ("views",),
        ("cosine",),
        {
            "invariance_lambda": weights,
            "variance_mu": weights,
            "covariance_v": weights,
            "eps": st.floats(1e-5, 1e-3),
        },
    ),
    "soft_nearest_neighbor": (("labels", "views"), ANY, {"temperature": temperatures}),
    "binary_cross_entropy": (
        ("pairs", "soft pairs"),
        ("weighted_manhattan", "cosine"),
        {"scale": st.floats(0.1, 3.0), "bias": st.floats(-1.0, 3.0)},
    ),
}
PARITY = [
    pytest.param(name, kind, metric, id=f"{name}-{kind}-{metric}")
    for name, (kinds, metrics, _) in CASES.items()
    for kind, metric in itertools.product(kinds, metrics)
]
DIM = 4
ROWS = 6  # as in the other losses' tests: JAX compiles each operation anew for every shape
SIZES = (2, 4, 7) if EAGER else (ROWS,)


def batch(kind, n, seed):
    """What a supervision gives for n rows: `y_true` and embeddings."""
    rng = np.random.default_rng(seed)
    views = {"labels": 1, "triplets": 3, "three views": 3}.get(kind, 2)
    e = rng.normal(size=(n, views, DIM)) + 0.3
    y = {
        "labels": lambda: rng.integers(0, 3, n),
        "pairs": lambda: rng.integers(0, 2, n),
        "soft pairs": lambda: rng.uniform(0, 1, n),
        "scores": lambda: np.round(rng.uniform(0, 1, n), 1),
    }.get(kind, lambda: None)()
    return y, e[:, 0] if kind == "labels" else e


def made(name, metric, **params):
    """The loss, with its state built if it has one."""
    loss = siamkit.get_loss(name, metric=metric, **params)
    if loss.state is not None:
        loss.state(np.zeros((1, DIM), dtype="float32"))
    return loss


def variables_of(loss):
    return [] if loss.state is None else list(loss.state.variables)


def parity(name, metric, params, y, e):
    """Ours and the reference's values and gradients, by the embeddings and by the weights of its state."""
    loss = made(name, metric, **params)
    variables = variables_of(loss)
    metric = "manhattan" if metric == "weighted_manhattan" else metric  # what it starts as
    constants = {} if variables else params
    leaves = [np.asarray(ops.convert_to_numpy(v), "float64") for v in variables]
    e = e.astype("float32")  # both from the very same numbers
    expected = reference(lambda x, *v: FORMULAS[name](y, x, metric, *v, **constants), e, *leaves)
    return ours(loss, y, e, variables), expected


# --------------------------------------------------------------- value and gradient


@pytest.mark.parametrize(("name", "kind", "metric"), PARITY)
@few
@given(data=st.data())
def test_value_and_gradient_are_those_of_the_reference(name, kind, metric, data):
    n, seed = data.draw(st.sampled_from(SIZES)), data.draw(st.integers(0, 10**6))
    params = {key: data.draw(strategy, key) for key, strategy in CASES[name][2].items()}
    assert_parity(*parity(name, metric, params, *batch(kind, n, seed)))


def test_every_spec_of_the_families_is_checked_here():
    from siamkit.losses._specs import LOSSES

    specs = {spec.name: spec for spec in LOSSES}
    families = ("siamkit.losses.views", "siamkit.losses.scores")
    assert {spec.name for spec in LOSSES if spec.factory.startswith(families)} <= set(CHECKED) == set(CASES)
    for spec in (specs[name] for name in CHECKED):
        assert set(spec.supervision) <= set(CASES[spec.name][0])
        assert spec.formula
        assert spec.reference
        assert spec.summary


def test_a_metric_that_is_not_symmetric_is_asked_from_the_right_side():
    kernel = np.random.default_rng(1).normal(size=(DIM, DIM))
    _, e = batch("views", ROWS, 0)
    for name, params in (
        ("multiple_negatives_ranking", {"scale": 0.7, "symmetric": True}),
        ("info_nce", {"temperature": 2.0}),
    ):
        loss = made(name, "bilinear", **params)
        loss.metric(e[:, 0], e[:, 1])
        loss.metric.kernel.assign(kernel)
        weight = torch.tensor(kernel)
        expected = reference(lambda x, name=name, params=params, weight=weight: FORMULAS[name](
            None, x, lambda a, b: a @ weight @ b.T, **params
        ), e)  # fmt: skip
        assert_parity(ours(loss, None, e), expected)


def test_the_scores_of_two_views_are_those_of_clip():
    _, e = batch("views", ROWS, 3)
    both = made("multiple_negatives_ranking", "cosine", scale=10.0, symmetric=True)(None, e)
    assert float(made("info_nce", "cosine", temperature=0.1)(None, e)) == pytest.approx(float(both), rel=1e-5)


# ------------------------------------------------------------------ awkward batches

DEFAULTS = {
    "barlow_twins": {"off_diagonal": 5e-3, "eps": 1e-5},
    "vicreg": {"invariance_lambda": 25.0, "variance_mu": 25.0, "covariance_v": 1.0, "eps": 1e-4},
    "multiple_negatives_ranking": {"scale": 20.0, "symmetric": True},
    "info_nce": {"temperature": 0.07},
    "online_contrastive": {"margin": 0.5},
    "cosent": {"scale": 20.0},
    "angle": {"scale": 20.0},
    "soft_nearest_neighbor": {"temperature": 1.0},
}
EDGES = {
    "identical rows": lambda e: np.repeat(e[:1], len(e), axis=0),
    "identical views": lambda e: e if e.ndim == 2 else np.repeat(e[:, :1], e.shape[1], axis=1),
    "a row of zeros": lambda e: np.concatenate([0 * e[:1], e[1:]]),
    "all zeros": lambda e: 0 * e,
    "one row": lambda e: e[:1],
}
# Of one row the references are no number, and of an angle with a zero vector.
NO_NUMBER = {
    ("barlow_twins", "one row"),
    ("vicreg", "one row"),
    ("angle", "a row of zeros"),
    ("angle", "all zeros"),
}


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("name", CHECKED)
def test_awkward_batches_have_the_references_value_and_a_finite_gradient(name, edge):
    metric = "cosine" if name == "cosine_mse" else "manhattan"
    y, e = batch(CASES[name][0][0], ROWS, 1)
    e = EDGES[edge](e)
    y = None if y is None else np.array([1, 0, 1, 0, 1, 0])[: len(e)]
    if name == "cosine_mse":
        y = y.astype("float64")
    if (name, edge) in NO_NUMBER:
        value, gradients = ours(made(name, metric), y, e)
        assert np.isfinite(value)
    else:
        got, expected = parity(name, metric, DEFAULTS.get(name, {}), y, e)
        value, gradients = got
        # Ties of a maximum at 0 have more than one right gradient; the value has one.
        assert value == pytest.approx(expected[0], rel=1e-4, abs=1e-6)
    assert all(np.isfinite(g).all() for g in gradients)


NOTHING = {
    "multiple_negatives_ranking": [("one row", None)],
    "info_nce": [("one row", None)],
    "online_contrastive": [("one row", [1]), ("one row", [0])],
    "cosent": [("one row", [1]), ("pairs", [1] * ROWS), ("pairs", [0] * ROWS)],
    "angle": [("one row", [1]), ("pairs", [1] * ROWS), ("pairs", [0] * ROWS)],
    "barlow_twins": [("one row", None)],
    "soft_nearest_neighbor": [("one row", None), ("labels", [0, 1, 2, 3, 4, 5]), ("labels", [5] * ROWS)],
}


@pytest.mark.parametrize(
    ("name", "kind", "y"), [(name, kind, y) for name, each in NOTHING.items() for kind, y in each]
)
def test_the_loss_is_exactly_zero_where_there_is_nothing_to_learn(name, kind, y):
    _, e = batch("pairs" if kind == "one row" else kind, 1 if kind == "one row" else ROWS, 2)
    value, (gradient,) = ours(made(name, "manhattan"), y, e)
    assert value == 0.0
    assert not gradient.any()


@pytest.mark.parametrize("y", [[1] * ROWS, [0] * ROWS, [1, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 1]])
@pytest.mark.parametrize("name", ["online_contrastive", "binary_cross_entropy"])
def test_pairs_of_one_kind_alone_have_the_references_value(name, y):
    _, e = batch("pairs", ROWS, 4)
    params = {"margin": 3.0} if name == "online_contrastive" else {}
    assert_parity(*parity(name, "manhattan", params, np.array(y), e))


def test_vicreg_of_one_row_is_its_first_term():
    _, e = batch("views", 1, 0)
    value, (gradient,) = ours(made("vicreg", "cosine"), None, e)
    assert value == pytest.approx(25 * np.mean((e[0, 0] - e[0, 1]) ** 2), rel=1e-5)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("name", "kind", "params"),
    [
        ("multiple_negatives_ranking", "views", {"scale": 50.0}),
        ("info_nce", "views", {"temperature": 0.01}),
        ("cosent", "scores", {"scale": 50.0}),
        ("soft_nearest_neighbor", "labels", {"temperature": 0.01}),
        ("binary_cross_entropy", "pairs", {"scale": 50.0}),
    ],
)
def test_sharp_exponentials_do_not_overflow(name, kind, params):
    y, e = batch(kind, ROWS, 6)
    y = [0, 0, 1, 1, 2, 2] if kind == "labels" else y
    value, gradients = ours(made(name, "manhattan", **params), y, 30 * e)
    assert 0 < value < 1e5
    assert all(np.isfinite(g).all() for g in gradients)


# ------------------------------------------------------------------ sample weights


@pytest.mark.parametrize("name", ["cosine_mse", "binary_cross_entropy"])
def test_sample_weights_make_a_weighted_mean_of_the_rows(name):
    y, e = batch("soft pairs", ROWS, 8)
    loss, weight = made(name, "cosine"), np.array([0.5, 2.0, 0.0, 1.0, 0.5, 1.0])
    single = [float(ops.convert_to_numpy(loss(y[i : i + 1], e[i : i + 1]))) for i in range(ROWS)]
    got = float(ops.convert_to_numpy(loss(y, e, sample_weight=weight)))
    assert got == pytest.approx(np.average(single, weights=weight), rel=1e-5)


@pytest.mark.parametrize("name", sorted(set(CHECKED) - {"cosine_mse", "binary_cross_entropy"}))
def test_losses_that_couple_the_batch_refuse_a_sample_weight(name):
    y, e = batch(CASES[name][0][0], ROWS, 8)
    with pytest.raises(ModelError, match="with one another, so a sample weight has no meaning"):
        made(name, "cosine")(y, e, sample_weight=np.ones(ROWS))


# ------------------------------------------------------------------------- the state


def test_scale_stays_positive_and_starts_where_it_was_told():
    loss = made("binary_cross_entropy", "manhattan", scale=0.3, bias=2.0)
    assert float(ops.convert_to_numpy(ops.softplus(loss.state.raw_scale))) == pytest.approx(0.3, rel=1e-6)
    assert float(ops.convert_to_numpy(loss.state.offset)) == 2.0
    loss.state.raw_scale.assign(-30.0)
    assert float(ops.convert_to_numpy(ops.softplus(loss.state.raw_scale))) > 0


def test_binary_cross_entropy_learns_its_scale_and_bias_with_the_encoder():
    # Alike pairs at distance 1, others at 2: an odds boundary between them, from a start far beyond both.
    x = np.array([[0.0], [1.0], [0.0], [2.0]], dtype="float32")
    a, b, y = x[[0, 0]], x[[1, 3]], np.array([1, 0])
    encoder = keras.Sequential([keras.Input((1,)), keras.layers.Identity()])
    model = siamkit.Siamese(encoder, "manhattan")
    loss = siamkit.get_loss("binary_cross_entropy", bias=5.0)
    model.compile(keras.optimizers.Adam(0.05), loss)
    model.fit((a, b), y, epochs=60, verbose=0)
    state = loss.state
    odds = np.asarray(ops.convert_to_numpy(state(np.array([1.0, 2.0], dtype="float32"))))
    assert odds[0] > 0 > odds[1]


# --------------------------------------------------------------- objects and words


@pytest.mark.parametrize("name", CHECKED)
def test_a_loss_comes_back_from_its_config(name):
    spec = siamkit.components().losses[name].spec
    changed = {
        key: (not value) if isinstance(value, bool) else 3 if value is None else value * 1.5
        for key, value in spec.defaults().items()
    }
    loss = siamkit.get_loss(name, **changed)
    stored = keras.saving.serialize_keras_object(loss)
    assert stored["registered_name"] == f"siamkit>{type(loss).__name__}"
    again = keras.saving.deserialize_keras_object(stored)
    assert again.get_config() == loss.get_config()
    assert changed.items() <= again.get_config().items()
    with pytest.raises(ModelError, match="has no metric"):  # bound, and not part of the config
        _ = again.metric


@pytest.mark.parametrize("name", CHECKED)
def test_a_spec_has_the_defaults_of_its_class(name):
    entry = siamkit.components().losses[name]
    own = entry.factory()().get_config()
    assert {**own, **entry.spec.defaults()} == own


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("multiple_negatives_ranking", {"scale": 0.0}, "scale should be above 0, got 0.0"),
        ("info_nce", {"temperature": -1.0}, "temperature should be above 0, got -1.0"),
        ("info_nce", {"chunk_size": 0}, "chunk_size should be a whole number of at least 1, got 0"),
        ("siglip", {"scale": 0.0}, "scale should be above 0, got 0.0"),
        (
            "siglip",
            {"learning_rate_multiplier": -1.0},
            "learning_rate_multiplier should be at least 0, got -1.0",
        ),
        ("cosent", {"scale": 0.0}, "scale should be above 0, got 0.0"),
        ("binary_cross_entropy", {"scale": 0.0}, "scale should be above 0, got 0.0"),
        ("soft_nearest_neighbor", {"temperature": 0.0}, "temperature should be above 0, got 0.0"),
        ("barlow_twins", {"off_diagonal": -1.0}, "off_diagonal should be at least 0, got -1.0"),
        ("vicreg", {"variance_mu": -1.0}, "variance_mu should be at least 0, got -1.0"),
        ("vicreg", {"eps": 0.0}, "eps should be above 0, got 0.0"),
    ],
)
def test_a_parameter_out_of_range_is_refused_by_the_class_too(name, params, words):
    with pytest.raises(ComponentError, match=words):
        siamkit.components().losses[name].factory()(**params)


@pytest.mark.parametrize(
    ("name", "y", "shape", "words"),
    [
        (
            "multiple_negatives_ranking",
            None,
            (4, 4, 4),
            "multiple_negatives_ranking takes embeddings of 2 views",
        ),
        ("info_nce", None, (4, 4), "info_nce takes embeddings of 2 or more views"),
        ("info_nce", None, (4, 1, 4), "info_nce takes embeddings of 2 or more views"),
        ("online_contrastive", None, (4, 2, 4), "online_contrastive needs one target per pair"),
        ("binary_cross_entropy", None, (4, 2, 4), "binary_cross_entropy needs one target per pair"),
        ("cosent", None, (4, 2, 4), "cosent needs one target per pair"),
        ("cosent", [1.0] * 4, (4, 4), "cosent takes embeddings of 2 views"),
        ("angle", [1.0] * 4, (4, 2, 5), "angle .* needs an even embedding_dim, got 5"),
        ("barlow_twins", None, (4, 3, 4), "barlow_twins takes embeddings of 2 views"),
        ("vicreg", None, (4, 4), "vicreg takes embeddings of 2 views"),
        ("soft_nearest_neighbor", None, (4, 4), "learns from class labels, but got none"),
    ],
)
def test_a_batch_of_the_wrong_shape_is_told_the_right_one(name, y, shape, words):
    with pytest.raises(ModelError, match=words):
        siamkit.get_loss(name, metric="cosine")(y, np.zeros(shape, dtype="float32"))


@pytest.mark.parametrize("name", ["angle", "barlow_twins", "vicreg"])
def test_losses_that_do_not_compare_refuse_a_metric_with_weights(name):
    with pytest.raises(ComponentError, match="'mahalanobis' would never learn its weights"):
        siamkit.get_loss(name, metric="mahalanobis")


# -------------------------------------------------------------------------- training


@pytest.mark.parametrize("name", CHECKED)
def test_a_small_model_trains(name):
    kind = CASES[name][0][0]
    rng = np.random.default_rng(0)
    views = {"labels": 1, "triplets": 3, "three views": 3}.get(kind, 2)
    x = rng.normal(size=(views, 8, 5)).astype("float32")
    y = {"labels": np.repeat(np.arange(4), 2), "pairs": np.tile([1, 0], 4), "scores": rng.random(8)}.get(kind)
    encoder = keras.Sequential([keras.Input((5,)), keras.layers.Dense(DIM)])
    model = siamkit.Siamese(encoder, "cosine")
    model.compile(keras.optimizers.SGD(1e-3), name)
    history = model.fit(x[0] if views == 1 else tuple(x), y, batch_size=8, epochs=3, verbose=0).history[
        "loss"
    ]
    assert np.isfinite(history).all()
    assert history[-1] < history[0]


# -------------------------------------------------------------- feeds of fixed shape

COUPLED = ["multiple_negatives_ranking", "online_contrastive", "cosent", "angle"]


def pair_data(supervision, n=10):
    rng = np.random.default_rng(0)
    views = tuple(rng.normal(size=(n, 5)).astype("float32") for _ in range(2))
    target = {"pairs": np.arange(n) % 2, "scores": rng.random(n)}.get(supervision)
    return Dataset(views, target, supervision, "vector")


def tiny(name):
    encoder = keras.Sequential([keras.Input((5,)), keras.layers.Dense(DIM)])
    model = siamkit.Siamese(encoder, "cosine")
    model.compile("adam", name)
    return model


@pytest.mark.parametrize("name", COUPLED)
def test_losses_that_couple_the_batch_train_on_pairs_that_fill_no_whole_batches(name):
    model = tiny(name)
    assert model.loss.batch_coupled
    batches = feed(pair_data("pairs"), "pairs", batch_size=4, seed=0, drop_last=True)
    assert len(batches) == 2
    model.fit(batches, epochs=2, shuffle=False, verbose=0)


@pytest.mark.parametrize("name", sorted(CHECKED))
def test_a_loss_couples_given_rows_just_where_it_gives_one_number_for_all(name):
    loss = made(name, "cosine")
    spec = siamkit.components().losses[name].spec
    for kind in set(spec.supervision) & {"pairs", "scores", "triplets"}:
        y, e = batch(kind, ROWS, 0)
        y = y if y is None else ops.convert_to_tensor(y.astype("float32"))
        values = loss.call(y, ops.convert_to_tensor(e.astype("float32")))
        assert loss.batch_coupled == (len(values.shape) == 0)


@pytest.mark.parametrize("name", ["angle", "barlow_twins", "vicreg"])
def test_losses_that_do_not_compare_need_no_metric(name):
    y, e = batch("views", ROWS, 0)
    y = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5] if name == "angle" else None
    assert float(siamkit.get_loss(name)(y, e)) == pytest.approx(float(made(name, "cosine")(y, e)))


def test_a_target_of_zeros_alone_says_nothing_so_that_fed_views_are_ranked():
    rng = np.random.default_rng(0)
    labelled = Dataset((rng.normal(size=(12, 5)).astype("float32"),), np.arange(12) // 3, "labels", "vector")
    for data in (labelled, pair_data("views")):
        (a, b), y = feed(data, "views", batch_size=4, seed=0)[0]
        e = np.stack([a, b], axis=1)
        loss = made("multiple_negatives_ranking", "cosine")
        assert float(loss(y, e)) == pytest.approx(float(loss(None, e)))
        assert float(loss(y, e)) > 0
