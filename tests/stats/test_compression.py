"""Smaller embeddings: against scikit-learn's PCA, and shapes whose best size is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from siamkit.errors import DataError
from siamkit.evaluation import evaluate_labels
from siamkit.evaluation.distances import Cosine, Euclidean
from siamkit.stats.compression import size_curve

DRAW = np.random.default_rng(0)
LABELS = np.repeat(np.arange(25), 6)
CENTRES = DRAW.normal(size=(25, 3))


def cloud(turned=True):
    """Classes that differ in 3 of 16 directions only."""
    rows = np.zeros((150, 16))
    rows[:, :3] = CENTRES[LABELS] + DRAW.normal(0, 0.2, (150, 3))
    rows[:, 3:] = DRAW.normal(0, 0.05, (150, 13))
    turn = np.linalg.qr(DRAW.normal(size=(16, 16)))[0] if turned else np.eye(16)
    return (rows @ turn + 1).astype("float32")


def by(found, how, dim=16):
    [each] = [each for each in found if (each.how, each.dim) == (how, dim)]
    return each


def worth(rows, metric=None):
    return evaluate_labels(rows, LABELS, metric or Euclidean()).measures["map_at_r"]


def test_pca_is_scikit_learns_and_truncation_takes_the_first():
    rows = cloud()
    found = size_curve(rows, LABELS, Euclidean(), dims=[3, 8])
    for dim in (3, 8):
        expected = worth(PCA(dim).fit_transform(rows).astype("float32"))
        assert by(found, "pca", dim).measures["map_at_r"] == pytest.approx(expected, abs=1e-3)
        assert by(found, "truncated", dim).measures["map_at_r"] == pytest.approx(worth(rows[:, :dim]))
    assert by(found, "whole").measures["map_at_r"] == pytest.approx(worth(rows))


def test_three_directions_are_enough_where_there_are_no_more():
    found = size_curve(cloud(), LABELS, Euclidean(), dims=[3])
    whole, pca, cut = by(found, "whole"), by(found, "pca", 3), by(found, "truncated", 3)
    assert pca.measures["map_at_r"] > whole.measures["map_at_r"] - 0.02
    assert cut.measures["map_at_r"] < whole.measures["map_at_r"] - 0.1
    assert not cut.pareto_optimal
    # And where they are the first, cutting is as good as turning.
    found = size_curve(cloud(turned=False), LABELS, Euclidean(), dims=[3])
    assert by(found, "truncated", 3).measures["map_at_r"] == pytest.approx(
        by(found, "pca", 3).measures["map_at_r"], abs=0.02
    )


def test_rounding_costs_little_and_signs_cost_more():
    found = size_curve(cloud(), LABELS, Euclidean(), measures=["map_at_r", "recall_at_1"])
    whole = by(found, "whole").measures["map_at_r"]
    assert by(found, "float16").measures["map_at_r"] == pytest.approx(whole, abs=0.005)
    assert by(found, "int8").measures["map_at_r"] == pytest.approx(whole, abs=0.02)
    assert 0.1 < by(found, "binary").measures["map_at_r"] < whole
    assert {*by(found, "binary").measures} == {"map_at_r", "recall_at_1"}
    sizes = {each.how: each.bytes_per_vector for each in found if each.dim == 16}
    assert sizes == {"whole": 64, "float16": 32, "int8": 16, "binary": 2}


def test_signs_are_compared_by_how_many_differ():
    rows = cloud()
    signs = np.where(rows > rows.mean(axis=0), 1.0, -1.0)
    hamming = worth(((1 - signs) / 2).astype("float32"))  # Euclid's distance of bits is the root of Hamming's
    found = size_curve(rows, LABELS, Euclidean())
    assert by(found, "binary").measures["map_at_r"] == pytest.approx(hamming, abs=1e-6)
    assert by(found, "binary").measures["map_at_r"] == pytest.approx(worth(signs.astype("float32"), Cosine()))


def test_what_is_learnt_is_learnt_from_elsewhere():
    rows, other = cloud(), DRAW.normal(size=(400, 16)).astype("float32")
    found = size_curve(rows, LABELS, Euclidean(), dims=[3], fit=other)
    expected = worth(PCA(3).fit(other).transform(rows).astype("float32"))
    assert by(found, "pca", 3).measures["map_at_r"] == pytest.approx(expected, abs=1e-3)
    low, high = other.min(axis=0), other.max(axis=0)
    steps = np.clip(np.rint((rows - low) / ((high - low) / 254)), 0, 254) * (high - low) / 254 + low
    assert by(found, "int8").measures["map_at_r"] == pytest.approx(worth(steps.astype("float32")), abs=1e-3)


def test_the_front_is_what_nothing_smaller_reaches():
    found = size_curve(cloud(), LABELS, Euclidean(), dims=[1, 2, 3, 8])
    for each in found:
        beaten = any(
            other.bytes_per_vector <= each.bytes_per_vector
            and other.measures["map_at_r"] >= each.measures["map_at_r"]
            and (other.bytes_per_vector, other.measures) != (each.bytes_per_vector, each.measures)
            for other in found
        )
        assert each.pareto_optimal == (not beaten), each
    assert [each.bytes_per_vector for each in found] == sorted(
        (each.bytes_per_vector for each in found), reverse=True
    )


def test_powers_of_two_are_the_sizes_unless_given():
    found = size_curve(cloud(), LABELS, Euclidean())
    assert [each.dim for each in found if each.how == "pca"] == [8, 4, 2]


def test_pairs_are_made_smaller_on_both_sides():
    rows = cloud()
    pairs = np.stack([rows[:-1], rows[1:]], axis=1)
    alike = (LABELS[:-1] == LABELS[1:]).astype(int)
    found = size_curve(pairs, alike, Euclidean(), dims=[3])
    turned = PCA(3).fit(pairs.reshape(-1, 16))
    for how, dim, cut in (
        ("truncated", 3, pairs[..., :3]),
        ("pca", 3, turned.transform(pairs.reshape(-1, 16)).reshape(-1, 2, 3)),
        ("whole", 16, pairs),
    ):
        expected = roc_auc_score(alike, -np.linalg.norm(cut[:, 0] - cut[:, 1], axis=1))
        assert by(found, how, dim).measures["roc_auc"] == pytest.approx(expected, abs=1e-3)
    graded = size_curve(pairs, alike + 0.5, Euclidean(), dims=[3])
    assert [*graded[0].measures] == ["spearman"]


@pytest.mark.keras
@pytest.mark.one_backend
def test_a_metric_that_has_learnt_one_length_is_refused():
    import siamkit

    metric = siamkit.get_metric("mahalanobis")
    metric(cloud(), cloud())
    with pytest.raises(DataError, match="has weights for vectors of 16 numbers"):
        size_curve(cloud(), LABELS, metric)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"dims": [17]}, "each of dims should be at most 16, the dim of the embeddings, got 17"),
        ({"dims": [0]}, "each of dims should be an integer of at least 1, got 0"),
        ({"measures": ["spearman"]}, "measure 'spearman' does not exist for embeddings of labeled items"),
        ({"measures": ["parameters"]}, "measure 'parameters' does not exist"),
        ({"fit": np.zeros((4, 3))}, "fit should have the dim of the embeddings, 16, got 3"),
    ],
)
def test_what_cannot_be_is_told(asked, message):
    with pytest.raises(DataError, match=message):
        size_curve(cloud(), LABELS, Euclidean(), **asked)
