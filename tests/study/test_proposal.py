"""Proposed studies: what fits which data, how the time is spent, and one that is run."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import siamkit
from siamkit.data.dataset import Dataset
from siamkit.errors import DataError, StudyError
from siamkit.runs.run_folder import RunFolder
from siamkit.study._proposal import LOSSES, METRICS, MIN_STEPS, MIN_TRIALS, SPACES, UNSEEN, Plan, Space
from siamkit.study.api import _relative, is_data, propose_study, study_file_for
from siamkit.study.config.load import load_study, resolve_study
from siamkit.study.config.yaml import parse_document
from siamkit.study.execution.forecast import Forecast
from siamkit.study.sampling.plan import check_plan
from siamkit.study.sampling.samplers import check_sampler
from siamkit.study.worker.trainer import Timing

RNG = np.random.default_rng(0)
BY_ITEM = {"path": "items.npz", "split": {"by": "item"}}
BY_CLASS = {"path": "items.npz", "split": {"by": "class"}}


def labelled(sizes: list[int]) -> Dataset:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return Dataset((RNG.normal(size=(len(labels), 3)),), labels, "labels", "vector")


# ---------------------------------------------------------------- what fits the data


@pytest.mark.parametrize(
    ("sizes", "data", "batch", "in_class"),
    [
        ([100] * 10, BY_ITEM, 64, 8),
        ([100] * 3, BY_ITEM, 24, 8),  # a batch has each class once
        ([20] * 60, BY_CLASS, 64, 8),
        ([4] * 200, BY_CLASS, 64, 4),
        ([4] * 12, BY_CLASS, 28, 4),  # 7 of the 12 classes are for training
        ([5] * 6, BY_ITEM, 18, 3),
        ([100] * 9 + [1], BY_ITEM, 64, 8),
        ([5, 5, 5, 1, 1, 1], BY_ITEM | {"min_items_per_class": 2}, 9, 3),  # the small ones are left out
    ],
)
def test_the_batch_fits_the_classes(
    sizes: list[int], data: dict[str, Any], batch: int, in_class: int
) -> None:
    plan = Plan.of("x", data, labelled(sizes))
    assert (plan.batch_size, plan.items_per_class) == (batch, in_class)


def test_classes_that_a_column_keeps_out_of_training_are_unseen() -> None:
    images, labels = RNG.normal(size=(80, 8, 8, 1)), np.repeat(np.arange(4), 20)
    parts = {
        "classes": np.repeat(["train", "train", "valid", "test"], 20),
        "items": np.tile(np.repeat(["train", "valid", "test"], [12, 4, 4]), 4),
    }
    data = Dataset((images,), labels, "labels", "image", columns=parts)
    unseen, seen = (Plan.of("x", {"path": "x.npz", "split": {"by": name}}, data) for name in parts)
    assert (unseen.space, seen.space) == (UNSEEN["image"], SPACES["image"])
    assert (unseen.batch_size, seen.batch_size) == (16, 32)  # of 2 classes, and of 4


def test_a_batch_of_pairs_is_not_larger_than_what_there_is_to_train_on() -> None:
    items = RNG.normal(size=(40, 3))
    pairs = Dataset((items, items), np.arange(40) % 2, "pairs", "vector")
    assert Plan.of("x", BY_ITEM, pairs).batch_size == 24
    assert "items_per_class" not in "\n".join(Plan.of("x", BY_ITEM, pairs).lines())


def test_an_encoder_that_needs_labels_is_not_proposed_for_pairs() -> None:
    items = RNG.normal(size=(40, 3))
    pairs = Dataset((items, items), np.arange(40) % 2, "pairs", "vector")
    assert Plan.of("x", BY_ITEM, pairs).space.encoders == ("linear_pca", "mlp")
    assert "linear_lda" in Plan.of("x", BY_ITEM, labelled([9] * 3)).space.encoders


@pytest.mark.parametrize(
    ("kind", "by"), [*((kind, "item") for kind in SPACES), *((kind, "class") for kind in UNSEEN)]
)
@pytest.mark.parametrize("supervision", LOSSES)
def test_a_study_of_each_kind_of_data_is_valid(kind: str, by: str, supervision: str, tmp_path: Path) -> None:
    space = (SPACES if by == "item" else UNSEEN)[kind]
    plan = Plan("x", {"source": "digits", "split": {"by": by}}, supervision, space)  # type: ignore[arg-type]
    document = parse_document("\n".join(plan.lines()), str(tmp_path / "study.yaml"))
    study = resolve_study(document, checks=[check_sampler, check_plan])
    assert study.config.fixed.steps == plan.steps
    # Each metric serves a loss, and each loss a metric: the file is checked for it.
    assert len(study.space.metric.alternatives) == METRICS[supervision].count(",") + 1  # type: ignore[index]


def test_names_and_paths_are_quoted_where_yaml_would_read_something_else() -> None:
    for name in ("my photos", "a: b #1", "true", "1e3", "- x", "ä/ö", "'", "a\nb"):
        plan = Plan("x", {"path": name, "split": {"by": "class"}, "n": 3}, "labels", SPACES["vector"])
        data = parse_document("\n".join(plan.lines()), "study.yaml").data["data"]
        assert data == {"path": name, "split": {"by": "class"}, "n": 3}


# ---------------------------------------------------------------- how the time is spent

PLAN = Plan.of("x", BY_ITEM, labelled([100] * 10))


def timed(start: float, step: float) -> Forecast:
    timing = Timing(start=start, step=step, evaluation=0.0, steps=PLAN.steps, evaluations=10)
    return Forecast({"mlp": timing}, trials=MIN_TRIALS, seeds=1, finals=9, share=0.5, workers=2)


def test_as_many_trials_as_fit_their_share_of_the_time() -> None:
    plan, found = PLAN.fitted(timed(1.01, 0.03), 600.0)  # 9.98 s each, 2 at a time
    assert (plan.steps, plan.trials, plan.limit) == (300, 36, 20.0 + 210.0)
    plan, found = PLAN.fitted(timed(10.0, 0.1), 600.0)  # 39.9 s each
    assert (plan.steps, plan.trials) == (300, 9)
    assert found.total < 600.0


def test_trainings_are_shorter_where_few_would_fit() -> None:
    plan, found = PLAN.fitted(timed(10.0, 0.3), 600.0)  # 99.7 s: 3 would fit
    assert (plan.steps, plan.trials) == (150, 6)  # 54.7 s
    assert found.timings["mlp"].steps == 150
    plan, found = PLAN.fitted(timed(10.0, 5.0), 600.0)  # however short, too long
    assert (plan.steps, plan.trials) == (MIN_STEPS, MIN_TRIALS)
    assert plan.limit == pytest.approx(20.0 + MIN_TRIALS * (10.0 + (MIN_STEPS - 1) * 5.0) / 2)
    assert found.total > 600.0


# ---------------------------------------------------------------- as a user does it


@pytest.fixture
def blobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Vectors of 4 classes, of which 2 of 12 dimensions tell."""
    monkeypatch.chdir(tmp_path)
    labels = np.repeat(np.arange(4), 25)
    x = RNG.normal(size=(100, 12))
    x[:, :2] = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])[labels] + RNG.normal(size=(100, 2)) * 0.1
    np.savez(tmp_path / "my blobs.npz", x=x.astype(np.float32), y=labels)
    return tmp_path / "my blobs.npz"


@pytest.mark.keras
@pytest.mark.one_backend
def test_a_proposed_study_runs_and_continues(blobs: Path) -> None:
    rows = dict(propose_study("my blobs.npz", time="20s", progress="none"))
    assert rows["study file"] == "study.yaml"
    assert re.match(
        r"\d{3} steps with 10 evaluations; linear_pca .*s, linear_lda .*s, mlp .*s$", rows["training"]
    )
    text = Path("study.yaml").read_text()
    assert "# A study that siamkit proposed" in text
    study = load_study("study.yaml")
    assert study.config.name == "my-blobs"
    assert study.config.budget.time >= 27.0
    assert study.config.budget.trials >= MIN_TRIALS
    with pytest.raises(StudyError, match=r"'study.yaml' already exists"):
        propose_study("my blobs.npz", progress="none")
    assert Path("study.yaml").read_text() == text
    file, rows_again = study_file_for("my blobs.npz", progress="none")
    assert (str(file), dict(rows_again)) == (
        "study.yaml",
        {"study file": "study.yaml (it exists, and is used)"},
    )
    np.savez("others.npz", x=np.ones((2, 2)), y=[0, 1])
    with pytest.raises(StudyError, match=r"is a study of other data, 'my blobs.npz'"):
        study_file_for("others.npz", progress="none")


@pytest.mark.keras
@pytest.mark.one_backend
def test_arrays_alone_give_an_answer(blobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siamkit.study._proposal.MIN_TRIALS", 1)
    monkeypatch.setitem(SPACES, "vector", Space(("linear_pca",), "8", steps=MIN_STEPS))  # type: ignore[misc]
    with np.load(blobs) as arrays:
        x, y = arrays["x"], arrays["y"]
    results = siamkit.tune(data=(x, y), time="5s", progress="none")
    assert results.folder == blobs.parent / "runs/study"
    assert results.measures["test"]["map_at_r"] > 0.0
    baselines = {baseline.name: baseline for baseline in RunFolder(results.folder).baselines()}
    assert baselines["raw"].value("map_at_r", "test") is not None
    assert load_study("runs/study/study.yaml").folder == results.folder

    def propose(*_: Any, **__: Any) -> None:
        raise AssertionError("times differ from call to call, so a second proposal would be another study")

    monkeypatch.setattr("siamkit.study.api.propose", propose)
    again = siamkit.tune(data=(x, y), time="5s", progress="none")
    assert (again.folder, len(again.trials)) == (results.folder, len(results.trials))
    with pytest.raises(StudyError, match="holds other data than those given"):
        siamkit.tune(data=(x + 1, y), time="5s", progress="none")
    with pytest.raises(AssertionError, match="times differ"):  # a study of other data is not continued
        siamkit.tune(data=blobs, artifacts="runs/study", progress="none")


def test_what_is_data_and_what_a_study(tmp_path: Path) -> None:
    assert is_data(tmp_path)
    assert is_data("x.NPZ")
    assert not is_data("study.yaml")
    assert not is_data("study.yml")


def test_a_study_file_of_something_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text, named in (("foo: bar\n", ""), ("data: {path: b.npz}\n", ", 'b.npz'")):
        Path("study.yaml").write_text(text)
        with pytest.raises(StudyError) as caught:
            study_file_for("my data.npz", progress="none")
        assert str(caught.value) == (
            f"'study.yaml' is a study of other data{named}; write one for these with `siamkit init "
            "'my data.npz' --output FILE`, and run that file"
        )


def test_a_study_file_that_was_written_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "study.yaml"

    def propose(*_: Any, **__: Any) -> SimpleNamespace:
        file.write_text("another")
        return SimpleNamespace(text="this one")

    monkeypatch.setattr("siamkit.study.api.propose", propose)
    with pytest.raises(StudyError, match="already exists"):
        propose_study(tmp_path, file)
    assert file.read_text() == "another"


def test_the_path_in_a_study_file_leads_to_the_data_also_behind_links(tmp_path: Path) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep/er")
    (tmp_path / "x.npz").touch()
    for data, folder in (("x.npz", "link"), ("link/../../x.npz", "."), ("x.npz", "deep")):
        path = _relative(tmp_path / data, tmp_path / folder)
        assert (tmp_path / folder / path).samefile(tmp_path / "x.npz")


def test_neither_study_nor_data() -> None:
    with pytest.raises(StudyError, match="a study file, a study as a dict, or data"):
        siamkit.tune()
    with pytest.raises(StudyError, match="a file or a dict, got tuple; pass data as `data=…`"):
        siamkit.tune((np.ones((3, 2)), [0, 1, 1]))  # type: ignore[arg-type]
    with pytest.raises(StudyError, match=r"time is for proposed studies; write budget: \{time: 2h\}"):
        siamkit.tune({"version": 1}, time="2h")
    with pytest.raises(StudyError, match="the time should be a duration such as 90s"):
        siamkit.tune(data="x.npz", time="soon")


@pytest.mark.keras
@pytest.mark.one_backend
def test_data_that_no_proposal_fits_are_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        siamkit.tune(data=(np.ones((3, 2)), [0, 1, 1]), progress="none")
    assert str(caught.value) == (
        "no study can be proposed for these data: train, valid and test need at least 3 items, got 2"
    )
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_for_data_without_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("x.npz", x=np.ones((9, 2)))
    with pytest.raises(DataError, match="the items have no labels, which a study needs"):
        propose_study("x.npz", progress="none")
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]
