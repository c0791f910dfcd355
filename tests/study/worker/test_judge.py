"""What judges an epoch: the first objective, of a large split on some queries; all for the epoch kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from attempts import FINAL

pytestmark = [pytest.mark.keras, pytest.mark.one_backend]

RNG = np.random.default_rng(0)


def items(n: int = 120, classes: int = 6, single: bool = True) -> Any:
    from siamkit.data import Dataset

    labels = np.arange(n) % classes
    if single:
        labels[-1] = classes  # the only one of its class
    x = RNG.normal(size=(n, 5)).astype("float32") + labels[:, None]
    return Dataset((x,), labels, "labels", "vector")


def perceptron(**options: Any) -> Any:
    import siamkit

    return siamkit.build("mlp", "cosine", "contrastive", embedding_dim=4, input_shape=(5,), **options)


def test_an_epoch_gets_the_first_objective_and_the_epoch_kept_everything() -> None:
    from siamkit.study.worker.judge import Judge, judge

    dataset, model = items(), perceptron()
    judging = Judge(dataset, ["map_at_r", "roc_auc"])
    epoch, whole = judging.epoch(model), judge(model, dataset)
    assert {"map_at_r", "spread", "effective_rank", "parameters"} <= set(epoch.measures)
    assert not {"roc_auc", "threshold", "standard_error"} & set(epoch.measures)
    assert epoch.measures["map_at_r"] == whole.measures["map_at_r"]
    kept = judging.kept(model, epoch.embeddings)
    assert kept.measures == pytest.approx(whole.measures, nan_ok=True)
    np.testing.assert_array_equal(kept.queries["map_at_r"], whole.queries["map_at_r"])
    assert Judge(dataset, ["map_at_r"], in_full=True).epoch(model).measures == whole.measures


def test_some_queries_judge_an_epoch_of_a_large_split(monkeypatch: pytest.MonkeyPatch) -> None:
    from siamkit.study.worker import judge as module

    monkeypatch.setattr(module, "LARGE", 100)
    monkeypatch.setattr(module, "MAX_QUERIES", 40)
    dataset, model = items(), perceptron()
    whole = module.judge(model, dataset).queries["map_at_r"]
    judging = module.Judge(dataset, ["map_at_r"])
    found = judging.epoch(model)
    scored = np.isfinite(found.queries["map_at_r"])
    assert scored.sum() == found.measures["queries"] == 40
    np.testing.assert_array_equal(found.queries["map_at_r"][scored], whole[scored])
    assert found.measures["map_at_r"] == pytest.approx(whole[scored].mean())
    # 40 of the 119 queries that can find anything, without replacement: by drawing them often.
    draws = [RNG.choice(whole[:-1], 40, replace=False).mean() for _ in range(20_000)]
    by_drawing = np.std(draws) / np.std(whole[:-1], ddof=1)
    deviation = np.std(whole[scored], ddof=1)
    assert found.measures["standard_error"] / deviation == pytest.approx(by_drawing, rel=0.03)
    again = module.Judge(dataset, ["map_at_r"]).epoch(model).queries["map_at_r"]
    np.testing.assert_array_equal(scored, np.isfinite(again))
    assert judging.kept(model, found.embeddings).measures["map_at_r"] == pytest.approx(np.nanmean(whole))
    # What is no mean over queries is judged on all.
    assert "standard_error" not in module.Judge(dataset, ["roc_auc", "map_at_r"]).epoch(model).measures


def test_embeddings_that_may_have_collapsed_are_also_judged_by_what_they_separate() -> None:
    from siamkit.study.sampling.pruners import collapsed
    from siamkit.study.worker.judge import Judge, judge

    dataset = items()
    for axis, text in ((None, "all embeddings are one point"), (0, "effective rank 1.0 of 4")):
        model = perceptron(normalize=False)
        *_, last = [weight for weight in model.encoders[0].trainable_weights if weight.ndim == 2]
        values = np.zeros(last.shape, "float32")
        if axis is not None:
            values[:, axis] = RNG.normal(size=len(values)) * 1e-3
        last.assign(values)
        for weight in model.encoders[0].weights:
            if weight.ndim == 1 and weight.shape[0] == 4 and axis is None:
                weight.assign(np.ones(4))
        measures = Judge(dataset, ["map_at_r"]).epoch(model).measures
        assert measures["roc_auc"] == judge(model, dataset).measures["roc_auc"]
        assert (text in str(collapsed(measures, 4, 2))) == (measures["roc_auc"] < 0.6)


def test_the_kept_epochs_row_has_all_measures_and_the_model_its_threshold(tmp_path: Path) -> None:
    import siamkit

    dataset = items(single=False)
    np.savez(tmp_path / "items.npz", x=dataset.views[0], y=dataset.target)
    (tmp_path / "study.yaml").write_text(
        "version: 1\nname: s\nengine: inline\nbaselines: null\nconfirm: null\ndata: {path: items.npz}\n"
        "budget: {trials: 1}\nfixed: {epochs: 4, batch_size: 24, embedding_dim: 4}\n"
        "search: {encoder: {mlp: {depth: 1, width: 8}}, metric: cosine, loss: triplet}\n"
    )
    results = siamkit.tune(tmp_path / "study.yaml", progress="none")
    (trial,) = results.trials
    assert trial.outcome == "complete", trial.cause
    rows = pq.read_table(results.folder / trial.folder / "history.parquet").to_pylist()
    assert [row["is_best"] for row in rows] == [number == trial.best_epochs[0] for number in range(1, 5)]
    for row in rows:
        assert row["map_at_r"] > 0
        assert (row["roc_auc"] is not None) == row["is_best"]
        if row["is_best"]:
            assert {name: row[name] for name in trial.measures} == pytest.approx(trial.measures, nan_ok=True)
    model: Any = siamkit.load_model(results.folder / trial.folder / FINAL)
    assert model.threshold == pytest.approx(trial.measures["threshold"])
