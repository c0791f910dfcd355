"""Attempts at a trial of real training, in this process, that a test can kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import optuna

from siamkit.runs.configuration import Configuration
from siamkit.study.config.load import load_study
from siamkit.study.worker import checkpoint
from siamkit.study.worker.messages import Cause, Ended, Epoch, Message, Resumed, TrialJob
from siamkit.study.worker.prepared_data import prepare_data
from siamkit.study.worker.runner import JobRunner

# Tests train for less than the seconds that are worth a checkpoint.
checkpoint.MIN_SECONDS = checkpoint.SECONDS_BETWEEN_KILLS = 0.0

FINAL, STATE = "checkpoint.keras", "resume.json"

FIXED = "epochs: 3, learning_rate: 0.01"

STUDY = """\
version: 1
baselines: null
name: resumed
data: {path: items.npz, split: {train: 0.5, valid: 0.25, test: 0.25}}
fixed: {batch_size: 24, embedding_dim: 4, augment: strong, FIXED}
search:
  encoder: {mlp: {depth: 1, width: 8, dropout: 0.3}}
  metric: METRIC
  loss: LOSS
"""


class Killed(BaseException):
    """The process dies here: nothing may catch this."""


def bench(
    folder: Path, metric: str = "euclidean", loss: str = "contrastive", fixed: str = FIXED
) -> tuple[JobRunner, Configuration]:
    from siamkit.study.worker.train import KerasTrainer

    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 24)
    items = rng.normal(size=(96, 5)).astype("float32") + labels[:, None]
    np.savez(folder / "items.npz", x=items, y=labels)
    path = folder / "study.yaml"
    path.write_text(STUDY.replace("METRIC", metric).replace("LOSS", loss).replace("FIXED", fixed))
    study = load_study(path)
    data = prepare_data(study)[0]
    runner = JobRunner(study.config, data, KerasTrainer)
    return runner, study.space.sample(optuna.create_study().ask())


def do(
    runner: JobRunner, job: TrialJob, die_after: tuple[int, int] | None = None
) -> tuple[Ended, list[Message]]:
    said: list[Message] = []

    def send(each: Message) -> Cause | None:
        said.append(Resumed(list(each.history)) if isinstance(each, Resumed) else each)
        if isinstance(each, Epoch) and (each.repeat, each.number) == die_after:
            raise Killed
        return None

    return runner.run(job, send), said


def weights(place: Path) -> list[np.ndarray]:
    from siamkit import load_model

    model: Any = load_model(place / FINAL)
    states = [each for each in model.variables if each.name != "seed_generator_state"]
    variables = [*states, *model.optimizer.variables]
    return [np.asarray(each) for each in map(_numpy, variables)]


def _numpy(variable: Any) -> np.ndarray:
    from keras import ops

    return np.asarray(ops.convert_to_numpy(variable.value))
