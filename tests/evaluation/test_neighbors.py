"""Exact nearest neighbours: the order, ties, what is left out, fixed shapes, memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selection import examples
from sklearn.neighbors import NearestNeighbors

from siamkit.errors import DataError
from siamkit.evaluation import evaluate_labels
from siamkit.evaluation.candidates import Index, OwnIndex, below, limit_of_smallest, nearest_first
from siamkit.evaluation.distances import Cosine, by_products, ignores_length, is_euclidean, paired_distances
from siamkit.evaluation.distances import Euclidean as Plain
from siamkit.evaluation.neighbors import nearest_neighbors, search


class Dot:
    orientation = "similarity"

    def __init__(self):
        self.shapes = set()

    def matrix(self, a, b):
        self.shapes.add((a.shape, b.shape))
        return a @ b.T

    def __call__(self, a, b):
        return (a * b).sum(axis=1)


class Euclidean(Dot):
    orientation = "distance"

    def matrix(self, a, b):
        super().matrix(a, b)
        return np.sqrt(np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T, 0))


@settings(max_examples=examples(200))
@given(st.data())
def test_nearest_first_is_a_stable_sort(data):
    n, m = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 12))
    # A few values, so that ties cross every boundary.
    values = st.sampled_from([-np.float32(3e38), -1.5, -1e-45, 0.0, 1e-45, 1.0, 1.0000001, np.float32(3e38)])
    flat = data.draw(st.lists(values, min_size=n * m, max_size=n * m))
    distances = np.array(flat, np.float32).reshape(n, m)
    exclude = np.array(data.draw(st.lists(st.integers(-1, m - 1), min_size=n, max_size=n)))
    k = data.draw(st.integers(1, m))
    expected = np.argsort(distances, axis=1, kind="stable")
    indices, found = nearest_first(distances, k)
    np.testing.assert_array_equal(indices, expected[:, :k])
    np.testing.assert_array_equal(found, np.take_along_axis(distances, indices, axis=1))
    if k < m:
        indices, _ = nearest_first(distances, k, exclude)
        for row, order, left_out in zip(indices, expected, exclude, strict=True):
            assert row.tolist() == [j for j in order if j != left_out][:k]


@pytest.mark.parametrize("levels", [1, 3, 1000])
def test_ties_among_many_are_in_order_of_index(levels):
    rng = np.random.default_rng(levels)
    distances = rng.integers(0, levels, (20, 500)).astype("float32")
    exclude = rng.integers(-1, 500, 20)
    indices, found = nearest_first(distances, 5, exclude)
    expected = np.argsort(distances, axis=1, kind="stable")
    for row, order, left_out in zip(indices, expected, exclude, strict=True):
        assert row.tolist() == [j for j in order if j != left_out][:5]
    np.testing.assert_array_equal(found, np.take_along_axis(distances, indices, axis=1))


def test_neighbours_equal_those_of_scikit_learn():
    draw = np.random.default_rng(0)
    queries, gallery = draw.normal(size=(37, 5)), draw.normal(size=(91, 5))
    distances, indices = NearestNeighbors(n_neighbors=7, algorithm="brute").fit(gallery).kneighbors(queries)
    found, values = nearest_neighbors(queries, gallery, Euclidean(), 7)
    np.testing.assert_array_equal(found, indices)
    np.testing.assert_allclose(values, distances, rtol=1e-4)


def test_values_of_a_similarity_fall_from_the_first():
    indices, values = nearest_neighbors([[1.0]], [[1.0], [3.0], [-2.0]], Dot(), 3)
    assert indices.tolist() == [[1, 0, 2]]
    assert values.tolist() == [[3.0, 1.0, -2.0]]


def test_zero_and_negative_zero_are_a_tie():
    class Signed(Dot):  # a @ b.T would not keep the sign of a zero
        def matrix(self, a, b):
            return np.copysign(np.zeros((len(a), len(b)), np.float32), b[:, 0])

    for Signed.orientation in ("distance", "similarity"):
        indices, _ = nearest_neighbors([[0.0]], [[1.0], [-1.0], [1.0], [-1.0]], Signed(), 4)
        assert indices.tolist() == [[0, 1, 2, 3]]


def test_an_item_is_left_out_by_its_index_not_by_its_distance():
    same = np.ones((5, 2))
    indices, _ = nearest_neighbors(same, same, Euclidean(), 4, exclude=np.arange(5))
    assert indices.tolist() == [[j for j in range(5) if j != i] for i in range(5)]
    indices, _ = nearest_neighbors(same[:2], same, Euclidean(), 2, exclude=[-1, 0])
    assert indices.tolist() == [[0, 1], [1, 2]]


@pytest.mark.parametrize(("block", "chunk"), [(1, 1), (50, 10**9), (200, 100), (10**9, 230)])
def test_neighbours_do_not_depend_on_how_the_work_is_portioned(monkeypatch, block, chunk):
    draw = np.random.default_rng(0)
    queries, gallery = draw.integers(-2, 3, (23, 3)), draw.integers(-2, 3, (31, 3))
    expected = nearest_neighbors(queries, gallery, Dot(), 6, exclude=np.arange(23))
    monkeypatch.setattr("siamkit.evaluation.distances.BLOCK", block)
    monkeypatch.setattr("siamkit.evaluation.distances.CHUNK", chunk)
    again = nearest_neighbors(queries, gallery, Dot(), 6, exclude=np.arange(23))
    for found, wanted in zip(again, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_all_blocks_have_one_shape_within_the_budget(monkeypatch):
    monkeypatch.setattr("siamkit.evaluation.distances.BLOCK", 400)
    metric = Euclidean()
    evaluate_labels(np.random.default_rng(0).normal(size=(101, 4)), np.arange(101) % 7, metric)
    ((a, b),) = metric.shapes
    assert a[0] * b[0] * 4 <= 400


def test_rows_of_pairs_have_one_shape(monkeypatch):
    class Rows(Dot):
        def __call__(self, a, b):
            self.shapes.add((a.shape, b.shape))
            return (a * b).sum(-1)

    monkeypatch.setattr("siamkit.evaluation.distances.CHUNK", 12)
    metric, pairs = Rows(), np.random.default_rng(0).normal(size=(11, 2, 3)).astype(np.float32)
    distances = paired_distances(metric, pairs[:, 0], pairs[:, 1])
    np.testing.assert_allclose(distances, -(pairs[:, 0] * pairs[:, 1]).sum(-1))
    ((a, _),) = metric.shapes
    assert a[0] <= 4


def test_memory_stays_far_below_all_against_all():
    embeddings, labels = np.random.default_rng(0).normal(size=(8000, 8)), np.arange(8000) % 2000
    tracemalloc.start()
    evaluate_labels(embeddings, labels, Euclidean())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8000 * 8000 * 4  # bytes of the matrix alone; ranking it would take several times that


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "3", None, 4])
def test_a_k_that_cannot_be_is_refused(k):
    with pytest.raises(DataError, match="k should be"):
        nearest_neighbors(np.eye(3), np.eye(3), Dot(), k)


def test_k_leaves_room_for_what_is_excluded():
    assert nearest_neighbors(np.eye(3), np.eye(3), Dot(), 3, exclude=[-1, -1, -1])[0].shape == (3, 3)
    with pytest.raises(DataError, match="k should be at most 2"):
        nearest_neighbors(np.eye(3), np.eye(3), Dot(), 3, exclude=[0, -1, -1])


@pytest.mark.parametrize("exclude", [[0, 1], [0, 1, 3], [-2, 0, 0], [0.0, 1.0, 2.0], "self"])
def test_wrong_exclusions_are_refused(exclude):
    with pytest.raises(DataError, match="exclude should"):
        nearest_neighbors(np.eye(3), np.eye(3), Dot(), 1, exclude=exclude)


def test_dims_that_differ_are_refused():
    with pytest.raises(DataError, match="same dim, got 3 and 2"):
        nearest_neighbors(np.eye(3), np.eye(2), Dot(), 1)


# ------------------------------------------------------------------ by candidates


def nearest_by_definition(queries, gallery, by, k, exclude):
    """Sort float64 scores that are rounded to float32, in a loop; equal ones by index."""
    found = []
    for query, left_out in zip(queries.astype("float64"), exclude, strict=True):
        rows = [
            float(np.float32(-(query @ item) if by == "product" else ((query - item) ** 2).sum()))
            for item in gallery.astype("float64")
        ]
        found.append([j for j in np.argsort(rows, kind="stable") if j != left_out][:k])
    return np.array(found)


def points(kind, rng):
    """Return a gallery of 400 points in which float32 has something to get wrong."""
    x = rng.normal(size=(400, 5))
    if kind == "far from zero":
        x = 3e3 + x
    if kind == "copies":
        x = x[rng.integers(0, 8, 400)]
    if kind == "a few copies":
        x[rng.integers(0, 400, 40)] = x[0]
    if kind == "nearly equal":
        x = 1 + 1e-6 * x
    if kind == "whole numbers":
        x = rng.integers(-2, 3, (400, 5))
    if kind == "one outlier":
        x[7] *= 1e6
    if kind == "huge":
        x *= 1e30
    return x.astype("float32")


KINDS = ("plain", "far from zero", "copies", "a few copies", "nearly equal", "whole numbers", "one outlier")


class Ordered(Euclidean):
    """The metric whose order products or distances are, all in float64."""

    def __init__(self, by):
        super().__init__()
        self.ordered_by = by

    def points(self, x):
        return x

    def matrix(self, a, b):
        a, b = a.astype("float64"), b.astype("float64")
        return -a @ b.T if self.ordered_by == "product" else ((a[:, None] - b) ** 2).sum(2)

    def __call__(self, a, b):
        return np.zeros(len(a))


@pytest.mark.parametrize("by", ["product", "distance"])
@pytest.mark.parametrize("kind", [*KINDS, "huge"])
def test_neighbours_by_candidates_are_exact(monkeypatch, by, kind):
    monkeypatch.setattr("siamkit.evaluation.candidates.SEGMENT", 130)
    monkeypatch.setattr("siamkit.evaluation.candidates.QUERIES", 7)
    rng = np.random.default_rng(len(kind))
    gallery = points(kind, rng)
    queries, exclude = gallery[:23], np.where(np.arange(23) % 3, np.arange(23), -1)
    found = list(search(Ordered(by), queries, gallery, 9, exclude))
    assert [start for start, _ in found] == [0, 7, 14, 21]
    scaled = np.ldexp(gallery, -int(np.frexp(np.abs(gallery).max())[1]))  # float32 has no squares of 1e30
    expected = nearest_by_definition(scaled[:23], scaled, by, 9, exclude)
    np.testing.assert_array_equal(np.concatenate([order for _, order in found]), expected)


@pytest.mark.parametrize("by", ["product", "distance"])
@pytest.mark.parametrize("kind", [*KINDS, "huge", "ever nearer"])
@pytest.mark.parametrize("tile", [5, 60, 90])  # fewer points than candidates, and points left over
def test_neighbours_among_the_queries_themselves_are_exact(monkeypatch, by, kind, tile):
    monkeypatch.setattr("siamkit.evaluation.candidates.TILE", tile)
    rng = np.random.default_rng(len(kind))
    x = points(kind, rng)
    if kind == "ever nearer":  # to the points before: every tile has new candidates for them
        x = x * np.linspace(9, 0.1, len(x), dtype=np.float32)[:, None]
    itself = np.arange(len(x))
    assert OwnIndex.pays(len(x), 4)
    found = np.concatenate([order for _, order in search(Ordered(by), x, x, 4, itself)])
    scaled = np.ldexp(x, -int(np.frexp(np.abs(x).max())[1]))
    some = rng.choice(len(x), 30, replace=False)
    np.testing.assert_array_equal(found[some], nearest_by_definition(scaled[some], scaled, by, 4, some))


def test_products_among_the_queries_themselves_are_computed_once(monkeypatch):
    monkeypatch.setattr("siamkit.evaluation.candidates.TILE", 50)
    products = []
    product = Index._product

    def counted(self, left, right):
        products.append(len(left) * right.shape[1])
        return product(self, left, right)

    monkeypatch.setattr(Index, "_product", counted)
    x = points("plain", np.random.default_rng(0))
    list(search(Ordered("distance"), x, x, 4, np.arange(400)))
    assert sum(products) == 50 * 50 * 8 * 9 / 2


class Cubed(Cosine):
    """The cube of the cosine, which orders items as the cosine does."""

    def __call__(self, a, b):
        return super().__call__(a, b) ** 3


class Stretched(Plain):
    """The distance of vectors twice as long in one direction."""

    def points(self, x):
        return x * np.float32([1, 2, 1])

    def __call__(self, a, b):
        return super().__call__(self.points(a), self.points(b))


def test_zero_vectors_do_not_show_what_a_metric_is():
    zeros, some = (
        np.zeros((40, 3), "float32"),
        np.random.default_rng(0).normal(size=(40, 3)).astype("float32"),
    )
    some[0] = 0
    assert by_products(Cosine(), some)
    assert is_euclidean(Plain(), some)
    assert ignores_length(Cosine(), some)
    for vectors in (zeros, some):
        assert not by_products(Cubed(), vectors)
        assert not is_euclidean(Stretched(), vectors)
        assert not ignores_length(Dot(), vectors)


def test_more_candidates_are_compared_where_rounding_could_hide_a_neighbour(monkeypatch):
    counts = []
    candidates = Index._candidates

    def counted(self, queries, count, exclude):
        counts.append((len(queries), count))
        return candidates(self, queries, count, exclude)

    monkeypatch.setattr(Index, "_candidates", counted)
    apart = np.random.default_rng(0).normal(size=(400, 5)).astype("float32")
    some, many = apart.copy(), apart.copy()
    some[7:30], many[7:70] = some[1], many[1]
    for gallery, expected in (
        (apart, [(5, 11)]),
        (some, [(5, 11), (1, 44)]),  # item 1 has 23 copies
        (many, [(5, 11), (1, 44)]),  # 63 copies: more than are compared
    ):
        counts.clear()
        _, proven = Index(gallery, "distance", 3).nearest(gallery[:5])
        assert counts == expected
        assert proven.tolist() == [True, gallery is not many, True, True, True]


@settings(max_examples=examples(200))
@given(st.integers(0, 2**32), st.integers(1, 700), st.integers(1, 40), st.sampled_from([1.0, 3.0, 1e6]))
def test_the_smallest_values_are_below_the_limit(seed, width, count, levels):
    values = np.floor(levels * np.random.default_rng(seed).normal(size=(3, width))).astype("float32")
    limits = limit_of_smallest(values, count)
    found, columns = below(values, limits)
    count = min(count, width)
    for row, limit, near, at in zip(values, limits, found, columns, strict=True):
        assert (near[np.isfinite(near)] == row[at[np.isfinite(near)]]).all()
        np.testing.assert_array_equal(np.sort(at[np.isfinite(near)]), np.flatnonzero(row < limit))
        # All that equal the last of the smallest are below the limit, too: ties are resolved among them.
        assert (row < limit).sum() >= (row <= np.sort(row)[count - 1]).sum() >= count


def test_few_more_values_than_wanted_are_below_the_limit():
    values = np.random.default_rng(0).normal(size=(8, 20_000)).astype("float32")
    assert ((values < limit_of_smallest(values, 100)[:, None]).sum(axis=1) < 130).all()


@pytest.mark.parametrize("k", [3, 40])
def test_the_nearest_in_many_segments_are_those_of_all_distances(k, monkeypatch):
    monkeypatch.setattr("siamkit.evaluation.candidates.SEGMENT", 50)
    draw = np.random.default_rng(k)
    gallery = draw.integers(-3, 4, (1500, 4)).astype("float32")  # many are equally near
    distances = np.square(gallery[:9, None] - gallery).sum(-1)
    found, proven = Index(gallery, "distance", k).nearest(gallery[:9])
    expected = np.lexsort((np.broadcast_to(np.arange(1500), distances.shape), distances))[:, :k]
    np.testing.assert_array_equal(found[proven], expected[proven])
    indices, _ = nearest_neighbors(gallery[:9], gallery, Plain(), k)
    np.testing.assert_array_equal(indices, expected)


def test_measures_of_retrieval_are_those_of_all_distances():
    rng = np.random.default_rng(3)
    labels = np.arange(600) % 150
    embeddings = rng.normal(size=(150, 8))[labels] + rng.normal(size=(600, 8))
    quick = evaluate_labels(embeddings, labels, Plain(), groups=("retrieval",))
    whole = evaluate_labels(embeddings, labels, Plain(), groups=("retrieval", "verification"))
    for name, value in quick.measures.items():
        assert value == pytest.approx(whole.measures[name], rel=1e-12)
    np.testing.assert_array_equal(quick.queries["nearest"], whole.queries["nearest"])
