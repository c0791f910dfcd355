"""Votes of neighbours, hubness and few-shot episodes, against loops and scikit-learn."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from clouds import clouds
from numpy_metrics import Euclidean
from scipy import stats
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from siamkit.evaluation import evaluate
from siamkit.evaluation.classification import distinct, few_shot_measures


def test_votes_equal_those_of_scikit_learn_where_two_classes_cannot_tie():
    embeddings, labels = clouds(2, 30, 0.7, seed=2)
    right = 0
    for i in range(len(labels)):
        others = np.arange(len(labels)) != i
        voter = KNeighborsClassifier(5).fit(embeddings[others], labels[others])
        right += voter.predict(embeddings[i : i + 1])[0] == labels[i]
    measures = evaluate(embeddings, labels, Euclidean(), groups=("neighbors",))
    assert 0.5 < right / 60 < 1
    assert measures["knn_accuracy"] == right / 60
    interval = stats.binomtest(int(right), 60).proportion_ci(0.95, "wilson")
    assert (measures["knn_accuracy_low"], measures["knn_accuracy_high"]) == pytest.approx(
        (interval.low, interval.high)
    )


def test_of_classes_with_as_many_votes_the_nearest_wins():
    # The item at 0 sees classes 1 1 2 2 0, nearest first; only the last item has it right.
    line = np.array([[0.0], [1.0], [2.0], [-2.5], [3.0], [4.0]])
    gallery = (line[1:], [0, 1, 1, 0, 2])
    measures = evaluate(line[:1], [0], Euclidean(), gallery=gallery, groups=("neighbors",))
    assert measures["knn_accuracy"] == 1  # 0 and 1 have two votes each; 0 is at 1, 1 at 2
    measures = evaluate(line[:1], [1], Euclidean(), gallery=gallery, groups=("neighbors",))
    assert measures["knn_accuracy"] == 0


def test_hubness_is_the_skewness_of_scipy():
    embeddings, labels = clouds(5, 20, 1.0, dim=30)
    near = NearestNeighbors(n_neighbors=10, algorithm="brute").fit(embeddings).kneighbors()[1]
    expected = stats.skew(np.bincount(near.ravel(), minlength=len(labels)))
    assert evaluate(embeddings, labels, Euclidean())["hubness"] == pytest.approx(expected)


def test_a_hub_is_seen():
    # On a star everybody's nearest are the few in the middle.
    draw = np.random.default_rng(0)
    rays = draw.normal(size=(300, 200))
    rays *= np.r_[np.full(12, 0.01), np.full(288, 1.0)][:, None]
    assert evaluate(rays, np.arange(300) % 3, Euclidean())["hubness"] > 4
    ring = np.stack([np.cos(np.arange(300) * math.tau / 300), np.sin(np.arange(300) * math.tau / 300)], 1)
    assert abs(evaluate(ring, np.arange(300) % 3, Euclidean())["hubness"]) < 0.5


def test_all_drawings_without_repetition_come_equally_often():
    drawn = distinct(np.random.default_rng(0), np.repeat([3, 5], 12_000), 3)
    for limit, rows in ((3, drawn[:12_000]), (5, drawn[12_000:])):
        orders, counts = np.unique(rows, axis=0, return_counts=True)
        expected = list(itertools.permutations(range(limit), 3))
        assert orders.tolist() == [list(order) for order in expected]
        assert stats.chisquare(counts).pvalue > 0.001


def test_few_shots_of_noise_are_chance_and_of_clear_classes_right():
    embeddings, labels = clouds(9, 20, 0.0)
    measures = few_shot_measures(Euclidean(), embeddings, labels)
    assert measures["accuracy_5_way_1_shot"] == pytest.approx(1 / 5, abs=0.02)
    assert measures["accuracy_5_way_1_shot_low"] < measures["accuracy_5_way_1_shot"]
    embeddings, labels = clouds(9, 20, 60.0)
    measures = few_shot_measures(Euclidean(), embeddings, labels)
    assert measures["accuracy_5_way_5_shot"] > 0.999


def test_few_shots_equal_a_loop_over_as_many_problems():
    """Not the same draws: the same expectation, well within the intervals of both."""
    embeddings, labels = clouds(8, 12, 0.8)
    draw, rates = np.random.default_rng(1), []
    for _ in range(2000):
        classes = draw.choice(8, 5, replace=False)
        drawn = {c: draw.permutation(np.flatnonzero(labels == c)) for c in classes}
        prototypes = {c: embeddings[drawn[c][:5]].mean(axis=0) for c in classes}
        right = [
            min(classes, key=lambda o, q=q: ((embeddings[q] - prototypes[o]) ** 2).sum()) == c
            for c in classes
            for q in drawn[c][5:]
        ]
        rates.append(np.mean(right))
    measures = few_shot_measures(Euclidean(), embeddings, labels)
    low, high = (measures[f"accuracy_5_way_5_shot_{end}"] for end in ("low", "high"))
    assert low - 0.01 < np.mean(rates) < high + 0.01
    spread = 2 * 1.96 * np.std(rates) / math.sqrt(600)
    assert high - low == pytest.approx(spread, rel=0.15)


def test_few_shots_are_left_out_where_there_are_not_enough_classes():
    embeddings, labels = clouds(4, 12, 1.0)
    assert few_shot_measures(Euclidean(), embeddings, labels) == {}
    embeddings, labels = clouds(6, 4, 1.0)
    assert {*few_shot_measures(Euclidean(), embeddings, labels)} == {
        f"accuracy_5_way_1_shot{end}" for end in ("", "_low", "_high")
    }
