"""How items look: pictures by their pixels, texts, and what comes from data that are given."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import siamkit
from siamkit.comparison.inputs import EmbeddingSet
from siamkit.data import Dataset, fit_preprocessor
from siamkit.data.thumbnails import augmented_items, thumbnail_of, thumbnail_png, thumbnails_of
from siamkit.errors import DataError

DRAW = np.random.default_rng(0)
LABELS = np.repeat(np.arange(20), 3)
ROWS = (DRAW.normal(size=(20, 4))[LABELS] + DRAW.normal(0, 0.6, (60, 4))).astype("float32")
WORSE = (ROWS + DRAW.normal(0, 0.6, ROWS.shape)).astype("float32")
TEXTS = [f"text <{n}>" for n in range(60)]


def pixels(png: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_small_pictures_keep_their_pixels():
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    np.testing.assert_array_equal(pixels(thumbnail_png(grey)), grey)
    color = DRAW.integers(0, 255, (8, 9, 3), dtype=np.uint8)
    np.testing.assert_array_equal(pixels(thumbnail_png(color)), color)
    # Of numbers the lowest is black and the highest white, here -1 and 3.
    numbers = np.array([[-1.0, 3.0], [1.0, 0.0]])
    np.testing.assert_array_equal(pixels(thumbnail_png(numbers)), [[0, 255], [127, 63]])
    assert max(pixels(thumbnail_png(np.zeros((500, 200, 3), np.uint8))).shape) == 48


def test_looks_are_of_what_can_be_looked_at():
    assert [look.text for look in thumbnails_of(np.array(["a", "b"])) or []] == ["a", "b"]
    assert [
        look.text for look in thumbnails_of({"x": np.array([1, 2]), "y": np.array(["a", "b"])}) or []
    ] == [
        "x 1, y a",
        "x 2, y b",
    ]
    images = DRAW.integers(0, 255, (2, 8, 8, 1), dtype=np.uint8)
    for given in (images, images[..., 0]):
        found = thumbnails_of(given)
        assert found is not None
        np.testing.assert_array_equal(pixels(found[1].image or b""), images[1, ..., 0])
    assert thumbnails_of(ROWS) is None
    assert thumbnails_of(DRAW.normal(size=(2, 8, 8))) is None  # series
    with pytest.raises(DataError, match=r"an image .*, a text or a pathlib\.Path, got ndarray"):
        thumbnail_of(ROWS[0])


def seen(**asked: Any) -> siamkit.comparison.result.Comparison:  # type: ignore[name-defined]
    return siamkit.compare(WORSE, ROWS, labels=LABELS, metric="euclidean", **asked)


def test_items_are_handed_over_as_texts_images_or_paths(tmp_path: Path):
    for row in range(60):
        Image.fromarray(np.full((8, 8), row, np.uint8)).save(tmp_path / f"{row}.png")
    paths = [tmp_path / f"{row}.png" for row in range(60)]
    found = seen(items=TEXTS)
    rows = {row for queries in found.disagreements.values() for each in queries for row in each.rows}
    assert set(found.thumbnails) == rows
    assert all(found.thumbnails[row][0].text == TEXTS[row] for row in rows)
    for given in (paths, [np.full((8, 8), row, np.uint8) for row in range(60)]):
        found = seen(items=given)
        for row in rows:
            assert (pixels(found.thumbnails[row][0].image or b"") == row).all()
    with pytest.raises(DataError, match="one for each embedding, 60, got 2"):
        seen(items=TEXTS[:2])


def test_items_stay_with_their_embeddings_when_embedding_sets_are_matched():
    ids = tuple(map(str, range(60)))
    order = DRAW.permutation(60)[:50]
    some = EmbeddingSet("some", WORSE[order], LABELS[order], tuple(ids[row] for row in order), "euclidean")
    whole = EmbeddingSet("whole", ROWS, LABELS, ids, "euclidean")
    for pair, items in (((some, whole), [TEXTS[row] for row in order]), ((whole, some), TEXTS)):
        found = siamkit.compare(*pair, items=items)
        for queries in found.disagreements.values():
            for each in queries:
                assert found.thumbnails[each.query][0].text == TEXTS[int(each.id)]


def test_pairs_look_like_both_their_sides():
    pairs = np.stack([WORSE, ROWS], axis=1)
    alike = LABELS % 2
    found = siamkit.compare(
        pairs, pairs[::-1], labels=alike, items=list(zip(TEXTS, TEXTS[::-1], strict=True))
    )
    for row, (a, b) in found.thumbnails.items():
        assert (a.text, b.text) == (TEXTS[row], TEXTS[59 - row])


def test_the_command_shows_texts_of_the_data_without_keras(tmp_path: Path):
    np.savez(tmp_path / "a.npz", x=WORSE, y=LABELS)
    np.savez(tmp_path / "b.npz", x=ROWS, y=LABELS)
    (tmp_path / "texts.csv").write_text("\n".join(["text", *TEXTS]))
    files = ["a.npz", "b.npz"]
    code = """
import sys
from siamkit.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
assert not {"keras", "torch", "jax", "tensorflow"} & set(sys.modules)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, "compare", *files, "--data", "texts.csv", "--metric", "euclidean"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found = seen()
    widest = found.disagreements["A", "B"][0]
    lines = [line for line in ran.stdout.splitlines() if line.startswith(TEXTS[widest.query])]
    assert len(lines) == 1
    assert widest.nearest is not None
    for row in widest.nearest:
        assert TEXTS[row] in lines[0]
    assert [mark for mark in lines[0] if mark in "✓✗"] == [
        "✓" if right else "✗" for right in widest.correct or ()
    ]


def test_pictures_come_from_a_folder_by_their_ids_and_from_nowhere_else(tmp_path: Path):
    folder = tmp_path / "photos"
    for row in range(60):
        (folder / f"class {LABELS[row]}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), row, np.uint8)).save(folder / f"class {LABELS[row]}" / f"{row}.png")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "secret.png")
    ids = [f"class {LABELS[row]}/{row}.png" for row in range(60)]
    found = seen()
    ids[found.disagreements["A", "B"][0].query] = "../secret.png"
    inputs = [
        EmbeddingSet(name, rows, LABELS, tuple(ids), "euclidean")
        for name, rows in (("A", WORSE), ("B", ROWS))
    ]
    looked = siamkit.compare(*inputs, data=folder).thumbnails
    assert found.disagreements["A", "B"][0].query not in looked
    assert len(looked) > 5
    for row, (look,) in looked.items():
        assert (pixels(look.image or b"") == row).all()


# ---------------------------------------------------------------- with Keras


@pytest.mark.keras
@pytest.mark.one_backend
def test_what_models_embedded_is_shown(tmp_path: Path):
    from siamkit.data import fit_preprocessor
    from siamkit.data.sources import digits

    data = digits().take(np.arange(200))
    np.savez(tmp_path / "digits.npz", x=data.views[0], y=data.target)
    for name in ("a", "b"):
        preprocessor = fit_preprocessor(data)
        encoder = siamkit.get_encoder("mlp", input_shape=(8, 8, 1), embedding_dim=4)
        siamkit.Siamese(encoder, "cosine", preprocessor=preprocessor).save(tmp_path / f"{name}.keras")
    found = siamkit.compare(tmp_path / "a.keras", tmp_path / "b.keras", data=tmp_path / "digits.npz")
    assert found.thumbnails
    for row, (look,) in found.thumbnails.items():
        image = np.asarray(data.views[0])[row, ..., 0]
        expected = (image - image.min()) * 255 / (image.max() - image.min())
        np.testing.assert_allclose(pixels(look.image or b""), expected, atol=1)


# ---------------------------------------------------------------- training items, augmented

TABLE = {
    "price": np.arange(10.0),
    "colour": np.array(["red", "blue"] * 5, object),
    **{f"more {number}": np.arange(10.0) for number in range(20)},
}
KINDS = {
    "image": (DRAW.integers(0, 256, (10, 130, 65, 3), dtype=np.uint8), {"flip": {"probability": 1}}),
    "series": (DRAW.normal(5, 2, (10, 300, 2)), {"scale": {"deviation": 0.5}}),
    "vector": (DRAW.normal(5, 2, (10, 20)), {"feature_dropout": {"probability": 1}}),
    "tabular": (TABLE, {"feature_dropout": {"probability": 1}}),
    "text": (np.array([f"a red fish {n}" for n in range(10)]), {"token_dropout": {"probability": 0.5}}),
    "tokens": (np.arange(1, 61).reshape(10, 6), {"token_swap": {"probability": 1}}),
}


def augmented(kind: str, recipe: Any = None, seed: int = 0) -> dict[str, Any]:
    items, own = KINDS[kind]
    dataset = Dataset((items,), np.arange(10) % 2, "labels", kind)
    preprocessor = fit_preprocessor(dataset)
    names = {"text": "tokens", "tabular": "records"}
    prepared = replace(dataset, views=(preprocessor(items),), input=names.get(kind, kind))
    return augmented_items(prepared, recipe or own, kind, preprocessor, seed)


@pytest.mark.parametrize("kind", KINDS)
def test_augmented_items_follow_from_the_seed(kind):
    first, again, other = augmented(kind), augmented(kind), augmented(kind, seed=1)
    assert first["augmented_ids"].tolist() == sorted(first["augmented_ids"].tolist())
    assert len(set(first["augmented_ids"].tolist())) == 8
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)
    assert json.loads(str(first["augmented_steps"]))[next(iter(KINDS[kind][1]))]
    assert augmented(kind, "none") == {}


def test_augmented_images_are_small_and_keep_their_colors():
    made, rows = augmented("image"), [int(name) for name in augmented("image")["augmented_ids"]]
    images = made["augmented_images"]
    assert (images.shape, images.dtype) == ((8, 4, 64, 32, 3), np.uint8)
    # By Pillow: the same items, reduced; and mirrored by NumPy before that.
    for shown, raw in zip(images, KINDS["image"][0][rows], strict=True):
        for version, pixels_ in ((0, raw), (1, raw[:, ::-1]), (3, raw[:, ::-1])):
            small = Image.fromarray(pixels_)
            small.thumbnail((64, 64))
            assert np.abs(shown[version].astype(int) - np.asarray(small)).max() <= 2


def test_augmented_series_rows_and_texts_are_in_their_own_units():
    made = augmented("series")
    rows = [int(name) for name in made["augmented_ids"]]
    np.testing.assert_allclose(made["augmented_series"][:, 0], KINDS["series"][0][rows][:, ::2, 0], atol=1e-4)
    made = augmented("tabular")
    rows = [int(name) for name in made["augmented_ids"]]
    assert made["augmented_columns"].tolist()[:2] == ["price", "more 0"]
    assert made["augmented_rows"][0, 0].tolist() == [f"{rows[0]}"] * 12
    assert made["augmented_rows"][0, 1].tolist() == ["nan"] * 12
    made = augmented("vector")
    items = KINDS["vector"][0]
    assert float(made["augmented_rows"][0, 0, 0]) == pytest.approx(items[0, 0], abs=1e-2)
    assert float(made["augmented_rows"][0, 1, 0]) == pytest.approx(items[:, 0].mean(), abs=1e-2)
    made = augmented("text")
    assert made["augmented_texts"][:, 0].tolist() == [f"a red fish {name}" for name in made["augmented_ids"]]
    assert augmented("tokens")["augmented_texts"][0, 0] == "1 2 3 4 5 6"
