"""Means over seeds and queries: their intervals, against formulas worked out here and against simulation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from siamkit.errors import DataError
from siamkit.stats.seeds import Repeats


def scores(
    seeds: int, queries: int, rng: np.random.Generator, worth: float = 0.5, luck: float = 0.0
) -> np.ndarray:
    return worth + rng.normal(0, luck, (seeds, 1)) + rng.normal(0, 0.1, (seeds, queries))


def repeats(given: np.ndarray, classes: Any = None) -> Repeats:
    return Repeats("map_at_r", np.nanmean(given, axis=1).tolist(), given, classes)


def test_over_seeds_alone_it_is_students_interval() -> None:
    values = [0.31, 0.35, 0.30, 0.33]
    found = Repeats("eer", values).interval()
    assert found is not None
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.over, found.units, found.value) == ("seeds", 4, pytest.approx(0.3225))


def test_the_difference_over_seeds_alone_is_welchs_test() -> None:
    a, b = [0.31, 0.35, 0.30, 0.33], [0.40, 0.42, 0.37]
    found = Repeats("eer", a).difference(Repeats("eer", b))
    welch = stats.ttest_ind(b, a, equal_var=False)
    ends = welch.confidence_interval(0.95)
    assert found is not None
    assert found.p == pytest.approx(welch.pvalue)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))
    assert found.difference == pytest.approx(np.mean(b) - np.mean(a))


def test_of_one_seed_it_is_students_interval_over_queries() -> None:
    given = scores(1, 50, np.random.default_rng(0))
    given[0, :3] = math.nan
    found = repeats(given).interval()
    kept = given[0, 3:]
    low, high = stats.t.interval(0.95, 46, kept.mean(), stats.sem(kept))
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.over, found.units) == ("queries", 47)


def test_seeds_and_queries_add_up() -> None:
    rng = np.random.default_rng(0)
    given = scores(4, 60, rng, luck=0.05)
    found = repeats(given).interval()
    parts = np.array([stats.sem(given.mean(axis=1)) ** 2, stats.sem(given.mean(axis=0)) ** 2])
    freedom = parts.sum() ** 2 / (parts**2 / [3, 59]).sum()
    half = stats.t.ppf(0.975, freedom) * math.sqrt(parts.sum())
    assert found is not None
    assert (found.low, found.high) == pytest.approx((given.mean() - half, given.mean() + half))
    assert (found.over, found.units) == ("queries and seeds", 60)


def test_twenty_classes_are_drawn_whole_and_fewer_are_not() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(2, 9, 20)
    classes = np.repeat(np.arange(20), sizes)
    given = scores(3, sizes.sum(), rng) + rng.normal(0, 0.2, 20)[classes]
    whole = repeats(given, classes).interval()
    one = repeats(given[:1], classes).interval()
    assert whole is not None
    assert one is not None
    assert (whole.over, whole.units, one.over) == ("classes and seeds", 20, "classes")
    # The delta method for a ratio of two totals over classes, by hand.
    query = given[0]
    off = np.array([(query[classes == c] - query.mean()).sum() for c in range(20)])
    error = math.sqrt(20 / 19 * (off**2).sum()) / len(query)
    assert one.high - one.value == pytest.approx(stats.t.ppf(0.975, 19) * error)
    few = repeats(given, classes % 19).interval()
    assert few is not None
    assert few.over == "queries and seeds"
    assert whole.high - whole.low > few.high - few.low


def test_what_is_hard_for_both_takes_no_part_in_a_difference() -> None:
    rng = np.random.default_rng(0)
    hard = rng.uniform(-0.4, 0.4, 200)
    a, b = (repeats(scores(3, 200, rng, worth) + hard) for worth in (0.5, 0.55))
    found, alone = a.difference(b), b.interval()
    assert found is not None
    assert alone is not None
    assert found.significant
    assert found.high - found.low < 0.6 * (alone.high - alone.low)
    back = b.difference(a)
    assert back is not None
    assert (back.low, back.high, back.p) == pytest.approx((-found.high, -found.low, found.p))
    assert (found.p < 0.05) == found.significant


def test_other_queries_cannot_be_paired() -> None:
    rng = np.random.default_rng(0)
    a, b = repeats(scores(3, 100, rng, luck=0.01)), repeats(scores(3, 20, rng, luck=0.01))
    found = a.difference(b)
    assert found is not None
    assert found.over == "seeds"


def test_where_nothing_differs_there_is_no_interval_or_one_of_what_was_not_seen() -> None:
    assert Repeats("eer", [0.5]).interval() is None
    assert Repeats("eer", [0.5, 0.5]).interval() is None
    assert Repeats("eer", [0.5]).difference(Repeats("eer", [0.6])) is None
    perfect = repeats(np.ones((3, 100))).interval()
    assert perfect is not None
    assert perfect.low == pytest.approx(0.025 ** (1 / 100))
    assert perfect.high == 1
    same = repeats(np.ones((2, 100))).difference(repeats(np.ones((2, 100))))
    apart = repeats(np.zeros((2, 100))).difference(repeats(np.ones((2, 100))))
    assert same is not None
    assert apart is not None
    assert (same.significant, same.p) == (False, 1)
    assert (apart.significant, apart.p) == (True, pytest.approx(0, abs=1e-9))


@pytest.mark.parametrize("luck", [0.0, 0.01, 0.05])
def test_the_intervals_hold_the_truth_as_often_as_they_say(luck: float) -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 25, 250)
    held = []
    for _ in range(300):
        both = rng.normal(0, 0.1, 250) + rng.normal(0, 0.1, 25)[classes]
        a, b = (
            repeats(scores(5, 250, rng, luck=luck) + both + rng.normal(0, 0.03, 25)[classes], classes)
            for _ in range(2)
        )
        mean, difference = a.interval(), a.difference(b)
        assert mean is not None
        assert difference is not None
        held.append((mean.low <= 0.5 <= mean.high, difference.low <= 0 <= difference.high))
    assert np.all(np.abs(np.mean(held, axis=0) - 0.955) < 0.04)


def of_folds(values: list[float], folds: list[int]) -> Repeats:
    return Repeats("eer", values, folds=folds)


def test_the_variance_of_folds_is_that_of_the_jackknife() -> None:
    values = [0.31, 0.35, 0.30, 0.33]
    found = of_folds(values, [0, 1, 2, 3]).interval()
    # Each mean leaves one of four groups out: (k - 1) / k times the sum of squares.
    error = math.sqrt(3 / 4 * sum((value - np.mean(values)) ** 2 for value in values))
    half = stats.t.ppf(0.975, 3) * error
    assert found is not None
    assert (found.low, found.high) == pytest.approx((np.mean(values) - half, np.mean(values) + half))
    assert (found.over, found.units) == ("folds", 4)
    # Seeds of one fold are one model of its classes.
    twice = of_folds([0.30, 0.34, 0.29, 0.32, 0.32, 0.36, 0.31, 0.34], [0, 1, 2, 3] * 2).interval()
    assert twice is not None
    assert (twice.low, twice.high) == pytest.approx((found.low, found.high))


def test_folds_are_compared_one_by_one() -> None:
    a = of_folds([0.30, 0.50, 0.40, 0.60], [0, 1, 2, 3])
    b = of_folds([0.32, 0.51, 0.43, 0.62], [0, 1, 2, 3])
    found = a.difference(b)
    lead = np.array([0.02, 0.01, 0.03, 0.02])
    half = stats.t.ppf(0.975, 3) * math.sqrt(3 / 4 * ((lead - 0.02) ** 2).sum())
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.02 - half, 0.02 + half))
    other = a.difference(of_folds([0.32, 0.51, 0.43], [0, 1, 2]))  # a fold failed
    assert other is not None
    assert other.high - other.low > 10 * (found.high - found.low)


@pytest.mark.parametrize(("seeds", "luck", "effect"), [(1, 0.01, 0.03), (2, 0.01, 0.03), (2, 0.0, 0.05)])
def test_intervals_over_folds_hold_the_truth(seeds: int, luck: float, effect: float) -> None:
    """Each model has the mean effect of its training classes: those of all folds but one."""
    rng, classes, folds = np.random.default_rng(0), np.repeat(np.arange(25), 10), 4
    held = []

    def trained(both: np.ndarray) -> Repeats:
        effects = rng.normal(0, effect * math.sqrt(30), (folds, 10))
        worth = np.array([np.delete(effects, fold, axis=0).mean() for fold in range(folds)])
        given = np.concatenate(
            [0.5 + worth[:, None] + scores(folds, 250, rng, 0.0, luck) + both for _ in range(seeds)]
        )
        return Repeats("map_at_r", given.mean(axis=1).tolist(), given, classes, [*range(folds)] * seeds)

    for _ in range(400):
        both = rng.normal(0, 0.1, 250) + rng.normal(0, 0.05, 25)[classes]
        a, b = trained(both), trained(both)
        mean, difference = a.interval(), a.difference(b)
        assert mean is not None
        assert difference is not None
        held.append((mean.low <= 0.5 <= mean.high, difference.low <= 0 <= difference.high))
    rates = np.mean(held, axis=0)
    assert np.all(rates > 0.92), rates
    assert np.all(rates < 0.995), rates


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(DataError, match="needs at least one repeat"):
        Repeats("eer", [])
    with pytest.raises(DataError, match=r"\(2 seeds, queries\), got \(3, 4\)"):
        Repeats("eer", [1.0, 2.0], np.ones((3, 4)))
    with pytest.raises(DataError, match="4 queries should have a class each, got 3"):
        Repeats("eer", [1.0, 2.0], np.ones((2, 4)), np.arange(3))
