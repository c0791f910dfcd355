"""The choice of a threshold, and what is measured at it, against a slow loop and scikit-learn."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from selection import examples
from sklearn import metrics as sk

from siamkit.errors import DataError
from siamkit.evaluation import MEASURES, ThresholdRule, evaluate, evaluate_labels, evaluate_pairs
from siamkit.evaluation.measures import as_threshold
from siamkit.evaluation.verification import AT_THRESHOLD, Curve


class OneNumber:
    """The first coordinate of the difference, as a distance or as a similarity."""

    def __init__(self, orientation: str) -> None:
        self.orientation = orientation

    def __call__(self, a, b):
        return (a - b)[..., 0]


def evaluated(values, alike, orientation, **options):
    """Evaluate pairs whose metric gives exactly these values."""
    pairs = np.zeros((len(values), 2, 1), np.float32)
    pairs[:, 0, 0] = values
    return evaluate_pairs(pairs, alike, OneNumber(orientation), groups=["verification"], **options).measures


def counts_at(values, alike, orientation, threshold):
    """Count hits and false accepts in a plain loop; numbers are compared in float32."""
    hits = false = 0
    for value, same in zip(np.float32(values), alike, strict=True):
        limit = np.float32(threshold)
        if (value <= limit) if orientation == "distance" else (value >= limit):
            hits, false = hits + bool(same), false + (not same)
    return hits, false


RULES = {
    "balanced_accuracy": lambda h, f, p, n: Fraction(h, p) + Fraction(n - f, n),
    "accuracy": lambda h, f, p, n: Fraction(h + n - f),
    "f1": lambda h, f, p, n: Fraction(2 * h, h + f + p),
    "far=0.25": lambda h, f, p, n: h if h and Fraction(f, n) <= Fraction(1, 4) else None,
    "precision=0.75": lambda h, f, p, n: h if h and Fraction(h, h + f) >= Fraction(3, 4) else None,
    "recall=0.5": lambda h, f, p, n: (-f, h) if Fraction(h, p) >= Fraction(1, 2) else None,
    "cost=10:1": lambda h, f, p, n: -10 * f - (p - h),
    "cost=1:3": lambda h, f, p, n: -f - 3 * (p - h),
}
"""What is best is highest; None where the limit is not kept."""

# Few distinct values, so that ties are many; neighbors in float32, between which no number is.
FEW = st.sampled_from(
    [0.0, 1.0, float(np.nextafter(np.float32(1), np.float32(2))), 1.5, 2.0, -3.25, 1e-30, 7e8]
)


@settings(max_examples=examples(300))
@given(
    st.lists(st.tuples(FEW, st.booleans()), min_size=2, max_size=14),
    st.sampled_from(["distance", "similarity"]),
    st.sampled_from(sorted(RULES)),
)
def test_the_chosen_threshold_is_the_best_of_all(pairs, orientation, rule):
    values, alike = np.array([v for v, _ in pairs]), np.array([a for _, a in pairs])
    p, n = int(alike.sum()), int((~alike).sum())
    assume(p and n)
    nothing = -math.inf if orientation == "distance" else math.inf
    options = [counts_at(values, alike, orientation, threshold) for threshold in [nothing, *values]]
    scores = [(s, h + f > 0, -f) for h, f in options if (s := RULES[rule](h, f, p, n)) is not None]
    if not scores or (rule == "far=0.25" and n < 4):
        with pytest.raises(DataError, match=r"no threshold that accepts|takes at least 4 pairs"):
            evaluated(values, alike, orientation, threshold=rule)
        return
    found = evaluated(values, alike, orientation, threshold=rule)
    hits, false = counts_at(values, alike, orientation, found["threshold"])
    assert (RULES[rule](hits, false, p, n), hits + false > 0, -false) == max(scores)
    assert (found["false_accepts"], found["false_rejects"]) == (false, p - hits)


@settings(max_examples=examples(150))
@given(
    st.lists(st.tuples(FEW, st.booleans()), min_size=2, max_size=14),
    st.sampled_from(["distance", "similarity"]),
    st.one_of(FEW, st.floats(-5, 5, width=32)),
)
@example([(0.0, True), (-0.0, False)], "similarity", 0.0)
@example([(0.1, True), (0.2, False)], "distance", 0.1)  # 0.1 in float32 is above 0.1: equal all the same
def test_the_measures_at_a_threshold_are_those_of_scikit_learn(pairs, orientation, threshold):
    values, alike = np.array([v for v, _ in pairs]), np.array([a for _, a in pairs])
    assume(alike.any() and not alike.all())
    found = evaluated(values, alike, orientation, threshold=0.5, own_threshold=threshold)
    limit = np.float32(threshold)
    accepted = np.float32(values) <= limit if orientation == "distance" else np.float32(values) >= limit
    (_, false), (missed, _) = sk.confusion_matrix(alike, accepted, labels=[False, True])
    expected = {
        "false_accepts": false,
        "false_rejects": missed,
        "far": false / (~alike).sum(),
        "frr": missed / alike.sum(),
        "precision": sk.precision_score(alike, accepted, zero_division=np.nan),
        "recall": sk.recall_score(alike, accepted),
        "f1": sk.f1_score(alike, accepted),
        "accuracy": sk.accuracy_score(alike, accepted),
        "balanced_accuracy": sk.balanced_accuracy_score(alike, accepted),
    }
    assert {*expected} == {*AT_THRESHOLD}
    at_own = {name: found[f"{name}_at_own_threshold"] for name in expected}
    assert at_own == pytest.approx(expected, nan_ok=True)
    assert found["own_threshold"] == threshold
    assert found["threshold"] == 0.5
    again = evaluated(values, alike, orientation, threshold=threshold)
    assert {name: again[name] for name in expected} == pytest.approx(expected, nan_ok=True)
    nearness = -np.float32(values) if orientation == "distance" else np.float32(values)
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(alike, nearness))


def test_all_pairs_of_labelled_items_are_measured_alike():
    draw = np.random.default_rng(3)
    labels = np.repeat(np.arange(6), 5)
    items = draw.normal(size=(30, 3)).astype(np.float32) + 2 * labels[:, None]
    left, right = np.triu_indices(30, 1)
    alike = labels[left] == labels[right]
    for rule in ("f1", "far=0.01", "precision=0.9", "recall=0.9", "cost=5:1", "accuracy"):
        of_items = evaluate_labels(items, labels, "euclidean", threshold=rule).measures
        of_pairs = evaluate_pairs(
            np.stack([items[left], items[right]], axis=1), alike.astype(int), "euclidean", threshold=rule
        ).measures
        for name in ("average_precision", "roc_auc", *AT_THRESHOLD):
            assert of_items[name] == pytest.approx(of_pairs[name]), (rule, name)
    # Accepting all pairs, or none, holds in the last bin of the histogram too.
    distances = np.linalg.norm(items[left].astype(float) - items[right], axis=1)
    everything = evaluate_labels(items, labels, "euclidean", threshold="recall=1").measures
    assert everything["false_rejects"] == 0
    assert (distances[alike] <= everything["threshold"]).all()
    all_of_them = evaluate_labels(items, labels, "euclidean", threshold="cost=0:1").measures
    assert all_of_them["false_rejects"] == 0
    none = evaluate_labels(items, labels, "euclidean", threshold="cost=1:0").measures
    assert none["false_accepts"] == 0


def test_a_threshold_has_one_meaning_however_it_is_written():
    for written in ("cost=10:1", {"cost": {"false_accept": 10, "false_reject": 1}}, {"cost": [10, 1]}):
        assert as_threshold(written) == ThresholdRule("cost", (10, 1))
    for written in ("far=1e-3", {"far": 1e-3}, {"far": "0.001"}, "far=0.001"):
        assert as_threshold(written) == ThresholdRule("far", (0.001,))
    for written in (0.5, "0.5", "5e-1", np.float32(0.5)):
        assert as_threshold(written) == 0.5
    assert as_threshold(None) == ThresholdRule("balanced_accuracy")
    for rule in RULES:
        assert str(as_threshold(rule)) == rule


@pytest.mark.parametrize(
    ("threshold", "message"),
    [
        ("f2", r"a threshold should be a number, or say how to choose it: f1, .* got 'f2'"),
        ("f1=0.5", "or say how to choose it"),
        ("far", "or say how to choose it"),
        ("far=high", "or say how to choose it"),
        ({"cost": {"false_accept": 10}}, "or say how to choose it"),
        ({"cost": {"false_accept": 10, "false_rejects": 1}}, "or say how to choose it"),
        ({"far": 0.1, "precision": 0.9}, "or say how to choose it"),
        (True, "or say how to choose it"),
        ([0.5], "or say how to choose it"),
        ("far=0", "far should be a fraction above 0 and at most 1, got 'far=0'"),
        ("precision=95", "precision should be a fraction above 0 and at most 1, got 'precision=95'"),
        ("cost=-1:1", "costs should be numbers of at least 0, and not both 0"),
        ("cost=0:0", "costs should be numbers of at least 0, and not both 0"),
        (math.nan, "a threshold should be a finite number, got nan"),
        ("inf", "a threshold should be a finite number, got inf"),
    ],
)
def test_what_is_no_threshold_is_refused(threshold, message):
    with pytest.raises(DataError, match=message):
        evaluate([[[0.0], [1.0]], [[0.0], [3.0]]], [1, 0], "euclidean", threshold=threshold)


def test_a_limit_that_cannot_be_kept_is_refused():
    near_but_unlike = [[[0.0], [1.0]], [[0.0], [2.0]], [[0.0], [3.0]]]
    with pytest.raises(DataError, match=r"a precision of at least 0.9 on these pairs; the best is 0\.5$"):
        evaluate(near_but_unlike, [0, 1, 0], "euclidean", threshold={"precision": 0.9})
    with pytest.raises(DataError, match=r"rate of 0\.1 takes at least 10 pairs that are not alike, got 2"):
        evaluate(near_but_unlike, [0, 1, 0], "euclidean", threshold={"far": 0.1})
    three = [*near_but_unlike, [[0.0], [4.0]]]  # the rate that it proposes can be kept: 1 / 3 is rounded up
    with pytest.raises(DataError, match=r"or a rate of at least 0\.334$"):
        evaluate(three, [0, 1, 0, 0], "euclidean", threshold={"far": 0.3})
    with pytest.raises(DataError, match=r"rate of at most 0\.4 on these pairs; the best is 0\.5"):
        evaluate(near_but_unlike * 2, [0, 1, 0] * 2, "euclidean", threshold={"far": 0.4})
    with pytest.raises(DataError, match="a threshold is for pairs that match or not"):
        evaluate(near_but_unlike, [0.2, 1, 0], "euclidean", threshold=0.5)


def test_the_measures_of_pairs_have_a_direction():
    for name in ("precision", "recall", "f1", "accuracy", "balanced_accuracy", "average_precision"):
        assert MEASURES[name].direction == "maximize"
    assert MEASURES["far"].direction == MEASURES["frr"].direction == "minimize"
    assert MEASURES["threshold"].direction is None


def test_a_threshold_covers_the_whole_of_a_bin():
    # Bins (0, 1] and (1, 2], of which a curve knows the centers.
    curve = Curve.of(np.array([0.5, 1.5]), np.array([1, 1]), np.array([1, 0]), width=1.0)
    assert curve.choose(ThresholdRule("recall", (1.0,))) == 2.0  # to accept all
    assert curve.choose(ThresholdRule("precision", (0.6,))) == 2.0
    assert curve.choose(ThresholdRule("recall", (0.5,))) == 2.0  # as many false accepts as at 1
    curve = Curve.of(np.array([0.5, 1.5]), np.array([1, 1]), np.array([0, 1]), width=1.0)
    assert curve.choose(ThresholdRule("f1")) == 2.0
    assert curve.choose(ThresholdRule("accuracy")) == 1.0  # between the bins, at their common edge
    curve = Curve.of(np.array([0.5, 1.5]), np.array([0, 1]), np.array([9, 9]), width=1.0)
    assert curve.choose(ThresholdRule("accuracy")) == 0.0  # to accept none
