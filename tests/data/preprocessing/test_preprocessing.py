"""Preprocessors: right numbers, kept through saving, and nothing but data in the files."""

from __future__ import annotations

import json
import math
import re
import unicodedata
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selection import examples

from siamkit.data import Dataset, fit_preprocessor, load_preprocessor
from siamkit.data.preprocessing.scaling import ImageScaler, Standardizer
from siamkit.data.preprocessing.text import TextTokenizer, TokenPadder
from siamkit.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
WORDS = np.array(["the cat sat", "the cat ran", "a dog sat", "the dog", "ünïcode 猫", "the the the"], object)


def fitted(view, kind):
    return fit_preprocessor(Dataset((view,), np.arange(len(view)), "labels", kind))


def test_image_scaler_brings_each_channel_to_mean_0_and_deviation_1():
    scaler = fitted(IMAGES, "image")
    prepared = scaler(IMAGES)
    assert isinstance(scaler, ImageScaler)
    assert prepared.dtype == np.float32
    assert prepared.shape == (6, *scaler.input_shape) == (6, 4, 5, 3)
    np.testing.assert_allclose(prepared.mean(axis=(0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(prepared.std(axis=(0, 1, 2)), 1, atol=1e-6)
    np.testing.assert_allclose(
        prepared[0, 1, 2, 1], (IMAGES[0, 1, 2, 1] - IMAGES[..., 1].mean()) / IMAGES[..., 1].std(), rtol=1e-5
    )


def test_moments_are_the_same_in_chunks(monkeypatch):
    whole = fitted(IMAGES, "image")
    monkeypatch.setattr("siamkit.data.preprocessing.scaling._CHUNK_VALUES", 60)
    chunked = fitted(IMAGES, "image")
    np.testing.assert_allclose(chunked.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(chunked.std, whole.std, rtol=1e-12)
    np.testing.assert_array_equal(chunked(IMAGES), whole(IMAGES))


def test_grey_images_get_a_channel_and_other_sizes_the_fitted_one():
    ramp = np.tile(np.arange(8.0), (3, 8, 1))
    scaler = fitted(ramp, "image")
    assert scaler.input_shape == (8, 8, 1)
    assert scaler(ramp).shape == (3, 8, 8, 1)
    wide = np.tile(np.arange(16.0), (2, 4, 1))
    # Its middle has columns 6 to 9, which are doubled: each pixel is a quarter of a column from the next.
    resized = scaler(wide)[..., 0] * scaler.std + scaler.mean
    assert resized.shape == (2, 8, 8)
    np.testing.assert_allclose(resized[0, 3, 2:6], [6.75, 7.25, 7.75, 8.25], atol=1e-4)
    # Stretched, it is halved: each pixel is the mean of neighbouring columns.
    stretch = ImageScaler.fit([ramp], "stretch")
    resized = stretch(wide)[..., 0] * stretch.std + stretch.mean
    np.testing.assert_allclose(resized[0, 3, 2:6], [4.5, 6.5, 8.5, 10.5], atol=1e-4)
    # Padded, two rows of halved columns are between rows of the highest value of the usual range.
    pad = ImageScaler.fit([ramp], "pad")
    resized = pad(wide)[..., 0] * pad.std + pad.mean
    np.testing.assert_allclose(resized[0, 3, 2:6], [4.5, 6.5, 8.5, 10.5], atol=1e-4)
    np.testing.assert_allclose(resized[0, [0, 1, 5, 7]], 255.0, rtol=1e-6)
    unit = ImageScaler.fit([ramp / 7], "pad")
    np.testing.assert_allclose(unit(wide / 15)[0, 0, :, 0] * unit.std + unit.mean, 1.0, rtol=1e-6)

    assert fitted(IMAGES, "image")(np.zeros((2, 9, 7, 3), np.uint8)).shape == (2, 4, 5, 3)
    mixed = np.empty(2, dtype=object)
    mixed[:] = [ramp[0], wide[0]]
    np.testing.assert_allclose(scaler(mixed)[1], scaler(wide)[0], atol=1e-6)
    np.testing.assert_array_equal(scaler([ramp[0], wide[0]]), scaler(mixed))


def test_an_image_scaler_of_an_earlier_version_stretches(tmp_path):
    fitted(np.zeros((3, 8, 8, 1)), "image").save(tmp_path)
    header = json.loads((tmp_path / "preprocessor.json").read_text())
    assert header["config"].pop("image_fit") == "crop"
    (tmp_path / "preprocessor.json").write_text(json.dumps(header))
    assert load_preprocessor(tmp_path).image_fit == "stretch"  # type: ignore[attr-defined]
    header["config"]["image_fit"] = "cut"
    (tmp_path / "preprocessor.json").write_text(json.dumps(header))
    with pytest.raises(
        DataError, match="is damaged: unknown image_fit 'cut'; choose from crop, pad, stretch"
    ):
        load_preprocessor(tmp_path)


def test_images_with_other_channels_are_refused():
    with pytest.raises(DataError, match="should have 3 channels"):
        fitted(IMAGES, "image")(IMAGES[..., :1])
    one = IMAGES[0]  # forgotten that it is one of many
    with pytest.raises(
        DataError, match=rf"\(n, height, width, 3\), got .* of shape {re.escape(str(one.shape))}$"
    ):
        fitted(IMAGES, "image")(one)


def test_standardizer_leaves_constant_features_finite():
    view = np.array([[1e9 + 1, 0.1, 5], [1e9 + 3, 0.1, 7]] * 3)
    scaler = fitted(view, "vector")
    assert isinstance(scaler, Standardizer)
    np.testing.assert_allclose(scaler(view), np.array([[-1, 0, -1], [1, 0, 1]] * 3), atol=1e-6)
    with pytest.raises(DataError, match=r"numbers of shape \(3,\), got float64 of shape \(2,\)"):
        scaler(view[:, :2])


def test_series_are_scaled_by_feature_over_all_steps():
    series = np.random.default_rng(1).normal([3, -2], [2, 5], (7, 4, 2))
    prepared = fitted(series, "series")(series)
    assert prepared.shape == (7, 4, 2)
    np.testing.assert_allclose(prepared.std(axis=(0, 1)), 1, atol=1e-5)


def test_all_views_are_fitted_on():
    a, b = np.zeros((4, 1)), np.full((4, 1), 2.0)
    scaler = fit_preprocessor(Dataset((a, b), np.array([1, 0, 1, 0]), "pairs", "vector"))
    assert scaler(a).tolist() == [[-1]] * 4
    wide = np.zeros((4, 2))
    with pytest.raises(DataError, match="items of one shape"):
        fit_preprocessor(Dataset((a, wide), np.array([1, 0, 1, 0]), "pairs", "vector"))


def test_tokens_are_cut_filled_up_and_unknown_ones_gathered_in_the_last_id():
    padder = fitted(np.array([[3, 0, 7, 0], [1, 0, 0, 0]]), "tokens")
    assert isinstance(padder, TokenPadder)
    assert padder.facts == {"vocabulary_size": 9, "max_length": 3}
    assert padder(np.array([[7, 8, 99, 2]])).tolist() == [[7, 8, 8]]
    assert padder(np.array([[2]], dtype=np.uint8)).tolist() == [[2, 0, 0]]
    assert padder(np.array([[2]])).dtype == np.int32
    with pytest.raises(DataError, match="0 or above, got -1"):
        padder(np.array([[-1]]))
    with pytest.raises(DataError, match="whole numbers"):
        padder(np.array([[0.5]]))


def test_tokenizer_is_deterministic_and_keeps_its_promises():
    first, second = fitted(WORDS, "text"), fitted(WORDS, "text")
    ids = first(WORDS)
    assert isinstance(first, TextTokenizer)
    assert first.tokenizer == second.tokenizer
    assert ids.dtype == np.int32
    assert ids.shape == (6, first.facts["max_length"]) == (6, *first.input_shape)
    assert ids.max() < first.facts["vocabulary_size"]
    # So few texts have no common pieces: each byte of " the the the" is one, and only 0 follows.
    assert ids[5, :4].tolist() == ids[5, 4:8].tolist() == ids[0, :4].tolist()
    assert not ids[5, 12:].any()
    assert len({*map(tuple, ids.tolist())}) == 6


def test_frequent_words_become_pieces_and_rare_ones_stay_bytes():
    texts = np.array([f"shoes {number}" for number in range(100)] + ["boots"], object)
    tokenizer = TextTokenizer.fit([texts])
    pieces = [tokenizer._engine.id_to_token(int(id)) for id in tokenizer(np.array(["shoes boots"]))[0] if id]
    assert pieces == ["Ġshoes", "Ġ", "b", "o", "o", "t", "s"]
    given = np.array(["shoes boots"])  # 7 pieces
    assert [TextTokenizer(length, tokenizer.tokenizer).altered(given).cut for length in (6, 7)] == [1, 0]
    # A text that is in 100 pairs is one text, seen once.
    assert TextTokenizer.fit([np.array(["shoes"] * 100, object)]).facts["vocabulary_size"] == 258
    with pytest.raises(DataError, match="vocabulary_size should be at least 258"):
        TextTokenizer.fit([np.array(["shoes"], object)], vocabulary_size=5)


TITLES = np.array(["running shoes", "red hat", "blue hat", "running shorts", "straw hat"], object)
SHOES = np.array(["running shoes red", "running shoes blue", "running shoes"], object)


def test_short_texts_that_differ_stay_different():
    tokenizer = fitted(TITLES, "text")
    prepared = tokenizer(SHOES)
    assert len({*map(tuple, prepared.tolist())}) == 3
    assert not tokenizer.altered(SHOES)


@settings(max_examples=examples(60))
@given(st.lists(st.text(max_size=30).filter(lambda text: text.isprintable()), min_size=1, max_size=12))
def test_texts_are_cut_and_counted_or_stay_different(texts):
    tokenizer = fitted(TITLES, "text")
    prepared = tokenizer(np.array(texts, object))
    # In bytes of NFC, after the space that begins every text, there is one piece a byte.
    bytes_of = [b" " + unicodedata.normalize("NFC", text).encode() if text else b"" for text in texts]
    bytes_of = [
        each.replace(b"  ", b" ", 1) if text[:1] == " " else each
        for each, text in zip(bytes_of, texts, strict=True)
    ]
    cut = [len(each) > tokenizer.max_length for each in bytes_of]
    altered = tokenizer.altered(np.array(texts, object))
    assert (altered.items, altered.cut) == (len(texts), sum(cut))
    whole = [
        (each, tuple(row))
        for each, row, is_cut in zip(bytes_of, prepared.tolist(), cut, strict=True)
        if not is_cut
    ]
    assert len({each for each, _ in whole}) == len({row for _, row in whole})


def test_cut_texts_are_told_in_a_sentence():
    tokenizer = fitted(TITLES, "text")
    assert tokenizer.max_length == math.ceil(1.5 * len(" running shorts"))
    given = np.array(["a" * 22, "b" * 23, "c" * 40], object)  # with the space before them 23, 24 and 41 bytes
    altered = tokenizer.altered(given)
    assert (altered.items, altered.cut, altered.longest) == (3, 2, 41)
    assert altered.sentence() == "2 of 3 texts were cut: the longest has 41 pieces, and the model takes 23"


def test_training_splits_pieces_and_evaluation_does_not():
    texts = np.array([f"shoes {number}" for number in range(200)], object)
    tokenizer = TextTokenizer.fit([texts], max_length=40, dropout=0.5)
    ids = tokenizer(texts)
    np.testing.assert_array_equal(ids, tokenizer(texts))
    varied = tokenizer.vary(ids, np.random.default_rng(0))
    np.testing.assert_array_equal(varied, tokenizer.vary(ids, np.random.default_rng(0)))
    spelled = [
        ["".join(map(tokenizer._engine.id_to_token, filter(None, row))) for row in each.tolist()]
        for each in (ids, varied)
    ]
    assert spelled[0] == spelled[1]  # other pieces of the same texts
    # A piece stays with probability 1 - dropout.
    whole = tokenizer._engine.token_to_id("Ġshoes")
    assert 0.4 < (varied == whole).any(axis=1).mean() < 0.6
    none = TextTokenizer(tokenizer.max_length, tokenizer.tokenizer)
    np.testing.assert_array_equal(none.vary(ids, np.random.default_rng(0)), ids)


@pytest.mark.keras
@pytest.mark.one_backend
def test_texts_that_differ_embed_differently_and_cut_ones_warn():
    import siamkit

    tokenizer = fitted(TITLES, "text")
    for name in ("bag", "text_cnn", "gru", "transformer"):
        encoder = siamkit.get_encoder(
            name,
            input_shape=tokenizer.input_shape,
            embedding_dim=8,
            vocabulary_size=tokenizer.facts["vocabulary_size"],
        )
        model = siamkit.Siamese(encoder, "euclidean", preprocessor=tokenizer)
        a, b, c = model.embed(SHOES)
        assert min(np.linalg.norm(a - b), np.linalg.norm(a - c), np.linalg.norm(b - c)) > 1e-3, name
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.embed(np.array([*SHOES, "x" * 99], object))
    assert any("1 of 4 texts were cut" in str(each.message) for each in caught)


def test_half_characters_are_refused():
    tokenizer = fitted(TITLES, "text")
    with pytest.raises(DataError, match=r"text 1 has half a character"):
        tokenizer(np.array(["a", "b\ud800"], object))


def test_options_for_another_kind_of_input_are_refused():
    data = Dataset((TITLES,), np.arange(5), "labels", "text")
    prepare = fit_preprocessor(data, max_length=40, vocabulary_size=300, dropout=0.0)
    assert (prepare.max_length, prepare.dropout) == (40, 0.0)
    tokens = Dataset((IMAGES[:, :, 0, 0],), np.arange(6), "labels", "tokens")
    assert fit_preprocessor(tokens, max_length=2).max_length == 2
    with pytest.raises(DataError, match="vocabulary_size is for texts, the data are tokens"):
        fit_preprocessor(tokens, vocabulary_size=300)
    with pytest.raises(DataError, match="max_length is for texts and token ids, the data are image"):
        fit_preprocessor(Dataset((IMAGES,), np.arange(6), "labels", "image"), max_length=3)


def test_cut_and_unknown_token_ids_are_counted():
    padder = fitted(np.array([[3, 0, 7, 0], [1, 0, 0, 0]]), "tokens")
    altered = padder.altered(np.array([[7, 8, 0, 0], [1, 2, 3, 4], [99, 1, 1, 5], [7, 0, 0, 0]]))
    assert (altered.items, altered.cut, altered.unknown) == (4, 2, 2)
    assert altered.sentence() == (
        "2 of 4 items were cut: the longest has 4 token ids, and the model takes 3; 2 of 4 items have token "
        "ids above 7, the highest in training: all these ids became one"
    )


@pytest.mark.parametrize(
    ("items", "words"),
    [
        (["red shoes", float("nan")], "items should be texts, got nan in item 1"),
        (["red shoes", 7], "items should be texts, got 7 in item 1"),
        (pd.Series(["red shoes", None]), "items should be texts, got None in item 1"),
        (np.array([1.0, 2.0]), "items should be texts"),
    ],
)
def test_items_that_are_not_texts_are_named(items, words):
    tokenizer = TextTokenizer.fit((np.array(["red shoes", "blue shoes"]),))
    with pytest.raises(DataError, match=words):
        tokenizer(items)
    np.testing.assert_array_equal(
        tokenizer(pd.Series(["red shoes"], dtype="string")), tokenizer(np.array(["red shoes"]))
    )


def test_odd_texts_are_tokens_too():
    tokenizer = fitted(WORDS, "text")
    assert tokenizer(np.array([""])).tolist() == [[1] + [0] * (tokenizer.max_length - 1)]
    assert tokenizer(np.array(["[PAD]"]))[0, 0] > 1
    assert (tokenizer(np.array(["Ω≈ç√"]))[0] > 1).any()
    assert tokenizer(np.array(["word " * 500])).shape == (1, tokenizer.max_length)
    assert tokenizer(np.array([], dtype="U1")).shape == (0, tokenizer.max_length)
    with pytest.raises(DataError, match="should be texts"):
        tokenizer(np.array([1, 2]))


def test_length_of_texts_is_capped():
    long = np.array(["a b c d e f g h " * 50] * 3, dtype=object)
    assert TextTokenizer.fit([long], vocabulary_size=260, max_length=10).max_length == 10
    assert TextTokenizer.fit([long], vocabulary_size=260).facts["vocabulary_size"] <= 260


@pytest.mark.parametrize(
    ("view", "kind"),
    [
        (IMAGES, "image"),
        (IMAGES[..., 0, 0].astype(float), "vector"),
        (IMAGES[..., 0].astype(float), "series"),
        (IMAGES[:, :, 0, 0], "tokens"),
        (WORDS, "text"),
    ],
)
def test_saved_and_loaded_it_does_the_same(tmp_path, view, kind):
    before = fitted(view, kind)
    before.save(tmp_path / "asset")
    after = load_preprocessor(tmp_path / "asset")
    assert type(after) is type(before)
    assert (after.input_shape, after.facts) == (before.input_shape, before.facts)
    assert after.config() == before.config()
    np.testing.assert_array_equal(after(view), before(view))
    assert json.loads(json.dumps(before.config())) == before.config()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "os:system"}, "names no known preprocessor"),
        ({"version": 2}, "version 1"),
        ({"config": {"size": [4]}}, "2 whole numbers"),
        ({"config": {"sizes": [4, 5]}}, "is damaged"),
        ({"config": [1]}, "is damaged"),
        ({"arrays": False}, "is damaged"),
    ],
)
def test_a_changed_file_is_refused(tmp_path, change, sentence):
    fitted(IMAGES, "image").save(tmp_path)
    path = tmp_path / "preprocessor.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=sentence):
        load_preprocessor(tmp_path)


def test_damaged_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load_preprocessor(tmp_path)
    fitted(IMAGES, "image").save(tmp_path)
    np.savez(tmp_path / "arrays.npz", mean=np.array([object()]), std=np.ones(1))
    with pytest.raises(DataError, match="cannot be read as stored arrays"):
        load_preprocessor(tmp_path)
    np.savez(tmp_path / "arrays.npz", mean=np.zeros(3), std=np.zeros(3))
    with pytest.raises(DataError, match="std should be above 0"):
        load_preprocessor(tmp_path)
    (tmp_path / "arrays.npz").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(DataError, match="cannot be read as stored arrays"):
        load_preprocessor(tmp_path)
    (tmp_path / "preprocessor.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as a stored preprocessor"):
        load_preprocessor(tmp_path)


def test_a_damaged_tokenizer_is_refused(tmp_path):
    fitted(WORDS, "text").save(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="tokenizer cannot be read"):
        load_preprocessor(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"tokenizer.json cannot be read"):
        load_preprocessor(tmp_path)


def test_inputs_without_a_preprocessor_are_named():
    view = {"age": np.arange(3)}
    with pytest.raises(DataError, match="no preprocessor for records input"):
        fit_preprocessor(Dataset((view,), np.arange(3), "labels", "records"))


@pytest.mark.parametrize("texts", [["red", "\ud800 fish"], ["a\udfff", "b"], ["é", "caf\udce9"]])
def test_a_lone_surrogate_in_a_text_is_one_sentence(texts):
    with pytest.raises(DataError, match=r"text [01] has half a character \(a lone surrogate\)"):
        TextTokenizer.fit([np.array(texts, dtype=object)])
    tokenizer = TextTokenizer.fit([np.array(["red", "blue fish"], dtype=object)])
    with pytest.raises(DataError, match="has half a character"):
        tokenizer(np.array(texts, dtype=object))
    assert tokenizer(np.array(["😀 é"], dtype=object)).shape == (1, tokenizer.max_length)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x / 255.0,
        lambda x: x / 127.5 - 1,
        lambda x: x > 127,
        lambda x: x.astype(np.int8),
        lambda x: x.astype(np.uint16) * 257,
        lambda x: (x.astype(np.float32) - 120) * 8,
    ],
    ids=["0 to 1", "-1 to 1", "bool", "int8", "16 bits", "beyond"],
)
def test_images_with_other_values_than_in_training_are_refused(change):
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    scaler = ImageScaler.fit([images])
    with pytest.raises(DataError, match="images should have values from 0 to 255, as in training"):
        scaler(change(images))
    with pytest.raises(DataError, match="images should have values from 0 to 255"):
        scaler(list(change(images)))
    for same in (images, images.astype(np.float32), images.astype(np.int64), images // 2 + 40):
        scaler(same)
    unit = ImageScaler.fit([(images / 255.0).astype(np.float32)])
    with pytest.raises(DataError, match="from 0 to 1, as in training, got uint8 from 0 to 255"):
        unit(images)


# ---------------------------------------------------------------- back to raw items


def test_prepared_numbers_become_raw_ones_again():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 4, 3, 2), dtype=np.uint8)
    series = rng.normal(7, 3, (5, 6, 2))
    for items, kind in ((images, "image"), (series, "series")):
        prepare = fitted(items, kind)
        np.testing.assert_allclose(prepare.restored(prepare(items)), items, atol=1e-4)


def test_prepared_texts_become_texts_again_but_for_what_was_cut():
    texts = np.array(["réd 🦊 [PAD]", "", "a", "two  spaces", "x" * 30])
    prepare = TextTokenizer.fit([texts], max_length=20)
    # By hand: here each piece is a byte, and the first is a space.
    assert prepare.restored(prepare(texts)).tolist() == [*texts[:4], "x" * 19]
    # A character of four bytes that is cut in two is left out.
    assert prepare.restored(prepare(np.array(["x" * 17 + "🦊"]))).tolist() == ["x" * 17]
