"""An attempt that was cut off and gone on with is as one that never was: the same history and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from siamkit.runs.configuration import Configuration
from siamkit.study.config.load import load_study
from siamkit.study.worker.messages import Cause, Ended, Epoch, Message, Resumed, TrialJob
from siamkit.study.worker.prepared_data import prepare_data
from siamkit.study.worker.runner import JobRunner

pytestmark = pytest.mark.keras

FINAL, STATE = "checkpoint.keras", "resume.json"

STUDY = """\
version: 1
baselines: null
name: resumed
data: {path: items.npz, split: {train: 0.5, valid: 0.25, test: 0.25}}
fixed: {batch_size: 24, epochs: 3, embedding_dim: 4, learning_rate: 0.01, augment: strong}
search:
  encoder: {mlp: {depth: 1, width: 8, dropout: 0.3}}
  metric: METRIC
  loss: LOSS
"""


class Killed(BaseException):
    """The process dies here: nothing may catch this."""


def bench(folder: Path, metric: str, loss: str) -> tuple[JobRunner, Configuration]:
    from siamkit.study.worker.train import KerasTrainer

    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 24)
    items = rng.normal(size=(96, 5)).astype("float32") + labels[:, None]
    np.savez(folder / "items.npz", x=items, y=labels)
    path = folder / "study.yaml"
    path.write_text(STUDY.replace("METRIC", metric).replace("LOSS", loss))
    study = load_study(path)
    data = prepare_data(study)[0]
    runner = JobRunner(study.config, data, KerasTrainer(data, study.config.fixed))
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


@pytest.mark.parametrize(
    ("metric", "loss", "die_after"),
    [
        ("euclidean", "{triplet: {mining: all, margin: 0.2}}", (0, 1)),
        ("cosine", "proxy_anchor", (0, 2)),
        ("mahalanobis", "{triplet: {mining: semihard, margin: 0.2}}", (0, 3)),
        ("euclidean", "{cross_batch_memory: {loss: contrastive, memory_size: 48}}", (1, 1)),
    ],
)
def test_an_attempt_goes_on_as_if_it_had_never_stopped(
    tmp_path: Path, metric: str, loss: str, die_after: tuple[int, int]
) -> None:
    work, configuration = bench(tmp_path, metric, loss)
    seeds = (5, 6) if die_after[0] else (5,)
    whole, said = do(work, TrialJob(str(tmp_path / "whole"), configuration, seeds, seeds))
    rows = [{"repeat": each.repeat, **each.row} for each in said if isinstance(each, Epoch)]
    with pytest.raises(Killed):
        do(work, TrialJob(str(tmp_path / "first"), configuration, seeds, seeds), die_after)
    assert (tmp_path / "first" / STATE).is_file()

    job = TrialJob(str(tmp_path / "second"), configuration, seeds, seeds, resume=str(tmp_path / "first"))
    ended, said = do(work, job)
    before, later = said[0], [each for each in said if isinstance(each, Epoch)]
    done = die_after[0] * 3 + die_after[1]
    assert isinstance(before, Resumed)
    assert len(before.history) == done
    assert [(each.repeat, each.number) for each in later] == [
        (n // 3, n % 3 + 1) for n in range(done, len(rows))
    ]
    history = [*before.history, *({"repeat": each.repeat, **each.row} for each in later)]
    for row, expected in zip(history, rows, strict=True):
        assert row == pytest.approx(expected, rel=1e-5, abs=1e-6, nan_ok=True)
    assert whole.outcome == ended.outcome == "complete"
    assert ended.values == pytest.approx(whole.values, rel=1e-5)
    assert ended.resolved_params == whole.resolved_params
    for one, other in zip(weights(tmp_path / "whole"), weights(tmp_path / "second"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    for each in ("whole", "second"):
        assert sorted(file.name for file in (tmp_path / each).iterdir()) == [
            FINAL,
            "embeddings.npy",
            "exhibit.npz",
            "queries.parquet",
            STATE,
        ]


def test_a_checkpoint_that_was_cut_off_is_not_gone_on_from(tmp_path: Path) -> None:
    work, configuration = bench(tmp_path, "cosine", "proxy_anchor")
    with pytest.raises(Killed):
        do(work, TrialJob(str(tmp_path / "first"), configuration, (5,), (5,)), (0, 1))
    (tmp_path / "first" / ".0a1b2c3d.keras").write_bytes(b"half a model")
    job = TrialJob(str(tmp_path / "second"), configuration, (5,), (5,), resume=str(tmp_path / "first"))
    ended, said = do(work, job)
    assert ended.outcome == "complete", ended.cause
    assert [each.number for each in said if isinstance(each, Epoch)] == [2, 3]
    assert not [each for each in (tmp_path / "second").iterdir() if each.name.startswith(".")]
