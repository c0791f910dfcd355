"""After a study: best, its export, retrain."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click.testing
import keras
import numpy as np
import pytest

import siamkit
from siamkit.cli import main
from siamkit.data import load_preprocessor
from siamkit.data.sources import digits
from siamkit.errors import ModelError, StudyError
from siamkit.export import _child, formats
from siamkit.export.formats import in_float32
from siamkit.study.api import retrain_trial
from siamkit.study.config.load import load_study
from siamkit.study.results.export import export_best
from siamkit.study.results.results import Results

pytestmark = [pytest.mark.keras, pytest.mark.one_backend]

STUDY = """\
version: 1
baselines: null
name: tiny
seed: 3
data: {source: digits, split: {by: class, train: 0.5, valid: 0.2, test: 0.3}, limit: {train: 80, valid: 40}}
fixed: {batch_size: 40, epochs: 2, embedding_dim: 4, learning_rate: 0.01}
search:
  encoder: {mlp: {depth: 1, width: 8, dropout: 0.0}}
  metric: mahalanobis
  loss: {triplet: {mining: all, margin: {low: 0.1, high: 0.5}}}
budget: {trials: 1}
confirm: CONFIRM
engine: inline
"""


# TensorFlow is here for its writers alone, so any model does.
IS_TENSORFLOW = keras.backend.backend() == "tensorflow"
FORMATS = ("onnx", "saved_model") if IS_TENSORFLOW else ("onnx",)
CONFIRM = "null" if IS_TENSORFLOW else "{top: 1, seeds: 2}"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("afterwards") / "study.yaml"
    path.write_text(STUDY.replace("CONFIRM", CONFIRM))
    return path


@pytest.fixture(scope="module")
def results(study: Path) -> Results:
    return siamkit.tune(study, progress="none")


@pytest.fixture(scope="module")
def exported(study: Path, results: Results) -> tuple[Path, dict[str, Any]]:
    """The best model with its encoder as ONNX; where TensorFlow runs already, as SavedModel too."""
    folder = study.parent / "out"
    return folder, export_best(load_study(study), folder, FORMATS)


def invoke(*arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(main, [str(each) for each in arguments])


def refusal(*arguments: str) -> str:
    ran = invoke(*arguments)
    assert ran.exit_code == 2, (ran.output, ran.exception)
    assert "Traceback" not in ran.output
    return ran.stderr


def snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


# -------------------------------------------------------------------- best


def test_best_is_what_tune_found(study: Path, results: Results) -> None:
    told = json.loads(invoke("best", study, "--json").stdout)
    assert told["factors"] == results.factors
    for part, found in results.measures.items():
        expected = {name: None if np.isnan(value) else value for name, value in found.items()}
        assert told["figures"][part] == pytest.approx(expected)
    means = np.mean([each["valid"]["map_at_r"] for each in told["repeats"]])
    assert told["figures"]["valid"]["map_at_r"] == pytest.approx(means)
    assert Path(told["model"]).read_bytes() == results.model_path.read_bytes()
    shown = invoke("best", study).stdout
    assert "confirmed winner is trial" in shown
    assert f"{results.measures['test']['map_at_r']:.4f}" in shown


@pytest.mark.one_backend("torch", "tensorflow")  # each has writers of its own
def test_the_export_embeds_as_the_model_does(results: Results, exported: tuple[Path, dict[str, Any]]) -> None:
    import onnxruntime

    folder, _ = exported
    raw = digits().views[0][:70]
    model = results.load_model()
    expected = model.embed(raw)
    np.testing.assert_array_equal(siamkit.load_model(folder / "model.keras").embed(raw), expected)
    # As the card says: the preprocessing by itself, then ONNX; one item as well as many.
    prepared = load_preprocessor(folder / "preprocessing")(raw)
    session = onnxruntime.InferenceSession(folder / "embedder.onnx")
    for some in (prepared, prepared[:1]):
        (embeddings,) = session.run(None, {"items": some})
        np.testing.assert_allclose(embeddings, expected[: len(some)], atol=1e-5)
    # By the numbers of model.json alone.
    scaling = json.loads((folder / "model.json").read_text())["preprocessing"]
    np.testing.assert_allclose((raw - scaling["mean"]) / scaling["std"], prepared, rtol=1e-5, atol=1e-6)
    # The learned metric by its formula: the distance under L.
    factor = np.load(folder / "metric.npz")["factor"]
    by_hand = np.linalg.norm((expected[:5] - expected[5:10]) @ factor, axis=1)
    np.testing.assert_allclose(model.compare(raw[:5], raw[5:10]), by_hand, rtol=1e-4)


@pytest.mark.one_backend("torch", "tensorflow")  # each has writers of its own
def test_each_export_was_run_and_compared(exported: tuple[Path, dict[str, Any]]) -> None:
    folder, about = exported
    assert tuple(about["exports"]) == FORMATS
    for name, told in about["exports"].items():
        file = {"onnx": "embedder.onnx", "saved_model": "saved_model"}[name]
        assert (told["file"], told["items"]) == (file, 40)
        assert 0 <= told["max_difference"] <= 1e-5
        assert told["relative_difference"] <= 1e-5
        assert (folder / file).exists()
    assert about["compared_on"] == "validation items"
    if IS_TENSORFLOW:
        from siamkit.backend.beyond_keras import run_saved_model

        items = load_preprocessor(folder / "preprocessing")(digits().views[0][:3])
        expected = siamkit.load_model(folder / "model.keras").embed(items, preprocessed=True)
        np.testing.assert_allclose(run_saved_model(str(folder / "saved_model"), items), expected, atol=1e-5)


def test_the_description_and_the_card_say_what_it_is(
    results: Results, exported: tuple[Path, dict[str, Any]]
) -> None:
    folder, _ = exported
    about = json.loads((folder / "model.json").read_text())
    model = results.load_model()
    assert about["threshold"] == model.threshold
    assert about["metric"]["name"] == "siamkit/mahalanobis"
    assert about["metric"]["orientation"] == "distance"
    assert about["input"] == [{"name": "items", "shape": [None, 8, 8, 1], "dtype": "float32"}]
    assert about["embedding_dim"] == 4
    assert about["versions"]["backend"] == keras.backend.backend()
    frozen = json.loads((results.folder / "study.json").read_text())
    card = (folder / "README.md").read_text()
    for said in (
        frozen["data"]["fingerprint"],
        f"{model.threshold:.6g}",
        f"{results.measures['test']['map_at_r']:.4f} (",  # the mean of two repeats, and their range
        "80 train, 40 valid",
        "mahalanobis",
        keras.__version__,
        "License",
        "embedder.onnx",
    ):
        assert said in card, said
    assert "None |" not in card  # what the recipe leaves to Keras


def test_a_folder_that_holds_something_is_left_alone(study: Path, results: Results, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    assert "already exists; choose a new or an empty folder" in refusal("best", study, "--export", tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]
    assert "--format needs --export FOLDER" in refusal("best", study, "--format", "onnx")


def test_an_export_that_fails_leaves_nothing(
    study: Path, results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "_ask", lambda *arguments: formats.ExportAnswer("it broke"))
    with pytest.raises(ModelError, match=r"onnx export failed: .*: it broke"):
        export_best(load_study(study), tmp_path / "out", ["onnx"])
    assert list(tmp_path.iterdir()) == []


def test_without_packages_for_a_format_the_sentence_says_what_to_install(
    study: Path, results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats.select, "installed", lambda: ["jax"])
    said = refusal("best", study, "--export", tmp_path / "out", "--format", "onnx")
    assert "can write onnx; pip install 'siamkit[export]', and the backend torch or tensorflow" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("off", [1e-6, 1e-2])
@pytest.mark.parametrize("rows", ["all", "one"])
def test_an_export_that_embeds_otherwise_is_no_export(
    off: float, rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = siamkit.build("mlp", "euclidean", embedding_dim=3, input_shape=(5,))
    model.save(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
    expected = model.embed(x, preprocessed=True)
    np.savez(tmp_path / "items.npz", y=expected, **{"x.items": x})

    def run(place: Path, items: Any) -> Any:
        assert place.exists()
        return expected[: len(items)] + (off if (len(items) == 1) == (rows == "one") else 0)

    monkeypatch.setitem(_child.RUNNERS, "onnx", run)
    monkeypatch.setitem(
        _child.WRITERS, ("onnx", keras.backend.backend()), (lambda encoder, place, items: place.touch(),)
    )
    request = formats.ExportRequest(
        model=str(tmp_path / "model.keras"),
        format="onnx",
        out=str(tmp_path / "out.onnx"),
        items=str(tmp_path / "items.npz"),
        is_dict=False,
        plugins=(),
        path=(),
        answer="",
    )
    answer = _child._answer(request)
    if off < 1e-4:
        assert answer.max_difference == pytest.approx(off, rel=0.1)
        assert answer.relative_difference == pytest.approx(off / np.abs(expected).max(), rel=0.1)
    else:
        assert "its embeddings differ from the model's by 0.01" in answer.error
    assert (tmp_path / "out.onnx").exists() == (off < 1e-4)


def test_a_model_of_mixed_precision_is_exported_in_float32() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = siamkit.get_encoder("mlp", embedding_dim=3, input_shape=(5,), width=8)
    finally:
        keras.config.set_dtype_policy("float32")
    plain = siamkit.get_encoder("mlp", embedding_dim=3, input_shape=(5,), width=8)
    plain.set_weights(mixed.get_weights())
    x = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
    made = in_float32(mixed)
    np.testing.assert_array_equal(made.predict(x, verbose=0), plain.predict(x, verbose=0))
    assert np.abs(mixed.predict(x, verbose=0) - made.predict(x, verbose=0)).max() > 0
    assert in_float32(plain) is plain


# ----------------------------------------------------------------- retrain


def test_a_trial_trained_again_comes_out_the_same(study: Path, results: Results, tmp_path: Path) -> None:
    before = snapshot(results.folder)
    made = tmp_path / "again.keras"
    ran = invoke("retrain", study, "--trial", "0", "-o", made, "--progress", "plain")
    assert ran.exit_code == 0, ran.output
    stored = next(each for each in results.trials if each.trial == 0)
    measure = f"{stored.measures['map_at_r']:.4f}"
    assert f"map_at_r    {measure}   in the study {measure}" in ran.stdout
    items = digits().views[0][:9]
    checkpoint = siamkit.load_model(results.folder / stored.folder / "checkpoint.keras")
    np.testing.assert_array_equal(siamkit.load_model(made).embed(items), checkpoint.embed(items))
    assert snapshot(results.folder) == before


def test_more_epochs_and_another_seed_make_another_model(
    study: Path, results: Results, tmp_path: Path
) -> None:
    from siamkit.study.monitoring.progress import NullProgress

    class Heard(NullProgress):
        def epoch(self, label: str, number: int, epochs: int, measures: dict[str, float]) -> None:
            heard.append((number, epochs))

    heard: list[tuple[int, int]] = []

    made = retrain_trial(load_study(study), 0, tmp_path / "more.keras", epochs=3, seed=1, progress=Heard())
    assert heard == [(1, 3), (2, 3), (3, 3)]
    assert (made.epochs, made.seed) == (3, 1)
    assert made.measures["map_at_r"] != made.before["map_at_r"]
    assert siamkit.load_model(made.path).threshold == made.measures["threshold"]


def test_what_retrain_cannot_do_is_refused(
    study: Path, results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "again.keras"
    assert "the study has no trial 9; choose from 0" in refusal("retrain", study, "--trial", "9", "-o", made)
    assert "should end in .keras" in refusal("retrain", study, "--trial", "0", "-o", tmp_path / "model.h5")
    below = tmp_path / "model.txt" / "again.keras"
    (tmp_path / "model.txt").touch()
    assert "cannot be written" in refusal("retrain", study, "--trial", "0", "-o", below)
    (tmp_path / "model.txt").unlink()
    made.touch()
    assert "already exists" in refusal("retrain", study, "--trial", "0", "-o", made)
    assert made.stat().st_size == 0
    elsewhere = ("--artifacts", tmp_path / "none")
    assert "no study has started in" in refusal(
        "retrain", study, "--trial", "0", "-o", made, "--force", *elsewhere
    )
    assert "no study has started in" in refusal("best", study, *elsewhere)
    # Ctrl-C in the middle of it: no half a model.
    os.remove(made)
    from siamkit.study.monitoring.progress import NullProgress

    class Stops(NullProgress):
        def epoch(self, label: str, number: int, epochs: int, measures: dict[str, float]) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retrain_trial(load_study(study), 0, made, progress=Stops())
    assert list(tmp_path.iterdir()) == []


def test_other_data_than_the_studys_are_not_trained_on(
    study: Path, results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = load_study(study)
    dataset = digits()
    entry = asked.source.entry
    monkeypatch.setattr(type(entry), "factory", lambda self: lambda: dataset.take(np.arange(1000)))
    with pytest.raises(StudyError, match="the data have changed since the study"):
        retrain_trial(asked, 0, tmp_path / "again.keras")
