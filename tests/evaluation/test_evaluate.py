"""What evaluation takes and refuses, which kind it chooses, what it imports, and real metrics."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
from numpy_metrics import Euclidean
from scipy import stats

import siamkit
from siamkit.errors import DataError
from siamkit.evaluation import (
    DEFAULT_OBJECTIVE,
    MEASURES,
    evaluate,
    evaluate_labels,
    evaluate_pairs,
    evaluate_scores,
)


class Negated(Euclidean):
    orientation = "similarity"

    def __call__(self, a, b):
        return -super().__call__(a, b)


PAIRS = np.random.default_rng(0).normal(size=(30, 2, 3)).astype(np.float32)
LINE = np.arange(4.0)[:, None]


def test_the_shape_decides_what_is_evaluated():
    assert "map_at_r" in evaluate(LINE, [0, 0, 1, 1], Euclidean())
    assert "roc_auc" in evaluate(PAIRS, np.arange(30) % 2, Euclidean())
    assert "roc_auc" in evaluate(PAIRS, np.arange(30) % 2 == 0, Euclidean())
    assert "roc_auc" in evaluate(PAIRS, (np.arange(30) % 2).astype(float), Euclidean())
    assert "spearman" in evaluate(PAIRS, np.arange(30) / 29, Euclidean())
    assert "spearman" in evaluate_scores(PAIRS, np.arange(30) % 2, Euclidean()).measures


@pytest.mark.parametrize("metric", [Euclidean(), Negated()])
def test_correlations_equal_those_of_scipy(metric):
    scores = np.round(np.random.default_rng(1).normal(size=30))  # with ties
    similarity = -Euclidean()(PAIRS[:, 0], PAIRS[:, 1])
    measures = evaluate_scores(PAIRS, scores, metric).measures
    assert measures["spearman"] == pytest.approx(stats.spearmanr(similarity, scores).statistic)
    assert measures["pearson"] == pytest.approx(stats.pearsonr(similarity, scores).statistic, abs=1e-6)
    assert (measures["pairs"], measures["bytes_per_vector"]) == (30, 12)


def test_correlations_with_constants_are_undefined():
    assert math.isnan(evaluate_scores(PAIRS, [0.1] * 30, Euclidean()).measures["spearman"])
    assert math.isnan(evaluate_scores(np.zeros((3, 2, 1)), [1, 2, 3], Euclidean()).measures["pearson"])


def test_pairs_of_one_kind_leave_verification_undefined():
    measures = evaluate_pairs(PAIRS, np.ones(30), Euclidean()).measures
    assert all(math.isnan(measures[name]) for name in ("roc_auc", "eer", "threshold"))
    assert (measures["pairs_alike"], measures["pairs_unlike"]) == (30, 0)


@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        ([[0.0], [math.nan]], [0, 0], r"NaN or infinity in 1 of 2 rows, the first is row 1"),
        ([[0.0], [1e300]], [0, 0], r"finite in float32"),
        ([[0.0], [1.0]], [0, 0, 1], r"shape \(2,\), one for each item, got \(3,\)"),
        ([[0.0], [1.0]], [[0, 1], [1, 0]], r"shape \(2,\), one for each item, got \(2, 2\)"),
        ([[0.0], [1.0]], 3, r"got \(\)"),
        ([[0.0], [1.0]], [0.0, math.nan], r"not be missing, but 1 of 2 are; the first is in row 1"),
        ([[0.0], [1.0]], [None, "a"], r"not be missing, but 1 of 2 are; the first is in row 0"),
        ([0.0, 1.0], [0, 0], r"shape \(items, dim\), got \(2,\)"),
        (np.zeros((2, 0)), [0, 0], r"shape \(items, dim\), got \(2, 0\)"),
        (np.zeros((2, 2, 2, 2)), [0, 0], r"got \(2, 2, 2, 2\)"),
        (np.zeros((2, 3, 2)), [0, 1], r"shape \(pairs, 2, dim\), got \(2, 3, 2\)"),
        (np.zeros((0, 2, 2)), [], r"at least 1 rows, got 0"),
        (np.zeros((1, 2, 2)), [0.5], r"at least 2 rows, got 1"),
        ([[0.0]], [0], r"at least 2 rows, got 1"),
        ([[0.0], [1.0, 2.0]], [0, 0], r"should be an array, got list"),
        ([["a"], ["b"]], [0, 0], r"should be numbers"),
        ([[0.0], [1.0]], [0, 1], r"no class has two items"),
        (np.zeros((2, 2, 2)), ["x", "y"], r"should be 1 \(alike\) or 0 \(not\), or scores; got x, y"),
        (np.zeros((2, 2, 2)), [0.5, math.inf], r"scores should be finite"),
    ],
)
def test_bad_input_is_told_in_a_sentence(embeddings, labels, message):
    with pytest.raises(DataError, match=message):
        evaluate(embeddings, labels, Euclidean())


@pytest.mark.parametrize("ks", [(0,), (-1,), (1.5,), (True,), ("1",), 5, "15", None])
def test_ks_that_cannot_be_are_refused(ks):
    with pytest.raises(DataError, match="ks should be"):
        evaluate(LINE, [0, 0, 1, 1], Euclidean(), ks=ks)


@pytest.mark.parametrize(
    ("gallery", "message"),
    [
        (LINE, r"should be \(embeddings, labels\), got ndarray"),
        ((np.zeros((3, 2)), [0, 1, 2]), "dim of the queries, 1, got 2"),
        ((np.zeros((3, 1)), [0, 1]), "gallery's labels should have the shape"),
        ((np.zeros((3, 1)), ["0", "1", "2"]), "the same type, got int64 and <U1"),
        ((np.zeros((3, 1)), [7, 8, 9]), "no label in common"),
    ],
)
def test_bad_galleries_are_told_in_a_sentence(gallery, message):
    with pytest.raises(DataError, match=message):
        evaluate(LINE, [0, 0, 1, 1], Euclidean(), gallery=gallery)


def test_pairs_take_no_gallery_and_no_other_labels():
    with pytest.raises(DataError, match="a gallery is for"):
        evaluate(PAIRS, np.arange(30) % 2, Euclidean(), gallery=(LINE, [0] * 4))
    with pytest.raises(DataError, match="should be 1"):
        evaluate_pairs(PAIRS, np.arange(30), Euclidean())


def test_a_metric_that_gives_nan_or_is_none_is_told():
    class WorkerCrashed(Euclidean):
        def __call__(self, a, b):
            return super().__call__(a, b) * np.nan

    with pytest.raises(DataError, match="returned NaN"):
        evaluate(LINE, [0, 0, 1, 1], WorkerCrashed())
    with pytest.raises(DataError, match="returned NaN"):
        evaluate(PAIRS, np.arange(30) % 2, WorkerCrashed())
    with pytest.raises(DataError, match="metric should be a name"):
        evaluate(LINE, [0, 0, 1, 1], print)


def test_inputs_are_left_as_they_were():
    embeddings = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    before = embeddings.copy()
    evaluate(embeddings, np.arange(20) % 4, Negated())
    evaluate(embeddings.reshape(10, 2, 3)[:, :, :2], np.arange(10) % 2, Negated())
    np.testing.assert_array_equal(embeddings, before)


def test_figures_are_plain_numbers():
    for measures in (
        evaluate(LINE, [0, 0, 1, 1], Negated()),
        evaluate(PAIRS, np.arange(30) % 2, Negated()),
        evaluate(PAIRS, np.arange(30) / 7, Negated()),
    ):
        assert all(type(value) in (int, float) for value in measures.values())
        json.dumps(measures)


def test_every_figure_of_an_objective_is_computed():
    found = {
        "labels": evaluate(PAIRS[:, 0], np.arange(30) % 5, Euclidean()),
        "pairs": evaluate(PAIRS, np.arange(30) % 2, Euclidean()),
        "scores": evaluate(PAIRS, np.arange(30) / 7, Euclidean()),
    }
    for name, measure in MEASURES.items():
        for supervision, measures in found.items():
            of_models = ("parameters", "flops", "ms_per_item")  # siamkit.study.worker.judge
            expected = supervision in measure.supervisions and name not in of_models
            assert (name in measures) == expected, (name, supervision)
    for supervision, name in DEFAULT_OBJECTIVE.items():
        assert supervision in MEASURES[name].supervisions
        assert MEASURES[name].direction == "maximize"


def test_importing_evaluation_imports_no_backend_and_no_numpy():
    code = (
        "import sys, siamkit.evaluation as e; e.MEASURES; "
        "assert not {'keras', 'numpy', 'scipy', 'torch', 'jax', 'tensorflow'} & set(sys.modules); "
        "e.evaluate; assert not {'keras', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------- with Keras


@pytest.mark.keras
@pytest.mark.parametrize("name", ["cosine", "euclidean", "manhattan"])
def test_metrics_by_name_equal_the_same_in_numpy(name):
    class Reference(Euclidean):
        orientation = "similarity" if name == "cosine" else "distance"

        def __call__(self, a, b):
            a, b = a.astype(float), b.astype(float)
            if name == "cosine":
                return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
            return np.abs(a - b).sum(-1) if name == "manhattan" else super().__call__(a, b)

    draw = np.random.default_rng(0)
    embeddings, labels = draw.normal(size=(150, 6)), draw.integers(0, 40, 150)
    assert evaluate_labels(embeddings, labels, name).measures == pytest.approx(
        evaluate_labels(embeddings, labels, Reference()).measures, abs=1e-4
    )
    assert evaluate(PAIRS, np.arange(30) % 2, name) == pytest.approx(
        evaluate(PAIRS, np.arange(30) % 2, Reference()), abs=1e-4, nan_ok=True
    )
    assert evaluate(PAIRS, np.arange(30) / 7, name) == pytest.approx(
        evaluate(PAIRS, np.arange(30) / 7, Reference()), abs=1e-4
    )


@pytest.mark.keras
def test_cosine_is_the_default_and_is_public():
    measures = siamkit.evaluate([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]], ["a", "a", "b", "b"])
    assert (measures["map_at_r"], measures["roc_auc"], measures["eer"]) == (1, 1, 0)
    assert 0.1 < measures["threshold"] < 1


def test_queries_that_are_in_the_gallery_are_warned_of():
    x = np.random.default_rng(0).normal(size=(60, 3))
    labels = np.arange(60) % 4
    with pytest.warns(UserWarning, match="30 of 60 queries are also in the gallery"):
        evaluate(x, labels, Euclidean(), gallery=(x[30:], labels[30:]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(x[:20], labels[:20], Euclidean(), gallery=(x[20:], labels[20:]))
        evaluate(x[:20], labels[:20], Euclidean(), gallery=(x[19:], labels[19:]))  # one copy


def test_labels_that_are_missing_are_left_out_on_request():
    x = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9], [1.0, 0.01]])
    labels = np.array([0, 0, 1, 1, None], dtype=object)
    left_out = evaluate(x, labels, Euclidean(), drop_missing=True)
    assert left_out == evaluate(x[:4], [0, 0, 1, 1], Euclidean())
    pairs = x[:4].reshape(2, 2, 2)
    assert evaluate(np.stack([*pairs, pairs[0]]), [1, 0, None], Euclidean(), drop_missing=True) == evaluate(
        pairs, [1, 0], Euclidean()
    )
    gallery = (np.vstack([x, x[:1]]) + 1e-3, [0, 0, 1, 1, None, None])
    assert evaluate(x[:4], [0, 0, 1, 1], Euclidean(), gallery=gallery, drop_missing=True) == evaluate(
        x[:4], [0, 0, 1, 1], Euclidean(), gallery=(x[:4] + 1e-3, [0, 0, 1, 1])
    )


@pytest.mark.parametrize(
    "embeddings",
    [np.array([[1j], [2j]]), np.array([["1"], ["2"]]), np.ma.masked_array([[1.0], [2.0]], mask=[[0], [1]])],
)
def test_embeddings_that_numpy_would_read_as_others_are_refused(embeddings):
    with pytest.raises(DataError, match="embeddings should"):
        evaluate(embeddings, [0, 0], Euclidean())


# ------------------------------------------------------------------ scale


@pytest.mark.one_backend
@pytest.mark.keras
@pytest.mark.parametrize("power", [-90, -75, -31, 40, 70, 110])
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan", "mahalanobis", "snr"])
def test_scale_changes_no_measure(metric, power):
    # Powers of two change no digit of an embedding.
    embeddings, labels = clustered(seed=4)
    pairs, alike = np.stack([embeddings[:-1], embeddings[1:]], axis=1), labels[:-1] == labels[1:]
    for x, y in ((embeddings, labels), (pairs, alike)):
        expected, scaled = siamkit.evaluate(x, y, metric), siamkit.evaluate(np.ldexp(x, power), y, metric)
        assert 0.3 < expected.get("map_at_r", 0.5) < 0.95  # neither chance nor perfect
        if metric not in ("cosine", "snr"):
            scaled["threshold"] = np.ldexp(scaled["threshold"], -power)
        assert scaled == pytest.approx(expected, rel=1e-4, abs=1e-6, nan_ok=True)


@pytest.mark.one_backend
@pytest.mark.keras
@pytest.mark.parametrize("form", ["labels", "pairs"])
@pytest.mark.parametrize("metric", ["dot", "squared_euclidean", "bilinear"])
def test_values_outside_float32_are_refused(metric, form):
    embeddings, y = clustered(seed=4)
    if form == "pairs":
        embeddings, y = np.stack([embeddings[:-1], embeddings[1:]], axis=1), y[:-1] == y[1:]
    expected = siamkit.evaluate(embeddings, y, metric)["roc_auc"]
    for power in (-45, 40):
        assert siamkit.evaluate(np.ldexp(embeddings, power), y, metric)["roc_auc"] == pytest.approx(expected)
    with pytest.raises(DataError, match=r"too small for .*; multiply the embeddings by [1-9]e\+2\d, or"):
        siamkit.evaluate(np.ldexp(embeddings, -75), y, metric)
    with pytest.raises(DataError, match=r"NaN or infinity .* divide all embeddings by the largest"):
        siamkit.evaluate(np.ldexp(embeddings, 70), y, metric)


@pytest.mark.keras
def test_zero_embeddings_are_not_called_small():
    measures = siamkit.evaluate(np.zeros((4, 2)), [0, 0, 1, 1], "dot", groups=("verification",))
    assert measures["roc_auc"] == 0.5


def clustered(seed):
    """Return embeddings of 8 classes that overlap."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(8), 6)
    return (rng.normal(size=(8, 8))[labels] + 0.7 * rng.normal(size=(48, 8))).astype("float32"), labels


def test_sides_in_the_wrong_form_are_refused_with_the_right_one():
    left, right = PAIRS[:, 0], PAIRS[:, 1]
    for wrong in ({"a": left, "b": right}, (left, right), [left, right]):
        with pytest.raises(DataError, match=r"are stacked as np.stack\(\[a, b\], axis=1\)$"):
            evaluate(wrong, np.arange(30) % 2)


def test_embeddings_below_the_range_of_float32_are_refused():
    x = np.random.default_rng(0).normal(size=(8, 3))
    labels = np.arange(8) % 2
    for scale in (1e-42, 1e-60):
        with pytest.raises(DataError, match="8 of 8 rows are below 1e-38, the first is row 0; scale"):
            evaluate(x * scale, labels, Euclidean())
    some = x.copy()
    some[5] *= 1e-60
    with pytest.raises(DataError, match="1 of 8 rows are below 1e-38, the first is row 5"):
        evaluate(some, labels, Euclidean())
    some[5] = 0  # a zero vector is one
    evaluate(some, labels, Euclidean())


@pytest.mark.parametrize("classes", [4, 200])  # deep rankings, and shallow ones
def test_some_queries_have_the_scores_that_they_have_among_all(classes):
    rng = np.random.default_rng(3)
    labels = np.arange(900) % classes
    embeddings = rng.normal(size=(900, 8)) + rng.normal(size=(classes, 8))[labels]
    embeddings[100:200] = embeddings[0]  # ties: a query is excluded by its index
    rows = np.sort(rng.choice(900, 50, replace=False))
    groups = ("retrieval", "ranking")
    whole = evaluate_labels(embeddings, labels, "euclidean", groups=groups)
    some = evaluate_labels(embeddings, labels, "euclidean", groups=groups, rows=rows)
    for name, scores in whole.queries.items():
        np.testing.assert_allclose(some.queries[name], scores[rows], rtol=1e-12, err_msg=name)
    assert some.measures["queries"] == 50
    assert some.measures["map"] == pytest.approx(whole.queries["map"][rows].mean())
    with pytest.raises(DataError, match="rows can be used with the groups retrieval and ranking"):
        evaluate_labels(embeddings, labels, groups=("verification",), rows=rows)
    with pytest.raises(DataError, match="rows can be used with the groups retrieval and ranking"):
        evaluate_labels(embeddings, labels, groups=groups, gallery=(embeddings, labels), rows=rows)


@pytest.mark.parametrize("rows", [[True, False, True, False], [], [0.0, 1.0], [[0], [1]], [0, 4], [-1, 0]])
def test_rows_are_indices_of_items(rows):
    with pytest.raises(DataError, match="rows should be indices"):
        evaluate_labels(np.eye(4), [0, 0, 1, 1], groups=("retrieval",), rows=rows)
