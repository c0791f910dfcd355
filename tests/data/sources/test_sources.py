"""Sources: tiny files written here, and a sentence for each way a file can be wrong."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from siamkit.data.preprocessing.scaling import ImageScaler
from siamkit.data.sources import digits, fashion_mnist, image_folder, npz, table
from siamkit.errors import DataError

rng = np.random.default_rng(0)


# ---------------------------------------------------------------- digits, Fashion-MNIST


def test_digits_are_images_from_0_to_1():
    data = digits()
    assert data.views[0].shape == (1797, 8, 8, 1)
    assert data.views[0].dtype == np.float32
    assert (data.views[0].min(), data.views[0].max()) == (0, 1)
    assert data.classes.tolist() == list(range(10))
    # The first row of the first digit, a zero, in scikit-learn's documentation.
    assert (data.views[0][0, 0, :, 0] * 16).tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


def write_idx(path, array, *, magic=None, sizes=None):
    header = struct.pack(f">{1 + array.ndim}I", magic or 0x800 + array.ndim, *(sizes or array.shape))
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture
def fashion(tmp_path):
    for stem, n in (("train", 5), ("t10k", 3)):
        images = np.arange(n * 28 * 28, dtype=np.uint8).reshape(n, 28, 28)
        write_idx(tmp_path / f"{stem}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{stem}-labels-idx1-ubyte.gz", np.arange(n, dtype=np.uint8)[::-1])
    return tmp_path


def test_fashion_mnist_is_read_by_part(fashion):
    train, test, both = (fashion_mnist(path=fashion, part=part) for part in ("train", "test", "all"))
    assert train.views[0].shape == (5, 28, 28, 1)
    assert train.views[0].dtype == np.uint8
    assert train.views[0][1, 0, :3, 0].tolist() == [784 % 256, 785 % 256, 786 % 256]
    assert train.target.tolist() == [4, 3, 2, 1, 0]
    assert len(test) == 3
    assert both.columns["part"].tolist() == ["train"] * 5 + ["test"] * 3
    np.testing.assert_array_equal(both.views[0][5:], test.views[0])


def test_fashion_mnist_without_a_path_says_where_it_looks(monkeypatch, fashion):
    monkeypatch.setattr("siamkit.data.sources.arrays.DEBIAN_FOLDER", fashion / "nowhere")
    with pytest.raises(
        DataError, match=r"nowhere of the Debian package dataset-fashion-mnist, does not exist"
    ):
        fashion_mnist()
    monkeypatch.setattr("siamkit.data.sources.arrays.DEBIAN_FOLDER", fashion)
    assert len(fashion_mnist()) == 5


def test_damaged_idx_files_are_named(fashion):
    images, labels = fashion / "train-images-idx3-ubyte.gz", fashion / "train-labels-idx1-ubyte.gz"
    whole = images.read_bytes()
    for damaged, sentence in (
        (whole[:-30], "cannot be read as a gzipped IDX file: Compressed file ended"),
        (whole[:40] + b"\0\1\2\3" * 5 + whole[60:], "cannot be read as a gzipped IDX file"),
        (b"no gzip", "cannot be read as a gzipped IDX file: Not a gzipped file"),
        (gzip.compress(b""), "magic number 2051, got 0"),
    ):
        images.write_bytes(damaged)
        with pytest.raises(DataError, match=f"train-images-idx3-ubyte.gz.*{sentence}"):
            fashion_mnist(path=fashion)
    write_idx(images, np.zeros((5, 2, 2), np.uint8), magic=0x801)
    with pytest.raises(DataError, match="magic number 2051, got 2049"):
        fashion_mnist(path=fashion)
    write_idx(images, np.zeros((5, 2, 2), np.uint8), sizes=(6, 2, 2))
    with pytest.raises(DataError, match=r"hold 24 bytes for shape \(6, 2, 2\), got 20"):
        fashion_mnist(path=fashion)
    write_idx(images, np.zeros((4, 2, 2), np.uint8))
    with pytest.raises(DataError, match="got 4 train images and 5 labels"):
        fashion_mnist(path=fashion)
    labels.unlink()
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte.gz does not exist"):
        fashion_mnist(path=fashion)


def test_wrong_part_and_wrong_folder_are_refused(fashion):
    with pytest.raises(DataError, match="did you mean 'train'"):
        fashion_mnist(path=fashion, part="training")
    with pytest.raises(DataError, match=r"should be a folder .* got a file"):
        fashion_mnist(path=fashion / "train-images-idx3-ubyte.gz")


# ---------------------------------------------------------------- npz


def saved(folder, **arrays):
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


@pytest.mark.parametrize(
    ("x", "kind", "shape"),
    [
        (np.zeros((3, 4, 5, 1)), "image", (3, 4, 5, 1)),
        (np.zeros((3, 4, 5), np.uint8), "image", (3, 4, 5)),
        (np.zeros((3, 4), int), "tokens", (3, 4)),
        (np.zeros((3, 4)), "vector", (3, 4)),
        (np.zeros((3, 4, 5)), "series", (3, 4, 5)),
        (np.array(["a", "b", "c"]), "text", (3,)),
    ],
)
def test_npz_guesses_the_kind_of_input(tmp_path, x, kind, shape):
    data = npz(path=saved(tmp_path, x=x, y=[0, 1, 1], who=["u", "v", "w"], other=np.zeros((2, 2))))
    assert (data.input, data.views[0].shape) == (kind, shape)
    assert data.target.tolist() == [0, 1, 1]
    assert {name: values.tolist() for name, values in data.columns.items()} == {"who": ["u", "v", "w"]}


def test_npz_takes_names_and_kind(tmp_path):
    path = saved(tmp_path, items=np.zeros((3, 4)), kinds=["a", "b", "a"])
    data = npz(path=path, x="items", y="kinds", input="series")
    assert data.views[0].shape == (3, 4, 1)
    assert data.codes.tolist() == [0, 1, 0]


def test_npz_holds_pairs_or_scores(tmp_path):
    a, b = np.zeros((3, 4)), np.ones((3, 4))
    assert npz(path=saved(tmp_path, a=a, b=b, y=[0, 1, 1])).supervision == "pairs"
    scored = npz(path=saved(tmp_path, a=a, b=b, y=[0, 1, 0.5]))
    assert scored.supervision == "scores"
    assert scored.views[1].tolist() == b.tolist()


def test_wrong_npz_files_are_refused_in_a_sentence(tmp_path):
    x = np.zeros((3, 4))
    with pytest.raises(DataError, match="no array 'label'; did you mean 'labels'"):
        npz(path=saved(tmp_path, x=x, labels=[1, 2, 3]), y="label")
    with pytest.raises(DataError, match="no array 'x'; choose from p, q"):
        npz(path=saved(tmp_path, p=x, q=[1, 2, 3]))
    with pytest.raises(DataError, match=r"one 'y' per item of 'x', got shapes \(3, 4\) and \(2,\)"):
        npz(path=saved(tmp_path, x=x, y=[1, 2]))
    with pytest.raises(DataError, match="does not look like a kind of input; set input"):
        npz(path=saved(tmp_path, x=np.zeros(3), y=[1, 2, 3]))
    with pytest.raises(DataError, match="did you mean 'image'"):
        npz(path=tmp_path / "data.npz", input="images")
    path = saved(tmp_path, x=x, y=np.array([1, None, "a"], dtype=object))
    with pytest.raises(DataError, match="it holds Python objects; save numbers, or texts as"):
        npz(path=path)
    np.save(tmp_path / "one.npy", x)
    with pytest.raises(DataError, match="a single array"):
        npz(path=tmp_path / "one.npy")
    whole = saved(tmp_path, x=rng.normal(size=(50, 4)), y=np.arange(50)).read_bytes()
    for damaged in (whole[:100], b"text", b"", whole[:300] + b"\xff" * 50 + whole[350:]):
        (tmp_path / "data.npz").write_bytes(damaged)
        with pytest.raises(DataError, match=r"data.npz cannot be read as an .npz file"):
            npz(path=tmp_path / "data.npz")


# ---------------------------------------------------------------- a folder of images


@pytest.fixture
def folder(tmp_path):
    for number, (name, side) in enumerate([("cat/b.png", 6), ("cat/a.png", 6), ("dog/deep/c.png", 6)]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (side, 4), (10 * number, 0, 255)).save(tmp_path / name)
    for hidden in (".git/x", "cat/.DS_Store", "README.md"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_text("no image")
    return tmp_path


def test_image_folder_has_a_class_a_subfolder(folder):
    data = image_folder(path=folder)
    assert data.ids.tolist() == ["cat/a.png", "cat/b.png", "dog/deep/c.png"]
    assert data.target.tolist() == ["cat", "cat", "dog"]
    assert data.views[0].shape == (3, 4, 6, 3)
    assert data.views[0].dtype == np.uint8
    assert data.views[0][:, 0, 0].tolist() == [[10, 0, 255], [0, 0, 255], [20, 0, 255]]


def test_image_folder_resizes_and_greys(folder):
    assert image_folder(path=folder, image_size=5, channels="grey").views[0].shape == (3, 5, 5, 1)
    assert image_folder(path=folder, image_size=(2, 3)).views[0].shape == (3, 2, 3, 3)


def test_images_lie_as_their_camera_says(folder):
    image = Image.new("RGB", (4, 6))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(folder / "cat" / "b.png", exif=exif)
    assert image_folder(path=folder).views[0].shape == (3, 4, 6, 3)


def test_wrong_image_folders_are_refused_in_a_sentence(folder, tmp_path_factory):
    with pytest.raises(DataError, match="unknown channels 'gray'; did you mean 'grey'"):
        image_folder(path=folder, channels="gray")
    with pytest.raises(DataError, match=r"image_size should be .* got 0"):
        image_folder(path=folder, image_size=0)
    (folder / "bird").mkdir()
    with pytest.raises(DataError, match="images of class 'bird', got none"):
        image_folder(path=folder)
    with pytest.raises(DataError, match="unknown fit 'cut'; choose from auto, crop, pad, stretch"):
        image_folder(path=folder, fit="cut")
    (folder / "bird" / "z.png").write_bytes((folder / "cat" / "a.png").read_bytes()[:40])
    with pytest.raises(
        DataError, match=r"1 of 4 images in .* cannot be read: bird/z.png \(.*skip_unreadable: true"
    ):
        image_folder(path=folder)
    with pytest.raises(DataError, match="one subfolder per class, or images without labels; got none"):
        image_folder(path=tmp_path_factory.mktemp("empty"))
    with pytest.raises(DataError, match="does not exist"):
        image_folder(path=folder / "none")


def test_images_without_subfolders_have_no_labels(tmp_path):
    for number, name in enumerate(("b.png", "a.png")):
        Image.new("L", (3, 2), number * 9).save(tmp_path / name)
    data = image_folder(path=tmp_path, channels="grey")
    assert (data.supervision, data.target, data.is_unlabelled) == ("views", None, True)
    assert data.ids.tolist() == ["a.png", "b.png"]
    assert data.views[0][:, 0, 0, 0].tolist() == [9, 0]


def test_a_file_with_items_alone_has_no_labels(tmp_path):
    np.savez(tmp_path / "items.npz", x=np.ones((4, 3), np.float32))
    data = npz(path=tmp_path / "items.npz")
    assert (data.supervision, data.target, data.input, len(data)) == ("views", None, "vector", 4)
    np.savez(tmp_path / "typo.npz", x=np.ones((4, 3)), label=np.arange(4))
    with pytest.raises(DataError, match="has no array 'y'"):
        npz(path=tmp_path / "typo.npz")


# ---------------------------------------------------------------- tables


def written(folder, text, name="t.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_csv_of_pairs_of_texts(tmp_path):
    data = table(path=written(tmp_path, 'left,right,target,who\nNA,null,1,u\n"a, b",ünï,0,\n"","x\ny",1,w\n'))
    assert (data.supervision, data.input) == ("pairs", "text")
    assert data.views[0].tolist() == ["NA", "a, b", ""]
    assert data.views[1].tolist() == ["null", "ünï", "x\ny"]
    assert data.target.tolist() == [1, 0, 1]
    assert data.columns["who"].tolist() == ["u", "", "w"]


def test_graded_targets_are_scores_and_the_user_may_say(tmp_path):
    path = written(tmp_path, "a\tb\ty\np\tq\t1\nr\ts\t0.5\n", "t.tsv")
    assert table(path=path).supervision == "scores"
    with pytest.raises(DataError, match=r"t.tsv: the target of pairs should be 1 .* got 0.5"):
        table(path=path, supervision="pairs")
    path = written(tmp_path, "a,b,y\np,q,1\nr,s,0\n")
    assert table(path=path, supervision="scores").supervision == "scores"


def test_several_columns_make_vectors(tmp_path):
    data = table(
        path=written(tmp_path, "a1,a2,b1,b2,same\n1,2,3,4.5,1\n5,6,7,8,0\n"),
        left="a1,a2",
        right="b1, b2",
        target="same",
    )
    assert data.input == "vector"
    assert data.views[0].tolist() == [[1, 2], [5, 6]]
    assert data.views[1].tolist() == [[3, 4.5], [7, 8]]
    assert data.columns["a1"].tolist() == [1, 5]  # the columns of the items can be split by, too


def test_labelled_rows(tmp_path):
    path = written(tmp_path, "kind,x,z,split\ncat,1,2,train\ndog,3,4,test\n")
    data = table(path=path, label="kind", features="z,x")
    assert data.views[0].tolist() == [[2, 1], [4, 3]]
    assert data.target.tolist() == ["cat", "dog"]
    assert data.columns["split"].tolist() == ["train", "test"]
    with pytest.raises(DataError, match=r"label: kind, features: …, …\}`; there are x, z, split"):
        table(path=path, label="kind")
    assert table(path=written(tmp_path, "kind,text\n7,p\n8,q\n"), label="kind").input == "text"


def test_columns_that_mix_numbers_and_texts_are_tabular(tmp_path):
    path = written(tmp_path, "kind,price,colour,day\ncat,1.5,red,1\ndog,,,2\ncat,3,blue,1\n")
    data = table(path=path, label="kind", features="price,colour")
    assert data.input == "tabular"
    np.testing.assert_array_equal(data.views[0]["price"], [1.5, np.nan, 3])
    assert data.views[0]["colour"].tolist() == ["red", "", "blue"]
    assert data.columns["day"].tolist() == [1, 2, 1]


def test_columns_of_numbers_are_tabular_where_one_is_missing_or_it_is_asked_for(tmp_path):
    rows = "kind,x,z\ncat,1,2\ndog,3,4\n"
    path = written(tmp_path, rows)
    assert table(path=path, label="kind", features="x,z").input == "vector"
    asked = table(path=path, label="kind", features="x,z", input="tabular")
    assert (asked.input, asked.views[0]["z"].tolist()) == ("tabular", [2, 4])
    coded = table(path=path, label="kind", features="x,z", categorical="z")
    assert coded.views[0]["z"].tolist() == ["2", "4"]
    for gap in ("cat,,5\n", "cat,nan,5\n"):
        data = table(path=written(tmp_path, rows + gap), label="kind", features="x,z")
        assert data.input == "tabular"
        np.testing.assert_array_equal(data.views[0]["x"], [1, 3, np.nan])
    # A column of its own stays what it was.
    assert table(path=written(tmp_path, "kind,t\n7,p\n"), label="kind").input == "text"
    one = table(path=written(tmp_path, "kind,t\n7,p\n"), label="kind", input="tabular")
    assert one.views[0]["t"].tolist() == ["p"]


def test_tabular_pairs_go_by_the_names_of_the_left_columns(tmp_path):
    text = "a_price,a_zip,b_price,b_zip,same\n1,75001,2,75001,1\n3,2000,,2B,0\n"
    data = table(path=written(tmp_path, text), left="a_price,a_zip", right="b_price,b_zip", target="same")
    assert (data.supervision, data.input) == ("pairs", "tabular")
    assert [list(view) for view in data.views] == [["a_price", "a_zip"]] * 2
    np.testing.assert_array_equal(data.views[1]["a_price"], [2, np.nan])
    # Numbers on one side and texts on the other are texts on both.
    assert [view["a_zip"].tolist() for view in data.views] == [["75001", "2000"], ["75001", "2B"]]


def test_parquet_columns_of_every_type_become_tabular(tmp_path):
    from decimal import Decimal

    columns = {
        "y": [0, 1, 1],
        "whole": pyarrow.array([1, None, 3], pyarrow.int32()),
        "flag": [True, None, False],
        "money": [Decimal("1.5"), None, Decimal("2")],
        "nothing": pyarrow.nulls(3),
        "name": pyarrow.array(["p", None, "q"]).dictionary_encode(),
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    view = table(path=tmp_path / "t.parquet", label="y", features="whole,flag,money,nothing,name").views[0]
    np.testing.assert_array_equal(view["whole"], [1, np.nan, 3])
    np.testing.assert_array_equal(view["flag"], [1, np.nan, 0])
    np.testing.assert_array_equal(view["money"], [1.5, np.nan, 2])
    assert np.isnan(view["nothing"]).all()
    assert view["name"].tolist() == ["p", "", "q"]
    parquet.write_table(pyarrow.table({"y": [0], "x": [1], "l": [[1, 2]]}), tmp_path / "l.parquet")
    with pytest.raises(DataError, match=r"column .l. .* should hold UTF-8 text or numbers, got list"):
        table(path=tmp_path / "l.parquet", label="y", features="x,l")


def test_jsonl_holds_lists_of_tokens_or_numbers(tmp_path):
    path = written(tmp_path, '{"y": 3, "t": [4, 5]}\n{"y": 4, "t": [6]}\n{"y": 3, "t": []}\n', "t.jsonl")
    data = table(path=path, label="y", features="t")
    assert data.input == "tokens"
    assert data.views[0].tolist() == [[4, 5], [6, 0], [0, 0]]
    path = written(tmp_path, '{"y": 3, "t": [4.5, 5]}\n{"y": 4, "t": [6, 1]}\n', "t.jsonl")
    assert table(path=path, label="y").views[0].tolist() == [[4.5, 5], [6, 1]]
    path = written(tmp_path, '{"y": 3, "t": [4.5, 5]}\n{"y": 4, "t": [6]}\n', "t.jsonl")
    with pytest.raises(DataError, match="lists of one length, got lengths 1 to 2"):
        table(path=path, label="y")


def test_parquet_with_its_own_types(tmp_path):
    names = pyarrow.array(["p", "q", "p"]).dictionary_encode()
    right = pyarrow.array(["r", "s", "t"], pyarrow.large_string())
    columns = pyarrow.table({"left": names, "right": right, "target": [True, False, True]})
    parquet.write_table(columns, tmp_path / "t.parquet")
    data = table(path=tmp_path / "t.parquet")
    assert data.views[0].tolist() == ["p", "q", "p"]
    assert data.target.tolist() == [1, 0, 1]


def test_types_are_guessed_from_the_whole_file(tmp_path):
    rows = "".join(f"{number},1,1\n" for number in range(200_000)) + "word,1,0\n"
    data = table(path=written(tmp_path, "left,right,target\n" + rows), right="left")
    assert (data.views[0][0], data.views[0][-1]) == ("0", "word")
    rows = '{"left": "a", "right": "b", "target": 1}\n' * 50_000
    rows += '{"left": "a", "right": "b", "target": 0.5}\n'
    data = table(path=written(tmp_path, rows, "t.jsonl"))
    assert (len(data), data.supervision) == (50_001, "scores")


def test_long_files_may_have_newlines_in_their_texts(tmp_path):
    rows = "".join(f'"a\n{number}\n",b,1\n' for number in range(150_000))
    data = table(path=written(tmp_path, "left,right,target\n" + rows))
    assert len(data) == 150_000
    assert data.views[0][-1] == "a\n149999\n"


@pytest.mark.parametrize(
    ("text", "arguments", "sentence"),
    [
        (
            "left,right,target\na,b,1\n,c,0\nd,e,1\n,f,1\n",
            {},
            r"'left' .* got none in 2 of 4: row 2, 4 \(the",
        ),
        ("left,right,target\na,b,1\nc,d,\n", {}, "column 'target' .* got none in 1 of 2: row 2 "),
        ("left,right,target\na,b,yes\nc,d,1\n", {}, "column 'target' .* should hold numbers, got 'yes'"),
        ("left,right,target\na,1,1\nc,2,1\n", {}, "got text in 'left' and vector in 'right'"),
        ("lefft,right,target\na,b,1\n", {"left": "left"}, "no column 'left'; did you mean 'lefft'"),
        ("p,q\na,b\n", {}, "left: …, right: …, target: ….* .label: …, features: ….* there are p, q"),
        ("p,q\na,b\n", {"features": "p"}, "labelled rows .* or pairs"),
        ("p,q\na,b\n", {"label": "p", "features": "p,q"}, "'p' is the label and cannot be a feature"),
        ("p,q,r\n1,2,a\n", {"label": "r", "features": "p,r2"}, "no column 'r2'"),
        ("p,q\n1,2\n", {"label": "p", "input": "table"}, "unknown input 'table' .* did you mean 'tabular'"),
        ("p,q,r\n1,2,3\n", {"label": "p", "features": "q", "categorical": "r"}, "'r' is not a feature; .* q"),
        (
            "a,b,c,y\n1,x,2,1\n",
            {"left": "a,b", "right": "c", "target": "y"},
            "the same number of columns .* a, b and c",
        ),
        ("p,q,r\n1,inf,a\n", {"label": "p", "features": "q,r"}, "'q' .* finite numbers, got inf in item 0"),
        ("p,p\n1,2\n", {"label": "p"}, "each column once, got 'p' twice"),
        ("p,q\n", {"label": "p"}, "should hold rows, got none"),
        ("", {}, "cannot be read as a .csv file: Empty CSV file"),
        ("p,q\n1\n", {}, "cannot be read as a .csv file: CSV parse error"),
        ("p,q\n1,2\n", {"supervision": "pair"}, "did you mean 'pairs'"),
        ("left,right,target\n1,nan,1\n3,2,0\n", {}, "view 2 should hold finite numbers"),
    ],
)
def test_wrong_tables_are_refused_in_a_sentence(tmp_path, text, arguments, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        table(path=written(tmp_path, text), **arguments)
    assert "\n" not in str(caught.value)


def test_files_of_other_kinds_are_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"left,right,target\ncaf\xe9,b,1\n")
    with pytest.raises(DataError, match="UTF-8"):
        table(path=tmp_path / "t.csv")
    with pytest.raises(DataError, match=r"should end in .csv, .tsv, .parquet, .jsonl, got '.txt'"):
        table(path=written(tmp_path, "a", "t.txt"))
    for name in ("t.parquet", "t.jsonl"):
        with pytest.raises(DataError, match=f"{name} cannot be read as a {name[1:]} file"):
            table(path=written(tmp_path, "garbage", name))
    with pytest.raises(DataError, match=r"should be a .csv.* got a folder"):
        table(path=tmp_path)


# ---------------------------------------------------------------- channels first


@pytest.mark.parametrize("shape", [(5, 3, 16, 16), (5, 1, 8, 28), (5, 4, 5, 5)])
def test_images_with_their_channels_first_are_refused(tmp_path, shape):
    path = saved(tmp_path, x=np.zeros(shape, np.uint8), y=[0, 1, 0, 1, 0])
    with pytest.raises(DataError, match=r"data.npz: view 1 of .* has its channels first; .* np.moveaxis"):
        npz(path=path)
    with pytest.raises(DataError, match="has its channels first"):
        ImageScaler((16, 16), np.zeros(3), np.ones(3))(np.zeros((5, 3, 16, 16)))


@pytest.mark.parametrize("shape", [(5, 3, 16, 3), (5, 3, 3, 200), (5, 8, 16, 16), (5, 1, 28, 1)])
def test_images_of_any_other_shape_are_read(tmp_path, shape):
    assert npz(path=saved(tmp_path, x=np.zeros(shape, np.uint8), y=[0, 1, 0, 1, 0])).views[0].shape == shape


def test_targets_of_pairs_that_could_be_either_must_be_named(tmp_path):
    items = np.zeros((4, 3), np.float32)
    np.savez(tmp_path / "pairs.npz", a=items, b=items, y=[-1, 1, 1, -1])
    with pytest.raises(DataError, match=r"got -1, 1; pass \(targets > 0\).*write `supervision: scores`"):
        npz(tmp_path / "pairs.npz")
    assert npz(tmp_path / "pairs.npz", supervision="scores").supervision == "scores"
    with pytest.raises(DataError, match="should be 1"):
        npz(tmp_path / "pairs.npz", supervision="pairs")
    (tmp_path / "pairs.csv").write_text("left,right,target\nred,blue,1\nred,pink,2\n")
    with pytest.raises(DataError, match=r"got 1, 2; .*write `supervision: scores`"):
        table(tmp_path / "pairs.csv", left="left", right="right", target="target")
