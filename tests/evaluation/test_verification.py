"""Verification figures against scikit-learn, loops and hand calculation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selection import examples
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve

from siamkit.errors import DataError
from siamkit.evaluation import ThresholdRule, evaluate_labels, evaluate_pairs, scan, verification
from siamkit.evaluation.distances import Cosine
from siamkit.evaluation.distances import distance_tiles as real
from siamkit.evaluation.scan import BINS, Histogram
from siamkit.evaluation.verification import Curve, verification_measures


class OneDimension:
    """Differences in one dimension, as a distance or a similarity."""

    def __init__(self, orientation="distance"):
        self.orientation = orientation

    def __call__(self, a, b):
        values = np.abs(a - b)[..., 0]
        return values if self.orientation == "distance" else -values

    def matrix(self, a, b):
        return self(a[:, None], b[None])


def roc_measures(distances, alike, unlike):
    curve = Curve.of(distances, alike, unlike)
    return (math.nan,) * 3 if curve is None else (curve.auc, curve.eer, curve.choose(ThresholdRule()))


def counted(distances, alike):
    distances, alike = np.asarray(distances), np.asarray(alike, bool)
    values = np.unique(distances)
    at = distances == values[:, None]
    return values, (at & alike).sum(axis=1), (at & ~alike).sum(axis=1)


def slow_eer(distances, alike):
    """The crossing of FAR and FRR along the curve, in tiny steps of each of its straight lines."""
    far, tar, _ = roc_curve(alike, -np.asarray(distances, float), drop_intermediate=False)
    best, answer = math.inf, math.nan
    for i in range(len(far) - 1):
        for t in np.linspace(0, 1, 1001):
            x, y = far[i] + t * (far[i + 1] - far[i]), 1 - tar[i] - t * (tar[i + 1] - tar[i])
            if abs(x - y) < best:
                best, answer = abs(x - y), (x + y) / 2
    return answer


@settings(max_examples=examples(100))
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=2, max_size=20))
def test_figures_equal_scikit_learn_and_loops(pairs):
    distances, alike = np.array([d for d, _ in pairs], float), np.array([a for _, a in pairs])
    auc, eer, threshold = roc_measures(*counted(distances, alike))
    if alike.all() or not alike.any():
        assert np.isnan([auc, eer, threshold]).all()
        return
    assert auc == pytest.approx(roc_auc_score(alike, -distances))
    assert eer == pytest.approx(slow_eer(distances, alike), abs=2e-3)
    reached = balanced_accuracy_score(alike, distances <= threshold)
    assert reached == pytest.approx(max(balanced_accuracy_score(alike, distances <= t) for t in distances))


def test_figures_worked_out_by_hand():
    # Distances 1+ 2- 3+ 4-: of the four couples (alike, unlike) three are in order.
    auc, eer, threshold = roc_measures(*counted([1, 2, 3, 4], [1, 0, 1, 0]))
    assert auc == 0.75
    assert eer == 0.5  # after 2: FAR 1/2, FRR 1/2
    assert threshold == 1.5  # accepts 1 only: (1/2 + 1) / 2; so does 3.5, which is higher
    # One alike at 1, one at 2 together with one of three unlike: FAR - FRR runs -1, -1/2, 1/3.
    auc, eer, _ = roc_measures(np.array([1.0, 2, 3]), np.array([1, 1, 0]), np.array([0, 1, 2]))
    assert auc == pytest.approx((3 + 2.5) / 6)
    assert eer == pytest.approx(0.6 / 3)  # 3/5 of the way from FAR 0 to FAR 1/3


def test_perfect_reversed_and_equal_distances():
    assert roc_measures(*counted([1, 2, 5, 6], [1, 1, 0, 0])) == (1.0, 0.0, 3.5)
    auc, eer, threshold = roc_measures(*counted([1, 2, 5, 6], [0, 0, 1, 1]))
    assert (auc, eer, threshold) == (0.0, 1.0, 6.0)
    assert roc_measures(*counted([3, 3, 3], [1, 0, 1])) == (0.5, 0.5, 3.0)


def test_of_places_equally_good_the_lowest_is_the_threshold():
    # 1/3 accepted of those alike and none of the others is as good as 3/3 and 2/3, but for rounding.
    assert roc_measures(*counted([1, 2, 3, 4, 5, 6], [1, 0, 0, 1, 1, 0]))[2] == 1.5


def test_threshold_between_neighbouring_floats_accepts_just_the_lower():
    low = np.float32(1)
    while low < 1.00001:
        high = np.nextafter(low, np.float32(2))
        threshold = np.float32(roc_measures(*counted([low, high], [1, 0]))[2])
        assert low <= threshold < high
        low = high


@pytest.mark.parametrize("orientation", ["distance", "similarity"])
def test_threshold_is_in_the_metrics_own_orientation(orientation):
    metric = OneDimension(orientation)
    pairs = evaluate_pairs([[[0.0], [1.0]], [[0.0], [3.0]]], [1, 0], metric).measures
    items = evaluate_labels([[0.0], [1.0], [4.0], [5.0]], [0, 0, 1, 1], metric).measures
    sign = 1 if orientation == "distance" else -1
    assert pairs["threshold"] == sign * 2
    assert items["threshold"] == pytest.approx(sign * 2, abs=1e-4)
    assert (pairs["roc_auc"], items["roc_auc"], pairs["eer"], items["eer"]) == (1, 1, 0, 0)


@pytest.mark.parametrize("orientation", ["distance", "similarity"])
def test_all_pairs_of_items_agree_with_scikit_learn(orientation):
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 40, 3000)
    embeddings = (labels + draw.normal(scale=8, size=3000)).astype(np.float32)[:, None]
    measures = evaluate_labels(embeddings, labels, OneDimension(orientation)).measures
    i, j = np.triu_indices(len(labels), 1)
    distances, alike = np.abs(embeddings[i, 0] - embeddings[j, 0]), labels[i] == labels[j]
    assert measures["roc_auc"] == pytest.approx(roc_auc_score(alike, -distances), abs=1e-5)
    far, tar, _ = roc_curve(alike, -distances, drop_intermediate=False)
    assert measures["eer"] == pytest.approx(far[np.argmin(np.abs(far - 1 + tar))], abs=1e-5)
    accepted = distances <= abs(measures["threshold"])
    best = (1 + (tar - far).max()) / 2
    assert balanced_accuracy_score(alike, accepted) == pytest.approx(best, abs=1e-5)


def test_only_pairs_above_the_diagonal_are_counted(monkeypatch):
    """A metric that is not symmetric tells (i, j) from (j, i); chunks of a few rows must not mix them."""

    class Ordered(OneDimension):
        def __call__(self, a, b):
            return (2 * a + b)[..., 0]

    monkeypatch.setattr("siamkit.evaluation.distances.CHUNK", 30)
    draw = np.random.default_rng(3)
    embeddings, labels = draw.integers(0, 50, (13, 1)).astype(np.float32), draw.integers(0, 3, 13)
    i, j = np.triu_indices(13, 1)
    expected = roc_auc_score(labels[i] == labels[j], -(2 * embeddings[i] + embeddings[j])[:, 0])
    assert evaluate_labels(embeddings, labels, Ordered()).measures["roc_auc"] == pytest.approx(
        expected, abs=1e-6
    )


class Away(Cosine):
    """1 - cos: ordered by products, of which its values are a function."""

    orientation = "distance"

    def __call__(self, a, b):
        return 1 - super().__call__(a, b)

    def matrix(self, a, b):
        return 1 - super().matrix(a, b)


@pytest.mark.parametrize("metric", [Cosine(), Away()])
@pytest.mark.parametrize("classes", [3, 100])
def test_the_pairs_of_a_search_are_counted_as_all_pairs_are(monkeypatch, metric, classes):
    monkeypatch.setattr("siamkit.evaluation.candidates.TILE", 70)  # the last tile has fewer rows
    rng = np.random.default_rng(classes)
    labels = np.arange(400) % classes
    embeddings = (rng.normal(size=(classes, 8))[labels] + rng.normal(size=(400, 8))).astype(np.float32)
    embeddings[7] = 0
    tiles = []
    monkeypatch.setattr(verification, "distance_tiles", lambda *given: tiles.append(given) or real(*given))
    ks = (1,) if classes == 100 else (400,)  # few neighbors are searched for; for many, all are compared
    found = evaluate_labels(embeddings, labels, metric, ks=ks)
    assert len(tiles) == (classes == 100 and isinstance(metric, Away))
    i, j = np.triu_indices(400, 1)
    distances = metric.matrix(embeddings, embeddings)[i, j] * (-1 if type(metric) is Cosine else 1)
    alike = labels[i] == labels[j]
    assert (found.curve.alike, found.curve.unlike) == (alike.sum(), (~alike).sum())
    assert found.measures["roc_auc"] == pytest.approx(roc_auc_score(alike, -distances), abs=1e-5)
    threshold = found.measures["threshold"] * (-1 if type(metric) is Cosine else 1)
    far = (distances[~alike] <= threshold).mean()
    assert found.measures["far"] == pytest.approx(far, abs=1e-5)


class Dot(Cosine):
    """The dot product in float32."""

    def points(self, x):
        return x.copy()

    def __call__(self, a, b):
        return (a * b).sum(axis=1)

    def matrix(self, a, b):
        with np.errstate(over="ignore", invalid="ignore"):
            return a @ b.T


@pytest.mark.parametrize("largest", [2.0**62, 2.0**63])
def test_products_just_inside_float32_are_counted_in_a_search(monkeypatch, largest):
    monkeypatch.setattr("siamkit.evaluation.candidates.TILE", 70)
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 100
    embeddings = rng.normal(size=(100, 2))[labels] + rng.normal(size=(400, 2))
    embeddings = (embeddings * (largest / np.abs(embeddings).max())).astype(np.float32)
    found = evaluate_labels(embeddings, labels, Dot(), ks=(1,))
    i, j = np.triu_indices(400, 1)
    products = np.einsum("nd,nd->n", *embeddings[[i, j]].astype(np.float64))
    expected = roc_auc_score(labels[i] == labels[j], products / largest**2)
    assert found.measures["roc_auc"] == pytest.approx(expected, abs=1e-5)


def test_products_outside_float32_are_refused_in_a_search(monkeypatch):
    monkeypatch.setattr("siamkit.evaluation.candidates.TILE", 70)
    embeddings = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)
    embeddings[5:7] *= 1e22
    with pytest.raises(DataError, match="NaN or infinity"):
        evaluate_labels(embeddings, np.arange(400) % 100, Dot(), ks=(1,))


# ---------------------------------------------------------------- the histogram

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=examples(200))
@given(st.lists(st.lists(st.tuples(floats, st.booleans()), max_size=6), min_size=1, max_size=5))
def test_histogram_counts_all_whatever_the_order_and_portions(portions):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "BINS", 2**10)  # quicker, and fuller
        patch.setattr(scan, "CACHED", 2)
        patch.setattr(scan, "COUNTED", 5)
        patch.setattr(scan, "FEW", 3)
        _check_histogram(portions)


def _check_histogram(portions):
    flat = [pair for portion in portions for pair in portion]
    parts, whole, backwards = Histogram(), Histogram(), Histogram()
    for portion in portions:
        parts.add(np.array([d for d, _ in portion], np.float32), np.array([a for _, a in portion], bool))
    distances, alike = np.array([d for d, _ in flat], np.float32), np.array([a for _, a in flat], bool)
    whole.add(distances, alike)
    for k in range(len(flat))[::-1]:
        backwards.add(distances[k : k + 1], alike[k : k + 1])
    merged = Histogram()
    for portion in portions:
        one = Histogram()
        one.add(np.array([d for d, _ in portion], np.float32), np.array([a for _, a in portion], bool))
        merged.merge(one)
    for other in (parts, backwards, merged):
        for a, b in zip(whole.counts(), other.counts(), strict=True):
            np.testing.assert_array_equal(a, b)
    centres, in_alike, in_unlike = whole.counts()
    assert (in_alike.sum(), in_unlike.sum()) == (alike.sum(), (~alike).sum())
    assert (np.diff(centres) > 0).all()
    if flat:
        span = float(distances.max()) - float(distances.min())
        width = max(span * 2.0**-8, 2.0 ** (np.frexp(np.abs(distances).max())[1] - 24), 2.0**-149)
        for distance in distances.astype(float):
            assert np.abs(centres - distance).min() <= width / 2 * (1 + 1e-6)


@pytest.mark.parametrize("few", [0, 5001])
def test_histogram_bins_hold_what_their_edges_say(monkeypatch, few):
    monkeypatch.setattr(scan, "FEW", few)
    _histogram = Histogram()
    values = np.random.default_rng(0).normal(size=5000).astype(np.float32)
    _histogram.add(values[:10] / 1000, np.ones(10, bool))
    _histogram.add(values, np.ones(5000, bool))
    everything = np.concatenate([values[:10] / 1000, values]).astype(float)
    width = 2.0**_histogram._exponent
    bins, counts = np.unique(np.ceil(everything / width), return_counts=True)
    centres, alike, unlike = _histogram.counts()
    np.testing.assert_array_equal(centres, (bins - 0.5) * width)
    np.testing.assert_array_equal(alike, counts)
    assert not unlike.any()
    assert BINS // 2 <= np.ptp(bins) < BINS


def test_histogram_threshold_parts_neighbouring_bins():
    _histogram = Histogram()  # narrow range: each bin is a single float32
    low = np.float32(1)
    high = np.nextafter(low, np.float32(2))
    _histogram.add(np.array([low, high]), np.array([True, False]))
    auc, eer, threshold = roc_measures(*_histogram.counts())
    assert (auc, eer) == (1, 0)
    assert low <= np.float32(threshold) < high


# ---------------------------------------------------------------- what is read off the curve


def curve_of(seed=0, alike=300, unlike=4000):
    draw = np.random.default_rng(seed)
    distances = np.round(np.concatenate([draw.normal(1, 0.5, alike), draw.normal(2, 0.5, unlike)]), 2)
    kinds = np.repeat([True, False], [alike, unlike])
    return Curve.of(*counted(distances, kinds)), distances, kinds


def test_true_accepts_are_those_of_scikit_learn_at_the_rate_asked_for():
    curve, distances, kinds = curve_of()
    far, tar, _ = roc_curve(kinds, -distances, drop_intermediate=False)
    for rate in (0.1, 0.01, 0.001):
        assert curve.tar_at_far(rate) == pytest.approx(tar[far <= rate].max())
    assert math.isnan(curve.tar_at_far(1e-4))  # of 4,000 one is more than that


def test_a_threshold_given_is_counted_at_in_the_metrics_own_orientation():
    curve, distances, kinds = curve_of()
    for sign in (1, -1):
        measures = verification_measures(curve, sign, sign * 1.305)
        assert measures["false_accepts"] == (distances[~kinds] <= 1.3).sum()
        assert measures["false_rejects"] == (distances[kinds] > 1.3).sum()
        assert measures["far"] == pytest.approx((distances[~kinds] <= 1.3).mean())
        assert measures["balanced_accuracy"] == pytest.approx(
            balanced_accuracy_score(kinds, distances <= 1.3)
        )
        assert measures["threshold"] == sign * 1.305
        best = verification_measures(curve, sign)
        assert best["threshold"] == sign * curve.choose(ThresholdRule())
        assert best["balanced_accuracy"] >= measures["balanced_accuracy"]
    assert verification_measures(curve, 1, -5.0)["far"] == 0
    assert verification_measures(curve, 1, 99.0)["frr"] == 0


def test_a_threshold_from_other_classes_is_counted_at():
    line = np.array([[0.0], [1.0], [10.0], [11.0], [14.0], [14.5]])
    labels = [0, 0, 1, 1, 2, 2]
    measures = evaluate_labels(line, labels, OneDimension(), threshold=3.5).measures
    assert (measures["false_accepts"], measures["false_rejects"]) == (2, 0)  # 11 with 14 and 14.5
    assert evaluate_labels(line, labels, OneDimension()).measures["false_accepts"] == 0


def test_a_thinned_curve_is_the_same_where_it_is_there():
    draw = np.random.default_rng(0)
    distances = np.concatenate([draw.normal(1, 0.5, 2000), draw.normal(2, 0.5, 5000)])
    values, place = np.unique(distances, return_inverse=True)
    alike = np.bincount(place[:2000], minlength=len(values))
    curve = Curve.of(values, alike, np.bincount(place[2000:], minlength=len(values)))
    thin = curve.thinned(90)
    assert len(thin.far) <= 92 < len(curve.far)
    assert {*zip(thin.distances, thin.far, thin.frr, strict=True)} <= {
        *zip(curve.distances, curve.far, curve.frr, strict=True)
    }
    grid = np.linspace(0, 1, 200)
    away = np.interp(grid, thin.far, 1 - thin.frr) - np.interp(grid, curve.far, 1 - curve.frr)
    assert np.abs(away).max() < 0.05
