"""Figures of pairs under weights, and their intervals: scikit-learn, SciPy, pairs written out, loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy import stats
from selection import examples
from sklearn.metrics import roc_auc_score, roc_curve

from siamkit.errors import DataError
from siamkit.stats.pair_bootstrap import compare_pairs, interval_of_pairs, narrowed
from siamkit.stats.pair_measures import weighted_measure

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4), st.integers(0, 3)), min_size=3, max_size=15)
RATES = (0.0, 0.1, 0.5)


def slow_eer(far, tar):
    """The crossing of FAR and FRR along the curve: each of its straight lines solved on its own."""
    for i in range(len(far) - 1):
        x, y = (far[i], far[i + 1]), (1 - tar[i], 1 - tar[i + 1])
        gap, next_gap = x[0] - y[0], x[1] - y[1]
        if gap <= 1e-12 and next_gap >= -1e-12 and next_gap > gap:
            return x[0] + gap / (gap - next_gap) * (x[1] - x[0])
    raise AssertionError


@settings(max_examples=examples(100))
@given(PAIRS)
# A pair of weight 0 at a distance where, but for rounding, FAR and FRR are equal.
@example([(0, 0, 3), (0, 0, 3), (0, 3, 2), (1, 0, 2), (2, 3, 0), (3, 0, 1), (3, 0, 3), (3, 3, 1), (3, 3, 3)])
def test_figures_of_pairs_alike_equal_scikit_learn_with_sample_weights(pairs):
    distances, alike, weights = (np.array(each, float) for each in zip(*pairs, strict=True))
    alike = (alike > 2).astype(float)
    assume(0 < alike.sum() < len(alike))
    # Weighted pairs stand beside unweighted rows, so that rows are seen not to mix.
    rows = np.stack([np.ones(len(pairs)), weights, weights / 7])
    names = ["roc_auc", "eer", *[f"tar_at_far_{rate}" for rate in RATES]]
    found = {name: weighted_measure(name, distances, alike)(rows) for name in names}
    for row, weight in enumerate(rows):
        if not (weight * alike).sum() or not (weight * (1 - alike)).sum():
            assert all(np.isnan(found[name][row]) for name in names)
            continue
        assert found["roc_auc"][row] == pytest.approx(roc_auc_score(alike, -distances, sample_weight=weight))
        far, tar, _ = roc_curve(alike, -distances, sample_weight=weight, drop_intermediate=False)
        assert found["eer"][row] == pytest.approx(slow_eer(far, tar), abs=1e-9)
        for rate in RATES:
            best = tar[far <= rate + 1e-12].max()
            assert found[f"tar_at_far_{rate}"][row] == pytest.approx(best, abs=1e-9)


@settings(max_examples=examples(100))
@given(PAIRS)
def test_correlations_are_those_of_pairs_written_out(pairs):
    distances, scores, counts = (np.array(each) for each in zip(*pairs, strict=True))
    rows = np.stack([np.ones(len(pairs)), counts.astype(float)])
    found = {
        name: weighted_measure(name, distances.astype(float), scores.astype(float))(rows)
        for name in ("spearman", "pearson")
    }
    for row, weight in enumerate(rows.astype(int)):
        x, y = -np.repeat(distances, weight), np.repeat(scores, weight)
        if len(np.unique(x)) < 2 or len(np.unique(y)) < 2:
            assert np.isnan([found["spearman"][row], found["pearson"][row]]).all()
            continue
        assert found["spearman"][row] == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)
        assert found["pearson"][row] == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)


@pytest.mark.parametrize("measure", ["auc", "tar_at_far_", "tar_at_far_x", "tar_at_far_1", "recall_at_1"])
def test_an_unknown_figure_is_refused(measure):
    with pytest.raises(DataError, match="does not exist for pairs"):
        weighted_measure(measure, np.arange(3.0), np.array([0.0, 1, 1]))


# ---------------------------------------------------------------- intervals over pairs


def plain(n=150, seed=0):
    rng = np.random.default_rng(seed)
    targets = np.arange(n) % 3 == 0
    a = rng.normal(size=n) - 0.7 * targets
    return a, a + rng.normal(0, 0.5, n) - 0.6 * targets, targets


def test_over_pairs_it_is_the_bootstrap_of_scipy():
    a, b, targets = plain()

    def difference(a, b, targets):
        return roc_auc_score(targets, -b) - roc_auc_score(targets, -a)

    level = 1 - 2 * stats.norm.cdf(math.sqrt(150 / 149) * stats.t.ppf(0.025, 149))
    told = stats.bootstrap(
        (a, b, targets), difference, paired=True, vectorized=False, n_resamples=300, method="percentile",
        confidence_level=level, rng=1,
    ).confidence_interval  # fmt: skip
    found = compare_pairs("roc_auc", a, b, targets)
    np.testing.assert_allclose([found.low, found.high], told, atol=0.12 * (told.high - told.low))
    assert found.difference == pytest.approx(difference(a, b, targets))
    assert (found.over, found.units) == ("pairs", 150)
    assert found.significant == (found.p < 0.05)


def test_scores_of_pairs_are_compared_too():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=120)
    a, b = -scores + rng.normal(0, 2, 120), -scores + rng.normal(0, 0.5, 120)
    for measure, by_hand in (("spearman", stats.spearmanr), ("pearson", stats.pearsonr)):
        found = compare_pairs(measure, a, b, scores, resamples=500)
        assert found.b == pytest.approx(by_hand(-b, scores).statistic)
        assert found.significant
        assert found.low < found.difference < found.high


# ---------------------------------------------------------------- intervals over items and classes


def embedded(classes, spread=0.6, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=classes.max() + 1)[classes]
    shared = rng.normal(size=len(classes))
    i, j = np.triu_indices(len(classes), 1)
    sides = [x + s * (shared + rng.normal(size=len(classes))) for s in (spread, spread / 2)]
    return i, j, classes[i] == classes[j], [np.abs(side[i] - side[j]) for side in sides]


def pull(distances, alike):
    """How far each pair pulls the AUC: its own share of couples in order, less the AUC."""
    order = np.sign(distances[~alike] - distances[alike][:, None]) / 2 + 0.5
    auc = order.mean()
    found = np.empty(len(alike))
    found[alike] = (order.mean(axis=1) - auc) / alike.sum()
    found[~alike] = (order.mean(axis=0) - auc) / (~alike).sum()
    return found


@pytest.mark.parametrize(("over", "count", "size"), [("items", 5, 20), ("classes", 24, 3)])
def test_over_items_and_classes_it_has_the_spread_of_pairs_that_share_one(over, count, size):
    """Aronow, Samii and Assenova's variance: of all couples of pairs that have a unit in common."""
    classes = np.repeat(np.arange(count), size)
    i, j, alike, (a, b) = embedded(classes, seed=1)
    units = np.arange(len(classes)) if over == "items" else classes
    pulls = pull(b, alike) - pull(a, alike)
    touched = np.zeros((len(pulls), units.max() + 1), np.float32)
    touched[np.arange(len(pulls)), units[i]] = touched[np.arange(len(pulls)), units[j]] = 1
    variance = pulls @ (touched @ touched.T > 0) @ pulls
    n = units.max() + 1
    expected = stats.t.ppf(0.975, n - 1) * math.sqrt(variance * n / (n - 1))
    found = compare_pairs("roc_auc", a, b, alike, items=(i, j), classes=classes, over=over)
    assert (found.high - found.low) / 2 == pytest.approx(expected, rel=0.12)
    assert (found.over, found.units) == (over, n)
    assert found.low < found.difference < found.high


def test_pairs_that_share_items_are_surer_than_they_are_if_drawn_themselves():
    classes = np.repeat(np.arange(6), 12)
    i, j, alike, (a, b) = embedded(classes)
    asked = {"items": (i, j), "resamples": 300}
    wide, narrow = (compare_pairs("eer", a, b, alike, **asked, over=over) for over in ("items", "pairs"))
    assert wide.difference == narrow.difference
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)
    assert compare_pairs("eer", a, b, alike, **asked).over == "items"


def test_spread_is_taken_back_by_inclusion_and_exclusion():
    drawn = np.random.default_rng(0).normal(size=1000)
    unit = (drawn - drawn.mean()) / drawn.std()
    assert narrowed(1.0, 1 + 5 * unit, 2 * unit).std() == pytest.approx(math.sqrt(25 - 2 * 4))
    assert narrowed(1.0, 1 + 5 * unit, 4 * unit).std() == pytest.approx(4)  # never below that of couples
    assert narrowed(1.0, 1 + 5 * unit, 9 * unit).std() == pytest.approx(5)  # nor widened
    assert (narrowed(1.0, np.ones(9), np.ones(9)) == 1).all()


def test_units_without_pairs_do_not_count_and_names_of_units_do_not_matter():
    classes = np.repeat(np.arange(22), 2)
    i, j, alike, (a, b) = embedded(classes)
    asked = {"over": "classes", "resamples": 200}
    plain_ids = compare_pairs("roc_auc", a, b, alike, items=(i, j), classes=classes, **asked)
    moved = np.append(
        np.full(7, "aside, before all others"), np.char.add("class ", np.char.zfill(classes.astype(str), 2))
    )
    other_ids = compare_pairs("roc_auc", a, b, alike, items=(i + 7, j + 7), classes=moved, **asked)
    assert plain_ids == other_ids
    assert plain_ids.units == 22


def test_answers_depend_on_the_seed_and_not_on_the_portions(monkeypatch):
    classes = np.repeat(np.arange(20), 2)
    i, j, alike, (a, b) = embedded(classes)
    asked = {"items": (i, j), "resamples": 120}
    first = compare_pairs("roc_auc", a, b, alike, **asked)
    assert compare_pairs("roc_auc", a, b, alike, **asked, seed=1) != first
    monkeypatch.setattr("siamkit.stats.resampling.CHUNK", 5000)
    again = compare_pairs("roc_auc", a, b, alike, **asked)
    assert (again.low, again.high) == pytest.approx((first.low, first.high), abs=1e-12)


def test_perfect_embedding_sets_leave_room_for_what_was_not_seen():
    distances, alike = np.append(np.zeros(30), np.ones(200)), np.append(np.ones(30), np.zeros(200))
    one = interval_of_pairs("roc_auc", distances, alike, resamples=200)
    limit = stats.binomtest(0, 30).proportion_ci(0.95, method="exact").high  # 30 couples that share nothing
    assert (one.value, one.low, one.high) == pytest.approx((1, 1 - limit, 1))
    both = compare_pairs("roc_auc", distances, distances, alike, resamples=200)
    assert (both.low, both.high, both.p) == pytest.approx((-limit, limit, 1))


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"targets": [1] * 40}, r"roc_auc needs targets 1 \(alike\) and 0 \(not alike\), got \[1.0\]"),
        ({"targets": [0.5] * 40}, "roc_auc needs targets 1"),
        ({"a": [0.1] * 39}, r"a should have the shape \(40,\)"),
        ({"b": [np.inf] * 40}, "b should be finite"),
        ({"b": ["x"] * 40}, "b should be numbers"),
        ({"over": "items"}, "over items needs the two items of each pair"),
        ({"over": "classes", "items": (range(40), range(1, 41))}, "needs the class of each item"),
        ({"over": "queries"}, "over should be 'pairs', 'items' or 'classes', got 'queries'"),
        ({"items": (range(40), [0.5] * 40)}, "items should be indices"),
        ({"items": (range(40), [-1] * 40)}, "items should be indices"),
        (
            {"over": "classes", "items": (range(40), range(1, 41)), "classes": range(40)},
            "the class of every item, got 40 classes but item 40",
        ),
        (
            {"over": "classes", "items": (range(40), range(1, 41)), "classes": [0] * 41},
            "at least 20 of them, got 1",
        ),
        ({"items": ([0] * 40, [1, 2] * 20)}, "an interval over items needs at least 10 of them, got 3"),
        ({"level": 1}, "level should be"),
        ({"resamples": 3}, "at least 100"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_sentence(changed, sentence):
    asked = {"a": np.arange(40.0), "b": np.arange(40.0)[::-1], "targets": [0, 1] * 20, **changed}
    with pytest.raises(DataError, match=sentence):
        compare_pairs("roc_auc", asked.pop("a"), asked.pop("b"), asked.pop("targets"), **asked)


def test_a_correlation_of_equal_distances_is_refused():
    with pytest.raises(DataError, match="spearman is undefined"):
        interval_of_pairs("spearman", [1.0] * 30, np.arange(30.0))


def test_too_few_pairs_of_a_kind_are_refused():
    with pytest.raises(DataError, match=r"undefined in .* resamples, because they contain one kind of pairs"):
        interval_of_pairs("roc_auc", np.arange(30.0), [1] + [0] * 29)
