"""Embedding files: the same as `model.embed` of everything at once, in batches of one shape."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import click.testing
import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import siamkit
from siamkit.cli import main
from siamkit.comparison.inputs import read_embeddings
from siamkit.data import fit_preprocessor
from siamkit.data.sources import digits, image_folder, npz, table
from siamkit.errors import DataError
from siamkit.inference import embed
from siamkit.inference.embed import embed_file
from siamkit.registry.specs import EncoderSpec

pytestmark = [pytest.mark.keras, pytest.mark.one_backend]


def model_of(dataset: siamkit.Dataset, encoder: str = "mlp", **params: Any) -> siamkit.Siamese:
    """An untrained model of these data, with a preprocessor and a threshold."""
    preprocessor = fit_preprocessor(dataset)
    spec = siamkit.components().find("encoder", encoder).spec
    assert isinstance(spec, EncoderSpec)
    needs = {need: preprocessor.facts[need] for need in spec.needs}
    made = siamkit.get_encoder(
        encoder, input_shape=preprocessor.input_shape, embedding_dim=3, **needs, **params
    )
    return siamkit.Siamese(made, "euclidean", preprocessor=preprocessor, threshold=0.5)


def read(path: Path) -> tuple[pa.Table, np.ndarray]:
    found = pq.read_table(path)
    return found, np.array(found.column("embedding").to_pylist(), dtype="float32")


def close(found: np.ndarray, expected: np.ndarray) -> None:
    """The same but for the order of sums, which a batch's size may change."""
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, siamkit.Siamese]:
    """A folder with a model of vectors and 21 of them."""
    folder = tmp_path_factory.mktemp("vectors")
    x = np.random.default_rng(0).normal(size=(21, 5)).astype("float32")
    np.savez(folder / "some.npz", x=x, y=np.arange(21) % 5)
    np.save(folder / "some.npy", x)
    keras.utils.set_random_seed(0)
    model = model_of(npz(folder / "some.npz"), width=8)
    model.save(folder / "model.keras")
    return folder, x, model


def test_a_file_is_embedded_as_by_the_model_at_once(vectors, tmp_path: Path) -> None:
    folder, x, model = vectors
    told = []
    out = tmp_path / "out.parquet"
    count = embed_file(
        folder / "model.keras",
        folder / "some.npz",
        out,
        batch_size=4,
        on_rows=lambda *done: told.append(done),
    )
    assert count == 21
    assert told == [(0, 21), (4, 21), (8, 21), (12, 21), (16, 21), (20, 21), (21, 21)]
    found, embeddings = read(out)
    close(embeddings, model.embed(x))
    assert found.column("id").to_pylist() == [str(n) for n in range(21)]
    assert found.column("label").to_pylist() == [n % 5 for n in range(21)]
    assert found.schema.field("embedding").type == pa.list_(pa.float32(), 3)
    about = json.loads(found.schema.metadata[b"siamkit"])
    assert (about["threshold"], about["metric"]["name"]) == (0.5, "siamkit/euclidean")
    assert about["metric"]["orientation"] == "distance"
    assert about["components"]["encoder"][0]["name"] == "siamkit/mlp"


def test_all_batches_are_of_one_shape_and_row_groups_bounded(
    vectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, x, model = vectors
    shapes = []
    plain = keras.Model.predict_on_batch

    def seen(self: keras.Model, items: np.ndarray) -> Any:
        shapes.append(items.shape)
        return plain(self, items)

    monkeypatch.setattr(keras.Model, "predict_on_batch", seen)
    monkeypatch.setattr(embed, "ROW_GROUP_BYTES", 8 * 3 * 4)  # 8 embeddings
    embed_file(folder / "model.keras", folder / "some.npz", tmp_path / "out.parquet", batch_size=4)
    assert set(shapes) == {(4, 5)}
    assert len(shapes) == 6
    with pq.ParquetFile(tmp_path / "out.parquet") as file:
        groups = [file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups)]
    assert groups == [8, 8, 5]
    found, embeddings = read(tmp_path / "out.parquet")
    assert found.column("id").to_pylist() == [str(n) for n in range(21)]
    assert found.column("label").to_pylist() == [n % 5 for n in range(21)]
    close(embeddings, model.embed(x))


def test_texts_and_the_second_side_of_pairs(tmp_path: Path) -> None:
    words = ["red fish", "blue", "green tree", "red", "fish", "tree of fish", "blue blue"]
    rows = [f"{a},{b},1" for a, b in zip(words, words[::-1], strict=True)]
    (tmp_path / "pairs.csv").write_text("\n".join(["left,right,target", *rows]) + "\n")
    model = model_of(table(tmp_path / "pairs.csv"), "bag", token_dim=4)
    model.save(tmp_path / "model.keras")
    out = tmp_path / "out.parquet"
    embed_file(tmp_path / "model.keras", tmp_path / "pairs.csv", out, side=1, batch_size=4)
    expected = model.embed(np.array(words[::-1], dtype=object))
    close(read(out)[1], expected)


def test_a_table_with_categories_and_missing_values(tmp_path: Path) -> None:
    columns = {
        "size": [1.0, None, 3, 4, 5, 6, 7],
        "colour": ["red", None, *"xyxyx"],
        "label": list("aabbcca"),
    }
    pq.write_table(pa.table(columns), tmp_path / "some.parquet")
    dataset = table(tmp_path / "some.parquet", label="label", features="size,colour")
    model = model_of(dataset, "tabular", width=4, depth=1)
    model.save(tmp_path / "model.keras")
    embed_file(tmp_path / "model.keras", tmp_path / "some.parquet", tmp_path / "out.parquet", batch_size=4)
    found, embeddings = read(tmp_path / "out.parquet")
    close(embeddings, model.embed(dataset.views[0]))
    assert found.column("label").to_pylist() == columns["label"]


def test_a_folder_of_images_and_a_dataset_by_name(tmp_path: Path) -> None:
    images = digits().views[0][:6]
    for number, image in enumerate(images):
        place = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[..., 0] * 255).astype("uint8")).save(place)
    dataset = image_folder(tmp_path / "images", channels="grey")
    model = model_of(dataset, width=4, depth=1)
    model.save(tmp_path / "model.keras")
    out = tmp_path / "out.parquet"
    embed_file(tmp_path / "model.keras", tmp_path / "images", out, batch_size=4)
    found, embeddings = read(out)
    close(embeddings, model.embed(dataset.views[0]))
    assert found.column("id").to_pylist() == [
        "a/0.png",
        "a/2.png",
        "a/4.png",
        "b/1.png",
        "b/3.png",
        "b/5.png",
    ]
    assert found.column("label").to_pylist() == list("aaabbb")
    # The files hold 0 to 255, the dataset of that name 0 to 1.
    with pytest.raises(DataError, match="digits does not fit the model: images should have values from 0 to"):
        embed_file(tmp_path / "model.keras", "digits", out, replace=True)
    model = model_of(digits(), width=4, depth=1)
    model.save(tmp_path / "model.keras")
    assert embed_file(tmp_path / "model.keras", "digits", out, replace=True) == 1797
    close(read(out)[1][:6], model.embed(images))
    assert read(out)[0].column("label").to_pylist() == digits().target.tolist()


def test_each_tower_embeds_its_side_without_a_preprocessor(tmp_path: Path) -> None:
    towers = [siamkit.get_encoder("mlp", input_shape=(n,), embedding_dim=3, width=4) for n in (2, 5)]
    model = siamkit.Siamese(towers, "cosine")
    model.save(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    np.save(tmp_path / "some.npy", x)
    out = tmp_path / "out.parquet"
    embed_file(tmp_path / "model.keras", tmp_path / "some.npy", out, side=1, batch_size=4)
    close(read(out)[1], model.embed(x, side=1))
    ran = invoke(tmp_path / "model.keras", tmp_path / "some.npy", "-o", tmp_path / "other.parquet")
    assert "items should be numbers of shape (2,), got float32 of shape (5,)" in ran.stderr


# ------------------------------------------------------------ what goes wrong


def invoke(*arguments: object) -> click.testing.Result:
    return click.testing.CliRunner().invoke(main, ["embed", *(str(each) for each in arguments)])


def test_the_command_says_how_many_and_where(vectors, tmp_path: Path) -> None:
    folder, x, _ = vectors
    out = tmp_path / "out.parquet"
    ran = invoke(folder / "model.keras", folder / "some.npz", "-o", out, "--batch-size", "8")
    assert ran.exit_code == 0, (ran.output, ran.exception)
    assert ran.stdout.startswith("21 embeddings in ")
    assert ran.stdout.endswith(f" in {out}\n")
    assert len(read(out)[0]) == len(x)


@pytest.mark.parametrize(
    ("data", "output", "sentence"),
    [
        ("nowhere.npy", "out.parquet", "nowhere.npy does not exist"),
        ("some.npz", "out.csv", "the output should end in .parquet, got"),
        ("some.npz", "there.parquet", "already exists; choose another file, or replace it (--force)"),
        ("wide.npy", "out.parquet", "does not fit the model: items should be numbers of shape (5,)"),
        ("nan.npy", "out.parquet", "item '7' has NaN or infinity; check that item for missing values"),
        ("none.npy", "out.parquet", "holds no items"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(
    vectors, tmp_path: Path, data: str, output: str, sentence: str
) -> None:
    folder, x, _ = vectors
    (tmp_path / "there.parquet").write_text("mine")
    np.save(folder / "wide.npy", np.ones((4, 6)))
    np.save(folder / "none.npy", x[:0])
    broken = x.copy()
    broken[7, 2] = np.nan
    np.save(folder / "nan.npy", broken)
    ran = invoke(folder / "model.keras", folder / data, "-o", tmp_path / output, "--batch-size", "8")
    assert ran.exit_code == 2, (ran.output, ran.exception)
    assert sentence in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["there.parquet"]
    assert (tmp_path / "there.parquet").read_text() == "mine"


def test_a_model_that_is_none_is_named(tmp_path: Path) -> None:
    ran = invoke(tmp_path / "no.keras", tmp_path / "some.npy", "-o", tmp_path / "out.parquet")
    assert ran.exit_code == 2
    assert "no.keras' does not exist" in ran.stderr


def test_ctrl_c_leaves_nothing(vectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _, _ = vectors
    monkeypatch.setattr(embed, "ROW_GROUP_BYTES", 1)  # so that something is written by then

    def stop(done: int, total: int | None) -> None:
        if done > 8:
            assert len(list(tmp_path.iterdir())) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_file(
            folder / "model.keras", folder / "some.npy", tmp_path / "out.parquet", batch_size=4, on_rows=stop
        )
    assert list(tmp_path.iterdir()) == []


def test_cut_texts_are_counted_in_the_terminal_and_warned_of(tmp_path: Path) -> None:
    titles = np.array(["running shoes", "red hat", "blue hat", "straw hat"], object)
    model = model_of(siamkit.Dataset((titles,), np.arange(4) % 2, "labels", "text"), "bag")
    model.save(tmp_path / "model.keras")
    rows = ["short", "x" * 40, "y" * 50]
    (tmp_path / "texts.csv").write_text("\n".join(["text", *rows]) + "\n")
    sentence = "2 of 3 texts were cut: the longest has 51 pieces, and the model takes 21."
    ran = invoke(tmp_path / "model.keras", tmp_path / "texts.csv", "-o", tmp_path / "out.parquet")
    assert ran.exit_code == 0, ran.stderr
    assert sentence in ran.stderr
    notes: list[str] = []
    for size in (1, 256):
        embed_file(
            tmp_path / "model.keras",
            tmp_path / "texts.csv",
            tmp_path / f"{size}.parquet",
            batch_size=size,
            on_note=notes.append,
        )
    assert notes == [sentence] * 2
    (tmp_path / "pairs.csv").write_text(
        "left,right,target\n" + "".join(f"{row},{row},{n % 2}\n" for n, row in enumerate(rows))
    )
    told = click.testing.CliRunner().invoke(
        main, ["evaluate", str(tmp_path / "model.keras"), str(tmp_path / "pairs.csv"), "--json"]
    )
    assert "model: 4 of 6 texts were cut" in told.stderr
    assert "roc_auc" in json.loads(told.stdout)
    told = click.testing.CliRunner().invoke(
        main, ["evaluate", str(tmp_path / "model.keras"), str(tmp_path / "pairs.csv")]
    )
    assert "model: 4 of 6 texts were cut" in told.stdout


def test_token_ids_of_a_model_without_preprocessor_are_checked(tmp_path: Path) -> None:
    encoder = siamkit.get_encoder("bag", input_shape=(4,), embedding_dim=3, vocabulary_size=9)
    siamkit.Siamese(encoder, "cosine").save(tmp_path / "model.keras")
    np.save(tmp_path / "ids.npy", np.array([[1, 2, 8, 0], [1, 9, 0, 0]]))
    ran = invoke(tmp_path / "model.keras", tmp_path / "ids.npy", "-o", tmp_path / "out.parquet")
    assert ran.exit_code == 2
    assert "token ids should be whole numbers from 0 to 8 (vocabulary_size 9), got 9 in item 1" in ran.stderr
    assert not (tmp_path / "out.parquet").exists()


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    vectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _, _ = vectors
    monkeypatch.setattr(embed, "ROW_GROUP_BYTES", 1)
    plain = pq.ParquetWriter.write_table

    def full(self: Any, table: pa.Table) -> None:
        if (tmp_path / "begun").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        (tmp_path / "begun").touch()
        plain(self, table)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    out = tmp_path / "out.parquet"
    ran = invoke(folder / "model.keras", folder / "some.npy", "-o", out, "--batch-size", "4")
    assert (ran.exit_code, ran.stderr) == (2, f"Error: '{out}' cannot be written: No space left on device\n")
    assert [path.name for path in tmp_path.iterdir()] == ["begun"]


def test_unreadable_images_are_left_out_and_counted_if_that_is_asked(tmp_path: Path) -> None:
    for number, kind in enumerate(("cat", "cat", "dog", "dog")):
        path = Path(os.fsdecode(os.fsencode(tmp_path / "photos" / kind) + b"/\xe9%d.png" % number))
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 60 * number).save(path)
    dataset = image_folder(tmp_path / "photos", channels="grey")
    model_of(dataset, width=4, depth=1).save(tmp_path / "model.keras")
    (tmp_path / "photos" / "cat" / "bad.png").write_bytes(b"none")
    # A name that is not UTF-8 works for the model and for the output, too.
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    os.rename(tmp_path / "model.keras", folder / "model.keras")
    asked = (folder / "model.keras", tmp_path / "photos", "-o", folder / "out.parquet")
    ran = invoke(*asked)
    assert (ran.exit_code, ran.stderr.count("\n")) == (2, 1)
    assert "1 of 5 images in " in ran.stderr
    assert "cannot be read: cat/bad.png (not an image, or damaged);" in ran.stderr
    assert not (folder / "out.parquet").exists()
    ran = invoke(*asked, "--skip-unreadable")
    assert ran.exit_code == 0, ran.output
    assert "1 of 5 images in " in ran.stderr
    assert ran.stdout.startswith("4 embeddings in ")
    with pq.ParquetFile(pa.OSFile(os.fsencode(folder / "out.parquet"))) as file:
        found = file.read(columns=["id", "label"]).to_pydict()
    assert found == {"id": dataset.ids.tolist(), "label": dataset.target.tolist()}
    assert found["id"][0] == "cat/\\xe90.png"
    assert read_embeddings(folder / "out.parquet").ids == tuple(found["id"])
