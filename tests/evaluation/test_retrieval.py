"""Retrieval figures against slow loops written from the definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy_metrics import Euclidean
from selection import examples

from siamkit.errors import DataError
from siamkit.evaluation import evaluate_labels
from siamkit.evaluation.classification import query_scores


class Cosine:
    orientation = "similarity"

    def __call__(self, a, b):
        lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
        return np.where(lengths > 0, (a * b).sum(-1) / np.where(lengths > 0, lengths, 1), 0)

    def matrix(self, a, b):
        return self(a[:, None], b[None])


class CosineDistance(Cosine):
    orientation = "distance"

    def __call__(self, a, b):
        return 1 - super().__call__(a, b)


def slow_measures(queries, labels, metric, ks, gallery=None):
    """One query, one rank at a time."""
    pool, pool_labels = (queries, labels) if gallery is None else gallery
    sign = 1 if metric.orientation == "distance" else -1
    recalls, r_precisions, averages, excluded = {k: [] for k in ks}, [], [], 0
    for i in range(len(queries)):
        others = [j for j in range(len(pool)) if gallery is not None or j != i]
        values = {j: sign * metric(queries[i : i + 1], pool[j : j + 1])[0] for j in others}
        ranking = sorted(others, key=lambda j, values=values: (values[j], j))
        hits = [pool_labels[j] == labels[i] for j in ranking]
        total = sum(hits)
        if total == 0:
            excluded += 1
            continue
        for k in ks:
            recalls[k].append(any(hits[:k]))
        r_precisions.append(sum(hits[:total]) / total)
        averages.append(sum(sum(hits[:r]) / r for r in range(1, total + 1) if hits[r - 1]) / total)
    if not averages:
        return None
    return {
        **{f"recall_at_{k}": np.mean(recalls[k]) for k in ks},
        "r_precision": np.mean(r_precisions),
        "map_at_r": np.mean(averages),
        "queries": len(averages),
        "queries_excluded": excluded,
    }


@settings(max_examples=examples(150))
@given(data=st.data(), metric=st.sampled_from([Euclidean(), Cosine()]))
def test_figures_equal_the_definitions_also_with_ties_and_singletons(data, metric):
    n = data.draw(st.integers(2, 24))
    # A few small whole numbers: many exact ties, identical rows and zero vectors.
    flat = data.draw(st.lists(st.integers(-1, 1), min_size=2 * n, max_size=2 * n))
    embeddings = np.array(flat, np.float32).reshape(n, 2)
    labels = np.array(data.draw(st.lists(st.integers(0, n), min_size=n, max_size=n)))
    expected = slow_measures(embeddings, labels, metric, (1, 3, 7))
    if expected is None:
        with pytest.raises(DataError, match="no class has two items"):
            evaluate_labels(embeddings, labels, metric, ks=(1, 3, 7))
        return
    measures = evaluate_labels(embeddings, labels, metric, ks=(7, 1, 3)).measures
    assert {name: measures[name] for name in expected} == pytest.approx(expected)
    assert measures["precision_at_1"] == measures["recall_at_1"]


@settings(max_examples=examples(60))
@given(data=st.data())
def test_a_gallery_is_searched_whole(data):
    n, m = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    draw = np.random.default_rng(data.draw(st.integers(0, 1000)))
    queries, pool = (draw.integers(-1, 2, (size, 2)).astype(np.float32) for size in (n, m))
    labels, pool_labels = draw.integers(0, 4, n), draw.integers(0, 4, m)
    expected = slow_measures(queries, labels, Euclidean(), (1, 3), (pool, pool_labels))
    if expected is None:
        with pytest.raises(DataError, match="no label in common"):
            evaluate_labels(queries, labels, Euclidean(), gallery=(pool, pool_labels))
        return
    measures = evaluate_labels(queries, labels, Euclidean(), ks=(1, 3), gallery=(pool, pool_labels)).measures
    assert {name: measures[name] for name in expected} == pytest.approx(expected)


def test_figures_worked_out_by_hand():
    # Ranking of the one query: yes, no, yes, no, yes; R = 3.
    relevant = np.array([[True, False, True, False, True]])
    scores = query_scores(relevant, np.array([3]), (1, 2))
    assert scores["r_precision"][0] == pytest.approx(2 / 3)
    assert scores["map_at_r"][0] == pytest.approx((1 / 1 + 2 / 3) / 3)
    assert scores["recall_at_1"][0] == 1
    assert query_scores(~relevant, np.array([2]), (1, 2))["recall_at_1"][0] == 0


def test_singletons_are_excluded_counted_and_still_in_the_gallery():
    # 2.4 is nearest to the singleton at 2.5; excluding it from the gallery would make that a hit.
    found = evaluate_labels([[0.0], [2.4], [2.5]], ["a", "a", "b"], Euclidean(), ks=(1,))
    measures, by_query = found.measures, found.queries
    assert (measures["queries"], measures["queries_excluded"]) == (2, 1)
    assert measures["recall_at_1"] == 0.5
    assert by_query["nearest"].tolist() == [1, 2, 1]
    for name in ("recall_at_1", "r_precision", "map_at_r"):
        assert np.isnan(by_query[name]).tolist() == [False, False, True]
        assert np.nanmean(by_query[name]) == pytest.approx(measures[name])


def test_identical_rows_do_not_leave_out_the_wrong_item():
    # Item 1 must still find item 0, its twin with another label, before anything else.
    found = evaluate_labels(np.zeros((4, 2)), [0, 1, 1, 0], Euclidean())
    measures, by_query = found.measures, found.queries
    assert by_query["nearest"].tolist() == [1, 0, 0, 0]
    assert measures["recall_at_1"] == 0.25  # only item 3 has an item of its class at index 0
    assert measures["roc_auc"] == 0.5


def test_many_tied_zero_vectors():
    labels = np.arange(2000) % 2
    found = evaluate_labels(np.zeros((2000, 3)), labels, Cosine(), ks=(1,))
    measures, by_query = found.measures, found.queries
    assert by_query["nearest"].tolist() == [1] + [0] * 1999
    assert measures["recall_at_1"] == 999 / 2000
    assert (measures["roc_auc"], measures["eer"]) == (0.5, 0.5)


def test_figures_do_not_depend_on_how_the_work_is_portioned(monkeypatch):
    draw = np.random.default_rng(0)
    embeddings, labels = draw.integers(-3, 4, (60, 3)), draw.integers(0, 30, 60)
    found = evaluate_labels(embeddings, labels, Euclidean())
    whole, whole_queries = found.measures, found.queries
    for block, chunk in ((1, 1), (40, 10**9), (300, 200), (10**9, 1700)):
        monkeypatch.setattr("siamkit.evaluation.distances.BLOCK", block)
        monkeypatch.setattr("siamkit.evaluation.distances.CHUNK", chunk)
        found = evaluate_labels(embeddings, labels, Euclidean())
        measures, by_query = found.measures, found.queries
        assert measures == whole
        for name, values in whole_queries.items():
            np.testing.assert_array_equal(by_query[name], values)


def test_similarity_and_distance_agree():
    draw = np.random.default_rng(1)
    embeddings, labels = draw.normal(size=(80, 4)), draw.integers(0, 9, 80)
    similar = evaluate_labels(embeddings, labels, Cosine()).measures
    distant = evaluate_labels(embeddings, labels, CosineDistance()).measures
    assert similar.pop("threshold") == pytest.approx(1 - distant.pop("threshold"), abs=1e-5)
    assert similar == pytest.approx(distant, abs=1e-5)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["x", "y", "x", "y"]),
        np.array(["x", "y", "x", "y"], object),
        [7, -3, 7, -3],
        [[1], [2], [1], [2]],
        np.array([0.5, 1.5, 0.5, 1.5]),
        [True, False, True, False],
        np.array([2**62, 2**62 + 1] * 2),
    ],
    ids=str,
)
def test_labels_may_be_of_any_type(labels):
    measures = evaluate_labels([[0.0], [9.0], [1.0], [8.0]], labels, Euclidean()).measures
    assert (measures["map_at_r"], measures["roc_auc"], measures["queries"]) == (1.0, 1.0, 4)


def test_large_ids_of_two_integer_types_do_not_merge():
    gallery = ([[1.0], [2.0]], np.array([2**60 + 1, 2**60], np.uint64))
    measures = evaluate_labels([[0.0]], np.array([2**60]), Euclidean(), ks=(1,), gallery=gallery).measures
    assert measures["recall_at_1"] == 0


def test_k_beyond_the_gallery_takes_in_all_of_it():
    measures = evaluate_labels([[0.0], [1.0], [5.0]], [0, 1, 0], Euclidean(), ks=(1, 2, 50)).measures
    assert measures["recall_at_1"] == 0
    assert measures["recall_at_2"] == measures["recall_at_50"] == 1


def test_one_class_is_found_whole_but_leaves_verification_undefined():
    measures = evaluate_labels([[0.0], [1.0], [2.0]], [1, 1, 1], Euclidean()).measures
    assert measures["map_at_r"] == 1
    assert all(math.isnan(measures[name]) for name in ("roc_auc", "eer", "threshold"))
