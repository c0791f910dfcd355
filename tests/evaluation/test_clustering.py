"""Clusters of k-means and their agreement with classes, against scikit-learn and pytorch-metric-learning."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from clouds import clouds
from numpy_metrics import Cosine, Euclidean
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, normalized_mutual_info_score

from siamkit.evaluation import candidates, clustering, evaluate, evaluate_labels
from siamkit.evaluation.classification import KnnVotes
from siamkit.evaluation.distances import Cosine as PlainCosine
from siamkit.evaluation.scan import Queries, scan


def starts(vectors, count, seed=0):
    """Return the centers that k-means starts from."""
    centred = (vectors - vectors.mean(axis=0)).astype(np.float32)
    draws = clustering.CenterDraws(centred, count, np.random.default_rng(seed))
    draws.compare()
    return vectors[draws.centers()[0]]


@pytest.mark.parametrize("metric", [Euclidean(), Cosine()])
def test_clusters_are_those_of_scikit_learn(metric):
    embeddings, labels = clouds(4, 25, 1.5)
    vectors = embeddings
    if isinstance(metric, Cosine):
        vectors = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    found = KMeans(4, init=starts(vectors, 4), n_init=1).fit_predict(vectors)
    measures = evaluate(embeddings, labels, metric, groups=("clustering",))
    assert 0.1 < measures["nmi"] < 0.99
    assert measures["nmi"] == pytest.approx(normalized_mutual_info_score(labels, found))
    assert measures["ami"] == pytest.approx(adjusted_mutual_info_score(labels, found))
    assert measures["ari"] == pytest.approx(adjusted_rand_score(labels, found))


# Three groups of three, so that no two are equally good, which rounding would decide.
LINE = np.array([0.0, 1.1, 3.2, 8.0, 9.5, 10.1, 15.0, 16.3, 18.1], np.float32)[:, None]


def shares(draw):
    """Return how often each set of three centers of the line is drawn."""
    sets = [tuple(np.sort(draw(LINE - LINE.mean(), seed).ravel())) for seed in range(2000)]
    return {each: sets.count(each) / len(sets) for each in {*sets}}


@pytest.fixture(scope="module")
def shares_of_scikit_learn():
    return shares(lambda line, seed: kmeans_plusplus(line, 3, random_state=seed)[0])


# Of three centers 3, 2 and 1 are compared with all vectors; all, one by one; one, and perhaps others.
@pytest.mark.parametrize(("closer", "most"), [(1, 9), (5, 9), (9, 9), (9, -1), (9, 2.5)])
def test_centers_are_drawn_as_often_as_by_scikit_learn(monkeypatch, shares_of_scikit_learn, closer, most):
    monkeypatch.setattr(clustering, "CLOSER", closer)
    monkeypatch.setattr(clustering, "MOST_CLOSER", most)
    monkeypatch.setattr(clustering, "DRAWN", 3)  # enough for several centers
    ours, theirs = shares(lambda line, seed: starts(line, 3, seed)), shares_of_scikit_learn
    assert len(ours) > 5
    # Of two such samples of one distribution 0.07 ± 0.01; without rejection ours would be 0.4 away.
    assert sum(abs(ours.get(each, 0) - theirs.get(each, 0)) for each in {*ours, *theirs}) / 2 < 0.12


def skewed(near, far, dim):
    """Return vectors of which most are almost zero, and the others far from all."""
    draw = np.random.default_rng(0)
    sizes = np.r_[np.full(near, 0.01), draw.lognormal(1, 0.5, far)]
    return draw.permutation(sizes[:, None] * draw.normal(size=(near + far, dim))).astype(np.float32)


def test_clusters_of_skewed_vectors_take_little_memory(monkeypatch):
    vectors = skewed(1400, 600, 4)
    monkeypatch.setattr(clustering, "CLOSER", 16)
    monkeypatch.setattr(clustering, "MOST_CLOSER", 32)
    monkeypatch.setattr(clustering, "CHUNK", 2**14)
    tracemalloc.start()
    try:
        centers = starts(vectors, 700)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(np.unique(centers, axis=0)) == 700
    assert peak < 6e6  # about half of 1400² pairs are closer than the first centers: 12 bytes each


@pytest.mark.parametrize("closer", [5, 50, 1000])
def test_the_nearest_center_of_each_vector_is_known(monkeypatch, closer):
    monkeypatch.setattr(clustering, "CLOSER", closer)
    monkeypatch.setattr(clustering, "MOST_CLOSER", 2 * closer)
    monkeypatch.setattr(clustering, "CHUNK", 400)  # tiles of 20 × 20
    embeddings, _labels = clouds(60, 6, 1.0, dim=8)
    embeddings -= embeddings.mean(axis=0)
    draws = clustering.CenterDraws(embeddings, 60, np.random.default_rng(0))
    draws.compare()
    centers, nearest = draws.centers()
    assert len(np.unique(centers)) == 60
    squares = np.square(embeddings[:, None] - embeddings[centers]).sum(axis=-1)
    np.testing.assert_array_equal(nearest, squares.argmin(axis=1))


def drawn(clusters, embeddings, labels, shared):
    """Draw the centers of 360 vectors in classes of six, compared by the search or by the draws."""
    if shared:
        relevant = np.full(360, 5)
        queries = Queries(PlainCosine(), embeddings, labels, embeddings, labels, True, relevant)
        scan(queries, [KnnVotes(), clusters])
    else:
        clusters.draws.compare()
    return clusters.draws.centers()


@pytest.mark.parametrize(("kind", "shared"), [("wide", True), ("narrow", False), ("with a zero", False)])
def test_the_search_gives_the_distances_if_its_cosines_are_precise(monkeypatch, kind, shared):
    monkeypatch.setattr(candidates, "TILE", 32)
    monkeypatch.setattr(clustering, "CLOSER", 20)
    embeddings, labels = clouds(60, 6, 1.0, dim=8)
    if kind == "narrow":
        embeddings = 0.01 * embeddings + 1
    if kind == "with a zero":
        embeddings[3] = 0
    clusters = clustering.Clusters(embeddings, labels, True, cosines=True)
    assert clusters.takes_pairs == shared
    centers, nearest = drawn(clusters, embeddings, labels, shared)
    unit = embeddings.astype(np.float64)
    unit /= np.maximum(np.linalg.norm(unit, axis=1), 1e-9)[:, None]
    squares = np.square(unit[:, None] - unit[centers]).sum(axis=-1)
    assert len(np.unique(centers)) == 60
    assert squares[np.arange(360), nearest] == pytest.approx(squares.min(axis=1), rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("dim", [1, 3, 7])
@pytest.mark.parametrize("shared", [True, False])
def test_fewer_distinct_vectors_than_classes_are_no_obstacle(monkeypatch, dim, shared):
    """Of equal vectors, rounding makes the distance from a center positive or not: some are drawn too."""
    monkeypatch.setattr(candidates, "TILE", 32)
    monkeypatch.setattr(clustering, "CLOSER", 20)  # 18 centers before the lists
    labels = np.repeat(np.arange(60), 6)
    for seed in range(12):
        draw = np.random.default_rng(seed)
        codes = draw.choice([-1.0, 1.0], (9, dim))[draw.integers(0, 9, 360)]
        embeddings = (codes * draw.uniform(0.5, 3, (360, 1))).astype(np.float32)
        clusters = clustering.Clusters(embeddings, labels, True, cosines=True, seed=seed)
        centers, nearest = drawn(clusters, embeddings, labels, shared)
        assert centers.shape == (60,)
        assert len(np.unique(codes[centers], axis=0)) == len(np.unique(codes, axis=0))
        np.testing.assert_array_equal(codes[centers[nearest]], codes)


def test_equal_vectors_are_not_listed_as_closer_to_each_other():
    codes = np.random.default_rng(0).choice([-1.0, 1.0], (400, 3)).astype(np.float32) / np.sqrt(3)
    draws = clustering.CenterDraws(codes - codes.mean(axis=0), 60, np.random.default_rng(0))
    draws._nearest[:] = np.where(codes[:, 0] > 0, 2.0**-20, 0.0)  # as rounding leaves them
    draws.add(0, 0, np.float32(-1 - 2.0**-23) * (codes @ codes.T), 1)
    assert not any(center.size for _tile, center, *_ in draws._closer)
    draws._nearest[7] = 0.1
    draws.add(0, 0, -codes @ codes.T, 1)
    center, closer = np.concatenate([part[1:3] for part in draws._closer], axis=1)
    equal = np.flatnonzero((codes == codes[7]).all(axis=1))
    assert set(center) == {*equal} - {7}
    assert {*closer} == {7}


def test_centers_do_not_depend_on_the_order_in_which_tiles_are_compared(monkeypatch):
    """Four vectors each are equal, so that they are equally good centers but for rounding."""
    monkeypatch.setattr(clustering, "CLOSER", 160)
    vectors = np.tile(np.random.default_rng(1).normal(size=(120, 16)), (4, 1))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    tiles = [(top, left) for top in range(0, 480, 24) for left in range(top, 480, 24)]
    products = -vectors @ vectors.T

    def centers(order):
        draws = clustering.CenterDraws(vectors, 100, np.random.default_rng(0))
        for top, left in (tiles[number] for number in order):
            draws.add(top, left, products[top : top + 24, left : left + 24], 1)
        return draws.centers()

    expected = centers(range(len(tiles)))
    for seed in range(8):
        found = centers(np.random.default_rng(seed).permutation(len(tiles)))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_clusters_start_as_well_apart_as_those_of_scikit_learn():
    embeddings, _labels = clouds(60, 6, 1.0, dim=8)
    ours, theirs = (
        np.mean([KMeans(60, init=init(seed), n_init=1, random_state=seed).fit(embeddings).inertia_
                 for seed in range(10)])
        for init in (lambda seed: starts(embeddings, 60, seed), lambda _seed: "k-means++")
    )  # fmt: skip
    assert ours == pytest.approx(theirs, rel=0.02)


@pytest.mark.parametrize(("classes", "apart"), [(3, 0.0), (12, 0.7), (60, 1.0)])
@pytest.mark.parametrize("seed", range(3))
def test_k_means_ends_in_the_clusters_of_scikit_learn(classes, apart, seed):
    embeddings, _labels = clouds(classes, 240 // classes, apart, dim=8, seed=seed)
    embeddings -= embeddings.mean(axis=0)
    initial = np.random.default_rng(seed).choice(240, classes, replace=False)
    nearest = np.square(embeddings[:, None] - embeddings[initial]).sum(axis=-1).argmin(axis=1)
    before = nearest.copy()
    found = clustering.k_means(embeddings, initial, nearest)
    expected = KMeans(classes, init=embeddings[initial], n_init=1).fit(embeddings)
    assert expected.n_iter_ > 2
    np.testing.assert_array_equal(found, expected.labels_)
    np.testing.assert_array_equal(nearest, before)


def test_more_clusters_than_distinct_vectors_are_no_obstacle():
    points = np.array([[0.0], [0.0], [5.0]], np.float32)
    centers = starts(points, 3)
    assert centers.shape == (3, 1)
    assert len(np.unique(centers)) == 2
    measures = clustering.Clusters(points, np.arange(3), angular=False).measures()
    assert 0.5 < measures["nmi"] < 1


@pytest.mark.parametrize(("a", "b"), [(1, 1), (1, 4), (4, 1), (3, 5), (40, 2), (40, 40), (12, 30)])
def test_mutual_information_corrected_for_chance_is_that_of_scikit_learn(a, b):
    draw = np.random.default_rng(a * b)
    first = np.arange(40) if a == 40 else draw.integers(0, a, 40)
    second = draw.permutation(40) if b == 40 else (first + draw.integers(0, 2, 40)) % b
    found = clustering.adjusted_mutual_information(first, second)
    assert found == pytest.approx(adjusted_mutual_info_score(first, second), abs=1e-9)


def test_clusters_far_apart_are_the_classes_and_noise_is_not():
    embeddings, labels = clouds(5, 20, 100.0)
    measures = evaluate(embeddings, labels, Euclidean(), groups=("clustering",))
    assert (measures["nmi"], measures["ami"], measures["ari"]) == pytest.approx((1, 1, 1))
    embeddings, labels = clouds(5, 200, 0.0)
    measures = evaluate(embeddings, labels, Euclidean(), groups=("clustering",))
    assert abs(measures["ami"]) < 0.02
    assert abs(measures["ari"]) < 0.02


def test_figures_equal_those_of_pytorch_metric_learning():
    import torch
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    embeddings, labels = clouds(6, 15, 1.0)

    def cluster(x, nmb_clusters, device=None):
        means = KMeans(nmb_clusters, init=starts(x.numpy(), nmb_clusters), n_init=1)
        return torch.tensor(means.fit_predict(x.numpy()))

    calculator = AccuracyCalculator(
        include=(
            "precision_at_1", "r_precision", "mean_average_precision_at_r", "mean_reciprocal_rank",
            "mean_average_precision", "NMI", "AMI",
        ),
        k=len(labels) - 1,
        knn_func=CustomKNN(LpDistance(normalize_embeddings=False)),
        kmeans_func=cluster,
        device=torch.device("cpu"),
    )  # fmt: skip
    theirs = calculator.get_accuracy(torch.tensor(embeddings), torch.tensor(labels))
    ours = evaluate_labels(
        embeddings, labels, Euclidean(), groups=("retrieval", "ranking", "clustering")
    ).measures
    pairs = {
        "precision_at_1": "precision_at_1",
        "r_precision": "r_precision",
        "map_at_r": "mean_average_precision_at_r",
        "mrr": "mean_reciprocal_rank",
        "map": "mean_average_precision",
        "nmi": "NMI",
        "ami": "AMI",
    }
    for mine, other in pairs.items():
        assert ours[mine] == pytest.approx(theirs[other], abs=1e-6), mine
