"""The losses over labelled batches beside pytorch-metric-learning: value, and gradient by the embeddings.

PML's distances scale the embeddings to unit length unless told otherwise; where ours does not (the Euclidean
metrics), PML is told to leave them ("as they are"), or ours gets unit vectors too where PML insists ("unit").
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from gradients import value_and_gradient
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from parity import EAGER, assert_parity, few, ours, ours_at_once, reference
from pytorch_metric_learning import distances, losses, miners

import siamkit
from siamkit.metrics.base import unit

pytestmark = [
    pytest.mark.keras,
    # PML's histogram loss indexes by a list.
    pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning"),
    # Its ranked list loss warns of the paper's own temperature.
    pytest.mark.filterwarnings("ignore:Values of Tp or Tn are too high:UserWarning"),
]


def lp(power: int = 1, normalize: bool = False) -> Any:
    return distances.LpDistance(normalize_embeddings=normalize, power=power)


class Case(NamedTuple):
    """How a loss is compared: our metric, PML's loss and distance, the parameters drawn for both."""

    metric: str
    theirs: Any  # from parameters to PML's loss
    params: dict[str, Any]
    unit: bool = False  # ours on unit vectors, PML normalising
    fixed: dict[str, Any] = {}  # of ours alone  # noqa: RUF012


def number(low: float, high: float) -> Any:
    return st.floats(low, high)


MARGINS = {"neg_margin": number(0.5, 3.0), "pos_margin": number(0.0, 0.5)}

CASES: dict[str, Case] = {
    "contrastive": Case(
        "euclidean", lambda **p: losses.ContrastiveLoss(distance=lp(), **p), MARGINS, fixed={"power": 1.0}
    ),
    "snr_contrastive": Case(
        "snr",
        lambda **p: losses.SignalToNoiseRatioContrastiveLoss(
            distance=distances.SNRDistance(normalize_embeddings=False), **p
        ),
        MARGINS,
    ),
    "triplet": Case(
        "euclidean",
        lambda **p: losses.TripletMarginLoss(distance=lp(), **p),
        {"margin": number(0.05, 2.0), "swap": st.booleans(), "smooth_loss": st.booleans()},
    ),
    "angular": Case("cosine", losses.AngularLoss, {"alpha": number(30, 50)}, unit=True),
    "circle": Case("cosine", losses.CircleLoss, {"m": number(0.1, 0.5), "gamma": number(1, 80)}),
    "fast_ap": Case(
        "squared_euclidean", losses.FastAPLoss, {"num_bins": st.sampled_from([5, 16])}, unit=True
    ),
    "generalized_lifted_structure": Case(
        "euclidean", lambda **p: losses.GeneralizedLiftedStructureLoss(distance=lp(), **p), MARGINS
    ),
    "lifted_structure": Case(
        "euclidean", lambda **p: losses.LiftedStructureLoss(distance=lp(), **p), MARGINS
    ),
    "histogram": Case("cosine", losses.HistogramLoss, {"n_bins": st.sampled_from([10, 33])}),
    "instance": Case("cosine", losses.InstanceLoss, {"gamma": number(1, 64)}),
    "intra_pair_variance": Case(
        "cosine", losses.IntraPairVarianceLoss, {"pos_eps": number(0.0, 0.5), "neg_eps": number(0.0, 0.5)}
    ),
    "margin": Case(
        "euclidean",
        lambda **p: losses.MarginLoss(distance=lp(), **p),
        {"margin": number(0.1, 1.0), "beta": number(0.8, 2.0)},
    ),
    "multi_similarity": Case(
        "cosine",
        losses.MultiSimilarityLoss,
        {"alpha": number(1, 10), "beta": number(5, 80), "base": number(0.0, 1.0)},
    ),
    "nca": Case(
        "squared_euclidean",
        lambda **p: losses.NCALoss(distance=lp(2), **p),
        {"softmax_scale": number(0.1, 4.0)},
    ),
    "n_pairs": Case("cosine", losses.NPairsLoss, {}),
    "nt_xent": Case("cosine", losses.NTXentLoss, {"temperature": number(0.05, 1.0)}),
    "pnp": Case(
        "cosine",
        losses.PNPLoss,
        {
            "b": number(0.5, 4.0),
            "alpha": number(0.5, 3.0),
            "anneal": number(0.05, 0.5),
            "variant": st.sampled_from(["O", "Ds", "Dq", "Iu", "Ib"]),
        },
    ),
    "ranked_list": Case(
        "euclidean",
        lambda **p: losses.RankedListLoss(**p),
        {
            "margin": number(0.2, 0.8),
            "Tn": number(0.0, 4.0),
            "Tp": number(0.0, 4.0),
            "imbalance": number(0.0, 1.0),
            "alpha": number(0.8, 1.6),
        },
        unit=True,
    ),
    "sup_con": Case("cosine", losses.SupConLoss, {"temperature": number(0.05, 1.0)}),
    "threshold_consistent_margin": Case(
        "cosine",
        losses.ThresholdConsistentMarginLoss,
        {
            "lambda_plus": number(0.1, 2.0),
            "lambda_minus": number(0.1, 2.0),
            "margin_plus": number(0.0, 0.9),
            "margin_minus": number(-0.5, 0.5),
        },
    ),
    "tuplet_margin": Case(
        "cosine", losses.TupletMarginLoss, {"margin": number(0.0, 12.0), "scale": number(1, 64)}
    ),
}

CHECKED = {
    name: "PML, value and gradient by the embeddings"
    + (" (unit vectors)" if case.unit else "" if case.metric == "cosine" else " (vectors as they are)")
    for name, case in CASES.items()
} | {
    "dynamic_soft_margin": "PML, value over three batches; gradient with the weights held fixed",
    "manifold": "PML given the meta-classes, value and gradient by embeddings and proxies",
    "cross_batch_memory": "PML, value and gradient over a wrapping queue",
    "matryoshka": "the sum of the inner loss over cut embeddings",
    "weighted_sum": "the sum of its parts",
}


@st.composite
def batches(draw: Any) -> tuple[np.ndarray, np.ndarray]:
    """Labels and embeddings: any composition, but where shapes are compiled one that other tests have."""
    sizes = [(6, 4, 3), (6, 4, 5), (6, 4, 2), *([(9, 4, 4), (6, 7, 2), (12, 2, 4)] if EAGER else [])]
    n, dim, classes = draw(st.sampled_from(sizes))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = rng.integers(0, classes, size=n)
    labels[:2] = 0  # one positive and one negative pair at least
    labels[2] = 1
    return labels, rng.normal(size=(n, dim))


def in_mode(case: Case, x: Any) -> Any:
    # Also where PML normalises: its angular loss leaves out the negatives.
    return torch.nn.functional.normalize(x) if case.unit else x


@pytest.mark.parametrize("name", sorted(CASES))
@few
@given(data=st.data())
def test_a_loss_has_the_value_and_gradient_of_pytorch_metric_learning(name, data):
    case = CASES[name]
    labels, embeddings = data.draw(batches())
    params = {key: data.draw(strategy) for key, strategy in case.params.items()}
    theirs = case.theirs(**params)
    expected = reference(lambda x: theirs(in_mode(case, x), torch.tensor(labels)), embeddings)
    loss = siamkit.get_loss(name, metric=case.metric, **params, **case.fixed)
    if case.unit:
        got = value_and_gradient(lambda x: loss(labels, unit(x)), embeddings.astype("float32"))
    else:
        got = ours(loss, labels, embeddings)
    assert_parity(got, expected)


DEFAULTS = {
    "contrastive": ("euclidean", losses.ContrastiveLoss),
    "triplet": ("euclidean", losses.TripletMarginLoss),
    "margin": ("euclidean", losses.MarginLoss),
    "nca": ("squared_euclidean", losses.NCALoss),
    "generalized_lifted_structure": ("euclidean", losses.GeneralizedLiftedStructureLoss),
    "lifted_structure": ("euclidean", losses.LiftedStructureLoss),
    "snr_contrastive": ("snr", losses.SignalToNoiseRatioContrastiveLoss),
    **{
        name: (CASES[name].metric, CASES[name].theirs)
        for name in CASES
        if isinstance(CASES[name].theirs, type) and name not in ("fast_ap", "angular")
    },
    "fast_ap": ("squared_euclidean", losses.FastAPLoss),
    "angular": ("cosine", losses.AngularLoss),
}


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_the_defaults_are_those_of_pytorch_metric_learning(name):
    metric, theirs = DEFAULTS[name]
    rng = np.random.default_rng(11)
    labels, embeddings = np.array([0, 0, 0, 1, 1, 2]), rng.normal(size=(6, 4))
    normalized = torch.nn.functional.normalize
    expected = reference(lambda x: theirs()(normalized(x), torch.tensor(labels)), embeddings)
    loss = siamkit.get_loss(name, metric=metric, **CASES[name].fixed)
    got = value_and_gradient(lambda x: loss(labels, unit(x)), embeddings.astype("float32"))
    assert_parity(got, expected)


COMPOSITIONS = {
    "one class": [0] * 6,
    "all distinct": list(range(6)),
    "a singleton": [*[0] * 5, 1],
}
if EAGER:  # a shape of its own, on every backend in the conformance kit
    COMPOSITIONS["one item"] = [3]


@pytest.mark.parametrize("composition", COMPOSITIONS)
@pytest.mark.parametrize("name", sorted(CASES))
def test_awkward_batches_have_the_value_and_gradient_of_pytorch_metric_learning(name, composition):
    metric, theirs = DEFAULTS.get(name, (CASES[name].metric, CASES[name].theirs))
    if name == "ranked_list":  # PML has no defaults for these
        theirs = partial(theirs, margin=0.4, Tn=10.0)
    labels = np.array(COMPOSITIONS[composition])
    embeddings = np.random.default_rng(2).normal(size=(len(labels), 4))
    normalized = torch.nn.functional.normalize
    expected = reference(lambda x: theirs()(normalized(x), torch.tensor(labels)), embeddings)
    loss = siamkit.get_loss(name, metric=metric, **CASES[name].fixed)
    got = value_and_gradient(lambda x: loss(labels, unit(x)), embeddings.astype("float32"))
    if (name, composition) == ("nca", "all distinct"):
        assert np.isnan(expected[0])  # PML takes the mean of nothing
        expected = 0.0, [np.zeros_like(embeddings)]
    assert_parity(got, expected)
    if expected[0] == 0:
        assert got[0] == 0
        assert not got[1][0].any()


# ------------------------------------------------------------------- mining

MINERS = {
    ("triplet", "hard"): lambda: miners.BatchHardMiner(distance=lp()),
    ("triplet", "semihard"): lambda: miners.TripletMarginMiner(
        margin=0.5, type_of_triplets="semihard", distance=lp()
    ),
    ("triplet", "easy_positive"): lambda: miners.BatchEasyHardMiner(distance=lp()),
    ("triplet", "multi_similarity"): lambda: miners.MultiSimilarityMiner(distance=lp()),
    ("margin", "hard"): lambda: miners.BatchHardMiner(distance=lp()),
    ("margin", "multi_similarity"): lambda: miners.MultiSimilarityMiner(distance=lp()),
    ("contrastive", "hard"): lambda: miners.BatchHardMiner(distance=lp()),
    ("contrastive", "semihard"): lambda: miners.TripletMarginMiner(
        margin=1e9, type_of_triplets="semihard", distance=lp()
    ),
    ("contrastive", "easy_positive"): lambda: miners.BatchEasyHardMiner(distance=lp()),
    ("multi_similarity", "multi_similarity"): miners.MultiSimilarityMiner,
    ("nt_xent", "easy_positive"): lambda: miners.BatchEasyHardMiner(distance=distances.CosineSimilarity()),
    ("circle", "hard"): lambda: miners.BatchHardMiner(distance=distances.CosineSimilarity()),
    ("sup_con", "multi_similarity"): miners.MultiSimilarityMiner,
    ("tuplet_margin", "hard"): lambda: miners.BatchHardMiner(distance=distances.CosineSimilarity()),
    ("intra_pair_variance", "multi_similarity"): miners.MultiSimilarityMiner,
    ("generalized_lifted_structure", "hard"): lambda: miners.BatchHardMiner(distance=lp()),
    ("threshold_consistent_margin", "multi_similarity"): miners.MultiSimilarityMiner,
}
MINED_WITH = {
    "triplet": {"margin": 0.5},
    "margin": {"margin": 0.5, "beta": 2.0},
    "contrastive": {"neg_margin": 4.0},
}


@pytest.mark.parametrize(("name", "mining"), sorted(MINERS))
@few
@given(batch=batches())
def test_mining_is_that_of_pytorch_metric_learnings_miners(name, mining, batch):
    labels, embeddings = batch
    case = CASES[name]
    params = MINED_WITH.get(name, {})
    theirs, miner = case.theirs(**params), MINERS[name, mining]()
    targets = torch.tensor(labels)
    mined = miner(torch.tensor(embeddings), targets)
    expected = reference(lambda x: theirs(x, targets, mined), embeddings)
    loss = siamkit.get_loss(name, metric=case.metric, mining=mining, **params, **case.fixed)
    assert_parity(ours(loss, labels, embeddings), expected)


def distance_weights(embeddings, labels):
    """Wu et al. 2017, section 4: 1 / q(d), q(d) ∝ d^(n-2) (1 - d²/4)^((n-3)/2), one entry at a time."""
    points = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    count, dim = points.shape
    weights = np.zeros((count, count))
    for a in range(count):
        for n in range(count):
            d = np.linalg.norm(points[a] - points[n])
            if labels[a] != labels[n] and d < 1.4:
                d = max(d, 0.5)
                weights[a, n] = 1 / (d ** (dim - 2) * (1 - d * d / 4) ** ((dim - 3) / 2))
        if weights[a].sum():
            weights[a] /= weights[a].sum()
    return weights


@few
@given(batch=batches())
def test_distance_weighted_mining_weighs_each_negative_by_the_papers_density(batch):
    labels, embeddings = batch
    weights = torch.tensor(distance_weights(embeddings, labels))
    alike = torch.tensor(labels[:, None] == labels[None, :]) & ~torch.eye(len(labels), dtype=torch.bool)

    def expected(x):
        d = torch.cdist(x, x)
        values = torch.relu(d[:, :, None] - d[:, None, :] + 0.5)
        chosen = alike[:, :, None] * weights[:, None, :] * (values > 0)
        return (values * chosen).sum() / chosen.sum() if chosen.sum() > 0 else 0.0 * x.sum()

    loss = siamkit.get_loss("triplet", metric="euclidean", margin=0.5, mining="distance_weighted")
    assert_parity(ours(loss, labels, embeddings), reference(expected, embeddings))


def test_pairs_mined_by_distance_take_part_as_often_as_in_its_triplets():
    rng = np.random.default_rng(3)
    labels, embeddings = np.array([0, 0, 0, 1, 1, 2]), rng.normal(size=(6, 4))
    weights = torch.tensor(distance_weights(embeddings, labels))
    alike = torch.tensor(labels[:, None] == labels[None, :]) & ~torch.eye(6, dtype=torch.bool)

    def expected(x):
        d = torch.cdist(x, x)
        pull, push = d * alike, torch.relu(4.0 - d)
        near = alike * weights.sum(dim=1, keepdim=True)
        far = weights * alike.sum(dim=1, keepdim=True)
        far = far * (push > 0)
        return (pull * near).sum() / near.sum() + (push * far).sum() / far.sum()

    loss = siamkit.get_loss(
        "contrastive", metric="euclidean", power=1.0, neg_margin=4.0, mining="distance_weighted"
    )
    assert_parity(ours(loss, labels, embeddings), reference(expected, embeddings))


# --------------------------------------------- losses with state or weights of their own


@pytest.mark.parametrize("per_class", [False, True])
def test_a_learned_margin_boundary_has_the_gradient_of_pytorch_metric_learning(per_class):
    rng = np.random.default_rng(5)
    labels, embeddings = np.array([0, 0, 1, 1, 2, 2]), rng.normal(size=(6, 4))
    classes = 3 if per_class else None
    theirs = losses.MarginLoss(beta=1.5, nu=0.3, learn_beta=True, num_classes=classes, distance=lp()).double()
    start = theirs.beta.detach().numpy().copy()

    def function(x, beta):
        del theirs._parameters["beta"]
        theirs.beta = beta
        try:
            return theirs(x, torch.tensor(labels))
        finally:
            del theirs.beta
            theirs.beta = torch.nn.Parameter(torch.tensor(start))

    expected = reference(function, embeddings, start)
    loss = siamkit.get_loss(
        "margin", metric="euclidean", beta=1.5, nu=0.3, learn_beta=True, num_classes=classes
    )
    loss(labels, embeddings.astype("float32"))
    assert_parity(ours(loss, labels, embeddings, [loss.state.beta]), expected)


def test_dynamic_soft_margin_has_the_value_of_pytorch_metric_learning_over_several_batches():
    rng = np.random.default_rng(7)
    theirs = losses.DynamicSoftMarginLoss(momentum=0.3)
    loss = siamkit.get_loss("dynamic_soft_margin", metric="euclidean", momentum=0.3)
    for _ in range(3):
        labels, embeddings = rng.integers(0, 3, size=6), rng.normal(size=(6, 4))
        with torch.no_grad():
            expected = float(theirs(torch.tensor(embeddings), torch.tensor(labels)))
        points = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
        assert float(loss(labels, points.astype("float32"))) == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(
        ops.convert_to_numpy(loss.state.shares), theirs.hist_.numpy(), rtol=1e-3, atol=1e-5
    )


def test_dynamic_soft_margin_weighs_gradients_by_the_share_of_easier_triplets():
    rng = np.random.default_rng(8)
    labels, embeddings = np.array([0, 0, 1, 1, 2, 2]), rng.normal(size=(6, 4))
    points = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    alike = (labels[:, None] == labels[None, :]) & ~np.eye(6, dtype=bool)
    triplets = [
        (a, p, n)
        for a in range(6)
        for p in range(6)
        for n in range(6)
        if alike[a, p] and labels[a] != labels[n]
    ]
    d = np.linalg.norm(points[:, None] - points[None], axis=-1)
    shares = np.zeros(10)  # bins at -2, -1.6, …
    for a, p, n in triplets:
        place = (d[a, p] - d[a, n] + 2) / 0.4
        shares[int(place)] += 1 - place % 1
        shares[int(place) + 1] += place % 1
    below = np.cumsum(shares / shares.sum())
    weights = [below[int((d[a, p] - d[a, n] + 2) / 0.4)] for a, p, n in triplets]

    def expected(x):
        e = torch.cdist(x, x)
        terms = [w * (e[a, p] - e[a, n]) for w, (a, p, n) in zip(weights, triplets, strict=True)]
        return torch.stack(terms).mean()

    loss = siamkit.get_loss("dynamic_soft_margin", metric="euclidean")
    assert_parity(ours(loss, labels, points), reference(expected, points))


@pytest.mark.parametrize(("lambdac", "alpha"), [(1.0, 0.8), (0.3, 0.5), (float("inf"), 0.8)])
def test_manifold_has_the_value_and_gradient_of_pytorch_metric_learning(lambdac, alpha):
    rng = np.random.default_rng(9)
    labels, embeddings = rng.integers(0, 7, size=6), rng.normal(size=(6, 4))
    theirs = losses.ManifoldLoss(l=4, K=5, lambdaC=lambdac, alpha=alpha, margin=0.01)
    proxies = theirs.proxies.detach().double().numpy()

    def function(x, p):
        # PML multiplies an infinite weight into the sum; the context term alone is meant.
        theirs.lambdaC = lambdac
        del theirs._parameters["proxies"]
        theirs.proxies = p
        try:
            value = theirs(x, indices_tuple=torch.tensor(labels % 5))
        finally:
            del theirs.proxies
            theirs.proxies = torch.nn.Parameter(torch.tensor(proxies))
        return value

    from siamkit.losses.proxies import Manifold

    loss = Manifold(K=5, lambdaC=lambdac, alpha=alpha, margin=0.01)
    loss.bind(siamkit.get_metric("cosine"))
    loss.state(np.zeros((1, 4), dtype="float32"))
    loss.state.proxies.assign(proxies)
    got = ours_at_once(loss, labels, embeddings, [loss.state.proxies])
    if lambdac == float("inf"):
        assert np.isfinite(got[0])
        return
    # Its inverse is taken in float32.
    assert_parity(got, reference(function, embeddings, proxies), tolerance=1e-3)


# ----------------------------------------------------------------- wrappers


def test_cross_batch_memory_is_that_of_pytorch_metric_learning_also_when_it_wraps_around():
    rng = np.random.default_rng(13)
    inner = losses.ContrastiveLoss(neg_margin=3.0, distance=lp())
    theirs = losses.CrossBatchMemory(inner, embedding_size=4, memory_size=15)
    theirs.embedding_memory = theirs.embedding_memory.double()
    loss = siamkit.get_loss(
        "cross_batch_memory",
        metric="euclidean",
        memory_size=15,
        loss={"contrastive": {"power": 1.0, "neg_margin": 3.0}},
    )
    for _ in range(5):
        labels, embeddings = rng.integers(0, 3, size=6), rng.normal(size=(6, 4))
        # First value and gradient without an update of the memory.
        got = ours(lambda *batch: loss(*batch, training=False), labels, embeddings)
        moved = float(loss(labels, embeddings.astype("float32")))
        assert moved == pytest.approx(got[0], rel=1e-6)
        assert_parity(got, reference(lambda x, y=labels: theirs(x, torch.tensor(y)), embeddings))


@pytest.mark.parametrize(
    # Not nca: there PML counts an item's own copy in the memory as its neighbour.
    "inner",
    # Of pairs, of pairs against all negatives, of triplets; the rest is the same on every backend.
    ["multi_similarity", "nt_xent", "triplet"]
    + (["sup_con", "tuplet_margin", "circle", "angular"] if EAGER else []),
)
def test_many_losses_compare_a_batch_with_a_memory_as_pytorch_metric_learning_does(inner):
    rng = np.random.default_rng(17)
    case = CASES[inner]
    theirs = losses.CrossBatchMemory(case.theirs(), embedding_size=4, memory_size=15)
    theirs.embedding_memory = theirs.embedding_memory.double()
    loss = siamkit.get_loss("cross_batch_memory", metric=case.metric, memory_size=15, loss=inner)
    for _ in range(3):
        labels, embeddings = np.array([0, 0, 1, 2, 1, 3]), rng.normal(size=(6, 4))
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        got = value_and_gradient(
            lambda x, y=labels: loss(y, unit(x), training=False), embeddings.astype("float32")
        )
        loss(labels, embeddings.astype("float32"))
        expected = reference(
            lambda x, y=labels: theirs(torch.nn.functional.normalize(x), torch.tensor(y)), embeddings
        )
        assert_parity(got, expected)


def test_matryoshka_is_the_sum_over_cut_embeddings_of_the_whole_length():
    rng = np.random.default_rng(19)
    labels, embeddings = np.array([0, 0, 1, 1, 2, 2]), rng.normal(size=(6, 8))

    def expected(x):
        theirs = losses.ContrastiveLoss(neg_margin=3.0, distance=lp())
        total = 0.0
        for dim in (8, 4, 2):
            cut = x[:, :dim]
            total = total + theirs(cut / cut.norm(dim=1, keepdim=True) * x.norm(dim=1, keepdim=True), labels_)
        return total

    labels_ = torch.tensor(labels)
    inner = {"contrastive": {"power": 1.0, "neg_margin": 3.0}}
    loss = siamkit.get_loss("matryoshka", metric="euclidean", loss=inner, dims=[2, 8, 4, 99])
    assert_parity(ours_at_once(loss, labels, embeddings), reference(expected, embeddings))
    halves = siamkit.get_loss("matryoshka", metric="euclidean", loss=inner, smallest=2)
    assert_parity(ours_at_once(halves, labels, embeddings), reference(expected, embeddings))


def test_matryoshka_cuts_class_proxies_with_the_embeddings():
    rng = np.random.default_rng(23)
    labels, embeddings = np.array([0, 1, 2, 1, 2, 0]), rng.normal(size=(6, 8))
    inner = siamkit.get_loss("proxy_anchor", num_classes=3)
    loss = siamkit.get_loss("matryoshka", metric="cosine", loss=inner, dims=[2, 8])
    loss.state(np.zeros((1, 8), dtype="float32"))
    proxies = rng.normal(size=(3, 8))
    inner.state.proxies.assign(proxies)

    def expected(x, p):
        total = 0.0
        for dim in (8, 2):
            theirs = losses.ProxyAnchorLoss(num_classes=3, embedding_size=dim)
            del theirs._parameters["proxies"]
            theirs.proxies = p[:, :dim]
            total = total + theirs(x[:, :dim], torch.tensor(labels))
        return total

    assert_parity(
        ours_at_once(loss, labels, embeddings, [inner.state.proxies]),
        reference(expected, embeddings, proxies),
    )


def test_a_weighted_sum_is_the_sum_of_its_parts():
    rng = np.random.default_rng(29)
    labels, embeddings = np.array([0, 0, 1, 1, 2, 2]), rng.normal(size=(6, 4))

    def expected(x):
        targets = torch.tensor(labels)
        return losses.MultiSimilarityLoss()(x, targets) + 0.3 * losses.IntraPairVarianceLoss()(x, targets)

    loss = siamkit.get_loss("weighted_sum", metric="cosine", weight=0.3)
    assert_parity(ours(loss, labels, embeddings), reference(expected, embeddings))
