"""Training items in the device's memory: trials of a process share them, and learn as from the host."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from siamkit.runs.configuration import Configuration
from siamkit.study.config.load import load_study
from siamkit.study.worker.prepared_data import prepare_data
from siamkit.study.worker.trainer import Limits

pytestmark = [pytest.mark.keras, pytest.mark.one_backend]

STUDY = """\
version: 1
name: shared
data: {path: items.npz, split: {train: 0.5, valid: 0.25, test: 0.25}}
fixed: {batch_size: 16, epochs: 2, embedding_dim: 4, learning_rate: 0.01}
search:
  data: {items_per_class: [6, null]}
  encoder: {mlp: {depth: 1, width: 8, dropout: 0.3}}
  metric: cosine
  loss: [multi_similarity, triplet]
"""


SPLIT = "{train: 0.5, valid: 0.25, test: 0.25}"


class Study:
    """A trainer, which trains on the items of the host, or as if the host were an accelerator."""

    def __init__(
        self, folder: Path, with_room: bool, monkeypatch: pytest.MonkeyPatch, split: str = SPLIT
    ) -> None:
        from siamkit.backend import beyond_keras
        from siamkit.study.worker.train import KerasTrainer

        rng = np.random.default_rng(0)
        labels = np.repeat(np.arange(6), 16)
        items = rng.normal(size=(96, 5)).astype("float32") + labels[:, None]
        np.savez(folder / "items.npz", x=items, y=labels)
        (folder / "study.yaml").write_text(STUDY.replace(SPLIT, split))
        study = load_study(folder / "study.yaml")
        self.copies = copies = list[weakref.ref[Any]]()
        DeviceArray = beyond_keras.DeviceArray

        def copied(array: np.ndarray) -> Any:
            made = DeviceArray(array)
            copies.append(weakref.ref(made))
            return made

        monkeypatch.setattr(beyond_keras, "free_memory", lambda: 1e6 if with_room else 0)
        monkeypatch.setattr(beyond_keras, "DeviceArray", copied)
        data = self.data = prepare_data(study)[0]
        self.trainer = KerasTrainer(data, study.config.fixed)
        self._study = study

    def learned(self, loss: str, items_per_class: int | None = None) -> list[np.ndarray]:
        from keras import ops

        space = optuna.samplers.RandomSampler(0)
        configuration: Configuration = self._study.space.sample(optuna.create_study(sampler=space).ask())
        params = {"margin": {"typical_distance": 0.5}} if loss == "triplet" else {}
        configuration = configuration | {"loss": {"name": loss, "params": params}}  # type: ignore[assignment]
        configuration["data"] = {} if items_per_class is None else {"items_per_class": items_per_class}
        trained = self.trainer.train(
            configuration, seed=5, data_seed=5, limits=Limits(), on_epoch=lambda number, row: None
        )
        weights = [ops.convert_to_numpy(each.value) for each in trained.model.variables]
        return [*weights, trained.scores.embeddings]


def test_trials_share_the_items_and_learn_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials: list[tuple[str, int | None]] = [
        ("multi_similarity", None),
        ("triplet", None),
        ("triplet", 6),
        ("multi_similarity", None),
    ]
    host = Study(tmp_path, False, monkeypatch)
    expected = [host.learned(*trial) for trial in trials]
    assert host.copies == []
    study = Study(tmp_path, True, monkeypatch)
    counts = []
    for trial, weights in zip(trials, expected, strict=True):
        for a, b in zip(study.learned(*trial), weights, strict=True):
            np.testing.assert_array_equal(a, b)
        counts.append(len(study.copies))
        gc.collect()
        assert sum(copy() is not None for copy in study.copies) == 1
    # The third trial has fewer items; they take the place of all, which are copied again for the fourth.
    assert counts == [1, 1, 2, 3]
    copies = study.copies
    del host, study
    gc.collect()
    assert all(copy() is None for copy in copies)


def test_folds_share_the_memory_of_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from siamkit.study.worker.train import KerasTrainer

    study = Study(tmp_path, True, monkeypatch, "{by: class, test: 0.25, folds: 2}")
    first, config = study.trainer, study._study.config
    other = KerasTrainer(study.data.of_fold(1), config.fixed)
    for trainer in (first, other, first):
        study.trainer = trainer
        study.learned("multi_similarity")
        gc.collect()
        assert sum(copy() is not None for copy in study.copies) == 1
    assert len(study.copies) == 3


def test_trials_share_the_items_that_have_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study(tmp_path, True, monkeypatch, f"{SPLIT}, labelled_share: 0.5")
    for loss in ("multi_similarity", "triplet"):
        study.learned(loss)
    (copy,) = study.copies
    assert len(copy()._tensor) == 24
