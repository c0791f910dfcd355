"""The training data of a trial: worse where the study says so, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import siamkit
from siamkit.data import Dataset
from siamkit.data.ablation import ablate
from siamkit.errors import DataError
from siamkit.study.config.load import load_study
from siamkit.study.worker.prepared_data import PreparedData, prepare_data, scarcest_data, training_data

STUDY = """\
version: 1
baselines: null
name: tiny
data: {source: digits, split: {by: class, train: 0.5, valid: 0.2, test: 0.3}, limit: {train: 100, valid: 30}}
fixed: {batch_size: 16, epochs: 1, embedding_dim: 4}
search:
  encoder: {mlp: {depth: 1, width: 8, dropout: 0.0}}
  metric: euclidean
  loss: {LOSS: {}}
  data: {DATA}
"""

Make = Callable[..., PreparedData]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def writer(data: str, loss: str = "triplet") -> Path:
        (tmp_path / "study.yaml").write_text(STUDY.replace("DATA", data).replace("LOSS", loss))
        return tmp_path / "study.yaml"

    return writer


@pytest.fixture
def make(write: Callable[..., Path]) -> Make:
    return lambda *given: prepare_data(load_study(write(*given)))[0]


def test_what_varies_no_data_trains_on_the_training_part_itself(make: Make) -> None:
    task = make("")
    assert "scarcest" not in task.record  # or what was frozen before would be refused
    assert training_data(task, {"embedding_dim": 4}, 7) is task.train
    assert scarcest_data(task) == {}


def test_the_seed_of_the_training_says_which_items_are_kept_and_which_are_wrong(make: Make) -> None:
    task = make("items_per_class: 5, label_noise: 0.2")
    drawn = {"data": {"items_per_class": 5, "label_noise": 0.2}}
    first, again, other = (training_data(task, drawn, seed) for seed in (1, 1, 2))
    assert first.fingerprint() == again.fingerprint()
    assert set(first.ids) != set(other.ids)
    assert len(first) == 5 * 5
    truth = dict(zip(task.train.ids, task.train.target, strict=True))
    assert sum(truth[id] != label for id, label in zip(first.ids, first.target, strict=True)) == 5


def test_feeds_are_tried_on_the_scarcest_data_with_each_noise(make: Make) -> None:
    task = make(
        "items_per_class: [9, 3, null], num_classes: {low: 2, high: 5}, imbalance: [1, 1.5], "
        "label_noise: [0, 0.2, 0.5], corruption: [none, blur_1]"
    )
    tried = scarcest_data(task)
    few: dict[str, Any] = {"items_per_class": 3, "num_classes": 2, "imbalance": 1.5}
    told = "with items_per_class 3, num_classes 2, imbalance 1.5"
    assert list(tried) == [f"{told}: ", f"{told}, label_noise 0.2: ", f"{told}, label_noise 0.5: "]
    for noise, each in zip((0, 0.2, 0.5), tried.values(), strict=True):
        wanted = ablate(task.train, **few, label_noise=noise, seed=0)
        assert each.fingerprint() == wanted.fingerprint()


def test_null_alone_makes_nothing_scarce(make: Make) -> None:
    assert scarcest_data(make("items_per_class: [null], label_noise: 0, corruption: blur_1")) == {}


@pytest.mark.keras
@pytest.mark.one_backend
@pytest.mark.parametrize("loss", ["triplet", "contrastive", "multi_similarity", "nt_xent", "proxy_anchor"])
def test_two_items_of_two_classes_feed_every_kind_of_loss(make: Make, loss: str) -> None:
    from siamkit.registry.registry import components
    from siamkit.study.config.schema import Fixed
    from siamkit.study.worker.train import KerasTrainer

    task = make("items_per_class: 2, num_classes: 2, label_noise: [0, 0.5, 1]", loss)
    KerasTrainer(task, Fixed()).check_feeds([components().find("loss", loss).spec], [16, 64])


@pytest.mark.keras
@pytest.mark.one_backend
def test_data_that_could_not_be_fed_are_told_before_the_first_trial(write: Callable[..., Path]) -> None:
    # Of two classes with two items each, one wrong label leaves one item of a class.
    path = write("items_per_class: [2, 8], num_classes: [2, 5], label_noise: [0, 0.25]")
    with pytest.raises(DataError) as caught:
        siamkit.tune(path, progress="none")
    assert str(caught.value).startswith(
        "with items_per_class 2, num_classes 2, label_noise 0.25: batches need items of at least 2 classes"
    )
    assert not (path.parent / "runs").exists()


@pytest.mark.keras
@pytest.mark.one_backend
@pytest.mark.parametrize("hidden", [False, True])
def test_an_encoder_starts_from_the_items_and_labels_of_its_trial(
    make: Make, monkeypatch: pytest.MonkeyPatch, hidden: bool
) -> None:
    from siamkit.study.config.schema import Fixed
    from siamkit.study.worker import train as training

    data = make("items_per_class: [8], label_noise: [0.25]")
    if hidden:
        data.record["labelled"] = {"share": 0.5, "seed": 3}
    given: dict[str, Any] = {}

    class Given(Exception):
        pass

    def get_encoder(encoder: object, **facts: Any) -> Any:
        given.update(facts)
        raise Given

    monkeypatch.setattr(training, "get_encoder", get_encoder)
    configuration: Any = {
        "encoder": {"name": "siamkit/linear_lda", "params": {}},
        "embedding_dim": 4,
        "normalize": True,
        "data": {"items_per_class": 8, "label_noise": 0.25},
    }
    with pytest.raises(Given):
        training.KerasTrainer(data, Fixed(epochs=1)).train(
            configuration, seed=1, data_seed=5, limits=training.Limits(), on_epoch=lambda number, row: None
        )
    part = training_data(data, configuration, 5)
    assert given["training_items"] is part.views[0] or (given["training_items"] == part.views[0]).all()
    labels = given["training_labels"]
    known = labels >= 0
    np.testing.assert_array_equal(labels[known], part.codes[known])
    truth = dict(zip(data.train.ids, data.train.target, strict=True))
    assert sum(truth[id] != label for id, label in zip(part.ids, part.target, strict=True)) == 10
    sizes = np.bincount(part.codes)
    np.testing.assert_array_equal(np.bincount(labels[known]), np.rint(sizes / 2) if hidden else sizes)


@pytest.mark.keras
@pytest.mark.one_backend
def test_a_trial_is_trained_on_worse_data_and_judged_on_clean_ones(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from siamkit.study.config.schema import Fixed
    from siamkit.study.worker import judge as judging
    from siamkit.study.worker import train as training

    data = {"items_per_class": 4, "num_classes": 3, "label_noise": 0.25, "corruption": "occlusion_2"}
    task = make(
        "items_per_class: 4, num_classes: 3, label_noise: 0.25, corruption: occlusion_2", "proxy_anchor"
    )
    configuration = {
        "encoder": {"name": "siamkit/mlp", "params": {"depth": 1, "width": 8, "dropout": 0.0}},
        "metric": {"name": "siamkit/cosine", "params": {}},
        "loss": {"name": "siamkit/proxy_anchor", "params": {}},
        "embedding_dim": 4,
        "normalize": True,
        "learning_rate": 1e-3,
        "batch_size": 12,
        "optimizer": "adam",
        "schedule": "constant",
        **dict.fromkeys(("warmup", "momentum", "weight_decay", "clip_norm", "ema")),
        "data": data,
    }
    fed: list[Dataset] = []
    judged: list[Dataset] = []
    feed, judge = training.feed, judging.judge
    monkeypatch.setattr(training, "feed", lambda part, *a, **k: (fed.append(part), feed(part, *a, **k))[1])
    monkeypatch.setattr(
        judging, "judge", lambda model, part, *a, **k: (judged.append(part), judge(model, part))[1]
    )
    before = {part: getattr(task, part).fingerprint() for part in ("train", "valid", "test")}
    trained = training.KerasTrainer(task, Fixed(epochs=2)).train(
        configuration, seed=5, data_seed=5, limits=training.Limits(), on_epoch=lambda number, row: None
    )
    (part,) = fed
    assert part.fingerprint() == training_data(task, configuration, 5).fingerprint()
    assert np.bincount(part.codes).sum() == 12
    assert len(part.classes) == 3
    assert [each is task.valid for each in judged] == [
        True,
        True,
        True,
    ]  # two epochs, and the one that is kept
    assert {name: getattr(task, name).fingerprint() for name in before} == before
    assert len(trained.scores.embeddings) == 30
    # The state of the loss has a proxy for each class of the whole training part.
    assert task.needs["num_classes"] == 5
    assert 5 in [weight.shape[0] for weight in trained.model.loss.state.weights]
