"""Stands in for training in this process: scores by a formula of loss, size and seed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from stand_in_trainers import ByLoss
from training_stand_in import use_stand_in

WORTH = {"triplet": 0.5, "contrastive": 0.6, "multi_similarity": 0.501}


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


def stand_in(monkeypatch: pytest.MonkeyPatch) -> Formula:
    """Puts the formula into the place of training, until the test is over."""
    formula = Formula()
    use_stand_in(monkeypatch, partial(ByLoss, formula))
    return formula
