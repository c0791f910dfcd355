"""Augmentation in a study: training items only, as the configuration says, never what is evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from siamkit.data import augmentation
from siamkit.runs.configuration import Configuration
from siamkit.study.config.load import load_study
from siamkit.study.worker.prepared_data import PreparedData, prepare_data
from siamkit.study.worker.trainer import Limits, Trained

pytestmark = [pytest.mark.keras, pytest.mark.one_backend]

STUDY = """\
version: 1
name: tiny
data: {path: items.npz, split: {train: 0.5, valid: 0.25, test: 0.25}}
fixed: {batch_size: 16, epochs: 2, embedding_dim: 4FIXED}
search:
  encoder: {mlp: {depth: 1, width: 8, dropout: 0.0}}
  metric: cosine
  loss: {LOSS: {}}
"""


def train(folder: Path, fixed: str = "", loss: str = "multi_similarity") -> tuple[PreparedData, Trained]:
    from siamkit.study.worker.train import KerasTrainer

    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 24)
    items = rng.normal(size=(96, 5)).astype("float32") + labels[:, None]
    np.savez(folder / "items.npz", x=items, y=labels)
    (folder / "study.yaml").write_text(STUDY.replace("FIXED", fixed).replace("LOSS", loss))
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


@pytest.mark.parametrize("loss", ["contrastive", "triplet", "nt_xent", "info_nce"])
def test_every_supervision_is_augmented(tmp_path: Path, loss: str) -> None:
    _, trained = train(tmp_path, ", augment: strong", loss)
    assert np.isfinite(trained.scores.embeddings).all()
