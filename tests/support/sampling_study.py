"""Search spaces for tests of samplers, and a search over one."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import optuna

from siamkit.registry.registry import components
from siamkit.study.config._parse import parse_space
from siamkit.study.config.schema import StudyConfig
from siamkit.study.config.yaml import Document, Problems
from siamkit.study.sampling.samplers import make_sampler

NUMBERS = {
    "encoder": {"mlp": {"depth": 1, "width": 8, "dropout": 0.0}},
    "metric": "euclidean",
    "loss": {"triplet": {"mining": "all", "margin": {"low": 0.1, "high": 0.9}}},
    "embedding_dim": {"low": 8, "high": 256, "log": True},
    "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
}
CONDITIONAL = {**NUMBERS, "metric": ["euclidean", "cosine"], "loss": ["contrastive", "triplet"]}


def make(search: dict[str, Any] = NUMBERS, **given: Any) -> Any:
    """A study as far as samplers look at one."""
    search = {key: value for key, value in search.items() if value is not None}
    problems = Problems(Document("study.yaml", {}, {}))
    space = parse_space(search, {}, components(), problems)
    assert space is not None, problems.sentences()
    config = StudyConfig.model_validate(
        {"version": 1, "name": "s", "seed": 3, "data": {"source": "digits"}, "search": search, **given}
    )
    return SimpleNamespace(config=config, space=space)


Score = Callable[[dict[str, Any]], Any]


def search(
    study: Any, score: Score, trials: int, storage: optuna.Study | None = None, **options: Any
) -> optuna.Study:
    """Draws and tells, with a new sampler for each trial, as a study does."""
    storage = storage or optuna.create_study(direction="maximize", **options)
    for _ in range(trials):
        trial = storage.ask()
        storage.sampler = make_sampler(study, trial.number)
        study.space.sample(trial)
        storage.tell(trial, score(trial.params))
    return storage
