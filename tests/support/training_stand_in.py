"""Hooks in place of training, and the fixtures `training` and `run` of studies that use them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stand_in_trainers
from tiny_study import HEAD, changing

from siamkit.study.results.results import Results

STUDY = f"""\
{HEAD}confirm: null
engine: inline
"""


class Killed(BaseException):
    """The process dies here: nothing may catch this."""


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
        self.scoring: Callable[[int], None] = lambda count: None
        self.test_measures: dict[str, float] = {"map_at_r": 0.4, "eer": 0.5}
        self.starts: list[int] = []
        self.data_seeds: list[int] = []


def use_stand_in(monkeypatch: pytest.MonkeyPatch, make: Callable[[Any, Any], Any]) -> None:
    """Has the sessions of this process train with a stand-in, until the test is over."""
    monkeypatch.setattr(stand_in_trainers, "CURRENT", [make])
    monkeypatch.setattr("siamkit.study.execution.session.TRAINER", "stand_in_trainers:Current")
    monkeypatch.delitem(sys.modules, "keras", raising=False)  # of a test before


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Training:
    hooks = Training()
    use_stand_in(monkeypatch, partial(stand_in_trainers.Hooked, hooks))
    return hooks


@pytest.fixture
def run(tmp_path: Path, training: Training) -> Callable[..., Results]:
    """Runs the study with parts of its file replaced, for good."""
    return changing(tmp_path, STUDY)


def die_at(number: int) -> Callable[[int, int], None]:
    def before(dim: int, count: int) -> None:
        if count == number:
            raise Killed

    return before
