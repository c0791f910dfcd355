"""Data and studies given as Python objects: what they become, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from siamkit.data.dataset import Dataset
from siamkit.errors import DataError, StudyError, StudyFileError
from siamkit.runs.run_folder import RunFolder
from siamkit.study.config.given import (
    given_dataset,
    given_document,
    given_folder,
    stored_data,
    with_data,
    with_path,
    write_study,
)
from siamkit.study.config.load import load_study, read_data, resolve_study


def store_data(dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Store data as if their study had started, so that they stay."""
    with stored_data(dataset, folder) as section:
        RunFolder(folder).snapshot_file.write_text("{}")
    return section


RNG = np.random.default_rng(0)
LABELS = np.arange(12) % 3
STUDY: dict[str, Any] = {
    "version": 1,
    "name": "given",
    "data": {"path": "old.npz", "split": {"by": "class"}, "input": "vector"},
    "search": {"encoder": "mlp", "metric": "cosine", "loss": "triplet"},
}

FRAME = pd.DataFrame({"height": RNG.normal(size=12), "colour": ["red", None, "blue"] * 4})
ITEMS: dict[str, tuple[Any, str]] = {
    "vector": (RNG.normal(size=(12, 4)).astype(np.float32), "vector"),
    "numeric frame": (pd.DataFrame(RNG.normal(size=(12, 2)), columns=["a", "b"]), "vector"),
    "image": (RNG.integers(0, 255, (12, 8, 8, 3)).astype(np.uint8), "image"),
    "series": (RNG.normal(size=(12, 20, 2)), "series"),
    "tokens": (RNG.integers(0, 9, (12, 5)), "tokens"),
    "series of texts": (pd.Series([f"text {number}" for number in range(12)]), "text"),
    "objects": (np.array([f"text {number}" for number in range(12)], dtype=object), "text"),
    "column of texts": (pd.DataFrame({"x": [f"text {number}" for number in range(12)]}), "text"),
    "column of numbers": ({"x": np.arange(12.0)}, "vector"),
    "text": ([f"text, {number}" for number in range(12)], "text"),
    "frame": (FRAME, "tabular"),
    "dict": ({"height": list(FRAME["height"]), "colour": ["red", "", "blue"] * 4}, "tabular"),
}


@pytest.mark.parametrize("name", ITEMS)
def test_labelled_items_are_the_same_when_a_study_reads_them(name: str, tmp_path: Path) -> None:
    items, kind = ITEMS[name]
    dataset = given_dataset((items, LABELS))
    assert (dataset.input, dataset.supervision) == (kind, "labels")
    read = read_data(store_data(dataset, tmp_path), Path())
    assert (read.input, read.supervision) == (kind, "labels")
    assert list(map(str, np.asarray(read.target))) == list(map(str, LABELS))
    for expected, actual in zip(dataset.views, read.views, strict=True):
        if isinstance(expected, dict):
            assert isinstance(actual, dict)
            assert list(expected) == list(actual)
            pairs = [(expected[key], actual[key]) for key in expected]
        else:
            pairs = [(expected, actual)]
        for ours, theirs in pairs:
            if ours.dtype.kind in "biuf":
                np.testing.assert_array_equal(ours, theirs)
            else:
                assert list(map(str, ours)) == ["" if each is None else str(each) for each in theirs]


@pytest.mark.parametrize("name", ["vector", "text", "frame"])
@pytest.mark.parametrize(
    ("targets", "supervision"), [(LABELS % 2, "pairs"), (np.linspace(0, 1, 12), "scores")]
)
def test_pairs_stay_pairs(name: str, targets: Any, supervision: str, tmp_path: Path) -> None:
    items, kind = ITEMS[name]
    dataset = given_dataset((items, items, targets))
    read = read_data(store_data(dataset, tmp_path), Path())
    assert (read.input, read.supervision, len(read.views)) == (kind, supervision, 2)
    np.testing.assert_allclose(np.asarray(read.target), targets)


def test_the_columns_of_pairs_go_together_by_name(tmp_path: Path) -> None:
    numbers = {"a": np.arange(12.0), "b": np.arange(12.0) + 0.5}
    for left in (numbers, {**numbers, "c": ["red", "blue"] * 6}):
        right = dict(reversed(left.items()))
        read = read_data(
            store_data(given_dataset((left, right, LABELS % 2)), tmp_path / f"{len(left)}"), Path()
        )
        if isinstance(read.views[0], dict):  # the names are those of the left columns, as `embed` gets them
            assert [list(view) for view in read.views] == [["a", "b", "c"]] * 2
            read_views = [np.stack([view["a"], view["b"]], axis=1) for view in read.views]  # type: ignore[index]
        else:
            read_views = list(read.views)  # type: ignore[arg-type]
        expected = np.stack([numbers["a"], numbers["b"]], axis=1)
        for view in read_views:
            np.testing.assert_array_equal(view, expected)


def test_the_names_of_right_columns_do_not_hide_left_ones(tmp_path: Path) -> None:
    side = {"a": ["x"] * 12, "right_a": ["y"] * 12}
    dataset = given_dataset((side, {"a": ["z"] * 12, "right_a": ["w"] * 12}, LABELS % 2))
    left, right = read_data(store_data(dataset, tmp_path), Path()).views
    assert [(left[name][0], right[name][0]) for name in side] == [("x", "z"), ("y", "w")]  # type: ignore[index]


def test_a_column_to_split_by_does_not_hide_the_items(tmp_path: Path) -> None:
    dataset = Dataset((ITEMS["vector"][0],), LABELS, "labels", "vector", {"x": np.arange(12)})
    with pytest.raises(DataError, match="should not be called 'x'"):
        store_data(dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_columns_to_split_by_are_stored_too(tmp_path: Path) -> None:
    columns = {"site": np.array(["a", "b"] * 6, dtype=object)}
    dataset = Dataset((ITEMS["vector"][0],), LABELS, "labels", "vector", columns)
    read = read_data(store_data(dataset, tmp_path), Path())
    assert list(read.columns["site"]) == ["a", "b"] * 6


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (5, "data should be a path, a siamkit.Dataset, (x, labels), or (a, b, targets)"),
        ((np.ones((3, 2)),), "(x, labels)"),
        ((np.ones((3, 2)), [0, 1]), "view 1 holds 3 items but the target 2"),
        (
            (np.ones((3, 2)), ["a"] * 3, [0, 1, 1]),
            "of one kind, got text and vector",
        ),
        ((np.ones((3, 2)), np.ones((3, 2)), [-1, 1, 1]), "the targets should be 1 (alike) or 0 (not)"),
        ((np.ones((3, 2)), [0, None, 1]), "missing"),
        ((np.ones((3, 2)),) * 4, "got 4 values"),
        (
            ([np.ones((4, 4, 3)), np.ones((5, 5, 3))], [0, 1]),
            "x should be an array, got list: its items differ in shape",
        ),
        ((np.ones(3), [0, 1, 1]), "x should be an array such as (n, features)"),
        (((row for row in "abc"), [0, 1, 1]), "got generator"),
        ((["a", None, "b"], [0, 1, 1]), "x should not be missing, but 1 of 3 are"),
        (({"a": [1, 2, 3], "b": [1, 2]}, [0, 1, 1]), "should have one length, got 'a' 3, 'b' 2"),
        (({"1": [1, 2, 3], 1: [1, 2, 3]}, [0, 1, 1]), "should name each column once, got '1' twice"),
        (
            (pd.DataFrame({"day": pd.date_range("2020", periods=3)}), [0, 1, 1]),
            "column 'day' of x should be numbers or texts, got datetime64",
        ),
    ],
)
def test_data_that_could_mean_something_else_are_refused(data: Any, words: str) -> None:
    with pytest.raises(DataError) as caught:
        given_dataset(data)
    assert words in str(caught.value)


def test_only_the_data_of_a_started_study_stay(tmp_path: Path) -> None:
    folder = tmp_path / "runs/study"
    dataset = given_dataset((ITEMS["vector"][0], LABELS))
    with stored_data(dataset, folder) as section:
        assert Path(str(section["path"])).is_file()
    assert list(tmp_path.iterdir()) == []
    store_data(dataset, folder)
    assert (folder / "data.npz").is_file()


def test_data_are_not_replaced(tmp_path: Path) -> None:
    dataset = given_dataset((ITEMS["vector"][0], LABELS))
    other = given_dataset((ITEMS["vector"][0] + 1, LABELS))
    texts = given_dataset((ITEMS["text"][0], LABELS))
    np.savez(tmp_path / "data.npz", x=np.ones(3))  # a file of the user
    before = (tmp_path / "data.npz").read_bytes()
    with pytest.raises(StudyError, match="holds other data than those given"):
        store_data(dataset, tmp_path)
    assert (tmp_path / "data.npz").read_bytes() == before
    store_data(dataset, tmp_path / "run")
    before = (tmp_path / "run/data.npz").read_bytes()
    assert store_data(dataset, tmp_path / "run")["path"] == str(tmp_path / "run/data.npz")
    for wrong in (other, texts):
        with pytest.raises(StudyError, match="holds other data than those given"):
            store_data(wrong, tmp_path / "run")
    assert (tmp_path / "run/data.npz").read_bytes() == before
    assert not (tmp_path / "run/data.parquet").exists()


def test_a_run_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"data.npz' cannot be written: (Not a directory|File exists)"):
        store_data(given_dataset((ITEMS["vector"][0], LABELS)), tmp_path / "file")


def test_a_name_that_no_study_file_can_hold_is_refused(tmp_path: Path) -> None:
    for name in ("a, b", "", " a"):
        dataset = given_dataset(({name: ["x"] * 12, "c": ["y"] * 12}, LABELS))
        with pytest.raises(DataError, match="should not be empty, and have no comma"):
            store_data(dataset, tmp_path)


def test_a_study_keeps_its_split_and_gets_the_data() -> None:
    document = with_data(given_document(STUDY), {"path": "new.csv", "label": "y"})
    assert document.data["data"] == {"split": {"by": "class"}, "path": "new.csv", "label": "y"}
    assert STUDY["data"]["path"] == "old.npz"


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (
            {"path": "old.csv", "label": "y", "split": {"by": "class"}},
            {"label": "y", "split": {"by": "class"}},
        ),
        ({"path": "old", "source": {"image_folder": {}}}, {"source": {"image_folder": {}}}),
        ({"label": "y"}, {"label": "y"}),
        ({"source": "digits", "split": {"by": "item"}}, {"split": {"by": "item"}}),
        ("digits", {}),
        (None, {}),
    ],
)
def test_another_file_is_read_in_the_same_way(data: Any, kept: Any) -> None:
    document = with_path(given_document({**STUDY, "data": data}), Path("new.csv"))
    assert document.data["data"] == {**kept, "path": str(Path("new.csv").resolve())}


def test_the_problems_of_a_dict_have_no_lines() -> None:
    search = {**STUDY["search"], "loss": "tripletx"}
    with pytest.raises(StudyFileError) as caught:
        resolve_study(given_document({**STUDY, "search": search}), data_required=False)
    assert str(caught.value).startswith("the study: search.loss: unknown loss 'tripletx'; did you mean ")


def test_the_run_folder_of_data_in_memory(tmp_path: Path) -> None:
    assert given_folder(None, None) == Path("runs/study")
    assert given_folder(given_document(STUDY), None) == Path("runs/given")
    assert given_folder(given_document(STUDY), tmp_path) == tmp_path
    with pytest.raises(StudyError, match="should be on this machine"):
        given_folder(given_document({**STUDY, "artifacts": "s3://bucket/x"}), None)


def test_the_command_line_can_read_a_study_given_in_python(tmp_path: Path) -> None:
    section = store_data(given_dataset((ITEMS["vector"][0], LABELS)), tmp_path / "runs/given")
    document = with_data(given_document(STUDY), section)
    write_study(document, tmp_path / "runs/given")
    study = load_study(tmp_path / "runs/given/study.yaml")
    assert study.folder == tmp_path / "runs/given"
    assert study.load_data().input == "vector"
