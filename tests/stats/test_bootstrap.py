"""Paired comparisons of per-query scores, against SciPy's bootstrap and permutations, loops and hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from siamkit.errors import DataError
from siamkit.stats.bootstrap import Sample, compare_queries, interval_of
from siamkit.stats.resampling import permutation_p
from siamkit.stats.results import Difference

CLASSES = np.random.default_rng(5).permutation(np.repeat(np.arange(25), np.resize([1, 3, 8], 25)))


def scored(n=97, seed=0):  # as many as in CLASSES
    rng = np.random.default_rng(seed)
    a = rng.beta(0.5, 0.7, n)
    return a, np.clip(a + rng.normal(0.05, 0.2, n), 0, 1)


def expanded(n, level=0.95):
    """The level of a plain percentile interval that is ours."""
    return 1 - 2 * stats.norm.cdf(math.sqrt(n / (n - 1)) * stats.t.ppf((1 - level) / 2, n - 1))


def close(ours, theirs, width):
    np.testing.assert_allclose(ours, theirs, atol=0.04 * width)  # chance of 10,000 resamples


def scipy_interval(data, statistic, n):
    result = stats.bootstrap(
        data, statistic, paired=True, vectorized=True, n_resamples=10_000, method="percentile",
        confidence_level=expanded(n), rng=1, batch=1000,
    )  # fmt: skip
    return result.confidence_interval


def test_over_queries_it_is_the_bootstrap_of_scipy():
    a, b = scored()
    found = compare_queries("map_at_r", a, b)
    low, high = scipy_interval((a, b), lambda a, b, axis: (b - a).mean(axis=axis), len(a))
    close([found.low, found.high], [low, high], high - low)
    assert found.a == pytest.approx(a.mean())
    assert found.b == pytest.approx(b.mean())
    assert found.difference == pytest.approx((b - a).mean())
    assert (found.measure, found.units, found.over, found.level) == ("map_at_r", len(a), "queries", 0.95)


def by_class(values):
    return np.array([values[each == CLASSES].mean() for each in range(25)])


def test_over_classes_it_is_the_bootstrap_of_scipy_over_class_means():
    a, b = scored()
    found = compare_queries("f", a, b, classes=CLASSES, mean="classes", over="classes")
    differences = by_class(b) - by_class(a)
    low, high = scipy_interval((differences,), lambda d, axis: d.mean(axis=axis), 25)
    close([found.low, found.high], [low, high], high - low)
    assert (found.a, found.b) == pytest.approx((by_class(a).mean(), by_class(b).mean()))
    assert (found.units, found.over) == (25, "classes")


def test_over_classes_the_mean_of_queries_draws_whole_classes():
    a, b = scored()
    found = compare_queries("f", a, b, classes=CLASSES, over="classes")
    sizes = np.bincount(CLASSES)
    sums = np.bincount(CLASSES, b - a)
    low, high = scipy_interval((sums, sizes), lambda s, n, axis: s.sum(axis=axis) / n.sum(axis=axis), 25)
    close([found.low, found.high], [low, high], high - low)
    assert found.difference == pytest.approx((b - a).mean())


def test_over_queries_the_mean_of_classes_has_the_spread_within_classes():
    """√(Σ s²_c / n_c) / C, by hand, in classes of two or more."""
    rng = np.random.default_rng(0)
    classes = np.repeat(np.arange(12), np.resize([2, 5, 20, 40], 12))
    a, b = rng.beta(2, 2, (2, len(classes))) * 0.5 + 0.5 * (classes % 2)
    found = compare_queries("f", a, b, classes=classes, mean="classes")
    parts = [(b - a)[classes == each] for each in range(12)]
    error = math.sqrt(sum(part.var(ddof=1) / len(part) for part in parts)) / 12
    assert found.difference == pytest.approx(np.mean([part.mean() for part in parts]))
    middle = (found.low + found.high) / 2
    assert middle == pytest.approx(found.difference, abs=0.1 * error)
    expected = stats.t.ppf(0.975, len(classes) - 1) * error
    assert (found.high - found.low) / 2 == pytest.approx(expected, rel=0.04)


def test_a_class_of_one_query_widens_the_interval():
    rng = np.random.default_rng(1)
    classes = np.arange(40) // 2
    d = rng.random(40)
    apart = np.where(classes >= 15, np.arange(40), classes)  # the last five classes fall into ten
    inner = interval_of("f", d, classes=classes, mean="classes")
    outer = interval_of("f", d, classes=apart, mean="classes")
    assert outer.value == pytest.approx(np.mean([d[apart == each].mean() for each in np.unique(apart)]))
    assert 0.8 * (inner.high - inner.low) < outer.high - outer.low
    assert outer.low < outer.value < outer.high


def test_an_interval_of_one_embedding_set_is_the_bootstrap_of_scipy():
    a, _ = scored()
    found = interval_of("map_at_r", a)
    low, high = scipy_interval((a,), lambda a, axis: a.mean(axis=axis), len(a))
    close([found.low, found.high], [low, high], high - low)


def test_only_queries_that_both_scored_count():
    a, b = scored()
    gaps_a, gaps_b = a.copy(), b.copy()
    gaps_a[3], gaps_b[[3, 8]] = np.nan, np.nan
    kept = np.delete(np.arange(len(a)), [3, 8])
    asked = {"mean": "classes", "over": "classes"}
    for more in ({}, asked):
        gaps = compare_queries("f", gaps_a, gaps_b, classes=CLASSES, **more)
        assert gaps == compare_queries("f", a[kept], b[kept], classes=CLASSES[kept], **more)
    # A class of which nothing is left is no class.
    assert compare_queries("f", np.where(CLASSES == 2, np.nan, a), b, classes=CLASSES, **asked).units == 24


def test_answers_depend_on_the_seed_and_not_on_the_portions(monkeypatch):
    a, b = scored()
    asked = {"classes": CLASSES, "over": "classes", "resamples": 300}
    first = compare_queries("f", a, b, **asked)
    assert compare_queries("f", a, b, **asked, seed=1) != first
    monkeypatch.setattr("siamkit.stats.resampling.CHUNK", 100)
    again = compare_queries("f", a, b, **asked)
    for name in ("low", "high", "p"):
        assert getattr(again, name) == pytest.approx(getattr(first, name), abs=1e-12)


def test_swapping_the_embedding_sets_turns_the_difference_round():
    a, b = scored()
    one, other = compare_queries("f", a, b), compare_queries("f", b, a)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert one.p == other.p


# ---------------------------------------------------------------- where nothing differs


def test_where_no_query_differs_the_interval_says_what_may_be_missed():
    found = compare_queries("recall_at_1", np.ones(50), np.ones(50))
    limit = stats.binomtest(0, 50).proportion_ci(0.95, method="exact").high
    assert (found.low, found.high) == pytest.approx((-limit, limit))
    assert found.p == 1
    assert not found.significant
    none = interval_of("recall_at_1", np.zeros(50))
    assert (none.low, none.high) == pytest.approx((0, limit))


# ---------------------------------------------------------------- the permutation test


def exact(shares):
    """All ways one by one."""
    seen = abs(sum(shares))
    ways = [
        abs(sum(s * x for s, x in zip(signs, shares, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(shares))
    ]
    return sum(way >= seen - 1e-9 for way in ways) / len(ways)


def test_with_few_queries_all_ways_are_gone_through():
    a, b = scored(9)
    assert permutation_p(b - a, 10_000, 0) == pytest.approx(exact(b - a))
    expected = stats.permutation_test(
        (a, b), lambda a, b, axis: (b - a).mean(axis=axis), permutation_type="samples", vectorized=True
    )
    assert permutation_p(b - a, 10_000, 0) == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("mean", ["queries", "classes"])
@pytest.mark.parametrize("over", ["queries", "classes"])
def test_a_class_is_turned_round_whole_and_weighs_as_the_mean_says(mean, over):
    a, b = scored(10)
    classes = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 3])
    sizes = np.bincount(classes)
    by_query = (b - a) / (10 if mean == "queries" else 4 * sizes[classes])
    shares = by_query if over == "queries" else [by_query[classes == each].sum() for each in range(4)]
    sample = Sample((a, b), classes, mean, over)
    np.testing.assert_allclose(sample.shares(b - a), shares)
    assert permutation_p(sample.shares(b - a), 10_000, 0) == pytest.approx(exact(shares))


def test_many_recalls_are_mcnemars_exact_test():
    a, b = np.zeros(400), np.zeros(400)
    a[:12], b[12:40] = 1, 1  # 12 for A, 28 for B, of 400
    expected = stats.binomtest(12, 40).pvalue
    assert permutation_p(b - a, 10_000, 0) == pytest.approx(expected, rel=0.15)
    # Those that do not differ cost nothing: with 4 to 8 all ways are gone through.
    assert permutation_p((b - a)[8:20], 10_000, 0) == pytest.approx(stats.binomtest(4, 12).pvalue)


def test_a_drawn_p_counts_the_sample_itself():
    assert permutation_p(np.ones(200), 999, 0) == 1 / 1000
    assert permutation_p(np.zeros(200), 10_000, 0) == 1


def test_p_values_are_even_where_there_is_no_difference():
    rng = np.random.default_rng(0)
    ps = [permutation_p(np.diff(rng.beta(0.5, 1, (2, 30)), axis=0)[0], 199, seed) for seed in range(400)]
    assert stats.kstest(ps, "uniform").pvalue > 0.01


# ---------------------------------------------------------------- what is refused


def test_too_few_classes_are_refused_for_an_interval_only():
    a, b = scored(57)
    classes = np.arange(57) % 19
    with pytest.raises(DataError, match="at least 20 of them, got 19"):
        compare_queries("f", a, b, classes=classes, over="classes")
    compare_queries("f", a, b, classes=classes, mean="classes")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"a": [0.5] * 29}, "same queries, got 29 and 30"),
        ({"a": [1.5] * 30}, r"a should be scores in \[0, 1\], .* got 1.5 in row 0"),
        ({"b": [-np.inf] * 30}, "b should be scores"),
        ({"a": [[0.5]] * 30}, r"shape \(queries,\), got \(30, 1\)"),
        ({"a": ["x"] * 30}, "a should be numbers"),
        ({"a": [np.nan] * 30}, "none of the 30 queries has a score"),
        ({"a": [np.nan] * 21 + [1] * 9}, "an interval over queries needs at least 10 of them, got 9"),
        ({"over": "classes"}, "needs the class of each query"),
        ({"mean": "classes"}, "needs the class of each query"),
        ({"over": "items"}, "over should be 'queries' or 'classes', got 'items'"),
        ({"classes": [0] * 29}, "classes should have the shape"),
        ({"level": 95}, "level should be between 0 and 1"),
        ({"resamples": 10}, "resamples should be at least 100"),
        ({"resamples": 1.5}, "resamples should be an integer"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_sentence(changed, sentence):
    asked = {"a": [0.5] * 29 + [0.6], "b": [0.2] * 30, **changed}
    with pytest.raises(DataError, match=sentence):
        compare_queries("f", asked.pop("a"), asked.pop("b"), **asked)


@pytest.mark.parametrize(("corrected", "shown"), [(None, True), (0.01, True), (0.2, False)])
def test_of_several_differences_one_is_shown_only_if_the_corrected_p_agrees(
    corrected: float | None, shown: bool
) -> None:
    found = Difference("map_at_r", 0.5, 0.6, 0.1, 0.02, 0.18, 0.95, 0.01, corrected, "queries", 300, 999)
    assert found.excludes_zero
    assert found.significant == shown
    assert ("after correction for multiple comparisons" in found.verdict()) == (not shown)
    assert ("B is better" in found.verdict()) == shown
