"""A formula in place of training, and the fixtures `training` and `run` of studies that use it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny_study import HEAD, changing

from siamkit.study.results.results import Results

STUDY = f"""\
{HEAD}confirm: null
engine: inline
"""


class Killed(BaseException):
    """The process dies here: nothing may catch this."""


class Model:
    """Stands for a trained model."""

    def __init__(self, text: str) -> None:
        self.text = text

    def save(self, path: Path) -> None:
        Path(path).write_text(self.text)


class Training:
    """Replaces training by a formula of the embedding's size, and keeps what was asked of it."""

    def __init__(self) -> None:
        self.dims: list[int] = []
        self.seeds: list[int] = []
        self.scored: list[str] = []
        self.value: Callable[[int, int], float] = lambda dim, epoch: dim / 100
        self.before: Callable[[int, int], None] = lambda dim, count: None
        self.during: Callable[[int, int], None] = lambda dim, epoch: None
        self.more: Callable[[int], dict[str, float]] = lambda dim: {}
        self.scores: Callable[[int, int], Any] = lambda dim, n: np.ones(n)
        self.starts: list[int] = []
        self.data_seeds: list[int] = []

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
        dim = configuration["embedding_dim"]
        self.dims.append(dim)
        self.seeds.append(seed)
        self.data_seeds.append(data_seed)
        self.before(dim, len(self.dims))
        self.starts.append(start.epoch if start else 0)
        # From the last epoch on there is nothing to train, only to judge.
        for epoch in range(min(1 + self.starts[-1], fixed.epochs), fixed.epochs + 1):
            measures = {
                "map_at_r": self.value(dim, epoch),
                "eer": 0.5,
                "threshold": 0.5,
                "parameters": 10.0 * dim,
                **self.more(dim),
            }
            if epoch == self.starts[-1]:
                break
            row = {"epoch": epoch, "loss": 1.0, **measures}
            self.during(dim, epoch)
            keep(Model(f"{dim} {seed}"), epoch, row, {"loss": {"margin": 0.2}})
            on_epoch(epoch, row)
        return SimpleNamespace(
            model=Model(f"{dim} {seed}"),
            measures=measures,
            history=[],
            literal={"loss": {"margin": 0.2}},
            queries={"map_at_r": self.scores(dim, len(task.valid))},
            embeddings=np.ones((len(task.valid), dim)),
        )

    def judge(self, model: Any, session: Any, *more: Any) -> Any:
        self.scored.append(model.text)
        return {"map_at_r": 0.4, "eer": 0.5}, None, {}


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Training:
    fake = Training()
    module = ModuleType("siamkit.study.worker.train")
    vars(module).update(
        train=fake.train,
        judge=fake.judge,
        try_feeds=lambda *_: None,
        exhibit=lambda *_: {},
    )
    monkeypatch.setitem(sys.modules, "siamkit.study.worker.train", module)
    monkeypatch.delitem(sys.modules, "keras", raising=False)  # of a test before
    return fake


@pytest.fixture
def run(tmp_path: Path, training: Training) -> Callable[..., Results]:
    """Runs the study with parts of its file replaced, for good."""
    return changing(tmp_path, STUDY)


def die_at(number: int) -> Callable[[int, int], None]:
    def before(dim: int, count: int) -> None:
        if count == number:
            raise Killed

    return before
