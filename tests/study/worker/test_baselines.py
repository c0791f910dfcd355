"""A study beside its baselines, on data where the right answer is known."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import siamkit
from siamkit.data import Dataset, fit_preprocessor
from siamkit.errors import DataError, StudyFileError
from siamkit.evaluation import evaluate_labels
from siamkit.evaluation.distances import plain_metric
from siamkit.runs.results import Objective
from siamkit.runs.run_folder import RunFolder
from siamkit.study.monitoring.status import Untrained, read_status
from siamkit.study.results.results import answer
from siamkit.study.worker.baselines import evaluate_split

STUDY = """\
version: 1
name: known
seed: 1
data: {path: items.npz, split: {train: 0.4, valid: 0.3, test: 0.3}}
fixed: {batch_size: 32, epochs: EPOCHS, embedding_dim: 8, learning_rate: 0.02}
search: {encoder: {mlp: {depth: 1, width: 16, dropout: 0.0}}, metric: cosine, loss: multi_similarity}
budget: {trials: 1}
confirm: {top: 1, seeds: 3}
engine: inline
"""

pytestmark = [pytest.mark.keras, pytest.mark.one_backend]


def write(folder: Path, x: np.ndarray, y: np.ndarray, epochs: int = 1, more: str = "") -> Path:
    np.savez(folder / "items.npz", x=x.astype("float32"), y=y)
    path = folder / "study.yaml"
    path.write_text(STUDY.replace("EPOCHS", str(epochs)) + more)
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_where_raw_distance_is_perfect_the_answer_begins_with_it(tmp_path: Path, rng) -> None:
    y = np.arange(200) % 5
    x = np.eye(5)[y] * 20 + rng.normal(size=(200, 5))
    results = siamkit.tune(write(tmp_path, x, y, more="baselines: [raw, random]\n"), progress="none")
    raw = next(each for each in results.baselines if each.name == "raw")
    assert raw.valid["map_at_r"] == raw.test["map_at_r"] == 1.0
    assert results.baseline is not None
    assert answer(results).startswith("The winner is ")
    assert "better than the best baseline" in answer(results)
    check = next(check for check in results.checks if check.name == "baseline")
    assert check.status == "error"
    random = next(each for each in results.baselines if each.name == "random")
    assert random.variant == "mlp"
    assert random.dim == 8
    best = RunFolder(results.folder).best_baseline(Objective("map_at_r", "maximize"))
    assert best is not None
    assert best.value("map_at_r") == 1.0
    lowest = min(each.test["eer"] for each in results.baselines if each.test)
    best_at_eer = RunFolder(results.folder).best_baseline(Objective("eer", "minimize"), "test")
    assert best_at_eer is not None
    assert best_at_eer.value("eer", "test") == lowest
    assert RunFolder(results.folder).best_baseline(Objective("spearman", "maximize")) is None
    status = read_status(tmp_path / "study.yaml")
    assert status.baseline == Untrained(best.description, 1.0)
    # Nothing is evaluated again when the study is run again.
    files = [results.folder / "baselines" / name / "result.json" for name in ("raw", "random")]
    times = [file.stat().st_mtime_ns for file in files]
    siamkit.tune(tmp_path / "study.yaml", progress="none")
    assert times == [file.stat().st_mtime_ns for file in files]


def test_where_raw_distance_is_worthless_training_is_worth_it(tmp_path: Path, rng) -> None:
    y = np.arange(1200) % 3  # two informative dimensions of 50
    x = rng.normal(size=(1200, 50))
    x[:, :2] = np.array([[0, 1], [1, -1], [-1, -1]])[y] + 0.1 * rng.normal(size=(1200, 2))
    more = "baselines: [raw, pca]\n"
    results = siamkit.tune(write(tmp_path, x, y, epochs=8, more=more), progress="none")
    check = next(check for check in results.checks if check.name == "baseline")
    assert check.status == "ok", check.sentence
    assert "The winner is better than the best baseline" in answer(results)


def test_labels_that_mean_nothing_are_told_in_the_first_sentence(tmp_path: Path, rng) -> None:
    x, y = rng.normal(size=(200, 6)), rng.integers(4, size=200)
    results = siamkit.tune(write(tmp_path, x, y, more="baselines: [raw]\n"), progress="none")
    assert answer(results).startswith("The winner is not shown to be better than chance: on the test split")
    assert results.checks[0].name == "chance"
    assert results.checks[0].status == "error"


def test_a_baseline_that_does_not_fit_the_data_is_refused(tmp_path: Path, rng) -> None:
    path = write(tmp_path, rng.normal(size=(40, 3)), np.arange(40) % 2, more="baselines: [hog]\n")
    with pytest.raises(
        StudyFileError, match=r"'hog' is not for vector with labels; choose from raw, pca, lda"
    ):
        siamkit.tune(path, progress="none")
    path.write_text(path.read_text().replace("[hog]", "[rwa]"))
    with pytest.raises(StudyFileError, match=r"got 'rwa'; did you mean 'raw'"):
        siamkit.tune(path, progress="none")


def test_embeddings_from_files_are_matched_by_position_and_by_id(tmp_path: Path, rng) -> None:
    x, y = rng.normal(size=(60, 3)), np.arange(60) % 2
    theirs = np.eye(2, 4)[y].astype("float32")  # perfect
    np.save(tmp_path / "theirs.npy", theirs)
    order = rng.permutation(60)
    columns = {"id": [str(row) for row in order], "embedding": list(theirs[order])}
    pq.write_table(pa.table(columns), tmp_path / "shuffled.parquet")
    more = "baselines: [raw, {path: theirs.npy}, {path: shuffled.parquet, name: by_id}]\n"
    results = siamkit.tune(write(tmp_path, x, y, more=more), progress="none")
    by_name = {each.name: each for each in results.baselines}
    assert set(by_name) == {"raw", "chance", "theirs", "by_id"}
    for name in ("theirs", "by_id"):
        assert by_name[name].valid["map_at_r"] == by_name[name].test["map_at_r"] == 1.0
    path = tmp_path / "study.yaml"
    for wrong, words in {
        "{path: gone.npy}": "gone.npy",
        "{path: theirs.npy, name: raw}": "another baseline is called 'raw'",
        "{path: study.yaml}": r"a file of embeddings should end in .npy, .npz, .parquet",
    }.items():
        path.write_text(path.read_text().split("baselines:")[0] + f"baselines: [{wrong}]\n")
        with pytest.raises(StudyFileError, match=r"study.yaml:10: .*" + words):
            siamkit.tune(path, progress="none")
    np.save(tmp_path / "theirs.npy", theirs[1:])
    path.write_text(path.read_text().split("baselines:")[0] + "baselines: [{path: theirs.npy}]\n")
    with pytest.raises(StudyFileError, match="a row for each of 60 items, got 59"):
        siamkit.tune(path, progress="none")


def test_a_model_from_elsewhere_is_a_baseline(tmp_path: Path, rng) -> None:
    import keras

    y = np.arange(60) % 3
    x = np.concatenate([np.eye(3)[y] * 5, rng.normal(size=(60, 2)) * 50], axis=1)
    # A model of siamkit prepares items itself, whatever the study does; one of Keras gets them as they are.
    ours = siamkit.build("linear", "cosine", "triplet", embedding_dim=3, input_shape=(5,), normalize=False)
    inputs = keras.Input((5,))
    theirs = keras.Model(inputs, keras.layers.Dense(3, use_bias=False)(inputs))
    for kernel in (ours.encoder.trainable_variables[0], theirs.trainable_variables[0]):
        kernel.assign(np.eye(5, 3, dtype="float32"))  # the noise is left out
    ours.preprocessor = fit_preprocessor(Dataset((x.astype("float32"),), y, "labels", "vector"))
    ours.save(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    more = "baselines: [raw, {path: ours.keras}, {path: theirs.keras, name: keras}]\n"
    results = siamkit.tune(write(tmp_path, x, y, more=more), progress="none")
    by_name = {each.name: each for each in results.baselines}
    assert set(by_name) == {"raw", "chance", "ours", "keras"}
    for name in ("ours", "keras"):
        assert by_name[name].valid["map_at_r"] == by_name[name].test["map_at_r"] == 1.0
        assert by_name[name].dim == 3
    assert by_name["raw"].valid["map_at_r"] < 1.0


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("other", r"cannot embed the items of this study \(vector\): .*\(.*5.*\).*3"),
        ("images", r"cannot embed the items of this study \(vector\): .*image"),
        ("broken", r"broken.keras' is not a siamkit model file, or it is damaged"),
    ],
)
def test_a_model_of_other_items_is_refused_before_the_search(
    tmp_path: Path, rng, model: str, words: str
) -> None:
    import keras

    inputs = keras.Input((5,))
    keras.Model(inputs, keras.layers.Dense(3)(inputs)).save(tmp_path / "other.keras")
    images = siamkit.build("cnn", "cosine", "triplet", embedding_dim=3, input_shape=(8, 8, 1))
    pixels = np.zeros((4, 8, 8, 1), "uint8")
    images.preprocessor = fit_preprocessor(Dataset((pixels,), np.arange(4) % 2, "labels", "image"))
    images.save(tmp_path / "images.keras")
    (tmp_path / "broken.keras").write_text("not a model")
    more = f"baselines: [{{path: {model}.keras}}]\n"
    path = write(tmp_path, rng.normal(size=(40, 3)), np.arange(40) % 2, more=more)
    with pytest.raises(DataError) as error:
        siamkit.tune(path, progress="none")
    assert re.search(words, str(error.value))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "runs").exists()


def test_a_split_is_evaluated_as_siamkit_evaluate_does(rng) -> None:
    x, y = rng.normal(size=(30, 4)).astype("float32"), np.arange(30) % 3
    groups = frozenset({"retrieval"})
    got = evaluate_split(x, y, "labels", plain_metric("euclidean"), groups).measures["map_at_r"]
    assert got == pytest.approx(evaluate_labels(x, y, "euclidean", groups=groups).measures["map_at_r"])


def test_with_folds_a_baseline_is_fitted_and_judged_on_each(tmp_path: Path, rng) -> None:
    y = np.arange(120) % 8
    x = np.eye(8)[y] + rng.normal(size=(120, 8))
    file = write(tmp_path, x, y, more="baselines: [pca]\n")
    by_item, by_class = "{train: 0.4, valid: 0.3, test: 0.3}", "{by: class, test: [6, 7], folds: 3}"
    text = file.read_text().replace(by_item, by_class).replace("seeds: 3", "seeds: 1")
    file.write_text(text)
    results = siamkit.tune(file, progress="none")
    pca = next(each for each in results.baselines if each.name == "pca")
    record = RunFolder(results.folder).snapshot().data.split.folds
    folds = [np.isin(y, [int(str(name)) for name in fold]) for fold in record]
    known = y < 6
    scaled = (x - x[known].mean(0)) / x[known].std(0)
    values, on_test = [], []
    for fold in folds:
        center = scaled[known & ~fold].mean(0)
        axes = np.linalg.svd(scaled[known & ~fold] - center, full_matrices=False)[2]
        found = (scaled - center) @ axes.T
        values.append(map_at_r(found[fold], y[fold], pca.metric))
        on_test.append(map_at_r(found[~known], y[~known], pca.metric))
    assert [each["map_at_r"] for each in pca.folds] == pytest.approx(values, abs=1e-4)
    assert pca.valid["map_at_r"] == pytest.approx(np.mean(values), abs=1e-4)
    assert pca.test is not None
    assert pca.test["map_at_r"] == pytest.approx(np.mean(on_test), abs=1e-4)
    files = RunFolder(results.folder).baseline("pca")
    assert sorted(pq.read_table(files.queries).column("id").to_pylist(), key=int) == [
        str(row) for row in np.flatnonzero(known)
    ]
    assert pq.read_table(files.test_queries).column("map_at_r").to_numpy().mean() == pytest.approx(
        np.mean(on_test), abs=1e-4
    )


def map_at_r(embeddings: np.ndarray, labels: np.ndarray, metric: str) -> float:
    """MAP@R by a loop over the queries, as the Reality Check defines it."""
    if metric == "cosine":
        embeddings = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    scores = []
    for row, label in enumerate(labels):
        distances = np.linalg.norm(embeddings - embeddings[row], axis=1)
        order = [each for each in np.argsort(distances, kind="stable") if each != row]
        r = int((labels == label).sum()) - 1
        hits = labels[order[:r]] == label
        scores.append(sum(hits[: i + 1].mean() for i in range(r) if hits[i]) / r)
    return float(np.mean(scores))
