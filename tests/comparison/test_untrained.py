"""A comparison beside embeddings without training, on items where raw distance is perfect."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from PIL import Image
from pyarrow import parquet
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

import siamkit
from siamkit.cli import main
from siamkit.comparison.untrained import untrained_in_data
from siamkit.data.streaming import StreamRequest
from siamkit.errors import DataError

RNG = np.random.default_rng(0)
LABELS = np.repeat(np.arange(6), 10)
ITEMS = (np.eye(6)[LABELS] * 9 + RNG.normal(size=(60, 6))).astype("float32")  # perfect
VECTORS = [ITEMS[:, :3] + RNG.normal(size=(60, 3)).astype("float32") * noise for noise in (1, 4)]
FAST: dict[str, Any] = {"resamples": 100}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Embeddings `a` and `b` without ids, and the items."""
    np.savez(tmp_path / "items.npz", x=ITEMS, y=LABELS)
    for name, vectors in zip("ab", VECTORS, strict=True):
        np.savez(tmp_path / f"{name}.npz", x=vectors, y=LABELS)
    return [tmp_path / name for name in ("a.npz", "b.npz", "items.npz")]


def test_the_best_baseline_is_compared_with_each_embedding(files: list[Path]) -> None:
    a, b, data = files
    found = siamkit.compare(a, b, data=data, **FAST)
    assert found.names == ("a", "b")
    assert sorted(name.partition(" · ")[0] for name in found.baselines) == ["pca", "raw"]
    best = found.baselines[0]
    assert found.values[best]["map_at_r"].value == 1.0
    assert found.pairs[::2] == [("a", "b"), (best, "a"), (best, "b")]
    for (first, second), difference in zip(found.pairs, found.differences, strict=True):
        values = found.values[first], found.values[second]
        assert difference.a == pytest.approx(values[0][difference.measure].value)
        assert difference.b == pytest.approx(values[1][difference.measure].value)
    alone = siamkit.compare(a, b, baselines=None, **FAST)
    assert [each.difference for each in found.differences[:2]] == [
        each.difference for each in alone.differences
    ]
    assert (alone.baselines, list(alone.values)) == ((), ["a", "b"])
    shown = next(block for block in found.document().sections[0].blocks if block.name == "values")
    assert best in [row[0] for row in shown.table.rows]  # type: ignore[union-attr]


def test_baselines_are_those_of_scikit_learn(files: list[Path]) -> None:
    sets, notes = untrained_in_data(files[2], StreamRequest(size=7), None, ())
    assert not notes
    raw, pca = (next(each for each in sets if each.name == name).embeddings for name in ("raw", "pca"))
    scaled = StandardScaler().fit_transform(ITEMS)
    np.testing.assert_allclose(raw, scaled, atol=1e-5)
    expected = PCA(6).fit_transform(scaled)
    np.testing.assert_allclose(np.abs(pca), np.abs(expected), atol=1e-4)


def test_without_items_a_note_says_how_to_get_a_baseline(files: list[Path]) -> None:
    a, b, data = files
    assert siamkit.compare(a, b, **FAST).notes[-1] == (
        "No embedding without training was compared, since the items are unknown: pass them as data= "
        "(--data), or name a trial by its study file (study.yaml#14)."
    )
    assert not siamkit.compare(a, b, baselines=None, **FAST).notes[1:]
    with pytest.raises(DataError, match="the baseline 'raw' needs the items"):
        siamkit.compare(a, b, baselines=["raw"], **FAST)
    with pytest.raises(DataError, match=r"the baseline 'hog' is not for these items; choose from raw, pca"):
        siamkit.compare(a, b, data=data, baselines=["hog"], **FAST)
    np.savez(data, x=ITEMS[:50], y=LABELS[:50])
    assert (
        siamkit.compare(a, b, data=data, **FAST)
        .notes[-1]
        .startswith("No embedding without training was compared: inputs should embed the same items")
    )


@pytest.mark.keras
@pytest.mark.one_backend
def test_models_have_their_items_prepared_as_they_want_them(files: list[Path], tmp_path: Path) -> None:
    from siamkit.data import Dataset, fit_preprocessor

    prepare = fit_preprocessor(Dataset((ITEMS * 2,), LABELS, "labels", "vector"))
    for name in "mn":
        model = siamkit.build("mlp", "cosine", "triplet", embedding_dim=3, input_shape=(6,))
        model.preprocessor = prepare
        model.save(tmp_path / f"{name}.keras")
    models = [tmp_path / f"{name}.keras" for name in "mn"]
    found = siamkit.compare(*models, data=files[2], baselines=["raw"], **FAST)
    (raw,) = found.baselines
    assert found.values[raw]["map_at_r"].value == 1.0
    sets, _ = untrained_in_data(files[2], StreamRequest(prepare), None, ["raw"])
    np.testing.assert_allclose(sets[0].embeddings, prepare(ITEMS), atol=1e-6)

    # Also where one model alone is evaluated.
    evaluated = ["evaluate", str(models[0]), str(files[2]), "--group", "retrieval"]
    shown = CliRunner().invoke(main, evaluated, env={"COLUMNS": "200"}).stdout
    (line,) = (line for line in shown.splitlines() if line.strip().startswith("map_at_r"))
    assert "raw · " in shown
    assert re.search(r"map_at_r +0\.\d+ +1 ", line)
    without = CliRunner().invoke(main, [*evaluated, "--baseline", "none"], env={"COLUMNS": "200"}).stdout
    assert "raw" not in without
    as_json = json.loads(CliRunner().invoke(main, [*evaluated, "--baseline", "pca", "--json"]).stdout)
    assert as_json["baseline"]["name"].startswith("pca · ")
    assert "baseline" not in json.loads(CliRunner().invoke(main, [*evaluated, "--json"]).stdout)
    refused = CliRunner().invoke(main, [*evaluated, "--baseline", "hog"])
    assert refused.exit_code == 2
    assert "the baseline 'hog' is not for these items" in refused.stderr


def test_embeddings_without_items_are_evaluated_with_a_note(files: list[Path]) -> None:
    shown = CliRunner().invoke(main, ["evaluate", str(files[0]), "--group", "retrieval"])
    assert shown.exit_code == 0, shown.output
    assert "No embedding without training was evaluated" in shown.stdout
    refused = CliRunner().invoke(main, ["evaluate", str(files[0]), "--baseline", "raw"])
    assert refused.exit_code == 2
    assert "the baseline 'raw' needs the items" in refused.stderr


def test_a_lower_error_is_better_also_among_baselines(tmp_path: Path) -> None:
    angles, targets = np.arange(40) * 2 * np.pi / 40, np.arange(40) // 2 % 2
    turned = angles + np.where(targets, 0.0, np.pi / 2)
    # Pairs that are alike have one direction and different lengths: 4 apart, others 2.8.
    lengths = np.where(targets, 1.0, 2.0), np.where(targets, 5.0, 2.0)
    a, b = (
        (length[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)).astype("float32")
        for length, angle in zip(lengths, (angles, turned), strict=True)
    )
    np.savez(tmp_path / "items.npz", a=a, b=b, y=targets)
    for name in "mn":
        vectors = RNG.normal(size=(40, 2, 3)).astype("float32")
        np.savez(tmp_path / f"{name}.npz", a=vectors[:, 0], b=vectors[:, 1], y=targets)
    found = siamkit.compare(
        tmp_path / "m.npz", tmp_path / "n.npz", data=tmp_path / "items.npz", measures=["eer"],
        baselines=["raw"], over="pairs", **FAST,
    )  # fmt: skip
    assert found.baselines == ("raw · cosine",)
    assert found.values["raw · cosine"]["eer"].value == 0.0


def test_pairs_of_texts_and_photos(tmp_path: Path) -> None:
    words = ["red shoes", "blue hat", "green coat", "black bag"] * 5
    targets = [row % 2 for row in range(20)]
    others = [word if target else "a pair of socks" for word, target in zip(words, targets, strict=True)]
    table = pa.table({"left": words, "right": others, "target": targets})
    parquet.write_table(table, tmp_path / "pairs.parquet")
    for name in "ab":
        vectors = RNG.normal(size=(20, 2, 3)).astype("float32")
        np.savez(tmp_path / f"{name}.npz", a=vectors[:, 0], b=vectors[:, 1], y=targets)
    files = [tmp_path / "a.npz", tmp_path / "b.npz"]
    found = siamkit.compare(*files, data=tmp_path / "pairs.parquet", over="pairs", **FAST)
    assert [name.partition(" · ")[0] for name in found.baselines] == ["tfidf"], found.notes
    assert found.values[found.baselines[0]]["roc_auc"].value == 1.0

    photos = tmp_path / "photos"
    for number in range(24):
        pixels = RNG.normal(40 if number % 2 else 200, 9, (16, 16, 3)).clip(0, 255).astype("uint8")
        (photos / str(number % 2)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(photos / str(number % 2) / f"{number:02}.png")
    sets, notes = untrained_in_data(photos, StreamRequest(), None, ())
    assert {each.name: len(each.embeddings) for each in sets} == {"raw": 24, "pca": 24, "hog": 24}
    assert sets[0].ids is not None
    assert sets[0].ids[0] == "0/00.png"
    assert not notes


@pytest.mark.keras
@pytest.mark.one_backend
def test_a_trial_by_its_study_file_has_baselines_fitted_on_training_items(tmp_path: Path) -> None:
    np.savez(tmp_path / "items.npz", x=np.concatenate([ITEMS] * 3), y=np.concatenate([LABELS] * 3))
    (tmp_path / "study.yaml").write_text(
        "version: 1\nname: s\ndata: {path: items.npz}\nbudget: {trials: 2}\nconfirm: {top: 2, seeds: 1}\n"
        "engine: inline\nbaselines: null\nfixed: {epochs: 1, batch_size: 32, embedding_dim: 3}\n"
        "search: {encoder: mlp, metric: cosine, loss: [triplet, multi_similarity]}\n"
    )
    results = siamkit.tune(tmp_path / "study.yaml", progress="none")
    study = tmp_path / "study.yaml"
    found = siamkit.compare(f"{study}#0", f"{study}#1", **FAST)
    assert {name.partition(" · ")[0] for name in found.baselines} == {"raw", "pca", "lda", "nca"}
    assert found.values[found.baselines[0]]["map_at_r"].value == 1.0
    by_folder = siamkit.compare(f"{results.folder}#0", f"{results.folder}#1", **FAST)
    assert by_folder.notes[-1].startswith("No embedding without training was compared, since the items")
    (tmp_path / "items.npz").unlink()
    assert "items.npz" in siamkit.compare(f"{study}#0", f"{study}#1", **FAST).notes[-1]


def test_the_command_line_names_baselines_or_none(files: list[Path]) -> None:
    a, b, data = map(str, files)

    def run(*options: str) -> dict[str, Any]:
        result = CliRunner().invoke(main, ["compare", a, b, "--json", *options])
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    named = run("--data", data, "--baseline", "pca")["baselines"]
    assert len(named) == 1
    assert named[0].startswith("pca · ")
    assert run("--data", data, "--baseline", "none")["baselines"] == []
    assert len(run("--data", data)["baselines"]) == 2
