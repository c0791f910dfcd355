"""An attempt that was cut off and gone on with is as one that never was: the same history and weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attempts import FINAL, FIXED, STATE, Killed, bench, do, weights

from siamkit.study.worker.messages import Epoch, Resumed, TrialJob

pytestmark = pytest.mark.keras


@pytest.mark.parametrize(
    ("metric", "loss", "recipe", "die_after"),
    [
        ("euclidean", "contrastive", "optimizer: sgd, schedule: linear", (0, 1)),
        ("cosine", "proxy_anchor", "optimizer: adamw, schedule: cosine, ema: 0.8, clip_norm: 1", (0, 2)),
        ("mahalanobis", "contrastive", "optimizer: muon", (0, 3)),
        (
            "euclidean",
            "{cross_batch_memory: {loss: contrastive, memory_size: 48}}",
            "schedule: one_cycle, optimizer: lion",
            (1, 1),
        ),
    ],
)
def test_an_attempt_goes_on_as_if_it_had_never_stopped(
    tmp_path: Path, metric: str, loss: str, recipe: str, die_after: tuple[int, int]
) -> None:
    work, configuration = bench(tmp_path, metric, loss, f"{FIXED}, {recipe}")
    seeds = (5, 6) if die_after[0] else (5,)
    whole, said = do(work, TrialJob(str(tmp_path / "whole"), configuration, seeds, seeds, (0,) * len(seeds)))
    rows = [{"repeat": each.repeat, **each.row} for each in said if isinstance(each, Epoch)]
    with pytest.raises(Killed):
        do(work, TrialJob(str(tmp_path / "first"), configuration, seeds, seeds, (0,) * len(seeds)), die_after)
    assert (tmp_path / "first" / STATE).is_file()

    job = TrialJob(
        str(tmp_path / "second"),
        configuration,
        seeds,
        seeds,
        (0,) * len(seeds),
        resume=str(tmp_path / "first"),
    )
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
        do(work, TrialJob(str(tmp_path / "first"), configuration, (5,), (5,), (0,)), (0, 1))
    (tmp_path / "first" / ".0a1b2c3d.keras").write_bytes(b"half a model")
    job = TrialJob(str(tmp_path / "second"), configuration, (5,), (5,), (0,), resume=str(tmp_path / "first"))
    ended, said = do(work, job)
    assert ended.outcome == "complete", ended.cause
    assert [each.number for each in said if isinstance(each, Epoch)] == [2, 3]
    assert not [each for each in (tmp_path / "second").iterdir() if each.name.startswith(".")]
