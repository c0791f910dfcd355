"""Items to embed, chunk by chunk, beside the same items read whole by the sources."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from selection import examples

from siamkit.data.preprocessing.columns import fit_preprocessor
from siamkit.data.sources import image_folder, npz, table
from siamkit.data.streaming import StreamRequest
from siamkit.data.streaming.open import open_file
from siamkit.errors import DataError


def read(path, **wanted):
    """Ids, labels and items of a stream, its chunks put together again."""
    with open_file(path, StreamRequest(**{"size": 3, **wanted})) as stream:
        chunks = list(stream.chunks)
    assert all(len(chunk.ids) <= 3 for chunk in chunks)
    ids = [each for chunk in chunks for each in chunk.ids]
    assert stream.total in (None, len(ids))
    labels = (
        None
        if chunks[0].labels is None
        else [x for chunk in chunks for x in pa.array(chunk.labels).to_pylist()]
    )
    first = chunks[0].items
    if isinstance(first, dict):
        return ids, labels, {name: np.concatenate([each.items[name] for each in chunks]) for name in first}
    return ids, labels, np.concatenate([each.items for each in chunks])


def same(streamed, whole):
    if isinstance(whole, dict):
        assert set(streamed) == set(whole)
        for name in whole:
            same(streamed[name], whole[name])
    else:
        np.testing.assert_array_equal(streamed, whole)


@pytest.fixture
def numbers():
    return np.random.default_rng(0).normal(size=(10, 4)).astype("float32")


# ------------------------------------------------------------------- arrays


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
def test_an_npz_file_is_read_as_by_its_source(tmp_path: Path, numbers, save) -> None:
    names = np.array([f"item {n}" for n in range(10)])
    save(tmp_path / "some.npz", x=numbers, y=np.arange(10) % 3, name=names)
    dataset = npz(tmp_path / "some.npz")
    ids, labels, items = read(tmp_path / "some.npz", id="name")
    same(items, dataset.views[0])
    assert labels == dataset.target.tolist()
    assert ids == names.tolist()
    assert read(tmp_path / "some.npz")[0] == [str(n) for n in range(10)]


def test_the_sides_of_pairs_in_an_npz_file(tmp_path: Path, numbers) -> None:
    np.savez(tmp_path / "pairs.npz", a=numbers, b=-numbers, y=np.ones(10))
    for side in (0, 1):
        _, labels, items = read(tmp_path / "pairs.npz", side=side)
        same(items, npz(tmp_path / "pairs.npz").views[side])
        assert labels is None  # 1 and 0 are of the pair, not of the item


def test_an_npy_file_is_read(tmp_path: Path, numbers) -> None:
    np.save(tmp_path / "some.npy", numbers)
    ids, labels, items = read(tmp_path / "some.npy")
    same(items, numbers)
    assert (ids[-1], labels) == ("9", None)


def test_a_series_of_one_feature_may_lack_that_axis(tmp_path: Path, numbers) -> None:
    np.savez(tmp_path / "some.npz", x=numbers, y=np.arange(10))
    dataset = npz(tmp_path / "some.npz", input="series")
    same(read(tmp_path / "some.npz", preprocessor=fit_preprocessor(dataset))[2], dataset.views[0])


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.array([{}, {}], dtype=object), "not of Python objects"),
        (np.array(1.0), "should be an array of items"),
    ],
    ids=["objects", "scalar"],
)
def test_an_array_that_cannot_be_streamed_is_refused(tmp_path: Path, array, sentence: str) -> None:
    np.save(tmp_path / "some.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=sentence):
        read(tmp_path / "some.npy")


@settings(max_examples=examples(60))
@given(data=st.data())
def test_arrays_of_every_type_are_read_as_by_their_source(tmp_path_factory, data) -> None:
    kinds = ["?", "u1", "<i2", ">i4", "<i8", ">u8", "<f2", ">f4", "<f8", ">f8"]
    axes = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    values = np.arange(7 * int(np.prod(axes))).reshape(7, *axes) % 5
    x = values.astype(data.draw(st.sampled_from(kinds)))
    x = np.asfortranarray(x) if data.draw(st.booleans()) else x
    y = (np.arange(7) % 3).astype(data.draw(st.sampled_from([*kinds, "<U3", ">U3", "S3"])))
    path = tmp_path_factory.mktemp("arrays") / "some.npz"
    np.savez(path, x=x, y=y, id=np.arange(7) * 2)
    try:
        dataset = npz(path)
        preprocessor = fit_preprocessor(dataset)
    except DataError:
        return  # refused before anything is trained
    ids, labels, items = read(path, preprocessor=preprocessor)
    assert ids == dataset.ids.tolist()
    assert labels == dataset.target.tolist()
    np.testing.assert_array_equal(preprocessor(items), preprocessor(dataset.views[0]))
    assert read(path, preprocessor=preprocessor, id="id")[0] == [str(2 * row) for row in range(7)]


def test_a_file_that_ends_early_is_told(tmp_path: Path, numbers) -> None:
    np.save(tmp_path / "some.npy", numbers)
    (tmp_path / "some.npy").write_bytes((tmp_path / "some.npy").read_bytes()[:-5])
    with pytest.raises(DataError, match=r"some.npy cannot be read as NumPy's format: it ends early"):
        read(tmp_path / "some.npy")
    (tmp_path / "none.npz").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match=r"none.npz cannot be read as an .npz file"):
        read(tmp_path / "none.npz")


# ------------------------------------------------------------------- tables


def write(path: Path, columns: dict[str, list]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    elif path.suffix == ".jsonl":
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        path.write_text(
            "".join(json.dumps({k: v for k, v in row.items() if v is not None}) + "\n" for row in rows)
        )
    else:
        rows = [columns, *zip(*columns.values(), strict=True)]
        path.write_text("".join(",".join("" if v is None else str(v) for v in row) + "\n" for row in rows))
    return path


FORMATS = pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])


@FORMATS
def test_rows_of_numbers_are_read_as_by_their_source(tmp_path: Path, suffix: str) -> None:
    path = write(
        tmp_path / f"some{suffix}",
        {
            "x1": [1.5, 2.0, 3.0, 4.0, 5.0],
            "x2": [1, 2, 3, 4, 6],
            "kind": list("aabbc"),
            "name": list("vwxyz"),
        },
    )
    dataset = table(path, label="kind", features="x1,x2")
    ids, labels, items = read(
        path, preprocessor=fit_preprocessor(dataset), columns=("x1", "x2"), label="kind", id="name"
    )
    same(items, dataset.views[0])
    assert (labels, ids) == (dataset.target.tolist(), list("vwxyz"))


@FORMATS
def test_texts_of_both_sides_are_read_as_by_their_source(tmp_path: Path, suffix: str) -> None:
    path = write(
        tmp_path / f"some{suffix}",
        {"left": ["red", "green fish", "7", "x", "y"], "right": list("abcde"), "target": [0.5, 1, 0, 1, 0]},
    )
    dataset = table(path)
    for side in (0, 1):
        same(read(path, preprocessor=fit_preprocessor(dataset), side=side)[2], dataset.views[side])


@FORMATS
def test_columns_of_a_table_are_found_by_the_models_names(tmp_path: Path, suffix: str) -> None:
    columns = {
        "kind": list("aabbcc"),
        "zip": ["007", "12", "8", "12", "7", "1"] if suffix == ".csv" else [7, 12, 8, 12, 7, 1],
        "colour": ["red", None, "blue", "red", None, "red"],
        "size": [1.0, None, 3.0, 4.5, 5.0, 6.0],
    }
    path = write(tmp_path / f"some{suffix}", columns)
    dataset = table(path, label="kind", features="zip,colour,size", categorical="zip")
    preprocessor = fit_preprocessor(dataset)
    _, _, items = read(path, preprocessor=preprocessor, label="kind")
    same(items, dataset.views[0])  # in a CSV file 007 is not 7


def test_a_type_that_changes_far_into_a_csv_file_is_no_matter(tmp_path: Path) -> None:
    whole = [*range(300_000), 0.5]  # beyond the first megabyte, from which types would be guessed
    path = write(tmp_path / "some.csv", {"x": whole})
    wanted = StreamRequest(fit_preprocessor(npz_of(tmp_path, np.ones((2, 1)) * [[1], [2]])), size=100_000)
    with open_file(path, wanted) as stream:
        items = np.concatenate([chunk.items for chunk in stream.chunks])
    same(items[:, 0], np.array(whole))


def npz_of(folder: Path, x):
    np.savez(folder / "fit.npz", x=x, y=np.arange(len(x)))
    return npz(folder / "fit.npz")


def test_labels_may_be_missing_and_keep_their_type(tmp_path: Path) -> None:
    path = write(tmp_path / "some.parquet", {"x": [1.0, 2.0, 3.0, 4.0], "label": [7, None, 8, 8]})
    assert read(path)[1] == [7, None, 8, 8]


@pytest.mark.parametrize(
    ("columns", "wanted", "sentence"),
    [
        ({"x": [1], "y": [2]}, {}, r"choose the columns of .* to embed with columns \(--columns\): x, y"),
        ({"x": [1]}, {"columns": ("xx",)}, "no column 'xx'; did you mean 'x'"),
        (
            {"x": [1, 2, 3, 4, None]},
            {},
            "column 'x' of .* should have a value in every row, got none in row 5",
        ),
        ({"x": [1]}, {"side": 1}, "no side 1"),
    ],
    ids=["which", "unknown", "null", "side"],
)
def test_columns_that_do_not_do_are_refused(tmp_path: Path, columns, wanted, sentence: str) -> None:
    path = write(tmp_path / "some.parquet", columns)
    with pytest.raises(DataError, match=sentence):
        read(path, **wanted)


# ------------------------------------------------------------------- images


def test_a_folder_of_images_is_read_as_by_its_source(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind in ("cat", "dog"):
        (tmp_path / kind).mkdir()
        for number in range(4):
            pixels = rng.integers(0, 256, (6 + number, 5, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / kind / f"{number}.png")
    dataset = image_folder(tmp_path, image_size=4)
    ids, labels, items = read(tmp_path, preprocessor=fit_preprocessor(dataset))
    same(items, dataset.views[0])
    assert labels == dataset.target.tolist()
    assert ids == dataset.ids.tolist()
    # Without classes: the same images, without labels.
    ids, labels, flat = read(tmp_path / "dog", preprocessor=fit_preprocessor(dataset))
    same(flat, items[4:])
    assert (ids, labels) == (["0.png", "1.png", "2.png", "3.png"], None)


def test_what_is_no_data_is_refused(tmp_path: Path, numbers) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"notes.txt should be a folder of images or end in .npy, .npz, .csv"):
        read(tmp_path / "notes.txt")
    with pytest.raises(DataError, match=r"nowhere.csv does not exist"):
        read(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="the model does not take images"):
        read(tmp_path, preprocessor=fit_preprocessor(npz_of(tmp_path, numbers)))
