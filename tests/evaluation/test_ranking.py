"""Precision, nDCG, MRR, MAP and their means over classes, against loops and scikit-learn."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy_metrics import Euclidean
from selection import examples
from sklearn.metrics import average_precision_score, ndcg_score

from siamkit.errors import DataError
from siamkit.evaluation import classification, distances, evaluate, evaluate_labels

ALL = ("retrieval", "ranking")


def hits_of(queries, labels, gallery=None):
    """For each query whether each ranked item is relevant, one at a time."""
    pool, pool_labels = (queries, labels) if gallery is None else gallery
    for i, query in enumerate(queries):
        others = [j for j in range(len(pool)) if gallery is not None or j != i]
        ranking = sorted(others, key=lambda j: (np.float32(Euclidean()(query, pool[j])), j))
        yield i, np.array([pool_labels[j] == labels[i] for j in ranking])


def slow_scores(hits, k):
    total = hits.sum()
    gain = sum(1 / np.log2(i + 2) for i, hit in enumerate(hits[:k]) if hit)
    best = sum(1 / np.log2(i + 2) for i in range(min(k, total)))
    ranks = np.flatnonzero(hits) + 1
    return {
        f"precision_at_{k}": np.mean(hits[:k]),
        f"ndcg_at_{k}": gain / best,
        "mrr": 1 / ranks[0],
        "map": np.mean([(j + 1) / rank for j, rank in enumerate(ranks)]),
    }


@settings(max_examples=examples(100))
@given(data=st.data(), apart=st.booleans(), few=st.sampled_from([0, classification.FEW]))
def test_figures_equal_the_definitions_also_with_ties(data, apart, few):
    n, m = data.draw(st.integers(2, 20)), data.draw(st.integers(1, 20))
    draw = np.random.default_rng(data.draw(st.integers(0, 1000)))
    queries, pool = (draw.integers(-1, 2, (size, 2)).astype(np.float32) for size in (n, m))
    labels, pool_labels = draw.integers(0, 5, n), draw.integers(0, 5, m)
    gallery = (pool, pool_labels) if apart else None
    each = {i: hits for i, hits in hits_of(queries, labels, gallery) if hits.any()}
    if not each:
        with pytest.raises(DataError):
            evaluate_labels(queries, labels, Euclidean(), gallery=gallery, groups=ALL)
        return
    with patch.object(classification, "FEW", few):  # by sorting, or by counting nearer items
        found = evaluate_labels(queries, labels, Euclidean(), ks=(3,), gallery=gallery, groups=ALL)
    for name in ("precision_at_3", "ndcg_at_3", "mrr", "map"):
        expected = {i: slow_scores(hits, 3)[name] for i, hits in each.items()}
        for i, value in expected.items():
            assert found.queries[name][i] == pytest.approx(value), name
        assert np.isnan(np.delete(found.queries[name], list(expected))).all()
        assert found.measures[name] == pytest.approx(np.mean(list(expected.values())))
        by_class = [
            np.mean([expected[i] for i in expected if labels[i] == c]) for c in {*labels[[*expected]]}
        ]
        assert found.measures[f"{name}_macro"] == pytest.approx(np.mean(by_class))


def test_map_and_ndcg_equal_those_of_scikit_learn():
    draw = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), [2, 4, 9, 11, 20, 3])
    embeddings = draw.normal(size=(len(labels), 4)).astype(np.float32) + labels[:, None] / 4
    found = evaluate_labels(embeddings, labels, Euclidean(), groups=ALL)
    distances = Euclidean().matrix(embeddings, embeddings)
    for i in range(len(labels)):
        others = np.arange(len(labels)) != i
        relevant, nearness = (labels == labels[i])[others], -distances[i, others]
        assert found.queries["map"][i] == pytest.approx(average_precision_score(relevant, nearness))
        assert found.queries["ndcg_at_10"][i] == pytest.approx(
            ndcg_score(relevant[None].astype(int), nearness[None], k=10, ignore_ties=True)
        )


def test_a_small_class_weighs_as_much_as_a_large_one_in_the_mean_over_classes():
    # Class 0: three items that find each other; class 1: two items, each beside one of class 0.
    line = np.array([[0.0], [1.0], [2.0], [50.0], [-50.0]])
    measures = evaluate_labels(line, [0, 0, 0, 1, 1], Euclidean(), ks=(1,)).measures
    assert measures["recall_at_1"] == pytest.approx(3 / 5)
    assert measures["recall_at_1_macro"] == pytest.approx(1 / 2)


def test_the_whole_ranking_does_not_depend_on_how_the_work_is_portioned(monkeypatch):
    draw = np.random.default_rng(3)
    embeddings, labels = draw.integers(-2, 3, (70, 3)).astype(np.float32), draw.integers(0, 9, 70)
    whole = evaluate(embeddings, labels, Euclidean())
    monkeypatch.setattr("siamkit.evaluation.distances.CHUNK", 300)
    monkeypatch.setattr("siamkit.evaluation.distances.BLOCK", 500)
    assert evaluate(embeddings, labels, Euclidean()) == pytest.approx(whole, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("chunk", [2**22, 4001, 900])
def test_measures_are_the_same_whether_neighbors_are_searched_for_or_all_distances_computed(
    apart, chunk, monkeypatch
):
    monkeypatch.setattr("siamkit.evaluation.distances.CHUNK", chunk)
    draw = np.random.default_rng(4)
    embeddings, labels = draw.integers(-3, 4, (500, 3)).astype(np.float32), draw.integers(0, 90, 500)
    gallery = (embeddings[:430] + 1, labels[:430]) if apart else None
    metrics = (distances.Euclidean(), Euclidean())
    searched, compared = (evaluate(embeddings, labels, each, gallery=gallery, ks=(3,)) for each in metrics)
    assert searched == pytest.approx(compared, rel=1e-6, nan_ok=True)
    assert searched["mrr"] < 1 > searched["roc_auc"]


def test_a_group_that_is_not_is_told():
    with pytest.raises(DataError, match=r"groups should be some of retrieval, .*, got 'retrival'"):
        evaluate([[0.0], [1.0]], [0, 0], Euclidean(), groups=("retrival",))
