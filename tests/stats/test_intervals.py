"""Intervals, their p-values, Holm's correction and the words of a verdict."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from selection import examples

from siamkit.errors import DataError
from siamkit.stats.resampling import percentile_interval, percentile_p, unseen_share
from siamkit.stats.results import Difference, Interval, adjusted, holm

NORMAL = stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000)  # resamples without chance


def found(low, high, measure="map_at_r", difference=None, **others):
    middle = (low + high) / 2 if difference is None else difference
    given = {"p": 0.01, "p_adjusted": None, "over": "queries", "units": 300, "resamples": 1000, **others}
    return Difference(measure, 0.5, 0.5 + middle, middle, low, high, 0.95, **given)


@pytest.mark.parametrize("units", [5, 20, 1000])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_of_normal_resamples_is_students(units, level):
    # A bootstrap of spread √((n - 1) / n) · s, had it that spread, gives the t-interval of s.
    bootstrap = NORMAL * math.sqrt((units - 1) / units)
    expected = stats.t.interval(level, units - 1)
    np.testing.assert_allclose(percentile_interval(bootstrap, units, level), expected, rtol=5e-3)


@settings(max_examples=examples(200))
@given(st.floats(-4, 4), st.integers(10, 60), st.sampled_from([0.8, 0.9, 0.95]))
def test_the_p_value_is_small_just_where_the_interval_leaves_zero_out(shift, units, level):
    low, high = percentile_interval(NORMAL[::50] + shift, units, level)
    p = percentile_p(NORMAL[::50] + shift, units)
    assert 0 < p <= 1
    # Not on the very edge, which is a step wide where resamples are few: in the tails, 0.05 of them.
    if min(abs(low), abs(high)) > 0.1:
        assert (p < 1 - level) == (low > 0 or high < 0)


def test_the_p_value_is_never_zero_and_one_at_no_difference():
    assert percentile_p(np.zeros(100), 50) == 1
    assert 0 < percentile_p(np.ones(100), 50) < 0.05


def test_resamples_that_know_no_answer_are_left_out_or_too_many():
    some = np.append(NORMAL[::10], [np.nan] * 100)
    np.testing.assert_allclose(
        percentile_interval(some, 50, 0.95), percentile_interval(NORMAL[::10], 50, 0.95)
    )
    with pytest.raises(DataError, match="undefined in 60 of 1060 resamples"):
        percentile_interval(np.append(NORMAL[::100], [np.nan] * 60), 50, 0.95)


@pytest.mark.parametrize("trials", [1, 10, 300])
def test_unseen_is_the_end_of_clopper_and_pearson(trials):
    exact = stats.binomtest(0, trials).proportion_ci(0.95, method="exact").high
    assert unseen_share(trials, 0.95) == pytest.approx(exact)


@settings(max_examples=examples(200))
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_the_step_down_procedure_rejects(ps, alpha):
    rejected = np.zeros(len(ps), bool)
    for step, k in enumerate(np.argsort(ps, kind="stable")):  # as in the paper: stop at the first that fails
        if ps[k] * (len(ps) - step) > alpha:
            break
        rejected[k] = True
    np.testing.assert_array_equal(holm(ps) <= alpha, rejected)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]).shape == (0,)
    for wrong in ([0.5, 1.5], [float("nan")]):
        with pytest.raises(DataError, match=r"\[0, 1\]"):
            holm(wrong)


def test_differences_get_their_adjusted_p():
    ps = [0.01, 0.04, 0.03]
    results = adjusted([found(0.1, 0.2, p=p) for p in ps])
    assert [each.p_adjusted for each in results] == pytest.approx([0.03, 0.06, 0.06])
    assert [each.p for each in results] == ps


def test_a_verdict_names_the_better_one():
    assert found(0.01, 0.03).verdict() == "B is better in map_at_r by 0.0200 [0.0100, 0.0300]."
    assert found(-0.03, -0.01).verdict("cnn", "vit").startswith("cnn is better in map_at_r by 0.0200 [0.0100")
    assert found(-0.03, -0.01, "eer").verdict().startswith("B is better")
    assert found(0.01, 0.03, "my_cost").verdict(direction="minimize").startswith("A is better")


def test_a_verdict_without_a_difference_says_what_could_have_been_seen():
    both = found(-0.01, 0.03)
    assert not both.significant
    assert both.half_width == pytest.approx(0.02)
    told = both.verdict()
    assert told.startswith("No significant difference in map_at_r: B minus A is +0.0100 [-0.0100, +0.0300]")
    assert "300 queries; this test has about 50 % power for a difference of 0.0200." in told
    assert not found(0.0, 0.03).significant  # an end at 0 holds it


def test_an_interval_reads_as_a_line():
    assert str(Interval("eer", 0.1, 0.08, 0.13, 0.95, "items", 50, 1000)) == "eer 0.1000 [0.0800, 0.1300]"
