"""The threshold of a model: set, chosen from pairs, passed to `same`, saved."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

import siamkit
from siamkit.errors import DataError, ModelError
from siamkit.evaluation import ThresholdRule

pytestmark = pytest.mark.keras


def pairs(seed=0, count=60):
    draw = np.random.default_rng(seed)
    target = np.arange(count) % 2
    a = draw.normal(size=(count, 3)).astype("float32")
    b = a + draw.normal(size=a.shape).astype("float32") * np.where(target, 0.4, 1.2)[:, None]
    return a, b.astype("float32"), target


def model_of(metric="euclidean", **options):
    return siamkit.build("mlp", metric, "triplet", embedding_dim=4, input_shape=(3,), **options)


@pytest.mark.one_backend
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_calibrate_finds_what_a_loop_over_all_thresholds_finds(metric):
    model, (a, b, target) = model_of(metric), pairs()
    values = model.compare(a, b)
    accepted = [values <= value if metric == "euclidean" else values >= value for value in values]
    threshold = model.calibrate(a, b, target, "f1")
    assert model.threshold == threshold
    assert f1_score(target, model.same(a, b)) == max(f1_score(target, each) for each in accepted)

    model.calibrate(a, b, target, {"far": 0.1})
    reached = [each[target == 1].mean() for each in accepted if each[target == 0].mean() <= 0.1]
    same = model.same(a, b)
    assert same[target == 0].mean() <= 0.1
    assert same[target == 1].mean() == max(reached)

    cost = {"cost": {"false_accept": 10, "false_reject": 1}}
    model.calibrate(a, b, target, cost)
    paid = [10 * each[target == 0].sum() + (~each)[target == 1].sum() for each in accepted]
    same = model.same(a, b)
    assert 10 * same[target == 0].sum() + (~same)[target == 1].sum() <= min(paid)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_same_and_evaluate_agree_at_the_threshold_itself(metric):
    model, (a, b, target) = model_of(metric), pairs()
    values = model.compare(a, b)
    embeddings = model.embed_views((a, b))
    for value in values[:8]:  # each is a tie
        same = model.same(a, b, threshold=float(value))
        measures = siamkit.evaluate(embeddings, target, model.metric, threshold=float(value))
        assert measures["false_accepts"] == same[target == 0].sum()
        assert measures["false_rejects"] == (~same)[target == 1].sum()
    assert model.threshold is None  # a threshold that is passed is not kept


@pytest.mark.one_backend
def test_a_model_remembers_how_its_threshold_is_chosen(tmp_path):
    a, b, target = pairs()
    model = model_of(threshold={"precision": 0.9})
    assert model.threshold is None
    with pytest.raises(ModelError, match="the model has no threshold"):
        model.same(a, b)
    model.save(tmp_path / "model.keras")
    model = siamkit.load_model(tmp_path / "model.keras")
    assert model.threshold_rule == ThresholdRule("precision", (0.9,))
    model.calibrate(a, b, target)
    same = model.same(a, b)
    assert target[same].mean() >= 0.9
    model.save(tmp_path / "model.keras")
    assert siamkit.load_model(tmp_path / "model.keras").threshold == model.threshold
    assert model_of(threshold=0.3).threshold == 0.3
    model.threshold = "f1"
    assert model.threshold is None
    assert model.threshold_rule == ThresholdRule("f1")


@pytest.mark.one_backend
def test_what_cannot_be_a_threshold_is_refused():
    model, (a, b, target) = model_of(), pairs(count=8)
    with pytest.raises(DataError, match="or say how to choose it"):
        model_of(threshold="best")
    with pytest.raises(DataError, match="finite number, got nan"):
        model.threshold = float("nan")
    with pytest.raises(ModelError, match=r"same takes a threshold as a number, got 'f1'; model.calibrate"):
        model.same(a, b, threshold="f1")
    with pytest.raises(ModelError, match=r"to use 0.3 set model.threshold = 0.3"):
        model.calibrate(a, b, target, 0.3)
    with pytest.raises(DataError, match=r"from pairs of both kinds, 1 \(alike\) and 0; all 8 are 1"):
        model.calibrate(a, b, np.ones(8))
    with pytest.raises(DataError, match=r"targets of pairs should be 1 \(alike\) or 0 \(not\), got -1, 1"):
        model.calibrate(a, b, 2 * target - 1)
    with pytest.raises(DataError, match=r"targets of pairs should have the shape \(8,\)"):
        model.calibrate(a, b, target[:5])
    assert model.threshold is None
