"""Data as strangers have them: what `inspect` finds, guesses and advises; a study then reads them."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet
from selection import examples
from strangers_photos import CORRUPT, KINDS, write_photos

from siamkit.data import DataReport, Dataset, inspect
from siamkit.data.sources import image_folder
from siamkit.data.splits import options_for_labels
from siamkit.errors import DataError
from siamkit.study.config.load import load_study


def loaded(report: DataReport, folder: Path) -> Dataset:
    """The data as a study reads them, with what the report says to write under `data:`."""
    encoders = {"image": "cnn", "text": "bag", "tabular": "tabular", "tokens": "bag"}
    loss = "contrastive" if report.supervision == "pairs" else "triplet"
    if report.supervision == "scores":
        loss = "cosent"
    (folder / "study.yaml").write_text(
        f"version: 1\nname: s\ndata: {report.data!r}\n".replace("True", "true")
        + f"search: {{encoder: {encoders.get(report.input, 'mlp')}, metric: cosine, loss: {loss}}}\n"
    )
    return load_study(folder / "study.yaml").load_data()


# ------------------------------------------------------------------ photos


def test_photos_as_a_stranger_has_them(tmp_path: Path) -> None:
    readable = write_photos(tmp_path / "photos", per_class=(4, 6))
    report = inspect(tmp_path / "photos")
    assert (report.source, report.input, report.supervision) == ("image_folder", "image", "labels")
    assert report.items == readable
    assert report.classes is not None
    assert list(report.classes.sizes) == list(KINDS)
    on_disk = {kind: len(list((tmp_path / "photos" / kind).glob("IMG_*"))) for kind in KINDS}
    on_disk["drum"] -= 1
    assert report.classes.sizes == on_disk
    assert (report.classes.smallest, report.classes.largest) == (min(on_disk.values()), max(on_disk.values()))
    assert list(report.unreadable) == [CORRUPT]
    assert report.images is not None
    assert set(report.images.modes) <= {"RGB", "RGBA", "L", "P", "CMYK"}
    assert sum(report.images.modes.values()) == report.images.decoded == readable
    assert not report.images.are_grey
    assert report.duplicates.exact == report.duplicates.near == 0
    assert report.problems == ()
    assert report.data["skip_unreadable"]
    dataset = loaded(report, tmp_path)
    assert (len(dataset), dataset.views[0].shape[1:]) == (readable, report.shape)
    assert report.shape == (96, 96, 3)
    assert CORRUPT in report.text()
    for line in report.lines():
        assert line.endswith("."), line


def test_the_photos_depend_on_the_seed_alone(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_photos(tmp_path / name, seed, per_class=(2, 3))
    files = {
        name: {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in "abc"
    }
    assert files["a"] == files["b"] != files["c"]


def picture(path: Path, seed: int, size: tuple[int, int] = (40, 40), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    small.resize(size, Image.Resampling.BICUBIC).convert(mode).convert("RGB").save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for kind in range(3):
        for number in range(5):
            picture(tmp_path / f"photos/kind{kind}/{number}.png", 10 * kind + number)
    return tmp_path / "photos"


def test_copies_are_counted_within_and_across_classes(photos: Path) -> None:
    shutil.copy(photos / "kind0/0.png", photos / "kind0/copy.png")
    shutil.copy(photos / "kind0/0.png", photos / "kind1/copy.png")
    with Image.open(photos / "kind2/1.png") as image:
        image.save(photos / "kind2/again.jpg", quality=95)
    report = inspect(photos)
    copies = report.duplicates
    assert (copies.exact, copies.across, copies.near, copies.compared) == (2, 1, 1, 18)
    assert copies.examples[0] == ("kind0/0.png", "kind1/copy.png")
    assert "2 items equal an earlier one, 1 of them in another class (kind0/0.png and kind1/copy.png)." in (
        report.lines()
    )
    assert "1 item nearly equals another." in report.lines()


def test_images_next_to_the_folders_of_classes_are_named(photos: Path) -> None:
    picture(photos / "loose.png", 0)
    (photos / "README.txt").write_text("not an image")
    report = inspect(photos)
    assert (report.items, report.unused) == (15, ("loose.png",))
    assert "1 image is not in the folder of a class, so it is not used: loose.png." in report.lines()


def test_classes_that_are_a_folder_deeper_are_one_problem(photos: Path) -> None:
    photos.rename(photos.parent / "photos_")
    (photos / "all").mkdir(parents=True)
    for folder in (photos.parent / "photos_").iterdir():
        folder.rename(photos / "all" / folder.name)
    assert inspect(photos).problems == (f"the classes seem to be in {photos / 'all'}; use this folder",)


def test_large_files_that_differ_in_their_middle_are_no_copies(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (3, 200, 300, 3), dtype=np.uint8)
    pixels[1:] = pixels[0]
    pixels[1, 100, 150] += 1
    for number, image in enumerate(pixels):
        (tmp_path / f"{number % 2}").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / f"{number % 2}/{number}.bmp")
    copies = inspect(tmp_path).duplicates
    assert (copies.exact, copies.near, copies.examples) == (1, 2, (("0/0.bmp", "0/2.bmp"),))


def test_all_unreadable_images_are_named_at_once(photos: Path) -> None:
    (photos / "kind0/text.png").write_text("no image")
    content = (photos / "kind1/0.png").read_bytes()
    (photos / "kind1/0.png").write_bytes(content[: len(content) // 2])  # its header is whole
    report = inspect(photos)
    assert report.unreadable.keys() == {"kind0/text.png", "kind1/0.png"}
    assert (report.items, report.classes.sizes["kind1"]) == (14, 4)  # type: ignore[union-attr]
    with pytest.raises(DataError, match=r"2 of 16 images .* cannot be read"):
        image_folder(photos)
    assert report.params == {"skip_unreadable": True}


def test_only_so_many_pixels_are_decoded(photos: Path, monkeypatch) -> None:
    monkeypatch.setattr("siamkit.data.inspection.MAX_PIXELS", 6 * 40 * 40)
    report = inspect(photos)
    assert report.images is not None
    assert (report.items, report.images.decoded, report.params) == (15, 6, {"skip_unreadable": True})
    assert "Only 6 images were decoded; some of the other 9 may be damaged." in report.lines()


def test_grey_images_stored_in_color_are_noticed(tmp_path: Path) -> None:
    for number in range(6):
        picture(tmp_path / f"{number % 2}/{number}.jpg", number, mode="L")
    report = inspect(tmp_path)
    assert report.images is not None
    assert (report.images.are_grey, report.images.modes) == (True, {"RGB": 6})
    assert report.data["channels"] == "grey"
    assert report.shape == (40, 40, 1)
    assert loaded(report, tmp_path).views[0].shape == (6, 40, 40, 1)
    picture(tmp_path / "0/color.jpg", 9)
    assert not inspect(tmp_path).images.are_grey  # type: ignore[union-attr]


def test_given_parameters_are_kept(photos: Path) -> None:
    picture(photos / "kind0/wide.png", 99, (200, 50))
    report = inspect(photos, image_size=48, fit="pad", channels="grey")
    assert report.params == {"image_size": 48, "fit": "pad", "channels": "grey"}
    assert report.images is not None
    assert report.images.resizing == ((48, 48), "pad")
    assert (report.images.smallest, report.images.largest) == ((40, 40), (50, 200))
    assert "Images have from 40x40 pixels (the smallest) to 200x50 (the largest)" in report.text()


def move_deeper(root: Path) -> None:
    shutil.move(root, root.parent / "x")
    shutil.move(root.parent / "x", root / "inner")


def name_parts(root: Path) -> None:
    for number, name in enumerate(("train", "val", "Test")):
        (root / f"kind{number}").rename(root / name)


def add_empty_class(root: Path) -> None:
    (root / "kind9").mkdir()
    (root / "kind9/notes.txt").write_text("no image")


def keep_one_class(root: Path) -> None:
    shutil.rmtree(root / "kind1")
    shutil.rmtree(root / "kind2")


def name_one_train(root: Path) -> None:
    (root / "kind0").rename(root / "train")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (name_one_train, ""),
        (move_deeper, "the classes seem to be in {root}/inner; use this folder"),
        (
            name_parts,
            "the folders Test, train, val seem to be parts of a split, not classes; use one folder per "
            "class, such as {root}/Test, of which siamkit splits the images",
        ),
        (
            add_empty_class,
            "no image can be read in kind9; remove these folders, or add images of these classes",
        ),
        (keep_one_class, "all items are of one class, 'kind0'; a study compares classes"),
    ],
)
def test_folders_that_hold_something_else_than_a_class_are_noticed(
    photos: Path, change: Callable[[Path], None], sentence: str
) -> None:
    change(photos)
    problems = inspect(photos).problems
    assert problems[:1] == ((sentence.format(root=photos),) if sentence else ())


def test_a_folder_without_images_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    report = inspect(tmp_path / "empty")
    assert (report.items, report.split, report.input) == (0, None, "")
    assert report.problems == (f"{tmp_path / 'empty'} holds no images that can be read",)
    (tmp_path / "empty/pairs.csv").write_text("left,right,target\n")
    assert (
        inspect(tmp_path / "empty").problems[0].endswith("; to use pairs.csv, name this file, not its folder")
    )


def test_images_without_labels_are_told(tmp_path: Path) -> None:
    for number in range(4):
        picture(tmp_path / f"{number}.png", number)
    report = inspect(tmp_path)
    assert (report.supervision, report.classes, report.items) == ("views", None, 4)
    assert "put the images of each class into a folder of its own" in report.problems[0]


# ------------------------------------------------------------------ tables

RNG = np.random.default_rng(0)
WORDS = ["red shoe", "blue hat", "old green coat", "white shirt", "silk scarf"]


def csv(folder: Path, columns: dict[str, list[object]], name: str = "t.csv") -> Path:
    rows = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    (folder / name).write_text("\n".join([",".join(columns), *rows]) + "\n")
    return folder / name


N = 60
NUMBERS = [round(float(value), 3) for value in RNG.normal(size=N)]
TITLES = [f"{WORDS[n % 5]} number {n}" for n in range(N)]


@pytest.mark.parametrize(
    ("columns", "params", "kind", "supervision"),
    [
        (
            {"id": range(N), "length": NUMBERS, "width": NUMBERS[::-1], "Species": ["a", "b", "c"] * 20},
            {"label": "Species", "features": "length, width"},
            "vector",
            "labels",
        ),
        (
            {"title": TITLES, "category": ["x", "y"] * 30, "sku": [f"S{n}" for n in range(N)]},
            {"label": "category", "features": "title"},
            "text",
            "labels",
        ),
        (
            {"price": NUMBERS, "color": ["red", "blue", ""] * 20, "brand": ["x", "y"] * 30, "one": [1] * N},
            {"label": "brand", "features": "price, color"},
            "tabular",
            "labels",
        ),
        (
            {"f0": NUMBERS, "f1": NUMBERS[::-1], "which": ["x", "y", "z"] * 20},  # no usual name
            {"label": "which", "features": "f0, f1"},
            "vector",
            "labels",
        ),
        (
            {"left": TITLES, "right": TITLES[::-1], "target": [0, 1] * 30},
            {"left": "left", "right": "right", "target": "target"},
            "text",
            "pairs",
        ),
        (
            {"sentence1": TITLES, "sentence2": TITLES[::-1], "score": NUMBERS},
            {"left": "sentence1", "right": "sentence2", "target": "score"},
            "text",
            "scores",
        ),
        (
            {"qid": range(N), "question_a": TITLES, "question_b": TITLES[::-1], "is_duplicate": [0, 1] * 30},
            {"left": "question_a", "right": "question_b", "target": "is_duplicate"},
            "text",
            "pairs",
        ),
        (
            {
                "left_h": NUMBERS,
                "left_w": NUMBERS,
                "right_h": NUMBERS[::-1],
                "right_w": NUMBERS[::-1],
                "same": [0, 1, 1] * 20,
            },
            {"left": "left_h, left_w", "right": "right_h, right_w", "target": "same"},
            "vector",
            "pairs",
        ),
        (
            {"x1": NUMBERS, "x2": NUMBERS[::-1], "label": [0, 1] * 30},  # two features, not two sides
            {"label": "label", "features": "x1, x2"},
            "vector",
            "labels",
        ),
        (
            {"typo": [f"wrod{n}" for n in range(N)], "word": [f"word{n // 2}" for n in range(N)]},
            {"label": "word", "features": "typo"},  # other words in each row, but nothing else is the item
            "text",
            "labels",
        ),
        (
            {
                "name": TITLES,
                "about": [f"{title} and {title}" for title in TITLES],
                "entity": ["x", "y"] * 30,
            },
            {"label": "entity", "features": "about"},
            "text",
            "labels",
        ),
    ],
    ids=[
        "iris",
        "titles",
        "tabular",
        "unnamed",
        "pairs",
        "scores",
        "questions",
        "records",
        "features",
        "words",
        "name and text",
    ],
)
def test_the_columns_of_a_table_are_guessed(tmp_path: Path, columns, params, kind, supervision) -> None:
    path = csv(tmp_path, columns)
    report = inspect(path)
    assert (report.params, report.input, report.supervision) == (params, kind, supervision)
    assert report.problems == ()
    assert report.items == N
    assert report.guesses
    dataset = loaded(report, tmp_path)
    assert (dataset.input, dataset.supervision, len(dataset)) == (kind, supervision, N)


def test_odd_columns_and_missing_labels_are_named(tmp_path: Path) -> None:
    columns = {
        "id": list(range(N)),
        "length": NUMBERS,
        "always": [7] * N,
        "label": ["a", "b", ""] * 20,
    }
    report = inspect(csv(tmp_path, columns))
    assert (report.id_columns, report.constant_columns, report.missing_labels) == (("id",), ("always",), 20)
    assert report.problems == (
        "20 of 60 rows have no label in the column label; fill them in, or remove these rows",
    )
    assert report.classes is not None
    assert report.classes.sizes == {"a": 20, "b": 20}
    assert "The same value in all rows: always." in report.lines()
    assert "Another value in each row, so no feature: id." in report.lines()


def test_named_columns_are_not_guessed(tmp_path: Path) -> None:
    path = csv(
        tmp_path, {"a1": NUMBERS, "a2": NUMBERS[::-1], "label": ["x", "y"] * 30, "mine": ["v", "w"] * 30}
    )
    report = inspect(path, label="mine", features="a2")
    assert (report.params, report.guesses) == ({"label": "mine", "features": "a2"}, ())
    report = inspect(path, label="mine")
    assert report.params == {"label": "mine", "features": "a1, a2, label"}
    with pytest.raises(DataError, match="the dataset 'table' has no parameter 'lable'; did you mean 'label'"):
        inspect(path, lable="mine")


def test_columns_that_name_parts_or_groups_are_what_to_split_by(tmp_path: Path) -> None:
    columns = {
        "x": NUMBERS,
        "z": NUMBERS[::-1],
        "label": ["a", "b", "c"] * 20,
        "patient": [n // 6 for n in range(N)],
    }
    report = inspect(csv(tmp_path, columns))
    assert report.split is not None
    assert (report.split.by, report.columns) == ("patient", ("patient",))
    assert report.params["features"] == "x, z"
    report = inspect(csv(tmp_path, {**columns, "fold": ["train", "train", "train", "valid", "test"] * 12}))
    assert report.split is not None
    assert report.split.by == "fold"
    loaded(report, tmp_path)


@pytest.mark.parametrize("values", [["train", "test"], ["train", "val", "test"]])
def test_a_column_of_other_parts_is_no_feature_and_is_named(tmp_path: Path, values: list[str]) -> None:
    fold = (values * N)[:N]
    report = inspect(csv(tmp_path, {"x": NUMBERS, "fold": fold, "label": ["a", "b", "c"] * 20}))
    assert (report.params["features"], report.split and report.split.by) == ("x", "item")
    assert report.guesses[-1] == (
        "the column fold is not used; to split by it, its values should be train, valid, test, got "
        + ", ".join(sorted(values))
    )


@pytest.mark.parametrize("name", ["id", "uuid", "order_id", "user"])
def test_a_column_of_ids_is_no_item_also_if_there_is_nothing_else(tmp_path: Path, name: str) -> None:
    report = inspect(csv(tmp_path, {name: [f"A{n}" for n in range(N)], "label": ["x", "y"] * (N // 2)}))
    assert any("no column for the items" in problem for problem in report.problems)


def test_a_table_without_a_label_says_what_to_name(tmp_path: Path) -> None:
    report = inspect(csv(tmp_path, {"x": NUMBERS, "z": NUMBERS[::-1]}))
    assert report.problems[0].startswith(f"no column of {tmp_path / 't.csv'} looks like a label; name it and")


@pytest.mark.parametrize("name", ["", " z"])
def test_a_column_that_no_study_file_can_name_is_to_be_renamed(tmp_path: Path, name: str) -> None:
    report = inspect(csv(tmp_path, {"x": NUMBERS, name: NUMBERS[::-1], "label": ["a", "b", "c"] * 20}))
    (problem,) = report.problems
    assert problem.startswith(f"rename the column {name!r} of {tmp_path / 't.csv'}: a name should")


def test_dates_are_no_texts_and_an_index_of_pandas_is_no_feature(tmp_path: Path) -> None:
    days = [f"2020-01-01 {n // 60:02}:{n % 60:02}:00" for n in range(N)]
    columns = {"": list(range(N)), "x": NUMBERS, "when": days, "label": ["a", "b", "c"] * 20}
    report = inspect(csv(tmp_path, columns))
    assert (report.input, report.params["features"]) == ("vector", "x")
    assert "Another value in each row, so no feature: the column without a name, when." in report.lines()


def test_tables_of_lists_are_inspected(tmp_path: Path) -> None:
    vectors = RNG.normal(size=(N, 4)).tolist()
    parquet.write_table(pyarrow.table({"vector": vectors, "topic": ["a", "b"] * 30}), tmp_path / "t.parquet")
    report = inspect(tmp_path / "t.parquet")
    assert (report.input, report.shape, report.params) == (
        "vector",
        (4,),
        {"features": "vector", "label": "topic"},
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a,b\n",
        b"a,a\n1,2\n",
        b"\xff\xfea\x00",
        b"\x00\x01\x02",
        b"a,b\n1\n2,3,4\n",
        b"label\nx\ny\nz\n",
    ],
)
def test_broken_tables_are_reported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    report = inspect(tmp_path / "t.csv")
    assert report.problems
    assert report.split is None


@settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["label", "x", "a", "b", "y", "text_1", "text_2", "id", "left", "right", "target", ""]
            ),
            st.lists(
                st.sampled_from(
                    ["", "1", "0", "2.5", "nan", "inf", "a", "a b c", "train", "é", "1e400", "-0"]
                ),
                min_size=5,
                max_size=5,
            ),
        ),
        min_size=1,
        max_size=5,
        unique_by=lambda column: column[0],
    )
)
def test_any_table_gives_a_report(tmp_path: Path, columns) -> None:
    report = inspect(csv(tmp_path, dict(columns)))
    assert report.lines()
    if report.split is not None and not report.problems:
        assert report.items == 5


# ------------------------------------------------------------------ pairs, arrays, splits


def pairs(folder: Path, left: list[str], right: list[str]) -> DataReport:
    return inspect(csv(folder, {"left": left, "right": right, "target": [0, 1] * (len(left) // 2)}))


def test_pairs_are_split_so_that_shared_items_stay_together(tmp_path: Path) -> None:
    alone = pairs(tmp_path, [f"l {n}" for n in range(20)], [f"r {n}" for n in range(20)])
    assert [option.by for option in alone.splits] == ["item"]
    groups = pairs(tmp_path, [f"l {n // 4}" for n in range(20)], [f"r {n}" for n in range(20)])
    assert groups.split is not None
    assert groups.split.by == "components"
    # 12 of 20 pairs are linked by one right item: too many for a part.
    linked = pairs(tmp_path, [f"l {n}" for n in range(20)], ["hub"] * 12 + [f"r {n}" for n in range(8)])
    assert linked.split is not None
    assert linked.split.by == {"side": "left"}
    # All left items meet the same right item, so only the left side can be kept apart.
    star = pairs(tmp_path, [f"l {n // 2}" for n in range(20)], ["hub"] * 20)
    assert star.split is not None
    assert star.split.by == {"side": "left"}
    assert [option.is_possible for option in star.splits] == [True, True, False, False]
    assert "the largest group has 100% of all pairs" in star.splits[-1].reason
    assert "Split by left side: pairs with the same left item stay together." in star.lines()


@pytest.mark.parametrize(
    ("sizes", "by"),
    [
        ([25] * 12, "item"),  # too few classes to keep some
        ([25] * 40, "class"),
        ([3] * 12, "class"),  # too few items of a class to split
        ([3] * 4, "item"),
        ([1000, 1000], "item"),
    ],
)
def test_the_sensible_split_of_labels(sizes: list[int], by: str) -> None:
    option = options_for_labels(sizes)[0]
    assert (option.by, option.is_possible) == (by, True)


def test_small_classes_are_left_out(tmp_path: Path) -> None:
    columns = {"x": NUMBERS, "z": NUMBERS[::-1], "label": ["a", "b"] * 28 + ["c", "d", "d", "d"]}
    report = inspect(csv(tmp_path, columns))
    assert report.classes is not None
    assert (report.classes.below(2), report.classes.below(4)) == (["c"], ["c", "d"])
    assert report.classes.imbalance == 28
    assert report.min_items_per_class == report.data["min_items_per_class"] == 2
    assert "1 class with a single item: c." in report.lines()
    assert "The largest class has 28 times the items of the smallest." in report.lines()


def test_classes_of_three_items_may_have_one_in_training(tmp_path: Path) -> None:
    columns = {"x": NUMBERS, "z": NUMBERS[::-1], "label": ["a", "b", "c"] * 19 + ["d"] * 3}
    assert inspect(csv(tmp_path, columns)).min_items_per_class == 2
    assert inspect(csv(tmp_path, {**columns, "label": ["a", "b", "c"] * 20})).min_items_per_class is None


def test_arrays_of_other_names_are_found(tmp_path: Path) -> None:
    x = RNG.normal(size=(30, 4)).astype("float32")
    x[:, 2] = 5
    x[3] = x[0]
    np.savez(tmp_path / "t.npz", X=x, labels=np.arange(30) % 3)
    report = inspect(tmp_path / "t.npz")
    assert (report.params, report.shape, report.items) == ({"x": "X", "y": "labels"}, (4,), 30)
    assert report.constant_columns == ("number 2",)
    assert (report.duplicates.exact, report.duplicates.across) == (1, 0)
    assert report.duplicates.examples == (("0", "3"),)
    assert len(loaded(report, tmp_path)) == 30


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"x": np.zeros((4, 2))}, "the items have no labels"),
        ({"x": np.zeros((4, 2)), "ids": np.arange(4)}, "has no array 'y'"),
        ({"x": np.zeros((4, 2)), "y": [0.5] * 4}, "labels should be whole numbers or texts"),
        ({"x": np.full((4, 2), np.nan), "y": [0, 1] * 2}, "finite"),
        ({"x": np.zeros((4, 2)), "y": [0] * 3}, "should hold one 'y' per item"),
        ({"x": np.array([1, "a"], object), "y": [0, 1]}, "cannot be read"),
        ({}, "has no array 'x'"),
        (
            {"feats": np.zeros((4, 2)), "lab": [0, 1] * 2},
            "no array 'x'; name those of the items and labels, `data: {x: …, y: …, …}`; there are feats, lab",
        ),
    ],
)
def test_arrays_that_do_not_do_are_reported(tmp_path: Path, arrays, sentence: str) -> None:
    np.savez(tmp_path / "t.npz", **arrays)
    (problem,) = inspect(tmp_path / "t.npz").problems
    assert sentence in problem


def test_a_file_of_another_kind_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "t.npz").write_text("x,y")
    (problem,) = inspect(tmp_path / "t.npz").problems
    assert problem.endswith("cannot be read as an .npz file: it is a file of another kind")


def test_a_damaged_archive_is_reported(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.savez(stream, x=np.zeros((4, 2)), y=np.arange(4))
    (tmp_path / "t.npz").write_bytes(stream.getvalue()[:100])
    assert "cannot be read" in inspect(tmp_path / "t.npz").problems[0]


def test_a_dataset_that_the_suffix_does_not_name_is_written(tmp_path: Path) -> None:
    (tmp_path / "idx").mkdir()
    report = inspect(tmp_path / "idx", source="fashion_mnist", part="test")
    assert report.data == {"path": str(tmp_path / "idx"), "source": "fashion_mnist", "part": "test"}
    assert "does not exist" in report.problems[0]


def test_what_no_dataset_reads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        inspect(tmp_path / "nowhere")
    (tmp_path / "x.docx").write_bytes(b"")
    with pytest.raises(DataError, match=r"x\.docx should be a folder of images or end in \.csv, "):
        inspect(tmp_path / "x.docx")
