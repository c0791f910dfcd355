"""Trials of studies as embedding sets, from run folders written by hand and from a study that ran."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet

import siamkit
from siamkit.cli import main
from siamkit.comparison.inputs import read_embeddings
from siamkit.comparison.single import retrained_sizes
from siamkit.errors import DataError, ModelError, StudyError
from siamkit.evaluation.distances import Euclidean

DRAW = np.random.default_rng(0)
LABELS = np.repeat(np.arange(24), 5)
ROWS = DRAW.normal(size=(24, 4))[LABELS] + DRAW.normal(0, 0.6, (120, 4))
IDS = [f"photo {n}" for n in range(120)]
PNG = b"\x89PNG\r\n\x1a\n and so on"


def trial(
    folder: Path, number: int, rows: Any, value: float | None, metric: str = "euclidean", dim: int = 4
) -> None:
    place = folder / "trials" / str(number) / "token"
    place.mkdir(parents=True)
    told: dict[str, Any] = {
        "trial": number,
        "outcome": "complete",
        "configuration": {
            "metric": {"name": f"siamkit/{metric}", "params": {}},
            "loss": {"name": "siamkit/triplet", "params": {}},
        },
        "factors": {"metric": metric, "encoder": "mlp", "loss": "triplet", "embedding_dim": dim},
        "figures": {"map_at_r": value, "recall_at_1": value, "parameters": 100 + number, "threshold": 0.5},
    }
    told["configuration"]["embedding_dim"] = dim
    (place / "result.json").write_text(json.dumps(told))
    if rows is not None:
        np.save(place / "embeddings.npy", rows.astype("float32"))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Trial 7 is the best; nothing but its result is left of trial 9."""
    frozen = {"name": "photos", "objectives": {"map_at_r": "maximize"}, "data": {"supervision": "labels"}}
    folder = tmp_path / "runs" / "photos"
    folder.mkdir(parents=True)
    (folder / "study.json").write_text(json.dumps(frozen))
    trial(folder, 3, ROWS + DRAW.normal(0, 0.6, ROWS.shape), 0.5)
    trial(folder, 7, ROWS, 0.9)
    trial(folder, 9, None, 0.1)
    items = {
        "id": IDS,
        "target": [str(each) for each in LABELS],
        "shown": [row % 2 == 0 for row in range(120)],
        "image_0": [PNG + str(row).encode() if row % 2 == 0 else None for row in range(120)],
    }
    parquet.write_table(pa.table(items), folder / "items.parquet")
    (tmp_path / "study.yaml").write_text(
        "version: 1\nname: photos\ndata: {path: gone.npz}\nbudget: {trials: 3}\n"
        "search: {encoder: mlp, metric: euclidean, loss: triplet}\n"
    )
    return folder


def test_a_trial_has_what_it_stored(runs: Path) -> None:
    found = read_embeddings(f"{runs}#7")
    np.testing.assert_allclose(found.embeddings, ROWS, rtol=1e-6)
    assert found.ids == tuple(IDS)
    assert found.labels is not None
    assert found.labels.tolist() == [str(each) for each in LABELS]
    assert found.name == "photos#7"
    assert found.parameters == 107
    assert found.metric.orientation == "distance"
    assert np.array_equal(read_embeddings(f"{runs}#best").embeddings, found.embeddings)
    # By its file the study is found, though its data are gone.
    again = read_embeddings(runs.parent.parent / "study.yaml#best")
    assert np.array_equal(again.embeddings, found.embeddings)
    assert again.name == "study#best"


def test_trials_are_compared_with_each_other_and_with_files_without_keras(runs: Path) -> None:
    order = DRAW.permutation(120)[:100]
    np.savez(runs / "theirs.npz", x=ROWS[order], ids=np.array(IDS)[order])
    code = (
        "import sys, siamkit\n"
        "found = siamkit.compare('photos#3', 'photos#best', 'photos/theirs.npz', metric='euclidean')\n"
        "print(found)\n"
        "assert not {'keras', 'torch', 'jax', 'tensorflow'} & set(sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=runs.parent, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "photos#best is better in map_at_r by" in ran.stdout
    assert "Compared on the 100 items that all inputs have, of 120." in ran.stdout
    assert "No significant difference in map_at_r: theirs minus photos#best is +0.0000" in ran.stdout


def test_disagreements_are_shown_as_the_study_shows_its_items(runs: Path) -> None:
    found = siamkit.compare(f"{runs}#3", f"{runs}#7")
    queries = found.disagreements["photos#3", "photos#7"]
    rows = {row for each in queries for row in each.rows}
    assert len(rows) > 10
    for row in rows:  # the thumbnail is null of every other item
        if row % 2:
            assert row not in found.thumbnails
        else:
            assert found.thumbnails[row][0].image == PNG + str(row).encode()
    for each in queries:
        assert each.id == IDS[each.query]
        assert each.nearest_ids == tuple(IDS[row] for row in each.nearest or ())
        distances = np.linalg.norm(ROWS - ROWS[each.query], axis=1)
        distances[each.query] = np.inf
        assert each.nearest is not None
        assert each.nearest[1] == distances.argmin()
        assert each.correct is not None
        assert each.correct[1] == (LABELS[distances.argmin()] == LABELS[each.query])


def test_of_an_older_run_folder_the_items_that_have_names_take_part(runs: Path) -> None:
    parquet.write_table(parquet.read_table(runs / "items.parquet").slice(0, 100), runs / "items.parquet")
    found = siamkit.compare(f"{runs}#3", f"{runs}#7")
    assert found.differences[0].units == 20
    assert found.notes[0] == "photos#3: only the first 100 of 120 items have stored ids."


def test_pairs_of_a_study_are_numbers_again(runs: Path) -> None:
    alike = DRAW.integers(0, 2, 120)
    pairs = np.stack([ROWS, ROWS + (2 - alike)[:, None] * DRAW.normal(0, 1, ROWS.shape)], axis=1)
    for number, noise in ((3, 1.0), (7, 0.0)):
        rows = pairs + DRAW.normal(0, noise, pairs.shape) if noise else pairs
        np.save(runs / f"trials/{number}/token/embeddings.npy", rows.astype("float32"))
    items = {"id": IDS, "target": [str(each) for each in alike], "text_0": IDS, "text_1": IDS[::-1]}
    parquet.write_table(pa.table(items), runs / "items.parquet")
    found = siamkit.compare(f"{runs}#3", f"{runs}#7")
    assert [each.measure for each in found.differences] == ["roc_auc", "eer"]
    row = found.disagreements["photos#3", "photos#7"][0].query
    assert [look.text for look in found.thumbnails[row]] == [IDS[row], IDS[119 - row]]


def test_what_is_not_there_is_told_with_what_would_help(runs: Path, tmp_path: Path) -> None:
    def refused(path: Any, message: str, kind: Any = StudyError) -> None:
        with pytest.raises(kind, match=message):
            read_embeddings(path)

    refused(f"{runs}#4", "the study has no trial 4; choose from 3, 7, 9")
    refused(f"{runs}#9", "trial 9 of the study in .* has neither embeddings nor a model; .* siamkit retrain")
    (runs / "trials/9/token/checkpoint.keras").write_bytes(b"")
    refused(f"{runs}#9", "name the study file instead of the run folder")
    refused(f"{runs}#bets", "a trial is named by its number or best, got 'bets'")
    refused(runs, "is a study: name one of its trials, such as .*photos#best or", DataError)
    refused(tmp_path / "study.yaml", "name one of its trials, such as .*yaml#best", DataError)
    refused(f"{tmp_path}/none#3", "no study has started in '.*none' yet")
    trial(runs, 11, ROWS, 0.2, metric="mahalanobis")
    refused(f"{runs}#11", "uses the metric siamkit/mahalanobis of its model, which is missing", ModelError)
    (runs / "items.parquet").unlink()
    refused(f"{runs}#7", "items.parquet' is missing, so the embedded items are unknown")
    told = CliRunner().invoke(main, ["compare", f"{runs}#4", f"{runs}#7"])
    assert told.exit_code == 2
    assert "Error: the study has no trial 4" in told.stderr


def test_retraining_is_the_best_trial_of_each_size(runs: Path) -> None:
    trial(runs, 20, None, 0.3, dim=2)
    trial(runs, 21, None, 0.4, dim=2)
    trial(runs, 22, None, None, dim=64)
    trial(runs, 23, None, 0.99, metric="cosine", dim=2)
    found = retrained_sizes(runs)
    assert [(each.dim, each.bytes_per_vector, each.measures) for each in found] == [
        (2, 8, {"map_at_r": 0.99}),
        (4, 16, {"map_at_r": 0.9}),
    ]
    found = retrained_sizes(runs, metric="euclidean")
    assert [(each.dim, each.measures["map_at_r"]) for each in found] == [(2, 0.4), (4, 0.9)]
    with pytest.raises(StudyError, match=r"no trial with angular of the study in .* completed"):
        retrained_sizes(runs, metric="angular")
    with pytest.raises(DataError, match="have no measure 'spearman'"):
        retrained_sizes(runs, ("spearman",))
    # On the command line a trial comes with its own kind, and nobody else's.
    told = CliRunner().invoke(main, ["evaluate", f"{runs}#7", "--sizes", "--json"])
    assert told.exit_code == 0, told.output
    curve = {(each["how"], each["dim"]): each["measures"] for each in json.loads(told.stdout)}
    assert curve["retrained", 2] == {"map_at_r": 0.4, "recall_at_1": 0.4}
    expected = siamkit.evaluate(ROWS, LABELS, Euclidean())
    assert curve["whole", 4]["map_at_r"] == pytest.approx(expected["map_at_r"])


# ---------------------------------------------------------------- with Keras

STUDY = """\
version: 1
baselines: null
name: tiny
seed: 3
data: {source: digits, split: {by: class, train: 0.5, valid: 0.2, test: 0.3}, limit: {train: 120, valid: 60}}
fixed: {batch_size: 40, epochs: 1, embedding_dim: 6, learning_rate: 0.01}
search:
  encoder: {mlp: {depth: 1, width: 8, dropout: 0.0}}
  metric: mahalanobis
  loss: contrastive
  normalize: [true, false]
budget: {trials: 2}
confirm: {top: 1, seeds: 1}
engine: inline
"""


@pytest.mark.keras
@pytest.mark.one_backend
def test_a_trials_model_embeds_its_items_again_as_it_did_in_the_study(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    results = siamkit.tune(tmp_path / "study.yaml", progress="none")
    stored = {number: read_embeddings(f"{tmp_path}/study.yaml#{number}") for number in (0, 1)}
    found = siamkit.compare(*stored.values(), measures=["map_at_r"])
    for number, each in enumerate(stored.values()):
        measures = next(trial.measures for trial in results.trials if trial.trial == number)
        # By the learned metric of its model.
        assert found.values[each.name]["map_at_r"].value == pytest.approx(measures["map_at_r"], abs=1e-5)
    file = next(results.folder.glob("trials/*/*/embeddings.npy"))
    number = int(file.parent.parent.name)
    file.unlink()
    again = read_embeddings(f"{tmp_path}/study.yaml#{number}")
    np.testing.assert_allclose(again.embeddings, stored[number].embeddings, atol=1e-5)
    assert again.ids == stored[number].ids
    assert again.labels is not None
    assert stored[number].labels is not None
    assert again.labels.tolist() == stored[number].labels.tolist()
    assert siamkit.compare(again, stored[1 - number]).thumbnails  # digits are pictures
