"""What a study does to its data before the first trial: classes left out, texts cut, splits of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import siamkit
from siamkit.errors import StudyFileError
from siamkit.report.checks import notes_on_data
from siamkit.runs.results import Snapshot
from siamkit.study.config.load import load_study
from siamkit.study.results.export import export_best
from siamkit.study.worker.prepared_data import prepare_data
from siamkit.study.worker.shared_arrays import map_data, pack, unpack, write_data

STUDY = """\
version: 1
name: tiny
seed: 1
data: {DATA}
search: {encoder: ENCODER, metric: cosine, loss: contrastive}
"""


def prepared(folder: Path, data: str, encoder: str = "bag") -> tuple[Any, list[str]]:
    """Prepare the data of a study; return them, and what a user is told before training."""
    (folder / "study.yaml").write_text(STUDY.replace("DATA", data).replace("ENCODER", encoder))
    task, _ = prepare_data(load_study(folder / "study.yaml"), overlap=True)
    snapshot = Snapshot.model_validate(
        {"objectives": task.objectives, "data": task.record, "overlap": task.overlap}
    )
    return task, notes_on_data(snapshot)


def items(folder: Path, *sizes: int) -> None:
    """Write a table with this many items of each class."""
    target = np.repeat(np.arange(len(sizes)), sizes)
    np.savez(folder / "items.npz", x=np.random.default_rng(0).normal(size=(len(target), 4)), y=target)


SPLIT = "split: {train: 0.5, valid: 0.25, test: 0.25}"


def test_classes_with_few_items_are_left_out_and_told(tmp_path: Path) -> None:
    # Of 3 items, half are 1 or 2 for training; classes 3 and 4 go before the split.
    items(tmp_path, 20, 20, 3, 1, 1)
    _, told = prepared(tmp_path, f"path: items.npz, {SPLIT}", "mlp")
    assert told == []
    task, told = prepared(tmp_path, f"path: items.npz, {SPLIT}, min_items_per_class: 2", "mlp")
    left_out = task.record["left_out"]
    assert (left_out["classes"], left_out["items"]) == (2, 2)
    assert np.unique(task.train.target, return_counts=True)[1].min() >= 2
    assert task.needs["num_classes"] == len(np.unique(task.train.target)) == 3 - left_out["train_classes"]
    assert task.record["split"]["counts"]["train"] == len(task.train)
    assert told[0].startswith("Left out by min_items_per_class: 2 classes with fewer than 2 items (2 items)")
    strict, told = prepared(tmp_path, f"path: items.npz, {SPLIT}, min_items_per_class: 3", "mlp")
    assert strict.needs["num_classes"] == 2
    assert strict.record["left_out"]["train_classes"] == 1
    assert "1 class with fewer than 3 training items, only of training" in told[0]


def test_images_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (4, 4), (number * 9, 0, 0)).save(tmp_path / f"photos/{label}/{number}.png")
    (tmp_path / "photos/a/bad.png").write_bytes(b"no image")
    source = "path: photos, skip_unreadable: true"
    task, told = prepared(tmp_path, f"{source}, {SPLIT}", "mlp")
    assert task.record["items"] == 16
    assert told[0].startswith("1 of 17 images")
    assert "a/bad.png" in told[0]


def test_classes_of_pairs_cannot_be_left_out(tmp_path: Path) -> None:
    pairs(tmp_path, ["a", "b"] * 10, ["x", "y"] * 10)
    with pytest.raises(StudyFileError, match=r"data\.min_items_per_class: is for labels, the data are pairs"):
        prepared(tmp_path, "path: pairs.csv, min_items_per_class: 2")
    items(tmp_path, *[1] * 9)
    with pytest.raises(StudyFileError, match="every class has fewer than 2 items"):
        prepared(tmp_path, "path: items.npz, min_items_per_class: 2", "mlp")
    items(tmp_path, 20, 20)
    with pytest.raises(
        StudyFileError, match=r"data\.text: max_length is for texts and token ids, the data are vec"
    ):
        prepared(tmp_path, "path: items.npz, text: {max_length: 9}", "mlp")


def pairs(folder: Path, left: list[str], right: list[str]) -> None:
    rows = [f"{a},{b},{row // 2 % 2}" for row, (a, b) in enumerate(zip(left, right, strict=True))]
    (folder / "pairs.csv").write_text("\n".join(["left,right,target", *rows]) + "\n")


def test_long_texts_are_cut_and_told(tmp_path: Path) -> None:
    texts = ["running shoes", "red hat", "blue hat", "straw hat"] * 10
    pairs(tmp_path, texts, [*texts[:-1], "w" * 300])
    task, told = prepared(tmp_path, f"path: pairs.csv, {SPLIT}, text: {{max_length: 12}}")
    assert task.needs["max_length"] == 12
    counts = task.record["altered"]
    assert sum(part["items"] for part in counts.values()) == 80
    assert sum(part["cut"] for part in counts.values()) == 10 + 10 + 1  # " running shoes" has 14 bytes
    assert any(
        "pieces, and the model takes 12. To keep them whole, set data: {text:" in note for note in told
    )
    task, told = prepared(tmp_path, f"path: pairs.csv, {SPLIT}, text: {{max_length: 301, dropout: 0}}")
    assert "altered" not in task.record
    assert task.preprocessor.dropout == 0


def test_pairs_that_share_items_are_told_with_a_split_that_works(tmp_path: Path) -> None:
    queries = [f"query {n // 4}" for n in range(80)]
    pairs(tmp_path, queries, [f"answer {n}" for n in range(80)])
    _, told = prepared(tmp_path, f"path: pairs.csv, {SPLIT}")
    assert "test pairs have an item that is also in train" in told[0]
    assert told[0].endswith("To keep every item in one split, write split: {by: components}.")
    task, told = prepared(tmp_path, "path: pairs.csv, split: {by: components}")
    assert told == []
    assert task.record["split"]["by"] == "components"
    assert task.record["split"]["groups"] == {"train": 12, "valid": 4, "test": 4}
    # All pairs are linked where every query has the same answer; the queries can be kept apart.
    pairs(tmp_path, queries, ["yes"] * 80)
    _, told = prepared(tmp_path, f"path: pairs.csv, {SPLIT}")
    assert "100% of the pairs are linked by shared items" in told[0]
    assert told[0].endswith("write split: {by: {side: left}}.")
    task, _ = prepared(tmp_path, "path: pairs.csv, split: {by: {side: left}}")
    assert task.record["split"]["counts"] == {"train": 48, "valid": 16, "test": 16}
    with pytest.raises(StudyFileError, match=r"data.split: .* at least 3 groups .* by components"):
        prepared(tmp_path, "path: pairs.csv, split: {by: components}")
    task, _ = prepared(tmp_path, "path: pairs.csv, split: {by: left}")  # a plain name is a column
    assert task.record["split"]["by"] == "left"
    assert len(task.record["split"]["values"]["test"]) == 4


@pytest.mark.keras
@pytest.mark.one_backend
def test_a_study_of_texts_repeats_and_its_card_tells_what_was_cut(tmp_path: Path) -> None:
    nouns, kinds = ["shoes", "hat", "coat", "belt"], ["running", "straw", "blue", "warm", "old"]
    texts = [f"{kind} {noun} {n}" for n in range(12) for noun in nouns for kind in kinds]
    measures = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        pairs(folder, texts, [*texts[1:], "w" * 60])
        more = """
fixed: {epochs: 2, batch_size: 16, embedding_dim: 4}
budget: {trials: 1}
confirm: null
engine: inline
"""
        text = STUDY.replace("DATA", "path: pairs.csv, text: {max_length: 30, dropout: 0.3}").replace(
            "ENCODER", "bag"
        )
        (folder / "study.yaml").write_text(text + more)
        results = siamkit.tune(folder / "study.yaml", progress="none")
        measures.append(results.measures["valid"])
    first, second = ({name: m for name, m in each.items() if name != "ms_per_item"} for each in measures)
    assert first == pytest.approx(second, rel=0, abs=0, nan_ok=True)
    sentence = "1 of 480 texts were cut: the longest has 61 pieces, and the model takes 30"
    assert [check.sentence for check in results.checks if check.name == "altered"] == [
        f"{sentence}. To keep them whole, set data: {{text: {{max_length: 61}}}}."
    ]
    export_best(load_study(folder / "study.yaml"), tmp_path / "export")
    assert sentence in (tmp_path / "export" / "README.md").read_text()
    assert sentence in (folder / "runs" / "tiny" / "report.html").read_text()


@pytest.mark.parametrize("rule", ["item", "components"])
def test_a_column_with_the_name_of_a_rule_is_refused(tmp_path: Path, rule: str) -> None:
    target = np.repeat(np.arange(3), 20)
    x = np.random.default_rng(0).normal(size=(60, 4))
    np.savez(tmp_path / "items.npz", x=x, y=target, **{rule: np.arange(60) % 12})
    with pytest.raises(StudyFileError, match=f"by: {rule} is the name of a rule, and the data also"):
        prepared(tmp_path, f"path: items.npz, split: {{by: {rule}}}", "mlp")
    prepared(tmp_path, "path: items.npz", "mlp")  # by item, the default


FOLDS = "split: {by: class, test: 0.25, folds: 3}"


def test_each_fold_is_validated_on_once_and_trained_on_else(tmp_path: Path) -> None:
    items(tmp_path, *range(5, 13))  # 8 classes
    task, _ = prepared(tmp_path, f"path: items.npz, {FOLDS}", "mlp")
    assert task.folds == 3
    rows = {label: np.flatnonzero(np.load(tmp_path / "items.npz")["y"] == label) for label in range(8)}
    x = np.load(tmp_path / "items.npz")["x"]
    seen: list[int] = []
    for number in range(3):
        data = task.of_fold(number)
        valid, train = set(data.valid.target.tolist()), set(data.train.target.tolist())
        assert valid == {int(name) for name in task.record["split"]["folds"][number]}
        assert not valid & (train | set(data.test.target.tolist()))
        assert valid | train == set(range(8)) - set(data.test.target.tolist())
        assert data.needs["num_classes"] == len(train)
        for part in (data.train, data.valid):  # each item with its own label and name
            for label in np.unique(part.target):
                of_class = part.target == label
                assert part.ids[of_class].tolist() == [str(row) for row in rows[label]]
        scale = task.preprocessor  # one for all folds
        np.testing.assert_array_equal(data.valid.views[0], scale(x[data.valid.ids.astype(int)]))
        seen += valid
    assert sorted(seen) == sorted(set(range(8)) - set(task.test.target.tolist()))


def test_folds_reach_workers(tmp_path: Path) -> None:
    items(tmp_path, *range(5, 13))
    task, _ = prepared(tmp_path, f"path: items.npz, {FOLDS}", "mlp")
    write_data(task, tmp_path / "data")
    for there in (map_data(tmp_path / "data"), unpack(pack(tmp_path / "data"))):
        for number in range(3):
            here, away = task.of_fold(number), there.of_fold(number)
            assert away.valid.ids.tolist() == here.valid.ids.tolist()
            np.testing.assert_array_equal(away.train.views[0], here.train.views[0])
            assert away.needs["num_classes"] == here.needs["num_classes"]


@pytest.mark.parametrize(
    ("split", "sentence"),
    [
        ("{by: item, folds: 4}", "has folds, which need by: class"),
        ("{by: class, folds: 4, train: 0.5}", "leave train and valid out"),
        ("{by: class, folds: 1}", "folds: should be at least 2, got 1"),
        ("{by: class, folds: 4}", "4 folds need 2 classes each: 8 that are not in test, got 6"),
    ],
)
def test_folds_that_do_not_fit_are_refused(tmp_path: Path, split: str, sentence: str) -> None:
    items(tmp_path, *range(5, 13))
    with pytest.raises(StudyFileError, match=sentence):
        prepared(tmp_path, f"path: items.npz, split: {split}", "mlp")
