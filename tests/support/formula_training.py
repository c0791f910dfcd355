"""Stands in for training in this process: scores by a formula of loss, size and seed. No Keras."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

WORTH = {"triplet": 0.5, "contrastive": 0.6, "multi_similarity": 0.501}
LITERAL = {"loss": {"margin": 0.2}}


class Model:
    """Stands for a trained model."""

    def __init__(self, worth: float, seed: int) -> None:
        self.worth, self.seed = worth, seed

    def save(self, path: Path) -> None:
        Path(path).write_text(f"{self.worth} {self.seed}")


class Formula:
    """What was trained and scored, and what happens before.

    Args:
        worth: by the loss's short name, around which scores lie.
        before: is called before each training with the loss, and may raise.
    """

    def __init__(self) -> None:
        self.worth = dict(WORTH)
        self.before: Callable[[str], None] = lambda loss: None
        self.trained: list[str] = []
        self.scored = 0

    def train(
        self,
        configuration: Any,
        task: Any,
        fixed: Any,
        seed: int,
        limits: Any,
        on_epoch: Any,
        keep: Any,
        start: Any,
        data_seed: int,
    ) -> Any:
        loss = configuration["loss"]["name"].rpartition("/")[2]
        self.before(loss)
        self.trained.append(loss)
        model = Model(self.worth[loss] + configuration["embedding_dim"] / 10_000, seed)
        scores = scores_of(model, len(task.valid))
        measures = {"map_at_r": float(scores.mean()), "eer": 0.5, "threshold": 0.5, "parameters": 10.0}
        for epoch in range(1 + (start.epoch if start else 0), fixed.epochs + 1):
            keep(model, epoch, {"epoch": epoch, "loss": 1.0, **measures}, LITERAL)
            on_epoch(epoch, {"epoch": epoch, "loss": 1.0, **measures})
        return SimpleNamespace(
            model=model,
            measures=measures,
            history=[],
            literal=LITERAL,
            queries={"map_at_r": scores},
            embeddings=np.ones((len(task.valid), 2)),
        )

    def judge(self, model: Model, part: Any, *more: Any) -> Any:
        self.scored += 1
        scores = scores_of(model, len(part))
        return {"map_at_r": float(scores.mean()), "eer": 0.5}, None, {"map_at_r": scores}


def scores_of(model: Model, queries: int) -> np.ndarray:
    """By query: some are hard for all, and each seed has luck of its own."""
    hard = np.random.default_rng(0).normal(0, 0.1, queries)
    luck = np.random.default_rng(model.seed).normal(0, 0.01, queries + 1)
    return np.clip(model.worth + hard - hard.mean() + luck[0] + luck[1:], 0, 1)


def stand_in(monkeypatch: pytest.MonkeyPatch) -> Formula:
    """Puts the formula into the place of training, until the test is over."""
    fake = Formula()
    module = ModuleType("siamkit.study.worker.train")
    vars(module).update(
        train=fake.train,
        judge=fake.judge,
        exhibit=lambda *_: {},
        try_feeds=lambda *_: None,
    )
    monkeypatch.setitem(sys.modules, "siamkit.study.worker.train", module)
    monkeypatch.delitem(sys.modules, "keras", raising=False)  # of a test before
    return fake
