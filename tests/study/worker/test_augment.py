"""Augmentation in a study: training items only, as the configuration says, never what is evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

import siamkit
from siamkit.data import Dataset, augmentation, feed
from siamkit.data.augmentation import Recipe
from siamkit.errors import StudyFileError
from siamkit.runs.configuration import Configuration
from siamkit.study.config.load import load_study
from siamkit.study.worker.prepared_data import PreparedData, prepare_data
from siamkit.study.worker.trainer import Limits, Trained

pytestmark = [pytest.mark.keras, pytest.mark.one_backend]

STUDY = """\
version: 1
name: tiny
data: {path: items.npz, split: {train: 0.5, valid: 0.25, test: 0.25}MORE}
fixed: {batch_size: 16, epochs: 2, embedding_dim: 4FIXED}
search:
  encoder: {mlp: {depth: 1, width: 8, dropout: 0.0}}
  metric: cosine
  loss: {LOSS: {}}
"""


def train(
    folder: Path, fixed: str = "", loss: str = "multi_similarity", labelled: float | None = None
) -> tuple[PreparedData, Trained]:
    from siamkit.study.worker.train import KerasTrainer

    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 24)
    items = rng.normal(size=(96, 5)).astype("float32") + labels[:, None]
    np.savez(folder / "items.npz", x=items, y=labels)
    more = "" if labelled is None else f", labelled_share: {labelled}"
    (folder / "study.yaml").write_text(
        STUDY.replace("FIXED", fixed).replace("LOSS", loss).replace("MORE", more)
    )
    study = load_study(folder / "study.yaml")
    data = prepare_data(study)[0]
    configuration: Configuration = study.space.sample(
        optuna.create_study(sampler=optuna.samplers.RandomSampler(0)).ask()
    )
    trained = KerasTrainer(data, study.config.fixed).train(
        configuration, seed=5, data_seed=5, limits=Limits(), on_epoch=lambda number, row: None
    )
    return data, trained


def rows(leaf: Any) -> set[bytes]:
    return {np.ascontiguousarray(row).tobytes() for row in leaf}


def test_training_items_are_augmented_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    augmented: set[bytes] = set()
    noise = augmentation.AUGMENTATIONS["noise"]

    def change(items: Any, rng: Any, deviation: float) -> Any:
        assert deviation == 7.0
        augmented.update(rows(items))
        return noise.change(items, rng, deviation)

    spied = {
        **augmentation.AUGMENTATIONS,
        "noise": augmentation.Augmentation(change, noise.kinds, noise.params),
    }
    monkeypatch.setattr(augmentation, "AUGMENTATIONS", spied)
    data, trained = train(tmp_path, ", augment: {noise: {deviation: 7}}")
    assert augmented == rows(data.train.views[0])
    assert not augmented & (rows(data.valid.views[0]) | rows(data.test.views[0]))
    # What was scored are the clean items: their embeddings by the trained model, again.
    clean = trained.model.encoder.predict(data.valid.views[0], verbose=0)
    np.testing.assert_allclose(trained.scores.embeddings, clean, atol=1e-5)


def test_the_model_learns_from_augmented_items(tmp_path: Path) -> None:
    def weights(fixed: str) -> list[Any]:
        return [np.asarray(weight) for weight in train(tmp_path, fixed)[1].model.encoder.get_weights()]

    plain, none, light = weights(""), weights(", augment: none"), weights(", augment: light")
    assert all(map(np.array_equal, light, weights(", augment: light")))
    assert all(map(np.array_equal, plain, none))
    assert not all(map(np.array_equal, none, light))


@pytest.mark.parametrize(
    ("share", "loss", "expected"),
    [
        (0.25, "multi_similarity", "labels"),
        (0.25, "online_contrastive", "pairs"),
        (0.25, "info_nce", "views"),
        (0.25, "nt_xent", "labels"),
        (0.25, "instance", "views"),
        (0.0, "nt_xent", "views"),
        (0.0, "vicreg", "views"),
        (0.0, "barlow_twins", "views"),
        (1.0, "nt_xent", "labels"),
    ],
)
def test_a_loss_gets_the_labelled_items_or_two_views_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, loss: str, expected: str
) -> None:
    from siamkit.study.worker import train as training

    fed: list[tuple[Any, str]] = []
    feed = training.feed
    monkeypatch.setattr(
        training, "feed", lambda items, what, **k: (fed.append((items, what)), feed(items, what, **k))[1]
    )
    data, trained = train(tmp_path, ", augment: strong", loss, labelled=share)
    ((items, supervision),) = fed
    assert supervision == expected
    if expected == "views":
        assert items.is_unlabelled
        assert items.ids.tolist() == data.train.ids.tolist()
    else:
        assert np.bincount(items.codes).tolist() == [round(12 * share)] * 4
    assert len(data.valid.codes) == 24  # validation keeps all of its labels
    assert np.isfinite(trained.scores.embeddings).all()
    (note,) = data.record["notes"]
    assert note == f"{round(48 * share)} of 48 training items have labels (labelled_share: {share:g})."


@pytest.mark.parametrize(
    ("share", "loss", "fixed", "sentence"),
    [
        (
            0.0,
            "proxy_anchor",
            ", augment: light",
            "'proxy_anchor' learns from labels, but the data give",
        ),
        (
            0.1,
            "info_nce",
            "",
            "'info_nce' then learns from two augmented views of each item; write `fixed",
        ),
        (0.1, "info_nce", ", augment: none", "'info_nce' then learns from two augmented views of each item"),
    ],
)
def test_what_cannot_be_learned_without_labels_is_refused(
    tmp_path: Path, share: float, loss: str, fixed: str, sentence: str
) -> None:
    with pytest.raises(StudyFileError, match=sentence):
        train(tmp_path, fixed, loss, labelled=share)


def test_a_study_without_any_labels_is_refused_in_one_sentence(tmp_path: Path) -> None:
    np.savez(tmp_path / "items.npz", x=np.zeros((9, 5), np.float32))
    (tmp_path / "study.yaml").write_text(
        STUDY.replace("FIXED", "").replace("LOSS", "vicreg").replace("MORE", "")
    )
    with pytest.raises(StudyFileError) as caught:
        load_study(tmp_path / "study.yaml").load_data()
    (told,) = caught.value.problems
    assert "data: without any labels a study cannot compare embeddings; label the items" in told


@pytest.mark.parametrize("loss", ["contrastive", "triplet", "nt_xent", "info_nce"])
def test_every_supervision_is_augmented(tmp_path: Path, loss: str) -> None:
    _, trained = train(tmp_path, ", augment: strong", loss)
    assert np.isfinite(trained.scores.embeddings).all()


# ---------------------------------------------------------------- a known answer

GAPS = ((40, 40), (120, 120), (60, 120), (90, 90))
"""Of each class the angles between three spots on a circle, in degrees."""


def spots(labels: Any, turned: bool, rng: np.random.Generator) -> Any:
    """Images of three spots, upright or turned by any angle."""
    y, x = np.mgrid[-6:7, -6:7]
    images = []
    for label in labels:
        angles = np.deg2rad(turned * rng.uniform(0, 360) + np.cumsum((0, *GAPS[label])))
        image = sum(np.exp(-((x - 4 * np.cos(a)) ** 2 + (y - 4 * np.sin(a)) ** 2) / 2) for a in angles)
        images.append(image + rng.normal(0, 0.05, x.shape))
    return np.array(images, np.float32)[..., None]


def test_augmentation_removes_a_nuisance_that_training_items_do_not_have() -> None:
    import keras

    rng = np.random.default_rng(0)
    labels, queries = np.repeat(np.arange(4), 32), np.repeat(np.arange(4), 20)
    upright, turned = spots(labels, False, rng), spots(queries, True, rng)
    mean, deviation = upright.mean(), upright.std()
    items = Dataset(((upright - mean) / deviation,), labels, "labels", "image")
    turned = (turned - mean) / deviation

    def quality(embeddings: Any) -> float:
        return siamkit.evaluate(embeddings, queries, metric="cosine")["map_at_r"]

    def trained(augment: Recipe) -> float:
        keras.utils.set_random_seed(0)
        encoder = {"mlp": {"depth": 1, "width": 128}}
        model = siamkit.build(
            encoder=encoder, metric="cosine", loss="multi_similarity", embedding_dim=16,
            input_shape=(13, 13, 1), optimizer=keras.optimizers.Adam(0.01),
        )  # fmt: skip
        batches = feed(items, "labels", batch_size=40, seed=0, items_per_class=10, augment=augment)
        model.fit(batches, epochs=40, shuffle=False, verbose=0)
        return quality(model.embed(turned))

    assert quality(turned.reshape(80, -1)) < 0.35
    assert trained(None) < 0.35
    assert trained({"rotate": {"degrees": 180}}) > 0.85
