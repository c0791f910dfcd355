"""How alike two embeddings are: HSIC in slow loops, SciPy's Procrustes, invariances, hand calculation."""

from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from scipy import stats
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.distance import pdist

from siamkit.comparison import similarity
from siamkit.comparison.similarity import (
    distance_rank_correlation,
    linear_cka,
    neighbor_overlap,
    procrustes_distance,
    shared_neighbors,
)
from siamkit.errors import DataError
from siamkit.evaluation.distances import plain_metric


def cloud(n=60, dim=8, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dim))


def related(n=60, seed=0):
    """Two embeddings of different dims that share some of what they say."""
    x, noise = cloud(n, 8, seed), cloud(n, 5, seed + 1)
    return x + 3, x[:, :5] @ cloud(5, 5, 9) + 2 * noise


def rotation(dim, seed=3):
    return np.linalg.qr(cloud(dim, dim, seed))[0]


MEASURES = [
    linear_cka,
    lambda x, y: linear_cka(x, y, debiased=False),
    procrustes_distance,
    lambda x, y: neighbor_overlap(x, y, 5, "euclidean"),
    lambda x, y: distance_rank_correlation(x, y, "euclidean"),
]
NAMES = ["cka", "biased", "procrustes", "overlap", "distances"]
SAME = dict(zip(NAMES, [1, 1, 0, 1, 1], strict=True))
each_measure = pytest.mark.parametrize(
    ("measure", "same"), list(zip(MEASURES, SAME.values(), strict=True)), ids=NAMES
)


@each_measure
def test_rotation_scale_and_shift_change_nothing(measure, same):
    x = cloud()
    moved = 7 * x @ rotation(8) + 11
    wider = np.pad(moved, ((0, 0), (0, 3)))
    for other in (x, moved, wider):
        assert measure(x, other) == pytest.approx(same, abs=2e-3)
    a, b = related()
    assert measure(3 * a @ rotation(8) - 1, b) == pytest.approx(measure(a, b), abs=1e-2)


@each_measure
def test_it_is_symmetric_and_the_order_of_items_does_not_matter(measure, same):
    a, b = related()
    assert measure(b, a) == pytest.approx(measure(a, b), abs=1e-6)
    order = np.random.default_rng(0).permutation(len(a))
    assert measure(a[order], b[order]) == pytest.approx(measure(a, b), abs=1e-6)
    # But which item is which does: shuffled alone, one says nothing of the other.
    assert abs(measure(a[order], b) - same) > abs(measure(a, b) - same) + 0.05


# ---------------------------------------------------------------- CKA


def hsic(k, ell):
    """tr(K H L H) as in the paper, by its Gram matrices."""
    n = len(k)
    centring = np.eye(n) - np.ones((n, n)) / n
    return np.trace(k @ centring @ ell @ centring) / (n - 1) ** 2


def unbiased_hsic(k, ell):
    """Song et al., equation 4, as the sum over couples, triples and quadruples of different items."""
    n = len(k)
    couples = sum(k[i, j] * ell[i, j] for i, j in itertools.permutations(range(n), 2))
    triples = sum(k[i, j] * ell[i, q] for i, j, q in itertools.permutations(range(n), 3))
    fours = sum(k[i, j] * ell[q, r] for i, j, q, r in itertools.permutations(range(n), 4))
    two, three = n * (n - 1), n * (n - 1) * (n - 2)
    return couples / two + fours / (three * (n - 3)) - 2 * triples / three


def by_gram(x, y, measure):
    k, ell = x @ x.T, y @ y.T
    return measure(k, ell) / math.sqrt(measure(k, k) * measure(ell, ell))


def test_cka_is_that_of_gram_matrices():
    x, y = related()
    assert linear_cka(x, y, debiased=False) == pytest.approx(by_gram(x, y, hsic), rel=1e-5)


def test_debiased_cka_is_the_sum_over_different_items():
    x, y = related(11)
    assert linear_cka(x, y) == pytest.approx(by_gram(x, y, unbiased_hsic), rel=1e-4)


def test_cka_of_independent_noise_is_zero_only_when_debiased():
    found = [linear_cka(cloud(100, 80, k), cloud(100, 60, k + 50)) for k in range(10)]
    assert abs(np.mean(found)) < 0.03
    assert linear_cka(cloud(100, 80), cloud(100, 60, 1), debiased=False) > 0.35


def test_cka_by_hand():
    # Centred: x = (-1, -1, 1, 1), y = (-1, 1, -1, 1), z = (-2, 0, 0, 2): xy 0, xz 4, |x|² 4, |z|² 8.
    x, y, z = ([[0], [0], [2], [2]], [[0], [2], [0], [2]], [[0], [2], [2], [4]])
    assert linear_cka(x, y, debiased=False) == pytest.approx(0)
    assert linear_cka(x, z, debiased=False) == pytest.approx(4**2 / (4 * 8))


def test_moments_do_not_depend_on_the_portions(monkeypatch):
    x, y = related()
    expected = linear_cka(x, y), linear_cka(x, y, debiased=False), procrustes_distance(x, y)
    monkeypatch.setattr(similarity, "CHUNK", 56)
    again = linear_cka(x, y), linear_cka(x, y, debiased=False), procrustes_distance(x, y)
    assert again == pytest.approx(expected, rel=1e-9)


def test_memory_is_dim_by_dim():
    x, y = cloud(20_000, 16), cloud(20_000, 16, 1)
    tracemalloc.start()
    linear_cka(x, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000 * 20_000 * 8 / 50


def test_a_single_point_is_like_nothing():
    x = cloud()
    for point in (np.full((60, 3), 0.1), np.zeros((60, 3))):
        assert math.isnan(linear_cka(x, point))
        assert math.isnan(linear_cka(point, x, debiased=False))
        assert math.isnan(procrustes_distance(x, point))
        assert math.isnan(distance_rank_correlation(x, point, "euclidean"))


# ---------------------------------------------------------------- Procrustes


def test_procrustes_is_that_of_scipy():
    x, y = related()
    x, y = x - x.mean(axis=0), np.pad(y - y.mean(axis=0), ((0, 0), (0, 3)))
    x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    turn, _ = orthogonal_procrustes(y, x)
    assert procrustes_distance(*related()) == pytest.approx(np.linalg.norm(x - y @ turn), rel=1e-5)


def test_procrustes_by_hand():
    # Two directions that have nothing to do with each other: |XᵀY|_* = 0.
    assert procrustes_distance([[0], [0], [2], [2]], [[0], [2], [0], [2]]) == pytest.approx(math.sqrt(2))
    # x·z / (|x| |z|) = 4 / √32.
    expected = math.sqrt(2 - 2 * 4 / math.sqrt(32))
    assert procrustes_distance([[0], [0], [2], [2]], [[0], [2], [2], [4]]) == pytest.approx(expected)


def test_procrustes_is_a_metric():
    clouds = [cloud(20, dim, dim) for dim in (2, 3, 5, 8)]
    for x, y, z in itertools.permutations(clouds, 3):
        assert procrustes_distance(x, z) <= procrustes_distance(x, y) + procrustes_distance(y, z)


# ---------------------------------------------------------------- neighbours


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_overlap_is_that_of_sets_in_a_loop(metric):
    x, y = (each.astype(np.float32) for each in related())

    def nearest(rows, i):
        if metric == "cosine":
            rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        order = np.argsort(((rows - rows[i]) ** 2).sum(axis=1))
        return set(order[order != i][:7])

    expected = np.mean([len(nearest(x, i) & nearest(y, i)) / 7 for i in range(60)])
    assert neighbor_overlap(x, y, 7, metric) == pytest.approx(expected)


def test_each_embedding_may_have_its_own_metric():
    x, y = related()
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    mixed = neighbor_overlap(x, y, 5, ("cosine", "euclidean"))
    assert mixed == pytest.approx(neighbor_overlap(unit, y, 5, "euclidean"))
    assert mixed != neighbor_overlap(x, y, 5, "euclidean")
    correlation = distance_rank_correlation(x, y, ("cosine", "euclidean"))
    assert correlation == pytest.approx(distance_rank_correlation(unit, y, "euclidean"), abs=1e-3)


def test_overlap_of_independent_noise_is_chance():
    assert neighbor_overlap(cloud(500), cloud(500, 6, 1), 25) == pytest.approx(25 / 499, abs=0.02)


def test_given_neighbours_are_compared_as_sets():
    assert shared_neighbors([[1, 2], [0, 2], [0, 1]], [[2, 1], [2, 3], [4, 5]]) == pytest.approx(1.5 / 3)
    with pytest.raises(DataError, match=r"both be \(items, k\), got \(1, 2\) and \(1, 1\)"):
        shared_neighbors([[1, 2]], [[1]])
    with pytest.raises(DataError, match="twice in a row"):
        shared_neighbors([[1, 1]], [[1, 2]])


# ---------------------------------------------------------------- distances


@pytest.mark.parametrize(("name", "scipy_name"), [("euclidean", "euclidean"), ("cosine", "cosine")])
def test_distance_rank_correlation_is_that_of_scipy(name, scipy_name):
    x, y = related()
    expected = stats.spearmanr(pdist(x, scipy_name), pdist(y, scipy_name)).statistic
    assert distance_rank_correlation(x, y, name) == pytest.approx(expected, abs=1e-4)


def test_a_sample_of_pairs_is_near_all_of_them_and_has_its_seed():
    x, y = related(200)
    whole = distance_rank_correlation(x, y)
    part = distance_rank_correlation(x, y, pairs=8000)
    assert part == pytest.approx(whole, abs=4 / math.sqrt(8000))
    assert part == distance_rank_correlation(x, y, pairs=8000)
    assert part != distance_rank_correlation(x, y, pairs=8000, seed=1)
    assert distance_rank_correlation(x, y, pairs=200 * 199 // 2) == whole


def test_drawn_pairs_are_even_and_never_an_item_with_itself():
    i, j = similarity._pairs(5, 9, 0)
    assert (i != j).all()
    i, j = similarity._pairs(300, 40_000, 0)
    assert (i != j).all()
    assert len(i) == 40_000
    assert stats.chisquare(np.bincount(j, minlength=300)).pvalue > 0.001


def test_independent_noise_has_no_rank_correlation():
    assert abs(distance_rank_correlation(cloud(300), cloud(300, 6, 1))) < 0.05


# ---------------------------------------------------------------- the plain metrics, what is refused


@pytest.mark.parametrize("name", ["cosine", "euclidean"])
def test_rows_and_matrix_of_a_plain_metric_agree(name):
    metric, (x, y) = plain_metric(name), cloud(2 * 9, 4).reshape(2, 9, 4).astype(np.float32)
    x[0] = 0
    np.testing.assert_allclose(metric(x, y), np.diag(metric.matrix(x, y)), atol=1e-7)
    assert metric(x, y)[0] == pytest.approx(0 if name == "cosine" else np.linalg.norm(y[0]))


def test_near_points_far_from_the_origin_keep_their_distances():
    x = np.float32([[1000, 0], [1000.0625, 0]])
    assert plain_metric("euclidean").matrix(x, x)[0, 1] == pytest.approx(0.0625)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: linear_cka(cloud(5), cloud(6)), "same items, got 5 and 6"),
        (lambda: linear_cka(cloud(3), cloud(3)), "x should have at least 4 rows, got 3"),
        (lambda: procrustes_distance(cloud()[0], cloud()), r"x should have the shape \(items, dim\)"),
        (lambda: procrustes_distance(cloud(), np.full((60, 2), np.nan)), "y should be finite"),
        (lambda: neighbor_overlap(cloud(5), cloud(5), 5), "k should be at most 4"),
        (lambda: neighbor_overlap(cloud(5), cloud(5), 2, "cosin"), "did you mean 'cosine'"),
        (lambda: distance_rank_correlation(cloud(5), cloud(5), pairs=0), "pairs should be an integer"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_sentence(call, sentence):
    with pytest.raises(DataError, match=sentence):
        call()
